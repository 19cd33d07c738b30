import { describe, expect, it } from "vitest";
import { renderBaseline } from "../../cloud-init/baseline.ts";
import { renderRelease } from "../../runtime/release/render/release.ts";
import type { OperatingSystem } from "../../runtime/spec/operating-system.ts";
import { sampleInput, sampleSpec } from "../runtime/release/render/sample.ts";
import { INPUT } from "./host-files.ts";

// What sshd and systemd of each system know, by the version that brought it, as their manuals and release notes tell. sshd
// refuses a word that it does not know and locks everybody out; systemd ignores it, and the sandbox lacks what it asked for.

const SYSTEMS: readonly { os: OperatingSystem; openssh: number; systemd: number }[] = [
  { os: "debian-12", openssh: 9.2, systemd: 252 },
  { os: "debian-13", openssh: 10.0, systemd: 257 },
  { os: "ubuntu-24.04", openssh: 9.6, systemd: 255 },
];

/** Options, and names of algorithms; what is older than OpenSSH 6 is under 5. */
const OPENSSH: Readonly<Record<string, string>> = {
  5: `AllowGroups AuthorizedKeysFile Banner Ciphers HostKey KbdInteractiveAuthentication LogLevel LoginGraceTime MACs
    MaxAuthTries PasswordAuthentication PermitRootLogin KexAlgorithms`,
  6.2: "AuthenticationMethods aes256-gcm@openssh.com hmac-sha2-256-etm@openssh.com hmac-sha2-512-etm@openssh.com",
  6.5: "chacha20-poly1305@openssh.com ssh-ed25519",
  6.7: "PermitUserRC",
  7.4: "DisableForwarding curve25519-sha256",
  8.2: "sk-ssh-ed25519@openssh.com",
  8.5: "PubkeyAcceptedAlgorithms sntrup761x25519-sha512@openssh.com",
  9.9: "mlkem768x25519-sha256",
};
const ALGORITHMS = /^(KexAlgorithms|Ciphers|MACs|PubkeyAcceptedAlgorithms) (.*)$/gm;

/** Settings of units; what is older than 240 is under 239. */
const SYSTEMD: Readonly<Record<string, string>> = {
  239: `After AmbientCapabilities AssertPathIsMountPoint Before BindPaths BindReadOnlyPaths BindsTo CPUQuota
    CapabilityBoundingSet CollectMode Conflicts DefaultDependencies Description DevicePolicy Environment ExecReload ExecStart
    ExecStartPre Group IPAddressAllow IPAddressDeny InaccessiblePaths KeyringMode KillMode LimitCORE LimitNOFILE
    LockPersonality MemoryDenyWriteExecute MemoryHigh MemoryMax MemorySwapMax NoNewPrivileges NotifyAccess OnBootSec Options
    PrivateDevices PrivateMounts PrivateTmp PrivateUsers ProtectControlGroups ProtectHome ProtectKernelModules
    ProtectKernelTunables ProtectSystem RemainAfterExit RemoveIPC Requires RequiresMountsFor Restart RestartPreventExitStatus
    RestartSec RestrictAddressFamilies RestrictNamespaces RestrictRealtime RuntimeDirectory RuntimeDirectoryMode
    StandardError StandardOutput StartLimitBurst StartLimitIntervalSec SuccessExitStatus SystemCallArchitectures
    SystemCallErrorNumber SystemCallFilter TasksMax TemporaryFileSystem TimeoutStartSec TimeoutStopSec Type UMask User
    WantedBy Wants What Where WorkingDirectory`,
  240: "LogRateLimitBurst LogRateLimitIntervalSec",
  242: "ProtectHostname RestrictSUIDSGID",
  243: "OOMPolicy",
  244: "ConditionPathExists ProtectKernelLogs",
  245: "ProtectClock",
  247: "ProcSubset ProtectProc SetCredential",
  248: "ExecPaths NoExecPaths PrivateIPC",
  249: "SocketBindAllow SocketBindDeny",
  250: "LoadCredentialEncrypted",
};

/** The version that each of the words needs; Infinity for one that the table lacks. */
function needs(table: Readonly<Record<string, string>>, words: Iterable<string>): Map<string, number> {
  const known = Object.entries(table).flatMap(([version, names]) =>
    names.split(/\s+/).map((name) => [name, Number(version)] as const),
  );
  const versions = new Map(known);
  return new Map([...words].map((word) => [word, versions.get(word) ?? Number.POSITIVE_INFINITY]));
}

const newer = (all: Map<string, number>, than: number) =>
  [...all].filter(([, version]) => version > than).map(([word]) => word);

describe.each(SYSTEMS)("$os", ({ os, openssh, systemd }) => {
  const { files } = renderBaseline({ ...INPUT, os });

  it(`asks nothing of OpenSSH ${openssh} that came later`, () => {
    const text = files[1].content;
    const options = text.split("\n").flatMap((line) => /^([A-Za-z]+) /.exec(line)?.[1] ?? []);
    const algorithms = [...text.matchAll(ALGORITHMS)].flatMap(([, , names = ""]) => names.split(","));
    expect(algorithms.length).toBeGreaterThan(6);
    const asked = needs(OPENSSH, [...options, ...algorithms]);
    expect(newer(asked, openssh)).toEqual([]);
    // control: what Debian 13 is given is more than the others know
    const modern = needs(OPENSSH, ["mlkem768x25519-sha256", "PerSourcePenalties"]);
    expect(newer(modern, openssh)).toContain("PerSourcePenalties");
    expect(newer(modern, openssh).includes("mlkem768x25519-sha256")).toBe(openssh < 9.9);
  });

  it(`asks nothing of systemd ${systemd} that came later`, () => {
    const release = renderRelease(
      sampleInput(
        sampleSpec((spec) => {
          spec.os = os;
        }),
      ),
    );
    const units = [
      ...files.filter(({ path }) => path.startsWith("/etc/systemd/system/")),
      ...release.files.filter(({ path }) => path.startsWith("units/")),
    ];
    const settings = units.flatMap(({ content }) =>
      [...content.matchAll(/^([A-Z][A-Za-z0-9-]*)=/gm)].flatMap(([, name = ""]) => (name.startsWith("X-") ? [] : name)),
    );
    const asked = needs(SYSTEMD, new Set(settings));
    expect(asked.size).toBeGreaterThan(60);
    expect(newer(asked, systemd)).toEqual([]);
    expect(newer(asked, 249)).toEqual(["LoadCredentialEncrypted"]);
  });
});
