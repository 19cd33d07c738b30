import * as z from "zod";
import { CredentialVersion } from "../policy/secrets/schema.ts";

/** Answer of `facts`: what the operator needs of the host to render a release. */
export const HostFacts = z.strictObject({
  current: z.string().nullable().describe("Digest of the current release; null before the first."),
  components: z.array(z.string()).describe("Digests of components that are on the host, whole."),
  credentials: z
    .record(z.string(), CredentialVersion)
    .describe("Version of each credential that the current release uses."),
  generated: z
    .record(z.string(), z.strictObject({ version: CredentialVersion, sha256: z.string() }))
    .describe("Credentials made on the host and the sha256 of their text."),
  resolvers: z.array(z.string()).describe("Addresses of the host's upstream DNS resolvers."),
  ipv6Only: z
    .boolean()
    .optional()
    .describe(
      "Whether the host has a way to IPv6 and none to IPv4. An older activator does not say, and is taken to have both.",
    ),
  projectQuotas: z
    .enum(["on", "off", "none"])
    .optional()
    .describe(
      "Whether the data volume is mounted with project quotas, or could be once it is mounted anew (off), or the kernel has none. An older activator does not say.",
    ),
  dataVolume: z.boolean().describe("Whether /var/lib/bailiwick is a mounted volume."),
});
export type HostFacts = z.infer<typeof HostFacts>;

/** First line to `lock`; the answer is `{"token": string}`, or exit 1 naming who holds it since when. */
export const LockRequest = z.strictObject({ who: z.string(), why: z.string() });

/** Each further line to `lock`: a verb of the activator with its input, done while the lock is held. */
export const LockedRequest = z.strictObject({ verb: z.string(), input: z.unknown().optional() });

/** Answer to one such line: what the verb answers by itself, or why it failed. */
export const LockedAnswer = z.union([z.strictObject({ value: z.unknown() }), z.strictObject({ error: z.string() })]);
export type LockedAnswer = z.infer<typeof LockedAnswer>;

/** Input of `check`: digests of components. */
export const CheckRequest = z.strictObject({ token: z.string(), components: z.array(z.string()) });

/** Input of `look`, which needs no lock: it changes nothing but what is known of these components. */
export const LookRequest = z.strictObject({ components: z.array(z.string()) });

/** Answer of `check` and `look`: what must be uploaded. `spoiled` are there but not whole; `check` has set them aside. */
export const CheckAnswer = z.strictObject({ missing: z.array(z.string()), spoiled: z.array(z.string()) });
export type CheckAnswer = z.infer<typeof CheckAnswer>;

/** Input of `seal`. Values travel base64, over SSH's stdin only. */
export const SealRequest = z.strictObject({
  set: z.record(z.string(), z.base64()).describe("Credential name to value."),
  generate: z
    .array(z.string())
    .describe("Credentials to make on the host if they do not exist: 32 random bytes as hex."),
  renew: z
    .array(z.string())
    .optional()
    .describe("Of those to generate: made anew even if they exist. The answer then has the old text's hash as well."),
  dryRun: z.boolean().optional().describe("Only say which versions the values have; nothing is made or kept."),
});
export type SealRequest = z.infer<typeof SealRequest>;

/** Answer of `seal`: versions of all that were set, and versions and hashes of all generated ones. */
export const SealAnswer = z.strictObject({
  versions: z.record(z.string(), CredentialVersion),
  generated: z.record(
    z.string(),
    z.strictObject({
      version: CredentialVersion,
      sha256: z.string(),
      previous: z.string().optional().describe("sha256 of the text it had before it was renewed."),
    }),
  ),
});
export type SealAnswer = z.infer<typeof SealAnswer>;

/** Input of `stage`: the files of a release, written to /opt/bailiwick/releases/<digest> and checked against the digest. */
export const StageRequest = z.strictObject({
  token: z.string(),
  files: z.array(z.strictObject({ path: z.string(), mode: z.number().int(), content: z.string() })),
});
export type StageRequest = z.infer<typeof StageRequest>;

/** Input of `activate`. */
export const ActivateRequest = z.strictObject({
  token: z.string(),
  digest: z.string(),
  why: z.string().describe("For the history: `bailiwick push`, `rollback`."),
  healthSeconds: z.number().int(),
  confirmSeconds: z.number().int(),
  drainSeconds: z.number().int(),
  keep: z.number().int().describe("Where the release is current already and so needs no `confirm`: how many to keep."),
  restoreState: z
    .boolean()
    .describe(
      "Whether agents whose runtime changes get the state back that they last had with the runtime of this release.",
    ),
});

export type ActivateRequest = z.infer<typeof ActivateRequest>;

/** Answer of `activate`: what it did; a release that did not become healthy is undone and `healthy` is false. */
export const ActivateAnswer = z.strictObject({
  release: z.string(),
  previous: z.string().nullable(),
  healthy: z.boolean(),
  confirm: z.boolean().describe("Whether the host takes the release back unless `confirm` follows in time."),
  restarted: z.array(z.string()),
  reloaded: z.array(z.string()),
  stopped: z.array(z.string()),
  problems: z.array(z.string()),
  ms: z.number().int(),
});
export type ActivateAnswer = z.infer<typeof ActivateAnswer>;

/** Input of `confirm`: the release is the host's from now on; what only older ones than `keep` used is removed. */
export const ConfirmRequest = z.strictObject({ token: z.string(), digest: z.string(), keep: z.number().int() });
export type ConfirmRequest = z.infer<typeof ConfirmRequest>;

/** Answer of `confirm`: what was removed. */
export const ConfirmAnswer = z.strictObject({
  releases: z.array(z.string()),
  components: z.array(z.string()),
  credentials: z.array(z.string()).describe("`<name>/<version>`."),
});
export type ConfirmAnswer = z.infer<typeof ConfirmAnswer>;

/** One line of the host's history of releases. */
export const HistoryEntry = z.strictObject({
  at: z.string().describe("ISO 8601, UTC, by the host's clock."),
  release: z.string(),
  from: z.string().nullable().describe("The release before it; null for the first."),
  by: z.string().describe("The admin, or `host` for what the host did by itself."),
  why: z.string(),
  outcome: z
    .enum(["confirmed", "undone", "reverted"])
    .describe(
      "`undone`: it was not healthy. `reverted`: nobody confirmed it in time, or the machine went down before.",
    ),
});
export type HistoryEntry = z.infer<typeof HistoryEntry>;

/** Answer of `releases`: what is on the host and can be gone back to, newest first. */
export const ReleaseList = z.strictObject({
  current: z.string().nullable(),
  unconfirmed: z.string().nullable().describe("The current release, as long as nobody has confirmed it."),
  releases: z.array(
    z.strictObject({
      release: z.string(),
      spec: z.string(),
      kit: z.string(),
      components: z.record(z.string(), z.string()),
      confirmedAt: z.string().nullable(),
      by: z.string().nullable(),
      why: z.string().nullable(),
    }),
  ),
  history: z.array(HistoryEntry).describe("Newest first, at most 50."),
});
export type ReleaseList = z.infer<typeof ReleaseList>;

/** Answer of `files`: the current release as it is on the host. It holds no secrets. */
export const CurrentFiles = z.strictObject({
  release: z.string().nullable(),
  files: z.array(z.strictObject({ path: z.string(), content: z.string() })),
});
export type CurrentFiles = z.infer<typeof CurrentFiles>;

const Instant = z.string().describe("ISO 8601, UTC.");

/** Answer of the model gateway to `GET /status` on its port of roots. */
export const GatewayStatus = z.strictObject({
  config: z.string().describe("Hex sha256 of the configuration file that is in force."),
  providers: z.array(
    z.strictObject({
      name: z.string(),
      up: z.boolean().describe("Whether calls go to it; false while it is left alone after failures."),
      failures: z.number().int().describe("Failures since its last success."),
      retryAt: Instant.nullable().describe("When the next call is let through to it; null if all are."),
    }),
  ),
});
export type GatewayStatus = z.infer<typeof GatewayStatus>;

/** Answer of `status`. */
export const HostStatus = z.strictObject({
  release: z.string().nullable(),
  unconfirmed: z.boolean().describe("Whether the host takes the release back unless it is confirmed in time."),
  problems: z.array(z.string()).describe("What is wrong with the release itself, such as a link that leads nowhere."),
  spec: z.string().nullable(),
  units: z.array(
    z.strictObject({
      name: z.string(),
      state: z.string().describe("systemd's ActiveState and SubState: `active/running`."),
      since: z.string().nullable().describe("ISO 8601, UTC."),
      restarts: z.number().int(),
      ready: z.boolean(),
      memoryMiB: z.number().nullable(),
    }),
  ),
  lock: z.strictObject({ who: z.string(), why: z.string(), since: z.string() }).nullable(),
  failedUnits: z.array(z.string()),
  providers: GatewayStatus.shape.providers
    .nullable()
    .default(null)
    .describe("Model providers as the gateway finds them; null if there is no gateway, or it does not answer."),
});
export type HostStatus = z.infer<typeof HostStatus>;

const Amount = z.number();

/** Answer of `spend`: amounts in USD, as the model gateway counts them. */
export const SpendAnswer = z.strictObject({
  timeZone: z.string(),
  budgets: z.array(
    z.strictObject({
      scope: z.string(),
      period: z.enum(["day", "month"]),
      name: z.string(),
      cap: Amount,
      spent: Amount,
      reserved: Amount,
      leased: Amount,
      left: Amount,
      resetsAt: z.string(),
    }),
  ),
  calls: z.array(
    z.strictObject({
      day: z.string(),
      agent: z.string(),
      route: z.string(),
      model: z.string(),
      calls: z.number(),
      inputTokens: z.number(),
      outputTokens: z.number(),
      usd: Amount,
    }),
  ),
  providers: z.array(z.strictObject({ name: z.string(), up: z.boolean() })),
});
export type SpendAnswer = z.infer<typeof SpendAnswer>;

/** Input of `ask`; the answer is `{reply, model, ms}`. */
export const AskRequest = z.strictObject({ agent: z.string(), message: z.string(), timeoutSeconds: z.number().int() });
export const AskAnswer = z.strictObject({ reply: z.string(), model: z.string(), ms: z.number().int() });
export type AskAnswer = z.infer<typeof AskAnswer>;
