import { Cidr } from "../../../../runtime/spec/network.ts";
import type { Call, Routes } from "./api.ts";
import { ApiError, invalid } from "./errors.ts";
import { begun, changed, existing, selected } from "./resources.ts";
import type { Firewall, FirewallRule, Server, World } from "./world.ts";

function shown(world: World, firewall: Firewall): object {
  return {
    ...firewall,
    rules: firewall.rules.map((rule) => ({
      ...{ direction: rule.direction, protocol: rule.protocol, port: rule.port ?? null },
      ...{ description: rule.description ?? null },
      ...{ source_ips: rule.source_ips ?? [], destination_ips: rule.destination_ips ?? [] },
    })),
    applied_to: serversOf(world, firewall).map(({ id }) => ({ type: "server", server: { id } })),
  };
}

function serversOf(world: World, firewall: Firewall): Server[] {
  return [...world.servers.values()].filter(({ firewalls }) => firewalls.includes(firewall.id));
}

function rulesOf(given: unknown): FirewallRule[] {
  const rules = (given ?? []) as FirewallRule[];
  for (const [i, { source_ips = [] }] of rules.entries()) {
    if (source_ips.length > 100) throw invalid(`rules[${i}].source_ips`, "at most 100");
    for (const one of source_ips)
      if (!Cidr.safeParse(one).success) throw invalid(`rules[${i}].source_ips`, `${one} is no network`);
  }
  return rules;
}

/** Servers of a list such as `[{ type: "server", server: { id } }]`. */
function named(world: World, list: unknown): Server[] {
  return (list as { server: { id: number } }[]).map(({ server }) => existing(world.servers, server.id, "server"));
}

function applied({ world, id, body }: Call, key: "apply_to" | "remove_from") {
  const firewall = existing(world.firewalls, id, "firewall");
  const actions = named(world, body[key]).map((server) => {
    const others = server.firewalls.filter((one) => one !== id);
    server.firewalls = key === "apply_to" ? [...others, id] : others;
    return ruled(world, firewall, server, `${key}_firewall`);
  });
  return { actions };
}

function ruled(world: World, firewall: Firewall, server: Server, command: string) {
  const resources = [
    { id: firewall.id, type: "firewall" },
    { id: server.id, type: "server" },
  ];
  return world.act(command, resources, () => world.machines.setRules(server, world.rulesOf(server)));
}

export const firewallRoutes: Routes = {
  "POST /firewalls": ({ world, body }) => {
    const firewall: Firewall = { ...begun(world, world.firewalls, body), rules: rulesOf(body.rules) };
    world.firewalls.set(firewall.id, firewall);
    return { firewall: shown(world, firewall), actions: [] };
  },
  "GET /firewalls": ({ world, query }) => ({
    firewalls: selected(world.firewalls, query).map((one) => shown(world, one)),
  }),
  "GET /firewalls/:id": ({ world, id }) => ({ firewall: shown(world, existing(world.firewalls, id, "firewall")) }),
  "PUT /firewalls/:id": ({ world, id, body }) => ({
    firewall: shown(world, changed(existing(world.firewalls, id, "firewall"), body)),
  }),
  "DELETE /firewalls/:id": ({ world, id }) => {
    if (serversOf(world, existing(world.firewalls, id, "firewall")).length > 0)
      throw new ApiError("resource_in_use", "the firewall is applied to a server");
    world.firewalls.delete(id);
    return undefined;
  },
  "POST /firewalls/:id/actions/set_rules": ({ world, id, body }) => {
    const firewall = existing(world.firewalls, id, "firewall");
    firewall.rules = rulesOf(body.rules);
    return {
      actions: serversOf(world, firewall).map((server) => ruled(world, firewall, server, "set_firewall_rules")),
    };
  },
  "POST /firewalls/:id/actions/apply_to_resources": (call) => applied(call, "apply_to"),
  "POST /firewalls/:id/actions/remove_from_resources": (call) => applied(call, "remove_from"),
};
