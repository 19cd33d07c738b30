import type { PrincipalId } from "../../spec/names.ts";
import { hostPrincipals } from "../egress/principals.ts";
import { broken, held, mustFail, together, unless, unprovable, words } from "../judgement.ts";
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
  return [
    ...each,
    ...(manifest.acls.length > 0 ? [acls({ spec, manifest })] : []),
    ...(manifest.quotas === undefined ? [] : [quotas(manifest.quotas)]),
  ];
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

interface QuotaFacts {
  readonly mounts: Outcome;
  readonly report: Outcome;
  readonly projects: readonly Outcome[];
  /** Where XFS tells of quotas, if it was built with them. */
  readonly kernel: Outcome;
}

const DATA = "/var/lib/bailiwick";

/** Whether the file system counts each workspace and holds it to its quota. Writing past one is not verify's to try. */
function quotas(wanted: NonNullable<Subject["manifest"]["quotas"]>): Probe<QuotaFacts> {
  return {
    id: "root/workspace-quotas",
    vantage: "root",
    title: "the file system holds workspaces to their quotas",
    expected: wanted.map(({ path, mib }) => `${path}: ${mib} MiB`).join(", "),
    read: async (host) => {
      const run = (...argv: string[]) => host.root({ do: "run", argv, seconds: 10 });
      const [mounts, kernel, report, ...projects] = await Promise.all([
        host.root({ do: "text", path: "/proc/self/mountinfo" }),
        host.root({ do: "exists", path: "/proc/fs/xfs/xqmstat" }),
        run("xfs_quota", "-x", "-c", "report -p -b -n -N", DATA),
        ...wanted.map(({ path }) => run("xfs_io", "-r", "-c", "lsproj", "-c", "lsattr", path)),
      ]);
      return { mounts, kernel, report, projects };
    },
    judge: ({ mounts, kernel, report, projects }) => {
      if (!mounts.ok) return unprovable(words(mounts), "the mounts could not be read");
      const mount = String(mounts.value)
        .split("\n")
        .find((line) => line.split(" ")[4] === DATA);
      if (!(mount?.split(/[ ,]/).includes("prjquota") ?? false))
        return kernel.ok
          ? broken("none is in force: the data volume is mounted without project quotas; push again")
          : unprovable(
              "none is in force",
              "this kernel has no project quotas of XFS: workspaces are bounded by the data volume alone",
            );
      if (!report.ok) return broken(`the quotas cannot be read: ${words(report)}`);
      const limits = new Map(
        (report.value as { stdout: string }).stdout.split("\n").flatMap((line) => {
          const [, project, hard] = /^#(\d+)\s+\d+\s+\d+\s+(\d+)\s/.exec(line) ?? [];
          return project === undefined ? [] : [[Number(project), Number(hard) / 1024] as const];
        }),
      );
      return unless(
        wanted.flatMap(({ path, project, mib }, i) => {
          const { stdout = "" } = (projects[i]?.value ?? {}) as { stdout?: string };
          const [own] = /(?<=projid = )\d+/.exec(stdout) ?? [];
          const inherits = /^[a-zA-Z-]*P[a-zA-Z-]* /m.test(stdout);
          return [
            ...(Number(own) === project && inherits ? [] : [`${path} is not counted`]),
            ...(limits.get(project) === mib ? [] : [`${path} may hold ${limits.get(project) || "any number of"} MiB`]),
          ];
        }),
        "as in the spec",
      );
    },
  };
}
