import { Construct } from "constructs";
import type { Limits } from "../runtime/policy/limits/schema.ts";
import type { Budget } from "../runtime/policy/models/schema.ts";
import { type EgressProps, grantAddress, grantName } from "./egress.ts";
import type { GrantBook } from "./grants.ts";
import { Refusal } from "./refuse.ts";
import type { Runtime } from "./runtime.ts";
import { Shell, type ShellProps } from "./shell.ts";

/** An agent on a host: a principal with its own user, sandbox and grants. Made by `host.addAgent`. */
export class Agent extends Construct {
  readonly name: string;
  /** Unix uid on its host. */
  readonly uid: number;
  readonly runtime: Runtime;
  /** What it may spend with all providers together. */
  readonly budget: Budget;
  /** What it may use of the machine, where that is not the default. */
  readonly limits: Partial<Limits> | undefined;
  /** @internal */
  readonly book: GrantBook;

  /** @internal use `host.addAgent` */
  constructor(
    scope: Construct,
    book: GrantBook,
    name: string,
    parts: { uid: number; runtime: Runtime; budget: Budget; limits: Partial<Limits> | undefined },
  ) {
    super(scope, `agent-${name}`);
    this.book = book;
    this.name = name;
    this.uid = parts.uid;
    this.runtime = parts.runtime;
    this.budget = parts.budget;
    this.limits = parts.limits;
  }

  /**
   * The agent may connect to this one exact name: by TLS on TCP 443, whose server name is checked, or on another port, where
   * what is spoken is not looked at. The egress proxy resolves the name, which must lead to a public address.
   * @param name lower-case DNS name such as `api.example.com`; or `*.example.com`, with a warning, for every name of one label
   * before it, on TCP 443 alone
   * @throws Refusal for `*`, a wildcard where strangers have names (`*.com`, `*.github.io`) or with a port, a URL, a port in the
   * name, an IP address, a token, or a name granted before
   */
  allowEgress(name: string, props: EgressProps = {}): this {
    grantName(this.#grantee, name, props);
    return this;
  }

  /**
   * The agent may connect to this one TCP port of this one address, also a private one; what is spoken there is not looked
   * at. Prefer `allowEgress` where the other end has a name and speaks TLS.
   * @param address IPv4 or IPv6 address in its usual form; none of the host itself, no link-local one, no metadata service
   * @throws Refusal for a network, a name, such an address, a token, or a port granted before
   */
  allowAddress(address: string, port: number): this {
    grantAddress(this.#grantee, address, port);
    return this;
  }

  /**
   * The agent may run commands, through the guard, as tool `run` of an MCP server that it knows as `shell`. They run under a
   * second uid, which sees the agent's workspaces themselves (no copies) and nothing else of the agent; what they may reach on
   * the network is granted on what this returns. Without it OpenClaw's own `exec` is denied, and stays so with it.
   * @throws Refusal for a workspace that the agent is not granted, a bound out of range, a uid that is taken, an unknown key,
   * a token, or a second shell
   */
  grantShell(props: ShellProps = {}): Shell {
    const shell = new Shell(this, this.book, this.name, props);
    this.book.shell(shell);
    return shell;
  }

  get #grantee() {
    return { book: this.book, principal: `agent/${this.name}`, where: `agents.${this.name}`, scope: this };
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
