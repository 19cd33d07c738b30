import type { Routes } from "./api.ts";
import { ApiError } from "./errors.ts";
import { begun, changed, existing, selected } from "./resources.ts";
import type { Network, World } from "./world.ts";

function shown(world: World, network: Network): object {
  const servers = [...world.servers.values()].filter(({ privateNet }) =>
    privateNet.some((one) => one.network === network.id),
  );
  return {
    ...network,
    ...{ routes: [], load_balancers: [], protection: { delete: false }, expose_routes_to_vswitch: false },
    servers: servers.map(({ id }) => id),
  };
}

function inUse(world: World, network: number, range?: string): boolean {
  const prefix = range?.replace(/\.\d+\/\d+$/, ".");
  return [...world.servers.values()].some(({ privateNet }) =>
    privateNet.some((one) => one.network === network && (prefix === undefined || one.ip.startsWith(prefix))),
  );
}

export const networkRoutes: Routes = {
  "POST /networks": ({ world, body }) => {
    const network: Network = { ...begun(world, world.networks, body), ip_range: String(body.ip_range), subnets: [] };
    world.networks.set(network.id, network);
    return { network: shown(world, network) };
  },
  "GET /networks": ({ world, query }) => ({
    networks: selected(world.networks, query).map((one) => shown(world, one)),
  }),
  "GET /networks/:id": ({ world, id }) => ({ network: shown(world, existing(world.networks, id, "network")) }),
  "PUT /networks/:id": ({ world, id, body }) => ({
    network: shown(world, changed(existing(world.networks, id, "network"), body)),
  }),
  "DELETE /networks/:id": ({ world, id }) => {
    existing(world.networks, id, "network");
    if (inUse(world, id)) throw new ApiError("resource_in_use", "a server is in the network");
    world.networks.delete(id);
    return undefined;
  },
  "POST /networks/:id/actions/add_subnet": ({ world, id, body }) => {
    const network = existing(world.networks, id, "network");
    const { type, ip_range, network_zone } = body as Record<string, string>;
    if (type === undefined || ip_range === undefined || network_zone === undefined)
      throw new ApiError("invalid_input", "type, ip_range and network_zone are required");
    const gateway = network.ip_range.replace(/\.\d+\/\d+$/, ".1");
    return {
      action: world.act("add_subnet", [{ id, type: "network" }], async () => {
        network.subnets.push({ type, ip_range, network_zone, gateway });
      }),
    };
  },
  "POST /networks/:id/actions/delete_subnet": ({ world, id, body }) => {
    const network = existing(world.networks, id, "network");
    const range = String(body.ip_range);
    if (inUse(world, id, range)) throw new ApiError("resource_in_use", "a server is in the subnet");
    return {
      action: world.act("delete_subnet", [{ id, type: "network" }], async () => {
        network.subnets = network.subnets.filter((one) => one.ip_range !== range);
      }),
    };
  },
};
