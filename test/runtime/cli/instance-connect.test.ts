import { execFileSync } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import { instanceConnectTunnel } from "../../../runtime/cli/instance-connect.ts";
import { connect } from "../../../runtime/ssh/connect.ts";
import { UnreachableError } from "../../../runtime/ssh/errors.ts";
import { uploadComponent } from "../../../runtime/ssh/upload.ts";
import { type LoopbackSshd, sshdMissing, startSshd, username } from "../ssh/loopback-sshd.ts";

// A stand-in of `aws ec2-instance-connect open-tunnel`, called with the same arguments and saying what it says, that leads
// to a real sshd. While there is a file `stops-after`, no more than so many bytes pass to the instance, and the tunnel ends when
// there is a file `ended`, as AWS's do after an hour.
const AWS = (target: number, folder: string) => `#!${process.execPath}
// a tunnel ends with whom it is for
const parent = process.ppid;
setInterval(() => process.ppid === parent || process.exit(), 500);
const { appendFileSync, existsSync, readFileSync } = require("node:fs");
const net = require("node:net");
const argv = process.argv.slice(2);
const folder = ${JSON.stringify(folder)};
appendFileSync(folder + "/calls", JSON.stringify(argv) + "\\n");
const value = (name) => argv[argv.indexOf(name) + 1];
if (argv[0] !== "ec2-instance-connect" || argv[1] !== "open-tunnel") process.exit(252);
if (value("--instance-id") === "i-unknown") { console.error("An error occurred (ResourceNotFoundException): no endpoint"); process.exit(254); }
const limited = existsSync(folder + "/stops-after");
let left = limited ? Number(readFileSync(folder + "/stops-after", "utf8")) : Infinity;
if (limited) setInterval(() => existsSync(folder + "/ended") && process.exit(0), 20);
net.createServer((client) => {
  const there = net.connect(${target}, "127.0.0.1");
  client.on("data", (chunk) => { left -= chunk.length; if (left < 0) client.pause(); else there.write(chunk); });
  client.on("end", () => there.end());
  there.pipe(client);
  for (const one of [client, there]) one.on("error", () => { client.destroy(); there.destroy(); });
}).listen(Number(value("--local-port")), "127.0.0.1", () => console.log("Listening for connections on port " + value("--local-port") + "."));
`;

describe.skipIf(sshdMissing !== undefined)("the way to an instance by EC2 Instance Connect", () => {
  let folder: string;
  let sshd: LoopbackSshd;
  const file = (name: string) => join(folder, name);

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), "bailiwick-tunnel-"));
    for (const name of ["host", "ada"])
      execFileSync("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-C", name, "-f", file(name)]);
    const authorized = [readFileSync(file("ada.pub"), "utf8").trim()];
    sshd = await startSshd({ directory: folder, hostKey: file("host"), authorized });
    writeFileSync(file("aws"), AWS(sshd.port, folder));
    chmodSync(file("aws"), 0o755);
  });

  afterEach(() => vi.unstubAllEnvs());

  afterAll(async () => {
    await sshd?.stop();
    rmSync(folder, { recursive: true });
  });

  it("carries SSH connections, one tunnel for all of them, and asks for the instance's port 22 for an hour", async () => {
    vi.stubEnv("PATH", `${folder}:${process.env.PATH}`);
    const first = await instanceConnectTunnel("i-0123");
    expect(await instanceConnectTunnel("i-0123")).toEqual(first);
    const hostKey = readFileSync(file("host.pub"), "utf8").split(" ").slice(0, 2).join(" ");
    const identity = { kind: "file", path: file("ada") } as const;
    for (let i = 0; i < 2; i++) {
      const connection = await connect({ ...first, username, identity, trust: { kind: "pinned", hostKey } });
      expect((await connection.exec("echo through")).stdout).toBe("through\n");
      await connection.close();
    }
    const calls = readFileSync(file("calls"), "utf8")
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as string[]);
    expect(calls).toHaveLength(1);
    expect(calls[0]?.join(" ")).toBe(
      `ec2-instance-connect open-tunnel --instance-id i-0123 --remote-port 22 --local-port ${first.port} --max-tunnel-duration 3600`,
    );
  });

  it("offers nothing to whoever else answers at the tunnel's end", async () => {
    vi.stubEnv("PATH", `${folder}:${process.env.PATH}`);
    const address = await instanceConnectTunnel("i-0123");
    const other = readFileSync(file("ada.pub"), "utf8").split(" ").slice(0, 2).join(" ");
    const identity = { kind: "file", path: file("ada") } as const;
    await expect(
      connect({ ...address, username, identity, trust: { kind: "pinned", hostKey: other } }),
    ).rejects.toThrow("host key");
  });

  it("that ends in the midst of an upload is opened anew, and the upload goes on where it was", async () => {
    vi.stubEnv("PATH", `${folder}:${process.env.PATH}`);
    const path = file("component.tar.zst");
    mkdirSync(file("tree"));
    writeFileSync(join(folder, "tree/data"), randomBytes(3_000_000));
    execFileSync("tar", ["--zstd", "-cf", path, "-C", file("tree"), "."]);
    const bytes = readFileSync(path);
    const archive = { sha256: createHash("sha256").update(bytes).digest("hex"), bytes: bytes.length };
    const hostKey = readFileSync(file("host.pub"), "utf8").split(" ").slice(0, 2).join(" ");
    const identity = { kind: "file", path: file("ada") } as const;
    const upload = async () => {
      const address = await instanceConnectTunnel("i-0789");
      const connection = await connect({ ...address, username, identity, trust: { kind: "pinned", hostKey } });
      const component = "c".repeat(64);
      try {
        return await uploadComponent({ connection, component, archive, path, root: file("host-root"), sudo: false });
      } finally {
        await connection.close();
      }
    };
    writeFileSync(file("stops-after"), "2000000");
    const attempt = expect(upload()).rejects.toThrow(UnreachableError);
    const part = join(folder, "host-root/incoming", `${archive.sha256}.part`);
    while (!existsSync(part) || statSync(part).size < 1_000_000) await sleep(10);
    writeFileSync(file("ended"), "");
    await attempt;
    rmSync(file("stops-after"));
    // as another push does, a moment later
    await sleep(500);
    const { outcome, resumedAt } = await upload();
    expect(outcome).toBe("uploaded");
    expect(resumedAt).toBeGreaterThanOrEqual(1_000_000);
    const there = readFileSync(join(folder, "host-root/components", "c".repeat(64), "data"));
    expect(there.equals(readFileSync(join(folder, "tree/data")))).toBe(true);
  });

  it("says what the AWS CLI said, and that it is not installed", async () => {
    vi.stubEnv("PATH", `${folder}:${process.env.PATH}`);
    await expect(instanceConnectTunnel("i-unknown")).rejects.toThrow(
      "no EC2 Instance Connect tunnel to i-unknown: the AWS CLI ended with exit code 254: An error occurred",
    );
    vi.stubEnv("PATH", "/nonexistent");
    await expect(instanceConnectTunnel("i-0456")).rejects.toThrow("the AWS CLI is not installed here; install aws");
  });
});
