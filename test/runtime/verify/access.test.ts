import { describe, expect, it } from "vitest";
import { accessProbes } from "../../../runtime/verify/probes/access.ts";
import { done, exited, failed, judgeOf, printed, sampleSubject } from "../policy/judged.ts";

const HOST_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBSCKxlmuLk7hEAPGlDi3Nt0SGKpo7mRRT4VpR0LsCkE";
const subject = sampleSubject();
const judge = (id: string) => judgeOf(accessProbes(subject, HOST_KEY), id);

describe("the host key on disk", () => {
  const whole = {
    key: done(`${HOST_KEY} root@host\n`),
    others: printed("ssh_host_ed25519_key\nssh_host_ed25519_key.pub\n"),
    claimed: done(),
    pending: failed("ENOENT"),
    copies: exited(1),
    userData: failed("ENOENT"),
    disabled: done(),
  };
  const tried = (change: object) => judge("root/host-key")({ ...whole, ...change });

  it("holds when it is the one that was shown and there is no copy of another", () => {
    expect(tried({})).toEqual({ verdict: "held", found: "one key, no copy" });
  });

  it.each([
    [{ key: failed("ENOENT") }, "there is no host key file: ENOENT"],
    [{ key: done(HOST_KEY.replace("AAAAC3", "AAAAC4")) }, "the key on disk is not the one that was shown"],
    [
      { others: printed("ssh_host_ed25519_key\nssh_host_ed25519_key.pub\nssh_host_rsa_key\n") },
      /^other host keys: .*rsa/,
    ],
    [{ claimed: failed("ENOENT") }, "the host is not claimed"],
    [{ pending: done() }, "a host key is pending in /etc/ssh/bailiwick-next"],
    [{ copies: printed("/var/lib/cloud/a\n/var/log/b\n") }, "private keys in /var/lib/cloud/a, /var/log/b"],
    [{ userData: done() }, "cloud-init still has its user data"],
    [{ disabled: failed("ENOENT") }, "cloud-init would run again"],
  ])("is broken with %o", (change, found) => {
    expect(tried(change)).toEqual({
      verdict: "broken",
      found: typeof found === "string" ? found : expect.stringMatching(found),
    });
  });

  it("proves nothing when the disk was not searched to its end", () => {
    expect(tried({ copies: exited(2) }).verdict).toBe("unprovable");
    expect(tried({ copies: failed("ETIMEDOUT") }).verdict).toBe("unprovable");
  });
});

describe("sshd's settings", () => {
  const settings = [
    "port 22",
    "permitrootlogin no",
    "passwordauthentication no",
    "kbdinteractiveauthentication no",
    "permitemptypasswords no",
    "authenticationmethods publickey",
    "pubkeyauthentication yes",
    "hostbasedauthentication no",
    "gssapiauthentication no",
    "disableforwarding yes",
    "permituserrc no",
    "permituserenvironment no",
    "allowgroups bailiwick-admins",
    "authorizedkeyscommand none",
    "trustedusercakeys none",
    "hostkey /etc/ssh/ssh_host_ed25519_key",
    "banner /etc/ssh/bailiwick-attestation",
  ];
  const tried = (lines: string[]) => judge("root/sshd")(printed(`${lines.join("\n")}\n`));
  const changed = (key: string, ...lines: string[]) =>
    tried([...settings.filter((line) => !line.startsWith(`${key} `)), ...lines]);

  it("are the baseline's", () => {
    expect(tried(settings).verdict).toBe("held");
  });

  it("may lack what is off where this sshd does not know it", () => {
    expect(changed("gssapiauthentication").verdict).toBe("held");
    expect(changed("trustedusercakeys").verdict).toBe("held");
  });

  it.each([
    ["permitrootlogin", ["permitrootlogin without-password"], "permitrootlogin is without-password"],
    ["allowgroups", ["allowgroups bailiwick-admins", "allowgroups users"], "allowgroups is bailiwick-admins and users"],
    ["disableforwarding", [], "disableforwarding is unset"],
    ["hostkey", ["hostkey /etc/ssh/a", "hostkey /etc/ssh/b"], "hostkey is /etc/ssh/a and /etc/ssh/b"],
  ])("are broken when %s differs", (key, lines, found) => {
    expect(changed(key, ...lines)).toEqual({ verdict: "broken", found });
  });

  it("prove nothing when sshd does not tell them", () => {
    expect(judge("root/sshd")(exited(255)).verdict).toBe("unprovable");
  });
});

describe("keys that open the host", () => {
  const keyOf = (name: string) => {
    const { publicKey } = subject.spec.access.admins[name] ?? {};
    if (typeof publicKey !== "string") throw new Error(`${name} has no key in the sample`);
    return publicKey;
  };
  const folder = "/etc/ssh/authorized_keys.d";
  const own = [`${folder}/ada:${keyOf("ada")}`, `${folder}/bob:${keyOf("bob")} bob at home`];
  const tried = (...lines: string[]) => judge("root/admin-keys")(printed(`${lines.join("\n")}\n`));
  const stranger = HOST_KEY;

  it("are the admins' of the spec, whatever their comments", () => {
    expect(tried(...own)).toEqual({ verdict: "held", found: "ada, bob" });
  });

  it.each([
    ["a stranger's file", `${folder}/mallory:${stranger}`],
    ["a second key of an admin", `${folder}/ada:${stranger}`],
    ["root's own file", `/root/.ssh/authorized_keys:${stranger}`],
    ["a home", `/home/mallory/.ssh/authorized_keys2:${stranger}`],
    ["a line with options, which may mean anything", `${folder}/ada:command="sh" ${keyOf("ada")}`],
    ["an admin's key for somebody else", `/root/.ssh/authorized_keys:${keyOf("ada")}`],
  ])("are too many with %s", (_what, line) => {
    expect(tried(...own, line)).toEqual({
      verdict: "broken",
      found: `a key in ${line.split(":")[0]} is not the spec's`,
    });
  });

  it("are too few when an admin has none, and prove nothing when they were not read", () => {
    expect(tried(own[0] ?? "")).toEqual({ verdict: "broken", found: "bob has no key" });
    expect(judge("root/admin-keys")(failed("ETIMEDOUT")).verdict).toBe("unprovable");
  });
});

describe("accounts", () => {
  const principals = subject.manifest.users.map(({ name, uid }) => ({
    name,
    uid,
    gid: uid,
    shell: "/usr/sbin/nologin",
  }));
  const ops = principals.find(({ name }) => name === "bw-agent-ops");
  const row = ({ name, uid, gid, shell }: { name: string; uid: number; gid: number; shell: string }) =>
    `${name}:x:${uid}:${gid}::/nonexistent:${shell}`;
  const passwd = ["root:x:0:0:root:/root:/bin/bash", "ada:x:1000:1000::/home/ada:/bin/bash", ...principals.map(row)];
  const group = ["root:x:0:", "sudo:x:27:", "bailiwick-admins:x:900:bob,ada", "bw-agent-ops:x:20101:"];
  const passwords = ["root L 2026-01-01 0 99999 7 -1", "ada L 2026-01-01 0 99999 7 -1"];
  const tried = (change: { passwd?: string[]; group?: string[]; passwords?: string[] }) =>
    judge("root/accounts")({
      passwd: done(`${(change.passwd ?? passwd).join("\n")}\n`),
      group: done(`${(change.group ?? group).join("\n")}\n`),
      passwords: printed(`${(change.passwords ?? passwords).join("\n")}\n`),
    });
  const withOps = (change: object) => [
    ...passwd.filter((line) => !line.startsWith("bw-agent-ops:")),
    ...(ops === undefined ? [] : [row({ ...ops, ...change })]),
  ];

  it("hold", () => {
    expect(tried({}).verdict).toBe("held");
  });

  it.each([
    ["a second root", { passwd: [...passwd, "toor:x:0:0::/root:/bin/sh"] }, "toor is root"],
    ["a principal's shell", { passwd: withOps({ shell: "/bin/bash" }) }, "bw-agent-ops has shell /bin/bash"],
    [
      "a shell in the range of principals",
      { passwd: [...passwd, "stray:x:25000:25000::/:/bin/sh"] },
      "stray has shell /bin/sh",
    ],
    ["another uid", { passwd: withOps({ uid: 20999, gid: 20999 }) }, "bw-agent-ops is missing"],
    ["another first group", { passwd: withOps({ gid: 27 }) }, "bw-agent-ops has group 27"],
    ["a second group", { group: [...group, "disk:x:6:bw-agent-ops"] }, "a principal is in group disk"],
    [
      "a stranger among the admins",
      { group: group.map((line) => (line.startsWith("bailiwick-admins") ? `${line},mallory` : line)) },
      "bailiwick-admins are ada, bob, mallory",
    ],
    [
      "no admins",
      { group: group.filter((line) => !line.startsWith("bailiwick-admins")) },
      "bailiwick-admins are nobody",
    ],
    [
      "sudo by group",
      { group: group.map((line) => line.replace("sudo:x:27:", "sudo:x:27:ada")) },
      "in group sudo: ada",
    ],
    ["a password", { passwords: [...passwords, "bob P 2026-01-01 0 99999 7 -1"] }, "bob has a password"],
    ["an empty password", { passwords: [...passwords, "bob NP 2026-01-01 0 99999 7 -1"] }, "bob has an empty password"],
  ])("are broken by %s", (_what, change, found) => {
    expect(tried(change)).toEqual({ verdict: "broken", found });
  });

  it("prove nothing when they could not be read", () => {
    const facts = { passwd: done(""), group: done(""), passwords: exited(1) };
    expect(judge("root/accounts")(facts).verdict).toBe("unprovable");
  });
});

describe("sudo", () => {
  const tried = judge("root/sudo");
  const none = printed("User bw-egress is not allowed to run sudo on host.\n");

  it("is allowed to no principal, whatever its exit code says", () => {
    expect(tried([none, exited(1, "User bw-gateway is not allowed to run sudo on host.\n")]).verdict).toBe("held");
  });

  it("is broken when one may, naming it", () => {
    expect(tried([none, printed("User may run the following commands:\n    (ALL) NOPASSWD: ALL\n")])).toEqual({
      verdict: "broken",
      found: `${subject.manifest.users[1]?.name} may use sudo`,
    });
  });

  it("proves nothing when it does not say", () => {
    expect(tried([none, exited(1)]).verdict).toBe("unprovable");
  });
});
