import type * as z from "zod";
import { isCapped } from "../policy/models/schema.ts";
import { SHELL_SERVER } from "../policy/shell/schema.ts";
import type { GrantedTool, PinnedTool } from "../policy/tools/schema.ts";
import type { HostSpec } from "./host-spec.ts";
import { principalUid } from "./names.ts";

type Issue = (path: (string | number)[], message: string) => void;

/** What one field cannot say alone: every name that is used exists, nothing is given twice, no two things collide. */
export function checkReferences(spec: HostSpec, ctx: z.core.$RefinementCtx): void {
  const issue: Issue = (path, message) => ctx.addIssue({ code: "custom", path, message });
  checkAccess(spec, issue);
  checkModels(spec, issue);
  checkGrants(spec, issue);
  checkShells(spec, issue);
  checkMcpServers(spec, issue);
  checkReads(spec, issue);
  checkBudgets(spec, issue);
  checkUids(spec, issue);
  for (const [name, agent] of Object.entries(spec.agents)) {
    if (agent.runtime.kind === "openclaw" && agent.runtime.model !== null) {
      const { provider, id } = agent.runtime.model;
      const granted = spec.grants.invoke.some((g) => g.agent === name && g.model === provider && g.models.includes(id));
      if (!granted)
        issue(
          ["agents", name, "runtime", "model"],
          `received "${provider}/${id}", which is not granted to "${name}"; grant it with grantInvoke`,
        );
    }
  }
}

function checkAccess(spec: HostSpec, issue: Issue): void {
  if (!(spec.access.bootstrapAdmin in spec.access.admins))
    issue(
      ["access", "bootstrapAdmin"],
      `received "${spec.access.bootstrapAdmin}", which is no admin; name one of ${list(Object.keys(spec.access.admins))}`,
    );
  const uids = new Map<number, string>();
  for (const [name, admin] of Object.entries(spec.access.admins)) {
    const other = uids.get(admin.uid);
    if (other !== undefined)
      issue(
        ["access", "admins", name, "uid"],
        `received ${admin.uid}, already the uid of "${other}"; give one of them another`,
      );
    uids.set(admin.uid, name);
    if (["root", "daemon", "sshd", "nobody", "sudo", "adm", "haproxy", "debian"].includes(name))
      issue(["access", "admins", name], `received "${name}", the name of a system account; choose another`);
  }
}

function checkModels(spec: HostSpec, issue: Issue): void {
  for (const [name, model] of Object.entries(spec.models)) {
    const demo = model.provider === "demo";
    if (model.apiKey !== null && !(model.apiKey in spec.secrets))
      issue(
        ["models", name, "apiKey"],
        `received "${model.apiKey}", which is no secret of this host; it has ${list(Object.keys(spec.secrets))}`,
      );
    const onHost = demo || model.service !== undefined;
    if (model.service !== undefined && model.provider !== "openai-compatible")
      issue(
        ["models", name, "service"],
        `received one of a provider "${model.provider}"; it must be "openai-compatible"`,
      );
    if (model.service !== undefined && model.apiKey !== null)
      issue(
        ["models", name, "apiKey"],
        "a server on the host is reached by the gateway alone and needs no key; use null",
      );
    if (onHost !== (model.url === null))
      issue(
        ["models", name, "url"],
        onHost ? "a provider on the host has no url; use null" : `received null; set the provider's https:// url`,
      );
    if (model.fallback !== null) checkFallback(spec, name, model.fallback, issue);
    if (onHost !== (model.uid !== null))
      issue(
        ["models", name, "uid"],
        onHost ? "a provider that runs on the host needs a uid" : "a remote provider has no uid; use null",
      );
  }
}

function checkFallback(spec: HostSpec, name: string, fallback: string, issue: Issue): void {
  const path = ["models", name, "fallback"];
  const [own, other] = [spec.models[name], spec.models[fallback]];
  if (own === undefined || other === undefined || fallback === name) {
    issue(path, `received "${fallback}"; name another model provider of this host`);
    return;
  }
  const format = (kind: string) => (kind === "anthropic" || kind === "google" ? kind : "openai");
  if (format(own.provider) !== format(other.provider))
    issue(path, `received "${fallback}", whose wire format is another; the gateway translates none`);
  for (const { agent, model, models } of spec.grants.invoke) {
    if (model !== name) continue;
    const there = spec.grants.invoke.find((grant) => grant.agent === agent && grant.model === fallback)?.models ?? [];
    const missing = models.filter((id) => !there.includes(id));
    if (missing.length > 0)
      issue(
        path,
        `received "${fallback}", on which agent "${agent}" is not granted ${missing.join(", ")}; grant it there`,
      );
  }
}

function checkGrants(spec: HostSpec, issue: Issue): void {
  const seen = new Set<string>();
  const once = (path: (string | number)[], what: string) => {
    if (seen.has(what)) issue(path, `${what} is granted twice; remove one of the two grants`);
    seen.add(what);
  };
  spec.grants.invoke.forEach((grant, i) => {
    const path = ["grants", "invoke", i];
    if (!(grant.agent in spec.agents)) issue([...path, "agent"], unknown("agent", grant.agent, spec.agents));
    if (!(grant.model in spec.models)) issue([...path, "model"], unknown("model", grant.model, spec.models));
    once(path, `model "${grant.model}" to agent "${grant.agent}"`);
  });
  spec.grants.mount.forEach((grant, i) => {
    const path = ["grants", "mount", i];
    if (!(grant.agent in spec.agents)) issue([...path, "agent"], unknown("agent", grant.agent, spec.agents));
    if (!(grant.workspace in spec.workspaces))
      issue([...path, "workspace"], unknown("workspace", grant.workspace, spec.workspaces));
    once(path, `workspace "${grant.workspace}" to agent "${grant.agent}"`);
  });
  (spec.grants.serverMount ?? []).forEach((grant, i) => {
    const path = ["grants", "serverMount", i];
    const local = Object.fromEntries(
      Object.entries(spec.mcpServers ?? {}).filter(([, { source }]) => source.kind === "npm"),
    );
    if (!(grant.server in local)) issue([...path, "server"], unknown("MCP server on it", grant.server, local));
    if (!(grant.workspace in spec.workspaces))
      issue([...path, "workspace"], unknown("workspace", grant.workspace, spec.workspaces));
    once(path, `workspace "${grant.workspace}" to MCP server "${grant.server}"`);
  });
  const checkPrincipal = (path: (string | number)[], principal: string) => {
    const agent = principal.startsWith("agent/") ? principal.slice("agent/".length) : undefined;
    if (agent !== undefined && !(agent in spec.agents))
      issue([...path, "principal"], unknown("agent", agent, spec.agents));
    const shells = Object.fromEntries((spec.grants.shell ?? []).map((grant) => [grant.agent, grant]));
    const shell = principal.startsWith("shell/") ? principal.slice("shell/".length) : undefined;
    if (shell !== undefined && !(shell in shells))
      issue([...path, "principal"], unknown("agent with a shell", shell, shells));
    const server = principal.startsWith("mcp/") ? principal.slice("mcp/".length) : undefined;
    const servers = Object.entries(spec.mcpServers ?? {}).filter(([, { source }]) => source.kind === "npm");
    if (server !== undefined && !servers.some(([name]) => name === server))
      issue([...path, "principal"], unknown("MCP server on the host", server, Object.fromEntries(servers)));
  };
  spec.grants.egress.forEach((grant, i) => {
    const path = ["grants", "egress", i];
    checkPrincipal(path, grant.principal);
    once(path, `name "${grant.name}" to "${grant.principal}"`);
  });
  spec.grants.connect.forEach((grant, i) => {
    const path = ["grants", "connect", i];
    checkPrincipal(path, grant.principal);
    once(path, `port ${grant.port} of "${grant.host}" to "${grant.principal}"`);
  });
}

function checkShells(spec: HostSpec, issue: Issue): void {
  const shells = spec.grants.shell ?? [];
  shells.forEach(({ agent, workspaces }, i) => {
    const path = ["grants", "shell", i];
    if (!(agent in spec.agents)) issue([...path, "agent"], unknown("agent", agent, spec.agents));
    if (shells.findIndex((grant) => grant.agent === agent) !== i)
      issue(path, `a shell is granted to agent "${agent}" twice; remove one of the two grants`);
    const mounts = spec.grants.mount.filter((grant) => grant.agent === agent);
    workspaces.forEach((name, k) => {
      if (!mounts.some(({ workspace }) => workspace === name))
        issue(
          [...path, "workspaces", k],
          `received "${name}", which is not granted to agent "${agent}" itself; it has ${list(mounts.map(({ workspace }) => workspace))}`,
        );
      if (workspaces.indexOf(name) !== k) issue([...path, "workspaces", k], `received "${name}" twice; remove one`);
    });
    if (spec.grants.call?.some((grant) => grant.agent === agent && grant.server === SHELL_SERVER))
      issue(
        path,
        `agent "${agent}" may call MCP server "${SHELL_SERVER}", and its shell has that name with it; name the server otherwise`,
      );
  });
}

function checkMcpServers(spec: HostSpec, issue: Issue): void {
  const servers = spec.mcpServers ?? {};
  for (const [name, { uid, source }] of Object.entries(servers)) {
    const path = ["mcpServers", name];
    const local = source.kind === "npm";
    if (local !== (uid !== null))
      issue(
        [...path, "uid"],
        local ? "received null; a server on the host needs a uid" : "a remote server has no uid; use null",
      );
    const named = local
      ? Object.entries(source.secrets).map(([key, secret]) => [["source", "secrets", key], secret] as const)
      : source.token === null
        ? []
        : [[["source", "token"], source.token] as const];
    for (const [at, secret] of named)
      if (!(secret in spec.secrets)) issue([...path, ...at], unknown("secret", secret, spec.secrets));
    for (const key of local ? Object.keys(source.secrets) : [])
      if (local && key in source.env)
        issue([...path, "source", "env", key], `received "${key}", which is a secret as well; give it once`);
  }
  const seen = new Set<string>();
  (spec.grants.call ?? []).forEach(({ agent, server, tools }, i) => {
    const path = ["grants", "call", i];
    if (!(agent in spec.agents)) issue([...path, "agent"], unknown("agent", agent, spec.agents));
    const known = servers[server];
    if (known === undefined) {
      issue([...path, "server"], unknown("MCP server", server, servers));
      return;
    }
    if (seen.has(`${agent}/${server}`))
      issue(path, `server "${server}" to agent "${agent}" is granted twice; give all tools in one grant`);
    seen.add(`${agent}/${server}`);
    tools.forEach((tool, k) => {
      const why = grantedToolProblem(known.tools, tool, server);
      if (why !== undefined) issue([...path, "tools", k], why);
      if (tools.findIndex(({ name }) => name === tool.name) !== k)
        issue([...path, "tools", k], `received "${tool.name}", which is in the grant twice; remove one`);
    });
  });
}

function checkReads(spec: HostSpec, issue: Issue): void {
  const reads = spec.grants.read ?? [];
  reads.forEach(({ secret, principal }, i) => {
    const path = ["grants", "read", i];
    if (!(secret in spec.secrets)) issue([...path, "secret"], unknown("secret", secret, spec.secrets));
    const strange = whyNoReader(spec, principal, secret);
    if (strange !== undefined) issue([...path, "principal"], strange);
    if (reads.findIndex((grant) => grant.principal === principal && grant.secret === secret) !== i)
      issue(path, `secret "${secret}" to "${principal}" is granted twice; remove one of the two grants`);
    const holder = soleHolder(spec, secret);
    if (holder !== undefined)
      issue(
        [...path, "secret"],
        `received "${secret}", which is ${holder}: whoever reads it goes round every limit that is kept there; give "${principal}" a secret of its own`,
      );
  });
}

/** Why a principal cannot be given a secret to read; undefined if it can. */
function whyNoReader(spec: HostSpec, principal: string, secret: string): string | undefined {
  const [kind, name = ""] = principal.split("/");
  if (kind === "agent") {
    const agent = spec.agents[name];
    if (agent === undefined) return unknown("agent", name, spec.agents);
    return agent.runtime.kind === "openclaw"
      ? `received agent "${name}", whose OpenClaw reads no secret of its own: give it to an MCP server whose tools the agent is granted, or run the agent by Runtime.command`
      : undefined;
  }
  if (kind === "model") {
    const model = spec.models[name];
    if (model === undefined) return unknown("model provider", name, spec.models);
    return model.service === undefined
      ? `received model "${name}", of which no program of yours runs on this host; grant it to one of ModelProvider.onHost`
      : undefined;
  }
  const server = spec.mcpServers?.[name];
  if (server === undefined) return unknown("MCP server", name, spec.mcpServers ?? {});
  if (server.source.kind !== "npm")
    return `received MCP server "${name}", which does not run on this host; the token that the guard sends it is \`token\` of McpPackage.remote`;
  const variable = Object.entries(server.source.secrets).find(([, one]) => one === secret)?.[0];
  return variable === undefined
    ? undefined
    : `received MCP server "${name}", which has "${secret}" as ${variable} already; give it once`;
}

/** Who alone may have a secret, by its name or by another that leads to the same value; undefined if nobody. */
function soleHolder(spec: HostSpec, secret: string): string | undefined {
  const source = JSON.stringify(spec.secrets[secret]?.source);
  const same = (other: string | null) =>
    other !== null &&
    (other === secret || (source !== undefined && JSON.stringify(spec.secrets[other]?.source) === source));
  const model = Object.entries(spec.models).find(([, { apiKey }]) => same(apiKey))?.[0];
  if (model !== undefined) return `the key of model provider "${model}", and the gateway's alone`;
  const remote = Object.entries(spec.mcpServers ?? {}).find(
    ([, { source: from }]) => from.kind === "remote" && same(from.token),
  )?.[0];
  return remote === undefined ? undefined : `the token of MCP server "${remote}", and the guard's alone`;
}

/** Why a tool cannot be granted so; undefined if it can. */
export function grantedToolProblem(
  pinned: readonly PinnedTool[],
  tool: GrantedTool,
  server: string,
): string | undefined {
  const known = pinned.find(({ name }) => name === tool.name);
  if (known === undefined)
    return `received "${tool.name}", which is no pinned tool of "${server}"; it has ${list(pinned.map(({ name }) => name))}: deploy the server without the grant, run \`bailiwick mcp pin <host> ${server}\`, review mcp.lock.json`;
  if (known.class === null)
    return `received "${tool.name}", which nobody has classified; set its "class" in mcp.lock.json to "read" if it changes nothing anywhere, else to "write"`;
  const properties = known.inputSchema.properties;
  const names = typeof properties === "object" && properties !== null ? Object.keys(properties) : [];
  const strange = Object.keys(tool.arguments).find((name) => !names.includes(name));
  if (strange !== undefined)
    return `received argument "${strange}", which "${tool.name}" does not have; it has ${list(names)}`;
  return undefined;
}

/** Under a budget every granted model must have a price, or the gateway would refuse each of its calls. */
function checkBudgets(spec: HostSpec, issue: Issue): void {
  spec.grants.invoke.forEach((grant, i) => {
    const provider = spec.models[grant.model];
    if (provider === undefined || provider.provider === "demo") return;
    const budgets = [grant.budget, spec.agents[grant.agent]?.budget, provider.budget, spec.budget];
    if (!budgets.some((budget) => budget !== undefined && isCapped(budget))) return;
    grant.models.forEach((id, k) => {
      if (!Object.hasOwn(provider.prices, id))
        issue(
          ["grants", "invoke", i, "models", k],
          `received "${id}", whose price is not known and which is under a budget; set it as prices: { "${id}": { input, output } } of the model provider, in USD per million tokens, or take the budget away`,
        );
    });
  });
}

function checkUids(spec: HostSpec, issue: Issue): void {
  const holders = new Map<number, string>();
  const claim = (uid: number, who: string, path: (string | number)[]) => {
    const other = holders.get(uid);
    if (other !== undefined)
      issue(path, `received ${uid}, already the uid (and so the port) of ${other}; set another uid for ${who}`);
    holders.set(uid, who);
  };
  for (const id of ["egress", "gateway", "guard", "resolver"] as const) claim(principalUid(id), id, []);
  for (const [name, agent] of Object.entries(spec.agents)) claim(agent.uid, `agent "${name}"`, ["agents", name, "uid"]);
  for (const [name, model] of Object.entries(spec.models))
    if (model.uid !== null) claim(model.uid, `model "${name}"`, ["models", name, "uid"]);
  for (const [name, { uid }] of Object.entries(spec.mcpServers ?? {}))
    if (uid !== null) claim(uid, `MCP server "${name}"`, ["mcpServers", name, "uid"]);
  (spec.grants.shell ?? []).forEach(({ agent, uid }, i) => {
    claim(uid, `the shell of agent "${agent}"`, ["grants", "shell", i, "uid"]);
  });
}

function unknown(kind: string, name: string, known: Record<string, unknown>): string {
  return `received "${name}", which is no ${kind} of this host; it has ${list(Object.keys(known))}`;
}

function list(names: readonly string[]): string {
  return names.length === 0 ? "none" : names.map((n) => `"${n}"`).join(", ");
}
