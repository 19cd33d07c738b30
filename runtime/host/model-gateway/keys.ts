import { hash, timingSafeEqual } from "node:crypto";
import type { GatewayConfig } from "../../policy/models/schema.ts";

/** Who a virtual key belongs to, and which of its keys it is. */
interface Holder {
  readonly agent: string;
  /** First hex digits of its hash. */
  readonly keyId: string;
}

/** The virtual keys, by hash: who holds which. */
export class KeyRing {
  readonly #entries: (Holder & { hash: Buffer })[];

  constructor(keys: GatewayConfig["keys"]) {
    this.#entries = keys.flatMap(({ agent, sha256 }) =>
      sha256.map((hex) => ({ agent, keyId: hex.slice(0, 8), hash: Buffer.from(hex, "hex") })),
    );
  }

  /** Who holds this key; undefined if nobody does. Takes the same time wherever in the list it stands. */
  holder(key: string): Holder | undefined {
    const presented = hash("sha256", key, "buffer");
    let found: Holder | undefined;
    for (const entry of this.#entries) if (timingSafeEqual(entry.hash, presented)) found = entry;
    return found;
  }
}

/**
 * The one key a request presents, in `Authorization: Bearer`, `x-api-key` or `x-goog-api-key`; undefined if there is none, if it is
 * malformed, or if two differ. All occurrences count: which of two a later reader would take is not left to chance.
 */
export function presentedKey(rawHeaders: readonly string[]): string | undefined {
  const keys = new Set<string>();
  for (let i = 0; i + 1 < rawHeaders.length; i += 2) {
    const name = rawHeaders[i]?.toLowerCase();
    const value = rawHeaders[i + 1] ?? "";
    if (name === "x-api-key" || name === "x-goog-api-key") keys.add(value.trim());
    if (name === "authorization") keys.add(/^bearer +(\S+) *$/i.exec(value)?.[1] ?? "");
  }
  const [key] = keys;
  return keys.size === 1 && key !== "" ? key : undefined;
}
