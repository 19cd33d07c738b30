import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, realpathSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { loadTemplate, render } from "../../../cloud-init/render.ts";
import { holdersOf, QUOTA_OPTIONS } from "../../../runtime/host/activator/quotas.ts";

it("mounts the data volume with the baseline's own options, and project quotas", () => {
  const template = loadTemplate(new URL("../../../cloud-init/files/var-lib-bailiwick.mount.hbs", import.meta.url));
  const unit = render(template, { dataDevice: "/dev/disk/by-id/bailiwick-data" });
  expect(QUOTA_OPTIONS).toBe(`${/^Options=(.*)$/m.exec(unit)?.[1]},prjquota`);
});

it("names who keeps a volume from being unmounted, and nobody beside it", async () => {
  const folder = realpathSync(mkdtempSync(join(tmpdir(), "bailiwick-holders-")));
  for (const name of ["volume/below", "volume-beside"]) mkdirSync(join(folder, name), { recursive: true });
  const stays = (cwd: string) => spawn("sleep", ["60"], { cwd: join(folder, cwd) });
  const [inside, beside] = [stays("volume/below"), stays("volume-beside")];
  try {
    await Promise.all([once(inside, "spawn"), once(beside, "spawn")]);
    expect(await holdersOf(join(folder, "volume"))).toEqual([`sleep (${inside.pid})`]);
    expect(await holdersOf(join(folder, "none"))).toEqual([]);
  } finally {
    for (const child of [inside, beside]) child.kill();
    rmSync(folder, { recursive: true });
  }
});
