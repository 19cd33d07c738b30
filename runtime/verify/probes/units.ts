import {
  hostPrincipals,
  isOffline,
  isSocketActivated,
  type Principal,
  serviceName,
} from "../../policy/egress/principals.ts";
import { broken, held, shorten, together, unless, unprovable, words } from "../../policy/judgement.ts";
import type { Outcome, Probe, Subject } from "../../policy/probe.ts";
import { digestOf } from "../../spec/digest.ts";

/** Largest exposure that `systemd-analyze security` may give a unit: 0 is best, 10 worst. */
export const EXPOSURE_GATE = 2;

function exposureGate(principal: Principal): number {
  if (principal.kind === "guard" || principal.kind === "gateway") return 1.5;
  if (isOffline(principal)) return 1;
  if (principal.kind === "mcp") return 1.8;
  return EXPOSURE_GATE;
}

/** What runs is the release, in the sandboxes that the probes of principals were tried in. */
export function unitProbes(subject: Subject): Probe[] {
  const principals = hostPrincipals(subject.spec);
  return [
    release(subject),
    components(subject),
    unitFiles(subject),
    failedUnits(),
    // what is behind a socket has processes only as long as somebody uses it
    ...principals.flatMap((principal) => [
      ...(isSocketActivated(principal) ? [] : [process(principal)]),
      score(principal),
    ]),
  ];
}

interface ReleaseFacts {
  readonly link: Outcome;
  readonly tree: Outcome;
}

function release({ manifest }: Subject): Probe<ReleaseFacts> {
  return {
    id: "root/release",
    vantage: "root",
    title: "the release's files are the ones that its digest names",
    expected: manifest.digest.slice(0, 12),
    read: async (host) => {
      const [link, tree] = await Promise.all([
        host.root({ do: "run", argv: ["readlink", "-f", "/opt/bailiwick/current"], seconds: 10 }),
        host.root({ do: "tree", path: "/opt/bailiwick/current/" }),
      ]);
      return { link, tree };
    },
    judge: ({ link, tree }) => {
      if (!link.ok || !tree.ok) return broken(`the release cannot be read: ${words(link.ok ? tree : link)}`);
      const target = (link.value as { stdout: string }).stdout.trim();
      // as `releaseDigest` of spec/manifest.ts, which has the files' contents where the host gives their hashes
      const files = (tree.value as [string, number, string][]).filter(([path]) => path !== "manifest.json");
      const found = digestOf(files.sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0)));
      if (found !== manifest.digest) return broken(`its files have digest ${found.slice(0, 12)}`);
      return target.endsWith(`/${manifest.digest}`)
        ? held(found.slice(0, 12))
        : broken(`current leads to ${target}, the manifest says ${manifest.digest.slice(0, 12)}`);
    },
  };
}

function components({ manifest }: Subject): Probe<Outcome[]> {
  const paths = [...new Set(Object.values(manifest.components))].map((digest) => `/opt/bailiwick/components/${digest}`);
  return {
    id: "root/components",
    vantage: "root",
    title: "components and releases can be changed by root alone",
    expected: "owned by root, not writable by others",
    read: (host) =>
      Promise.all(
        [...paths, "/opt/bailiwick/releases", "/usr/lib/bailiwick"].map((path) =>
          host.root({ do: "not-roots-alone", path }),
        ),
      ),
    judge: (facts) =>
      together(
        facts.map((outcome) =>
          outcome.ok ? unless(outcome.value as string[], "root's alone") : broken(`missing: ${words(outcome)}`),
        ),
      ),
  };
}

/** `systemctl show` of several units: one block of `Name=value` lines each. */
export function parseShown(stdout: string): Map<string, string>[] {
  return stdout
    .trim()
    .split(/\n\n+/)
    .map(
      (block) =>
        new Map(block.split("\n").map((line) => [line.split("=", 1)[0] ?? "", line.slice(line.indexOf("=") + 1)])),
    );
}

const SHOWN = "Id,FragmentPath,DropInPaths,NeedDaemonReload,BindsTo,ActiveState";

function unitFiles({ spec, manifest }: Subject): Probe<Outcome> {
  const units = manifest.units.map(({ name }) => name);
  const services = hostPrincipals(spec).map(serviceName);
  const sockets = units.filter((name) => name.endsWith(".socket"));
  return {
    id: "root/unit-files",
    vantage: "root",
    title: "systemd runs the release's units, with no file beside them that changes them",
    expected: "one unit file and one sandbox each, bound to the firewall",
    read: (host) =>
      host.root({
        do: "run",
        argv: [
          ...["systemctl", "show", "-p", SHOWN],
          ...[...services, ...services.map(probeUnit), ...sockets, "bailiwick-firewall.service"],
        ],
        seconds: 20,
      }),
    judge: (outcome) => {
      if (!outcome.ok) return unprovable(words(outcome), "systemd did not answer");
      const shown = parseShown((outcome.value as { stdout: string }).stdout);
      return unless(
        shown.flatMap((unit) => unitProblems(unit)),
        `${units.length} units as released`,
      );
    },
  };
}

function probeUnit(unit: string): string {
  return unit.replace(/(@verify)?\.service$/, "-probe@verify.service");
}

const FROM_RELEASE = /^(\/run\/systemd\/generator[^/]*|\/opt\/bailiwick\/(current|releases\/[0-9a-f]{64})\/units)\//;

function unitProblems(unit: ReadonlyMap<string, string>): string[] {
  const name = unit.get("Id") ?? "";
  const value = (key: string) => unit.get(key) ?? "";
  const dropIns = value("DropInPaths").split(" ").filter(Boolean);
  if (name === "bailiwick-firewall.service")
    return [
      ...(value("FragmentPath") === "/etc/systemd/system/bailiwick-firewall.service"
        ? []
        : [`${name} is not the baseline's`]),
      ...dropIns.map((path) => `${name} is changed by ${path}`),
      ...(value("ActiveState") === "active" ? [] : [`${name} is ${value("ActiveState")}`]),
    ];
  if (name.endsWith(".socket"))
    return [
      ...(FROM_RELEASE.test(value("FragmentPath")) ? [] : [`${name} is not the release's: ${value("FragmentPath")}`]),
      ...dropIns.map((path) => `${name} is changed by ${path}`),
      ...(value("ActiveState") === "active" ? [] : [`${name} is ${value("ActiveState")}`]),
      ...(value("NeedDaemonReload") === "no" ? [] : [`${name}: systemd has not read its files since they changed`]),
    ];
  const isSandbox = (path: string) => FROM_RELEASE.test(path) && path.endsWith("/50-sandbox.conf");
  return [
    ...(FROM_RELEASE.test(value("FragmentPath"))
      ? []
      : [`${name} is not the release's: ${value("FragmentPath") || "no file"}`]),
    ...(dropIns.some(isSandbox) ? [] : [`${name} has no sandbox`]),
    ...dropIns.filter((path) => !isSandbox(path)).map((path) => `${name} is changed by ${path}`),
    ...(value("NeedDaemonReload") === "no" ? [] : [`${name}: systemd has not read its files since they changed`]),
    ...(value("BindsTo").split(" ").includes("bailiwick-firewall.service")
      ? []
      : [`${name} is not bound to the firewall`]),
  ];
}

function failedUnits(): Probe<Outcome> {
  return {
    id: "root/failed-units",
    vantage: "root",
    title: "no unit of the host has failed",
    expected: "none",
    read: (host) =>
      host.root({ do: "run", argv: ["systemctl", "list-units", "--failed", "--plain", "--no-legend"], seconds: 10 }),
    judge: (outcome) => {
      if (!outcome.ok) return unprovable(words(outcome), "systemd did not answer");
      const lines = (outcome.value as { stdout: string }).stdout.split("\n");
      return unless(lines.map((line) => line.split(" ")[0] ?? "").filter(Boolean), "none");
    },
  };
}

interface Process {
  readonly pid: number;
  readonly shared: readonly string[];
  readonly Name: string;
  readonly Uid: string;
  readonly NoNewPrivs: string;
  readonly Seccomp: string;
  readonly Groups: string;
  readonly [field: `Cap${string}`]: string;
}

function process({ id, unit, uid }: Principal): Probe<Outcome> {
  return {
    id: `${id}/live-process`,
    vantage: "root",
    title: `the processes of ${unit} run in its sandbox`,
    expected: `uid ${uid}, system calls filtered, no capability, no new privileges, namespaces of its own`,
    read: (host) => host.root({ do: "unit-processes", unit: `${unit}.service` }),
    judge: (outcome) => {
      if (outcome.errno === "NOT_RUNNING") return unprovable("it does not run", `${unit} has no process`);
      if (!outcome.ok) return unprovable(words(outcome), "the kernel did not show its processes");
      const found = outcome.value as Process[];
      if (found.length === 0) return unprovable("it does not run", `${unit} has no process`);
      return unless(
        found.flatMap((one) => processProblems(one, uid)),
        `${found.length} process${found.length === 1 ? "" : "es"}, as expected`,
      );
    },
  };
}

function processProblems(one: Process, uid: number): string[] {
  const name = `${one.Name} (${one.pid})`;
  const capabilities = (["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] as const).filter(
    (set) => !/^0+$/.test(one[set] ?? ""),
  );
  return [
    ...(one.Uid.split(/\s+/).every((text) => text === String(uid)) ? [] : [`${name} has uids ${one.Uid}`]),
    ...(one.Seccomp === "2" ? [] : [`${name} has no system call filter`]),
    ...(one.NoNewPrivs === "1" ? [] : [`${name} may gain privileges`]),
    ...(capabilities.length === 0 ? [] : [`${name} has capabilities (${capabilities.join(", ")})`]),
    ...(one.shared.length === 0 ? [] : [`${name} shares the host's ${shorten(one.shared)} namespace`]),
    ...(one.Groups.split(/\s+/).every((text) => text === "" || text === String(uid))
      ? []
      : [`${name} is in groups ${one.Groups}`]),
  ];
}

function score(principal: Principal): Probe<Outcome> {
  const { id, unit } = principal;
  const gate = exposureGate(principal);
  return {
    id: `${id}/exposure`,
    vantage: "root",
    title: `systemd rates the exposure of ${unit}`,
    expected: `at most ${gate.toFixed(1)} of 10`,
    read: (host) =>
      host.root({
        do: "run",
        argv: ["systemd-analyze", "security", "--no-pager", serviceName(principal)],
        seconds: 30,
      }),
    judge: (outcome) => {
      const { stdout = "" } = (outcome.value ?? {}) as { stdout?: string };
      const found = /exposure level for \S+: (\d+(?:\.\d+)?)/.exec(stdout)?.[1];
      if (found === undefined) return unprovable(words(outcome), "systemd-analyze gave no rating");
      return Number(found) <= gate ? held(found) : broken(found);
    },
  };
}
