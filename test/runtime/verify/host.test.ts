import { describe, expect, it } from "vitest";
import { UnprovableError } from "../../../runtime/policy/probe.ts";
import { UnreachableError } from "../../../runtime/ssh/errors.ts";
import { BatchingHost } from "../../../runtime/verify/host.ts";
import type { AttemptBatch, BatchAnswer } from "../../../runtime/verify/remote.ts";
import { done, failed, printed, sampleSubject } from "../policy/judged.ts";

const FACTS = {
  resolvers: [],
  listening: [{ protocol: "tcp", address: "127.0.0.1", port: 4000 }],
  since: 1.5,
} as const;

/** A host on which every attempt can be made; `change` says what a batch is answered instead. */
function hostOf(change: (answer: BatchAnswer, batch: AttemptBatch) => BatchAnswer = (answer) => answer) {
  const batches: AttemptBatch[] = [];
  const host = new BatchingHost(sampleSubject(), FACTS, async (batch) => {
    batches.push(batch);
    const sandboxes = Object.entries(batch.sandboxes).map(([unit, asked]) => [
      unit,
      { outcomes: asked.map((attempt) => done(attempt.do)) },
    ]);
    const answer = { root: batch.root.map((attempt) => done(attempt.do)), sandboxes: Object.fromEntries(sandboxes) };
    return change({ ...answer, served: batch.serve }, batch);
  });
  return { host, batches };
}

describe("a host that is probed", () => {
  it("tries together what is asked in the same moment, and hands each the answer to its own", async () => {
    const { host, batches } = hostOf();
    const answers = await Promise.all([
      host.root({ do: "time" }),
      host.as("agent/ops", { do: "processes" }),
      host.as("gateway", { do: "read", path: "/etc/shadow" }),
      host.as("agent/ops", { do: "block-devices" }),
    ]);
    expect(answers.map(({ value }) => value)).toEqual(["time", "processes", "read", "block-devices"]);
    expect(batches).toHaveLength(1);
    expect(Object.keys(batches[0]?.sandboxes ?? {})).toEqual(["bailiwick-agent-ops", "bailiwick-gateway"]);
    await host.as("agent/ops", { do: "processes" });
    expect(batches).toHaveLength(2);
  });

  it("tries the same thing once as root, and each time as a principal", async () => {
    const { host, batches } = hostOf();
    await Promise.all([host.root({ do: "time" }), host.root({ do: "time" })]);
    await Promise.all([
      host.as("gateway", { do: "time" }),
      host.as("gateway", { do: "time" }),
      host.root({ do: "time" }),
    ]);
    expect(batches.map(({ root }) => root.length)).toEqual([1, 0]);
    expect(batches[1]?.sandboxes["bailiwick-gateway"]).toHaveLength(2);
  });

  it("listens for a moment on a port where nobody does, and says when it could not", async () => {
    const { host, batches } = hostOf();
    const [known, free] = await Promise.all([host.reach("agent/ops", 4000), host.reach("agent/ops", 5000)]);
    expect(batches[0]?.serve).toEqual([5000]);
    expect([known.listens, free.listens]).toEqual([true, true]);
    const busy = hostOf((answer) => ({ ...answer, served: [] })).host;
    expect((await busy.reach("agent/ops", 5000)).listens).toBe(false);
    expect((await busy.reach("agent/ops", 4000)).listens).toBe(true);
  });

  it("says why nothing could be tried in a sandbox, while other vantages go on", async () => {
    const { host } = hostOf((answer) => ({
      ...answer,
      sandboxes: { "bailiwick-agent-ops": { error: "Failed to set up mount namespacing" } },
    }));
    const [mine, other, root] = await Promise.allSettled([
      host.as("agent/ops", { do: "processes" }),
      host.as("gateway", { do: "processes" }),
      host.root({ do: "time" }),
    ]);
    const message = "the probe unit of bailiwick-agent-ops did not run: Failed to set up mount namespacing";
    expect(mine).toMatchObject({ reason: new UnprovableError(message) });
    expect(other).toMatchObject({ reason: expect.any(UnprovableError) });
    expect(root.status).toBe("fulfilled");
  });

  it("takes no answer for another: an attempt without one is unprovable", async () => {
    const { host } = hostOf((answer) => ({ ...answer, root: answer.root.slice(0, 1) }));
    const [first, second] = await Promise.allSettled([host.root({ do: "time" }), host.root({ do: "listening" })]);
    expect(first).toMatchObject({ value: { value: "time" } });
    expect(second).toMatchObject({ reason: expect.any(UnprovableError) });
  });

  it("tells everybody who asked when the connection is lost", async () => {
    const lost = new UnreachableError("the connection to 203.0.113.7:22 was lost");
    const host = new BatchingHost(sampleSubject(), FACTS, () => Promise.reject(lost));
    const asked = [host.root({ do: "time" }), host.as("gateway", { do: "time" }), host.reach("gateway", 5000)];
    for (const one of await Promise.allSettled(asked)) expect(one).toMatchObject({ reason: lost });
  });

  it("reads the egress proxy's log once for all who ask in the same moment, and anew for who asks later", async () => {
    const { host, batches } = hostOf((answer) => ({ ...answer, root: [printed("one\ntwo")] }));
    expect(await Promise.all([host.egressLog(), host.egressLog()])).toEqual([
      ["one", "two"],
      ["one", "two"],
    ]);
    expect(batches).toHaveLength(1);
    expect(JSON.stringify(batches[0]?.root)).toContain("--since @1");
    await host.egressLog();
    expect(batches).toHaveLength(2);
  });

  it("proves nothing without the egress proxy's log", async () => {
    const { host: blind } = hostOf((answer) => ({ ...answer, root: [failed("EXIT")] }));
    await expect(blind.egressLog()).rejects.toBeInstanceOf(UnprovableError);
  });

  it("has no principal but those of its spec", () => {
    expect(() => hostOf().host.as("agent/mallory", { do: "time" })).toThrow('received principal "agent/mallory"');
  });
});
