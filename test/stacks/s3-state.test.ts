import { readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { S3Backend, type TerraformStack } from "cdktf";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Access, AgentHost, LocalMachine } from "../../constructs/index.ts";
import { generateSshKeyPair } from "../../constructs/openssh-key.ts";
import { findHost, readBindings } from "../../runtime/cli/project.ts";
import { motoMissing, startMoto } from "../fixtures/moto.ts";
import { bindingsOf, TerraformProject, terraformMissing } from "./terraform-project.ts";

// State that several share, by the real Terraform, against moto's S3 (PyPI: moto[server]).

const missing = terraformMissing ? "terraform is not on the PATH" : motoMissing();
if (missing !== undefined) console.log(`not run: state in S3: ${missing}`);

const ada = generateSshKeyPair("ada").publicKey;
const CREDENTIALS = { AWS_ACCESS_KEY_ID: "test", AWS_SECRET_ACCESS_KEY: "test", AWS_REGION: "eu-central-1" };

function box(stack: TerraformStack): void {
  const access = Access.ssh({ admins: { ada }, from: ["203.0.113.7/32"] });
  new AgentHost(stack, "my-host", { machine: new LocalMachine(stack, "machine"), access }).addAgent("ops");
}

describe.skipIf(missing !== undefined)("state in S3", () => {
  let server: Awaited<ReturnType<typeof startMoto>>;
  let url: string;
  const projects: TerraformProject[] = [];

  /** A runner's folder: the repository, and nothing that any other has left. */
  const runner = async () => {
    const project = new TerraformProject(CREDENTIALS);
    projects.push(project);
    const skip = { skipCredentialsValidation: true, skipMetadataApiCheck: true, skipRequestingAccountId: true };
    project.synth(box, (stack) => {
      const place = { bucket: "state", key: "box.tfstate", region: "eu-central-1", encrypt: true };
      const backend = new S3Backend(stack, { ...place, ...skip, usePathStyle: true, endpoints: { s3: url } });
      backend.addOverride("use_lockfile", true);
    });
    await project.init();
    return project;
  };
  const put = (path: string, body = "") => fetch(`${url}/${path}`, { method: "PUT", body });

  beforeAll(async () => {
    server = await startMoto();
    url = server.url;
    expect((await put("state")).status).toBe(200);
  });
  afterAll(() => {
    server?.stop();
    for (const project of projects) project.remove();
  });

  it("is all that a fresh runner needs to know of the host that another one deployed", async () => {
    const first = await runner();
    expect(await first.apply()).toMatchObject({ code: 0 });
    const deployed = bindingsOf(first.calls().find(({ verb }) => verb === "push"));

    const second = await runner();
    writeFileSync(join(second.folder, "cdktf.json"), "{}");
    const before = { cwd: process.cwd(), env: { ...process.env } };
    try {
      Object.assign(process.env, second.env());
      process.chdir(second.folder);
      expect(await readBindings(findHost("my-host"))).toEqual(deployed);
    } finally {
      process.chdir(before.cwd);
      process.env = before.env;
    }
    // with the code unchanged it has nothing to do, and no machine is made a second time
    expect(await second.apply()).toMatchObject({ code: 0 });
    expect(second.verbs()).toEqual([]);
    for (const { folder } of projects)
      expect(readdirSync(folder, { recursive: true }).filter((file) => String(file).endsWith(".tfstate"))).toEqual([
        // which back end it is, no state
        "cdktf.out/stacks/box/.terraform/terraform.tfstate",
      ]);
  });

  it("is locked while another deploys, and a second deploy does nothing", async () => {
    const [first] = projects;
    if (first === undefined) throw new Error("there is no runner");
    const lock = {
      ID: "1",
      Operation: "OperationTypeApply",
      Info: "",
      Who: "ci@other",
      Version: "1.11.4",
      Path: "state",
    };
    await put("state/box.tfstate.tflock", JSON.stringify({ ...lock, Created: "2026-01-01T00:00:00Z" }));
    const refused = await first.apply();
    expect(refused.code).not.toBe(0);
    expect(refused.output).toContain("Error acquiring the state lock");
    expect(refused.output).toContain("ci@other");
    expect(first.verbs()).toEqual([]);
    expect(await first.terraform("force-unlock", "-force", "1")).toMatchObject({ code: 0 });
    const after = await first.apply();
    expect(after.code, after.output).toBe(0);
  });
});
