import type { HostSpec } from "../../spec/host-spec.ts";
import { GATEWAY_ADMIN_PORT, GATEWAY_PORT, principalPort } from "../../spec/names.ts";
import { byName } from "../egress/principals.ts";
import { secretCredential } from "../secrets/credentials.ts";
import { providerUrl } from "./provider-url.ts";
import {
  type Budget,
  GATEWAY_LIMITS,
  type GatewayConfig,
  isCapped,
  MAX_OUTPUT_TOKENS,
  type ModelPrice,
} from "./schema.ts";

/**
 * Configuration of the model gateway: one route per provider that some agent may call, one key per agent that may call.
 * @param keyHashes hex sha256 of an agent's virtual key, and while it is rotated of the one before too
 */
export function gatewayConfig(spec: HostSpec, keyHashes: (agent: string) => string[]): GatewayConfig {
  const granted = new Set(spec.grants.invoke.map(({ model }) => model));
  const callers = [...new Set(spec.grants.invoke.map(({ agent }) => agent))].sort();
  return {
    listen: { host: "127.0.0.1", port: GATEWAY_PORT, adminPort: GATEWAY_ADMIN_PORT },
    keys: callers.map((agent) => ({ agent, sha256: keyHashes(agent) })),
    routes: Object.entries(spec.models)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([name, model]) => ({
        name,
        provider: model.provider,
        upstream: providerUrl(name, model) ?? `http://127.0.0.1:${principalPort(ownUid(name, model.uid))}`,
        credential: model.apiKey === null ? null : secretCredential(model.apiKey),
        grants: spec.grants.invoke
          .filter((grant) => grant.model === name)
          .map(({ agent, models, limits }) => ({ agent, models: [...models].sort(), limits }))
          .sort((a, b) => (a.agent < b.agent ? -1 : 1)),
        fallback: granted.has(model.fallback ?? "") ? model.fallback : null,
        prices: model.provider === "demo" ? demoPrices(spec, name) : model.prices,
        logContent: model.logContent ?? false,
      }))
      .filter(({ grants }) => grants.length > 0),
    budgets: {
      timeZone: spec.budget.timeZone,
      ledger: LEDGER,
      maxOutputTokens: MAX_OUTPUT_TOKENS,
      caps: caps(spec),
    },
    limits: { ...GATEWAY_LIMITS },
  };
}

/** On the data volume, which outlives the machine: a rebuilt host has spent what the one before it had. */
const LEDGER = "/var/lib/bailiwick/gateway/ledger.db";

function caps(spec: HostSpec): GatewayConfig["budgets"]["caps"] {
  const all = [
    { scope: "host", ...pick(spec.budget) },
    ...byName(spec.agents).map(([name, { budget }]) => ({ scope: `agent/${name}`, ...pick(budget) })),
    ...byName(spec.models).map(([name, { budget }]) => ({ scope: `model/${name}`, ...pick(budget) })),
    ...spec.grants.invoke
      .map(({ agent, model, budget }) => ({ scope: `grant/${agent}/${model}`, ...pick(budget) }))
      .sort((a, b) => (a.scope < b.scope ? -1 : 1)),
  ];
  return all.filter(isCapped);
}

function pick({ usdPerDay, usdPerMonth }: Budget): Budget {
  return { usdPerDay, usdPerMonth };
}

function demoPrices(spec: HostSpec, name: string): Record<string, ModelPrice> {
  const ids = spec.grants.invoke.filter(({ model }) => model === name).flatMap(({ models }) => models);
  return Object.fromEntries([...new Set(ids)].sort().map((id) => [id, FREE]));
}

const FREE: ModelPrice = {
  input: 0,
  output: 0,
  cacheRead: 0,
  cacheWrite: 0,
  cacheWrite1h: 0,
  above: null,
  contextTokens: 1,
};

function ownUid(name: string, uid: number | null): number {
  if (uid === null) throw new Error(`models.${name}: received neither url nor uid; a provider has one of them`);
  return uid;
}
