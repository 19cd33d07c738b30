import type { PrincipalId } from "../../spec/names.ts";
import { hostPrincipals } from "../egress/principals.ts";
import { broken, held, mustFail, together, words } from "../judgement.ts";
import type { Outcome, Probe, Subject } from "../probe.ts";
import { type WorkspaceMount, workspaceMounts, workspacePath } from "./mounts.ts";

/** What of the disk each agent, shell and MCP server sees: its granted workspaces, in their mode, and no other. */
export function workspaceProbes({ spec, manifest }: Subject): Probe[] {
  const names = Object.keys(spec.workspaces).sort();
  const grantable = hostPrincipals(spec).filter(({ kind }) => ["agent", "shell", "mcp"].includes(kind));
  const each = grantable.flatMap(({ id }) => {
    const mounts = workspaceMounts(spec, id);
    const ungranted = names.filter((name) => !mounts.some(({ workspace }) => workspace === name));
    return [...mounts.map((mount) => granted(id, mount)), hidden(id, ungranted)];
  });
  return manifest.acls.length > 0 ? [...each, acls({ spec, manifest })] : each;
}

interface Tried {
  readonly read: Outcome;
  readonly write: Outcome;
  readonly execute: Outcome | null;
}

function granted(principal: PrincipalId, { workspace, target, mode }: WorkspaceMount): Probe<Tried> {
  const writable = mode === "rw";
  return {
    id: `${principal}/workspace/${workspace}`,
    vantage: `principal:${principal}`,
    title: writable
      ? `reads and writes workspace "${workspace}", and runs no program from it`
      : `reads workspace "${workspace}" and cannot write it`,
    expected: writable ? "written, no program run" : "read, not written",
    read: async (host) => {
      const [read, write, execute] = await Promise.all([
        host.as(principal, { do: "read", path: target }),
        host.as(principal, { do: "create", directory: target }),
        writable ? host.as(principal, { do: "run-copy", directory: target }) : null,
      ]);
      return { read, write, execute };
    },
    judge: ({ read, write, execute }) => {
      if (!read.ok) return broken(`it cannot be read: ${words(read)}`);
      if (!writable) return together([held("read"), mustFail("written", write)]);
      if (!write.ok) return broken(`it cannot be written: ${words(write)}`);
      return execute === null ? held("written") : together([held("written"), mustFail("program from it", execute)]);
    },
  };
}

function hidden(principal: PrincipalId, ungranted: readonly string[]): Probe<{ path: string; outcome: Outcome }[]> {
  const paths = [
    ...ungranted.flatMap((name) => [`/workspaces/${name}`, workspacePath(name)]),
    // also those that were granted once and are still on the volume
    "/var/lib/bailiwick/workspaces",
  ];
  return {
    id: `${principal}/other-workspaces`,
    vantage: `principal:${principal}`,
    title: "sees no workspace without a grant",
    expected: ungranted.length === 0 ? "no other workspace in sight" : `${ungranted.join(", ")} not in sight`,
    read: (host) =>
      Promise.all(paths.map(async (path) => ({ path, outcome: await host.as(principal, { do: "read", path }) }))),
    judge: (facts) => together(facts.map(({ path, outcome }) => mustFail(path, outcome))),
  };
}

function acls({ manifest }: Subject): Probe<Outcome[]> {
  const paths = [...new Set(manifest.acls.map(({ path }) => path))];
  const wanted = (path: string) =>
    manifest.acls
      .filter((acl) => acl.path === path)
      .map(({ user, mode }) => `user:${user}:${mode === "rw" ? "rwx" : "r-x"}`)
      .sort();
  return {
    id: "root/workspace-acls",
    vantage: "root",
    title: "each workspace is open to whom it is granted, and to nobody else",
    expected: `${paths.length} workspaces, each with its grants`,
    read: (host) =>
      Promise.all(
        paths.map((path) =>
          host.root({ do: "run", argv: ["getfacl", "--absolute-names", "--omit-header", "--", path], seconds: 10 }),
        ),
      ),
    judge: (facts) =>
      together(
        facts.map((outcome, i) => {
          const path = paths[i] ?? "";
          if (!outcome.ok) return broken(`${path}: ${words(outcome)}`);
          const { stdout } = outcome.value as { stdout: string };
          // what a mask holds back stands behind the entry as a comment
          const lines = stdout.split("\n").map((line) => line.split("\t")[0]?.trim() ?? "");
          const found = lines.filter((line) => /^user:[^:]+:/.test(line)).sort();
          // the owning group is root's own; its bits are the mask of what is granted
          const open = lines.filter((line) => /^(other:|group:[^:]+):.*[rwx]/.test(line));
          const wrong = [
            ...found.filter((line) => !wanted(path).includes(line)),
            ...wanted(path)
              .filter((line) => !found.includes(line))
              .map((line) => `${line} missing`),
            ...open,
          ];
          return wrong.length === 0 ? held(`${path} as granted`) : broken(`${path}: ${wrong.join(", ")}`);
        }),
      ),
  };
}
