import { Construct } from "constructs";
import { z } from "zod";
import { DnsName, GrantableAddress, WildcardName } from "../runtime/policy/egress/schema.ts";
import { Limits } from "../runtime/policy/limits/schema.ts";
import type { Budget } from "../runtime/policy/models/schema.ts";
import type { GrantBook } from "./grants.ts";
import { checked, knownKeys, Refusal, refuse } from "./refuse.ts";
import type { Runtime } from "./runtime.ts";
import { warnOfWildcard } from "./wildcard.ts";

export interface EgressProps {
  /**
   * TCP port.
   * @default 443, by TLS with this server name alone
   */
  readonly port?: number;
}

export interface LimitProps {
  /**
   * Most memory, MiB. A process of the agent that needs more is ended.
   * @default 2048
   */
  readonly memoryMiB?: number;
  /**
   * Most processor time, in processors: 0.5 is half of one.
   * @default 2
   */
  readonly cpus?: number;
  /**
   * Most processes and threads at one time.
   * @default 512
   */
  readonly tasks?: number;
  /**
   * Lines of log in ten seconds; what is more is dropped.
   * @default 1000
   */
  readonly logLines?: number;
}

/** @throws Refusal for an unknown limit, or a number that is none */
export function limitsOf(path: string, props: LimitProps | undefined): Partial<Limits> | undefined {
  if (props === undefined) return undefined;
  knownKeys(path, props, Object.keys(Limits.shape));
  const given = Object.entries(props).filter(([, value]) => value !== undefined);
  return Object.fromEntries(
    given.map(([key, value]) => [key, checked(`${path}.${key}`, Limits.shape[key as keyof Limits], value)]),
  );
}

const Port = z.number().int("must be a whole number").min(1).max(65535);

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
    const where = `agents.${this.name}.allowEgress`;
    const path = this.book.path(where);
    knownKeys(path, props, ["port"]);
    if (typeof name === "string" && name.includes("*")) {
      if (props.port !== undefined && props.port !== 443)
        refuse(
          path,
          name,
          "a wildcard is of TCP 443, where the TLS server name is seen; allow each exact name with its port",
        );
      this.book.egress(where, { principal: `agent/${this.name}`, name: checked(path, WildcardName, name) });
      warnOfWildcard(this, path, name);
      return this;
    }
    const host = checked(path, DnsName, name);
    const port = checked(`${path}.port`, Port, props.port ?? 443);
    const principal = `agent/${this.name}`;
    if (port === 443) this.book.egress(where, { principal, name: host });
    else this.book.connect(where, { principal, host, port });
    return this;
  }

  /**
   * The agent may connect to this one TCP port of this one address, also a private one; what is spoken there is not looked
   * at. Prefer `allowEgress` where the other end has a name and speaks TLS.
   * @param address IPv4 or IPv6 address in its usual form; none of the host itself, no link-local one, no metadata service
   * @throws Refusal for a network, a name, such an address, a token, or a port granted before
   */
  allowAddress(address: string, port: number): this {
    const where = `agents.${this.name}.allowAddress`;
    const path = this.book.path(where);
    this.book.connect(where, {
      principal: `agent/${this.name}`,
      host: checked(path, GrantableAddress, address),
      port: checked(`${path}.port`, Port, port),
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
