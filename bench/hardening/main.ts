// How hard a host is by others' measure, and what its guards cost. Needs root, and a Debian machine for Lynis' package.
import { execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { machineStatus } from "../../runtime/local/machine.ts";
import { Bed } from "../../test/integration/adversary/bed.ts";
import { PUBLIC } from "../../test/integration/support/internet.ts";
import { ok } from "../../test/integration/support/project.ts";
import { Results, timed } from "../results.ts";

const SSH_AUDIT = "3.3.0";
const ROUNDS = 5;
const EACH = 40;
/** What one command line carries of a file. */
const CHUNK = 90_000;

const results = new Results("hardening");
const folder = mkdtempSync(join(tmpdir(), "bailiwick-hardening-"));

async function upload(bed: Bed, bytes: Buffer, path: string): Promise<void> {
  const text = bytes.toString("base64");
  await bed.asRoot(`rm -f ${path}`);
  for (let at = 0; at < text.length; at += CHUNK)
    await bed.asRoot(`echo ${text.slice(at, at + CHUNK)} >>${path}.base64`);
  await bed.asRoot(`base64 -d <${path}.base64 >${path}; rm ${path}.base64`);
}

async function lynis(bed: Bed): Promise<void> {
  execFileSync("apt-get", ["download", "-q", "lynis"], { cwd: folder, stdio: "ignore" });
  const deb = readdirSync(folder).find((name) => name.endsWith(".deb")) ?? "";
  execFileSync("dpkg-deb", ["-x", deb, "lynis"], { cwd: folder });
  const packed = execFileSync("tar", [
    "-C",
    join(folder, "lynis"),
    "-cz",
    "usr/sbin/lynis",
    "usr/share/lynis",
    "etc/lynis",
  ]);
  await upload(bed, packed, "/root/lynis.tgz");
  // where its package would be; the host is thrown away
  await bed.asRoot(
    "tar -C / -xzf /root/lynis.tgz --no-same-owner && (lynis audit system --quick --no-colors --quiet || true)",
  );
  const report = await bed.asRoot("cat /var/log/lynis-report.dat");
  const field = (name: string) => new RegExp(`^${name}=(.*)$`, "m").exec(report)?.[1] ?? "";
  results.ratio("lynis", Number(field("hardening_index")), ">=", 85, "");
  results.note("lynis", `Lynis ${field("lynis_version")}, on a container`);
  const found = [...report.matchAll(/^(warning|suggestion)\[\]=([^|]*)\|([^|]*)/gm)];
  for (const [, kind, id, text] of found) console.log(`lynis ${kind}: ${id} ${text}`);
  // each has its reason in docs/threat-model.md
  results.note("lynis_left", [...new Set(found.map(([, , id]) => id))].sort().join(" "));
}

interface AuditedAlgorithm {
  readonly algorithm: string;
  readonly notes?: { readonly fail?: readonly string[]; readonly warn?: readonly string[] };
}

async function sshAudit(bed: Bed): Promise<void> {
  const target = join(folder, "ssh-audit");
  execFileSync("pip", ["install", "-q", "--no-deps", "--target", target, `ssh-audit==${SSH_AUDIT}`]);
  process.env.BAILIWICK_STATE = bed.project.env.BAILIWICK_STATE;
  const [slot = ""] = readdirSync(join(bed.project.dir, "state/local"));
  const status = await machineStatus(slot);
  if (status.state !== "running") throw new Error(`the machine is ${status.state}`);
  const arguments_ = ["-m", "ssh_audit", "--skip-rate-test", "-j", "-p", String(status.port), status.address];
  const ran = await bed.project.run("python3", arguments_, { PYTHONPATH: target });
  const audit = JSON.parse(ran.stdout) as Record<"kex" | "key" | "enc" | "mac", readonly AuditedAlgorithm[]>;
  const all = [...audit.kex, ...audit.key, ...audit.enc, ...audit.mac];
  const noted = (kind: "fail" | "warn") => all.filter(({ notes }) => (notes?.[kind]?.length ?? 0) > 0);
  results.ratio("ssh_audit_fail", noted("fail").length, "<=", 0, "");
  results.ratio("ssh_audit_warn", noted("warn").length, "<=", 0, "");
  results.note("ssh_audit", `ssh-audit ${SSH_AUDIT}, ${all.length} algorithms`);
}

async function added(key: string, through: () => Promise<string>, past: () => Promise<string>): Promise<void> {
  const [one, other]: [number[], number[]] = [[], []];
  // in turns, so that what else the machine does meets both alike
  for (let round = 0; round < ROUNDS; round++) {
    one.push(...(JSON.parse(await through()) as number[]));
    other.push(...(JSON.parse(await past()) as number[]));
  }
  const middle = results.figure(`${key}_through_ms`, one, "ms") - results.figure(`${key}_past_ms`, other, "ms");
  results.ratio(`${key}_added_ms`, middle, "<=", 2, "ms");
}

async function latencies(bed: Bed): Promise<void> {
  await bed.asRoot("install -d -m 755 /srv/bench /var/lib/bailiwick/workspaces/desk/bench");
  await upload(bed, readFileSync(join(import.meta.dirname, "latency.py")), "/srv/bench/latency.py");
  await bed.asRoot("cp /srv/bench/latency.py /var/lib/bailiwick/workspaces/desk/bench/latency.py");
  const byAgent = async (text: string) => {
    const said = await bed.order("puppet", `sh python3 -I /workspaces/desk/bench/latency.py ${text}`);
    return said.replace(/exit 0$/, "");
  };
  const byRoot = (text: string) => bed.asRoot(`python3 -I /srv/bench/latency.py ${text}`);
  const tls = `tls ${PUBLIC} granted.example.com ${EACH}`;
  await added(
    "egress",
    () => byAgent(tls),
    () => byRoot(tls),
  );
  await added(
    "guard",
    () => byAgent(`guard $CREDENTIALS_DIRECTORY/agent.puppet.mcp-token ${EACH}`),
    () => byRoot(`direct ${EACH}`),
  );
}

async function resident(bed: Bed): Promise<void> {
  const pages = await bed.asRoot(
    "for unit in egress guard; do for pid in $(cat /sys/fs/cgroup/system.slice/bailiwick-$unit.service/cgroup.procs); do grep ^VmRSS /proc/$pid/status; done; done",
  );
  const kibibytes = [...pages.matchAll(/(\d+) kB/g)].map(([, kB]) => Number(kB));
  results.ratio("resident_mb", kibibytes.reduce((sum, one) => sum + one, 0) / 1024, "<=", 150, "MiB");
  results.note("resident_mb", "HAProxy's processes and the guard; no resolver runs, names stand in hosts files");
}

const bed = await Bed.start({});
try {
  await latencies(bed);
  await resident(bed);
  const verified = await timed(() => bed.bailiwick("verify", "siege", "--json"));
  results.ratio("verify_s", verified.seconds, "<=", 60, "s");
  const { probes } = JSON.parse(verified.value.stdout) as { probes: unknown[] };
  results.note("verify_s", `${probes.length} probes`);
  await sshAudit(bed);
  await lynis(bed);
  ok(await bed.bailiwick("status", "siege"));
} finally {
  await bed.close();
  rmSync(folder, { recursive: true });
}
results.write();
