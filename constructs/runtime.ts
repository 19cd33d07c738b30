import { z } from "zod";
import { RuntimeSpec } from "../runtime/spec/runtime.ts";
import { checked, knownKeys, Refusal } from "./refuse.ts";
import { Secret } from "./secret.ts";
import { whySecret } from "./secret-shapes.ts";
import { sourceFolder } from "./source-folder.ts";

/** The OpenClaw version this kit has a lock file for. */
const OPENCLAW_VERSION = "2026.9.6";

export interface OpenClawProps {
  /**
   * OpenClaw version; one this kit has a lock file for.
   * @default "2026.9.6"
   */
  readonly version?: string;
  /**
   * Primary model: name of a provider on the host, and a model id that is granted to the agent.
   * @default the first model granted to the agent
   */
  readonly model?: { readonly provider: string; readonly id: string };
}

export interface CommandProps {
  /**
   * Folder that is sent to the host whole and is read-only to the agent; absolute, or relative to the project. Refused:
   * `/`, the home directory, the project itself, a folder above one of them, one with Terraform state, what is no folder.
   */
  readonly source: string;
  /**
   * Program and arguments. The first is `node` for the bundled Node.js 24, an absolute path on the host, or a path
   * inside the folder that starts with `./`.
   */
  readonly argv: readonly string[];
  /**
   * Plain environment variables, at most 4096 characters each. They stand in the spec in clear: what looks like a secret
   * is refused.
   * @default none but those the kit sets
   */
  readonly env?: Readonly<Record<string, string>>;
  /**
   * Path on the agent's own port that answers 200 when it is ready, such as `/healthz`.
   * @default it counts as ready while it runs
   */
  readonly health?: string;
  /**
   * Path on the agent's own port that takes OpenAI chat completions.
   * @default `bailiwick ask` cannot ask it
   */
  readonly ask?: string;
}

/** What runs as the agent. A value: one Runtime may serve many agents. */
export class Runtime {
  /** The runtime as it stands in the spec. */
  readonly spec: RuntimeSpec;

  private constructor(spec: RuntimeSpec) {
    this.spec = spec;
  }

  /** OpenClaw, its configuration owned by root. @throws Refusal for a version that is no version, or a token */
  static openClaw(props: OpenClawProps = {}): Runtime {
    const path = "Runtime.openClaw";
    knownKeys(path, props, ["version", "model"]);
    if (props.model !== undefined) knownKeys(`${path} model`, props.model, ["provider", "id"]);
    const { version = OPENCLAW_VERSION, model = null } = props;
    return new Runtime(checked(path, RuntimeSpec, { kind: "openclaw", version, model }));
  }

  /**
   * Any other daemon: a folder and one command. It is given `BAILIWICK_PORT`, `BAILIWICK_MODEL_URL_<PROVIDER>`, and its
   * virtual key as the file `$CREDENTIALS_DIRECTORY/agent.<name>.virtual-key`.
   * @throws Refusal for a bad source, an argv or env that looks like a secret, an unknown key, or a token
   */
  static command(props: CommandProps): Runtime {
    const path = "Runtime.command";
    knownKeys(path, props, ["source", "argv", "env", "health", "ask"]);
    const { ask = null } = props;
    return new Runtime(checked(path, RuntimeSpec, { kind: "command", ...commandParts(path, props), ask }));
  }
}

/**
 * What runs from a folder: its program, arguments and environment, none of it secret.
 * @throws Refusal
 */
export function commandParts(path: string, props: Pick<CommandProps, "source" | "argv" | "env" | "health">) {
  if (props.env !== undefined) knownKeys(`${path} env`, props.env, Object.keys(props.env));
  for (const [name, value] of Object.entries(props.env ?? {})) plain(`${path} env.${name}`, value);
  const argv = checked(`${path} argv`, z.array(z.string().min(1)).min(1), props.argv);
  argv.forEach((arg, i) => {
    plain(`${path} argv[${i}]`, arg);
  });
  const [program] = argv;
  if (program !== undefined && program !== "node" && !/^(\/|\.\/)[^\0]+$/.test(program))
    throw new Refusal(
      `${path} argv[0]: received "${program}"; give node, an absolute path on the host, or ./path inside the folder`,
    );
  const { env = {}, health = null } = props;
  return { source: sourceFolder(`${path} source`, props.source), argv, env, health };
}

function plain(path: string, value: unknown): void {
  if (value instanceof Secret || (typeof value === "string" && value.includes("[secret ")))
    throw new Refusal(
      `${path}: received a Secret; environment and arguments stand in clear in the spec: an agent reaches models through its virtual key and needs no provider's key`,
    );
  const why = typeof value === "string" ? whySecret(value) : undefined;
  if (why !== undefined)
    throw new Refusal(
      `${path}: received ${why}; it would stand in clear in the spec and on the host: remove it, an agent reaches models through its virtual key`,
    );
}
