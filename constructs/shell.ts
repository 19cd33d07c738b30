import type { IConstruct } from "constructs";
import { z } from "zod";
import { ShellGrant } from "../runtime/policy/shell/schema.ts";
import { principalUid } from "../runtime/spec/names.ts";
import { type LimitProps, limitsOf } from "./agent-limits.ts";
import { type EgressProps, grantAddress, grantName } from "./egress.ts";
import type { GrantBook } from "./grants.ts";
import { checked, knownKeys, refuse } from "./refuse.ts";
import { Workspace } from "./workspace.ts";

export interface ShellProps {
  /**
   * Workspaces of the agent that its commands see, in the mode in which they are granted to the agent.
   * @default all that are granted to the agent, also later
   */
  readonly workspaces?: readonly Workspace[];
  /**
   * Longest that one command may take, seconds, 1 to 240; then it is ended, and all that it started.
   * @default 50: what calls tools gives up after a minute, if it is not told otherwise
   */
  readonly seconds?: number;
  /**
   * Most of a command's output that is given back, bytes, 1024 to 262144: its beginning and its end.
   * @default 65536
   */
  readonly outputBytes?: number;
  /**
   * Whether each command waits for a person's `bailiwick approve`.
   * @default "waived": the grant of a shell is the leave to use it
   */
  readonly approval?: "each-call" | "waived";
  /**
   * What all commands of the agent together may use of the machine.
   * @default as for agents: 2048 MiB of memory, 2 processors, 512 tasks, 1000 lines of log in ten seconds
   */
  readonly limits?: LimitProps;
  /**
   * Unix uid, 20100 to 29999. Set it when it happens to be another principal's (synth says so).
   * @default hashed from the agent's name
   */
  readonly uid?: number;
}

/**
 * An agent's shell: a principal of its own, with another uid than the agent's. It sees workspaces of the agent, and nothing
 * else of the agent: no state, configuration, token or key. Made by `agent.grantShell`.
 */
export class Shell {
  /** Name of the agent. */
  readonly agent: string;
  /** Unix uid on its host. */
  readonly uid: number;
  readonly #scope: IConstruct;
  readonly #book: GrantBook;
  readonly #workspaces: readonly string[] | undefined;
  readonly #rest: Omit<ShellGrant, "agent" | "uid" | "workspaces">;

  /** @internal use `agent.grantShell` */
  constructor(scope: IConstruct, book: GrantBook, agent: string, props: ShellProps) {
    const path = book.path(`agents.${agent}.grantShell`);
    const fields = ShellGrant.shape;
    knownKeys(path, props, ["workspaces", "seconds", "outputBytes", "approval", "limits", "uid"]);
    this.#scope = scope;
    this.#book = book;
    this.agent = agent;
    this.uid = checked(`${path}.uid`, fields.uid, props.uid ?? principalUid(`shell/${agent}`));
    this.#workspaces = props.workspaces === undefined ? undefined : namesOf(book, path, props.workspaces);
    const limits = limitsOf(`${path}.limits`, props.limits);
    this.#rest = {
      seconds: checked(`${path}.seconds`, fields.seconds, props.seconds ?? 50),
      outputBytes: checked(`${path}.outputBytes`, fields.outputBytes, props.outputBytes ?? 65536),
      approval: checked(`${path}.approval`, fields.approval, props.approval ?? "waived"),
      ...(limits === undefined ? {} : { limits }),
    };
  }

  /**
   * Commands may connect to this one exact name, as `agent.allowEgress` lets an agent. What the agent itself may reach, they
   * may not.
   * @param name lower-case DNS name such as `packages.example.com`; or a wildcard, as there
   * @throws Refusal for `*`, a wildcard where strangers have names or with a port, a URL, a port in the name, an IP address, a token, or a name granted before
   */
  allowEgress(name: string, props: EgressProps = {}): this {
    grantName(this.#grantee, name, props);
    return this;
  }

  /**
   * Commands may connect to this one TCP port of this one address, as `agent.allowAddress` lets an agent.
   * @param address IPv4 or IPv6 address in its usual form; none of the host itself, no link-local one, no metadata service
   * @throws Refusal for a network, a name, such an address, a token, or a port granted before
   */
  allowAddress(address: string, port: number): this {
    grantAddress(this.#grantee, address, port);
    return this;
  }

  get #grantee() {
    return {
      book: this.#book,
      principal: `shell/${this.agent}`,
      where: `agents.${this.agent}.shell`,
      scope: this.#scope,
    };
  }

  /** @internal the grant as it stands in the spec, when all of the agent's own grants have been made */
  grant(): ShellGrant {
    const mounts = this.#book.all().mount.filter(({ agent }) => agent === this.agent);
    const workspaces = this.#workspaces ?? mounts.map(({ workspace }) => workspace);
    return { agent: this.agent, uid: this.uid, workspaces: [...workspaces], ...this.#rest };
  }
}

function namesOf(book: GrantBook, path: string, workspaces: unknown): string[] {
  const list = checked(`${path}.workspaces`, z.array(z.unknown()), workspaces);
  return list.map((one, i) => {
    const at = `${path}.workspaces[${i}]`;
    if (!(one instanceof Workspace)) refuse(at, one, "give what host.addWorkspace returned");
    one.requireOn(book, at);
    return one.name;
  });
}
