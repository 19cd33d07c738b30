import { loadTemplate, render } from "../../../cloud-init/render.ts";
import { byName, type Principal } from "../../policy/egress/principals.ts";
import type { HostSpec } from "../../spec/host-spec.ts";
import type { ReleaseFile } from "../../spec/manifest.ts";

const sysusersTemplate = loadTemplate(new URL("./templates/sysusers.conf.hbs", import.meta.url));
const keysTemplate = loadTemplate(new URL("./templates/authorized-keys.hbs", import.meta.url));

/** Accounts of a release: the principals' for systemd-sysusers, and the key of every admin. */
export function accountFiles(spec: HostSpec, principals: readonly Principal[]): ReleaseFile[] {
  const users = principals.map(({ user, uid, id }) => ({ user, uid, id }));
  return [
    { path: "etc/sysusers.conf", mode: 0o444, content: render(sysusersTemplate, { users }) },
    ...byName(spec.access.admins).map(([name, { publicKey }]) => ({
      path: `etc/ssh/${name}`,
      mode: 0o444,
      content: render(keysTemplate, publicKeyParts(name, publicKey)),
    })),
  ];
}

function publicKeyParts(admin: string, publicKey: unknown): { type: string; key: string; comment: string } {
  if (typeof publicKey !== "string")
    throw new Error(
      `access.admins.${admin}.publicKey: received ${JSON.stringify(publicKey)}; resolve the spec's bindings first`,
    );
  const [type = "", key = "", comment = admin] = publicKey.split(" ");
  return { type, key, comment };
}
