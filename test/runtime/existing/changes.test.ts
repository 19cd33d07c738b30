import { describe, expect, it } from "vitest";
import { ADMIN_KEY_PLACEHOLDER, renderBaseline } from "../../../cloud-init/baseline.ts";
import { changesOn, filesThatChange, madeFiles } from "../../../runtime/existing/changes.ts";
import { parseFacts } from "../../../runtime/existing/facts.ts";

const admin = { name: "ada", uid: 1000 };
const baseline = renderBaseline({ os: "debian-13", admin: { ...admin, publicKey: ADMIN_KEY_PLACEHOLDER } });

const file = (path: string, content: string) => `file\t${path} ${Buffer.from(content).toString("base64")}`;
const FRESH = [
  "/etc/login.defs\nUMASK 022\n#UID_MAX 60000\nUID_MIN 1000\n",
  "/etc/fstab\nUUID=1 / ext4 defaults 0 1\n",
].map((text) => file(text.slice(0, text.indexOf("\n")), text.slice(text.indexOf("\n") + 1)));

describe("what putting the baseline on a machine would change", () => {
  it("is every file of it, and the lines that are edited, on a fresh machine", () => {
    const { files } = changesOn(parseFacts(FRESH.join("\n")), baseline, admin);
    expect(files.map(({ path }) => path)).toEqual(filesThatChange().sort());
    expect(files.find(({ path }) => path === "/etc/login.defs")).toEqual({
      path: "/etc/login.defs",
      change: "changed",
      removed: ["UMASK 022", "#UID_MAX 60000"],
      added: ["UID_MAX 19999", "GID_MAX 19999", "UMASK 027"],
    });
    expect(files.find(({ path }) => path === "/etc/fstab")).toMatchObject({
      change: "changed",
      removed: [],
      added: [expect.stringMatching(/^tmpfs \/tmp .*noexec/), expect.anything(), expect.anything()],
    });
  });

  it("is nothing where it is, whole", () => {
    const marker = `marker\t{"digest":"${baseline.digest}","status":"done","step":"","message":""}`;
    const lines = [
      marker,
      ...baseline.files.map(({ path, content }) => file(path, content)),
      ...madeFiles()
        .filter((path) => !baseline.files.some((one) => one.path === path))
        .map((path) => file(path, "as it was made\n")),
      file("/etc/login.defs", "UID_MIN 1000\nUID_MAX 19999\nGID_MAX 19999\nUMASK 027\n"),
      file(
        "/etc/fstab",
        "tmpfs /tmp tmpfs nosuid,nodev,noexec,x-bailiwick\n/var/tmp /var/tmp none bind,nosuid,nodev,noexec,x-bailiwick\ntmpfs /dev/shm tmpfs nosuid,nodev,noexec,x-bailiwick\n",
      ),
    ];
    expect(changesOn(parseFacts(lines.join("\n")), baseline, admin)).toEqual({ files: [], also: [] });
    // one file of it that somebody has edited since is told
    const edited = lines.map((line) =>
      line.startsWith("file\t/etc/sudoers.d") ? file("/etc/sudoers.d/bailiwick", "x\n") : line,
    );
    expect(changesOn(parseFacts(edited.join("\n")), baseline, admin).files).toMatchObject([
      { path: "/etc/sudoers.d/bailiwick", change: "changed", removed: ["x"] },
    ]);
  });

  it("tells what is no file: packages, accounts, ways in that end, ports that close", () => {
    const lines = [
      ...FRESH,
      "account\tdeploy 1500 /bin/bash /home/deploy P",
      "keys\tdeploy /home/deploy/.ssh/authorized_keys",
      "sudo\tdeploy",
      "sudoers\t/etc/sudoers.d/90-cloud-init-users",
      "listening\ttcp 0.0.0.0:80 nginx.service nginx",
      "listening\ttcp 0.0.0.0:22 ssh.service sshd",
      "listening\ttcp 127.0.0.1:631 cups.service cupsd",
      "missing\thaproxy",
      "device\tblank",
    ];
    const { also } = changesOn(parseFacts(lines.join("\n")), baseline, admin);
    expect(also).toEqual([
      "install haproxy",
      'make account "ada" with uid 1000',
      "let only admins of the host log in, by their keys",
      "put aside /home/deploy/.ssh/authorized_keys",
      "put aside /etc/sudoers.d/90-cloud-init-users",
      'take "deploy" out of group sudo',
      'lock the password of "deploy"',
      "let nothing in but SSH",
      "close tcp 0.0.0.0:80 (nginx) to the network",
      "run no programs from /tmp, /var/tmp and /dev/shm",
      "format the data volume, which is blank",
      "replace the host key, and remove those of other kinds, at the first push",
    ]);
  });
});
