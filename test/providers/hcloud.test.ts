import { readdirSync, readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { HcloudProvider } from "../../constructs/imports/hcloud/provider/index.ts";
import { providerVersion } from "../../scripts/provider-mirror.ts";

describe("bindings of the Hetzner provider", () => {
  const folder = "constructs/imports/hcloud";

  it("are of the version that go.mod pins, which go.sum knows by its hash", () => {
    const version = providerVersion();
    expect(readFileSync("providers/hcloud/go.sum", "utf8")).toMatch(
      new RegExp(`^github.com/hetznercloud/terraform-provider-hcloud v${version} h1:`, "m"),
    );
    for (const name of readdirSync(folder).filter((entry) => !entry.endsWith(".ts"))) {
      const text = readFileSync(`${folder}/${name}/index.ts`, "utf8");
      expect(text, `${name} is out of date; run npm run bindings`).toContain(`/hcloud/${version}/docs`);
      expect(text).toContain("generated from terraform resource schema");
    }
    expect(HcloudProvider.tfResourceType).toBe("hcloud");
  });

  it("are those of at least 1.68.0", () => {
    const [major = 0, minor = 0] = providerVersion().split(".").map(Number);
    expect(major > 1 || minor >= 68).toBe(true);
  });
});
