import { ADMIN_KEY_PLACEHOLDER, BASELINE_PACKAGES, type Baseline, renderBaseline } from "../../cloud-init/baseline.ts";
import { compareFiles } from "../release/dry-run.ts";
import type { MachineFacts } from "./facts.ts";

/** Files that first boot's script makes, besides those that it carries, and those that it edits. */
const MADE = [
  "/etc/bailiwick/baseline.json",
  "/etc/bailiwick/claimed",
  "/etc/bailiwick/sysctl-skipped",
  "/etc/modprobe.d/bailiwick.conf",
  "/etc/needrestart/conf.d/bailiwick.conf",
  "/etc/systemd/journald.conf.d/bailiwick.conf",
];
const LOGIN_DEFS = "/etc/login.defs";
const FSTAB = "/etc/fstab";
const TEMPORARY = "nosuid,nodev,noexec,x-bailiwick";

/** Paths of every file that the baseline makes, whatever it is made from. */
export function madeFiles(): string[] {
  const anybody = { name: "admin", uid: 1000, publicKey: ADMIN_KEY_PLACEHOLDER };
  return [...renderBaseline({ os: "debian-13", admin: anybody }).files.map(({ path }) => path), ...MADE];
}

/** Paths whose contents decide what would change. */
export function filesThatChange(): string[] {
  return [...madeFiles(), LOGIN_DEFS, FSTAB];
}

/** What would change on the machine. */
export interface Changes {
  readonly files: ReturnType<typeof compareFiles>;
  /** All that is no file: one sentence each. */
  readonly also: readonly string[];
}

/** What putting the baseline on the machine would change: nothing, if it is on it already. */
export function changesOn(facts: MachineFacts, baseline: Baseline, admin: { name: string; uid: number }): Changes {
  const before = [...facts.files].map(([path, content]) => ({ path, content }));
  const whole = facts.baseline?.done === true && facts.baseline.digest === baseline.digest;
  const kept = before.filter(({ path }) => MADE.includes(path));
  const after = [
    ...baseline.files,
    ...(whole ? kept : MADE.map((path) => ({ path, content: "" }))),
    { path: LOGIN_DEFS, content: loginDefs(facts.files.get(LOGIN_DEFS) ?? "") },
    { path: FSTAB, content: fstab(facts.files.get(FSTAB) ?? "") },
  ];
  return { files: compareFiles(before, after), also: whole ? [] : also(facts, admin) };
}

function loginDefs(text: string): string {
  return `${linesWithout(text, /^#?\s*([UG]ID_MAX|UMASK)\s/)}UID_MAX 19999\nGID_MAX 19999\nUMASK 027\n`;
}

function fstab(text: string): string {
  const rest = linesWithout(text, /x-bailiwick/);
  return `${rest}tmpfs /tmp tmpfs ${TEMPORARY}\n/var/tmp /var/tmp none bind,${TEMPORARY}\ntmpfs /dev/shm tmpfs ${TEMPORARY}\n`;
}

function linesWithout(text: string, pattern: RegExp): string {
  const lines = text.replace(/\n$/, "").split("\n");
  return lines.flatMap((line) => (pattern.test(line) ? [] : [`${line}\n`])).join("");
}

function also(facts: MachineFacts, admin: { name: string; uid: number }): string[] {
  const missing = BASELINE_PACKAGES.filter((name) => facts.missing.includes(name));
  const closed = facts.listening.filter(({ local }) => !/^127\.|^\[::1\]|:22$/.test(local));
  const retired = retiredWays(facts, admin.name);
  return [
    ...(missing.length === 0 ? [] : [`install ${missing.join(", ")}`]),
    ...(facts.accounts.some(({ name }) => name === admin.name)
      ? []
      : [`make account "${admin.name}" with uid ${admin.uid}`]),
    "let only admins of the host log in, by their keys",
    ...[...retired.keys, ...retired.sudoers].map((path) => `put aside ${path}`),
    ...retired.sudo.map((name) => `take "${name}" out of group sudo`),
    ...retired.passwords.map((name) => `lock the password of "${name}"`),
    "let nothing in but SSH",
    ...closed.map(({ protocol, local, program }) => `close ${protocol} ${local} (${program}) to the network`),
    "run no programs from /tmp, /var/tmp and /dev/shm",
    ...(facts.device === "blank" ? ["format the data volume, which is blank"] : []),
    ...(facts.cloudInit ? ["turn cloud-init off and destroy what it was given, at the first push"] : []),
    "replace the host key, and remove those of other kinds, at the first push",
  ];
}

/** Ways in that end when the admins have theirs. */
export function retiredWays(facts: MachineFacts, admin: string) {
  return {
    keys: facts.keys.flatMap(({ account, path }) => (account === admin ? [] : [path])),
    sudoers: facts.sudoers,
    sudo: facts.sudo,
    passwords: facts.accounts.flatMap(({ name, password }) => (password ? [name] : [])),
  };
}
