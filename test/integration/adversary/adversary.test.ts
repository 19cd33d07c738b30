import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { EGRESS } from "./attempts/egress.ts";
import { FILES } from "./attempts/files.ts";
import { JOURNAL } from "./attempts/journal.ts";
import { KERNEL } from "./attempts/kernel.ts";
import { NEIGHBOURS } from "./attempts/neighbours.ts";
import { PERSISTENCE } from "./attempts/persistence.ts";
import { SECRETS } from "./attempts/secrets.ts";
import { TOOLS } from "./attempts/tools.ts";
import { Bed, type Outcomes } from "./bed.ts";

// An agent that was taken over, on one real host beside another: each attempt is made by the agent itself in its own unit, and
// shown to succeed for somebody whom that protection does not hold.

const GROUPS = {
  egress: EGRESS,
  neighbours: NEIGHBOURS,
  kernel: KERNEL,
  persistence: PERSISTENCE,
  journal: JOURNAL,
  files: FILES,
  secrets: SECRETS,
  tools: TOOLS,
};

const NOT_RUN = ["a fork bomb", "taking all memory", "taking all processors"];
for (const what of NOT_RUN)
  console.log(
    `not run: ${what}: needs a virtual machine; the limits of units do nothing in a container on this kernel`,
  );

let bed: Bed;
let tried: Outcomes;
let controls: Outcomes;

beforeAll(async () => {
  bed = await Bed.start(GROUPS);
  const groups: Outcomes[] = [];
  for (const group of Object.keys(GROUPS)) groups.push(await bed.asAgent(group));
  tried = Object.assign({}, ...groups);
  controls = await bed.controls();
});
afterAll(() => bed?.close());

describe.each(Object.entries(GROUPS))("%s: an agent that was taken over cannot", (_, attempts) => {
  it.each(attempts)("$name, stopped by $stoppedBy", ({ name, meets }) => {
    expect(controls[name], "the control, without the protection").toEqual({ ok: true, met: "success" });
    expect(tried[name]?.ok, "the attempt").toBe(false);
    expect(tried[name]?.met, "what stopped it").toMatch(meets);
  });
});
