import type { Call, Routes } from "./api.ts";
import { LOCATIONS, offered } from "./catalogue.ts";
import { ApiError, invalid } from "./errors.ts";
import { begun, changed, existing, refuseLocked, selected } from "./resources.ts";
import type { Volume, World } from "./world.ts";

function shown(volume: Volume): object {
  const { location, ...rest } = volume;
  return {
    ...rest,
    location: offered(LOCATIONS, location, "location"),
    status: "available",
    linux_device: `/dev/disk/by-id/scsi-0HC_Volume_${volume.id}`,
  };
}

function create({ world, body }: Call) {
  const size = Number(body.size);
  if (!Number.isInteger(size) || size < 10 || size > 10_240) throw invalid("size", "must be from 10 to 10240");
  if (body.server !== undefined) throw invalid("server", "the emulation attaches by an action alone");
  const { name: location } = offered(LOCATIONS, body.location, "location");
  const volume: Volume = {
    ...begun(world, world.volumes, body),
    ...{ size, location, format: (body.format as string) ?? null, server: null, protection: { delete: false } },
  };
  world.volumes.set(volume.id, volume);
  return { volume: shown(volume), action: act(world, "create_volume", volume), next_actions: [] };
}

function attach({ world, id, body }: Call) {
  const volume = existing(world.volumes, id, "volume");
  const server = existing(world.servers, Number(body.server), "server");
  refuseLocked(world, "server", server.id);
  refuseLocked(world, "volume", id);
  if (volume.server !== null) throw new ApiError("conflict", "the volume is attached already");
  if (volume.location !== server.location) throw invalid("server", "stands in another location than the volume");
  return {
    action: act(world, "attach_volume", volume, server.id, async () => {
      await world.machines.attach(server, volume);
      volume.server = server.id;
    }),
  };
}

function detach({ world, id }: Call) {
  const volume = existing(world.volumes, id, "volume");
  if (volume.server === null) throw new ApiError("conflict", "the volume is not attached");
  const server = existing(world.servers, volume.server, "server");
  refuseLocked(world, "server", server.id);
  return {
    action: act(world, "detach_volume", volume, server.id, async () => {
      await world.machines.detach(server, volume);
      volume.server = null;
    }),
  };
}

function act(world: World, command: string, volume: Volume, server?: number | null, work?: () => Promise<void>) {
  const resources = [{ id: volume.id, type: "volume" }];
  return world.act(command, server == null ? resources : [...resources, { id: server, type: "server" }], work);
}

export const volumeRoutes: Routes = {
  "POST /volumes": create,
  "GET /volumes": ({ world, query }) => ({ volumes: selected(world.volumes, query).map(shown) }),
  "GET /volumes/:id": ({ world, id }) => ({ volume: shown(existing(world.volumes, id, "volume")) }),
  "PUT /volumes/:id": ({ world, id, body }) => ({
    volume: shown(changed(existing(world.volumes, id, "volume"), body)),
  }),
  "DELETE /volumes/:id": async ({ world, id }) => {
    const volume = existing(world.volumes, id, "volume");
    if (volume.protection.delete) throw new ApiError("protected", "volume deletion is protected");
    if (volume.server !== null) throw new ApiError("resource_in_use", "the volume is attached");
    await world.machines.removeVolume(volume);
    world.volumes.delete(id);
    return undefined;
  },
  "POST /volumes/:id/actions/attach": attach,
  "POST /volumes/:id/actions/detach": detach,
  "POST /volumes/:id/actions/resize": ({ world, id, body }) => {
    const volume = existing(world.volumes, id, "volume");
    const size = Number(body.size);
    if (size <= volume.size) throw invalid("size", "must be larger than the current size");
    return {
      action: act(world, "resize_volume", volume, null, async () => {
        volume.size = size;
      }),
    };
  },
  "POST /volumes/:id/actions/change_protection": ({ world, id, body }) => {
    const volume = existing(world.volumes, id, "volume");
    return {
      action: act(world, "change_protection", volume, null, async () => {
        volume.protection = { delete: body.delete === true };
      }),
    };
  },
};
