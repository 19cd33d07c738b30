import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, beforeAll, describe, expect, it } from "vitest";
import { RUNNER } from "../../../runtime/policy/shell/shell.ts";
import { missing, SessionPlace, UID } from "./shell-session.ts";

// The runner of a shell as it runs in its unit: a user of its own, alone in a control group of its own, MCP on its standard
// input and output. The control group is of a hierarchy that is mounted for the test alone.

interface Answer {
  readonly id: number;
  readonly result?: {
    readonly content?: { text: string }[];
    readonly isError?: boolean;
    readonly structuredContent?: { exitStatus: number; timedOut: boolean; leftOutBytes: number };
  };
  readonly error?: { code: number };
}

class Session {
  readonly child: ChildProcess;
  readonly place = new SessionPlace({ tool: { name: "run" }, seconds: 20, outputBytes: 1024 });
  readonly #answers = new Map<number, (answer: Answer) => void>();
  #next = 1;

  constructor() {
    const [program = "", ...args] = this.place.argv;
    this.child = spawn(program, args, { env: { PATH: process.env.PATH }, stdio: ["pipe", "pipe", "inherit"] });
    this.child.once("exit", (code) => {
      for (const id of this.#answers.keys()) this.#fail(id, `the session ended with ${code}`);
    });
    createInterface({ input: this.child.stdout as NodeJS.ReadableStream }).on("line", (line) => {
      const answer = JSON.parse(line) as Answer;
      this.#answers.get(answer.id)?.(answer);
    });
  }

  #fail(id: number, reason: string): void {
    this.#answers.get(id)?.({ id, result: { content: [{ text: reason }], isError: true } });
  }

  tell(message: object): void {
    this.child.stdin?.write(`${JSON.stringify({ jsonrpc: "2.0", ...message })}\n`);
  }

  ask(method: string, params: object = {}): Promise<Answer> {
    const id = this.#next++;
    return new Promise((done) => {
      this.#answers.set(id, done);
      this.tell({ id, method, params });
    });
  }

  async run(command: string, more: object = {}) {
    const { result } = await this.ask("tools/call", { name: "run", arguments: { command, ...more } });
    const text = result?.content?.[0]?.text ?? "";
    const output = text.slice(text.indexOf("\n") + 1);
    return { ...result?.structuredContent, text, output, isError: result?.isError ?? false };
  }

  /** Pids of its processes but the runner, as root sees them. */
  left(): string[] {
    const all = spawnSync("pgrep", ["-u", String(UID)], { encoding: "utf8" })
      .stdout.split("\n")
      .filter(Boolean);
    return all.filter((pid) => {
      const args = existsSync(`/proc/${pid}/cmdline`) ? readFileSync(`/proc/${pid}/cmdline`, "utf8") : "";
      return args !== "" && !args.includes("runner.py");
    });
  }

  async end(): Promise<void> {
    if (this.child.exitCode === null) {
      const ended = new Promise((done) => this.child.once("exit", done));
      this.child.stdin?.end();
      await ended;
    }
    this.place.remove();
  }
}

describe.skipIf(missing !== undefined)("a session of a shell", () => {
  let session: Session;
  const sessions: Session[] = [];
  const open = () => {
    session = new Session();
    sessions.push(session);
    return session;
  };
  beforeAll(() => expect(spawnSync("pgrep", ["-u", String(UID)]).status).toBe(1));
  afterEach(async () => {
    for (const one of sessions.splice(0)) await one.end();
  });

  it("speaks MCP: introduces itself, lists its tool, knows no other method", async () => {
    open();
    const { result } = await session.ask("initialize", { protocolVersion: "2025-06-18" });
    expect(result).toMatchObject({ protocolVersion: "2025-06-18", capabilities: { tools: {} } });
    expect((await session.ask("tools/list")).result).toEqual({ tools: [{ name: "run" }] });
    expect((await session.ask("ping")).result).toEqual({});
    expect((await session.ask("resources/list")).error?.code).toBe(-32601);
  });

  it("gives back status and output, standard error among it, from the directory that was asked for", async () => {
    open();
    expect(await session.run("echo out; echo err >&2; exit 3")).toMatchObject({
      exitStatus: 3,
      timedOut: false,
      output: "out\nerr\n",
      text: "exit status 3\nout\nerr\n",
    });
    expect((await session.run("pwd")).output).toBe(`${session.place.work}\n`);
    expect((await session.run("pwd", { directory: "/usr" })).output).toBe("/usr\n");
    expect(await session.run("true", { directory: "/nowhere" })).toMatchObject({
      isError: true,
      text: "not run: /nowhere: No such file or directory",
    });
    expect(await session.run("true\0")).toMatchObject({ isError: true, text: expect.stringContaining("not run: ") });
    expect((await session.run("kill -9 $$")).exitStatus).toBe(137);
    expect((await session.run("id -u; env | cut -d= -f1 | sort | tr '\\n' ' '")).output).toBe(
      `${UID}\nHOME LANG PATH PWD SHELL TMPDIR `,
    );
  });

  it("keeps the beginning and the end of long output, and says how much it left out", async () => {
    open();
    const { output, leftOutBytes } = await session.run("seq 1 100000");
    expect(output.startsWith("1\n2\n3\n")).toBe(true);
    expect(output.endsWith("\n100000\n")).toBe(true);
    expect(leftOutBytes).toBe(588_895 - 1024);
    expect(output).toContain(`\n[${588_895 - 1024} bytes left out]\n`);
    expect(Buffer.byteLength(output)).toBeLessThan(1100);
    const whole = `${"a".repeat(511)}é${"b".repeat(400)}`;
    expect((await session.run(`printf ${whole}`)).output, "half of 1024 bytes ends within a character").toBe(whole);
  });

  it("ends a command after its time, with all that it started, whatever that did to be left alone", async () => {
    open();
    const stubborn = `setsid sh -c 'trap "" TERM HUP; sleep 300 & sleep 300' >/dev/null 2>&1 &
      python3 -c 'import ctypes, time; ctypes.CDLL(None).prctl(4, 0); time.sleep(300)' & sleep 300`;
    const { exitStatus, timedOut, text } = await session.run(stubborn, { seconds: 1 });
    expect({ exitStatus, timedOut }).toEqual({ exitStatus: 137, timedOut: true });
    expect(text).toContain("ended after its time; exit status 137");
    expect(session.left()).toEqual([]);
    expect((await session.run("echo next")).output).toBe("next\n");
  });

  it("ends what a command leaves running, and does not wait for it", async () => {
    open();
    const started = performance.now();
    expect(await session.run("(sleep 300; echo late) & echo now")).toMatchObject({ exitStatus: 0, output: "now\n" });
    expect(performance.now() - started).toBeLessThan(5000);
    expect(session.left()).toEqual([]);
  });

  it("ends a command that is taken back, and one that waits behind it goes on", async () => {
    open();
    const long = session.ask("tools/call", { name: "run", arguments: { command: "sleep 300" } });
    const next = session.run("echo second");
    await sleep(300);
    session.tell({ method: "notifications/cancelled", params: { requestId: 1 } });
    expect((await long).result?.structuredContent?.exitStatus).toBe(137);
    expect((await next).output).toBe("second\n");
  });

  it("ends everything when its connection ends", async () => {
    open();
    void session.run("setsid sleep 300 & sleep 300");
    await sleep(500);
    expect(session.left().length).toBeGreaterThan(0);
    const ended = new Promise((done) => session.child.once("exit", done));
    session.child.stdin?.end();
    expect(await ended).toBe(0);
    expect(session.left()).toEqual([]);
  });

  it("is not its commands' to read or to speak for", async () => {
    open();
    const { output } = await session.run(
      "cat /proc/$PPID/environ >/dev/null; echo forged >/proc/$PPID/fd/1; ls -l /proc/self/fd | grep -c socket",
    );
    expect(output.match(/Permission denied/g)).toHaveLength(2);
    // the control: another process of the same user can be read
    expect((await session.run("sleep 5 & cat /proc/$!/environ | head -c 4")).output).toMatch(/^[A-Z]{4}/);
  });

  it("does not begin where other processes are in its control group, which it would end", () => {
    const folder = mkdtempSync(join(tmpdir(), "bailiwick-shell-"));
    writeFileSync(join(folder, "shell.json"), "{}");
    const script = `umount -R -l /sys/fs/cgroup; mount -t cgroup2 none /sys/fs/cgroup; g=/sys/fs/cgroup/bailiwick-shell-crowd-${process.pid}
      mkdir $g; sh -c "echo \\$\\$ >$g/cgroup.procs; sleep 60 & /usr/bin/python3 -I - ${folder}/shell.json; s=\\$?; kill \\$!; exit \\$s"
      s=$?; sleep 0.2; rmdir $g; exit $s`;
    const ran = spawnSync("unshare", ["--mount", "sh", "-c", script], { input: RUNNER, encoding: "utf8" });
    rmSync(folder, { recursive: true });
    expect(ran.stderr).toContain("there are other processes in the control group");
    expect(ran.status).toBe(1);
  });
});
