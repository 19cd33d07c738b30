import * as z from "zod";
import { Limits } from "../limits/schema.ts";

/** Longest that a command may be let run, seconds: clients give up waiting for an answer after five minutes. */
const LONGEST_SECONDS = 240;

export const ShellGrant = z
  .strictObject({
    agent: z.string().describe("Name of the agent that may run commands."),
    uid: z
      .number()
      .int()
      .min(20100)
      .max(29999)
      .describe("Unix uid that the commands run as: another than the agent's, never used for another name."),
    workspaces: z
      .array(z.string())
      .describe("Names of the agent's workspaces that the commands see, in the mode that the agent sees them in."),
    seconds: z.number().int().min(1).max(LONGEST_SECONDS).describe("Longest that one command may take, seconds."),
    outputBytes: z
      .number()
      .int()
      .min(1024)
      .max(262144)
      .describe("Most of a command's output that is given back, bytes: its beginning and its end."),
    approval: z
      .enum(["each-call", "waived"])
      .describe("Whether each command waits for `bailiwick approve`, or none does."),
    limits: Limits.partial()
      .optional()
      .describe("What all commands of the agent together may use of the machine. Absent: the defaults."),
  })
  .describe(
    "One agent may run commands, as tool `run` of the MCP guard: under a user of their own, `shell/<agent>`, which sees some of the agent's workspaces and nothing else of the agent.",
  );
export type ShellGrant = z.infer<typeof ShellGrant>;

/** The one tool of a shell. */
export const SHELL_TOOL = "run";

/** What a shell is called in an agent's configuration: among its MCP servers, and in `BAILIWICK_MCP_URL_SHELL`. */
export const SHELL_SERVER = "shell";
