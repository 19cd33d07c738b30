import { Construct } from "constructs";
import { DnsName } from "../runtime/policy/egress/schema.ts";
import type { Budget } from "../runtime/policy/models/schema.ts";
import type { GrantBook } from "./grants.ts";
import { checked, Refusal, refuse } from "./refuse.ts";
import type { Runtime } from "./runtime.ts";

/** An agent on a host: a principal with its own user, sandbox and grants. Made by `host.addAgent`. */
export class Agent extends Construct {
  readonly name: string;
  /** Unix uid on its host. */
  readonly uid: number;
  readonly runtime: Runtime;
  /** What it may spend with all providers together. */
  readonly budget: Budget;
  /** @internal */
  readonly book: GrantBook;

  /** @internal use `host.addAgent` */
  constructor(
    scope: Construct,
    book: GrantBook,
    name: string,
    parts: { uid: number; runtime: Runtime; budget: Budget },
  ) {
    super(scope, `agent-${name}`);
    this.book = book;
    this.name = name;
    this.uid = parts.uid;
    this.runtime = parts.runtime;
    this.budget = parts.budget;
  }

  /**
   * The agent may open TLS connections to this one exact name on TCP 443; the egress proxy resolves the name.
   * @param name lower-case DNS name such as `api.example.com`
   * @throws Refusal for a wildcard, a URL, a port, an IP address, a token, or a name granted before
   */
  allowEgress(name: string): this {
    const path = this.book.path(`agents.${this.name}.allowEgress`);
    if (typeof name === "string" && name.includes("*"))
      refuse(path, name, "wildcards are not granted; allow each exact name, such as api.example.com");
    this.book.egress(`agents.${this.name}.allowEgress`, {
      principal: `agent/${this.name}`,
      name: checked(path, DnsName, name),
    });
    return this;
  }
}

/**
 * The agent, if it is one of this host.
 * @throws Refusal for anything else
 */
export function granteeOf(book: GrantBook, path: string, agent: unknown): Agent {
  if (!(agent instanceof Agent))
    throw new Refusal(`${path}: received ${typeof agent}, not an agent; give what host.addAgent returned`);
  book.requireSame(path, agent);
  return agent;
}
