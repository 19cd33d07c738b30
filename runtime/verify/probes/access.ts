import { broken, held, together, unless, unprovable, words } from "../../policy/judgement.ts";
import type { Outcome, Probe, Subject } from "../../policy/probe.ts";
import { PRINCIPAL_UIDS } from "../../spec/names.ts";

/** Who can become whom on the host: admins by their keys, principals not at all. */
export function accessProbes(subject: Subject, hostKey: string): Probe[] {
  return [hostKeys(hostKey), sshSettings(), adminKeys(subject), accounts(subject), sudo(subject)];
}

function stdoutOf(outcome: Outcome): string {
  return ((outcome.value ?? {}) as { stdout?: string }).stdout ?? "";
}

const firstTwoWords = (line: string) => line.trim().split(/\s+/).slice(0, 2).join(" ");

interface HostKeyFacts {
  readonly key: Outcome;
  readonly others: Outcome;
  readonly claimed: Outcome;
  readonly pending: Outcome;
  /** Files of cloud-init that hold a private key; nothing found is exit code 1. */
  readonly copies: Outcome;
  readonly userData: Outcome;
  readonly disabled: Outcome;
}

function hostKeys(hostKey: string): Probe<HostKeyFacts> {
  return {
    id: "root/host-key",
    vantage: "root",
    title: "the one-time host key is gone, and with it every copy that cloud-init had",
    expected: "one ed25519 key, the one that was shown; cloud-init emptied and off",
    read: async (host) => {
      const [key, others, claimed, pending, copies, userData, disabled] = await Promise.all([
        host.root({ do: "text", path: "/etc/ssh/ssh_host_ed25519_key.pub" }),
        host.root({ do: "run", argv: ["/bin/sh", "-c", "ls /etc/ssh | grep ^ssh_host_"], seconds: 10 }),
        host.root({ do: "exists", path: "/etc/bailiwick/claimed" }),
        host.root({ do: "exists", path: "/etc/ssh/bailiwick-next" }),
        host.root({
          do: "run",
          argv: ["grep", "-rlsE", "PRIVATE KEY|ed25519_private", "/var/lib/cloud", "/run/cloud-init", "/var/log"],
          seconds: 30,
        }),
        host.root({ do: "exists", path: "/var/lib/cloud/instance/user-data.txt" }),
        host.root({ do: "exists", path: "/etc/cloud/cloud-init.disabled" }),
      ]);
      return { key, others, claimed, pending, copies, userData, disabled };
    },
    judge: (facts) => {
      if (!facts.key.ok) return broken(`there is no host key file: ${words(facts.key)}`);
      const names = stdoutOf(facts.others).trim().split("\n").sort().join(" ");
      const foundCopies = (facts.copies.value as { code?: number } | null)?.code;
      if (foundCopies !== 0 && foundCopies !== 1) return unprovable(words(facts.copies), "the disk was not searched");
      return unless(
        [
          ...(firstTwoWords(String(facts.key.value)) === hostKey
            ? []
            : ["the key on disk is not the one that was shown"]),
          ...(names === "ssh_host_ed25519_key ssh_host_ed25519_key.pub" ? [] : [`other host keys: ${names}`]),
          ...(facts.claimed.ok ? [] : ["the host is not claimed"]),
          ...(facts.pending.ok ? ["a host key is pending in /etc/ssh/bailiwick-next"] : []),
          ...(foundCopies === 0 ? [`private keys in ${stdoutOf(facts.copies).trim().replaceAll("\n", ", ")}`] : []),
          ...(facts.userData.ok ? ["cloud-init still has its user data"] : []),
          ...(facts.disabled.ok ? [] : ["cloud-init would run again"]),
        ],
        "one key, no copy",
      );
    },
  };
}

const SSHD: Readonly<Record<string, string>> = {
  permitrootlogin: "no",
  passwordauthentication: "no",
  kbdinteractiveauthentication: "no",
  permitemptypasswords: "no",
  authenticationmethods: "publickey",
  pubkeyauthentication: "yes",
  hostbasedauthentication: "no",
  gssapiauthentication: "no",
  disableforwarding: "yes",
  permituserrc: "no",
  permituserenvironment: "no",
  allowgroups: "bailiwick-admins",
  authorizedkeyscommand: "none",
  trustedusercakeys: "none",
  hostkey: "/etc/ssh/ssh_host_ed25519_key",
  banner: "/etc/ssh/bailiwick-attestation",
};

function sshSettings(): Probe<Outcome> {
  return {
    id: "root/sshd",
    vantage: "root",
    title: "sshd takes keys of admins and nothing else, and forwards nothing",
    expected: `${Object.keys(SSHD).length} settings as the baseline makes them`,
    read: (host) =>
      host.root({
        do: "run",
        argv: ["/usr/sbin/sshd", "-T", "-C", "user=root,host=host.invalid,addr=198.51.100.7"],
        seconds: 10,
      }),
    judge: (outcome) => {
      if (!outcome.ok) return unprovable(words(outcome), "sshd did not tell its settings");
      const found = new Map<string, string[]>();
      for (const line of stdoutOf(outcome).split("\n")) {
        const [key = "", ...rest] = line.split(" ");
        found.set(key, [...(found.get(key) ?? []), rest.join(" ")]);
      }
      return unless(
        Object.entries(SSHD).flatMap(([key, wanted]) => {
          const values = found.get(key)?.join(" and ") ?? "unset";
          return values === wanted || (values === "unset" && (wanted === "none" || wanted === "no"))
            ? []
            : [`${key} is ${values}`];
        }),
        "as the baseline makes them",
      );
    },
  };
}

function adminKeys({ spec }: Subject): Probe<Outcome> {
  const admins = Object.entries(spec.access.admins);
  return {
    id: "root/admin-keys",
    vantage: "root",
    title: "the only keys that open the host are the admins' of the spec",
    expected: admins.map(([name]) => name).join(", "),
    read: (host) =>
      host.root({
        do: "run",
        argv: [
          "/bin/sh",
          "-c",
          "grep -Hs '^[^#]' /etc/ssh/authorized_keys.d/* /root/.ssh/authorized_keys* /home/*/.ssh/authorized_keys*; true",
        ],
        seconds: 10,
      }),
    judge: (outcome) => {
      if (!outcome.ok) return unprovable(words(outcome), "the key files were not read");
      const found = stdoutOf(outcome)
        .split("\n")
        .filter(Boolean)
        .map((line) => {
          const [file = "", ...rest] = line.split(":");
          const user =
            /^\/home\/([^/]+)\//.exec(file)?.[1] ??
            (file.startsWith("/root/") ? "root" : (file.split("/").at(-1) ?? ""));
          return { file, user, key: rest.join(":") };
        });
      const keyOf = (user: string) => admins.find(([name]) => name === user)?.[1].publicKey;
      const strange = found.filter(({ user, key }) => {
        const own = keyOf(user);
        return typeof own !== "string" || firstTwoWords(own) !== firstTwoWords(key);
      });
      const missing = admins
        .filter(([name]) => !found.some(({ user }) => user === name))
        .map(([name]) => `${name} has no key`);
      return unless(
        [...strange.map(({ file }) => `a key in ${file} is not the spec's`), ...missing],
        admins.map(([name]) => name).join(", "),
      );
    },
  };
}

interface AccountFacts {
  readonly passwd: Outcome;
  readonly group: Outcome;
  readonly passwords: Outcome;
}

function accounts({ spec, manifest }: Subject): Probe<AccountFacts> {
  return {
    id: "root/accounts",
    vantage: "root",
    title: "principals have no shell and no second group, nobody has a password, only root is root",
    expected: `${manifest.users.length} principals, ${Object.keys(spec.access.admins).length} admins`,
    read: async (host) => {
      const [passwd, group, passwords] = await Promise.all([
        host.root({ do: "text", path: "/etc/passwd" }),
        host.root({ do: "text", path: "/etc/group" }),
        host.root({ do: "run", argv: ["passwd", "--status", "--all"], seconds: 10 }),
      ]);
      return { passwd, group, passwords };
    },
    judge: ({ passwd, group, passwords }) => {
      if (!passwd.ok || !group.ok || !passwords.ok)
        return unprovable(words(passwords), "the accounts could not be read");
      const users = rows(String(passwd.value)).map(([name = "", , uid, gid, , , shell = ""]) => ({
        name,
        uid: Number(uid),
        gid: Number(gid),
        shell,
      }));
      const groups = rows(String(group.value)).map(([name = "", , , members = ""]) => ({
        name,
        members: members.split(",").filter(Boolean),
      }));
      const known = new Map(manifest.users.map(({ name, uid }) => [name, uid]));
      const inRange = ({ uid }: { uid: number }) => uid >= PRINCIPAL_UIDS.first && uid <= PRINCIPAL_UIDS.last;
      const admins = Object.keys(spec.access.admins).sort().join(", ");
      const members = (name: string) =>
        groups
          .find((one) => one.name === name)
          ?.members.sort()
          .join(", ") ?? "";
      return unless(
        [
          ...users.filter(({ name, uid }) => uid === 0 && name !== "root").map(({ name }) => `${name} is root`),
          ...users
            .filter((user) => (inRange(user) || known.has(user.name)) && !/\/(nologin|false)$/.test(user.shell))
            .map(({ name, shell }) => `${name} has shell ${shell}`),
          ...[...known]
            .filter(([name, uid]) => !users.some((user) => user.name === name && user.uid === uid))
            .map(([name]) => `${name} is missing`),
          ...users
            .filter(({ name, uid, gid }) => known.get(name) === uid && gid !== uid)
            .map(({ name, gid }) => `${name} has group ${gid}`),
          ...groups
            .filter(({ members: of }) => of.some((name) => known.has(name)))
            .map(({ name }) => `a principal is in group ${name}`),
          ...(members("bailiwick-admins") === admins
            ? []
            : [`bailiwick-admins are ${members("bailiwick-admins") || "nobody"}`]),
          ...(members("sudo") === "" ? [] : [`in group sudo: ${members("sudo")}`]),
          ...stdoutOf(passwords)
            .split("\n")
            .filter((line) => /^\S+ (P|NP) /.test(line))
            .map((line) => `${line.split(" ")[0]} has ${line.includes(" NP ") ? "an empty password" : "a password"}`),
        ],
        `${known.size} principals without shell, no password`,
      );
    },
  };
}

function rows(text: string): string[][] {
  return text
    .split("\n")
    .filter(Boolean)
    .map((line) => line.split(":"));
}

function sudo({ manifest }: Subject): Probe<Outcome[]> {
  return {
    id: "root/sudo",
    vantage: "root",
    title: "no principal may use sudo",
    expected: "not allowed",
    read: (host) =>
      Promise.all(
        manifest.users.map(({ name }) => host.root({ do: "run", argv: ["sudo", "-n", "-l", "-U", name], seconds: 10 })),
      ),
    judge: (facts) =>
      together(
        facts.map((outcome, i) => {
          const name = manifest.users[i]?.name;
          if (/is not allowed to run sudo/.test(stdoutOf(outcome))) return held("not allowed");
          return outcome.ok
            ? broken(`${name} may use sudo`)
            : unprovable(`${name}: ${words(outcome)}`, "sudo did not say");
        }),
      ),
  };
}
