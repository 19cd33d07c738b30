import { hostPrincipals } from "../policy/egress/principals.ts";
import { unitCredentials } from "../policy/secrets/credentials.ts";
import type { HostSpec } from "../spec/host-spec.ts";
import { requiredCredentials } from "./render/requirements.ts";
import { describeSource, resolveSecret } from "./secrets.ts";

/** One credential of a host: where it comes from, whether it can be had here, and who is given it. */
export interface CredentialReport {
  /** `secret.<name>` for the operator's, `agent.<agent>.<what>` for those the host makes itself. */
  readonly name: string;
  /** For people: `environment variable X`, or `made on the host`. */
  readonly source: string;
  /** Whether its value can be had on this computer, and if not why. Null for what the host makes. */
  readonly here: { readonly ok: boolean; readonly reason: string | null } | null;
  /** Units that are given it. */
  readonly readers: readonly string[];
}

/** Every credential that the host's units need, by name. Values are read and forgotten. */
export async function reportCredentials(spec: HostSpec, project: string): Promise<CredentialReport[]> {
  const { secrets, generated } = requiredCredentials(spec);
  const principals = hostPrincipals(spec);
  const readers = (name: string) =>
    principals.filter((principal) => unitCredentials(spec, principal).includes(name)).map(({ unit }) => unit);
  const reports: CredentialReport[] = [];
  for (const secret of secrets) {
    const source = spec.secrets[secret]?.source;
    if (source === undefined) continue;
    const resolved = await resolveSecret(source, project);
    const here = resolved.ok ? { ok: true, reason: null } : { ok: false, reason: whyMissing(resolved) };
    const name = `secret.${secret}`;
    reports.push({ name, source: describeSource(source), here, readers: readers(name) });
  }
  for (const name of generated) reports.push({ name, source: "made on the host", here: null, readers: readers(name) });
  return reports.sort((a, b) => (a.name < b.name ? -1 : 1));
}

function whyMissing({ reason, remedy }: { reason: string; remedy?: string }): string {
  return remedy === undefined ? reason : `${reason}; ${remedy}`;
}

/**
 * Before a machine is replaced: a new one has none of the secrets that the old one kept.
 * @throws MissingAtHandError naming every secret that cannot be had here
 */
export async function requireSecretsAtHand(spec: HostSpec, project: string): Promise<void> {
  const missing = (await reportCredentials(spec, project)).flatMap(({ name, here }) =>
    here?.ok === false ? [`${name.replace(/^secret\./, "secrets.")}: ${here.reason}`] : [],
  );
  if (missing.length > 0) throw new MissingAtHandError(spec.name, missing);
}

class MissingAtHandError extends Error {
  constructor(host: string, missing: readonly string[]) {
    super(
      `${missing.join("\n")}\nthe machine of "${host}" is to be replaced, and the new one has none of the secrets that the old one keeps; ` +
        "set what is missing and deploy again; the old machine was not touched",
    );
    this.name = "MissingAtHandError";
  }
}
