import { loadTemplate, render } from "../../../cloud-init/render.ts";
import { PLACEHOLDER_IPV4 } from "./addresses.ts";

const template = loadTemplate(new URL("./templates/hosts.hbs", import.meta.url));

/** A principal's own `/etc/hosts`: localhost and its granted names, exactly, all at one address that is never reached. */
export function renderHosts(names: readonly string[]): string {
  return render(template, { names: names.map((name) => ({ name, address: PLACEHOLDER_IPV4 })) });
}

/** A principal's `/etc/resolv.conf`: it has no resolver, so no question of its own ever leaves the host. */
export const NO_RESOLVER = "# no resolver: granted names stand in /etc/hosts\n";
