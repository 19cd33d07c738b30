import type { HostSpec } from "../../spec/host-spec.ts";
import { GATEWAY_PORT, principalPort } from "../../spec/names.ts";
import { secretCredential } from "../secrets/credentials.ts";
import { providerUrl } from "./provider-url.ts";
import { GATEWAY_LIMITS, type GatewayConfig } from "./schema.ts";

/**
 * Configuration of the model gateway: one route per provider that some agent may call, one key per agent that may call.
 * @param keyHashes hex sha256 of an agent's virtual key, and while it is rotated of the one before too
 */
export function gatewayConfig(spec: HostSpec, keyHashes: (agent: string) => string[]): GatewayConfig {
  const callers = [...new Set(spec.grants.invoke.map(({ agent }) => agent))].sort();
  return {
    listen: { host: "127.0.0.1", port: GATEWAY_PORT },
    keys: callers.map((agent) => ({ agent, sha256: keyHashes(agent) })),
    routes: Object.entries(spec.models)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([name, model]) => ({
        name,
        provider: model.provider,
        upstream: providerUrl(name, model) ?? `http://127.0.0.1:${principalPort(demoUid(name, model.uid))}`,
        credential: model.apiKey === null ? null : secretCredential(model.apiKey),
        grants: spec.grants.invoke
          .filter((grant) => grant.model === name)
          .map(({ agent, models }) => ({ agent, models: [...models].sort() }))
          .sort((a, b) => (a.agent < b.agent ? -1 : 1)),
      }))
      .filter(({ grants }) => grants.length > 0),
    limits: { ...GATEWAY_LIMITS },
  };
}

function demoUid(name: string, uid: number | null): number {
  if (uid === null) throw new Error(`models.${name}: received neither url nor uid; a provider has one of them`);
  return uid;
}
