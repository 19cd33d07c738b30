import { execFileSync, spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { parseHostSpec } from "../../runtime/spec/host-spec.ts";

// A team's project that has the kit as a package: what `npm pack` makes of it, and nothing else of this clone but the
// packages it depends on.
const MAIN = `
import { App, TerraformOutput, TerraformStack } from "cdktf";
import { Access, AgentHost, HetznerMachine, hcloud, ModelProvider, Runtime, Secret } from "bailiwick";

class Team extends TerraformStack {
  constructor(scope: App, id: string) {
    super(scope, id);
    const provider = new hcloud.provider.HcloudProvider(this, "hcloud");
    const volume = new hcloud.volume.Volume(this, "volume", { provider, name: "ours", size: 20, location: "nbg1" });
    const machine = new HetznerMachine(this, "machine", { serverType: "cx23", location: "nbg1", volumeId: volume.id });
    const host = new AgentHost(this, "ours", {
      machine,
      access: Access.ssh({ admins: { ada: "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEkV2asJ/c/qE3n5UjrlKMnt1kjcLm4YzVGN1UyGEMsU ada" }, from: ["203.0.113.0/24"] }),
    });
    const agent = host.addAgent("clock", { runtime: Runtime.command({ source: "daemon", argv: ["node", "./main.mjs"] }) });
    host.addModel("claude", ModelProvider.anthropic({ apiKey: Secret.fromEnv("ANTHROPIC_API_KEY") })).grantInvoke(agent, { models: ["claude-sonnet-4-6"] });
    new TerraformOutput(this, "server", { value: machine.server.id });
  }
}

const app = new App();
new Team(app, "team");
app.synth();
`;

describe("the kit as a package of another project", () => {
  let folder: string;
  let kit: string;

  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), "bailiwick-team-"));
    kit = join(folder, "node_modules/bailiwick");
    mkdirSync(kit, { recursive: true });
    const packed = execFileSync("npm", ["pack", "--silent", "--pack-destination", folder], { encoding: "utf8" }).trim();
    execFileSync("tar", ["-xzf", join(folder, packed.split("\n").at(-1) ?? ""), "--strip-components=1", "-C", kit]);
    for (const name of readdirSync("node_modules").filter(
      (one) => one !== "bailiwick" && !one.startsWith(".bailiwick"),
    ))
      symlinkSync(resolve("node_modules", name), join(folder, "node_modules", name));
    writeFileSync(join(folder, "package.json"), JSON.stringify({ type: "module" }));
    writeFileSync(
      join(folder, "cdktf.json"),
      JSON.stringify({ language: "typescript", app: "node --import tsx main.ts" }),
    );
    writeFileSync(join(folder, "main.ts"), MAIN);
    mkdirSync(join(folder, "daemon"));
    writeFileSync(join(folder, "daemon/main.mjs"), "");
  });

  afterAll(() => rmSync(folder, { recursive: true }));

  it("holds what it needs and no test, stack or example", () => {
    expect(readdirSync(kit).sort()).toEqual(
      "CHANGELOG.md LICENSE README.md SECURITY.md bin cloud-init constructs package.json runtime tsconfig.json".split(
        " ",
      ),
    );
    expect(readdirSync(join(kit, "runtime/bundle/node"))).toEqual(["package-lock.json", "package.json"]);
  });

  it("synthesises the team's own stack, with its volume and its outputs, and names the package's own command", {
    timeout: 90_000,
  }, () => {
    execFileSync(process.execPath, [resolve("test/run-typescript.mjs"), "main.ts"], { cwd: folder, stdio: "pipe" });
    const stack = join(folder, "cdktf.out/stacks/team");
    const tf = JSON.parse(readFileSync(join(stack, "cdk.tf.json"), "utf8"));
    parseHostSpec(JSON.parse(readFileSync(join(stack, "bailiwick/ours.json"), "utf8")));
    expect(Object.keys(tf.resource.hcloud_volume)).toHaveLength(1);
    const [server] = Object.values<{ user_data: string }>(tf.resource.hcloud_server);
    expect(server?.user_data).toContain(`scsi-0HC_Volume_\${hcloud_volume.volume.id}`);
    const commands = Object.values<{ provisioner?: { "local-exec": { command: string } }[] }>(
      tf.resource.terraform_data,
    )
      .flatMap((one) => one.provisioner ?? [])
      .map((one) => one["local-exec"].command);
    const command = "node ../../../node_modules/bailiwick/bin/bailiwick.mjs";
    expect(commands.sort()).toEqual([
      expect.stringMatching(`^${command} machine drain ours --spec bailiwick/ours.json --from-terraform --generation `),
      `${command} push ours --spec bailiwick/ours.json --from-terraform`,
    ]);
  });

  it("runs the command, in the team's project", () => {
    const ran = spawnSync(process.execPath, [join(kit, "bin/bailiwick.mjs"), "status", "nobody"], {
      cwd: folder,
      encoding: "utf8",
    });
    expect(ran.status).toBe(2);
    expect(ran.stderr).toContain('received host "nobody"; this project has "ours"');
  });
});
