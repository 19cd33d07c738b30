import * as z from "zod";
import { CredentialVersion } from "../policy/secrets/schema.ts";
import { digestOf, sha256 } from "./digest.ts";

const Digest = z.string().regex(/^[0-9a-f]{64}$/);

/** What a release says about itself, for the activator and for verify: `manifest.json` at the top of a release. */
export const ReleaseManifest = z.strictObject({
  apiVersion: z.literal("bailiwick/v1"),
  host: z.string(),
  digest: Digest.describe("sha256 over the canonical list of all other files of the release."),
  kit: z.string().describe("Version of the kit that rendered it."),
  spec: Digest.describe("Digest of the HostSpec it was rendered from."),
  components: z
    .record(z.string(), Digest)
    .describe("Components by name; each must be unpacked at /opt/bailiwick/components/<digest>."),
  units: z
    .array(
      z.strictObject({
        name: z.string().describe("Unit file name, `bailiwick-agent-ops.service`."),
        principal: z.string().describe("Principal it runs as: `agent/ops`, `gateway`, `egress`, `model/demo`."),
        chain: z.string().describe("Its chain in nft table `inet bailiwick`."),
        reload: z
          .array(z.string())
          .describe(
            "Files of the release, relative, whose change alone reloads the unit; every other change restarts it.",
          ),
        ready: z
          .strictObject({ port: z.number().int(), path: z.string() })
          .nullable()
          .describe("Loopback HTTP endpoint that answers 200 when the unit serves. Null: active is ready."),
      }),
    )
    .describe("Units in the order they start; they stop in the reverse order."),
  users: z.array(z.strictObject({ name: z.string(), uid: z.number().int(), principal: z.string() })),
  directories: z
    .array(z.strictObject({ path: z.string(), user: z.string(), mode: z.string() }))
    .describe("Directories on the data volume, made if absent, parents first; owner and mode are enforced."),
  acls: z
    .array(z.strictObject({ path: z.string(), user: z.string(), mode: z.enum(["ro", "rw"]) }))
    .describe("Workspaces and who is granted them: set as POSIX ACLs, inherited by new files."),
  seeds: z
    .array(z.strictObject({ path: z.string(), component: Digest }))
    .optional()
    .describe("Workspaces that are made from a component if they are not there yet. Absent: none."),
  quotas: z
    .array(z.strictObject({ path: z.string(), project: z.number().int(), mib: z.number().int() }))
    .optional()
    .describe(
      "Workspaces with a quota: the XFS project that each is, and the most that it may hold, MiB. Absent: none.",
    ),
  credentials: z.array(z.strictObject({ name: z.string(), version: CredentialVersion })),
  admins: z.array(z.strictObject({ name: z.string(), uid: z.number().int() })),
  agents: z.array(
    z.strictObject({
      name: z.string(),
      runtime: z.enum(["openclaw", "command"]),
      component: Digest.describe("The component that its runtime is; another one means that its state is kept first."),
      port: z.number().int(),
      ask: z
        .strictObject({
          path: z.string(),
          model: z.string(),
          credential: z
            .string()
            .nullable()
            .describe("Sealed credential whose text is the bearer token; null for none."),
        })
        .nullable(),
    }),
  ),
});

export type ReleaseManifest = z.infer<typeof ReleaseManifest>;

export interface ReleaseFile {
  /** Relative to the release's folder. */
  path: string;
  mode: number;
  content: string;
}

/** The digest of a release: sha256 over the canonical list of path, mode and content hash of all files but the manifest. */
export function releaseDigest(files: readonly ReleaseFile[]): string {
  const list = files
    .filter((file) => file.path !== "manifest.json")
    .map((file) => [file.path, file.mode, sha256(file.content)] as const)
    .sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
  return digestOf(list);
}
