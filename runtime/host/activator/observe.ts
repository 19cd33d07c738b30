import { readdir, readFile } from "node:fs/promises";
import type { CurrentFiles, HostFacts, HostStatus, ReleaseList } from "../../spec/activator.ts";
import { generatedCredentials } from "./credentials.ts";
import { readIfThere } from "./files.ts";
import { gatewayHealth } from "./gateway.ts";
import { isReady } from "./health.ts";
import { history } from "./history.ts";
import { currentLock } from "./lock.ts";
import { paths } from "./paths.ts";
import { projectQuotas } from "./quotas.ts";
import { currentRelease, lookAtCurrent, readManifest, releaseFiles, releasePath } from "./release.ts";
import { ipv6Only } from "./routes.ts";
import { run } from "./run.ts";
import { unitState } from "./systemd.ts";
import { unconfirmed } from "./unconfirmed.ts";

/** What a push needs to know of this host before it renders a release. */
export async function facts(): Promise<HostFacts> {
  const current = await currentRelease();
  const manifest = current === null ? null : await readManifest(current);
  const names = await readdir(paths.credentials).catch(() => []);
  const mounts = await readFile("/proc/self/mountinfo", "utf8");
  return {
    current,
    components: (await readdir(paths.components).catch(() => [])).filter((name) => /^[0-9a-f]{64}$/.test(name)),
    credentials: Object.fromEntries((manifest?.credentials ?? []).map(({ name, version }) => [name, version])),
    generated: await generatedCredentials(names),
    resolvers: await upstreamResolvers(),
    ipv6Only: ipv6Only(await procNet("route"), await procNet("ipv6_route")),
    projectQuotas: await projectQuotas(),
    dataVolume: mounts.split("\n").some((line) => line.split(" ")[4] === paths.data),
  };
}

/** A kernel without one of the families has no such file. */
async function procNet(name: string): Promise<string> {
  return (await readIfThere(`/proc/net/${name}`)) ?? "";
}

/** The resolvers beyond this machine: systemd-resolved's own list where /etc/resolv.conf names only its stub. */
async function upstreamResolvers(): Promise<string[]> {
  for (const file of ["/run/systemd/resolve/resolv.conf", "/etc/resolv.conf"]) {
    const servers = ((await readIfThere(file)) ?? "")
      .split("\n")
      .map((line) => /^nameserver\s+([0-9a-fA-F.:]+)\s*(?:[#;].*)?$/.exec(line)?.[1])
      .filter((server) => server !== undefined)
      .filter((server) => !server.startsWith("127.") && server !== "::1");
    if (servers.length > 0) return servers.slice(0, 3);
  }
  return [];
}

/** What runs now. */
export async function status(): Promise<HostStatus> {
  const { release, problem } = await lookAtCurrent();
  const manifest = release === null ? null : await readManifest(release);
  const lock = await currentLock();
  const gateway = manifest === null ? { providers: null, problems: [] } : await gatewayHealth(manifest);
  const failed = await run("systemctl", ["list-units", "--state=failed", "--plain", "--no-legend", "--no-pager"]);
  return {
    release,
    unconfirmed: (await unconfirmed()) !== null,
    problems: [...(problem === null ? [] : [problem]), ...gateway.problems],
    spec: manifest?.spec ?? null,
    units: await Promise.all(
      (manifest?.units ?? []).map(async (unit) => {
        const state = await unitState(unit.name);
        return {
          name: unit.name,
          state: `${state.active}/${state.sub}`,
          since: state.since,
          restarts: state.restarts,
          ready: await isReady(unit),
          memoryMiB: state.memoryMiB,
        };
      }),
    ),
    lock: lock === null ? null : { who: lock.who, why: lock.why, since: lock.since },
    failedUnits: failed
      .split("\n")
      .map((line) => line.trim().split(/\s+/)[0] ?? "")
      .filter((name) => name !== ""),
    providers: gateway.providers,
  };
}

/** Releases on this host, newest first, and what happened to those that were here. */
export async function releases(): Promise<ReleaseList> {
  const current = await currentRelease();
  const past = (await history()).reverse();
  const order = past.filter(({ outcome }) => outcome === "confirmed").map(({ release }) => release);
  const onDisk = (await readdir(paths.releases).catch(() => [])).filter((name) => /^[0-9a-f]{64}$/.test(name));
  const place = (digest: string) =>
    digest === current ? -1 : order.includes(digest) ? order.indexOf(digest) : Infinity;
  const found: ReleaseList["releases"] = [];
  for (const digest of onDisk.sort((a, b) => place(a) - place(b))) {
    const manifest = await readManifest(digest).catch(() => null);
    if (manifest === null) continue;
    const confirmed = past.find(({ release, outcome }) => release === digest && outcome === "confirmed");
    const { spec, kit, components } = manifest;
    found.push({
      ...{ release: digest, spec, kit, components },
      ...{ confirmedAt: confirmed?.at ?? null, by: confirmed?.by ?? null, why: confirmed?.why ?? null },
    });
  }
  const open = await unconfirmed();
  return { current, unconfirmed: open?.to ?? null, releases: found, history: past.slice(0, 50) };
}

/** What the current release consists of. */
export async function currentFiles(): Promise<CurrentFiles> {
  const release = await currentRelease();
  return { release, files: release === null ? [] : await releaseFiles(releasePath(release)) };
}
