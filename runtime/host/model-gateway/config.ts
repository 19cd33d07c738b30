import { readFileSync } from "node:fs";
import { isIP } from "node:net";
import { basename, join } from "node:path";
import { GatewayConfig, providerUrlProblem } from "../../policy/models/schema.ts";
import { sha256 } from "../../spec/digest.ts";
import { NAME_PATTERN } from "../../spec/names.ts";
import { KeyRing } from "./keys.ts";
import { wireFormat } from "./refusal.ts";
import type { Route } from "./routes.ts";
import { Upstream } from "./upstream.ts";

/** A configuration that cannot be used; the message names the file, the path in it, what was received and what to do. */
export class ConfigError extends Error {
  constructor(message: string) {
    super(message);
    this.name = "ConfigError";
  }
}

type ConfiguredRoute = GatewayConfig["routes"][number];

/** All that decides about calls, as one value: a reload replaces it whole or not at all. Holds the providers' keys. */
export interface Policy {
  /** Hex sha256 of the configuration file. */
  readonly digest: string;
  readonly listen: GatewayConfig["listen"];
  readonly limits: GatewayConfig["limits"];
  readonly budgets: GatewayConfig["budgets"];
  readonly keys: KeyRing;
  readonly routes: ReadonlyMap<string, Route>;
}

/**
 * Reads the configuration file and the credentials it names.
 * @param credentials the directory of the credentials, `$CREDENTIALS_DIRECTORY`; needed only if a route names one
 * @param before the policy it takes the place of: of a provider that stays where it is, the connections and what is known
 *   of its health stay too
 * @throws ConfigError
 */
export function loadPolicy(file: string, credentials: string | undefined, before?: Policy): Policy {
  const text = readText(file, "the configuration");
  const config = parseConfig(file, text);
  const upstream = ({ name, upstream: url }: ConfiguredRoute) => {
    const known = before?.routes.get(name)?.upstream;
    return known?.url === url ? known : new Upstream(url);
  };
  const routes = config.routes.map((route): [string, Route] => [
    route.name,
    {
      name: route.name,
      provider: route.provider,
      upstream: upstream(route),
      key: route.credential === null ? null : readCredential(credentials, route.credential),
      grants: new Map(route.grants.map(({ agent, models, limits }) => [agent, { models: new Set(models), limits }])),
      fallback: route.fallback,
      logContent: route.logContent,
      prices: new Map(Object.entries(route.prices)),
    },
  ]);
  const { listen, limits, budgets } = config;
  return { digest: sha256(text), listen, limits, budgets, keys: new KeyRing(config.keys), routes: new Map(routes) };
}

/**
 * The text of a configuration that by itself, without its credentials, could be used.
 * @throws ConfigError
 */
export function checkConfig(file: string): string {
  const text = readText(file, "the configuration");
  parseConfig(file, text);
  return text;
}

/**
 * The validated configuration.
 * @param file its name, for messages only
 * @throws ConfigError with all problems
 */
function parseConfig(file: string, text: string): GatewayConfig {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    throw new ConfigError(`${file}: is not valid JSON; push the release again`);
  }
  const result = GatewayConfig.safeParse(json);
  if (!result.success)
    throw new ConfigError(
      result.error.issues.map((i) => `${file}: ${i.path.join(".") || "document"}: ${i.message}`).join("\n"),
    );
  const problems = contradictions(result.data);
  if (problems.length > 0) throw new ConfigError(problems.map((p) => `${file}: ${p}`).join("\n"));
  return result.data;
}

/** What the schema cannot say: nothing ambiguous, nothing that would open more than it says. */
function contradictions(config: GatewayConfig): string[] {
  const problems: string[] = [];
  const { port } = config.listen;
  if (port < 0 || port > 65535) problems.push(`listen.port: received ${port}; must be 0 to 65535`);
  const { adminPort } = config.listen;
  if (adminPort < 0 || adminPort > 65535 || (adminPort === port && port !== 0))
    problems.push(`listen.adminPort: received ${adminPort}; must be 0 to 65535, and not the port of the agents`);
  for (const [name, value] of Object.entries(config.limits))
    if (value < 1) problems.push(`limits.${name}: received ${value}; must be at least 1`);

  if (config.budgets.maxOutputTokens < 1)
    problems.push(`budgets.maxOutputTokens: received ${config.budgets.maxOutputTokens}; must be at least 1`);
  config.budgets.caps.forEach(({ scope }, i) => {
    if (config.budgets.caps.findIndex((other) => other.scope === scope) !== i)
      problems.push(`budgets.caps.${i}: "${scope}" occurs twice; give it one entry`);
  });

  const agents = new Set<string>();
  const hashes = new Set<string>();
  config.keys.forEach(({ agent, sha256 }, i) => {
    if (agents.has(agent)) problems.push(`keys.${i}: agent "${agent}" occurs twice; give it one entry`);
    agents.add(agent);
    for (const hash of sha256) {
      if (hashes.has(hash)) problems.push(`keys.${i}: the same key hash occurs twice; give every agent its own key`);
      hashes.add(hash);
    }
  });

  const names = new Set<string>();
  config.routes.forEach((route, i) => {
    const at = `routes.${i}`;
    if (!NAME_PATTERN.test(route.name))
      problems.push(`${at}.name: received ${JSON.stringify(route.name)}; must be a name such as claude`);
    if (names.has(route.name)) problems.push(`${at}.name: "${route.name}" occurs twice`);
    names.add(route.name);
    const problem = upstreamProblem(route.upstream);
    if (problem !== undefined) problems.push(`${at}.upstream: received ${JSON.stringify(route.upstream)}; ${problem}`);
    if (route.credential !== null && !isFileName(route.credential))
      problems.push(`${at}.credential: received ${JSON.stringify(route.credential)}; must be a plain file name`);
    problems.push(...fallbackProblems(config, route).map((problem) => `${at}.fallback: ${problem}`));
    const granted = new Set<string>();
    route.grants.forEach((grant, k) => {
      if (!agents.has(grant.agent)) problems.push(`${at}.grants.${k}: agent "${grant.agent}" has no key`);
      if (granted.has(grant.agent)) problems.push(`${at}.grants.${k}: agent "${grant.agent}" occurs twice`);
      granted.add(grant.agent);
    });
  });
  return problems;
}

function fallbackProblems(config: GatewayConfig, { name, provider, fallback, grants }: ConfiguredRoute): string[] {
  if (fallback === null) return [];
  const other = config.routes.find((route) => route.name === fallback && route.name !== name);
  if (other === undefined) return [`received "${fallback}", which is no other route`];
  if (wireFormat(other.provider) !== wireFormat(provider))
    return [`received "${fallback}", whose wire format is another; nothing is translated`];
  return grants.flatMap(({ agent, models }) => {
    const there = other.grants.find((grant) => grant.agent === agent)?.models ?? [];
    const missing = models.filter((model) => !there.includes(model));
    return missing.length === 0 ? [] : [`agent "${agent}" is not granted ${missing.join(", ")} on "${fallback}"`];
  });
}

/** By address as in the spec, but for loopback, which is what runs on the host; by name https, on whichever port. */
function upstreamProblem(text: string): string | undefined {
  // of one spelling only: what URL would repair (case, `..`, user:password, spaces) is refused instead
  const url = /^(https?):\/\/([a-z0-9.-]+|\[[0-9a-f:]+\])(?::\d{1,5})?((?:\/[A-Za-z0-9._~-]+)*)\/?$/.exec(text);
  if (url === null || !URL.canParse(text))
    return "must be an origin and at most a path, such as https://api.example.com";
  const [, scheme, host = "", path = ""] = url;
  if (path.split("/").some((segment) => segment === "." || segment === "..")) return "the path may hold no . or ..";
  const local = scheme === "http" && host === "127.0.0.1";
  if (!local && isIP(host.replace(/^\[|\]$/g, "")) !== 0) return providerUrlProblem(text);
  return local || scheme === "https" ? undefined : "must be https:// (http:// only to 127.0.0.1 or a private address)";
}

function isFileName(name: string): boolean {
  return /^[A-Za-z0-9._-]+$/.test(name) && basename(name) === name && name !== "." && name !== "..";
}

function readCredential(directory: string | undefined, name: string): string {
  if (directory === undefined || directory === "")
    throw new ConfigError(`credential ${name}: CREDENTIALS_DIRECTORY is not set; start the gateway by its unit`);
  const key = readText(join(directory, name), `credential ${name}`).replace(/\r?\n$/, "");
  // never the value: only its length
  if (!/^[\x21-\x7e]{8,4096}$/.test(key))
    throw new ConfigError(
      `credential ${name}: received ${key.length} characters; must be 8 to 4096 of printable ASCII without spaces; set the secret and push again`,
    );
  return key;
}

function readText(path: string, what: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    const code = error instanceof Error && "code" in error ? String(error.code) : "unknown error";
    throw new ConfigError(`${what}: cannot read ${path} (${code}); push the release again`);
  }
}
