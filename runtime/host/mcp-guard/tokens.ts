import { createHash, timingSafeEqual } from "node:crypto";
import type { GuardConfig } from "../../policy/tools/schema.ts";

/** The agents' tokens, by hash: who holds which. */
export class TokenRing {
  readonly #entries: readonly { agent: string; hash: Buffer }[];

  constructor(agents: GuardConfig["agents"]) {
    this.#entries = agents.flatMap(({ agent, sha256 }) =>
      sha256.map((hex) => ({ agent, hash: Buffer.from(hex, "hex") })),
    );
  }

  /** The agent that holds this token; undefined if nobody does. Takes the same time wherever in the list it stands. */
  holder(token: string): string | undefined {
    const presented = createHash("sha256").update(token).digest();
    let found: string | undefined;
    for (const { agent, hash } of this.#entries) if (timingSafeEqual(hash, presented)) found = agent;
    return found;
  }
}

/** The one token a request presents, as `Authorization: Bearer`; undefined if there is none, or more than one header. */
export function presentedToken(rawHeaders: readonly string[]): string | undefined {
  const given = rawHeaders.filter((_, i) => i % 2 === 1 && rawHeaders[i - 1]?.toLowerCase() === "authorization");
  return given.length === 1 ? /^bearer +([\x21-\x7e]{1,512}) *$/i.exec(given[0] ?? "")?.[1] : undefined;
}
