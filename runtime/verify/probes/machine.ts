import { broken, held, unless, unprovable, words } from "../../policy/judgement.ts";
import type { Judgement, Listener, Outcome, Probe, Subject } from "../../policy/probe.ts";
import { digestOf } from "../../spec/digest.ts";

/** What first boot made of the machine, and whether it still is so. */
export function machineProbes(subject: Subject): Probe[] {
  return [spec(subject), baseline(subject), dataVolume(), temporaryMounts(), kernelSettings(subject), listeners()];
}

/** What a command of an attempt printed. */
export function stdoutOf(outcome: Outcome): string {
  return ((outcome.value ?? {}) as { stdout?: string }).stdout ?? "";
}

function spec({ spec: wanted, manifest }: Subject): Probe<string> {
  return {
    id: "root/spec",
    vantage: "root",
    title: "the release was made from the spec that these probes are derived from",
    expected: digestOf(wanted).slice(0, 12),
    read: async () => manifest.spec,
    judge: (found) =>
      found === digestOf(wanted)
        ? held(found.slice(0, 12))
        : broken(`${found.slice(0, 12)}: the spec has changed since; push it`),
  };
}

function baseline({ spec: { baseline: wanted } }: Subject): Probe<Outcome> {
  return {
    id: "root/baseline",
    vantage: "root",
    title: "first boot finished, with the baseline of the spec",
    expected: `done, ${wanted.slice(0, 12)}`,
    read: (host) => host.root({ do: "text", path: "/etc/bailiwick/baseline.json" }),
    judge: (outcome) => {
      if (!outcome.ok) return broken(`no record of first boot: ${words(outcome)}`);
      const found = /"digest":"([0-9a-f]+)","status":"(\w+)","step":"([^"]*)"/.exec(String(outcome.value));
      if (found === null) return broken("the record of first boot cannot be read");
      const [, digest = "", status, step] = found;
      if (status !== "done") return broken(`${status} at ${step}`);
      return digest === wanted
        ? held(`done, ${digest.slice(0, 12)}`)
        : broken(`another baseline: ${digest.slice(0, 12)}`);
    },
  };
}

interface Mount {
  readonly path: string;
  readonly options: readonly string[];
  readonly type: string;
  readonly source: string;
}

/** The mounts of a `/proc/<pid>/mountinfo`; of several over one another, the last is what is seen. */
export function parseMounts(mountinfo: string): Map<string, Mount> {
  const mounts = mountinfo.split("\n").flatMap((line): Mount[] => {
    const [left = "", right = ""] = line.split(" - ");
    const [, , , , path, options] = left.split(" ");
    const [type = "", source = "", superOptions = ""] = right.split(" ");
    if (path === undefined || options === undefined) return [];
    return [{ path, options: [...options.split(","), ...superOptions.split(",")], type, source }];
  });
  return new Map(mounts.map((mount) => [mount.path, mount]));
}

const MOUNTINFO = { do: "text", path: "/proc/self/mountinfo" } as const;

function mountProblems(mounts: ReadonlyMap<string, Mount>, path: string, wanted: readonly string[]): string[] {
  const mount = mounts.get(path);
  if (mount === undefined) return [`${path} is no mount of its own`];
  const missing = wanted.filter((option) => !mount.options.includes(option));
  return missing.length === 0 ? [] : [`${path} lacks ${missing.join(", ")}`];
}

function dataVolume(): Probe<Outcome> {
  return {
    id: "root/data-volume",
    vantage: "root",
    title: "the data volume is a disk of its own, and nothing on it is a device or changes its user",
    expected: "xfs at /var/lib/bailiwick, nosuid, nodev",
    read: (host) => host.root(MOUNTINFO),
    judge: (outcome) => {
      if (!outcome.ok) return unprovable(words(outcome), "the mounts could not be read");
      const mounts = parseMounts(String(outcome.value));
      const mount = mounts.get("/var/lib/bailiwick");
      return unless(
        [
          ...mountProblems(mounts, "/var/lib/bailiwick", ["nosuid", "nodev"]),
          ...(mount !== undefined && mount.type !== "xfs" ? [`it is ${mount.type}`] : []),
          ...(mount !== undefined && mount.source === mounts.get("/")?.source ? ["it is on the root disk"] : []),
        ],
        `${mount?.type} on ${mount?.source}, ${mount?.options.slice(0, 4).join(",")}`,
      );
    },
  };
}

function temporaryMounts(): Probe<Outcome> {
  const paths = ["/tmp", "/var/tmp", "/dev/shm"];
  const options = ["nosuid", "nodev", "noexec"];
  return {
    id: "root/temporary-mounts",
    vantage: "root",
    title: "nothing can be run from what everybody may write",
    expected: `${paths.join(", ")}: ${options.join(", ")}`,
    read: (host) => host.root(MOUNTINFO),
    judge: (outcome) => {
      if (!outcome.ok) return unprovable(words(outcome), "the mounts could not be read");
      const mounts = parseMounts(String(outcome.value));
      return unless(
        paths.flatMap((path) => mountProblems(mounts, path, options)),
        "as expected",
      );
    },
  };
}

const SYSCTL_FILE = "/etc/sysctl.d/90-bailiwick.conf";
const SYSCTL_SKIPPED = "/etc/bailiwick/sysctl-skipped";
// what must hold on every machine, whatever the files on it say
const FORWARDING = ["net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"];
// one line each: path below /proc/sys, wanted, found
const READ_SYSCTL = `cd /proc/sys && { for f in ${FORWARDING.join(" ")}; do echo "$f=0"; done; cat ${SYSCTL_FILE}; } | while IFS== read -r k v; do case $k in ''|'#'*) continue;; esac; for f in $(echo "$k" | tr . /); do printf '%s\\t%s\\t%s\\n' "$f" "$v" "$(cat "$f" 2>/dev/null || echo absent)"; done; done`;

interface SysctlFacts {
  readonly values: Outcome;
  /** Paths that first boot could not write. */
  readonly skipped: Outcome;
}

/** In a container the kernel is the operator's: only there may a setting be left as it is. */
function kernelSettings({ spec: { machine } }: Subject): Probe<SysctlFacts> {
  const container = machine.kind === "local" && machine.engine === "nspawn";
  return {
    id: "root/kernel-settings",
    vantage: "root",
    title: container
      ? "the kernel forwards nothing, and has those of the baseline's settings that a container may set"
      : "the kernel forwards nothing, and has the baseline's settings",
    expected: "each at its value",
    read: async (host) => {
      const [values, skipped] = await Promise.all([
        host.root({ do: "run", argv: ["/bin/sh", "-c", READ_SYSCTL], seconds: 20 }),
        host.root({ do: "text", path: SYSCTL_SKIPPED }),
      ]);
      return { values, skipped };
    },
    judge: ({ values, skipped }) => {
      if (!values.ok || !skipped.ok)
        return unprovable(words(values.ok ? skipped : values), "the settings could not be read");
      return judgeSettings(stdoutOf(values), String(skipped.value), container);
    },
  };
}

/** Judges settings, a line each: path below /proc/sys, value wanted, value found or `absent`, by tabs. */
export function judgeSettings(values: string, skipped: string, container: boolean): Judgement {
  const left = new Set(skipped.split("\n").map((path) => path.replace("/proc/sys/", "")));
  const lines = values.split("\n").flatMap((line) => {
    const [path = "", wanted = "", found = ""] = line.split("\t");
    // a key that this kernel lacks has nothing to set
    return path === "" || found === "absent" ? [] : [{ path, wanted, found }];
  });
  const wrong = lines.filter(({ wanted, found }) => wanted !== found);
  const operators = wrong.filter(({ path }) => container && left.has(path) && !FORWARDING.includes(path));
  const ours = wrong.filter((one) => !operators.includes(one));
  if (lines.length < 10) return unprovable(`${lines.length} settings`, `${SYSCTL_FILE} is not the baseline's`);
  const note = operators.length === 0 ? "" : `; ${operators.length} are the operator's kernel's, not the container's`;
  return unless(
    ours.map(({ path, wanted, found }) => `${path} is ${found}, not ${wanted}`),
    `${lines.length - operators.length} hold${note}`,
  );
}

// DHCP clients: the firewall lets no question in, only answers
const CLIENT_PORTS = [68, 546];

function listeners(): Probe<readonly Listener[]> {
  return {
    id: "root/listeners",
    vantage: "root",
    title: "only sshd listens beyond loopback",
    expected: "TCP 22",
    read: async (host) => host.listening,
    judge: (facts) => {
      const beyond = facts.filter(({ address }) => !/^127\.|^::1$|^::ffff:127\./.test(address));
      const others = beyond.filter(
        ({ protocol, port }) =>
          !(protocol === "tcp" && port === 22) && !(protocol === "udp" && CLIENT_PORTS.includes(port)),
      );
      if (!beyond.some(({ protocol, port }) => protocol === "tcp" && port === 22))
        return unprovable("nothing listens", "not even sshd was seen, so the list is not whole");
      return unless(
        others.map(({ protocol, address, port }) => `${protocol} ${address}:${port}`),
        "TCP 22",
      );
    },
  };
}
