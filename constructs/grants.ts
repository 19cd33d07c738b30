import { canonicalJson } from "../runtime/spec/digest.ts";
import type { HostSpec } from "../runtime/spec/host-spec.ts";
import { Refusal } from "./refuse.ts";
import type { Secret } from "./secret.ts";
import type { Shell } from "./shell.ts";

type Grants = HostSpec["grants"];

/**
 * Everything one host allows, in the order it was granted. Each thing that is added to a host holds its host's book, so
 * a grant that reaches across two hosts is seen.
 */
export class GrantBook {
  readonly host: string;
  readonly #invoke: Grants["invoke"] = [];
  readonly #mount: Grants["mount"] = [];
  readonly #serverMount: NonNullable<Grants["serverMount"]> = [];
  readonly #egress: Grants["egress"] = [];
  readonly #connect: Grants["connect"] = [];
  readonly #call: NonNullable<Grants["call"]> = [];
  readonly #shells: Shell[] = [];
  readonly #read: NonNullable<Grants["read"]> = [];
  readonly #secrets = new Map<string, Secret>();

  constructor(host: string) {
    this.host = host;
  }

  /** How the user's own code is named in messages about this host. */
  path(inner: string): string {
    return `AgentHost "${this.host}": ${inner}`;
  }

  /** @throws Refusal if the grantee belongs to another host, or to none */
  requireSame(path: string, grantee: { readonly book: GrantBook; readonly name: string }): void {
    if (grantee.book !== this)
      throw new Refusal(
        `${path}: received agent "${grantee.name}" of host "${grantee.book.host}"; a grant stays within one host: add what is granted to "${grantee.book.host}" too, and grant that`,
      );
  }

  invoke(grant: Grants["invoke"][number]): void {
    const twice = this.#invoke.some((g) => g.agent === grant.agent && g.model === grant.model);
    if (twice)
      this.#twice(
        `models.${grant.model}.grantInvoke`,
        `model "${grant.model}" to agent "${grant.agent}"`,
        "give all models in one grant",
      );
    this.#invoke.push(grant);
  }

  mount(grant: Grants["mount"][number]): void {
    const twice = this.#mount.some((g) => g.agent === grant.agent && g.workspace === grant.workspace);
    if (twice)
      this.#twice(
        `workspaces.${grant.workspace}.grant`,
        `workspace "${grant.workspace}" to agent "${grant.agent}"`,
        "reading is part of grantReadWrite",
      );
    this.#mount.push(grant);
  }

  serverMount(grant: NonNullable<Grants["serverMount"]>[number]): void {
    const twice = this.#serverMount.some((g) => g.server === grant.server && g.workspace === grant.workspace);
    if (twice)
      this.#twice(
        `workspaces.${grant.workspace}.grant`,
        `workspace "${grant.workspace}" to MCP server "${grant.server}"`,
        "reading is part of grantReadWrite",
      );
    this.#serverMount.push(grant);
  }

  egress(path: string, grant: Grants["egress"][number]): void {
    const twice = this.#egress.some((g) => g.principal === grant.principal && g.name === grant.name);
    if (twice) this.#twice(path, `name "${grant.name}" to "${grant.principal}"`, "once is enough");
    this.#egress.push(grant);
  }

  connect(path: string, grant: Grants["connect"][number]): void {
    const { principal, host, port } = grant;
    const twice = this.#connect.some((g) => g.principal === principal && g.host === host && g.port === port);
    if (twice) this.#twice(path, `port ${port} of "${host}" to "${principal}"`, "once is enough");
    this.#connect.push(grant);
  }

  call(grant: NonNullable<Grants["call"]>[number]): void {
    const twice = this.#call.some((g) => g.agent === grant.agent && g.server === grant.server);
    if (twice)
      this.#twice(
        `mcpServers.${grant.server}.grantCall`,
        `server "${grant.server}" to agent "${grant.agent}"`,
        "give all tools in one grant",
      );
    this.#call.push(grant);
  }

  shell(shell: Shell): void {
    if (this.#shells.some(({ agent }) => agent === shell.agent))
      this.#twice(`agents.${shell.agent}.grantShell`, `a shell to agent "${shell.agent}"`, "an agent has one");
    this.#shells.push(shell);
  }

  read(principal: string, secret: Secret): void {
    const path = `secrets.${secret.name}.grantRead`;
    if (this.#read.some((g) => g.principal === principal && g.secret === secret.name))
      this.#twice(path, `secret "${secret.name}" to "${principal}"`, "once is enough");
    this.refer(this.path(path), secret);
    this.#read.push({ secret: secret.name, principal });
  }

  /**
   * Takes a secret that something of the host refers to.
   * @throws Refusal if another of that name comes from elsewhere
   */
  refer(path: string, secret: Secret): void {
    const other = this.#secrets.get(secret.name);
    if (other !== undefined && canonicalJson(other.source) !== canonicalJson(secret.source))
      throw new Refusal(
        `${path}: received a second secret named "${secret.name}" with another source; name one of them otherwise, as { name: "…" }`,
      );
    this.#secrets.set(secret.name, secret);
  }

  /** Every secret that something of the host refers to. */
  get secrets(): readonly Secret[] {
    return [...this.#secrets.values()];
  }

  /** The shells that were granted: each a principal of the host. */
  get shells(): readonly Shell[] {
    return this.#shells;
  }

  /** All but the shells, which are asked for what they see of it. */
  all(): Grants {
    return {
      invoke: [...this.#invoke],
      mount: [...this.#mount],
      ...(this.#serverMount.length === 0 ? {} : { serverMount: [...this.#serverMount] }),
      egress: [...this.#egress],
      connect: [...this.#connect],
      ...(this.#call.length === 0 ? {} : { call: [...this.#call] }),
      ...(this.#read.length === 0 ? {} : { read: [...this.#read] }),
    };
  }

  #twice(path: string, what: string, advice: string): never {
    throw new Refusal(`${this.path(path)}: ${what} is granted twice; remove one of the two (${advice})`);
  }
}
