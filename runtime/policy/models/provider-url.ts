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
