import { type ChildProcess, execFile, execFileSync, spawn, spawnSync } from "node:child_process";
import { chmodSync, chownSync, copyFileSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const RELOAD = fileURLToPath(new URL("../../../runtime/policy/egress/templates/reload.py", import.meta.url));
const RESOLVER = fileURLToPath(new URL("../../../runtime/policy/egress/templates/resolver.py", import.meta.url));
const SERVER = fileURLToPath(new URL("./fake-internet.mjs", import.meta.url));

/** Addresses of the fake Internet, all in one network namespace; nothing here reaches a real one. */
export const WORLD = {
  hostAddress: "203.0.113.10",
  adminAddress: "203.0.113.1",
  strangerAddress: "198.51.100.66",
  dns: "198.51.100.53",
  public4: "198.51.100.10",
  private4: "10.20.30.40",
  metadata4: "169.254.169.254",
  public6: "2001:db8:2::10",
  dns6: "2001:db8:2::53",
  private6: "fd00:1::1",
  metadata6: "fd00:ec2::254",
} as const;

const NAMES: Readonly<Record<string, string>> = {
  "both.test": `${WORLD.public4},${WORLD.public6}`,
  "news.test": WORLD.public4,
  "plain.test": WORLD.public4,
  "sub.news.test": WORLD.public4,
  "unlisted.test": WORLD.public4,
  "late.test": WORLD.public4,
  "api.provider.test": WORLD.public4,
  "wild.test": WORLD.public4,
  "a.wild.test": WORLD.public4,
  "b.wild.test": WORLD.public4,
  "a.b.wild.test": WORLD.public4,
  "awild.test": WORLD.public4,
  "private.wild.test": WORLD.private4,
  "rebind.test": "127.0.0.1",
  "private.test": WORLD.private4,
  "metadata.test": WORLD.metadata4,
  "six.test": WORLD.public6,
  "six-private.test": WORLD.private6,
  "mapped.test": `::ffff:${WORLD.private4}`,
  "nat64.test": "64:ff9b::a14:1e28",
};

/** What this machine lacks to run the egress tests, or undefined. */
export function missingForEgressWorld(): string | undefined {
  if (process.getuid?.() !== 0) return "it makes network namespaces, which takes root";
  const lacking = ["ip", "nft", "haproxy", "dnsmasq", "curl", "openssl", "setpriv"].filter(
    (program) => spawnSync("sh", ["-c", `command -v ${program}`]).status !== 0,
  );
  return lacking.length > 0 ? `this machine lacks ${lacking.join(", ")}` : undefined;
}

/** A host's network namespace, and one that is its Internet. `close()` ends every process and removes both. */
export class EgressWorld {
  readonly folder = mkdtempSync(join(tmpdir(), "bwegr-"));
  readonly host = `bwegrh-${process.pid}`;
  readonly internet = `bwegri-${process.pid}`;
  readonly log: string[] = [];
  readonly #children: ChildProcess[] = [];

  static async start(loopbackPorts: readonly number[]): Promise<EgressWorld> {
    const world = new EgressWorld();
    try {
      world.#wire();
      await world.#serve(loopbackPorts);
      return world;
    } catch (error) {
      world.close();
      throw error;
    }
  }

  private constructor() {
    chmodSync(this.folder, 0o755);
  }

  #wire(): void {
    const { host, internet } = this;
    for (const name of [host, internet]) {
      execFileSync("ip", ["netns", "add", name]);
      execFileSync("ip", ["-n", name, "link", "set", "lo", "up"]);
    }
    execFileSync("ip", ["-n", host, "link", "add", "up0", "type", "veth", "peer", "name", "down0", "netns", internet]);
    const add = (namespace: string, device: string, ...addresses: string[]) => {
      for (const address of addresses)
        execFileSync("ip", [
          "-n",
          namespace,
          "addr",
          "add",
          address,
          "dev",
          device,
          ...(address.includes(":") ? ["nodad"] : []),
        ]);
      execFileSync("ip", ["-n", namespace, "link", "set", device, "up"]);
    };
    add(host, "up0", `${WORLD.hostAddress}/24`, "2001:db8:1::10/64");
    add(internet, "down0", `${WORLD.adminAddress}/24`, "2001:db8:1::1/64");
    const { dns, public4, private4, metadata4, public6, dns6, private6, metadata6, strangerAddress } = WORLD;
    for (const address of [dns, public4, private4, metadata4, strangerAddress]) add(internet, "down0", `${address}/32`);
    for (const address of [public6, dns6, private6, metadata6]) add(internet, "down0", `${address}/128`);
    execFileSync("ip", ["-n", host, "route", "add", "default", "via", WORLD.adminAddress]);
    execFileSync("ip", ["-n", host, "-6", "route", "add", "default", "via", "2001:db8:1::1"]);
  }

  async #serve(loopbackPorts: readonly number[]): Promise<void> {
    const key = join(this.folder, "key.pem");
    const certificate = join(this.folder, "cert.pem");
    execFileSync(
      "openssl",
      [
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-subj",
        "/CN=fake",
        "-days",
        "1",
        "-keyout",
        key,
        "-out",
        certificate,
      ],
      { stdio: "ignore" },
    );
    const records = Object.entries(NAMES).map(([name, address]) => `--host-record=${name},${address}`);
    this.#spawn(this.internet, [
      "dnsmasq",
      "--keep-in-foreground",
      "--conf-file=/dev/null",
      "--no-resolv",
      "--no-hosts",
      "--local=/#/",
      "--user=",
      "--group=",
      "--pid-file=",
      "--log-facility=-",
      "--log-queries",
      ...records,
    ]);
    await Promise.all([
      this.#ready(this.#spawn(this.internet, [process.execPath, SERVER, key, certificate])),
      this.#ready(this.#spawn(this.host, [process.execPath, SERVER, key, certificate, ...loopbackPorts.map(String)])),
    ]);
  }

  #spawn(namespace: string, argv: readonly string[]): ChildProcess {
    const child = spawn("ip", ["netns", "exec", namespace, ...argv], { stdio: ["ignore", "pipe", "pipe"] });
    for (const stream of [child.stdout, child.stderr])
      stream?.on("data", (chunk: Buffer) => this.log.push(...chunk.toString().split("\n").filter(Boolean)));
    this.#children.push(child);
    return child;
  }

  async #ready(child: ChildProcess): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      child.stdout?.once("data", () => resolve());
      child.once("exit", (code) => reject(new Error(`a fake server ended with ${code}: ${this.log.join("\n")}`)));
    });
  }

  /** Loads a table in the host's namespace, in one transaction. Flags that an older nft lacks are left out. */
  loadFirewall(text: string): void {
    const file = join(this.folder, "firewall.nft");
    writeFileSync(file, text);
    const checked = spawnSync("ip", ["netns", "exec", this.host, "nft", "-c", "-f", file], { encoding: "utf8" });
    // owner would tie the table to this short-lived nft; what it allows does not depend on who owns it
    writeFileSync(file, text.replaceAll(/flags owner,persist ?;?/g, ""));
    const loaded = spawnSync("ip", ["netns", "exec", this.host, "nft", "-f", file], { encoding: "utf8" });
    if (loaded.status !== 0) throw new Error(`nft refused the table: ${loaded.stderr} (whole: ${checked.stderr})`);
  }

  /** Starts HAProxy as the egress proxy's uid, or gives the running one a new configuration. */
  async loadHaproxy(text: string): Promise<void> {
    const file = join(this.folder, "haproxy.cfg");
    const run = join(this.folder, "run");
    if (this.haproxy === undefined) execFileSync("install", ["-d", "-o", "20000", "-g", "20000", run]);
    writeFileSync(file, text.replaceAll("/run/bailiwick-egress", run));
    chownSync(file, 20000, 20000);
    const master = join(run, "master.sock");
    if (this.haproxy !== undefined) {
      await promisify(execFile)("python3", ["-I", RELOAD, String(this.haproxy.pid), master, file]);
      return;
    }
    this.haproxy = this.#spawn(this.host, [...asUid(20000), "haproxy", "-W", "-S", `${master},mode,600`, "-f", file]);
    if ((await this.logged("Loading success")).length === 0)
      throw new Error(`haproxy did not load: ${this.log.join("\n")}`);
  }

  haproxy: ChildProcess | undefined;

  /** Starts the resolver as its own uid, or gives the running one a new configuration. */
  async loadResolver(text: string): Promise<void> {
    const [own, reloads] = ["names.json", "reloads.json"].map((name) => join(this.folder, name)) as [string, string];
    writeFileSync(own, text);
    if (this.#resolver !== undefined) {
      await promisify(execFile)("python3", ["-I", RESOLVER, "take", own, reloads]);
      this.#resolver.kill("SIGHUP");
      return;
    }
    // a clone may lie where another user does not come
    const program = join(this.folder, "resolver.py");
    copyFileSync(RESOLVER, program);
    this.#resolver = this.#spawn(this.host, [
      ...asUid(20003),
      "/usr/bin/python3",
      "-I",
      program,
      "serve",
      own,
      reloads,
    ]);
    await this.#ready(this.#resolver);
  }

  #resolver: ChildProcess | undefined;

  /**
   * Runs a program in the host's namespace as a uid, with a principal's own hosts file if one is given.
   * @param resolvConf its own resolv.conf, beside that hosts file
   */
  run(uid: number, argv: readonly string[], hosts?: string, resolvConf = ""): { status: number; stdout: string } {
    const bind: string[] = [];
    if (hosts !== undefined) {
      const file = join(this.folder, "hosts");
      const empty = join(this.folder, "resolv.conf");
      writeFileSync(file, hosts);
      writeFileSync(empty, resolvConf);
      // ip netns exec has a mount namespace of its own, so this is seen by nobody else
      bind.push(
        "sh",
        "-c",
        'mount --bind "$1" /etc/hosts && mount --bind "$2" /etc/resolv.conf && shift 2 && exec "$@"',
      );
      bind.push("sh", file, empty);
    }
    const result = spawnSync("ip", ["netns", "exec", this.host, ...bind, ...asUid(uid), ...argv], { encoding: "utf8" });
    return { status: result.status ?? -1, stdout: result.stdout + result.stderr };
  }

  /** Lines of all servers' logs that contain a text; waits a second for the first. */
  async logged(text: string): Promise<string[]> {
    for (let i = 0; i < 50 && !this.log.some((line) => line.includes(text)); i++) await sleep(20);
    return this.log.filter((line) => line.includes(text));
  }

  /** Starts a program in the host's namespace as a uid, to be talked to. It ends with the world. */
  background(uid: number, argv: readonly string[]) {
    const child = spawn("ip", ["netns", "exec", this.host, ...asUid(uid), ...argv], {
      stdio: ["pipe", "pipe", "inherit"],
    });
    this.#children.push(child);
    let said = "";
    child.stdout.on("data", (chunk: Buffer) => {
      said += chunk.toString();
    });
    return {
      write: (text: string) => child.stdin.write(text),
      end: () => child.kill("SIGKILL"),
      says: async (word: string) => {
        for (let i = 0; i < 100 && !said.includes(word); i++) await sleep(20);
        if (!said.includes(word)) throw new Error(`waited for "${word}", it said "${said}"`);
      },
    };
  }

  /** Runs a program in the fake Internet's namespace. */
  outside(argv: readonly string[]): { status: number; stdout: string } {
    const result = spawnSync("ip", ["netns", "exec", this.internet, ...argv], { encoding: "utf8" });
    return { status: result.status ?? -1, stdout: result.stdout };
  }

  close(): void {
    for (const child of this.#children) child.kill("SIGTERM");
    for (const name of [this.host, this.internet]) spawnSync("ip", ["netns", "del", name], { stdio: "ignore" });
    rmSync(this.folder, { recursive: true, force: true });
  }
}

function asUid(uid: number): string[] {
  return ["setpriv", "--reuid", String(uid), "--regid", String(uid), "--clear-groups", "--no-new-privs"];
}
