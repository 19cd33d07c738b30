import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";

// npm writes a lock file from what is installed already if it can, and then leaves out what is for other platforms: there
// `npm ci` refuses it. npm also notes where it fetched from, which on another machine may not be reachable.

interface Package {
  version?: string;
  integrity?: string;
  resolved?: string;
  link?: boolean;
  inBundle?: boolean;
  dependencies?: Record<string, string>;
  optionalDependencies?: Record<string, string>;
}
type Packages = Record<string, Package>;

const EXACT = /^\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?$/;

/** Where a package finds one that it needs: in its own node_modules, else in those of the folders above. */
function found(packages: Packages, from: string, name: string): string | undefined {
  const folders =
    from === "" ? [] : from.split("/node_modules/").map((_, i, all) => all.slice(0, i + 1).join("/node_modules/"));
  return ["", ...folders]
    .map((folder) => `${folder === "" ? "" : `${folder}/`}node_modules/${name}`)
    .reverse()
    .find((at) => at in packages);
}

function problems(packages: Packages): string[] {
  return Object.entries(packages).flatMap(([at, one]) => {
    const needed = Object.entries({ ...one.dependencies, ...one.optionalDependencies });
    return [
      ...needed.flatMap(([name, wanted]) => {
        const place = found(packages, at, name);
        if (place === undefined) return [`${at || "the root"} needs ${name}@${wanted}, which has no entry`];
        const version = packages[place]?.version;
        return EXACT.test(wanted) && version !== wanted
          ? [`${at || "the root"} needs ${name}@${wanted}, ${place} is ${version}`]
          : [];
      }),
      // what is bundled inside another package is covered by that one's hash
      ...(at === "" || one.inBundle || one.link || /^sha512-/.test(one.integrity ?? "")
        ? []
        : [`${at} has no integrity`]),
      ...(one.resolved === undefined || one.link ? [] : [`${at} names where it was fetched from`]),
    ];
  });
}

const files = execFileSync("git", ["ls-files", "package-lock.json", "**/package-lock.json"], { encoding: "utf8" })
  .trim()
  .split("\n");

describe("a lock file of this repository", () => {
  it.each(files)("is whole: %s", (file) => {
    const { lockfileVersion, packages } = JSON.parse(readFileSync(file, "utf8")) as {
      lockfileVersion: number;
      packages: Packages;
    };
    expect(lockfileVersion).toBe(3);
    expect(Object.keys(packages).length).toBeGreaterThan(1);
    expect(problems(packages)).toEqual([]);
  });

  it("asks for what its package.json asks for", () => {
    for (const file of files) {
      const own = JSON.parse(readFileSync(file.replace("package-lock", "package"), "utf8"));
      const root = JSON.parse(readFileSync(file, "utf8")).packages[""];
      for (const kind of ["dependencies", "devDependencies", "peerDependencies", "optionalDependencies"])
        expect(root[kind] ?? {}, `${kind} of ${file}`).toEqual(own[kind] ?? {});
    }
  });
});

describe("a lock file that is not whole", () => {
  const integrity = "sha512-AAAA";
  const whole: Packages = {
    "": { dependencies: { a: "^1.0.0" } },
    "node_modules/a": { version: "1.2.0", integrity, optionalDependencies: { "@a/linux": "1.2.0", "@a/mac": "1.2.0" } },
    "node_modules/@a/linux": { version: "1.2.0", integrity },
    "node_modules/a/node_modules/@a/mac": { version: "1.2.0", integrity, dependencies: { a: "1.2.0" } },
  };
  const without = (at: string) => Object.fromEntries(Object.entries(whole).filter(([key]) => key !== at));

  it("is told from one that is", () => {
    expect(problems(whole)).toEqual([]);
    expect(problems(without("node_modules/a/node_modules/@a/mac"))).toEqual([
      "node_modules/a needs @a/mac@1.2.0, which has no entry",
    ]);
    expect(problems({ ...whole, "node_modules/@a/linux": { version: "1.1.0", integrity } })).toEqual([
      "node_modules/a needs @a/linux@1.2.0, node_modules/@a/linux is 1.1.0",
    ]);
    expect(problems({ ...whole, "node_modules/@a/linux": { version: "1.2.0" } })).toEqual([
      "node_modules/@a/linux has no integrity",
    ]);
    expect(problems({ ...whole, "node_modules/@a/linux": { version: "1.2.0", integrity, resolved: "x" } })).toEqual([
      "node_modules/@a/linux names where it was fetched from",
    ]);
  });

  it("is not taken for whole by a package that only another one has", () => {
    const hidden = {
      ...without("node_modules/@a/linux"),
      "node_modules/b/node_modules/@a/linux": { version: "1.2.0", integrity },
    };
    expect(problems(hidden)).toEqual(["node_modules/a needs @a/linux@1.2.0, which has no entry"]);
  });
});
