import { existsSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { halt, nspawnOf } from "../../../runtime/local/nspawn.ts";
import { initOf } from "../../../runtime/local/processes.ts";
import { besideOf, namesOf } from "../../../runtime/local/slot.ts";
import { ok } from "../support/project.ts";
import { Bed, KEY } from "./bed.ts";

// Secrets that are rotated, and machines that are replaced: what is of value outlives both.

const missing = process.getuid?.() === 0 ? undefined : "a machine needs root";
if (missing !== undefined) console.log(`not run: secrets and rebuilds: ${missing}`);

describe.skipIf(missing !== undefined)("what a host keeps", () => {
  const bed = new Bed();
  beforeAll(() => bed.start());
  afterAll(() => bed.destroy());

  const status = async () => JSON.parse(ok(await bed.project.bailiwick(["status", "bed", "--json"])).stdout);
  /** Status of a call to the gateway with a virtual key. */
  const call = (key: string) =>
    bed.root(
      `/usr/bin/python3 -I -c '
import sys, urllib.request, urllib.error
body = b"{\\"model\\":\\"demo\\",\\"messages\\":[{\\"role\\":\\"user\\",\\"content\\":\\"hello\\"}]}"
request = urllib.request.Request("http://127.0.0.1:4000/demo/v1/chat/completions", body, {"authorization": "Bearer " + sys.argv[1], "content-type": "application/json"})
try: print(urllib.request.urlopen(request).status)
except urllib.error.HTTPError as error: print(error.code)' ${key}`,
    );

  it("secrets check says of each secret whether it is at hand and who reads it, and never what it is", async () => {
    const ran = ok(await bed.project.bailiwick(["secrets", "check", "bed", "--json"]));
    expect(JSON.parse(ran.stdout)).toEqual([
      { name: KEY, source: "made on the host", here: null, readers: ["bailiwick-agent-crew"] },
      {
        name: "secret.bed-secret",
        source: "environment variable BED_SECRET",
        here: { ok: true, reason: null },
        readers: ["bailiwick-gateway"],
      },
    ]);
    expect(ran.text).not.toContain("first-secret");
    const without = await bed.project.bailiwick(["secrets", "check", "bed"], { BED_SECRET: "" });
    expect(without.code).toBe(1);
    expect(without.stdout).toMatch(/secret\.bed-secret +missing +environment variable BED_SECRET is empty/);
  });

  it("while a virtual key is rotated the old one and the new one hold, afterwards the new one alone", async () => {
    const old = await bed.virtualKey();
    expect(await call(old)).toBe("200");
    const gateway = { restarted: [], reloaded: ["bailiwick-gateway.service"] };
    const renewal = await bed.push({ version: 0 }, { renew: [KEY] });
    expect(renewal).toMatchObject({ ...gateway, restarted: ["bailiwick-agent-crew.service"] });
    const renewed = await bed.virtualKey();
    expect(renewed).not.toBe(old);
    expect([await call(old), await call(renewed)]).toEqual(["200", "200"]);
    expect(await bed.push({ version: 0 })).toMatchObject(gateway);
    expect([await call(old), await call(renewed)]).toEqual(["401", "200"]);
  });

  it("secrets rotate does both at once, and restarts none but who reads what was rotated", async () => {
    const old = await bed.virtualKey();
    const ran = ok(await bed.project.bailiwick(["secrets", "rotate", "bed", "--json"]));
    expect(JSON.parse(ran.stdout)).toMatchObject({
      rotated: [KEY],
      restarted: ["bailiwick-agent-crew.service"],
    });
    expect([await call(old), await call(await bed.virtualKey())]).toEqual(["401", "200"]);
    const secret = ok(
      await bed.project.bailiwick(["secrets", "rotate", "bed", "bed-secret", "--json"], { BED_SECRET: "another-one" }),
    );
    expect(JSON.parse(secret.stdout)).toMatchObject({
      rotated: ["secret.bed-secret"],
      restarted: ["bailiwick-gateway.service"],
    });
    process.env.BED_SECRET = "another-one";
    const unknown = await bed.project.bailiwick(["secrets", "rotate", "bed", "nothing"]);
    expect(unknown.code).toBe(2);
    expect(unknown.stderr).toContain(
      'received credential "nothing"; the host has agent.crew.virtual-key, secret.bed-secret',
    );
  });

  it("a machine is not replaced while a secret is not at hand, and is not touched", async () => {
    const before = await status();
    const refused = await bed.project.bailiwick(["rebuild", "bed"], { BED_SECRET: "" });
    expect(refused.code).toBe(1);
    expect(refused.stderr).toContain("secrets.bed-secret: environment variable BED_SECRET is empty");
    expect(refused.stderr).toContain("the old machine was not touched");
    const { instance, fingerprint, release } = before;
    expect(await status()).toMatchObject({ instance, fingerprint, release, failedUnits: [] });
  });

  it("after a rebuild, on a new machine under a new key, the agent knows what it was told before", async () => {
    await bed.agent("/tell?fact=the%20sky%20is%20green");
    const ledger = await bed.root("cat /var/lib/bailiwick/ledger/uids.json");
    const before = await status();
    ok(await bed.project.bailiwick(["rebuild", "bed", "--json"], { BED_SECRET: "another-one" }));
    await bed.refresh();
    const after = await status();
    expect(after.instance).not.toBe(before.instance);
    expect(after.fingerprint).not.toBe(before.fingerprint);
    expect(await bed.agent("/memory")).toBe("the sky is green");
    expect(await bed.root("cat /var/lib/bailiwick/ledger/uids.json")).toBe(ledger);
    expect(await bed.root("ls /opt/bailiwick/releases | wc -l")).toBe("1");
    // the new machine has sealed the secrets anew, under a key of its own
    expect(await call(await bed.virtualKey())).toBe("200");
  });

  it("a power cut in the midst of a rebuild costs the new machine and nothing else: the old one serves, another rebuild makes it good", async () => {
    const rebuilding = bed.project.bailiwick(["rebuild", "bed"], { BED_SECRET: "another-one" });
    // the new machine runs and its first boot is under way: its firewall is there, and nobody has claimed it
    const firstBoot = () => {
      const nspawn = nspawnOf(besideOf(bed.slot));
      const root = `/proc/${nspawn === undefined ? 0 : initOf(nspawn.pid)?.pid}/root`;
      return existsSync(join(root, "usr/lib/bailiwick/firewall")) && !existsSync(join(root, "etc/bailiwick/claimed"));
    };
    await expect.poll(firstBoot, { timeout: 60_000, interval: 20 }).toBe(true);
    expect(await bed.agent("/memory")).toBe("the sky is green");
    await Promise.all([halt(besideOf(bed.slot), 0, false), bed.powerCut()]);
    expect((await rebuilding).code).not.toBe(0);
    expect(await bed.serves([0])).toBe(0);
    expect(await bed.agent("/memory")).toBe("the sky is green");
    ok(await bed.project.bailiwick(["rebuild", "bed"], { BED_SECRET: "another-one" }));
    await bed.refresh();
    expect(await bed.agent("/memory")).toBe("the sky is green");
    expect(await status()).toMatchObject({ upToDate: true, failedUnits: [], unconfirmed: false });
  });

  it("a power cut when the new machine has just taken the old one's place leaves a closed host, which a deploy makes good", async () => {
    const { side } = namesOf(bed.slot);
    const rebuilding = bed.project.bailiwick(["rebuild", "bed"], { BED_SECRET: "another-one" });
    await expect.poll(() => namesOf(bed.slot).side, { timeout: 60_000, interval: 5 }).not.toBe(side);
    await bed.powerCut();
    expect((await rebuilding).code).not.toBe(0);
    expect(await bed.agent("/memory")).toBeNull();
    ok(await bed.project.cdktf(["deploy", "bed", "--auto-approve"], { BED_SECRET: "another-one" }));
    await bed.refresh();
    expect(await bed.agent("/memory")).toBe("the sky is green");
    expect(await status()).toMatchObject({ upToDate: true, failedUnits: [], unconfirmed: false });
  });

  it("a new machine on which the agent never becomes healthy is a closed host with all its data, which a deploy makes good", async () => {
    const wellBehaved = bed.project.read("main.ts").replace("rootGiB: 4", "rootGiB: 4, rebuild: 1");
    bed.project.write(wellBehaved.replace('VERSION: "0"', 'VERSION: "0", BEHAVIOUR: "never healthy"'));
    const deploy = () => bed.project.cdktf(["deploy", "bed", "--auto-approve"], { BED_SECRET: "another-one" });
    const { side } = namesOf(bed.slot);
    const failed = await deploy();
    expect(failed.code).not.toBe(0);
    expect(failed.text).toContain("bailiwick-agent-crew.service");
    expect(namesOf(bed.slot).side).not.toBe(side);
    expect(await bed.agent("/memory")).toBeNull();
    expect(besideOf(bed.slot).leavings.filter(existsSync), "what is left of the old machine").toEqual([]);

    bed.project.write(wellBehaved);
    ok(await deploy());
    await bed.refresh();
    expect(await bed.agent("/memory")).toBe("the sky is green");
    expect(await status()).toMatchObject({ upToDate: true, failedUnits: [], unconfirmed: false });
  });

  it("after a hard reset everything comes up by itself", async () => {
    await bed.powerCut();
    expect(await bed.serves([0])).toBe(0);
    expect(await bed.agent("/memory")).toBe("the sky is green");
  });
});
