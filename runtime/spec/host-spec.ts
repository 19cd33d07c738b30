import * as z from "zod";
import { ConnectGrant, EgressGrant } from "../policy/egress/schema.ts";
import { Limits } from "../policy/limits/schema.ts";
import { Budget, InvokeGrant, ModelProviderSpec, TimeZone } from "../policy/models/schema.ts";
import { ReadGrant, SecretSource } from "../policy/secrets/schema.ts";
import { ShellGrant } from "../policy/shell/schema.ts";
import { CallGrant, McpServerSpec } from "../policy/tools/schema.ts";
import { MountGrant, ServerMountGrant, WorkspaceSpec } from "../policy/workspaces/schema.ts";
import { Binding, bindable } from "./binding.ts";
import { Name, PRINCIPAL_UIDS } from "./names.ts";
import { Cidr, SshPublicKey } from "./network.ts";
import { OperatingSystem } from "./operating-system.ts";
import { checkReferences } from "./references.ts";
import { ModelService, RuntimeSpec } from "./runtime.ts";

const named = <T extends z.ZodType>(value: T) => z.record(Name, value);

const LocalMachineSpec = z
  .strictObject({
    kind: z.literal("local").describe("A machine on the operator's own Linux."),
    engine: z
      .enum(["nspawn", "qemu"])
      .describe("`nspawn`: a container on the operator's kernel, not VM-grade. `qemu`: a virtual machine."),
    memoryMiB: z
      .number()
      .int()
      .min(512)
      .max(1048576)
      .describe("Memory of the machine, MiB. Not enforced by nspawn on cgroup v1."),
    cpus: z.number().int().min(1).max(256).describe("Processors of the machine. Not enforced by nspawn."),
    rootGiB: z
      .number()
      .int()
      .min(3)
      .max(1024)
      .describe("Size of the root disk, GiB (sparse); everything on it is disposable."),
    dataGiB: z
      .number()
      .int()
      .min(1)
      .max(65536)
      .describe("Size of the data volume, GiB (sparse); it outlives the machine."),
  })
  .describe("A machine on the operator's own Linux.");

const HetznerMachineSpec = z
  .strictObject({
    kind: z.literal("hetzner").describe("A server of Hetzner Cloud."),
    serverType: z.string().min(1).describe("Type of the server."),
    location: z.string().min(1).describe("Where the server and its data volume stand."),
    dataGiB: z
      .number()
      .int()
      .nullable()
      .describe("Size of the data volume, GiB; it outlives the machine. Null if it is not made by this stack."),
  })
  .describe("A server of Hetzner Cloud.");

const AwsMachineSpec = z
  .strictObject({
    kind: z.literal("aws").describe("An EC2 instance."),
    instanceType: z.string().min(1).describe("Type of the instance."),
    architecture: z.literal("arm64").optional().describe("Architecture of its processors, where it is not x86-64."),
    inbound: z
      .enum(["cidr", "instance-connect"])
      .describe(
        "`cidr`: SSH from the networks of `access`. `instance-connect`: by an EC2 Instance Connect Endpoint alone.",
      ),
    dataGiB: z.number().int().describe("Size of the data volume, GiB; it outlives the machine."),
  })
  .describe("An EC2 instance.");

const ExistingMachineSpec = z
  .strictObject({
    kind: z.literal("existing").describe("A machine that was there before, with its operating system."),
    address: bindable(z.string().min(1)).describe("IP address, or name, at which its sshd answers on port 22."),
    user: z
      .string()
      .min(1)
      .describe("Account that is logged in to at first: root, or one that may sudo without password."),
    hostKey: bindable(SshPublicKey).describe("Its host key, which first contact must show: `ssh-ed25519 AAAA…`."),
    dataDevice: z.string().min(1).describe("The data volume: name of a block device below /dev/disk/by-id."),
    adopt: z.boolean().describe("Whether it is taken although other things run on it."),
  })
  .describe("A machine that was there before.");

const Admin = z
  .strictObject({
    uid: z.number().int().min(1000).max(19999).describe("Unix uid of this admin's account."),
    publicKey: bindable(SshPublicKey).describe("The admin's one SSH public key: `ssh-ed25519 AAAA… comment`."),
  })
  .describe("One administrator.");

const Access = z
  .strictObject({
    bootstrapAdmin: Name.describe(
      "The admin whose account first boot makes; named in `admins`. Changing it or its key rebuilds the machine.",
    ),
    admins: named(Admin).describe("Who may log in: one account each, by key only, with sudo."),
    from: z.array(bindable(Cidr)).min(1).describe("IPv4 and IPv6 networks that may reach sshd."),
  })
  .describe("Who reaches the host, and from where.");

const Agent = z
  .strictObject({
    uid: z
      .number()
      .int()
      .min(PRINCIPAL_UIDS.first + 100)
      .max(PRINCIPAL_UIDS.last)
      .describe("Unix uid of the agent, never used for another name on this host's data volume."),
    runtime: RuntimeSpec,
    budget: Budget.describe("What the agent may spend with all providers together."),
    limits: Limits.partial().optional().describe("What it may use of the machine. Absent: the defaults."),
  })
  .describe("One agent: its own unix user, sandbox, port and grants.");

const Model = z
  .strictObject({
    ...ModelProviderSpec.shape,
    url: z.union([Binding, ModelProviderSpec.shape.url]).describe(ModelProviderSpec.shape.url.description ?? ""),
    uid: z
      .number()
      .int()
      .nullable()
      .describe("Unix uid of a provider that runs on the host itself (`demo`, or a `service`); else null."),
    service: ModelService.optional(),
  })
  .describe("A model provider of this host. Only the gateway holds its key and only the gateway reaches it.");

const HostFields = z
  .strictObject({
    apiVersion: z.literal("bailiwick/v1").describe("Version of this format."),
    name: Name.describe("Name of the host, given to every `bailiwick` command."),
    os: OperatingSystem.describe("Operating system of the machine."),
    baseline: z
      .string()
      .regex(/^[0-9a-f]{64}$/)
      .describe("Digest of the baseline that first boot must have applied."),
    machine: z
      .discriminatedUnion("kind", [LocalMachineSpec, HetznerMachineSpec, AwsMachineSpec, ExistingMachineSpec])
      .describe("Where the host runs."),
    access: Access,
    secrets: named(
      z.strictObject({ source: SecretSource }).describe("One secret: where the pusher finds its value."),
    ).describe("Secrets by name: references only."),
    models: named(Model).describe("Model providers by name."),
    agents: named(Agent).describe("Agents by name."),
    workspaces: named(WorkspaceSpec).describe("Workspaces by name."),
    mcpServers: named(McpServerSpec).optional().describe("MCP servers by name. Absent: none."),
    grants: z
      .strictObject({
        invoke: z.array(InvokeGrant).describe("Which agent may call which models."),
        mount: z.array(MountGrant).describe("Which agent sees which workspace."),
        serverMount: z
          .array(ServerMountGrant)
          .optional()
          .describe("Which MCP server sees which workspace. Absent: none."),
        egress: z.array(EgressGrant).describe("Which principal may reach which name by TLS."),
        connect: z
          .array(ConnectGrant)
          .describe("Which principal may reach which other port of a name, or port of an address."),
        call: z
          .array(CallGrant)
          .optional()
          .describe("Which agent may call which tools of which MCP server. Absent: none."),
        read: z.array(ReadGrant).optional().describe("Which principal is given which secret. Absent: none."),
        shell: z.array(ShellGrant).optional().describe("Which agent may run commands. Absent: none."),
      })
      .describe("Everything that is allowed. What is not listed is denied."),
    budget: z
      .strictObject({ timeZone: TimeZone, ...Budget.shape })
      .describe("What the whole host may spend, and when the days and months of all its budgets begin."),
    timeouts: z
      .strictObject({
        baselineSeconds: z.number().int().min(10).describe("Longest wait for the baseline of first boot, seconds."),
        healthSeconds: z
          .number()
          .int()
          .min(5)
          .describe("Longest wait for a new release to be healthy, seconds; then it is undone."),
        confirmSeconds: z
          .number()
          .int()
          .min(5)
          .describe(
            "How long a healthy release waits for the operator to confirm it over a fresh connection, seconds; then the host takes it back.",
          ),
        drainSeconds: z
          .number()
          .int()
          .min(1)
          .max(600)
          .describe("How long a unit that must restart may take to end in order, seconds; then it is killed."),
      })
      .describe("How long a deploy waits."),
    keepReleases: z
      .number()
      .int()
      .min(1)
      .max(50)
      .describe("How many releases stay on the host, with their secret versions: the current one and those before it."),
  })
  .describe("One agent host: its machine, who administers it, its agents, and every grant.");

/** Everything the runtime is told about one host; synth writes it, push and verify read it. See docs/reference/host-spec.md. */
export type HostSpec = z.infer<typeof HostFields>;

export const HostSpec = HostFields.superRefine(checkReferences);

/** A spec that a user can be told about: each problem with its path, what was received and what to do. */
export class SpecError extends Error {
  readonly problems: readonly string[];
  constructor(problems: readonly string[]) {
    super(problems.join("\n"));
    this.name = "SpecError";
    this.problems = problems;
  }
}

/**
 * The validated spec.
 * @throws SpecError with one line per problem: path in the spec, what was received, what to do
 */
export function parseHostSpec(value: unknown): HostSpec {
  const result = HostSpec.safeParse(value);
  if (result.success) return result.data;
  throw new SpecError(result.error.issues.map((issue) => describeIssue(issue, value)));
}

function describeIssue(issue: z.core.$ZodIssue, root: unknown): string {
  const path = issue.path
    .map((p) => (typeof p === "number" ? `[${p}]` : `.${String(p)}`))
    .join("")
    .replace(/^\./, "");
  const where = path === "" ? "spec" : path;
  if (issue.code === "unrecognized_keys")
    return `${where}: unknown key${issue.keys.length > 1 ? "s" : ""} ${issue.keys.map((k) => `"${k}"`).join(", ")}; remove ${issue.keys.length > 1 ? "them" : "it"} or see docs/reference/host-spec.md for what exists`;
  const message = issue.code === "invalid_union" ? unionMessage(issue) : issue.message;
  if (issue.code === "custom") return `${where}: ${message}`;
  let received: unknown = root;
  for (const p of issue.path) received = (received as Record<PropertyKey, unknown> | undefined)?.[p];
  return `${where}: received ${show(received)}; ${message.charAt(0).toLowerCase()}${message.slice(1)}`;
}

function unionMessage(issue: z.core.$ZodIssueInvalidUnion): string {
  const last = issue.errors.at(-1)?.[0];
  return last === undefined ? issue.message : last.message;
}

function show(value: unknown): string {
  if (value === undefined) return "nothing";
  const text = JSON.stringify(value);
  return text.length > 80 ? `${text.slice(0, 77)}…` : text;
}
