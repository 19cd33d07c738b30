import { spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { stripVTControlCharacters } from "node:util";
import type { Internet } from "./internet.ts";

export interface Ran {
  code: number;
  stdout: string;
  stderr: string;
  /** stdout and stderr together, without colours. */
  text: string;
}

const root = resolve(import.meta.dirname, "../../..");
const TYPESCRIPT = join(root, "test/run-typescript.mjs");

/**
 * A team's own project in a folder of its own, using this clone as its kit: what its users do, with the real
 * `cdktf`, `terraform` and `bailiwick`.
 */
export class Project {
  readonly dir: string;
  readonly env: Record<string, string>;
  readonly #internet: Pick<Internet, "inside"> | undefined;

  /**
   * @param app text of its `main.ts`; `"KIT"` in it is where constructs are imported from
   * @param internet network that everything of the project runs in; default: this machine's own
   */
  constructor(app: string, env: Record<string, string> = {}, internet?: Pick<Internet, "inside">) {
    this.#internet = internet;
    this.dir = mkdtempSync(join(tmpdir(), "bailiwick-project-"));
    const config = {
      language: "typescript",
      app: `node ${TYPESCRIPT} main.ts`,
      projectId: "test",
      sendCrashReports: "false",
    };
    writeFileSync(join(this.dir, "cdktf.json"), JSON.stringify(config));
    writeFileSync(join(this.dir, "package.json"), JSON.stringify({ type: "module" }));
    symlinkSync(join(root, "node_modules"), join(this.dir, "node_modules"));
    this.write(app);
    // A key, state and cache of its own; images and components are shared, since they are named by digest.
    mkdirSync(join(this.dir, "config"));
    this.env = {
      CHECKPOINT_DISABLE: "1",
      CI: "true",
      XDG_CONFIG_HOME: join(this.dir, "config"),
      BAILIWICK_STATE: join(this.dir, "state"),
      ...env,
    };
  }

  write(app: string): void {
    // in its quotes: a key in the text may have these three letters too
    writeFileSync(
      join(this.dir, "main.ts"),
      app.replaceAll(`"KIT"`, JSON.stringify(join(root, "constructs/index.ts"))),
    );
  }

  read(path: string): string {
    return readFileSync(join(this.dir, path), "utf8");
  }

  cdktf(args: string[], env: Record<string, string> = {}): Promise<Ran> {
    return this.run(join(root, "node_modules/.bin/cdktf"), args, env);
  }

  bailiwick(args: string[], env: Record<string, string> = {}, cwd = this.dir): Promise<Ran> {
    return this.run(process.execPath, [join(root, "bin/bailiwick.mjs"), ...args], env, cwd);
  }

  /** Builds the image and what a host's release needs, by this machine's own network: a test's has no registries. */
  async build(host: string): Promise<void> {
    const bailiwick = join(root, "bin/bailiwick.mjs");
    for (const args of [
      [TYPESCRIPT, "main.ts"],
      [bailiwick, "local", "image"],
      [bailiwick, "bundle", host],
    ])
      ok(await this.#start(process.execPath, args, {}, this.dir));
  }

  run(program: string, args: string[], env: Record<string, string> = {}, cwd = this.dir): Promise<Ran> {
    const [command, rest] = this.#internet?.inside(program, args) ?? [program, args];
    return this.#start(command, rest, env, cwd);
  }

  #start(command: string, args: string[], env: Record<string, string>, cwd: string): Promise<Ran> {
    return new Promise((done, fail) => {
      const child = spawn(command, args, {
        cwd,
        env: { ...process.env, ...this.env, ...env },
        stdio: ["ignore", "pipe", "pipe"],
      });
      let stdout = "";
      let stderr = "";
      child.stdout.on("data", (chunk) => {
        stdout += chunk;
      });
      child.stderr.on("data", (chunk) => {
        stderr += chunk;
      });
      child.on("error", fail);
      child.on("close", (code) =>
        done({ code: code ?? 255, stdout, stderr, text: stripVTControlCharacters(stdout + stderr) }),
      );
    });
  }

  remove(): void {
    rmSync(this.dir, { recursive: true, force: true });
  }
}

/** @throws with everything the program printed unless it ended with exit code 0 */
export function ok(ran: Ran): Ran {
  if (ran.code !== 0) throw new Error(`exit ${ran.code}\n${ran.text.slice(-6000)}`);
  return ran;
}
