import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, readlinkSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { hostFile } from "./host-files.ts";

let root: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "bailiwick-generator-"));
  mkdirSync(join(root, "out"));
});
afterEach(() => rmSync(root, { recursive: true }));

function generate() {
  const program = join(root, "generator");
  const generator = hostFile("/usr/lib/systemd/system-generators/bailiwick-release");
  writeFileSync(program, generator.replaceAll("/opt/bailiwick", root));
  const { status } = spawnSync("sh", [program, join(root, "out"), join(root, "early"), join(root, "late")]);
  return { status, links: listed("out") };
}

function listed(folder: string): string[] {
  return readdirSync(join(root, folder), { withFileTypes: true })
    .flatMap((entry) => [
      entry.name,
      ...(entry.isDirectory() ? listed(`${folder}/${entry.name}`).map((name) => `${entry.name}/${name}`) : []),
    ])
    .sort();
}

function release(units: Record<string, string>) {
  const folder = join(root, "releases/a/units");
  mkdirSync(folder, { recursive: true });
  for (const [name, text] of Object.entries(units)) {
    mkdirSync(join(folder, name, ".."), { recursive: true });
    writeFileSync(join(folder, name), text);
  }
  symlinkSync("releases/a", join(root, "current"));
}

describe("generator of release units", () => {
  it("links every unit and drop-in folder, and wants the services that have [Install]", () => {
    const install = "[Service]\nExecStart=/bin/true\n[Install]\nWantedBy=multi-user.target\n";
    release({
      "bailiwick-agent-ops.service": install,
      "bailiwick-agent-ops.service.d/50-sandbox.conf": "[Service]\n",
      "bailiwick-agent-ops-probe@.service": install,
      "bailiwick-once.service": "[Service]\nExecStart=/bin/echo [Install]\n",
      "bailiwick-x.socket": "[Install]\n",
    });
    expect(generate()).toEqual({
      status: 0,
      links: [
        "bailiwick-agent-ops-probe@.service",
        "bailiwick-agent-ops.service",
        "bailiwick-agent-ops.service.d",
        "bailiwick-once.service",
        "bailiwick-x.socket",
        "multi-user.target.wants",
        "multi-user.target.wants/bailiwick-agent-ops.service",
      ],
    });
    expect(readlinkSync(join(root, "out/bailiwick-once.service"))).toBe(
      join(root, "current/units/bailiwick-once.service"),
    );
  });

  it("does nothing, and does not fail, when there is no release or its link is broken", () => {
    expect(generate()).toEqual({ status: 0, links: [] });
    symlinkSync("releases/gone", join(root, "current"));
    expect(generate()).toEqual({ status: 0, links: [] });
  });
});
