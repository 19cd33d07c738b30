import type { Routes } from "./api.ts";
import { ApiError } from "./errors.ts";

/** What Hetzner offers: as little of it as the stacks use, with the figures that matter to the provider. */
export const LOCATIONS = [
  { id: 1, name: "fsn1", network_zone: "eu-central" },
  { id: 2, name: "nbg1", network_zone: "eu-central" },
  { id: 3, name: "hel1", network_zone: "eu-central" },
].map((one) => ({ ...one, description: one.name, country: "DE", city: one.name, latitude: 0, longitude: 0 }));

export const SERVER_TYPES = [
  { id: 22, name: "cx23", cores: 2, memory: 4, disk: 40 },
  { id: 23, name: "cx33", cores: 4, memory: 8, disk: 80 },
].map((one) => ({
  ...one,
  ...{ description: one.name, category: "Shared vCPU", storage_type: "local", cpu_type: "shared", architecture: "x86" },
  ...{ prices: [], deprecated: false, deprecation: null, included_traffic: 0 },
  locations: LOCATIONS.map(({ id, name }) => ({ id, name, deprecation: null, recommended: true, available: true })),
}));

export const IMAGES = [
  { id: 310_557_660, name: "debian-13", os_flavor: "debian", os_version: "13" },
  { id: 161_547_269, name: "ubuntu-24.04", os_flavor: "ubuntu", os_version: "24.04" },
].map((one) => ({
  ...one,
  ...{ status: "available", type: "system", description: one.name, image_size: null, disk_size: 5, created: null },
  ...{ created_from: null, bound_to: null, architecture: "x86", rapid_deploy: true, protection: { delete: false } },
  ...{ deprecated: null, deleted: null, labels: {} },
}));

/** @throws ApiError as the API does for a name that it does not offer */
export function offered<T extends { id: number; name: string }>(
  list: readonly T[],
  idOrName: unknown,
  field: string,
): T {
  const found = list.find(({ id, name }) => name === idOrName || id === Number(idOrName));
  if (found === undefined) throw new ApiError("invalid_input", `${field} "${String(idOrName)}" is not offered`);
  return found;
}

function named<T extends { name: string }>(list: readonly T[], query: URLSearchParams): T[] {
  const name = query.get("name");
  return list.filter((one) => name === null || one.name === name);
}

function byId<T extends { id: number }>(list: readonly T[], id: number): T {
  const found = list.find((one) => one.id === id);
  if (found === undefined) throw new ApiError("not_found", `there is no ${id}`);
  return found;
}

export const CATALOGUE: Routes = {
  "GET /locations": ({ query }) => ({ locations: named(LOCATIONS, query) }),
  "GET /server_types": ({ query }) => ({ server_types: named(SERVER_TYPES, query) }),
  "GET /server_types/:id": ({ id }) => ({ server_type: byId(SERVER_TYPES, id) }),
  "GET /images": ({ query }) => ({ images: named(IMAGES, query) }),
  "GET /images/:id": ({ id }) => ({ image: byId(IMAGES, id) }),
};
