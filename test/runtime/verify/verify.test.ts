import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Judgement, type Probe, UnprovableError } from "../../../runtime/policy/probe.ts";
import { connect } from "../../../runtime/ssh/connect.ts";
import type { Connection } from "../../../runtime/ssh/connection.ts";
import { UnreachableError } from "../../../runtime/ssh/errors.ts";
import { BatchingHost } from "../../../runtime/verify/host.ts";
import { hostProbes } from "../../../runtime/verify/probes.ts";
import {
  NoReleaseError,
  NoSuchProbeError,
  probesOnly,
  runProbes,
  upstreamResolvers,
  verifyHost,
} from "../../../runtime/verify/verify.ts";
import { done, failed, sampleSubject } from "../policy/judged.ts";
import { type LoopbackSshd, sshdMissing, startSshd, username } from "../ssh/loopback-sshd.ts";
import { makeKey, type TestKey } from "../ssh/test-keys.ts";

const subject = sampleSubject();
const host = new BatchingHost(subject, { resolvers: [], listening: [], since: 0 }, async () => {
  throw new UnreachableError("nothing is asked of this host");
});

function probe(id: string, read: () => Promise<unknown>, judge: (facts: unknown) => Judgement): Probe {
  return { id, title: `title of ${id}`, vantage: "root", expected: "x", read, judge };
}
const held = () => ({ verdict: "held", found: "good" }) as const;

describe("a run of probes", () => {
  it("reports each probe's verdict as it was judged, and counts them", async () => {
    const report = await runProbes(
      subject,
      [
        probe("a", async () => 1, held),
        probe(
          "b",
          async () => 2,
          (facts) => ({ verdict: "broken", found: `met ${facts}` }),
        ),
        probe(
          "c",
          async () => 3,
          () => ({ verdict: "unprovable", found: "dark", reason: "no light" }),
        ),
        probe("d", async () => 4, held),
      ],
      host,
    );
    expect(report).toMatchObject({
      host: "sample",
      release: subject.manifest.digest,
      held: 2,
      broken: 1,
      unprovable: 1,
    });
    expect(report.probes).toMatchObject([
      { id: "a", title: "title of a", vantage: "root", expected: "x", verdict: "held", found: "good" },
      { id: "b", verdict: "broken", found: "met 2" },
      { id: "c", verdict: "unprovable", found: "dark", reason: "no light" },
      { id: "d", verdict: "held" },
    ]);
    expect(report.probes[0]).not.toHaveProperty("reason");
  });

  it("holds nothing that could not be tried: it is unprovable, with the reason", async () => {
    const blind = async () => {
      throw new UnprovableError("its probe unit did not run");
    };
    const report = await runProbes(subject, [probe("a", blind, held)], host);
    expect(report).toMatchObject({ held: 0, broken: 0, unprovable: 1 });
    expect(report.probes[0]).toMatchObject({ found: "not tried", reason: "its probe unit did not run" });
  });

  it("goes on when facts are in no form that a probe can judge, and holds nothing of that probe", async () => {
    const confused = (facts: unknown) => {
      (facts as string).trim();
      return held();
    };
    const report = await runProbes(
      subject,
      [probe("a", async () => 7, confused), probe("b", async () => 1, held)],
      host,
    );
    expect(report).toMatchObject({ held: 1, unprovable: 1 });
    expect(report.probes[0]).toMatchObject({
      verdict: "unprovable",
      reason: expect.stringMatching(/^what the host told could not be judged: .*trim/),
    });
  });

  it("is no report at all when the connection is lost in the middle", async () => {
    const probes = [probe("a", async () => 1, held), probe("b", () => host.root({ do: "time" }), held)];
    await expect(runProbes(subject, probes, host)).rejects.toBeInstanceOf(UnreachableError);
  });

  it("has every probe of a host once, and none holds on a host that says nothing to the point", async () => {
    const view = {
      contact: "pinned",
      hostKey: "ssh-ed25519 AAAA",
      bootstrapKey: "ssh-ed25519 BBBB",
      unwanted: async () => ({ methods: [], password: true, forwarded: ["tcpip-forward"] }),
      rootLogin: async () => true,
    } as const;
    const silent = new BatchingHost(subject, { resolvers: [], listening: [], since: 0 }, async (batch) => ({
      root: batch.root.map(() => failed("BROKEN_ATTEMPT", "nothing")),
      sandboxes: Object.fromEntries(
        Object.entries(batch.sandboxes).map(([unit, asked]) => [
          unit,
          { outcomes: asked.map(() => failed("BROKEN_ATTEMPT", "nothing")) },
        ]),
      ),
      served: [],
    }));
    const report = await runProbes(subject, hostProbes(subject, view), silent);
    const ids = report.probes.map(({ id }) => id);
    expect(new Set(ids).size).toBe(ids.length);
    // what the manifest alone says is not asked of the host
    expect(report.probes.filter(({ verdict }) => verdict === "held").map(({ id }) => id)).toEqual(["root/spec"]);
    expect(report.probes.filter(({ verdict, reason }) => verdict === "unprovable" && !reason)).toEqual([]);
  });
});

describe("some of the probes", () => {
  const all = ["agent/ops/dns", "agent/ops/direct", "root/release"].map((id) => probe(id, async () => 1, held));

  it("are those with a text in their id", () => {
    expect(probesOnly(all, "agent/ops/").map(({ id }) => id)).toEqual(["agent/ops/dns", "agent/ops/direct"]);
    expect(probesOnly(all, "root/release")).toHaveLength(1);
  });

  it("are refused if there are none: nothing tried must not look like all held", () => {
    expect(() => probesOnly(all, "root/relaese")).toThrow(NoSuchProbeError);
    expect(() => probesOnly(all, "root/relaese")).toThrow(/"root\/relaese", which none of the host's 3 probes/);
  });
});

describe("upstream resolvers", () => {
  it("are the name servers beyond the host itself, each once", () => {
    const conf = "# nameserver 192.0.2.9\nnameserver 127.0.0.53\nsearch example.com\nnameserver 192.0.2.1\n";
    const resolved = "nameserver\t192.0.2.1\nnameserver 2001:db8::53 \nnameserver ::1\noptions edns0\n";
    expect(upstreamResolvers(conf + resolved)).toEqual(["192.0.2.1", "2001:db8::53"]);
    expect(upstreamResolvers("")).toEqual([]);
  });
});

describe.skipIf(sshdMissing)("a host as it answers over ssh", () => {
  let dir: string;
  let key: TestKey;
  let server: LoopbackSshd;
  let connection: Connection;
  let answer: string;

  beforeAll(async () => {
    dir = mkdtempSync(join(tmpdir(), "bailiwick-verify-"));
    answer = join(dir, "answer");
    key = makeKey(dir, "ada");
    const hostKey = makeKey(dir, "host");
    // whatever is run there, this is what it prints
    const extra = [`ForceCommand cat >/dev/null; cat ${answer}`];
    server = await startSshd({ directory: dir, hostKey: hostKey.path, authorized: [key.publicKey], extra });
    connection = await connect({
      host: "127.0.0.1",
      port: server.port,
      username,
      identity: key.identity,
      trust: { kind: "pinned", hostKey: hostKey.publicKey },
    });
  });
  afterAll(async () => {
    await connection?.close();
    await server?.stop();
    rmSync(dir, { recursive: true, force: true });
  });

  const verify = (text: string) => {
    writeFileSync(answer, text);
    return verifyHost({
      connection,
      address: { host: "127.0.0.1", port: server.port },
      admin: username,
      identity: key.identity,
      spec: subject.spec,
      bootstrapKey: connection.hostKey,
    });
  };

  it("without a release is not verified, and says what to do", async () => {
    const root = [failed("ENOENT"), done({ code: 0, stdout: "", stderr: "" }), done([]), done(1)];
    const verified = verify(JSON.stringify({ root, sandboxes: {}, served: [] }));
    await expect(verified).rejects.toBeInstanceOf(NoReleaseError);
    await expect(verified).rejects.toThrow("there is no release on this host yet; push one with `bailiwick push`");
  });

  it("that answers in another form is not verified", async () => {
    await expect(verify('{"root":[{"ok":"yes"}],"sandboxes":{},"served":[]}')).rejects.toThrow();
    await expect(verify("")).rejects.toThrow();
  });
});
