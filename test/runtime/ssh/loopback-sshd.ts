import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { userInfo } from "node:os";
import { join } from "node:path";
import { freePort } from "../../../runtime/local/port.ts";
import { waitForSshBanner } from "../../../runtime/ssh/reachability.ts";

const SSHD = "/usr/sbin/sshd";

/** Why tests against the real OpenSSH server cannot run here; undefined if they can. */
export const sshdMissing: string | undefined = existsSync(SSHD)
  ? undefined
  : "not run: sshd is not installed (apt-get install openssh-server)";
if (sshdMissing !== undefined) console.log(sshdMissing);

export const username = userInfo().username;

export interface LoopbackSshd {
  readonly port: number;
  readonly pid: number;
  /** All that sshd has logged. */
  log(): string;
  /** The authentication methods that clients asked for, in order. */
  methods(): string[];
  stop(): Promise<void>;
}

/** Starts the real sshd on a free loopback port, in the foreground, with nothing of the system's configuration. */
export async function startSshd(options: {
  directory: string;
  hostKey: string;
  authorized: readonly string[];
  banner?: string | undefined;
  extra?: readonly string[];
}): Promise<LoopbackSshd> {
  const { directory, hostKey, authorized, banner, extra = [] } = options;
  if (process.getuid?.() === 0) mkdirSync("/run/sshd", { recursive: true });
  const port = await freePort();
  const name = join(directory, `sshd-${port}`);
  writeFileSync(`${name}.authorized`, `${authorized.join("\n")}\n`);
  if (banner !== undefined) writeFileSync(`${name}.banner`, banner);
  const lines = [
    "ListenAddress 127.0.0.1",
    `HostKey ${hostKey}`,
    `AuthorizedKeysFile ${name}.authorized`,
    "StrictModes no",
    "UsePAM no",
    "PasswordAuthentication no",
    "KbdInteractiveAuthentication no",
    "PermitRootLogin prohibit-password",
    "PidFile none",
    "LogLevel DEBUG1",
    "MaxStartups 100",
    ...(banner === undefined ? [] : [`Banner ${name}.banner`]),
    ...extra,
  ];
  // tests misbehave on purpose; older servers do not know penalties
  const config = `${name}.conf`;
  writeFileSync(config, `${[...lines, "PerSourcePenalties no"].join("\n")}\n`);
  if (spawnSync(SSHD, ["-t", "-f", config]).status !== 0) writeFileSync(config, `${lines.join("\n")}\n`);
  // not -e: a session's own stderr would carry sshd's debug lines too
  const child = spawn(SSHD, ["-D", "-E", `${name}.log`, "-f", config, "-p", String(port)], { stdio: "ignore" });
  const log = () => (existsSync(`${name}.log`) ? readFileSync(`${name}.log`, "utf8") : "");
  try {
    await waitForSshBanner({ host: "127.0.0.1", port, timeoutMs: 20_000 });
  } catch (error) {
    await stop(child);
    throw new Error(`sshd did not start: ${error}\n${log()}`);
  }
  return {
    port,
    pid: child.pid ?? 0,
    log,
    methods: () =>
      [...log().matchAll(/userauth-request for user \S+ service ssh-connection method (\S+)/g)].map((m) => m[1] ?? ""),
    stop: () => stop(child),
  };
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = new Promise((resolve) => child.once("exit", resolve));
  child.kill("SIGTERM");
  await gone;
}
