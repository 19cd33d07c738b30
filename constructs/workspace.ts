import { Construct } from "constructs";
import { WorkspaceSpec } from "../runtime/policy/workspaces/schema.ts";
import { type Agent, granteeOf } from "./agent.ts";
import type { GrantBook } from "./grants.ts";
import { McpServer } from "./mcp-server.ts";
import { checked, knownKeys, Refusal, refuse } from "./refuse.ts";
import { Seed } from "./seed.ts";

export interface WorkspaceProps {
  /**
   * Most that what is in it may take on the data volume, MiB; writing more fails as on a full disk. It needs project quotas of
   * XFS in the host's kernel, as those of Debian have; where there are none, `verify` says that it could not be proven.
   * @default what the data volume has
   */
  readonly quotaMiB?: number;
  /**
   * What it holds when it is first made. A workspace that is on the data volume already, empty or not, is never touched.
   * @default nothing
   */
  readonly seed?: Seed;
}

/**
 * A directory on the host's data volume that outlives the machine. An agent or MCP server it is granted to sees it at
 * `/workspaces/<name>`, and nothing else of the disk. Made by `host.addWorkspace`.
 */
export class Workspace extends Construct {
  readonly name: string;
  /** The workspace as it stands in the spec. */
  readonly spec: WorkspaceSpec;
  readonly #book: GrantBook;

  /** @internal use `host.addWorkspace` */
  constructor(scope: Construct, book: GrantBook, name: string, spec: WorkspaceSpec) {
    super(scope, `workspace-${name}`);
    this.#book = book;
    this.name = name;
    this.spec = spec;
  }

  /**
   * The agent, or the MCP server on this host, may read it.
   * @throws Refusal for one of another host, a remote server, or one that it is granted to already
   */
  grantRead(grantee: Agent | McpServer): this {
    return this.#grant("grantRead", grantee, "ro");
  }

  /**
   * The agent, or the MCP server on this host, may read and write it.
   * @throws Refusal for one of another host, a remote server, or one that it is granted to already
   */
  grantReadWrite(grantee: Agent | McpServer): this {
    return this.#grant("grantReadWrite", grantee, "rw");
  }

  /** @internal @throws Refusal if it is another host's */
  requireOn(book: GrantBook, path: string): void {
    if (book !== this.#book)
      throw new Refusal(
        `${path}: received workspace "${this.name}" of host "${this.#book.host}"; a grant stays within one host: add what is granted to "${book.host}", and grant that`,
      );
  }

  #grant(verb: string, to: Agent | McpServer, mode: "ro" | "rw"): this {
    const path = this.#book.path(`workspaces.${this.name}.${verb}`);
    if (to instanceof McpServer) {
      to.requireOn(this.#book, path);
      if (to.uid === null)
        throw new Refusal(
          `${path}: MCP server "${to.name}" does not run on this host, so it can see no workspace of it`,
        );
      this.#book.serverMount({ server: to.name, workspace: this.name, mode });
    } else this.#book.mount({ agent: granteeOf(this.#book, path, to).name, workspace: this.name, mode });
    return this;
  }
}

/** @throws Refusal for an unknown key, a quota or a seed that is none */
export function workspaceSpec(path: string, props: WorkspaceProps): WorkspaceSpec {
  knownKeys(path, props, ["quotaMiB", "seed"]);
  const { quotaMiB, seed } = props;
  if (seed !== undefined && !(seed instanceof Seed)) refuse(`${path}.seed`, seed, "give Seed.folder(…) or Seed.git(…)");
  return {
    ...(quotaMiB === undefined
      ? {}
      : { quotaMiB: checked(`${path}.quotaMiB`, WorkspaceSpec.shape.quotaMiB.unwrap(), quotaMiB) }),
    ...(seed === undefined ? {} : { seed: seed.spec }),
  };
}
