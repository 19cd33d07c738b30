import { expect, it } from "vitest";
import { quotaNotice } from "../../../../runtime/policy/workspaces/quotas.ts";
import type { WorkspaceSpec } from "../../../../runtime/policy/workspaces/schema.ts";
import { renderRelease } from "../../../../runtime/release/render/release.ts";
import { sampleInput, sampleSpec } from "./sample.ts";

const release = (repo: WorkspaceSpec, seedDigest?: string) => {
  const input = sampleInput(sampleSpec((spec) => Object.assign(spec.workspaces, { repo })));
  const components = seedDigest === undefined ? input.components : { ...input.components, "seed-repo": seedDigest };
  return renderRelease({ ...input, components });
};
const seed: WorkspaceSpec = { seed: { kind: "folder", source: "./seed" } };

it("another quota, or a seed of other files, is another release, and changes no unit", () => {
  const all = [
    release({}),
    release({ quotaMiB: 32 }),
    release({ quotaMiB: 64 }),
    release(seed),
    release(seed, "b".repeat(64)),
  ];
  expect(new Set(all.map(({ digest }) => digest)).size).toBe(all.length);
  const units = all.map(({ files }) => JSON.stringify(files.filter(({ path }) => path.startsWith("units/"))));
  expect(new Set(units).size).toBe(1);
  expect(all.at(-1)?.manifest.seeds).toEqual([
    { path: "/var/lib/bailiwick/workspaces/repo", component: "b".repeat(64) },
  ]);
});

it("a push says what a quota takes of the host, and where it does nothing", () => {
  const told = (repo: WorkspaceSpec, host: Parameters<typeof quotaNotice>[1]) =>
    quotaNotice(
      sampleSpec((spec) => Object.assign(spec.workspaces, { repo })),
      host,
    );
  expect(told({ quotaMiB: 32 }, "off")).toMatch(/mounted anew .* every unit stops/);
  expect(told({ quotaMiB: 32 }, "none")).toMatch(/not enforced: the host's kernel/);
  expect(told({ quotaMiB: 32 }, "on")).toBeNull();
  // an older activator does not say
  expect(told({ quotaMiB: 32 }, undefined)).toBeNull();
  expect(told({}, "off")).toBeNull();
});
