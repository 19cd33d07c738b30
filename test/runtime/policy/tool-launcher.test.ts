import { spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { launcher } from "../../../runtime/policy/tools/launcher.ts";

const folder = mkdtempSync(join(tmpdir(), "bailiwick-launcher-"));
afterAll(() => rmSync(folder, { recursive: true }));
writeFileSync(join(folder, "launcher.mjs"), launcher({ HUB_TOKEN: "secret.hub-token" }, false));
writeFileSync(join(folder, "secret.hub-token"), "canary-hub\n");
// never ends by itself, and prints what it was given as soon as it is asked
writeFileSync(
  join(folder, "server.mjs"),
  `setInterval(() => {}, 1000);
process.stdin.once("data", () => console.log(JSON.stringify([process.env.HUB_TOKEN, process.env.CREDENTIALS_DIRECTORY, process.argv.slice(1)])));`,
);

function start() {
  const args = ["--import", join(folder, "launcher.mjs"), join(folder, "server.mjs"), "--root", "/tmp"];
  const child = spawn(process.execPath, args, {
    env: { CREDENTIALS_DIRECTORY: folder },
    stdio: ["pipe", "pipe", "inherit"],
  });
  const ended = new Promise<number | null>((done) => child.on("exit", done));
  const said = new Promise<string>((done) => child.stdout.once("data", (text) => done(String(text))));
  return { child, ended, said };
}

describe("what Node.js loads before a stdio server", () => {
  it("gives it its secrets and its own arguments, and no way to look for more", async () => {
    const { child, ended, said } = start();
    child.stdin.write("x\n");
    expect(JSON.parse(await said)).toEqual(["canary-hub", null, [join(folder, "server.mjs"), "--root", "/tmp"]]);
    child.stdin.end();
    expect(await ended).toBe(0);
  });

  it("tells one that was granted files to read where they are", () => {
    expect(launcher({}, true)).not.toContain("delete process.env");
  });

  it("ends a server that would outlive its connection", async () => {
    const { child, ended, said } = start();
    child.stdin.write("x\n");
    await said;
    const began = performance.now();
    child.stdin.destroy();
    expect(await ended).toBe(0);
    expect(performance.now() - began).toBeLessThan(20_000);
  });
});
