import { statSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startCuttingProxy } from "../../runtime/ssh/cutting-proxy.ts";
import { Bed, filesIn, isUnconfirmed, linkOf, type Release } from "./bed.ts";

// One host, and everything that can go wrong with a push to it. After each fault the old or the new release serves, never a
// mix, and the next push makes all well. Every test takes the next version numbers, so none is helped by another.

const missing = process.getuid?.() === 0 ? undefined : "a machine needs root";
if (missing !== undefined) console.log(`not run: faults of releases: ${missing}`);

describe.skipIf(missing !== undefined)("a push that goes wrong", () => {
  const bed = new Bed();
  let version = 0;
  /** The next version number: no test counts on the one before it to have ended well. */
  const next = (more: Partial<Release> = {}): Release => ({ version: ++version, ...more });

  beforeAll(() => bed.start());
  afterAll(() => bed.destroy());

  it("a release is whole, confirmed and the only one that serves", async () => {
    await bed.serves([0], 5);
    const { confirm, restarted } = await bed.pushHolds(next());
    expect(confirm).toBe(false);
    expect(restarted).toEqual(["bailiwick-agent-crew.service"]);
  });

  it("grants and limits of models reach the gateway without ending it, nor a stream that is open", async () => {
    const pid = () => bed.root("systemctl show -p MainPID --value bailiwick-gateway");
    const started = "/run/bailiwick-gateway/gateway.json";
    const handedOver = () => bed.root(`grep -o demo-2 ${started} | sort -u`);
    await bed.pushHolds({ version });
    const before = await pid();
    expect((await bed.tryRoot(`ls ${started}`)).status, "none before the first reload").not.toBe(0);
    // a call that has begun and whose body is still on its way
    await bed.root(openCall(await bed.virtualKey()));
    const granted = await bed.pushHolds({ version, models: ["demo", "demo-2"], concurrentCalls: 7 });
    expect(granted).toMatchObject({ restarted: [], reloaded: ["bailiwick-gateway.service"], stopped: [] });
    expect(await pid()).toBe(before);
    expect(await handedOver()).toBe("demo-2");
    expect(await bed.root(`journalctl -u bailiwick-gateway -o cat | grep -c '"msg":"reloaded"'`)).toBe("1");
    await expect
      .poll(() => bed.tryRoot("cat /run/open-call"), { timeout: 20_000 })
      .toMatchObject({ text: "HTTP/1.1 200" });

    // one that it would not take: the reload fails, and what serves goes on
    const file = "/opt/bailiwick/current/etc/gateway/gateway.json";
    await bed.root(`cp -p ${file} /run/kept; chmod u+w ${file}; echo '{' >${file}`);
    try {
      expect((await bed.tryRoot("systemctl reload bailiwick-gateway")).status).not.toBe(0);
      expect(await pid()).toBe(before);
      expect(await handedOver()).toBe("demo-2");
    } finally {
      await bed.root(`cp -p /run/kept ${file}`);
    }
    // one that is down is started with the new configuration, and does not fail the push
    await bed.root("systemctl stop bailiwick-gateway");
    const back = await bed.pushHolds({ version });
    expect(back).toMatchObject({ restarted: [], reloaded: ["bailiwick-gateway.service"] });
    expect(JSON.parse((await bed.project.bailiwick(["status", "bed", "--json"])).stdout)).toMatchObject({
      problems: [],
      providers: [
        { name: "demo", up: true },
        { name: "paid", up: true },
      ],
    });
  });

  describe("the connection is cut", () => {
    it.each(Array.from({ length: 10 }, (_, i) => i))("at point %i of 10", async (point) => {
      const old = await bed.version();
      const release = next({ component: true });
      const port = await portOf(bed);
      const proxy = await startCuttingProxy(port);
      try {
        // 8 MiB go up, then some kilobytes that do the rest: half of the points lie in each
        const total = 8.4 * 1024 * 1024;
        const bytes = point < 5 ? (total * (point + 0.5)) / 5 : total + (point - 5) * 12_000;
        const held = proxy.holdAfter(Math.round(bytes));
        const pushing = bed.push(release, { port: proxy.port }).then(
          () => "done",
          (error: Error) => error.message,
        );
        const outcome = await Promise.race([pushing, held.then(() => "held")]);
        if (outcome === "held") {
          proxy.cut();
          expect(await pushing).not.toBe("done");
        }
      } finally {
        await proxy.stop();
      }
      await bed.serves([old, release.version]);
      await bed.pushHolds({ version: release.version });
    });
  });

  describe("the power is cut", () => {
    const cut = async (release: Release, when: Parameters<Bed["until"]>[0], what: string) => {
      const pushing = bed.push(release).catch((error: Error) => error);
      await bed.until(when, what);
      await bed.powerCut();
      await pushing;
    };

    it("during the upload", async () => {
      const old = await bed.version();
      const release = next({ component: true });
      const halfThere = (root: string) =>
        filesIn(root, "opt/bailiwick/incoming").some(
          (name) => (statSync(join(root, "opt/bailiwick/incoming", name), { throwIfNoEntry: false })?.size ?? 0) > 2e6,
        );
      await cut(release, halfThere, "an upload");
      expect(await bed.serves([old])).toBe(old);
      await bed.pushHolds(release);
    });

    it("while a secret is sealed", async () => {
      const old = await bed.version();
      const release = next({ secret: "second-secret" });
      const sealing = (root: string) =>
        filesIn(root, "etc/bailiwick/credentials/secret.paid-api-key").some((name) => name.endsWith(".new")) ||
        filesIn(root, "etc/bailiwick/credentials/secret.bed-secret").some((name) => name.endsWith(".new"));
      await cut(release, sealing, "sealing");
      expect(await bed.serves([old])).toBe(old);
      await bed.pushHolds(release);
    });

    it("when the switch has been armed", async () => {
      const old = await bed.version();
      const release = next({ component: true });
      await cut(release, isUnconfirmed, "arming");
      expect(await bed.serves([old])).toBe(old);
      await bed.pushHolds(release);
    });

    it("when the link has been switched, before the release is healthy", async () => {
      const old = await bed.version();
      const before = await bed.current();
      const release = next({ component: true });
      await cut(release, (root) => linkOf(root) !== before, "the switch");
      expect(await bed.serves([old])).toBe(old);
      await bed.pushHolds(release);
    });

    it("before a healthy release is confirmed", async () => {
      const old = await bed.version();
      const release = next();
      let pulled: Promise<void> | undefined;
      const pushing = bed
        .push(release, {
          progress: (line) => {
            if (line.includes("confirming")) pulled = bed.powerCut();
          },
        })
        .catch((error: Error) => error);
      await pushing;
      await pulled;
      const serving = await bed.serves([old, release.version]);
      expect([old, release.version]).toContain(serving);
      await bed.pushHolds(release);
    });

    it("while a release that is not healthy is taken back", async () => {
      const old = await bed.version();
      const before = await bed.current();
      const release = next({ behaviour: "never healthy", component: true });
      const pushing = bed.push(release).catch((error: Error) => error);
      await bed.until((root) => linkOf(root) !== before, "the switch");
      await bed.until((root) => linkOf(root) === before && isUnconfirmed(root), "the way back");
      await bed.powerCut();
      await pushing;
      expect(await bed.serves([old])).toBe(old);
      await bed.pushHolds(next());
    });
  });

  describe("the disk is full", () => {
    it.each([
      ["root", "/filler"],
      ["data", "/var/lib/bailiwick/filler"],
    ])("%s", async (_, filler) => {
      const old = await bed.version();
      const release = next({ component: true, secret: `secret-${filler}` });
      await bed.root(`dd if=/dev/zero of=${filler} bs=1M 2>/dev/null; sync -f ${filler}; true`);
      try {
        await expect(bed.push(release)).rejects.toThrow(/no space left|ENOSPC/i);
        expect(await bed.serves([old], 10)).toBe(old);
      } finally {
        await bed.root(`rm ${filler}`);
      }
      await bed.pushHolds(release);
    });
  });

  it("a release that never becomes healthy is undone, although its agent does not end when told", async () => {
    const old = await bed.version();
    await bed.pushHolds(next({ behaviour: "stubborn" }));
    const stubborn = version;
    expect(stubborn).not.toBe(old);
    const started = Date.now();
    await expect(bed.push(next({ behaviour: "never healthy" }))).rejects.toThrow(
      /did not become healthy and was undone; release [0-9a-f]{12} serves again\nbailiwick-agent-crew\.service was not ready within 20 s/,
    );
    expect(await bed.serves([stubborn], 5)).toBe(stubborn);
    // 20 s until the deadline, drains of 3 and 10 s
    expect(Date.now() - started).toBeLessThan(120_000);
    await bed.pushHolds(next());
  });

  it("a release whose operator is gone is taken back by the host itself", async () => {
    const old = await bed.version();
    const proxy = await startCuttingProxy(await portOf(bed));
    const gone = bed.push(next(), {
      port: proxy.port,
      progress: (line) => {
        if (line.includes("confirming")) void proxy.stop();
      },
    });
    await expect(gone).rejects.toThrow(/is healthy but could not be confirmed over a fresh connection/);
    expect(await bed.serves([old], 60)).toBe(old);
    const { history } = JSON.parse((await bed.project.bailiwick(["releases", "bed", "--json"])).stdout);
    expect(history[0]).toMatchObject({ outcome: "reverted", by: "host" });
    await bed.pushHolds(next());
  });

  it("of two pushes at once one is told who is at work, and the other holds", async () => {
    const first = next();
    let second: Promise<string> | undefined;
    await bed.push(first, {
      progress: (line) => {
        if (line.includes("activating"))
          second ??= bed.push({ version: first.version + 1 }).then(
            () => "done",
            (error: Error) => error.message,
          );
      },
    });
    expect(await second).toMatch(/the host is locked by admin since .* \(version \d+\); try again when it is done/);
    expect(await bed.serves([first.version], 5)).toBe(first.version);
  });

  it("a component that was tampered with is sent again and its agent restarted", async () => {
    const file = "$(ls /opt/bailiwick/components/*/main.mjs)";
    await bed.root(`for f in ${file}; do chmod u+w $f; echo '// tampered' >>$f; done`);
    const said: string[] = [];
    const again = await bed.push({ version: await bed.version() }, { progress: (line) => said.push(line) });
    expect(said.join("\n")).toContain("command-crew is not whole on the host; sending it again");
    expect(again.restarted).toEqual(["bailiwick-agent-crew.service"]);
    expect(await bed.root(`grep -c tampered ${file} || true`)).not.toMatch(/[1-9]/);
    expect(await bed.serves([await bed.version()], 5)).toBeGreaterThan(0);
  });

  it.each([
    ["leads nowhere", "ln -sfn /opt/bailiwick/releases/gone /opt/bailiwick/current"],
    ["is a file", "rm /opt/bailiwick/current; echo rubbish >/opt/bailiwick/current"],
  ])(
    "a link to the current release that %s is reported, closes the host at boot, and is mended by a push",
    async (_, how) => {
      await bed.root(how);
      const status = await bed.project.bailiwick(["status", "bed", "--json"]);
      expect(status.code).toBe(1);
      expect(JSON.parse(status.stdout).problems.join()).toMatch(/\/opt\/bailiwick\/current .*push again to repair it/);
      await bed.project.bailiwick(["local", "reboot", "bed"]);
      expect(await bed.agent("/version")).toBeNull();
      expect(await bed.root("nft list chain inet bailiwick output | grep -c 20000-29999")).toBe("1");
      await bed.pushHolds(next());
    },
  );

  it("an agent that crashes again and again later is reported by status, and is not restarted for ever", async () => {
    await bed.pushHolds(next({ behaviour: "crashes after 2 s" }));
    await expect
      .poll(async () => JSON.parse((await bed.project.bailiwick(["status", "bed", "--json"])).stdout).failedUnits, {
        timeout: 60_000,
        interval: 1000,
      })
      .toEqual(["bailiwick-agent-crew.service"]);
    expect((await bed.project.bailiwick(["status", "bed"])).code).toBe(1);
    await bed.pushHolds(next());
  });

  it("rollback goes back to the release before, with the agent's state of that time when its runtime changes", async () => {
    await bed.agent("/tell?fact=before");
    const before = await bed.version();
    const newer = next({ component: true });
    await bed.pushHolds(newer);
    expect(await bed.agent("/memory")).toBe("before");
    await bed.agent("/tell?fact=after");
    const back = await bed.project.bailiwick(["rollback", "bed", "--json"]);
    expect(JSON.parse(back.stdout)).toMatchObject({ healthy: true });
    expect(await bed.serves([before], 5)).toBe(before);
    expect(await bed.agent("/memory")).toBe("before");
    // and forward again by a rollback of the rollback
    expect((await bed.project.bailiwick(["rollback", "bed"])).code).toBe(0);
    expect(await bed.serves([newer.version], 5)).toBe(newer.version);
    expect(await bed.agent("/memory")).toBe("before\nafter");
  });

  it("keeps three releases and nothing that only older ones used", async () => {
    for (let i = 0; i < 3; i++) await bed.pushHolds(next({ component: true, secret: `rotated-${version}` }));
    const count = async (what: string) => Number(await bed.root(`ls -d ${what} | wc -l`));
    expect(await count("/opt/bailiwick/releases/*")).toBe(3);
    // node, activator, gateway, demo model, and three of the agent's
    expect(await count("/opt/bailiwick/components/*")).toBe(7);
    expect(await count("/etc/bailiwick/credentials/secret.*/*.cred")).toBe(3);
    expect(await count("/opt/bailiwick/incoming/* 2>/dev/null")).toBe(0);
    expect(await count("/var/lib/bailiwick/snapshots/crew/*")).toBe(2);
  });

  it("verify holds after all of it", async () => {
    const ran = await bed.project.bailiwick(["verify", "bed", "--json"]);
    const report = JSON.parse(ran.stdout) as { probes: { id: string; verdict: string }[] };
    expect(report.probes.filter(({ verdict }) => verdict === "broken")).toEqual([]);
    expect(report.probes.length).toBeGreaterThanOrEqual(40);
  });
});

async function portOf(bed: Bed): Promise<number> {
  const status = JSON.parse((await bed.project.bailiwick(["local", "status", "bed", "--json"])).stdout);
  return status[0].port;
}

/** A call whose body is whole only after 8 s: its status line, once it has one, is left in /run/open-call. */
const openCall = (key: string) => `rm -f /run/open-call; (/usr/bin/python3 -I -c '
import socket, sys, time
body = b"{\\"model\\":\\"demo\\",\\"messages\\":[{\\"role\\":\\"user\\",\\"content\\":\\"hello\\"}]}"
call = socket.create_connection(("127.0.0.1", 4000))
head = "POST /demo/v1/chat/completions HTTP/1.1\\r\\nhost: x\\r\\nauthorization: Bearer %s\\r\\ncontent-length: %d\\r\\n\\r\\n"
call.sendall((head % (sys.argv[1], len(body))).encode() + body[:10])
time.sleep(8)
call.sendall(body[10:])
print(call.recv(64).decode()[:12], end="")
' ${key} >/run/open-call.new 2>&1; mv /run/open-call.new /run/open-call) >/dev/null 2>&1 &`;
