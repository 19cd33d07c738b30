import { GATEWAY_PORT } from "../../spec/names.ts";
import { hostPrincipals } from "../egress/principals.ts";
import { broken, held, unless, unprovable, words } from "../judgement.ts";
import type { Outcome, Probe, Subject } from "../probe.ts";
import { gatewayConfig } from "./gateway-config.ts";
import { GatewayConfig } from "./schema.ts";

/** What the probe units hold in place of a virtual key; see the release's probe units. */
const DUMMY_KEY = "dummy";

/** Which agent may call which models: the gateway answers where it must, asks for a key, and knows no other grant. */
export function modelProbes({ spec, manifest }: Subject): Probe[] {
  const hasGateway = hostPrincipals(spec).some(({ kind }) => kind === "gateway");
  return [
    ...spec.grants.invoke.map(({ agent, model }) => route(agent, model)),
    ...(hasGateway ? [grants({ spec, manifest })] : []),
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
    read: (host) => host.root({ do: "text", path: "/opt/bailiwick/current/etc/gateway/gateway.json" }),
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

function parse(text: string): GatewayConfig | undefined {
  try {
    return GatewayConfig.parse(JSON.parse(text));
  } catch {
    return undefined;
  }
}
