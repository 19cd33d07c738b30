import { describe, expect, it } from "vitest";
import { upkeepProbes } from "../../../runtime/verify/probes/upkeep.ts";
import { done, exited, failed, judgeOf, printed, sampleSubject } from "../policy/judged.ts";

const judge = (id: string, subject = sampleSubject()) => judgeOf(upkeepProbes(subject), id);

describe("updates", () => {
  const asked = (settings: string[], states: string[]) =>
    judge("root/updates")(printed([...settings, ...states].join("\n")));
  const daily = ['APT::Periodic::Unattended-Upgrade "1";', 'APT::Periodic::Update-Package-Lists "1";'];
  const enabled = ["enabled", "enabled", "enabled"];

  it("install themselves when apt runs daily and all three units are enabled", () => {
    expect(asked(daily, enabled).verdict).toBe("held");
    expect(asked(daily.slice(1), enabled).found).toBe("apt has no daily run");
    expect(asked([daily[0] ?? "", 'APT::Periodic::Update-Package-Lists "0";'], enabled).verdict).toBe("broken");
    expect(asked(daily, ["enabled", "disabled", "enabled"]).found).toBe("units are enabled, disabled, enabled");
    expect(asked(daily, ["enabled", "enabled"]).verdict).toBe("broken");
    expect(judge("root/updates")(failed("ENOENT")).verdict).toBe("unprovable");
  });
});

describe("the journal", () => {
  it("is on disk when the daemon names a file there", () => {
    expect(judge("root/journal")(printed("File path: /var/log/journal/x/system.journal")).verdict).toBe("held");
    expect(judge("root/journal")(exited(1)).verdict).toBe("broken");
  });
});

describe("patches", () => {
  const NOW = 1_800_000_000;
  const DAY = 86_400;
  const state = (ages: Record<string, number | null>, pending: string[] = []) => {
    const at = (days: number | null | undefined) => (days === null || days === undefined ? 0 : NOW - days * DAY);
    const times = ["born", "lists", "upgraded", "restart"].map((word) => `${word}\t${at(ages[word])}`);
    return printed([`now\t${NOW}`, ...times, ...pending.map((name) => `pending\t${name}`), ""].join("\n"));
  };
  const tried = judge("root/patches");

  it.each([
    ["a new host has had no daily run yet", { born: 0.1 }, [], "none is known to be missing"],
    ["all was done today", { born: 90, lists: 0.4, upgraded: 0.3 }, [], "none is known to be missing"],
    [
      "one has come since the last run",
      { born: 90, lists: 0.1, upgraded: 0.9 },
      ["openssl"],
      "1 come with the next daily run",
    ],
    [
      "a restart is due since today",
      { born: 90, lists: 0.4, upgraded: 0.3, restart: 0.3 },
      [],
      "none is known to be missing",
    ],
  ])("hold when %s", (_, ages, pending, found) => {
    expect(tried(state(ages, pending))).toEqual({ verdict: "held", found });
  });

  it.each([
    [{ born: 90, lists: 5, upgraded: 0.3 }, [], "package lists were read 5 days ago"],
    [{ born: 90, lists: 0.3, upgraded: null }, [], "updates were installed never"],
    [
      { born: 90, lists: 0.4, upgraded: 0.3 },
      ["openssl", "sudo"],
      "security updates did not install themselves: openssl, sudo",
    ],
    [{ born: 90, lists: 0.4, upgraded: 0.3, restart: 3 }, [], "an update asked for a restart 3 days ago"],
  ])("are broken otherwise (%#)", (ages, pending, found) => {
    expect(tried(state(ages, pending))).toEqual({ verdict: "broken", found });
  });

  it("prove nothing when the host does not say", () => {
    expect(tried(printed("")).verdict).toBe("unprovable");
    expect(tried(failed("ENOENT")).verdict).toBe("unprovable");
  });
});

describe("the clock", () => {
  const container = judge("root/clock");
  const machine = judge(
    "root/clock",
    sampleSubject((spec) => {
      Object.assign(spec.machine, { engine: "qemu" });
    }),
  );
  const facts = (time: number, ...states: string[]) => ({
    ...{ time: done(time), service: printed(states.join("\n")) },
    ...{ asked: 1000, answered: 1002 },
  });

  it("holds when it is the operator's and the network sets it; in a container the network's part is the operator's", () => {
    expect(machine(facts(1001.5, "enabled", "active")).verdict).toBe("held");
    expect(machine(facts(991, "enabled", "active")).verdict).toBe("held");
    expect(container(facts(1001, "enabled", "inactive")).verdict).toBe("held");
  });

  it("is broken when it is off, and when nothing sets it", () => {
    expect(machine(facts(1000 - 31_536_000, "enabled", "active")).found).toBe("it is 31536000 s behind");
    expect(machine(facts(1020, "enabled", "active")).found).toBe("it is 18 s ahead");
    expect(machine(facts(1001, "enabled", "inactive")).found).toBe("systemd-timesyncd is enabled, inactive");
    expect(container(facts(1001, "masked", "inactive")).found).toBe("systemd-timesyncd is masked");
  });

  it("proves nothing when it cannot be read", () => {
    expect(machine({ ...facts(1001, "enabled", "active"), time: failed("EPERM") }).verdict).toBe("unprovable");
  });
});
