import * as z from "zod";

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
