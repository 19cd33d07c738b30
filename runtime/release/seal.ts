import type { HostFacts } from "../spec/activator.ts";
import type { HostSpec } from "../spec/host-spec.ts";
import { type Activator, HostError } from "./activator-client.ts";
import type { ReleaseInput } from "./render/input.ts";
import { requiredCredentials } from "./render/requirements.ts";
import { resolveSecret } from "./secrets.ts";

export class MissingSecretsError extends Error {
  constructor(missing: readonly string[]) {
    super(`${missing.join("\n")}\nset what is missing and push again; nothing was changed`);
    this.name = "MissingSecretsError";
  }
}

/** What a release loads, by credential: which versions, and of those made on the host the sha256 of their text. */
export interface Sealed {
  readonly credentials: ReleaseInput["credentials"];
  readonly generated: ReleaseInput["generated"];
  /** Names of those that the host did not have in this version. */
  readonly sealed: string[];
}

export interface SealOptions {
  /** Folder that relative paths of the spec's secrets start from. */
  readonly project: string;
  readonly progress: (line: string) => void;
  readonly dryRun?: boolean;
  /** Credentials made on the host that are to be made anew. */
  readonly renew?: readonly string[];
}

/**
 * Sends the secrets that are at hand; for those that are not, what the host has is kept. With `dryRun` the host only says
 * which versions they have, and what it would make itself is named by zeros.
 * @throws MissingSecretsError naming every secret that is neither here nor on the host, before anything was sent
 */
export async function sealCredentials(
  activator: Activator,
  spec: HostSpec,
  facts: Pick<HostFacts, "credentials">,
  options: SealOptions,
): Promise<Sealed> {
  const { project, progress, dryRun = false, renew = [] } = options;
  const required = requiredCredentials(spec);
  const set: Record<string, string> = {};
  const kept: Record<string, string> = {};
  const missing: string[] = [];
  for (const name of required.secrets) {
    const source = spec.secrets[name]?.source;
    if (source === undefined) throw new HostError("seal", `secrets.${name}: no such secret in the spec`);
    const credential = `secret.${name}`;
    const resolved = await resolveSecret(source, project);
    const known = facts.credentials[credential];
    if (resolved.ok) set[credential] = resolved.value.toString("base64");
    else if (known !== undefined) kept[credential] = known;
    else {
      const remedy = resolved.remedy === undefined ? "" : `; ${resolved.remedy}`;
      missing.push(`secrets.${name}: ${resolved.reason}, and the host does not have it yet${remedy}`);
    }
  }
  if (missing.length > 0) throw new MissingSecretsError(missing);
  // named only where they are meant: a host's older activator may not know them
  const more = { ...(renew.length === 0 ? {} : { renew: [...renew] }), ...(dryRun ? { dryRun } : {}) };
  const answer = await activator.seal({ set, generate: required.generated, ...more });
  const { versions } = answer;
  const changed = [...Object.keys(versions).filter((name) => facts.credentials[name] !== versions[name]), ...renew];
  if (!dryRun && changed.length > 0) progress(`sealed ${changed.join(", ")}`);
  const unmade = required.generated.filter((name) => answer.generated[name] === undefined);
  const nothing = { version: "0".repeat(32), sha256: "0".repeat(64) };
  return {
    credentials: { ...kept, ...answer.versions },
    generated: dryRun
      ? { ...answer.generated, ...Object.fromEntries(unmade.map((name) => [name, nothing])) }
      : answer.generated,
    sealed: dryRun ? [...changed, ...unmade] : changed,
  };
}
