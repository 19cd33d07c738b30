import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";

const SERVER = resolve(import.meta.dirname, "../../runtime/policy/fake-internet.mjs");

export const PUBLIC = "93.184.216.34";
export const PRIVATE = "10.20.30.40";
export const METADATA = "169.254.169.254";

type Names = Readonly<Record<string, string | readonly string[]>>;

/**
 * The operator's whole network for a test: a namespace without any way out that itself owns public, private and metadata
 * addresses and this machine's resolvers. A machine deployed from inside it can reach nothing real.
 */
export class Internet {
  readonly name = `bwnet-${process.pid}`;
  readonly #folder = mkdtempSync(join(tmpdir(), "bailiwick-internet-"));
  readonly #children: ChildProcess[] = [];

  /**
   * @param names every name that resolves, each to the address given, or to several in turn
   * @param repositories a folder that is served to git below `/git/`
   */
  static async start(names: Names, repositories = ""): Promise<Internet> {
    const internet = new Internet();
    try {
      internet.#wire();
      await internet.#serve(names, repositories);
      return internet;
    } catch (error) {
      internet.close();
      throw error;
    }
  }

  /** Program and arguments that run a program inside. */
  inside(program: string, args: readonly string[]): [string, string[]] {
    return ["nsenter", [`--net=/run/netns/${this.name}`, program, ...args]];
  }

  /** Safe to call again. */
  close(): void {
    for (const child of this.#children) child.kill("SIGKILL");
    if (existsSync(`/run/netns/${this.name}`)) execFileSync("ip", ["netns", "delete", this.name]);
    rmSync(this.#folder, { recursive: true, force: true });
  }

  #wire(): void {
    const ip = (...args: string[]) => execFileSync("ip", ["-n", this.name, ...args]);
    execFileSync("ip", ["netns", "add", this.name]);
    ip("link", "set", "lo", "up");
    // Both ends inside: an interface to route by that leads nowhere.
    ip("link", "add", "wan0", "type", "veth", "peer", "name", "wan1");
    for (const address of new Set([
      `${PUBLIC}/24`,
      `${PRIVATE}/32`,
      `${METADATA}/32`,
      ...this.#resolvers().map((a) => `${a}/32`),
    ]))
      ip("addr", "add", address, "dev", "wan0");
    ip("link", "set", "wan0", "up");
    ip("link", "set", "wan1", "up");
    ip("route", "add", "default", "via", "93.184.216.1", "dev", "wan0");
  }

  /** The addresses that this machine's programs ask for names: in the namespace they are ours. */
  #resolvers(): string[] {
    const found = [...readFileSync("/etc/resolv.conf", "utf8").matchAll(/^nameserver\s+(\d+\.\d+\.\d+\.\d+)\s*$/gm)];
    return found.map((match) => match[1] ?? "").filter((address) => address !== "" && !address.startsWith("127."));
  }

  async #serve(names: Names, repositories: string): Promise<void> {
    const records = Object.entries(names).flatMap(([name, addresses]) =>
      [addresses].flat().map((address) => `--host-record=${name},${address}`),
    );
    const options = ["--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--local=/#/"];
    this.#spawn("dnsmasq", [...options, "--user=", "--group=", "--pid-file=", "--log-facility=-", ...records]);
    const key = join(this.#folder, "key.pem");
    const certificate = join(this.#folder, "certificate.pem");
    const subject = ["-subj", "/CN=fake", "-days", "2", "-keyout", key, "-out", certificate];
    execFileSync(
      "openssl",
      ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", ...subject],
      {
        stdio: "ignore",
      },
    );
    const server = this.#spawn("env", [`REPOSITORIES=${repositories}`, process.execPath, SERVER, key, certificate]);
    await new Promise<void>((ready, fail) => {
      server.stdout?.once("data", () => ready());
      server.once("exit", (code) => fail(new Error(`the fake internet's server ended with ${code}`)));
    });
  }

  #spawn(program: string, args: readonly string[]): ChildProcess {
    const [command, rest] = this.inside(program, args);
    const child = spawn(command, rest, { stdio: ["ignore", "pipe", "inherit"] });
    this.#children.push(child);
    return child;
  }
}
