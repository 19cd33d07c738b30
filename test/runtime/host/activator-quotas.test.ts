import { expect, it } from "vitest";
import { loadTemplate, render } from "../../../cloud-init/render.ts";
import { QUOTA_OPTIONS } from "../../../runtime/host/activator/quotas.ts";

it("mounts the data volume with the baseline's own options, and project quotas", () => {
  const template = loadTemplate(new URL("../../../cloud-init/files/var-lib-bailiwick.mount.hbs", import.meta.url));
  const unit = render(template, { dataDevice: "/dev/disk/by-id/bailiwick-data" });
  expect(QUOTA_OPTIONS).toBe(`${/^Options=(.*)$/m.exec(unit)?.[1]},prjquota`);
});
