import type { Component } from "../bundle/component.ts";
import { quotaNotice, workspaceQuotas } from "../policy/workspaces/quotas.ts";
import type { HostSpec } from "../spec/host-spec.ts";
import type { ReleaseFile } from "../spec/manifest.ts";
import type { Activator } from "./activator-client.ts";
import { renderRelease } from "./render/release.ts";
import { sealCredentials } from "./seal.ts";

/** One file of the release that a push would add, change or remove. */
interface FileChange {
  readonly path: string;
  readonly change: "added" | "changed" | "removed";
  /** Lines that go and come, in the order of the file; nothing for what is added or removed whole. */
  readonly removed: readonly string[];
  readonly added: readonly string[];
}

/** What a push would do. */
export interface DryRun {
  readonly release: string;
  readonly current: string | null;
  readonly files: readonly FileChange[];
  readonly restart: readonly string[];
  readonly stop: readonly string[];
  /** What else there is to know beforehand; null: nothing. */
  readonly notice: string | null;
  /** Components that would be uploaded. */
  readonly upload: readonly string[];
  /** Names of the credentials that the host does not have in this version. */
  readonly secrets: readonly string[];
}

/**
 * Says what a push would change on a host that has a release, file by file; secrets by name only. Nothing is changed.
 * Their values do travel to the host, which alone can tell whether they are the ones it has.
 * @throws HostError, MissingSecretsError
 */
export async function dryRun(options: {
  activator: Activator;
  spec: HostSpec;
  kitVersion: string;
  emulated: boolean;
  components: Readonly<Record<string, Component>>;
  project: string;
}): Promise<DryRun> {
  const { activator, spec, kitVersion, emulated, components, project } = options;
  const facts = await activator.facts();
  const quiet = { project, progress: () => {}, dryRun: true };
  const { credentials, generated, sealed } = await sealCredentials(activator, spec, facts, quiet);
  const digests = Object.fromEntries(Object.entries(components).map(([name, { digest }]) => [name, digest]));
  const { resolvers, ipv6Only = false } = facts;
  const input = { spec, kitVersion, components: digests, credentials, generated, resolvers, ipv6Only, emulated };
  const { digest, files } = renderRelease(input);
  const { release: current, files: before } = await activator.files();
  const changes = compareFiles(before, files);
  const now = unitsOf(files);
  const mountsAnew = facts.projectQuotas === "off" && workspaceQuotas(spec).length > 0;
  return {
    release: digest,
    current,
    files: changes,
    restart: [...(mountsAnew ? now : unitsOf(changes))].filter((unit) => now.has(unit)).sort(),
    stop: [...unitsOf(before)].filter((unit) => !now.has(unit)).sort(),
    notice: quotaNotice(spec, facts.projectQuotas),
    upload: Object.entries(digests).flatMap(([name, one]) => (facts.components.includes(one) ? [] : [name])),
    secrets: sealed,
  };
}

/** The units that files of a release decide about; probe units run only when they are asked to. */
function unitsOf(files: readonly { path: string }[]): Set<string> {
  const units = files.flatMap(({ path }) => /^units\/([^/@]+\.service)(\.d\/|$)/.exec(path)?.[1] ?? []);
  return new Set(units);
}

/** Differences of two releases, by path. The manifest, which only lists the others, is left out. */
export function compareFiles(
  before: readonly { path: string; content: string }[],
  after: readonly Pick<ReleaseFile, "path" | "content">[],
): FileChange[] {
  const old = new Map(before.map(({ path, content }) => [path, content]));
  const now = new Map(after.map(({ path, content }) => [path, content]));
  const changes: FileChange[] = [];
  for (const path of [...new Set([...old.keys(), ...now.keys()])].sort()) {
    if (path === "manifest.json" || old.get(path) === now.get(path)) continue;
    const [was, is] = [old.get(path), now.get(path)];
    if (was === undefined) changes.push({ path, change: "added", removed: [], added: [] });
    else if (is === undefined) changes.push({ path, change: "removed", removed: [], added: [] });
    else changes.push({ path, change: "changed", ...compareLines(was.split("\n"), is.split("\n")) });
  }
  return changes;
}

/** Lines that one text has more often than the other. */
function compareLines(was: string[], is: string[]): { removed: string[]; added: string[] } {
  const beyond = (lines: string[], others: string[]) => {
    const left = new Map<string, number>();
    for (const line of others) left.set(line, (left.get(line) ?? 0) + 1);
    return lines.filter((line) => {
      const count = left.get(line) ?? 0;
      left.set(line, count - 1);
      return count <= 0;
    });
  };
  return { removed: beyond(was, is), added: beyond(is, was) };
}
