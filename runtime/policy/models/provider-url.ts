import { isIP } from "node:net";
import { isBinding } from "../../spec/binding.ts";
import type { HostSpec } from "../../spec/host-spec.ts";

/**
 * Origin of a provider's API, without a trailing slash; null for one that runs on the host.
 * @throws if the spec's bindings were not resolved
 */
export function providerUrl(name: string, model: HostSpec["models"][string]): string | null {
  if (isBinding(model.url)) throw new Error(`models.${name}.url: its binding was not resolved`);
  return model.url?.replace(/\/+$/, "") ?? null;
}

/**
 * Address and port of a provider that is named by its address; null for one by name, and for one that runs on the host.
 * @throws if the spec's bindings were not resolved
 */
export function providerAddress(
  name: string,
  model: HostSpec["models"][string],
): { host: string; port: number } | null {
  const url = providerUrl(name, model);
  if (url === null) return null;
  const { hostname, port, protocol } = new URL(url);
  const host = hostname.replace(/^\[|\]$/g, "");
  if (isIP(host) === 0) return null;
  return { host, port: port === "" ? (protocol === "https:" ? 443 : 80) : Number(port) };
}
