import { describe, expect, it } from "vitest";
import type { MachineFacts } from "../../../runtime/existing/facts.ts";
import { objectionsTo } from "../../../runtime/existing/objections.ts";

const root = { name: "root", uid: 0, shell: "/bin/bash", home: "/root", password: false };
const deploy = { name: "deploy", uid: 1500, shell: "/bin/bash", home: "/home/deploy", password: true };
const bob = { name: "bob", uid: 1001, shell: "/bin/bash", home: "/home/bob", password: false };

/** A fresh Debian 13 server, as it comes. */
const BARE: MachineFacts = {
  os: "debian-13",
  arch: "x86_64",
  init: "systemd",
  uid: 0,
  ssh: "active",
  hostKey: "ssh-ed25519 AAAA",
  baseline: null,
  cloudInit: true,
  accounts: [root, deploy, { name: "sync", uid: 4, shell: "/bin/sync", home: "/bin", password: false }],
  keys: [{ account: "deploy", path: "/home/deploy/.ssh/authorized_keys" }],
  sudo: ["deploy"],
  sudoers: [],
  listening: [
    { protocol: "tcp", local: "0.0.0.0:22", unit: "ssh.service", program: "sshd" },
    { protocol: "udp", local: "203.0.113.9%eth0:68", unit: "systemd-networkd.service", program: "systemd-network" },
    { protocol: "udp", local: "0.0.0.0:68", unit: "ifup@eth0.service", program: "dhclient" },
    { protocol: "udp", local: "127.0.0.53%lo:53", unit: "systemd-resolved.service", program: "systemd-resolve" },
    { protocol: "udp", local: "127.0.0.1:323", unit: "chrony.service", program: "chronyd" },
  ],
  running: [
    "cron.service",
    "dbus.service",
    "getty@tty1.service",
    "qemu-guest-agent.service",
    "serial-getty@ttyS0.service",
    "ssh.service",
    "systemd-journald.service",
    "systemd-timesyncd.service",
    "unattended-upgrades.service",
    "user@1500.service",
  ],
  crontabs: [],
  tables: [],
  device: "blank",
  missing: ["haproxy"],
  files: new Map(),
};
const WANTED = { os: "debian-13", user: "deploy", admins: { ada: 1000 }, dataDevice: "bailiwick-data" };

const never = (change: Partial<MachineFacts>, wanted = WANTED) => objectionsTo({ ...BARE, ...change }, wanted).never;
const others = (change: Partial<MachineFacts>) => objectionsTo({ ...BARE, ...change }, WANTED).others;

describe("what stands against making a host of a machine", () => {
  it("is nothing on a server as it comes", () => {
    expect(objectionsTo(BARE, WANTED)).toEqual({ never: [], others: [] });
  });

  it("is nothing on one that is a host already, whose agents run", () => {
    const running = [...BARE.running, "bailiwick-agent-main.service", "bailiwick-firewall.service"];
    const gateway = { protocol: "tcp", local: "127.0.0.1:4000", unit: "bailiwick-gateway.service", program: "node" };
    const tables = ["inet bailiwick", "inet bailiwick_base"];
    const agent = { name: "bw-agent-main", uid: 20_123, shell: "/usr/sbin/nologin", home: "/", password: false };
    const host = { running, listening: [...BARE.listening, gateway], tables, device: "mounted" };
    expect(objectionsTo({ ...BARE, ...host, accounts: [...BARE.accounts, agent] }, WANTED)).toEqual({
      never: [],
      others: [],
    });
  });

  it.each<[Partial<MachineFacts>, string]>([
    [{ os: "ubuntu-24.04" }, "it runs ubuntu-24.04; debian-13 is taken"],
    [{ os: "debian-12" }, "it runs debian-12; debian-13 is taken"],
    [{ arch: "aarch64" }, "it is aarch64; what is put on it is built for x86_64"],
    [{ init: "init" }, "its init is init; systemd is needed"],
    [{ uid: 1500 }, 'root cannot be had as "deploy"; let it sudo without a password'],
    [{ ssh: "inactive" }, "ssh.service is inactive; its sshd must run by that unit: systemctl enable --now ssh"],
    [{ device: "absent" }, "there is no block device /dev/disk/by-id/bailiwick-data; ls -l /dev/disk/by-id"],
    [
      { device: "foreign TYPE=ext4" },
      "/dev/disk/by-id/bailiwick-data is neither blank nor a host's data volume; give another, or wipe it (foreign TYPE=ext4)",
    ],
    [
      { accounts: [root, { ...bob, uid: 1000 }] },
      'uid 1000 of admin "ada" is that of its account "bob"; give the admin another uid',
    ],
    [
      { accounts: [root, { ...bob, name: "ada" }] },
      'it has an account "ada" with uid 1001; write admins: { ada: { key, uid: 1001 } }',
    ],
    [
      { accounts: [root, { ...bob, uid: 20_500 }] },
      'its account "bob" has uid 20500, and 20000 to 29999 are for principals',
    ],
  ])("never takes %o", (change, problem) => {
    expect(never(change)).toEqual([problem]);
  });

  it("does not take Ubuntu without nft, whose baseline has nothing to close it with while nft is fetched", () => {
    const wanted = { ...WANTED, os: "ubuntu-24.04" };
    expect(never({ os: "ubuntu-24.04" }, wanted)).toEqual([]);
    expect(never({ os: "ubuntu-24.04", missing: ["nftables"] }, wanted)).toEqual([
      "it has no nft, and nothing may be fetched before a firewall is in force: apt-get install nftables",
    ]);
    expect(never({ missing: ["nftables"] })).toEqual([]);
  });

  it("takes an account of an admin's name if it has the admin's uid", () => {
    expect(never({ accounts: [root, { ...bob, name: "ada", uid: 1000 }] })).toEqual([]);
  });

  it.each<[Partial<MachineFacts>, string]>([
    [{ running: [...BARE.running, "nginx.service"] }, "service nginx.service runs"],
    [{ running: [...BARE.running, "docker.service"] }, "service docker.service runs"],
    // a name that begins like one of the base system's is not one
    [{ running: [...BARE.running, "cronicle.service"] }, "service cronicle.service runs"],
    [{ running: [...BARE.running, "sshd-tunnel.service"] }, "service sshd-tunnel.service runs"],
    [
      {
        listening: [
          { protocol: "tcp", local: "127.0.0.1:5432", unit: "postgresql@17-main.service", program: "postgres" },
        ],
      },
      "postgres (postgresql@17-main.service) listens on tcp 127.0.0.1:5432",
    ],
    [
      { listening: [{ protocol: "tcp", local: "0.0.0.0:8080", unit: "session-4.scope", program: "python3" }] },
      "python3 (session-4.scope) listens on tcp 0.0.0.0:8080",
    ],
    [
      { listening: [{ protocol: "tcp", local: "*:9090", unit: "init.scope", program: "systemd" }] },
      "systemd (init.scope) listens on tcp *:9090",
    ],
    [{ accounts: [root, deploy, { ...bob, password: true }] }, 'account "bob" can log in'],
    [
      {
        accounts: [root, deploy, bob],
        keys: [...BARE.keys, { account: "bob", path: "/home/bob/.ssh/authorized_keys" }],
      },
      'account "bob" can log in',
    ],
    [{ tables: ["ip nat"] }, 'there is a firewall table "ip nat"'],
    [{ crontabs: ["/var/spool/cron/crontabs/root"] }, "there is a crontab /var/spool/cron/crontabs/root"],
  ])("takes it only when that is said: %o", (change, problem) => {
    expect(others(change)).toEqual([problem]);
    expect(never(change)).toEqual([]);
  });

  it("does not count an account that nothing opens", () => {
    expect(others({ accounts: [root, deploy, bob] })).toEqual([]);
  });
});
