import type { HostSpec } from "../spec/host-spec.ts";
import type { ReleaseManifest } from "../spec/manifest.ts";
import type { PrincipalId } from "../spec/names.ts";

/** `unprovable`: the host gave no ground for a judgement. It never counts as held. */
export type Verdict = "held" | "broken" | "unprovable";

/** Where a probe is tried from: outside the machine, as root on it, or as a principal within its own sandbox. */
type Vantage = "outside" | "root" | `principal:${PrincipalId}`;

export interface Judgement {
  readonly verdict: Verdict;
  /** What was met, in a few words. */
  readonly found: string;
  /** Why it could not be proven; only with `unprovable`. */
  readonly reason?: string;
}

/**
 * One check on a live host. `read` only collects facts; `judge` is pure, so it is tested with good and bad facts alike.
 * Probes are made from the spec and the manifest, so a probe knows what it expects when it is made.
 */
export interface Probe<Facts = unknown> {
  /** Unique on the host: `<vantage>/<what>`, such as `agent/ops/metadata`. */
  readonly id: string;
  readonly title: string;
  readonly vantage: Vantage;
  readonly expected: string;
  /** @throws UnprovableError if the vantage cannot be taken */
  read(host: ProbedHost): Promise<Facts>;
  judge(facts: Facts): Judgement;
}

/** What probes are derived from. */
export interface Subject {
  /** With its bindings resolved. */
  readonly spec: HostSpec;
  /** Of the release that runs. */
  readonly manifest: ReleaseManifest;
}

/** The host as probes see it. What they ask in the same moment travels together, in one command. */
export interface ProbedHost {
  /** Tries something as a principal, in the sandbox of its unit. */
  as(principal: PrincipalId, attempt: Attempt): Promise<Outcome>;
  /**
   * Tries to connect to a port of 127.0.0.1 as a principal. Where nobody listens, root does for that moment: a refusal
   * where nothing listens would prove nothing. `listens` is false if root could not either.
   */
  reach(principal: PrincipalId, port: number): Promise<{ outcome: Outcome; listens: boolean }>;
  /** Tries something as root. */
  root(attempt: Attempt): Promise<Outcome>;
  /** Lines that the egress proxy has logged since verify began. */
  egressLog(): Promise<readonly string[]>;
  /** Addresses of the host's upstream DNS resolvers. */
  readonly resolvers: readonly string[];
  /** Sockets on the host that wait for others. */
  readonly listening: readonly Listener[];
}

export interface Listener {
  readonly protocol: "tcp" | "udp";
  readonly address: string;
  readonly port: number;
}

/** The vantage of a probe could not be taken; the message says why. */
export class UnprovableError extends Error {}

/** Kernel calls that a sandbox refuses and a plain process is mostly allowed. */
export type SystemCall =
  | "unshare"
  | "ptrace"
  | "process_vm_readv"
  | "keyctl"
  | "io_uring_setup"
  | "userfaultfd"
  | "perf_event_open"
  | "bpf"
  | "personality"
  | "mount"
  | "init_module"
  | "memfd_create";

/** One thing to try. Each leaves the host as it was; verify/on-host/attempts.py says how it is done. */
export type Attempt =
  | { readonly do: "connect" | "udp" | "bind"; readonly host: string; readonly port: number }
  | { readonly do: "serve-as"; readonly uid: number; readonly host: string; readonly port: number }
  | { readonly do: "tls"; readonly host: string; readonly port: number; readonly name: string | null }
  | {
      readonly do: "http";
      readonly port: number;
      readonly path: string;
      readonly headers: Readonly<Record<string, string>>;
    }
  | { readonly do: "http-text"; readonly port: number; readonly path: string }
  | { readonly do: "resolve"; readonly name: string }
  | { readonly do: "socket"; readonly kind: "raw4" | "raw6" | "netlink" | "packet" | "vsock" }
  | { readonly do: "create" | "run-copy"; readonly directory: string }
  | {
      readonly do: "read" | "append" | "exists" | "text" | "tree" | "not-roots-alone" | "unix";
      readonly path: string;
    }
  | { readonly do: "credential"; readonly name: string }
  | { readonly do: "system-call"; readonly name: SystemCall }
  | { readonly do: "processes" | "block-devices" | "listening" | "time" }
  | { readonly do: "run"; readonly argv: readonly string[]; readonly seconds: number }
  | { readonly do: "owners"; readonly paths: readonly string[] }
  | { readonly do: "unit-processes"; readonly unit: string };

/** How an attempt went. */
export interface Outcome {
  /** Whether it could be done. */
  readonly ok: boolean;
  /** Why not: a name of errno such as `ECONNREFUSED`, or a word of the attempt's own such as `HANDSHAKE`. */
  readonly errno: string | null;
  /** What it gave, by kind of attempt; see verify/on-host/attempts.py. */
  readonly value: unknown;
  readonly ms: number;
}
