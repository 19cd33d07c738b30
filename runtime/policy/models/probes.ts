import { sha256 } from "../../spec/digest.ts";
import { GATEWAY_ADMIN_PORT, GATEWAY_PORT } from "../../spec/names.ts";
import { hostPrincipals } from "../egress/principals.ts";
import { broken, held, unless, unprovable, words } from "../judgement.ts";
import type { Outcome, Probe, Subject } from "../probe.ts";
import { gatewayConfig } from "./gateway-config.ts";
import { GatewayConfig } from "./schema.ts";

const CONFIG = "/opt/bailiwick/current/etc/gateway/gateway.json";

/** What the probe units hold in place of a virtual key; see the release's probe units. */
const DUMMY_KEY = "dummy";

/** Which agent may call which models: the gateway answers where it must, asks for a key, and knows no other grant. */
export function modelProbes({ spec, manifest }: Subject): Probe[] {
  const hasGateway = hostPrincipals(spec).some(({ kind }) => kind === "gateway");
  return [
    ...spec.grants.invoke.map(({ agent, model }) => route(agent, model)),
    ...(hasGateway ? [grants({ spec, manifest }), inForce()] : []),
  ];
}

function route(agent: string, model: string): Probe<Outcome> {
  return {
    id: `agent/${agent}/model/${model}`,
    vantage: `principal:agent/${agent}`,
    title: `reaches model "${model}" through the gateway, which asks for its key`,
    expected: "401 to a key that is none",
    read: (host) =>
      host.as(`agent/${agent}`, {
        do: "http",
        port: GATEWAY_PORT,
        path: `/${model}/v1/models`,
        headers: { authorization: `Bearer ${DUMMY_KEY}` },
      }),
    judge: (outcome) => {
      if (outcome.value === 401) return held("401");
      if (outcome.ok) return broken(`${String(outcome.value)} to a key that is none`);
      return broken(`the gateway did not answer: ${words(outcome)}`);
    },
  };
}

/** Of the gateway's configuration, what the spec decides: who may call what, by which credential, for how much. */
function decided({ listen, keys, routes, budgets }: GatewayConfig) {
  return { listen, keys: keys.map(({ agent }) => agent), routes, budgets };
}

function grants({ spec }: Subject): Probe<Outcome> {
  const wanted = decided(GatewayConfig.parse(gatewayConfig(spec, () => ["0".repeat(64)])));
  return {
    id: "root/gateway-grants",
    vantage: "root",
    title: "the gateway's configuration holds the granted models and no others",
    expected: `${wanted.routes.length} providers, keys of ${wanted.keys.join(", ") || "nobody"}`,
    read: (host) => host.root({ do: "text", path: CONFIG }),
    judge: (outcome) => {
      if (!outcome.ok) return broken(`the configuration cannot be read: ${words(outcome)}`);
      const parsed = parse(String(outcome.value));
      if (parsed === undefined) return unprovable("not this kit's", "the configuration is not in this kit's format");
      const found = decided(parsed);
      const text = (value: unknown) => JSON.stringify(value);
      const problems = [
        ...found.routes
          .filter((one) => !wanted.routes.some((other) => text(other) === text(one)))
          .map((one) => `not granted so: ${text(one)}`),
        ...wanted.routes
          .filter((one) => !found.routes.some((other) => text(other) === text(one)))
          .map((one) => `missing: ${one.name}`),
        ...(text(found.keys) === text(wanted.keys) ? [] : [`keys of ${found.keys.join(", ") || "nobody"}`]),
        ...(text(found.budgets) === text(wanted.budgets) ? [] : ["its budgets are not those of the spec"]),
        ...(text(found.listen) === text(wanted.listen)
          ? []
          : [`it listens at ${found.listen.host}:${found.listen.port}`]),
      ];
      return unless(problems, "as granted");
    },
  };
}

/** The gateway takes a new configuration without a restart, so what lies there need not be what it goes by. */
function inForce(): Probe<{ file: Outcome; status: Outcome }> {
  return {
    id: "root/gateway-in-force",
    vantage: "root",
    title: "the gateway goes by that configuration, and no other that it read before",
    expected: "the file's sha256",
    read: async (host) => {
      const [file, status] = await Promise.all([
        host.root({ do: "text", path: CONFIG }),
        host.root({ do: "http-text", port: GATEWAY_ADMIN_PORT, path: "/status" }),
      ]);
      return { file, status };
    },
    judge: ({ file, status }) => {
      if (!file.ok) return broken(`the configuration cannot be read: ${words(file)}`);
      if (!status.ok) return unprovable(words(status), "the gateway does not say by which configuration it goes");
      const digest = /"config":"([0-9a-f]{64})"/.exec(String(status.value))?.[1];
      if (digest === sha256(String(file.value))) return held("the file's sha256");
      return broken(`another: ${digest?.slice(0, 12) ?? "none"}`);
    },
  };
}

function parse(text: string): GatewayConfig | undefined {
  try {
    return GatewayConfig.parse(JSON.parse(text));
  } catch {
    return undefined;
  }
}
