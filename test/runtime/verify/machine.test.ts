import { describe, expect, it } from "vitest";
import { digestOf } from "../../../runtime/spec/digest.ts";
import { judgeSettings, machineProbes, parseMounts } from "../../../runtime/verify/probes/machine.ts";
import { done, exited, failed, judgeOf, printed, sampleSubject } from "../policy/judged.ts";

const subject = sampleSubject();
const judge = (id: string) => judgeOf(machineProbes(subject), id);

const mount = (path: string, options: string, type = "tmpfs", source = "tmpfs", superOptions = "rw") =>
  `41 23 0:36 / ${path} ${options} shared:14 - ${type} ${source} ${superOptions}`;

describe("mountinfo", () => {
  it("gives each mount's options, those of its file system too", () => {
    const found = parseMounts(`${mount("/tmp", "rw,nosuid", "tmpfs", "tmpfs", "rw,size=1024k")}\n`).get("/tmp");
    expect(found).toEqual({
      path: "/tmp",
      options: ["rw", "nosuid", "rw", "size=1024k"],
      type: "tmpfs",
      source: "tmpfs",
    });
  });

  it("is read with no optional field and with several, and an empty line is no mount", () => {
    const text = "22 1 8:1 / / rw - ext4 /dev/sda1 rw\n23 22 0:5 / /run rw shared:2 master:1 - tmpfs tmpfs rw\n\n";
    expect([...parseMounts(text).keys()]).toEqual(["/", "/run"]);
    expect(parseMounts(text).get("/run")?.type).toBe("tmpfs");
  });

  it("shows of mounts over one another the last", () => {
    expect(parseMounts(`${mount("/tmp", "rw,noexec")}\n${mount("/tmp", "rw")}`).get("/tmp")?.options).not.toContain(
      "noexec",
    );
  });
});

describe("the data volume", () => {
  const root = mount("/", "rw", "ext4", "/dev/sda1");
  const volume = (options: string, type = "xfs", source = "/dev/sdb") =>
    done(`${root}\n${mount("/var/lib/bailiwick", options, type, source)}\n`);

  it("holds on a disk of its own", () => {
    expect(judge("root/data-volume")(volume("rw,nosuid,nodev")).verdict).toBe("held");
  });

  it.each([
    [done(root), "/var/lib/bailiwick is no mount of its own"],
    [volume("rw,nodev"), "/var/lib/bailiwick lacks nosuid"],
    [volume("rw"), "/var/lib/bailiwick lacks nosuid, nodev"],
    [volume("rw,nosuid,nodev", "ext4"), "it is ext4"],
    [volume("rw,nosuid,nodev", "xfs", "/dev/sda1"), "it is on the root disk"],
  ])("is broken otherwise (%#)", (outcome, found) => {
    expect(judge("root/data-volume")(outcome)).toEqual({ verdict: "broken", found });
  });

  it("proves nothing when the mounts cannot be read", () => {
    expect(judge("root/data-volume")(failed("EACCES")).verdict).toBe("unprovable");
  });
});

describe("temporary folders", () => {
  const all = ["/tmp", "/var/tmp", "/dev/shm"];
  const mounts = (options: (path: string) => string) => done(all.map((path) => mount(path, options(path))).join("\n"));

  it("run nothing when each is mounted so, and are broken when one is not", () => {
    const tried = judge("root/temporary-mounts");
    expect(tried(mounts(() => "rw,nosuid,nodev,noexec")).verdict).toBe("held");
    expect(tried(mounts((path) => (path === "/dev/shm" ? "rw,nosuid,nodev" : "rw,nosuid,nodev,noexec")))).toEqual({
      verdict: "broken",
      found: "/dev/shm lacks noexec",
    });
    expect(tried(done("")).verdict).toBe("broken");
    expect(tried(failed("EACCES")).verdict).toBe("unprovable");
  });
});

describe("kernel settings", () => {
  const whole = Array.from({ length: 12 }, (_, i) => `net/setting_${i}\t1\t1`);
  const settings = (...lines: string[]) => [...whole, ...lines, ""].join("\n");
  const pattern = "kernel/core_pattern\t|/bin/false\tcore";
  const skipped = "/proc/sys/kernel/core_pattern\n";

  it("hold when each has its value; what this kernel lacks is not asked for", () => {
    expect(judgeSettings(settings("kernel/io_uring_disabled\t2\tabsent"), "", false)).toEqual({
      verdict: "held",
      found: "12 hold",
    });
  });

  it("are broken by one other value, on a machine of its own also when first boot could not set it", () => {
    const wrong = { verdict: "broken", found: "kernel/core_pattern is core, not |/bin/false" };
    expect(judgeSettings(settings(pattern), "", false)).toEqual(wrong);
    expect(judgeSettings(settings(pattern), skipped, false)).toEqual(wrong);
  });

  it("are the operator's in a container, but only those that first boot could not set", () => {
    expect(judgeSettings(settings(pattern), skipped, true)).toEqual({
      verdict: "held",
      found: "12 hold; 1 are the operator's kernel's, not the container's",
    });
    expect(judgeSettings(settings(pattern), "", true).verdict).toBe("broken");
  });

  it("are broken by forwarding in a container too, whoever set it", () => {
    const forwards = settings("net/ipv4/ip_forward\t0\t1");
    expect(judgeSettings(forwards, "/proc/sys/net/ipv4/ip_forward", true).verdict).toBe("broken");
  });

  it("prove nothing when there are too few to be the baseline's", () => {
    expect(judgeSettings("net/ipv4/ip_forward\t0\t0\n", "", false).verdict).toBe("unprovable");
  });

  it("prove nothing when they, or the list of what was skipped, cannot be read", () => {
    const tried = judge("root/kernel-settings");
    expect(tried({ values: printed(settings()), skipped: done("") }).verdict).toBe("held");
    expect(tried({ values: exited(2), skipped: done("") }).verdict).toBe("unprovable");
    expect(tried({ values: printed(settings()), skipped: failed("ENOENT") }).verdict).toBe("unprovable");
  });
});

describe("the release's spec", () => {
  it("is the one that probes are made from, or it was pushed before the last change", () => {
    expect(judge("root/spec")(digestOf(subject.spec)).verdict).toBe("held");
    expect(judge("root/spec")("ab".repeat(32))).toEqual({
      verdict: "broken",
      found: "abababababab: the spec has changed since; push it",
    });
  });
});

describe("first boot", () => {
  const record = (digest: string, status: string) =>
    done(`{"digest":"${digest}","status":"${status}","step":"packages","message":"exit 1"}\n`);

  it("holds when it is done with the spec's baseline", () => {
    expect(judge("root/baseline")(record(subject.spec.baseline, "done")).verdict).toBe("held");
  });

  it.each([
    [record(subject.spec.baseline, "failed"), "failed at packages"],
    [record("ab".repeat(32), "done"), "another baseline: abababababab"],
    [done("{}"), "the record of first boot cannot be read"],
    [failed("ENOENT"), "no record of first boot: ENOENT"],
  ])("is broken otherwise (%#)", (outcome, found) => {
    expect(judge("root/baseline")(outcome)).toEqual({ verdict: "broken", found });
  });
});

describe("listeners", () => {
  const tried = judge("root/listeners");
  const ssh = { protocol: "tcp", address: "0.0.0.0", port: 22 };

  it("beyond loopback are sshd's, and a DHCP client's answers", () => {
    const fine = [
      ssh,
      { protocol: "tcp", address: "127.0.0.1", port: 4000 },
      { protocol: "tcp", address: "::1", port: 20101 },
      { protocol: "udp", address: "192.0.2.7", port: 68 },
    ];
    expect(tried(fine)).toEqual({ verdict: "held", found: "TCP 22" });
  });

  it.each([
    ["tcp", "0.0.0.0", 4000],
    ["tcp", "::", 8080],
    ["udp", "0.0.0.0", 22],
    ["tcp", "0.0.0.0", 68],
  ])("are too many with %s %s:%i", (protocol, address, port) => {
    expect(tried([ssh, { protocol, address, port }])).toEqual({
      verdict: "broken",
      found: `${protocol} ${address}:${port}`,
    });
  });

  it("prove nothing when not even sshd is seen", () => {
    expect(tried([]).verdict).toBe("unprovable");
  });
});
