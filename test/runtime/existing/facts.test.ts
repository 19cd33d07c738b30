import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { parseFacts, readFacts } from "../../../runtime/existing/facts.ts";
import { connect } from "../../../runtime/ssh/connect.ts";
import type { Connection } from "../../../runtime/ssh/connection.ts";
import { type LoopbackSshd, sshdMissing, startSshd, username } from "../ssh/loopback-sshd.ts";
import { makeKey } from "../ssh/test-keys.ts";

describe("what was read of a machine", () => {
  it("is told word by word", () => {
    const file = Buffer.from("a\nb\n").toString("base64");
    const facts = parseFacts(
      [
        "os\tdebian-13",
        "arch\tx86_64",
        "init\tsystemd",
        "uid\t0",
        "ssh\tactive",
        "hostkey\tssh-ed25519 AAAA",
        `marker\t{"digest":"${"a".repeat(64)}","status":"failed","step":"packages","message":""}`,
        "cloud-init\ti-1",
        "account\tbob 1001 /bin/bash /home/bob P",
        "account\tnobody 65534 /usr/sbin/nologin /nonexistent L",
        "keys\tbob /home/bob/.ssh/authorized_keys",
        "sudo\tbob alice",
        "sudoers\t/etc/sudoers.d/90-cloud-init-users",
        "listening\ttcp 0.0.0.0:80 nginx.service nginx",
        "running\tnginx.service",
        "crontab\t/var/spool/cron/crontabs/bob",
        "table\tinet filter",
        "device\tforeign TYPE=ext4",
        "missing\tacl",
        `file\t/etc/fstab ${file}`,
        "",
      ].join("\n"),
    );
    expect(facts).toEqual({
      os: "debian-13",
      arch: "x86_64",
      init: "systemd",
      uid: 0,
      ssh: "active",
      hostKey: "ssh-ed25519 AAAA",
      baseline: { digest: "a".repeat(64), done: false },
      cloudInit: true,
      accounts: [
        { name: "bob", uid: 1001, shell: "/bin/bash", home: "/home/bob", password: true },
        { name: "nobody", uid: 65534, shell: "/usr/sbin/nologin", home: "/nonexistent", password: false },
      ],
      keys: [{ account: "bob", path: "/home/bob/.ssh/authorized_keys" }],
      sudo: ["bob", "alice"],
      sudoers: ["/etc/sudoers.d/90-cloud-init-users"],
      listening: [{ protocol: "tcp", local: "0.0.0.0:80", unit: "nginx.service", program: "nginx" }],
      running: ["nginx.service"],
      crontabs: ["/var/spool/cron/crontabs/bob"],
      tables: ["inet filter"],
      device: "foreign TYPE=ext4",
      missing: ["acl"],
      files: new Map([["/etc/fstab", "a\nb\n"]]),
    });
  });
});

const missing = sshdMissing ?? (process.getuid?.() === 0 ? undefined : "not run: facts of a machine need root");
if (missing !== undefined && sshdMissing === undefined) console.log(missing);

describe.skipIf(missing !== undefined)("the facts of a real machine", () => {
  let directory: string;
  let sshd: LoopbackSshd;
  let connection: Connection;

  beforeAll(async () => {
    directory = mkdtempSync(join(tmpdir(), "bailiwick-facts-"));
    const host = makeKey(directory, "host");
    const admin = makeKey(directory, "admin");
    sshd = await startSshd({ directory, hostKey: host.path, authorized: [admin.publicKey] });
    connection = await connect({
      ...{ host: "127.0.0.1", port: sshd.port, username },
      identity: { kind: "file", path: admin.path },
      trust: { kind: "pinned", hostKey: host.publicKey.split(" ").slice(0, 2).join(" ") },
    });
  });
  afterAll(async () => {
    await connection?.close();
    await sshd?.stop();
    if (directory !== undefined) rmSync(directory, { recursive: true });
  });

  it("are those that the machine's own files say", async () => {
    const questions = {
      device: "no-such-disk",
      packages: ["dpkg", "no-such-package"],
      paths: ["/etc/passwd", "/none"],
    };
    const facts = await readFacts(connection, questions);
    const release = readFileSync("/etc/os-release", "utf8");
    expect(facts.os).toBe(`${/^ID=(.*)$/m.exec(release)?.[1]}-${/^VERSION_ID="?([^"\n]*)/m.exec(release)?.[1] ?? ""}`);
    expect(facts).toMatchObject({ uid: 0, device: "absent", missing: ["no-such-package"] });
    expect(facts.files).toEqual(new Map([["/etc/passwd", readFileSync("/etc/passwd", "utf8")]]));
    expect(facts.accounts).toContainEqual(expect.objectContaining({ name: "root", uid: 0 }));
    expect(facts.listening).toContainEqual(
      expect.objectContaining({ local: `127.0.0.1:${sshd.port}`, program: "sshd" }),
    );
  });
});
