import { Construct } from "constructs";
import { DnsName, WildcardName } from "../runtime/policy/egress/schema.ts";
import { GrantedTool } from "../runtime/policy/tools/schema.ts";
import { grantedToolProblem } from "../runtime/spec/references.ts";
import { type Agent, granteeOf } from "./agent.ts";
import { Argument } from "./argument.ts";
import type { GrantBook } from "./grants.ts";
import { pinnedTools } from "./mcp-lock.ts";
import type { McpPackage } from "./mcp-package.ts";
import { checked, knownKeys, Refusal, refuse } from "./refuse.ts";
import { warnOfWildcard } from "./wildcard.ts";

/** One tool, when its name alone does not say it all. */
export interface ToolGrantProps {
  /** The tool's name, as its server writes it. */
  readonly tool: string;
  /**
   * What some of its arguments may be.
   * @default anything that the tool's pinned schema allows
   */
  readonly arguments?: Readonly<Record<string, Argument>>;
  /**
   * For a tool that writes: whether each call waits for a person's `bailiwick approve`. A tool that reads never does.
   * @default "each-call"
   */
  readonly approval?: "each-call" | "waived";
}

/**
 * An MCP server of a host, reached through the guard alone. Nothing of it exists for an agent before `grantCall`. Made by
 * `host.addMcpServer`.
 */
export class McpServer extends Construct {
  readonly name: string;
  readonly package: McpPackage;
  /** Unix uid of a server that runs on the host; null for a remote one. */
  readonly uid: number | null;
  /** @internal */
  readonly book: GrantBook;

  /** @internal use `host.addMcpServer` */
  constructor(scope: Construct, book: GrantBook, name: string, source: McpPackage, uid: number | null) {
    super(scope, `mcp-server-${name}`);
    this.book = book;
    this.name = name;
    this.package = source;
    this.uid = uid;
  }

  /**
   * The agent may call these tools, as they are pinned and classified in `mcp.lock.json`; a tool of class `write` waits for
   * approval at each call.
   * @throws Refusal for an agent of another host, no tools, a tool that is not pinned or not classified, an argument that it
   * does not have, a token, or a second grant of this server to the same agent
   */
  grantCall(agent: Agent, tools: readonly (string | ToolGrantProps)[]): this {
    const path = this.book.path(`mcpServers.${this.name}.grantCall`);
    const grantee = granteeOf(this.book, path, agent);
    if (!Array.isArray(tools) || tools.length === 0) refuse(path, tools, 'name at least one tool, as ["list_issues"]');
    const granted = tools.map((tool: string | ToolGrantProps, i) => grantedTool(`${path} tools[${i}]`, tool));
    const pinned = pinnedTools(path, this.name, this.package.source);
    granted.forEach((tool, i) => {
      const why = grantedToolProblem(pinned, tool, this.name);
      if (why !== undefined) throw new Refusal(`${path} tools[${i}]: ${why}`);
      if (granted.findIndex(({ name }) => name === tool.name) !== i)
        refuse(`${path} tools[${i}]`, tool.name, "it is in the list twice; remove one");
    });
    this.book.call({ agent: grantee.name, server: this.name, tools: granted });
    return this;
  }

  /**
   * The server, which then has a network, may open TLS connections to this one exact name on TCP 443.
   * @param name lower-case DNS name such as `api.github.com`; or `*.example.com`, as of `agent.allowEgress`
   * @throws Refusal for a remote server, a wildcard that is too wide, a URL, a port, an IP address, a token, or a name granted before
   */
  allowEgress(name: string): this {
    const inner = `mcpServers.${this.name}.allowEgress`;
    const path = this.book.path(inner);
    if (this.uid === null)
      throw new Refusal(`${path}: "${this.name}" does not run on this host; what it reaches is its own host's to say`);
    const wildcard = typeof name === "string" && name.includes("*");
    this.book.egress(inner, {
      principal: `mcp/${this.name}`,
      name: checked(path, wildcard ? WildcardName : DnsName, name),
    });
    if (wildcard) warnOfWildcard(this, path, name);
    return this;
  }

  /** @internal @throws Refusal if it is another host's */
  requireOn(book: GrantBook, path: string): void {
    if (book !== this.book)
      throw new Refusal(
        `${path}: received MCP server "${this.name}" of host "${this.book.host}"; a grant stays within one host: add what is granted to "${this.book.host}" too, and grant that`,
      );
  }

  /** @internal its tools as pinned, if anything of it is granted: without a grant no lock entry is needed, or looked at */
  get pinned() {
    const path = this.book.path(`mcpServers.${this.name}`);
    const granted = this.book.all().call?.some(({ server }) => server === this.name) ?? false;
    return granted ? pinnedTools(path, this.name, this.package.source) : [];
  }
}

function grantedTool(path: string, tool: string | ToolGrantProps): GrantedTool {
  if (typeof tool === "string") return checked(path, GrantedTool, { name: tool, arguments: {}, approval: "each-call" });
  knownKeys(path, tool, ["tool", "arguments", "approval"]);
  const narrowed = Object.entries(tool.arguments ?? {}).map(([name, argument]) => {
    if (!(argument instanceof Argument))
      refuse(
        `${path} arguments.${name}`,
        argument,
        "give Argument.oneOf(…), Argument.matching(…) or Argument.below(…)",
      );
    return [name, argument.narrowing] as const;
  });
  return checked(path, GrantedTool, {
    name: tool.tool,
    arguments: Object.fromEntries(narrowed),
    approval: tool.approval ?? "each-call",
  });
}
