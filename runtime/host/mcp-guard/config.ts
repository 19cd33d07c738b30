import { readFileSync } from "node:fs";
import { join } from "node:path";
import { GuardConfig } from "../../policy/tools/schema.ts";
import { toolHash } from "../../spec/tool-definitions.ts";
import type { ServerEntry } from "./catalogue.ts";
import { remoteTransport } from "./remote-transport.ts";
import { unixTransport } from "./unix-transport.ts";

/** A configuration that cannot be used; the message names the file, the path in it, what was received and what to do. */
export class ConfigError extends Error {}

export interface Loaded {
  readonly config: GuardConfig;
  readonly servers: readonly ServerEntry[];
}

/**
 * Reads the configuration file and the credentials it names.
 * @param credentials directory of the credentials, `$CREDENTIALS_DIRECTORY`; needed only if a server names one
 * @throws ConfigError
 */
export function loadConfig(file: string, credentials: string | undefined): Loaded {
  let json: unknown;
  try {
    json = JSON.parse(readText(file, "the configuration"));
  } catch (error) {
    if (error instanceof ConfigError) throw error;
    throw new ConfigError(`${file}: is not valid JSON; push the release again`);
  }
  const result = GuardConfig.safeParse(json);
  if (!result.success)
    throw new ConfigError(
      result.error.issues.map((i) => `${file}: ${i.path.join(".") || "document"}: ${i.message}`).join("\n"),
    );
  const config = result.data;
  const problems = contradictions(config);
  if (problems.length > 0) throw new ConfigError(problems.map((problem) => `${file}: ${problem}`).join("\n"));
  const limit = config.limits.resultBytes;
  return {
    config,
    servers: config.servers.map(({ backend, callMs = config.limits.callMs, exitStatus = false, ...server }) => {
      const entry = { ...server, callMs, exitStatus };
      if (backend.kind === "unix")
        return { ...entry, open: (listener) => unixTransport(backend.path, limit, listener) };
      const token = backend.credential === null ? null : readCredential(credentials, backend.credential);
      return { ...entry, open: (listener) => remoteTransport({ url: backend.url, token }, limit, listener) };
    }),
  };
}

/** What the schema cannot say: nothing ambiguous, nothing that would open more than it says. */
function contradictions({ agents, servers }: GuardConfig): string[] {
  const problems: string[] = [];
  const once = (what: string, values: readonly string[]) => {
    values.forEach((value, i) => {
      if (values.indexOf(value) !== i) problems.push(`${what} "${value}" occurs twice`);
    });
  };
  once(
    "agents: agent",
    agents.map(({ agent }) => agent),
  );
  once(
    "agents: token hash",
    agents.flatMap(({ sha256 }) => sha256),
  );
  once(
    "servers: name",
    servers.map(({ name }) => name),
  );
  for (const { name, backend, tools, grants } of servers) {
    const at = `servers "${name}"`;
    once(
      `${at}: tool`,
      tools.map((tool) => tool.name),
    );
    for (const tool of tools)
      if (toolHash(tool) !== tool.hash) problems.push(`${at}: tool "${tool.name}" is not the one of its hash`);
    once(
      `${at}: grant to agent`,
      grants.map(({ agent }) => agent),
    );
    for (const { agent, tools: granted } of grants) {
      if (!agents.some((one) => one.agent === agent)) problems.push(`${at}: agent "${agent}" has no token`);
      once(
        `${at}: agent "${agent}" is granted tool`,
        granted.map((tool) => tool.name),
      );
      for (const { name: tool } of granted)
        if ((tools.find((one) => one.name === tool)?.class ?? null) === null)
          problems.push(`${at}: agent "${agent}" is granted tool "${tool}", which is not pinned and classified`);
    }
    if (backend.kind === "remote" && !isRemoteUrl(backend.url))
      problems.push(`${at}: received url ${JSON.stringify(backend.url)}; must be https:// (http:// only on 127.0.0.1)`);
  }
  return problems;
}

function isRemoteUrl(text: string): boolean {
  if (!URL.canParse(text)) return false;
  const { protocol, hostname, username, password, href } = new URL(text);
  const spelledSo = href === text || href === `${text}/`;
  return (
    spelledSo &&
    username === "" &&
    password === "" &&
    (protocol === "https:" || (protocol === "http:" && hostname === "127.0.0.1"))
  );
}

function readCredential(directory: string | undefined, name: string): string {
  if (!/^[A-Za-z0-9_-][A-Za-z0-9._-]*$/.test(name))
    throw new ConfigError(`credential ${JSON.stringify(name)}: must be a plain file name`);
  if (directory === undefined || directory === "")
    throw new ConfigError(`credential ${name}: CREDENTIALS_DIRECTORY is not set; start the guard by its unit`);
  const token = readText(join(directory, name), `credential ${name}`).replace(/\r?\n$/, "");
  if (!/^[\x21-\x7e]{8,4096}$/.test(token))
    throw new ConfigError(
      `credential ${name}: received ${token.length} characters; must be 8 to 4096 of printable ASCII without spaces; set the secret and push again`,
    );
  return token;
}

function readText(path: string, what: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    const code = error instanceof Error && "code" in error ? String(error.code) : "unknown error";
    throw new ConfigError(`${what}: cannot read ${path} (${code}); push the release again`);
  }
}
