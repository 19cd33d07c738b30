import { readFileSync } from "node:fs";
import type { HostSpec } from "../../spec/host-spec.ts";
import { toolHash } from "../../spec/tool-definitions.ts";
import { egressNames, egressZones } from "../egress/names.ts";
import type { GuardConfig, PinnedTool, ToolDefinition } from "../tools/schema.ts";
import { workspaceMounts } from "../workspaces/mounts.ts";
import { SHELL_TOOL, type ShellGrant } from "./schema.ts";

/** The program that each session of a shell is: see the file itself. */
export const RUNNER = readFileSync(new URL("./templates/runner.py", import.meta.url), "utf8");

/** The grant of a shell to an agent, if there is one. */
export function shellOf(spec: HostSpec, agent: string): ShellGrant | undefined {
  return spec.grants.shell?.find((grant) => grant.agent === agent);
}

/** What the guard, and an agent that asks it, calls the server that a shell is. No name of an MCP server has a slash in it. */
export function shellServer(agent: string): string {
  return `shell/${agent}`;
}

/** Socket of a shell's unit: the guard's alone. */
export function shellSocket(agent: string): string {
  return `/run/bailiwick-mcp/shell.${agent}.sock`;
}

/** Slice that holds all sessions of a shell, and so their limits. A hyphen in a slice's name would nest it in another's. */
export function shellSlice(agent: string): string {
  return `bailiwick-shell-${agent.replaceAll("-", "_")}.slice`;
}

/** The directory in which commands start: the first workspace that they may write, else the first they see, else `/tmp`. */
function startDirectory(spec: HostSpec, agent: string): string {
  const mounts = workspaceMounts(spec, `shell/${agent}`);
  return (mounts.find(({ mode }) => mode === "rw") ?? mounts[0])?.target ?? "/tmp";
}

/** What the agent, and its model, is told of its shell. */
function definition(spec: HostSpec, { agent, seconds, outputBytes }: ShellGrant): ToolDefinition {
  const mounts = workspaceMounts(spec, `shell/${agent}`);
  const seen = mounts.map(({ target, mode }) => `${target} (${mode === "rw" ? "read and write" : "read only"})`);
  const names = [
    ...egressNames(spec, `shell/${agent}`),
    ...egressZones(spec, `shell/${agent}`).map((zone) => `every name of one label before ${zone}`),
    ...spec.grants.connect
      .filter(({ principal }) => principal === `shell/${agent}`)
      .map(({ host, port }) => `${host} port ${port}`),
  ];
  return {
    name: SHELL_TOOL,
    title: "Run a command",
    description: [
      "Runs a command with /bin/sh and gives back its exit status and output, standard error among it.",
      `It runs as a user of its own, who sees ${seen.length === 0 ? "no workspace" : seen.join(", ")}, and nothing of yours besides.`,
      "/tmp is empty at first and kept for this session. A file that was written is not executable: give scripts to an interpreter, as `sh script`, `python3 script`.",
      `It reaches ${names.length === 0 ? "no network" : `on the network ${names.join(", ")} alone`}.`,
      `After ${seconds} seconds it is ended; whatever it leaves running ends with it. Of the output at most ${outputBytes} bytes are given back.`,
    ].join(" "),
    inputSchema: {
      type: "object",
      properties: {
        command: { type: "string", minLength: 1, maxLength: 32_000, description: "What /bin/sh -c is given." },
        directory: {
          type: "string",
          pattern: "^/[^\\u0000]*$",
          maxLength: 4096,
          description: `Where it starts. ${startDirectory(spec, agent)} unless given.`,
        },
        seconds: { type: "integer", minimum: 1, maximum: seconds, description: "When it is ended, if earlier." },
      },
      required: ["command"],
      additionalProperties: false,
    },
    outputSchema: {
      type: "object",
      properties: {
        exitStatus: { type: "integer", description: "128 and the signal's number if a signal ended it." },
        timedOut: { type: "boolean", description: "Whether it was ended after its time." },
        leftOutBytes: { type: "integer", description: "Bytes left out in the middle of the output." },
      },
      required: ["exitStatus", "timedOut", "leftOutBytes"],
      additionalProperties: false,
    },
    annotations: { destructiveHint: true, openWorldHint: names.length > 0 },
  };
}

/** The configuration of a shell's sessions: `shell.json` beside the runner. */
export function shellConfig(spec: HostSpec, grant: ShellGrant): object {
  return {
    tool: definition(spec, grant),
    directory: startDirectory(spec, grant.agent),
    seconds: grant.seconds,
    outputBytes: grant.outputBytes,
  };
}

/** How long the guard waits beyond a command's own time: for its end, and for one before it in the same session. */
const GRACE_MS = 10_000;

/** A shell as a server of the guard: one tool, whose definition is the kit's own and held against what the session says. */
export function shellEntry(spec: HostSpec, grant: ShellGrant): GuardConfig["servers"][number] {
  const { agent, approval, seconds } = grant;
  const described = definition(spec, grant);
  const tool: PinnedTool = { ...described, hash: toolHash(described), class: "write" };
  return {
    name: shellServer(agent),
    backend: { kind: "unix", path: shellSocket(agent) },
    tools: [tool],
    grants: [{ agent, tools: [{ name: SHELL_TOOL, arguments: {}, approval }] }],
    callMs: seconds * 1000 + GRACE_MS,
    exitStatus: true,
  };
}
