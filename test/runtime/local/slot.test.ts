import { describe, expect, it } from "vitest";
import { cacheDirectory, stateDirectory } from "../../../runtime/local/directories.ts";
import { bootMachine, destroyMachine, machineStatus } from "../../../runtime/local/machine.ts";
import type { MachinePlan } from "../../../runtime/local/machine-plan.ts";
import { besideOf, namesOf } from "../../../runtime/local/slot.ts";

const SLOT = "0a1b2c3d-0000-4000-8000-000000000000";
const hostile = [
  "../../etc",
  "0a1b2c3",
  "0A1B2C3D",
  "0a1b-2c3d",
  "0a1b2c3d/..",
  "0a1b2c3d;id",
  "",
  "-a1b2c3d",
  `0a1b2c3d\n`,
];

describe("slots", () => {
  it("name everything of a machine by their first 8 digits", () => {
    expect(namesOf(SLOT)).toMatchObject({
      name: "bw-0a1b2c3d",
      unit: "bailiwick-0a1b2c3d",
      netns: "/run/netns/bw-0a1b2c3d",
    });
  });

  it("have two sides that share nothing but their folder and their data volume", () => {
    const { leavings: ofA, ...a } = namesOf(SLOT, "a");
    const { leavings: ofB, ...b } = namesOf(SLOT, "b");
    const shared = Object.keys(a).filter((key) => a[key as keyof typeof a] === b[key as keyof typeof b]);
    expect(shared.sort()).toEqual(["dataDisk", "directory", "sideFile"]);
    expect(ofA.filter((path) => ofB.includes(path) || path === a.dataDisk)).toEqual([]);
    expect([namesOf(SLOT).side, besideOf(SLOT).side]).toEqual(["a", "b"]);
  });

  it.each(hostile)("are refused as %j, by everything that takes one", async (slot) => {
    expect(() => namesOf(slot)).toThrow(/slot: received .* use a UUID/);
    await expect(machineStatus(slot)).rejects.toThrow(/slot: received/);
    if (process.getuid?.() === 0) await expect(destroyMachine(slot)).rejects.toThrow(/slot: received/);
  });
});

describe("a machine's plan", () => {
  const plan: MachinePlan = {
    slot: SLOT,
    instance: SLOT,
    host: "local",
    engine: "nspawn",
    image: { digest: "0", path: "/nowhere/root.img" },
    rootGiB: 8,
    dataGiB: 1,
    userData: "",
    progress: () => undefined,
  };

  it.each([
    [{ instance: "x y" }, /instance: received "x y"/],
    [{ host: "Local; reboot" }, /host/],
    [{ rootGiB: 2 }, /rootGiB/],
    [{ dataGiB: 1.5 }, /dataGiB/],
    [{ image: { digest: "0", path: "relative" } }, /image/],
  ])("is refused with %j", async (change, message) => {
    await expect(bootMachine({ ...plan, ...change })).rejects.toThrow(message);
  });
});

describe("directories", () => {
  it("follow the kit's variables, then XDG's, then the home directory", () => {
    expect(cacheDirectory({ BAILIWICK_CACHE: "/c", XDG_CACHE_HOME: "/x" })).toBe("/c");
    expect(cacheDirectory({ XDG_CACHE_HOME: "/x" })).toBe("/x/bailiwick");
    expect(cacheDirectory({})).toMatch(/\/\.cache\/bailiwick$/);
    expect(stateDirectory({ BAILIWICK_STATE: "/s" })).toBe("/s");
    expect(stateDirectory({ XDG_STATE_HOME: "/x" })).toBe("/x/bailiwick");
    expect(stateDirectory({})).toMatch(/\/\.local\/state\/bailiwick$/);
  });
});
