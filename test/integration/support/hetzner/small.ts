import { createHash } from "node:crypto";
import type { Routes } from "./api.ts";
import { LOCATIONS, offered } from "./catalogue.ts";
import { ApiError, invalid } from "./errors.ts";
import { begun, changed, existing, selected } from "./resources.ts";
import type { PrimaryIp, SshKey, World } from "./world.ts";

/** SSH keys, placement groups and primary IPs. */

function membersOf(world: World, group: number): number[] {
  return [...world.servers.values()].filter((one) => one.placementGroup === group).map(({ id }) => id);
}

function shownIp({ server, location, ...ip }: PrimaryIp): object {
  return {
    ...ip,
    ...{ assignee_id: server, assignee_type: "server", blocked: false, dns_ptr: [], protection: { delete: false } },
    location: offered(LOCATIONS, location, "location"),
  };
}

export const smallRoutes: Routes = {
  "POST /ssh_keys": ({ world, body }) => {
    const [type, blob] = String(body.public_key).split(" ");
    if (!/^(ssh-|sk-|ecdsa-)/.test(type ?? "") || blob === undefined) throw invalid("public_key", "is no public key");
    const md5 = createHash("md5").update(Buffer.from(blob, "base64")).digest("hex");
    const fingerprint = md5.replaceAll(/..(?!$)/g, "$&:");
    if ([...world.ssh_keys.values()].some((one) => one.fingerprint === fingerprint))
      throw new ApiError("uniqueness_error", "SSH key with the same fingerprint already exists");
    const key: SshKey = { ...begun(world, world.ssh_keys, body), public_key: String(body.public_key), fingerprint };
    world.ssh_keys.set(key.id, key);
    return { ssh_key: key };
  },
  "GET /ssh_keys": ({ world, query }) => ({ ssh_keys: selected(world.ssh_keys, query) }),
  "GET /ssh_keys/:id": ({ world, id }) => ({ ssh_key: existing(world.ssh_keys, id, "ssh_key") }),
  "PUT /ssh_keys/:id": ({ world, id, body }) => ({ ssh_key: changed(existing(world.ssh_keys, id, "ssh_key"), body) }),
  "DELETE /ssh_keys/:id": ({ world, id }) => {
    existing(world.ssh_keys, id, "ssh_key");
    world.ssh_keys.delete(id);
    return undefined;
  },

  "POST /placement_groups": ({ world, body }) => {
    const group = { ...begun(world, world.placement_groups, body), type: String(body.type) };
    world.placement_groups.set(group.id, group);
    return { placement_group: { ...group, servers: [] }, action: null };
  },
  "GET /placement_groups/:id": ({ world, id }) => ({
    placement_group: { ...existing(world.placement_groups, id, "placement_group"), servers: membersOf(world, id) },
  }),
  "DELETE /placement_groups/:id": ({ world, id }) => {
    existing(world.placement_groups, id, "placement_group");
    if (membersOf(world, id).length > 0) throw new ApiError("resource_in_use", "a server is in the placement group");
    world.placement_groups.delete(id);
    return undefined;
  },

  "GET /primary_ips": ({ world, query }) => ({ primary_ips: selected(world.primary_ips, query).map(shownIp) }),
  "GET /primary_ips/:id": ({ world, id }) => ({ primary_ip: shownIp(existing(world.primary_ips, id, "primary_ip")) }),
};
