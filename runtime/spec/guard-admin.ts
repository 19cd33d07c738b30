import * as z from "zod";

/**
 * What root asks the MCP guard over its admin socket: one line of JSON, answered by one line. Nobody but root can open
 * that socket, so no agent approves its own call.
 */
export const GuardRequest = z.discriminatedUnion("do", [
  z.strictObject({ do: z.literal("tools"), server: z.string().describe("Starts the server and lists its tools.") }),
  z.strictObject({ do: z.literal("pending") }),
  z.strictObject({
    do: z.enum(["approve", "deny"]),
    id: z.string(),
    by: z.string().describe("The admin's account, as sudo names it."),
  }),
  z.strictObject({ do: z.literal("status") }),
]);
export type GuardRequest = z.infer<typeof GuardRequest>;

/** A call of a tool that writes, as it waits for an admin. */
export const PendingCall = z.strictObject({
  id: z.string(),
  agent: z.string(),
  server: z.string(),
  tool: z.string(),
  arguments: z.record(z.string(), z.unknown()),
  argumentsHash: z.string(),
  at: z.string().describe("ISO 8601, UTC."),
  expiresAt: z.string().describe("ISO 8601, UTC: by then it must be approved."),
});
export type PendingCall = z.infer<typeof PendingCall>;

/** Answer of the admin socket: what was asked for, or why not. */
export const GuardAnswer = z.union([
  z.strictObject({ error: z.string() }),
  z.strictObject({ tools: z.array(z.unknown()) }),
  z.strictObject({ pending: z.array(PendingCall) }),
  z.strictObject({ settled: PendingCall }),
  z.strictObject({
    servers: z.array(
      z.strictObject({ name: z.string(), quarantined: z.string().nullable().describe("Why; null: it is not.") }),
    ),
  }),
]);
export type GuardAnswer = z.infer<typeof GuardAnswer>;
