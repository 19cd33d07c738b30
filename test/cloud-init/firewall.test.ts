import { type ChildProcess, execFileSync, spawn, spawnSync } from "node:child_process";
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { renderBaseline } from "../../cloud-init/baseline.ts";
import { loadTemplate, render } from "../../cloud-init/render.ts";
import { has, INPUT } from "./host-files.ts";

// The programs of the firewall as they are put on a machine, in a network namespace of their own.

const missing =
  process.getuid?.() !== 0
    ? "namespaces need root"
    : has("nft") && has("ip")
      ? undefined
      : "nft or ip is not installed";
if (missing !== undefined) console.log(`not run: the firewall's programs in a namespace: ${missing}`);

const fileOf = (os: "debian-12" | "debian-13", name: string) => {
  const found = renderBaseline({ ...INPUT, os }).files.find(({ path }) => path === `/usr/lib/bailiwick/${name}`);
  if (found === undefined) throw new Error(`no file ${name}`);
  return found.content;
};

describe("python programs in user data", () => {
  it.each([
    ["firewall", "debian-12"],
    ["firewall", "debian-13"],
    ["first-table", "debian-13"],
  ] as const)("%s of %s says the same without the spaces that it does not need", (name, os) => {
    const template = loadTemplate(new URL(`../../cloud-init/files/${name}.py.hbs`, import.meta.url));
    const tree = (text: string) =>
      execFileSync("python3", ["-c", "import ast,sys; print(ast.dump(ast.parse(sys.stdin.read())))"], { input: text });
    const whole = render(template, { owned: os === "debian-13" });
    expect(fileOf(os, name).length).toBeLessThan(whole.length);
    expect(tree(fileOf(os, name)).equals(tree(whole))).toBe(true);
  });
});

describe.skipIf(missing !== undefined)("the firewall's programs", () => {
  const namespace = `bwfw-${process.pid}`;
  let folder: string;
  let children: ChildProcess[];
  const inside = (...argv: string[]) =>
    spawnSync("nsenter", [`--net=/run/netns/${namespace}`, ...argv], { encoding: "utf8" });
  const nft = (command: string) => inside("nft", ...command.split(" "));
  // the order of the tables says only which was loaded last
  const ruleset = () =>
    nft("-s list ruleset")
      .stdout.split(/^(?=table )/m)
      .sort()
      .join("");
  const until = async (what: string, holds: () => boolean) => {
    for (let i = 0; !holds(); i++) {
      if (i === 100) throw new Error(`not within 5 s: ${what}; ${ruleset()}`);
      await sleep(50);
    }
  };

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "bailiwick-firewall-"));
    children = [];
    execFileSync("ip", ["netns", "add", namespace]);
    execFileSync("ip", ["-n", namespace, "link", "set", "lo", "up"]);
  });
  afterEach(() => {
    for (const child of children) child.kill("SIGKILL");
    execFileSync("ip", ["netns", "del", namespace]);
    rmSync(folder, { recursive: true });
  });

  it("first-table closes a machine that has no nft, by what nft reads as these rules", () => {
    const program = join(folder, "first-table");
    writeFileSync(program, fileOf("debian-13", "first-table"));
    chmodSync(program, 0o755);
    // as first boot runs it, where no program of the machine is found
    expect(inside("env", "-i", "PATH=/nonexistent", program)).toMatchObject({ status: 0, stderr: "" });
    expect(ruleset().replaceAll("\t", "  ")).toMatchInlineSnapshot(`
      "table inet bailiwick_first {
        chain in {
          type filter hook input priority filter; policy drop;
          iif "lo" accept
          ct state established,related accept
          meta l4proto icmp accept
          meta l4proto ipv6-icmp accept
          tcp dport 22 accept
        }
      }
      "
    `);
    // it may be run again, and says when the kernel takes not all of it
    expect(inside("/usr/bin/python3", "-I", program).status).toBe(0);
    const wrong = fileOf("debian-13", "first-table").replace('b"payload"', 'b"no-such"');
    writeFileSync(program, wrong);
    expect(inside("/usr/bin/python3", "-I", program).status).not.toBe(0);
  });

  it("an existing machine without python3 is closed by nft before that is fetched, and left as it is without either", () => {
    const adopt = readFileSync("runtime/existing/adopt.sh", "utf8");
    const step = /^command -v python3 [\s\S]*?^\}\n(?=put )/m.exec(adopt)?.[0] ?? "";
    mkdirSync(join(folder, "bin"));
    const fetched = join(folder, "fetched");
    const script = `#!/bin/sh\n/usr/sbin/nft -s list ruleset >>${fetched}\necho "$@" >>${fetched}\n`;
    writeFileSync(join(folder, "bin/apt-get"), script, { mode: 0o755 });
    const run = () => inside("env", "-i", `PATH=${join(folder, "bin")}`, "/bin/sh", "-euc", step);
    expect(run().status).not.toBe(0);
    expect(() => readFileSync(fetched)).toThrow("ENOENT");
    symlinkSync("/usr/sbin/nft", join(folder, "bin/nft"));
    expect(run()).toMatchObject({ status: 0, stderr: expect.stringMatching(/^$/) });
    const told = readFileSync(fetched, "utf8");
    expect(told.indexOf("policy drop")).toBeGreaterThan(0);
    expect(told.indexOf("policy drop")).toBeLessThan(told.indexOf("-qy update"));
    expect(told).toContain("install --no-install-recommends python3");
  });

  /** The holder of Debian 12, with its folders moved; resolves when it is ready. */
  const holder = async (change = (text: string) => text) => {
    mkdirSync(join(folder, "run"));
    for (const name of ["base.nft", "closed.nft"]) writeFileSync(join(folder, name), fileOf("debian-12", name));
    const program = fileOf("debian-12", "firewall")
      .replaceAll("/usr/lib/bailiwick", folder)
      .replaceAll("/opt/bailiwick/current/etc", folder)
      .replaceAll("/run/bailiwick-firewall", join(folder, "run"));
    writeFileSync(join(folder, "program"), change(program), { mode: 0o755 });
    const child = spawn("nsenter", [`--net=/run/netns/${namespace}`, join(folder, "program")], {
      stdio: ["ignore", "pipe", "ignore"],
    });
    children.push(child);
    let said = "";
    child.stdout.on("data", (chunk) => {
      said += chunk;
    });
    const result = () => readFileSync(join(folder, "run/result"), "utf8");
    await until("the holder is ready", () => {
      try {
        return result().startsWith("ok");
      } catch {
        return false;
      }
    });
    return { child, result, said: () => said };
  };

  it("the holder that owns nothing puts back what others flush, delete or edit, and leaves what is theirs", async () => {
    const { result, said } = await holder();
    expect(result()).toBe("ok, watched: closed.nft\n");
    const before = ruleset();
    expect(before).toContain("table inet bailiwick_base");
    expect(before).toContain("policy drop");
    const attacks = [
      "flush ruleset",
      "delete table inet bailiwick_base",
      "insert rule inet bailiwick input tcp dport 8080 accept",
      "flush chain inet bailiwick output",
      "chain inet bailiwick input { policy accept ; }",
    ];
    for (const attack of attacks) {
      expect(nft(attack), attack).toMatchObject({ status: 0 });
      await until(`${attack} is undone`, () => ruleset() === before);
    }
    await until("each was told", () => said().split("put back").length === attacks.length + 1);
    // the same table, made anew in one transaction, is another one
    const other = join(folder, "other.nft");
    writeFileSync(other, "add table inet bailiwick\ndelete table inet bailiwick\nadd table inet bailiwick\n");
    expect(inside("nft", "-f", other).status).toBe(0);
    await until("the emptied table is back", () => ruleset() === before);
    nft("add table ip theirs");
    await sleep(300);
    expect(ruleset()).toContain("table ip theirs");
    expect(said().split("put back")).toHaveLength(attacks.length + 2);
  });

  it("without its watch the same flush is not undone: the test can fail", async () => {
    await holder((program) => program.replace("events.bind((0,64))", ""));
    nft("flush ruleset");
    await sleep(1000);
    expect(ruleset()).toBe("");
  });

  it("takes a release's rules when it is asked, keeps the old ones when those do not load, and leaves all when it dies", async () => {
    const { child, result } = await holder();
    const closed = ruleset();
    writeFileSync(join(folder, "firewall.nft"), "table inet bailiwick { nonsense }");
    const reload = async (wanted: string) => {
      rmSync(join(folder, "run/result"));
      child.kill("SIGHUP");
      await until(wanted, () => {
        try {
          return result().startsWith(wanted);
        } catch {
          return false;
        }
      });
    };
    await reload("failed, the old rules stay");
    expect(ruleset()).toBe(closed);
    const replaced = "add table inet bailiwick\ndelete table inet bailiwick\n";
    writeFileSync(join(folder, "firewall.nft"), `${replaced}table inet bailiwick {\nchain mine {\n}\n}\n`);
    await reload("ok, watched");
    const open = ruleset();
    expect(open).toContain("chain mine");
    nft("flush ruleset");
    await until("the release's rules are back", () => ruleset() === open);
    const ended = new Promise((done) => child.once("exit", done));
    child.kill("SIGTERM");
    expect(await ended).toBe(0);
    expect(ruleset()).toBe(open);
  });
});
