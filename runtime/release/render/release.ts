import { renderFirewall } from "../../policy/egress/firewall.ts";
import { HAPROXY_RELOAD, renderHaproxy } from "../../policy/egress/haproxy.ts";
import { hostPrincipals } from "../../policy/egress/principals.ts";
import { canonicalJson } from "../../spec/digest.ts";
import { type ReleaseFile, ReleaseManifest, releaseDigest } from "../../spec/manifest.ts";
import { accountFiles } from "./accounts.ts";
import { configFiles, gatewayFile, resolvConf, resolverFile } from "./configs.ts";
import type { Release, ReleaseInput } from "./input.ts";
import { releaseManifest, workspaceParts } from "./manifest.ts";
import { Provided } from "./requirements.ts";
import { unitFiles } from "./units.ts";

/**
 * Renders a release: every file that the host needs for this spec, and a manifest of what to do with them. Pure: equal
 * inputs give equal bytes, and a unit's text differs between two releases if and only if it must restart.
 * @throws Error naming the component, credential or resolver that the input lacks, or the value a template refused
 */
export function renderRelease(input: ReleaseInput): Release {
  const { spec, resolvers, ipv6Only } = input;
  const provided = new Provided(input);
  const principals = hostPrincipals(spec);
  const text = (path: string, content: string): ReleaseFile => ({ path, mode: 0o444, content });
  const files = [
    text("etc/firewall.nft", renderFirewall(spec, principals, resolvers)),
    resolvConf({ zones: [] }),
    ...principals
      .filter(({ zones }) => zones.length > 0)
      .slice(0, 1)
      .flatMap((principal) => [resolvConf(principal), resolverFile(principals)]),
    ...accountFiles(spec, principals),
    ...(principals.some(({ kind }) => kind === "gateway") ? [gatewayFile(spec, provided)] : []),
    ...principals.flatMap((principal) => configFiles(spec, principal, provided)),
    ...principals.flatMap((principal) => unitFiles(spec, principals, principal, provided)),
  ];
  if (principals.some(({ kind }) => kind === "egress"))
    files.push(
      text("etc/egress/haproxy.cfg", renderHaproxy(principals, resolvers, ipv6Only)),
      text("etc/egress/reload.py", HAPROXY_RELOAD),
    );
  const parts = workspaceParts(spec, provided);
  if (Object.keys(parts).length > 0) files.push(text("etc/workspaces.json", `${canonicalJson(parts)}\n`));
  const digest = releaseDigest(files);
  const manifest = ReleaseManifest.parse(releaseManifest(input, principals, provided, digest));
  files.push(text("manifest.json", `${JSON.stringify(manifest, null, 2)}\n`));
  return { digest, files: files.sort((a, b) => (a.path < b.path ? -1 : 1)), manifest };
}
