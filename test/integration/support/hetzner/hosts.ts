import { execFileSync, spawn, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { bootMachine, destroyMachine, rebootMachine } from "../../../../runtime/local/machine.ts";
import { namesOf } from "../../../../runtime/local/slot.ts";
import type { FirewallRule, Machines, Server, Volume } from "./world.ts";

/** Where the operator stands in this cloud, and a stranger beside. */
export const OPERATOR = "203.0.113.7";
export const STRANGER = "203.0.113.99";

export const GATEWAY = "198.51.100.1";

/**
 * Servers as local machines booted from the user data that the API received, volumes as loop devices, and firewalls as
 * nft rules in a namespace that every packet to and from a server crosses, as Hetzner's stand outside the server:
 *
 *     operator's namespace (203.0.113.7) — edge (the firewalls) — each server's namespace (198.51.100.n)
 *
 * By pasta a server also reaches what this machine reaches, as a server would the internet; nothing comes in by it.
 */
export class Hosts implements Machines {
  readonly operator = `bwop-${process.pid}`;
  readonly #edge = `bwedge-${process.pid}`;
  readonly #folder = mkdtempSync(join(tmpdir(), "bailiwick-cloud-"));
  readonly #image: { readonly digest: string; readonly path: string };
  readonly #rules = new Map<string, readonly FirewallRule[]>();
  readonly #running = new Map<number, { readonly slot: string; readonly address: string }>();
  readonly #devices = new Map<number, string>();
  #lastAddress = 9;
  readonly #forwards: ReturnType<typeof spawn>[] = [];
  readonly #savedState = process.env.BAILIWICK_STATE;
  /** Called when a new server answers, before anybody was told: first boot goes on. */
  onFirstBoot: (server: Server, address: string) => Promise<void> = async () => {};

  /** @param image what every server is made from, as `ensureImage` gives it */
  constructor(image: { readonly digest: string; readonly path: string }) {
    this.#image = image;
    process.env.BAILIWICK_STATE = join(this.#folder, "state");
    mkdirSync(join(this.#folder, "volumes"));
    try {
      this.#network();
    } catch (error) {
      this.#removeNetwork();
      throw error;
    }
  }

  #network(): void {
    for (const name of [this.operator, this.#edge]) {
      ip("netns", "add", name);
      ip("-n", name, "link", "set", "lo", "up");
    }
    ip("link", "add", "up0", "netns", this.operator, "type", "veth", "peer", "name", "down0", "netns", this.#edge);
    for (const address of [OPERATOR, STRANGER]) ip("-n", this.operator, "addr", "add", `${address}/24`, "dev", "up0");
    ip("-n", this.#edge, "addr", "add", "203.0.113.1/24", "dev", "down0");
    ip("-n", this.operator, "link", "set", "up0", "up");
    ip("-n", this.#edge, "link", "set", "down0", "up");
    ip("-n", this.operator, "route", "add", "198.51.100.0/24", "via", "203.0.113.1");
    inside(this.#edge, "sysctl", "-qw", "net.ipv4.ip_forward=1");
    this.#filter();
  }

  /** Program and arguments that run a program where the operator is. */
  inside = (program: string, args: readonly string[]): [string, string[]] => [
    "nsenter",
    [`--net=/run/netns/${this.operator}`, program, ...args],
  ];

  /** Lets the operator's namespace reach a port of this process's loopback, on the same port. */
  async expose(port: number): Promise<void> {
    this.#relay(this.operator, `127.0.0.1:${port}`, port);
    for (let i = 0; i < 100 && (await this.says("127.0.0.1", port, "127.0.0.1")) === "refused"; i++) await sleep(50);
  }

  /** Lets servers reach a port of this process's loopback, on port 80 of their gateway. */
  serve(port: number): void {
    this.#relay(this.#edge, "0.0.0.0:80", port);
  }

  #relay(namespace: string, listen: string, port: number): void {
    const proxy = ["/usr/lib/systemd/systemd-socket-proxyd", `127.0.0.1:${port}`];
    const enter = ["nsenter", `--net=/proc/${process.pid}/ns/net`, ...proxy];
    const args = [`--net=/run/netns/${namespace}`, "systemd-socket-activate", "-l", listen, ...enter];
    this.#forwards.push(spawn("nsenter", args, { stdio: "ignore" }));
  }

  /** What a TCP port says first to a client with the given source address: its line, `nothing`, `refused` or `silent`. */
  async says(address: string, port = 22, from: string = OPERATOR): Promise<string> {
    const program = `
      const s = require("net").connect({ host: "${address}", port: ${port}, localAddress: "${from}" });
      const end = (word) => { console.log(word); process.exit(0); };
      let open = false;
      s.on("connect", () => { open = true; }).on("error", (e) => end(e.code === "ECONNREFUSED" ? "refused" : e.code));
      s.on("data", (d) => end(d.toString().trim()));
      setTimeout(() => end(open ? "nothing" : "silent"), 1500);`;
    const [enter, args] = this.inside(process.execPath, ["-e", program]);
    return new Promise((done) => {
      let text = "";
      const child = spawn(enter, args, { stdio: ["ignore", "pipe", "ignore"] });
      child.stdout.on("data", (chunk) => {
        text += chunk;
      });
      child.on("close", () => done(text.trim()));
    });
  }

  /** Each volume that was taken off a running server, and whether that had it mounted: for its file system a power cut. */
  readonly detached: { readonly server: number; readonly mounted: boolean }[] = [];

  async address(family: "ipv4" | "ipv6"): Promise<string | null> {
    if (family === "ipv6") return null;
    this.#lastAddress += 1;
    return `198.51.100.${this.#lastAddress}`;
  }

  async create(server: Server, rules: readonly FirewallRule[], address: string | null): Promise<void> {
    if (address === null) throw new Error(`server ${server.id} has no public IPv4 address`);
    const slot = createHash("sha256").update(`${process.pid}/${server.id}`).digest("hex").slice(0, 32);
    this.#running.set(server.id, { slot, address });
    this.#rules.set(address, rules);
    this.#filter();
    const boot = bootMachine({
      ...{ slot, instance: String(server.id), host: server.name, engine: "nspawn", image: this.#image },
      ...{ rootGiB: 4, dataGiB: 1, userData: server.userData, progress: () => {} },
    });
    let ended = false;
    boot.then(
      () => (ended = true),
      () => (ended = true),
    );
    // the file is there before it is the namespace
    const { name } = namesOf(slot);
    while (!ended && spawnSync("ip", ["-n", name, "link", "show", "lo"]).status !== 0) await sleep(10);
    if (!ended) this.#wire(name, address);
    await boot;
    await this.onFirstBoot(server, address);
  }

  /** In order; returns when its SSH server answers again, on its own loopback. */
  async reboot(server: Server): Promise<void> {
    await rebootMachine(this.#found(server.id).slot);
  }

  async remove(server: Server): Promise<void> {
    const running = this.#running.get(server.id);
    if (running === undefined) return;
    await destroyMachine(running.slot);
    this.#running.delete(server.id);
    this.#rules.delete(running.address);
    this.#filter();
  }

  async setRules(server: Server, rules: readonly FirewallRule[]): Promise<void> {
    const running = this.#running.get(server.id);
    if (running === undefined) return;
    this.#rules.set(running.address, rules);
    this.#filter();
  }

  /** The device appears in the running server, as by a hot plug. */
  async attach(server: Server, volume: Volume): Promise<void> {
    const disk = this.#disk(volume);
    if (!existsSync(disk)) writeFileSync(disk, "");
    if (statSync(disk).size === 0) truncateSync(disk, 2 ** 30);
    const device =
      this.#devices.get(volume.id) ?? execFileSync("losetup", ["--find", "--show", disk], { encoding: "utf8" }).trim();
    this.#devices.set(volume.id, device);
    const [major, minor] = execFileSync("stat", ["-c", "%Hr %Lr", device], { encoding: "utf8" }).trim().split(" ");
    const path = `/dev/disk/by-id/scsi-0HC_Volume_${volume.id}`;
    this.inServer(server.id, "mknod", path, "b", major ?? "", minor ?? "");
  }

  /** Gentler than a cloud: what the server has mounted stays so until it is deleted. But it is known. */
  async detach(server: Server, volume: Volume): Promise<void> {
    if (!this.#running.has(server.id)) return;
    const mounts = this.inServer(server.id, "cat", "/proc/1/mounts").split("\n");
    const mounted = mounts.some((line) => line.split(" ")[1] === "/var/lib/bailiwick");
    this.detached.push({ server: server.id, mounted });
    this.inServer(server.id, "rm", "-f", `/dev/disk/by-id/scsi-0HC_Volume_${volume.id}`);
  }

  async removeVolume(volume: Volume): Promise<void> {
    const device = this.#devices.get(volume.id);
    if (device !== undefined) execFileSync("losetup", ["-d", device]);
    this.#devices.delete(volume.id);
    rmSync(this.#disk(volume), { force: true });
  }

  #found(id: number) {
    const running = this.#running.get(id);
    if (running === undefined) throw new Error(`server ${id} does not run`);
    return running;
  }

  /** Runs a program in the server's mount namespace, as root of this machine. */
  inServer(id: number, ...argv: string[]): string {
    const running = this.#found(id);
    const nspawn = readFileSync(namesOf(running.slot).nspawnPid, "utf8").trim();
    const init = readFileSync(`/proc/${nspawn}/task/${nspawn}/children`, "utf8").trim().split(" ")[0];
    return execFileSync("nsenter", ["-t", init ?? "", "-m", "--", ...argv], { encoding: "utf8" });
  }

  /** Runs a program of this machine in the server's network. */
  inNetworkOf(id: number, argv: readonly string[], input = ""): string {
    const running = this.#found(id);
    const enter = `--net=${namesOf(running.slot).netns}`;
    return execFileSync("nsenter", [enter, ...argv], { encoding: "utf8", input });
  }

  /** What ssh-keyscan sees from the operator's place: `ssh-ed25519 AAAA…`. */
  hostKeys(address: string): string[] {
    const [program, args] = this.inside("ssh-keyscan", ["-t", "ed25519", address]);
    const text = execFileSync(program, args, { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] });
    return text
      .trim()
      .split("\n")
      .map((line) => line.split(" ").slice(1, 3).join(" "));
  }

  /** Everything that this cloud has on this machine, which must be nothing when all was destroyed through the API. */
  leftovers(): string[] {
    const loops = execFileSync("losetup", ["-ln", "-O", "BACK-FILE"], { encoding: "utf8" }).split("\n");
    const slots = [...this.#running.values()].map(({ slot }) => namesOf(slot).netns).filter(existsSync);
    return [...slots, ...loops.filter((file) => file.includes(this.#folder))];
  }

  /** Removes all of it, whatever state it is in. */
  async close(): Promise<void> {
    for (const forward of this.#forwards) forward.kill("SIGKILL");
    for (const { slot } of this.#running.values()) await destroyMachine(slot).catch((error) => console.error(error));
    for (const device of this.#devices.values()) spawnSync("losetup", ["-d", device]);
    this.#removeNetwork();
    rmSync(this.#folder, { recursive: true, force: true });
    if (this.#savedState === undefined) delete process.env.BAILIWICK_STATE;
    else process.env.BAILIWICK_STATE = this.#savedState;
  }

  #removeNetwork(): void {
    for (const name of [this.operator, this.#edge]) spawnSync("ip", ["netns", "del", name]);
  }

  #disk(volume: Volume): string {
    return join(this.#folder, "volumes", `${volume.id}.img`);
  }

  #wire(namespace: string, address: string): void {
    const end = `to-${address.split(".").at(-1)}`;
    ip("link", "add", end, "netns", this.#edge, "type", "veth", "peer", "name", "public0", "netns", namespace);
    ip("-n", this.#edge, "addr", "add", `${GATEWAY}/32`, "dev", end);
    ip("-n", this.#edge, "link", "set", end, "up");
    ip("-n", this.#edge, "route", "add", `${address}/32`, "dev", end);
    ip("-n", namespace, "addr", "add", `${address}/32`, "dev", "public0");
    ip("-n", namespace, "link", "set", "public0", "up");
    ip("-n", namespace, "route", "add", `${GATEWAY}/32`, "dev", "public0");
    ip("-n", namespace, "route", "add", "203.0.113.0/24", "via", GATEWAY, "dev", "public0", "src", address);
  }

  /** What the firewalls dropped, and admitted of new connections, since their rules were last set. */
  counted(): { dropped: number; admitted: number } {
    const args = [`--net=/run/netns/${this.#edge}`, "nft", "list", "table", "inet", "firewalls"];
    const text = execFileSync("nsenter", args, { encoding: "utf8" });
    const count = (verdict: string) =>
      [...text.matchAll(new RegExp(`counter packets (\\d+) bytes \\d+ ${verdict}`, "g"))].reduce(
        (n, [, packets]) => n + Number(packets),
        0,
      );
    return { dropped: count("drop"), admitted: count("accept") };
  }

  /** As Hetzner's: stateful, everything that comes in is dropped but what a rule admits, all that goes out goes. */
  #filter(): void {
    const accept = [...this.#rules].flatMap(([address, rules]) =>
      rules.flatMap(({ direction, protocol, port, source_ips = [] }) => {
        const four = source_ips.filter((one) => !one.includes(":"));
        if (direction !== "in" || four.length === 0) return [];
        const from = four.includes("0.0.0.0/0") ? "" : `ip saddr { ${four.join(", ")} }`;
        return [`iifname down0 ip daddr ${address} ${from} ${protocol} dport ${port} counter accept`];
      }),
    );
    const rules = `add table inet firewalls
delete table inet firewalls
table inet firewalls { chain forward { type filter hook forward priority 0; policy drop;
ct state established,related accept
oifname down0 accept
${accept.join("\n")}
counter drop
}
}`;
    execFileSync("nsenter", [`--net=/run/netns/${this.#edge}`, "nft", "-f", "-"], { input: rules });
  }
}

function ip(...args: string[]): void {
  execFileSync("ip", args);
}

function inside(namespace: string, ...argv: string[]): void {
  execFileSync("nsenter", [`--net=/run/netns/${namespace}`, ...argv]);
}
