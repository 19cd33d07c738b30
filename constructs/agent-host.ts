import { Lazy, TerraformLocal } from "cdktf";
import { Construct } from "constructs";
import { z } from "zod";
import { TimeZone } from "../runtime/policy/models/schema.ts";
import { architectureOf } from "../runtime/spec/architecture.ts";
import { canonicalJson, digestOf } from "../runtime/spec/digest.ts";
import { type HostSpec, parseHostSpec, SpecError } from "../runtime/spec/host-spec.ts";
import { Name, PRINCIPAL_UIDS, principalUid } from "../runtime/spec/names.ts";
import { Access } from "./access.ts";
import { Agent } from "./agent.ts";
import { type LimitProps, limitsOf } from "./agent-limits.ts";
import { type AssembledSpec, assembleSpec } from "./assemble-spec.ts";
import { Bootstrap } from "./bootstrap.ts";
import { type BudgetProps, budgetOf } from "./budget.ts";
import { checkAtSynth } from "./checks/at-synth.ts";
import { claimMachine, claimName } from "./claims.ts";
import { terraformLiteral } from "./command-line.ts";
import { componentsDigest } from "./component-inputs.ts";
import { foreignProgram } from "./foreign-program.ts";
import { GrantBook } from "./grants.ts";
import type { Machine, MachineReview } from "./machines/machine.ts";
import { McpPackage } from "./mcp-package.ts";
import { McpServer } from "./mcp-server.ts";
import { Model, type ModelProps } from "./model.ts";
import { ModelProvider } from "./model-provider.ts";
import { checked, knownKeys, Refusal, refuse } from "./refuse.ts";
import { addRelease } from "./release.ts";
import { Runtime } from "./runtime.ts";
import { specFile, writeSpecAtSynth } from "./spec-files.ts";
import { timeoutsOf } from "./timeouts.ts";
import { untraced } from "./untraced.ts";
import { type FirstBoot, firstBoot } from "./user-data.ts";
import { Workspace, type WorkspaceProps, workspaceSpec } from "./workspace.ts";

export interface AgentHostProps<M extends Machine> {
  /** Where the host runs, in the same stack. A machine carries one host. */
  readonly machine: M;
  /** Who may log in, and from where. */
  readonly access: Access;
  /**
   * Name of the host, given to every `bailiwick` command: 1 to 20 of a-z, 0-9 and single hyphens, once in the app.
   * @default the construct's id
   */
  readonly name?: string;
  /** How long a deploy waits, in seconds. */
  readonly timeouts?: {
    /**
     * For the baseline of first boot, at least 10.
     * @default 600
     */
    readonly baselineSeconds?: number;
    /**
     * For a new release to be healthy, at least 5; then it is undone.
     * @default 180
     */
    readonly healthSeconds?: number;
    /**
     * For the operator to confirm a healthy release over a fresh connection, at least 5; then the host takes it back.
     * @default 60
     */
    readonly confirmSeconds?: number;
    /**
     * For a unit that must restart to end in order, 1 to 600; then it is killed.
     * @default 10
     */
    readonly drainSeconds?: number;
  };
  /**
   * How many releases stay on the host for `bailiwick rollback`, the current one among them, 1 to 50; older ones are
   * removed with the secret versions that only they used.
   * @default 3
   */
  readonly keepReleases?: number;
  /** What the whole host may spend on models, and where its budgets' days begin. */
  readonly budget?: BudgetProps & {
    /**
     * IANA name of the time zone in which the days and months of all budgets of the host begin. Changing it begins new
     * days, and so new budgets.
     * @default "UTC"
     */
    readonly timeZone?: string;
  };
}

export interface AgentProps {
  /**
   * What runs as the agent.
   * @default Runtime.openClaw()
   */
  readonly runtime?: Runtime;
  /**
   * Unix uid, 20100 to 29999; also decides the agent's ports. Set it when two names happen to hash into one uid (synth
   * says so). Never change it once deployed: the agent's state belongs to it.
   * @default hashed from the name
   */
  readonly uid?: number;
  /**
   * What the agent may spend with all providers together.
   * @default no cap
   */
  readonly budget?: BudgetProps;
  /**
   * What the agent may use of the machine.
   * @default 2048 MiB of memory, 2 processors, 512 tasks, 1000 lines of log in ten seconds
   */
  readonly limits?: LimitProps;
}

// made once: a schema costs more than a host
const Flag = z.boolean();
const Keep = z.number().int().min(1).max(50);
const Uid = z
  .number()
  .int()
  .min(PRINCIPAL_UIDS.first + 100)
  .max(PRINCIPAL_UIDS.last);

/**
 * A machine and everything this kit puts on it. All is denied; what is granted on the things it `add`s is allowed. Grants
 * count whenever they are made before the end of synth.
 */
export class AgentHost<M extends Machine = Machine> extends Construct {
  readonly name: string;
  /** The machine, as the type it was given: its resources are the escape hatch. */
  readonly machine: M;
  /** Who may log in, and from where. */
  readonly access: Access;
  readonly #book: GrantBook;
  readonly #models = new Map<string, Model>();
  readonly #agents = new Map<string, Agent>();
  readonly #workspaces = new Map<string, Workspace>();
  readonly #mcpServers = new Map<string, McpServer>();
  readonly #timeouts: HostSpec["timeouts"];
  readonly #keepReleases: number;
  readonly #budget: HostSpec["budget"];
  readonly #baseline: string;
  readonly #sshFrom: readonly string[] | undefined;
  #valid: { readonly text: string; readonly spec: HostSpec } | undefined;
  #digest: { readonly of: HostSpec; readonly is: string } | undefined;

  /**
   * @throws Refusal for a bad or taken name, a machine that carries another host or stands in another stack, an unknown
   * key, or a token
   */
  constructor(scope: Construct, id: string, props: AgentHostProps<M>) {
    super(scope, id);
    const path = `AgentHost "${id}"`;
    knownKeys(path, props, ["machine", "access", "name", "timeouts", "keepReleases", "budget"]);
    this.name = checked(`${path}: name`, Name, props.name ?? id);
    if (!(props.access instanceof Access))
      refuse(`${path}: access`, props.access, "give Access.ssh(…), Access.operator() or Access.fromEnv(…)");
    this.access = props.access;
    this.machine = props.machine;
    this.#timeouts = timeoutsOf(path, props.timeouts);
    this.#keepReleases = checked(`${path}: keepReleases`, Keep, props.keepReleases ?? 3);
    const { timeZone = "UTC", ...budget } = props.budget ?? {};
    this.#budget = {
      timeZone: checked(`${path}: budget.timeZone`, TimeZone, timeZone),
      ...budgetOf(`${path}: budget`, budget),
    };
    this.#book = new GrantBook(this.name);
    claimName(path, this as unknown as AgentHost);
    claimMachine(path, this as unknown as AgentHost);

    const boot = firstBoot(this.name, this.access, this.machine);
    this.#baseline = boot.digest;
    this.#sshFrom = untraced(() => this.#make(boot));
    this.node.addValidation({ validate: () => this.#problems() });
    checkAtSynth(this as unknown as AgentHost);
    writeSpecAtSynth(this, this.name, () => this.toSpec());
  }

  /** Makes everything of the host that Terraform makes. */
  #make(boot: FirstBoot): readonly string[] | undefined {
    const missing = new TerraformLocal(this, "missing", Lazy.stringValue({ produce: () => this.#missing() }));
    const generation = Lazy.stringValue({ produce: () => canonicalJson(this.machine.generation) });
    const madeFrom = { host: this.name, os: this.machine.os, baseline: boot.digest };
    const bootstrap = new Bootstrap(this, {
      generation: { ...madeFrom, machine: generation },
      precondition: {
        condition: `\${length(local.${missing.friendlyUniqueId}) < 1}`,
        errorMessage: `\${local.${missing.friendlyUniqueId}}`,
      },
      hostKey: this.machine.hostKey,
    });
    const file = specFile(this.name);
    const machine = this.machine.bind({
      name: this.name,
      specFile: file,
      bootstrap: bootstrap.resource,
      userData: boot.userData === "" ? "" : bootstrap.fill(boot.userData),
      sshFrom: this.access.from.flatMap((network) => ("text" in network ? [network.text] : [])),
      admins: Object.fromEntries(
        this.access.admins.flatMap(({ name, key }) => ("text" in key ? [[name, key.text]] : [])),
      ),
      realKeys: () => this.#realKeys(),
    });
    addRelease(this, {
      host: this.name,
      specFile: file,
      bootstrap,
      machine,
      digests: {
        spec: () => this.#specDigest(),
        generation: () => digestOf({ ...madeFrom, machine: this.machine.generation }),
        components: () =>
          componentsDigest([...this.#agents.values()], [...this.#models.values()], [...this.#workspaces.values()]),
      },
      values: () => this.#assemble().values,
    });
    return machine.sshFrom;
  }

  /**
   * A model provider, reached through the host's gateway alone, which alone holds its key. No agent may call it before
   * `grantInvoke`.
   * @param name 1 to 20 of a-z, 0-9 and single hyphens; agents see the provider under it
   * @throws Refusal for a bad or taken name, or two secrets of one name, an unknown key, or an amount that is none
   */
  addModel(name: string, provider: ModelProvider, props: ModelProps = {}): Model {
    const path = this.#book.path(`addModel("${String(name)}")`);
    this.#free(path, "model", name, this.#models);
    knownKeys(path, props, ["budget", "fallback", "logContent"]);
    const fallback = props.fallback?.name ?? null;
    if (fallback !== null && this.#models.get(fallback) !== props.fallback)
      refuse(`${path}.fallback`, fallback, "give what addModel of this host returned");
    if (!(provider instanceof ModelProvider)) refuse(path, provider, "give a ModelProvider, such as .anthropic({…})");
    const { apiKey } = provider;
    if (apiKey !== null) this.#book.refer(path, apiKey);
    const uid = provider.onHost ? principalUid(`model/${name}`) : null;
    if (uid !== null) this.#freeUid(path, uid);
    const budget = budgetOf(`${path}.budget`, props.budget);
    const logContent = checked(`${path}.logContent`, Flag, props.logContent ?? false);
    const model = new Model(this, this.#book, name, { provider, uid, budget, fallback, logContent });
    this.#models.set(name, model);
    return model;
  }

  /**
   * An agent: a principal with its own user and sandbox, that reaches nothing until something is granted to it.
   * @param name 1 to 20 of a-z, 0-9 and single hyphens
   * @throws Refusal for a bad or taken name, a uid out of range or taken, an unknown key, or a token
   */
  addAgent(name: string, props: AgentProps = {}): Agent {
    const path = this.#book.path(`addAgent("${String(name)}")`);
    this.#free(path, "agent", name, this.#agents);
    knownKeys(path, props, ["runtime", "uid", "budget", "limits"]);
    const runtime = props.runtime ?? Runtime.openClaw();
    if (!(runtime instanceof Runtime))
      refuse(`${path}.runtime`, runtime, "give Runtime.openClaw() or Runtime.command({…})");
    const uid = props.uid === undefined ? principalUid(`agent/${name}`) : checked(`${path}.uid`, Uid, props.uid);
    this.#freeUid(`${path}.uid`, uid);
    const agent = new Agent(this, this.#book, name, {
      uid,
      runtime,
      budget: budgetOf(`${path}.budget`, props.budget),
      limits: limitsOf(`${path}.limits`, props.limits),
    });
    this.#agents.set(name, agent);
    return agent;
  }

  /**
   * A directory on the data volume that outlives the machine. No agent sees it before a grant.
   * @param name 1 to 20 of a-z, 0-9 and single hyphens; agents see it at `/workspaces/<name>`
   * @throws Refusal for a bad or taken name; `/`, a path or `$HOME` is no name; a quota or a seed that is none, an unknown key
   */
  addWorkspace(name: string, props: WorkspaceProps = {}): Workspace {
    const path = this.#book.path(`addWorkspace("${String(name)}")`);
    if (typeof name === "string" && /[/~$\\]/.test(name))
      refuse(
        path,
        name,
        "a workspace is a directory of its own on the data volume, no path of any machine; give a name",
      );
    this.#free(path, "workspace", name, this.#workspaces);
    const workspace = new Workspace(this, this.#book, name, workspaceSpec(path, props));
    this.#workspaces.set(name, workspace);
    return workspace;
  }

  /**
   * An MCP server: a principal of its own, or a remote service. No agent may call it before `grantCall`, and without a grant
   * it needs no entry in `mcp.lock.json`: deploy it, then `bailiwick mcp pin`.
   * @param name 1 to 20 of a-z, 0-9 and single hyphens; agents see the server under it
   * @throws Refusal for a bad or taken name, or two secrets of one name
   */
  addMcpServer(name: string, source: McpPackage): McpServer {
    const path = this.#book.path(`addMcpServer("${String(name)}")`);
    this.#free(path, "MCP server", name, this.#mcpServers);
    if (!(source instanceof McpPackage)) refuse(path, source, "give McpPackage.npm(…) or McpPackage.remote({…})");
    for (const secret of source.secrets) this.#book.refer(path, secret);
    const uid = source.source.kind === "npm" ? principalUid(`mcp/${name}`) : null;
    if (uid !== null) this.#freeUid(path, uid);
    const server = new McpServer(this, this.#book, name, source, uid);
    this.#mcpServers.set(name, server);
    return server;
  }

  /**
   * The host's spec as it stands now: what synth writes to `bailiwick/<name>.json` beside the stack's Terraform.
   * @throws Refusal with one line per problem, each with its path
   */
  toSpec(): HostSpec {
    // Asked for several times in a synth, when nothing changes any more: what was valid is not validated again.
    const { spec } = this.#assemble();
    const text = JSON.stringify(spec);
    if (this.#valid?.text === text) return this.#valid.spec;
    try {
      const valid = parseHostSpec(spec);
      this.#valid = { text, spec: valid };
      return valid;
    } catch (error) {
      if (error instanceof SpecError) throw new Refusal(error.problems.map((p) => this.#book.path(p)).join("\n"));
      throw error;
    }
  }

  #specDigest(): string {
    const spec = this.toSpec();
    if (this.#digest?.of !== spec) this.#digest = { of: spec, is: digestOf(spec) };
    return this.#digest.is;
  }

  #assemble(): AssembledSpec {
    return assembleSpec({
      name: this.name,
      os: this.machine.os,
      baseline: this.#baseline,
      machine: this.machine,
      access: this.access,
      sshFrom: this.#sshFrom,
      timeouts: this.#timeouts,
      keepReleases: this.#keepReleases,
      budget: this.#budget,
      models: [...this.#models.values()],
      agents: [...this.#agents.values()],
      workspaces: [...this.#workspaces.values()],
      mcpServers: [...this.#mcpServers.values()],
      grants: this.#book,
    });
  }

  #review(): MachineReview {
    return this.machine.review({ realKeys: this.#realKeys() });
  }

  #realKeys(): boolean {
    return this.#book.secrets.length > 0 || [...this.#models.values()].some(({ provider }) => !provider.onHost);
  }

  #problems(): string[] {
    const refused = [...this.#review().refused, ...this.#foreignPrograms()];
    try {
      this.toSpec();
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      refused.push(error.message);
    }
    return refused;
  }

  #foreignPrograms(): string[] {
    const agents = [...this.#agents.values()].flatMap(({ name, runtime: { spec } }) =>
      spec.kind === "command" ? [{ at: `agents.${name}.runtime`, started: spec }] : [],
    );
    const models = [...this.#models.values()].flatMap(({ name, provider: { service } }) =>
      service === null ? [] : [{ at: `models.${name}.service`, started: service }],
    );
    const architecture = architectureOf({ machine: this.machine.spec });
    return [...agents, ...models].flatMap(({ at, started }) => {
      const why = foreignProgram(started, architecture);
      return why === undefined ? [] : [this.#book.path(`${at}.${why}`)];
    });
  }

  #missing(): string {
    const missing = [...new Set([...this.access.missing, ...this.#review().missing])];
    return missing.length === 0 ? "" : terraformLiteral(this.#book.path(missing.join("\n")));
  }

  #free(path: string, kind: string, name: string, taken: ReadonlyMap<string, unknown>): void {
    checked(`${path}: name`, Name, name);
    if (taken.has(name))
      throw new Refusal(`${path}: received "${name}", already taken by another ${kind} of this host; choose another`);
  }

  #freeUid(path: string, uid: number): void {
    const all = [...this.#agents.values(), ...this.#models.values(), ...this.#mcpServers.values()];
    const holder = all.find((other) => other.uid === uid);
    if (holder !== undefined)
      throw new Refusal(
        `${path}: uid ${uid}, and so its ports, already belongs to "${holder.name}"; set uid on the agent to another from 20100 to 29999`,
      );
  }
}
