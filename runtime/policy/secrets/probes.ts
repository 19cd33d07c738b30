import { hostPrincipals, type Principal, serviceName } from "../egress/principals.ts";
import { broken, held, unless, unprovable, words } from "../judgement.ts";
import type { Outcome, Probe, Subject } from "../probe.ts";
import { unitCredentials } from "./credentials.ts";
import { grantedProbe } from "./granted-probe.ts";

/** Who can read which secret: nobody but root and the unit that was given it, and that one can. */
export function secretProbes(subject: Subject): Probe[] {
  const principals = hostPrincipals(subject.spec);
  return [
    ...principals.map((principal) => unreadable(subject, principal, principals)),
    ...principals.map((principal) => ownCredentials(subject, principal)),
    ...(subject.spec.grants.read ?? []).flatMap(({ secret, principal: id }) =>
      principals.filter((principal) => principal.id === id).map((reader) => grantedProbe(secret, reader, principals)),
    ),
    sealed(subject),
  ];
}

interface Tried {
  readonly path: string;
  readonly outcome: Outcome;
  /** Whether it is there at all, for root. */
  readonly there: Outcome;
}

/** Where secrets, and what belongs to others, lie on the host. */
function secretPaths({ spec, manifest }: Subject, principal: Principal, all: readonly Principal[]): string[] {
  const others = all.filter(({ id }) => id !== principal.id);
  return [
    ...new Set([
      "/etc/bailiwick/credentials",
      ...manifest.credentials.map(({ name, version }) => `/etc/bailiwick/credentials/${name}/${version}.cred`),
      "/etc/bailiwick/version.key",
      "/var/lib/systemd/credential.secret",
      "/etc/shadow",
      "/etc/ssh/ssh_host_ed25519_key",
      "/var/log/journal",
      "/var/lib/bailiwick/ledger",
      ...others.map(({ unit }) => `/run/credentials/${unit}.service`),
      ...manifest.directories.filter(({ user }) => user !== principal.user && user !== "root").map(({ path }) => path),
      ...Object.keys(spec.access.admins).map((admin) => `/home/${admin}`),
      // the egress proxy reads its own file of whichever release is current, and so the whole of it
      ...(principal.kind === "egress" ? [] : ["/opt/bailiwick/current/etc/firewall.nft"]),
      ...(principal.kind === "egress" || principal.kind === "gateway"
        ? []
        : ["/opt/bailiwick/current/etc/gateway/gateway.json"]),
      // what the gateway was given of it
      ...(principal.kind !== "gateway" && all.some(({ kind }) => kind === "gateway") ? ["/run/bailiwick-gateway"] : []),
      ...(principal.kind !== "egress" && all.some(({ kind }) => kind === "guard")
        ? ["/opt/bailiwick/current/etc/guard/guard.json"]
        : []),
    ]),
  ];
}

function unreadable(subject: Subject, principal: Principal, all: readonly Principal[]): Probe<Tried[]> {
  const paths = secretPaths(subject, principal, all);
  return {
    id: `${principal.id}/secrets`,
    vantage: `principal:${principal.id}`,
    title: "reads no secret, no other's files, no log, no rule",
    expected: `${paths.length} paths closed to it`,
    read: (host) =>
      Promise.all(
        paths.map(async (path) => {
          const [outcome, there] = await Promise.all([
            host.as(principal.id, { do: "read", path }),
            host.root({ do: "exists", path }),
          ]);
          return { path, outcome, there };
        }),
      ),
    judge: (facts) => {
      const opened = facts.filter(({ outcome }) => outcome.ok);
      if (opened.length > 0) return broken(`it reads ${opened.map(({ path }) => path).join(", ")}`);
      const failed = facts.find(({ outcome }) => outcome.errno === "BROKEN_ATTEMPT");
      if (failed) return unprovable(words(failed.outcome), `reading ${failed.path} was not tried`);
      // what is not there cannot be read either: only what is there counts
      const there = facts.filter((fact) => fact.there.ok);
      return there.length === 0
        ? unprovable("none is there", "none of these paths is on this host")
        : held(`${there.length} are there, none can be read`);
    },
  };
}

/** Settings by which a unit could be given a secret in another way than sealed; systemd skips white space around both. */
const IN_CLEAR =
  /^\s*(LoadCredential|SetCredential|SetCredentialEncrypted|ImportCredential|EnvironmentFile|PassEnvironment)\s*=\s*(.*)$/;

/**
 * What is wrong with the credentials of a unit, as `systemctl cat` prints it: given in clear, another's, or one of its own missing.
 * @param own names of those that the unit is to have
 */
export function credentialProblems(unitText: string, own: readonly string[]): string[] {
  const given = new Set<string>();
  const wrong = unitText.split("\n").flatMap((line) => {
    const sealedOne = /^\s*LoadCredentialEncrypted\s*=\s*([^:]*)/.exec(line)?.[1];
    if (sealedOne?.trim() === "") {
      // to systemd an empty one takes back all before it
      given.clear();
      return [];
    }
    if (sealedOne !== undefined) {
      given.add(sealedOne);
      return own.includes(sealedOne) ? [] : [`${sealedOne} is not for it`];
    }
    const clear = IN_CLEAR.exec(line);
    return clear === null ? [] : [`${clear[1]}= (${clear[2]?.split(":")[0]})`];
  });
  return [...wrong, ...own.filter((name) => !given.has(name)).map((name) => `${name} is missing`)];
}

function ownCredentials({ spec }: Subject, principal: Principal): Probe<Outcome> {
  const own = unitCredentials(spec, principal);
  return {
    id: `${principal.id}/credentials`,
    vantage: "root",
    title: `${principal.unit} is given its own sealed credentials, no other's, and no secret in another way`,
    expected: own.length === 0 ? "none" : `LoadCredentialEncrypted= of ${own.join(", ")}`,
    read: (host) =>
      host.root({ do: "run", argv: ["systemctl", "cat", "--no-pager", serviceName(principal)], seconds: 10 }),
    judge: (outcome) => {
      if (!outcome.ok) return unprovable(words(outcome), "systemd did not show the unit");
      const { stdout } = outcome.value as { stdout: string };
      return unless(credentialProblems(stdout, own), `${own.length} sealed, none in clear`);
    },
  };
}

function sealed({ manifest }: Subject): Probe<{ list: Outcome; owners: Outcome }> {
  const secrets = ["/var/lib/systemd/credential.secret", "/etc/bailiwick/version.key"];
  const paths = ["/etc/bailiwick/credentials", ...secrets];
  return {
    id: "root/credential-files",
    vantage: "root",
    title: "sealed credentials, and what they are sealed with, are root's alone",
    expected: "owned by root, closed to all others",
    read: async (host) => {
      const [list, owners] = await Promise.all([
        host.root({ do: "tree", path: "/etc/bailiwick/credentials" }),
        host.root({ do: "owners", paths }),
      ]);
      return { list, owners };
    },
    judge: ({ list, owners }) => {
      if (!owners.ok) return unprovable(words(owners), "root could not look");
      const found = (owners.value ?? {}) as Record<string, { uid: number; mode: number } | null>;
      const files = (list.value ?? []) as [string, number, string][];
      const missing = manifest.credentials.filter(
        ({ name, version }) => !files.some(([path]) => path === `${name}/${version}.cred`),
      );
      const open = Object.entries(found).flatMap(([path, owner]) =>
        owner !== null && (owner.uid !== 0 || (owner.mode & 0o077) !== 0)
          ? [`${path} (${owner.mode.toString(8)})`]
          : [],
      );
      const shared = files
        .filter(([, mode]) => (mode & 0o022) !== 0)
        .map(([path]) => `${path} can be written by others`);
      return unless(
        [...open, ...shared, ...missing.map(({ name }) => `${name} is missing`)],
        `${files.length} files, closed`,
      );
    },
  };
}
