import * as z from "zod";

export const WorkspaceSeed = z
  .discriminatedUnion("kind", [
    z.strictObject({
      kind: z.literal("folder").describe("A folder on the operator's machine."),
      source: z.string().min(1).describe("The folder (absolute, or relative to the project)."),
    }),
    z.strictObject({
      kind: z.literal("git").describe("The files of one commit, without history, fetched by whoever pushes."),
      url: z
        .string()
        .max(2048)
        .regex(
          /^(https:\/\/[A-Za-z0-9.-]+(:\d+)?\/|ssh:\/\/([A-Za-z0-9_-]+@)?[A-Za-z0-9.-]+(:\d+)?\/|[A-Za-z0-9_-]+@[A-Za-z0-9.-]+:(?!-)|file:\/\/\/)[\x21-\x7e]+$/,
          "must be https://…, ssh://…, git@host:path or file:///…, without a password in it",
        )
        .describe("The repository. Never with a secret in it."),
      commit: z
        .string()
        .regex(/^[0-9a-f]{40}$/, "must be the whole hash of a commit, 40 lower-case hex digits")
        .describe("The commit's whole hash."),
    }),
  ])
  .describe("What a workspace holds when it is first made. One that is there already is never touched.");
export type WorkspaceSeed = z.infer<typeof WorkspaceSeed>;

export const WorkspaceSpec = z
  .strictObject({
    quotaMiB: z
      .number()
      .int()
      .min(1)
      .max(67108864)
      .optional()
      .describe(
        "Most that what is in it may take on the data volume, MiB; writing more fails. Needs a kernel with project quotas of XFS. Absent: what the volume has.",
      ),
    seed: WorkspaceSeed.optional().describe("What it holds when it is first made. Absent: nothing."),
  })
  .describe(
    "A directory on the data volume, at `/var/lib/bailiwick/workspaces/<name>` on the host; it outlives the machine.",
  );

export type WorkspaceSpec = z.infer<typeof WorkspaceSpec>;

export const MountGrant = z
  .strictObject({
    agent: z.string().describe("Name of the agent that sees the workspace."),
    workspace: z.string().describe("Name of the workspace."),
    mode: z.enum(["ro", "rw"]).describe("Read only, or read and write."),
  })
  .describe("One agent sees one workspace, at `/workspaces/<name>` in its sandbox; nothing else of the disk.");

export const ServerMountGrant = z
  .strictObject({
    server: z.string().describe("Name of the MCP server on this host that sees the workspace."),
    workspace: z.string().describe("Name of the workspace."),
    mode: z.enum(["ro", "rw"]).describe("Read only, or read and write."),
  })
  .describe("One MCP server sees one workspace, at `/workspaces/<name>` in its sandbox; nothing else of the disk.");

export type MountGrant = z.infer<typeof MountGrant>;
