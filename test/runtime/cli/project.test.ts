import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { UsageError } from "../../../runtime/cli/errors.ts";
import { projectHosts, projectRoot } from "../../../runtime/cli/project.ts";
import { SpecError } from "../../../runtime/spec/host-spec.ts";
import { sampleSpec } from "../release/render/sample.ts";

let root = "";
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "bailiwick-project-"));
});
afterEach(() => rmSync(root, { recursive: true }));

function write(path: string, content: unknown) {
  mkdirSync(dirname(join(root, path)), { recursive: true });
  writeFileSync(join(root, path), JSON.stringify(content));
}
const spec = (name: string) =>
  sampleSpec((s) => {
    s.name = name;
  });

describe("the project", () => {
  it("is the nearest folder upwards with a cdktf.json", () => {
    write("cdktf.json", {});
    write("apps/inner/cdktf.json", {});
    mkdirSync(join(root, "apps/inner/deep/er"), { recursive: true });
    expect(projectRoot(join(root, "apps/inner/deep/er"))).toBe(join(root, "apps/inner"));
    expect(projectRoot(join(root, "apps"))).toBe(root);
  });

  it("is nowhere outside of one, and the message says where to run the command", () => {
    const outside = () => projectRoot(root);
    expect(outside).toThrow(UsageError);
    expect(outside).toThrow(`there is no cdktf.json in ${root} or above; run this in your project's folder`);
  });
});

describe("the hosts of a project", () => {
  it("are none before anything is synthesised", () => {
    write("cdktf.json", {});
    expect(projectHosts(root)).toEqual([]);
  });

  it("are those of all stacks, several in one too; a stack without hosts has none", () => {
    write("cdktf.json", {});
    write("cdktf.out/stacks/prod/bailiwick/ops.json", spec("ops"));
    write("cdktf.out/stacks/prod/bailiwick/web.json", spec("web"));
    write("cdktf.out/stacks/lab/bailiwick/box.json", spec("box"));
    write("cdktf.out/stacks/lab/bailiwick/box.user-data", "not a spec");
    write("cdktf.out/stacks/network/cdk.tf.json", {});
    const hosts = projectHosts(root).sort((a, b) => (a.name < b.name ? -1 : 1));
    expect(hosts.map(({ name, stack }) => [name, stack])).toEqual([
      ["box", "lab"],
      ["ops", "prod"],
      ["web", "prod"],
    ]);
    expect(hosts[1]).toMatchObject({
      spec: spec("ops"),
      stackDir: join(root, "cdktf.out/stacks/prod"),
      specPath: join(root, "cdktf.out/stacks/prod/bailiwick/ops.json"),
    });
  });

  it("are looked for where cdktf.json says that the output goes", () => {
    write("cdktf.json", { output: "build/terraform" });
    write("build/terraform/stacks/lab/bailiwick/box.json", spec("box"));
    write("cdktf.out/stacks/old/bailiwick/stale.json", spec("stale"));
    expect(projectHosts(root).map(({ name }) => name)).toEqual(["box"]);
  });

  it("are refused with the path in the spec when one is not valid", () => {
    write("cdktf.json", {});
    write("cdktf.out/stacks/lab/bailiwick/box.json", { ...spec("box"), os: "debian-11" });
    expect(() => projectHosts(root)).toThrow(SpecError);
    expect(() => projectHosts(root)).toThrow(/^os: /);
  });
});
