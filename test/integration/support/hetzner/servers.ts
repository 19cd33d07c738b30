import type { Call, Routes } from "./api.ts";
import { IMAGES, LOCATIONS, offered, SERVER_TYPES } from "./catalogue.ts";
import { ApiError, invalid } from "./errors.ts";
import { begun, changed, existing, refuseLocked, selected } from "./resources.ts";
import type { Action, PrimaryIp, Server, World } from "./world.ts";

interface CreateBody {
  server_type: string | number;
  image: string | number;
  location?: string;
  user_data?: string;
  ssh_keys?: number[];
  start_after_create?: boolean;
  networks?: number[];
  firewalls?: { firewall: number }[];
  placement_group?: number;
  public_net?: { enable_ipv4: boolean; enable_ipv6: boolean; ipv4?: number; ipv6?: number };
}

const USER_DATA_LIMIT = 32 * 1024;
const SPREAD_LIMIT = 10;

async function create({ world, body }: Call) {
  const wanted = body as unknown as CreateBody;
  const { name: type } = offered(SERVER_TYPES, wanted.server_type, "server_type");
  const { name: image } = offered(IMAGES, wanted.image, "image");
  const { name: location } = offered(LOCATIONS, wanted.location ?? "fsn1", "location");
  const userData = wanted.user_data ?? "";
  if (Buffer.byteLength(userData) > USER_DATA_LIMIT) throw invalid("user_data", "is longer than 32 KiB");
  const keys = (wanted.ssh_keys ?? []).map((id) => existing(world.ssh_keys, id, "ssh_key").id);
  const firewalls = (wanted.firewalls ?? []).map(({ firewall }) => existing(world.firewalls, firewall, "firewall").id);
  const placementGroup = wanted.placement_group || null;
  if (placementGroup !== null) {
    existing(world.placement_groups, placementGroup, "placement_group");
    const members = [...world.servers.values()].filter((one) => one.placementGroup === placementGroup);
    if (members.length >= SPREAD_LIMIT) throw new ApiError("placement_error", "the placement group is full");
  }
  const { enable_ipv4 = true, enable_ipv6 = true } = wanted.public_net ?? {};
  if (!enable_ipv4 && !enable_ipv6 && wanted.start_after_create !== false && (wanted.networks ?? []).length === 0)
    throw invalid("public_net", "a server without public network needs a private one before it starts");
  const server: Server = {
    ...begun(world, world.servers, body),
    ...{ status: "initializing", type, image, location, userData, keys, firewalls, placementGroup },
    ...{ primaryIps: [], privateNet: [], protection: { delete: false, rebuild: false } },
  };
  world.servers.set(server.id, server);
  if (enable_ipv4) server.primaryIps.push((await primaryIp(world, server, "ipv4", wanted.public_net?.ipv4)).id);
  if (enable_ipv6) server.primaryIps.push((await primaryIp(world, server, "ipv6", wanted.public_net?.ipv6)).id);
  const starts = wanted.start_after_create !== false;
  const action = act(world, "create_server", server, async () => {
    if (starts) await world.machines.create(server, world.rulesOf(server), world.addressOf(server));
    server.status = starts ? "running" : "off";
  });
  // A server without a key gets a password for root, which Hetzner mails.
  return { server: shown(world, server), action, next_actions: [], root_password: keys.length === 0 ? "mailed" : null };
}

async function primaryIp(world: World, server: Server, type: "ipv4" | "ipv6", given?: number): Promise<PrimaryIp> {
  if (given !== undefined && given !== 0) {
    const own = existing(world.primary_ips, given, "primary_ip");
    if (own.server !== null) throw new ApiError("conflict", `primary_ip ${given} is assigned already`);
    own.server = server.id;
    return own;
  }
  const id = world.id();
  const any = type === "ipv4" ? `198.51.100.${(id % 250) + 1}` : `2001:db8:${(id % 0xffff).toString(16)}::`;
  const made: PrimaryIp = {
    ...{ id, name: `primary_ip-${id}`, labels: {}, created: new Date().toISOString(), type, auto_delete: true },
    ...{ ip: (await world.machines.address(type)) ?? any, server: server.id, location: server.location },
  };
  world.primary_ips.set(id, made);
  return made;
}

function remove({ world, id }: Call) {
  const server = existing(world.servers, id, "server");
  if (server.protection.delete) throw new ApiError("protected", `server deletion is protected`);
  refuseLocked(world, "server", id);
  const action = act(world, "delete_server", server, async () => {
    await world.machines.remove(server);
    world.servers.delete(id);
    for (const volume of world.volumes.values()) if (volume.server === id) volume.server = null;
    for (const ip of [...world.primary_ips.values()].filter((one) => one.server === id)) {
      ip.server = null;
      if (ip.auto_delete) world.primary_ips.delete(ip.id);
    }
  });
  return { action };
}

function act(world: World, command: string, server: Server, work?: () => Promise<void>): Action {
  return world.act(command, [{ id: server.id, type: "server" }], work);
}

/** The server as the API shows it. */
function shown(world: World, server: Server): object {
  const ips = server.primaryIps.flatMap((id) => world.primary_ips.get(id) ?? []);
  const none = { id: 0, ip: "", blocked: false, dns_ptr: "" };
  const v4 = ips.find(({ type }) => type === "ipv4");
  const v6 = ips.find(({ type }) => type === "ipv6");
  const type = offered(SERVER_TYPES, server.type, "server_type");
  const group = server.placementGroup === null ? null : world.placement_groups.get(server.placementGroup);
  return {
    ...{ id: server.id, name: server.name, labels: server.labels, created: server.created, status: server.status },
    public_net: {
      ipv4: v4 === undefined ? null : { ...none, id: v4.id, ip: v4.ip },
      ipv6: v6 === undefined ? null : { ...none, id: v6.id, ip: `${v6.ip}/64`, dns_ptr: [] },
      floating_ips: [],
      firewalls: server.firewalls.map((id) => ({ id, status: "applied" })),
    },
    private_net: server.privateNet.map((net) => ({ ...net, mac_address: "86:00:00:00:00:01" })),
    ...{ server_type: type, location: offered(LOCATIONS, server.location, "location") },
    ...{ image: offered(IMAGES, server.image, "image"), protection: server.protection },
    volumes: [...world.volumes.values()].filter((one) => one.server === server.id).map(({ id }) => id),
    placement_group: group == null ? null : { ...group, servers: [server.id] },
    ...{ primary_disk_size: type.disk, included_traffic: 0, outgoing_traffic: 0, ingoing_traffic: 0 },
    ...{ backup_window: null, rescue_enabled: false, iso: null, locked: world.isLocked("server", server.id) },
    load_balancers: [],
  };
}

/** An action of a server that others of it must not run beside. */
function alone(command: string, work: (call: Call, server: Server) => Promise<void> | void) {
  return (call: Call) => {
    const server = existing(call.world.servers, call.id, "server");
    refuseLocked(call.world, "server", call.id);
    return { action: act(call.world, command, server, async () => work(call, server)) };
  };
}

export const serverRoutes: Routes = {
  "POST /servers": create,
  "GET /servers": ({ world, query }) => ({
    servers: selected(world.servers, query).map((server) => shown(world, server)),
  }),
  "GET /servers/:id": ({ world, id }) => ({ server: shown(world, existing(world.servers, id, "server")) }),
  "PUT /servers/:id": ({ world, id, body }) => ({
    server: shown(world, changed(existing(world.servers, id, "server"), body)),
  }),
  "DELETE /servers/:id": remove,
  "POST /servers/:id/actions/change_protection": (call) => {
    const server = existing(call.world.servers, call.id, "server");
    const { delete: ofDelete, rebuild } = { ...server.protection, ...call.body } as Server["protection"];
    if (ofDelete !== rebuild) throw invalid("rebuild", "must have the same value as delete");
    return {
      action: act(call.world, "change_protection", server, async () => {
        server.protection = { delete: ofDelete, rebuild };
      }),
    };
  },
  "POST /servers/:id/actions/poweron": alone("start_server", async ({ world }, server) => {
    if (server.status === "off") await world.machines.create(server, world.rulesOf(server), world.addressOf(server));
    server.status = "running";
  }),
  "POST /servers/:id/actions/poweroff": alone("stop_server", (_, server) => {
    server.status = "off";
  }),
  "POST /servers/:id/actions/attach_to_network": (call) => {
    const { world, id, body } = call;
    const server = existing(world.servers, id, "server");
    const network = existing(world.networks, Number(body.network), "network");
    if (network.subnets.length === 0) throw new ApiError("service_error", "the network has no subnet");
    refuseLocked(world, "server", id);
    const base = String(body.ip_range ?? network.subnets.at(-1)?.ip_range).replace(/\.\d+\/\d+$/, "");
    const taken = [...world.servers.values()].flatMap(({ privateNet }) => privateNet.map(({ ip }) => ip));
    const free = Array.from({ length: 250 }, (_, i) => `${base}.${i + 2}`).find((ip) => !taken.includes(ip));
    const ip = String(body.ip || free);
    if (taken.includes(ip)) throw new ApiError("conflict", `ip ${ip} is not available`);
    return {
      action: act(world, "attach_to_network", server, async () => {
        server.privateNet.push({ network: network.id, ip, alias_ips: (body.alias_ips as string[]) ?? [] });
      }),
    };
  },
  "POST /servers/:id/actions/detach_from_network": alone("detach_from_network", ({ body }, server) => {
    server.privateNet = server.privateNet.filter(({ network }) => network !== body.network);
  }),
};
