import { hostPrincipals, type Principal } from "../../policy/egress/principals.ts";
import { broken, held, mustFail, together, unless, unprovable, words } from "../../policy/judgement.ts";
import type { Attempt, Outcome, Probe, Subject, SystemCall } from "../../policy/probe.ts";

/** What every sandbox refuses its principal, whatever is granted. */
export function sandboxProbes(subject: Subject): Probe[] {
  return hostPrincipals(subject.spec).flatMap((principal) => [
    readOnly(subject, principal),
    execution(subject, principal),
    systemCalls(principal),
    sockets(principal),
    root(principal),
    processes(principal),
    shared(principal),
    devices(principal),
  ]);
}

function about({ id }: Principal, what: string) {
  return { id: `${id}/${what}`, vantage: `principal:${id}` } as const;
}

/** Attempts that must all fail. */
function refused(
  principal: Principal,
  what: string,
  texts: { title: string; expected: string },
  tried: readonly { name: string; attempt: Attempt }[],
): Probe<Outcome[]> {
  return {
    ...about(principal, what),
    ...texts,
    read: (host) => Promise.all(tried.map(({ attempt }) => host.as(principal.id, attempt))),
    judge: (facts) => together(facts.map((outcome, i) => mustFail(tried[i]?.name ?? "", outcome))),
  };
}

/** Directories on the data volume that are the principal's own. */
function ownDirectories({ manifest }: Subject, { user }: Principal): string[] {
  const own = manifest.directories.filter((directory) => directory.user === user).map(({ path }) => path);
  // of nested ones the outermost is what its sandbox mounts
  return own.filter((path) => !own.some((other) => path.startsWith(`${other}/`)));
}

function readOnly({ manifest }: Subject, principal: Principal): Probe<Outcome[]> {
  const config = ["agent", "shell"].includes(principal.kind) ? [`/etc/bailiwick/${principal.kind}`] : [];
  const folders = [
    "/etc",
    "/usr/bin",
    "/usr/lib/bailiwick",
    "/opt",
    "/run",
    "/var/lib",
    "/workspaces",
    "/etc/systemd/system",
  ];
  const components = Object.values(manifest.components).map((digest) => `/opt/bailiwick/components/${digest}`);
  const files = ["/etc/passwd", "/etc/hosts", "/etc/resolv.conf", "/usr/bin/sh", "/proc/sys/kernel/core_pattern"];
  const openclaw = manifest.agents.some(({ name, runtime }) => name === principal.name && runtime === "openclaw");
  if (principal.kind === "agent" && openclaw) files.push("/etc/bailiwick/agent/openclaw.json");
  return refused(
    principal,
    "read-only",
    {
      title: "writes neither its own configuration nor anything of the system",
      expected: "its configuration, components, units and system files cannot be changed",
    },
    [
      ...[...config, ...folders, ...components].map((directory) => ({
        name: `${directory}/`,
        attempt: { do: "create", directory } as const,
      })),
      ...files.map((path) => ({ name: path, attempt: { do: "append", path } as const })),
    ],
  );
}

function execution(subject: Subject, principal: Principal): Probe<Outcome[]> {
  const directories = [...ownDirectories(subject, principal), "/tmp", "/var/tmp", "/dev/shm"];
  return {
    ...about(principal, "execution"),
    title: "runs no program that it wrote itself",
    expected: `nothing runs from ${directories.join(", ")}`,
    read: (host) => Promise.all(directories.map((directory) => host.as(principal.id, { do: "run-copy", directory }))),
    judge: (facts) => together(facts.map((outcome, i) => mustFail(directories[i] ?? "", outcome))),
  };
}

const SYSTEM_CALLS: readonly SystemCall[] = [
  "unshare",
  "ptrace",
  "process_vm_readv",
  "keyctl",
  "io_uring_setup",
  "userfaultfd",
  "perf_event_open",
  "bpf",
  "personality",
  "mount",
  "init_module",
  "memfd_create",
];

function systemCalls(principal: Principal): Probe<Outcome[]> {
  return {
    ...about(principal, "system-calls"),
    title: "is refused the kernel calls it has no need of",
    expected: "EPERM for each",
    read: (host) => Promise.all(SYSTEM_CALLS.map((name) => host.as(principal.id, { do: "system-call", name }))),
    judge: (facts) => {
      const unknown = facts.find((outcome) => outcome.errno === "UNKNOWN_MACHINE");
      if (unknown) return unprovable(String(unknown.value), "the call numbers of this processor are not known here");
      return unless(
        facts.flatMap((outcome, i) =>
          // a call that the kernel lacks is refused as well
          outcome.errno === "EPERM" || outcome.errno === "ENOSYS" ? [] : [`${SYSTEM_CALLS[i]}: ${words(outcome)}`],
        ),
        `${facts.length} refused`,
      );
    },
  };
}

function sockets(principal: Principal): Probe<Outcome[]> {
  return refused(
    principal,
    "sockets",
    { title: "opens no raw, netlink or packet socket", expected: "each refused" },
    (["raw4", "raw6", "netlink", "packet", "vsock"] as const).map((kind) => ({
      name: kind,
      attempt: { do: "socket", kind },
    })),
  );
}

function root(principal: Principal): Probe<Outcome[]> {
  const buses = [
    "/run/dbus/system_bus_socket",
    "/run/systemd/private",
    "/run/systemd/io.systemd.Credentials",
    "/run/systemd/userdb/io.systemd.DynamicUser",
    ...(principal.kind === "egress" ? [] : ["/run/bailiwick-egress/admin.sock", "/run/bailiwick-egress/master.sock"]),
  ];
  return refused(
    principal,
    "root",
    {
      title: "gets no root: no sudo, no su, no way to systemd",
      expected: "sudo and su fail, no system socket answers",
    },
    [
      { name: "sudo", attempt: { do: "run", argv: ["/usr/bin/sudo", "-n", "/usr/bin/true"], seconds: 10 } },
      { name: "su", attempt: { do: "run", argv: ["/usr/bin/su", "-c", "true"], seconds: 10 } },
      ...buses.map((path) => ({ name: path, attempt: { do: "unix", path } as const })),
    ],
  );
}

function processes(principal: Principal): Probe<Outcome> {
  return {
    ...about(principal, "processes"),
    title: "sees no process but its own user's",
    expected: "none",
    read: (host) => host.as(principal.id, { do: "processes" }),
    judge: (outcome) => {
      if (!outcome.ok) return unprovable(words(outcome), "its /proc could not be read");
      const seen = outcome.value as number[];
      return seen.length === 0 ? held("none") : broken(`it sees ${seen.length} processes of others`);
    },
  };
}

interface Meeting {
  readonly tried: readonly { readonly what: string; readonly outcome: Outcome; readonly byRoot: Outcome }[];
}

/** The egress proxy and the guard speak by unix sockets themselves, and run no code but the kit's. */
const UNIX_SOCKETS: readonly Principal["kind"][] = ["egress", "guard"];

function shared(principal: Principal): Probe<Meeting> {
  const places = [
    { what: "a file in /dev/shm", attempt: { do: "exists", path: "/dev/shm/bailiwick-probe" } },
    ...(UNIX_SOCKETS.includes(principal.kind)
      ? []
      : [{ what: "an abstract socket", attempt: { do: "unix", path: "\0bailiwick-probe" } } as const]),
  ] as const;
  return {
    ...about(principal, "shared"),
    title: "meets no other principal in shared memory or at a socket without a file",
    expected: `${places.map(({ what }) => what).join(" and ")}, open to everybody, not reached`,
    read: async (host) => ({
      tried: await Promise.all(
        places.map(async ({ what, attempt }) => {
          const [outcome, byRoot] = await Promise.all([host.as(principal.id, attempt), host.root(attempt)]);
          return { what, outcome, byRoot };
        }),
      ),
    }),
    judge: ({ tried }) =>
      together(
        tried.map(({ what, outcome, byRoot }) =>
          byRoot.ok
            ? mustFail(what, outcome)
            : unprovable(what, `root does not reach ${what} either: ${words(byRoot)}`),
        ),
      ),
  };
}

function devices(principal: Principal): Probe<Outcome> {
  return {
    ...about(principal, "devices"),
    title: "has no disk, memory or tunnel device",
    expected: "none in its /dev",
    read: (host) => host.as(principal.id, { do: "block-devices" }),
    judge: (outcome) => {
      if (!outcome.ok) return unprovable(words(outcome), "its /dev could not be read");
      return unless(outcome.value as string[], "none");
    },
  };
}
