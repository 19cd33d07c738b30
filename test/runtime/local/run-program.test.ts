import { afterEach, describe, expect, it } from "vitest";
import { machineUnit } from "../../../runtime/local/nspawn.ts";
import { checkPrerequisites } from "../../../runtime/local/prerequisites.ts";
import { run } from "../../../runtime/local/run-program.ts";
import { namesOf } from "../../../runtime/local/slot.ts";
import { unitArguments } from "../../../runtime/local/transient-unit.ts";

const path = process.env.PATH;
afterEach(() => {
  process.env.PATH = path;
  delete process.env.SOME_API_KEY;
});

describe("programs", () => {
  it("see nothing of the operator's environment that could be a secret", async () => {
    process.env.SOME_API_KEY = "canary";
    const seen = await run("env", [], { env: { GIVEN: "yes" } });
    expect(seen).not.toContain("canary");
    expect(seen).toContain("GIVEN=yes");
  });

  it("that fail are named with their status and what they said last", async () => {
    await expect(run("sh", ["-c", "echo first; echo reason >&2; exit 3"])).rejects.toThrow(/status 3:\nreason$/);
    await expect(run("no-such-program", [])).rejects.toThrow("no-such-program: not installed on this machine");
  });

  it("are given their input, and their lines are passed on as they come", async () => {
    const lines: string[] = [];
    const out = await run("sh", ["-c", "cat; echo late >&2"], {
      input: "one\ntwo",
      onLine: (line) => lines.push(line),
    });
    expect(out).toBe("one\ntwo");
    expect(lines.join(" ")).toMatch(/one .*two/);
    expect(lines.join(" ")).toContain("late");
  });
});

describe("a unit of systemd", () => {
  it("is delegated, restarted for a reboot only, and given no secret", () => {
    const args = unitArguments(machineUnit(namesOf("0a1b2c3d-0000"), { NAME: "bw-0a1b2c3d" }));
    expect(args).toEqual(expect.arrayContaining(["--unit=bailiwick-0a1b2c3d", "--slice=machine.slice"]));
    expect(args).toEqual(expect.arrayContaining(["Delegate=yes", "RestartForceExitStatus=133", "PrivateMounts=yes"]));
    expect(args.some((arg) => arg.startsWith("Restart="))).toBe(false);
  });

  it("is given its words as they are: systemd makes one dollar of two", () => {
    const argv = ["/bin/sh", "-c", 'echo "$$ $0"; exec "$@"', `\${HOME}`, "$HOME", "100%"];
    const given = unitArguments({ unit: "some", properties: ["Type=exec"], argv }).slice(-argv.length);
    expect(given.some((word) => /(?<!\$)(\$\$)*\$(?!\$)/.test(word))).toBe(false);
    expect(given.map((word) => word.replaceAll("$$", "$"))).toEqual(argv);
  });
});

if (process.platform !== "linux") console.log("not run: checks of a Linux machine, this is another system");

describe.skipIf(process.platform !== "linux")("prerequisites", () => {
  it("name the command that installs each program that is not there", async () => {
    const found = await checkPrerequisites("/nonexistent");
    const pasta = { id: "program.pasta", ok: false, found: "not installed", fix: "apt-get install passt" };
    expect(found).toEqual(expect.arrayContaining([pasta]));
    expect(found.filter(({ id, ok }) => id.startsWith("program.") && ok)).toEqual([]);
    expect(found.find(({ id }) => id === "linux")).toMatchObject({ ok: true, fix: null });
  });

  it("find a program where it is", async () => {
    const bash = (await checkPrerequisites()).find(({ id }) => id === "program.bash");
    expect(bash).toMatchObject({ ok: true, found: expect.stringMatching(/\/bash$/), fix: null });
  });

  it("say how to make room where the disk is full", async () => {
    const saved = process.env.BAILIWICK_CACHE;
    process.env.BAILIWICK_CACHE = "/proc/bailiwick"; // a file system without any free block
    const disk = (await checkPrerequisites()).find(({ id }) => id === "disk");
    if (saved === undefined) delete process.env.BAILIWICK_CACHE;
    else process.env.BAILIWICK_CACHE = saved;
    expect(disk).toMatchObject({ ok: false, fix: expect.stringContaining("BAILIWICK_CACHE") });
  });
});
