import { Construct } from "constructs";
import { type Agent, granteeOf } from "./agent.ts";
import type { GrantBook } from "./grants.ts";

/**
 * A directory on the host's data volume that outlives the machine. An agent it is granted to sees it at
 * `/workspaces/<name>`, and nothing else of the disk. Made by `host.addWorkspace`.
 */
export class Workspace extends Construct {
  readonly name: string;
  readonly #book: GrantBook;

  /** @internal use `host.addWorkspace` */
  constructor(scope: Construct, book: GrantBook, name: string) {
    super(scope, `workspace-${name}`);
    this.#book = book;
    this.name = name;
  }

  /** The agent may read it. @throws Refusal for an agent of another host, or one that it is granted to already */
  grantRead(agent: Agent): this {
    return this.#grant("grantRead", agent, "ro");
  }

  /** The agent may read and write it. @throws Refusal for an agent of another host, or one that it is granted to already */
  grantReadWrite(agent: Agent): this {
    return this.#grant("grantReadWrite", agent, "rw");
  }

  #grant(verb: string, agent: Agent, mode: "ro" | "rw"): this {
    const grantee = granteeOf(this.#book, this.#book.path(`workspaces.${this.name}.${verb}`), agent);
    this.#book.mount({ agent: grantee.name, workspace: this.name, mode });
    return this;
  }
}
