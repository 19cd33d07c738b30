import { describe, expect, it } from "vitest";
import { renderRelease } from "../../../runtime/release/render/release.ts";
import { sha256 } from "../../../runtime/spec/digest.ts";
import { principalUid } from "../../../runtime/spec/names.ts";
import { EXPOSURE_GATE, parseShown, unitProbes } from "../../../runtime/verify/probes/units.ts";
import { done, exited, failed, judgeOf, printed, sampleSubject } from "../policy/judged.ts";
import { sampleInput } from "../release/render/sample.ts";

const subject = sampleSubject();
const judge = (id: string) => judgeOf(unitProbes(subject), id);

describe("what systemctl shows", () => {
  it("is one block for each unit, values with equals signs whole", () => {
    const shown = parseShown("Id=a.service\nBindsTo=x y\n\n\nId=b.service\nEnvironment=A=1 B=2\nDropInPaths=\n");
    expect(shown.map((unit) => unit.get("Id"))).toEqual(["a.service", "b.service"]);
    expect(shown[1]?.get("Environment")).toBe("A=1 B=2");
    expect(shown[1]?.get("DropInPaths")).toBe("");
  });
});

describe("unit files", () => {
  const generator = "/run/systemd/generator.late";
  const agent = {
    Id: "bailiwick-agent-ops.service",
    FragmentPath: `${generator}/bailiwick-agent-ops.service`,
    DropInPaths: `${generator}/bailiwick-agent-ops.service.d/50-sandbox.conf`,
    NeedDaemonReload: "no",
    BindsTo: "bailiwick-firewall.service",
    ActiveState: "active",
  };
  const firewall = {
    Id: "bailiwick-firewall.service",
    FragmentPath: "/etc/systemd/system/bailiwick-firewall.service",
    DropInPaths: "",
    NeedDaemonReload: "no",
    BindsTo: "",
    ActiveState: "active",
  };
  const block = (unit: object) =>
    Object.entries(unit)
      .map(([key, value]) => `${key}=${value}`)
      .join("\n");
  const shown = (...units: object[]) => judge("root/unit-files")(printed(units.map(block).join("\n\n")));

  it("hold when each is the release's with its sandbox, bound to the firewall", () => {
    expect(shown(agent, firewall).verdict).toBe("held");
  });

  it("hold also where systemd names the release's own folder, by its digest", () => {
    const folder = `/opt/bailiwick/releases/${"a".repeat(64)}/units`;
    const linked = {
      ...agent,
      FragmentPath: `${folder}/bailiwick-agent-ops.service`,
      DropInPaths: `${folder}/bailiwick-agent-ops.service.d/50-sandbox.conf`,
    };
    expect(shown(linked, firewall).verdict).toBe("held");
  });

  it.each([
    [{ FragmentPath: "/etc/systemd/system/bailiwick-agent-ops.service" }, /is not the release's: \/etc/],
    [{ FragmentPath: "" }, /is not the release's: no file/],
    [{ DropInPaths: "" }, /has no sandbox/],
    [
      { DropInPaths: "/etc/systemd/system/bailiwick-agent-ops.service.d/50-sandbox.conf" },
      /has no sandbox; .* is changed by/,
    ],
    [{ DropInPaths: `${agent.DropInPaths} /etc/systemd/system/service.d/99.conf` }, /is changed by .*99\.conf/],
    [{ NeedDaemonReload: "yes" }, /has not read its files/],
    [{ BindsTo: "bailiwick-firewall.service.evil" }, /is not bound to the firewall/],
  ])("are broken with %o", (change, found) => {
    expect(shown({ ...agent, ...change }, firewall)).toEqual({
      verdict: "broken",
      found: expect.stringMatching(found),
    });
  });

  it.each([
    [{ ActiveState: "failed" }, "bailiwick-firewall.service is failed"],
    [{ DropInPaths: "/etc/x.conf" }, "bailiwick-firewall.service is changed by /etc/x.conf"],
    [{ FragmentPath: "/run/x.service" }, "bailiwick-firewall.service is not the baseline's"],
  ])("are broken when the firewall's has %o", (change, found) => {
    expect(shown(agent, { ...firewall, ...change })).toEqual({ verdict: "broken", found });
  });

  it("are broken when systemd shows none, and prove nothing when it does not answer", () => {
    expect(judge("root/unit-files")(printed("")).verdict).toBe("broken");
    expect(judge("root/unit-files")(exited(1)).verdict).toBe("unprovable");
  });
});

describe("the release's files", () => {
  const { files, digest } = renderRelease(sampleInput(subject.spec));
  const tree = files.map(({ path, mode, content }) => [path, mode, sha256(content)] as [string, number, string]);
  const at = (name: string) => printed(`/opt/bailiwick/releases/${name}\n`);
  const tried = (link: ReturnType<typeof done>, list: unknown) => judge("root/release")({ link, tree: done(list) });

  it("are those that the digest names, in whatever order they are found", () => {
    expect(tried(at(digest), [...tree].reverse())).toEqual({ verdict: "held", found: digest.slice(0, 12) });
  });

  it("are broken by one byte, one mode, one file more or less", () => {
    const change = (edit: (copy: typeof tree) => void) => {
      const copy = structuredClone(tree);
      edit(copy);
      return tried(at(digest), copy).verdict;
    };
    const units = tree.findIndex(([path]) => path.startsWith("units/"));
    expect(change((copy) => copy[units]?.splice(2, 1, sha256("other")))).toBe("broken");
    expect(change((copy) => copy[units]?.splice(1, 1, 0o646))).toBe("broken");
    expect(change((copy) => copy.push(["units/stray.service", 0o444, sha256("")]))).toBe("broken");
    expect(change((copy) => copy.splice(units, 1))).toBe("broken");
  });

  it("are broken when current leads to a folder of another name, or cannot be read", () => {
    expect(tried(at("ab".repeat(32)), tree).found).toMatch(/^current leads to/);
    expect(judge("root/release")({ link: exited(1), tree: done(tree) }).verdict).toBe("broken");
  });
});

describe("components", () => {
  it("are root's alone until one file is not", () => {
    const tried = judge("root/components");
    expect(tried([done([]), done([])]).verdict).toBe("held");
    expect(tried([done([]), done(["/opt/x (20101, 0644)"])])).toEqual({
      verdict: "broken",
      found: "/opt/x (20101, 0644)",
    });
    expect(tried([done([]), failed("ENOENT")]).verdict).toBe("broken");
  });
});

describe("failed units", () => {
  it("are none, or named", () => {
    const tried = judge("root/failed-units");
    expect(tried(printed("\n"))).toEqual({ verdict: "held", found: "none" });
    expect(tried(printed("doomed.service loaded failed failed doomed\n"))).toEqual({
      verdict: "broken",
      found: "doomed.service",
    });
    expect(tried(exited(1)).verdict).toBe("unprovable");
  });
});

describe("a live process", () => {
  const uid = principalUid("agent/ops");
  const uids = [uid, uid, uid, uid].join("\t");
  const none = "0000000000000000";
  const sandboxed = {
    pid: 7,
    shared: [],
    Name: "node",
    Uid: uids,
    NoNewPrivs: "1",
    Seccomp: "2",
    Groups: `${uid} `,
    ...{ CapInh: none, CapPrm: none, CapEff: none, CapBnd: none, CapAmb: none },
  };
  const tried = judge("agent/ops/live-process");

  it("is in its sandbox", () => {
    expect(tried(done([sandboxed]))).toEqual({ verdict: "held", found: "1 process, as expected" });
    expect(tried(done([{ ...sandboxed, Groups: "" }])).verdict).toBe("held");
  });

  it.each([
    [{ Uid: `${uid}\t0\t${uid}\t${uid}` }, /has uids/],
    [{ Seccomp: "0" }, /no system call filter/],
    [{ NoNewPrivs: "0" }, /may gain privileges/],
    [{ CapBnd: "000001ffffffffff" }, /has capabilities \(CapBnd\)/],
    [{ CapEff: undefined }, /has capabilities \(CapEff\)/],
    [{ shared: ["user", "ipc"] }, /shares the host's user; ipc namespace/],
    [{ Groups: `${uid} 27` }, /is in groups/],
  ])("is not with %o, though another process of the unit is", (change, found) => {
    expect(tried(done([sandboxed, { ...sandboxed, ...change }]))).toEqual({
      verdict: "broken",
      found: expect.stringMatching(found),
    });
  });

  it("proves nothing when there is none, or the kernel does not show it", () => {
    expect(tried(failed("NOT_RUNNING")).verdict).toBe("unprovable");
    expect(tried(done([])).verdict).toBe("unprovable");
    expect(tried(failed("EACCES")).verdict).toBe("unprovable");
  });
});

describe("systemd's rating", () => {
  const rated = (exposure: string) =>
    judge("agent/ops/exposure")(
      printed(`→ Overall exposure level for bailiwick-agent-ops.service: ${exposure} OK 🙂\n`),
    );

  it("holds up to the gate and not above it", () => {
    expect(rated(EXPOSURE_GATE.toFixed(1)).verdict).toBe("held");
    expect(rated((EXPOSURE_GATE + 0.1).toFixed(1)).verdict).toBe("broken");
    expect(rated("9.6").verdict).toBe("broken");
  });

  it("of the gateway, which holds the providers' keys, may be no more than 1.5", () => {
    const gateway = (exposure: string) =>
      judge("gateway/exposure")(printed(`→ Overall exposure level for bailiwick-gateway.service: ${exposure} OK 🙂\n`));
    expect(gateway("1.5").verdict).toBe("held");
    expect(gateway("1.6").verdict).toBe("broken");
  });

  it("proves nothing when there is none", () => {
    expect(judge("agent/ops/exposure")(exited(1)).verdict).toBe("unprovable");
    expect(judge("agent/ops/exposure")(printed("")).verdict).toBe("unprovable");
  });
});
