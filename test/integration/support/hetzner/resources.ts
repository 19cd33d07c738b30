import { ApiError, invalid } from "./errors.ts";
import type { World } from "./world.ts";

/** @throws ApiError not_found */
export function existing<T>(all: ReadonlyMap<number, T>, id: number, what: string): T {
  const found = all.get(id);
  if (found === undefined) throw new ApiError("not_found", `${what} with ID '${id}' not found`);
  return found;
}

/** What every resource has, of a create request. @throws ApiError for a name that is taken or malformed */
export function begun(world: World, all: ReadonlyMap<number, { name: string }>, body: Record<string, unknown>) {
  const name = body.name;
  if (typeof name !== "string" || name === "" || name.length > 128) throw invalid("name", "is required");
  if ([...all.values()].some((other) => other.name === name))
    throw new ApiError("uniqueness_error", `name "${name}" is already used`);
  const labels = (body.labels ?? {}) as Record<string, string>;
  return { id: world.id(), name, labels, created: new Date().toISOString() };
}

/** Those of a name and of a label selector of the form `key=value,key=value`. */
export function selected<T extends { name: string; labels: Record<string, string> }>(
  all: ReadonlyMap<number, T>,
  query: URLSearchParams,
): T[] {
  const name = query.get("name");
  const labels = (query.get("label_selector") ?? "").split(",").filter((one) => one !== "");
  return [...all.values()].filter(
    (one) =>
      (name === null || one.name === name) &&
      labels.every((pair) => one.labels[pair.split("=")[0] ?? ""] === pair.split("=")[1]),
  );
}

/** Name and labels may be changed in place. */
export function changed<T extends { name: string; labels: Record<string, string> }>(
  one: T,
  { name, labels }: Record<string, unknown>,
): T {
  if (typeof name === "string" && name !== "") one.name = name;
  if (labels !== undefined) one.labels = labels as Record<string, string>;
  return one;
}

/** @throws ApiError as the API does while another action on the resource runs */
export function refuseLocked(world: World, type: string, id: number): void {
  if (world.isLocked(type, id)) throw new ApiError("locked", `${type} ${id} is locked by a running action`);
}
