import { execFileSync } from "node:child_process";
import { ADMIN_KEY_PLACEHOLDER, renderUserData, type UserDataInput } from "../../cloud-init/baseline.ts";

/** A host as the tests want one. */
export const INPUT: UserDataInput = {
  host: "local",
  os: "debian-13",
  admin: { name: "ada", uid: 1000, publicKey: ADMIN_KEY_PLACEHOLDER },
};

/** The apply script as first boot runs it: the block scalar of runcmd, its one space of indentation taken off. */
export function applyScript(userData = renderUserData(INPUT)): string {
  const block = /^- &apply \|\n((?: .*\n)+)/m.exec(userData)?.[1];
  if (block === undefined) throw new Error("the user data has no apply script");
  return block.replace(/^ /gm, "");
}

/** The files that the apply script puts in place, by the path or name it is told. */
export function hostFiles(script = applyScript()): ReadonlyMap<string, string> {
  const [, ...sections] = `\n${script}`.split(/\n@/);
  return new Map(
    sections.map((section) => {
      const end = section.indexOf("\n");
      return [section.slice(0, end), `${section.slice(end + 1).replace(/\n$/, "")}\n`];
    }),
  );
}

/** One file of hostFiles. */
export function hostFile(path: string): string {
  const text = hostFiles().get(path);
  if (text === undefined) throw new Error(`no file ${path}; there are: ${[...hostFiles().keys()].join(", ")}`);
  return text;
}

/** sshd's settings, which cloud-init itself writes: they must be there before sshd first starts. */
export function sshdSettings(userData = renderUserData(INPUT)): string {
  return (/10-bailiwick\.conf\n(?: .*\n)*? content: \|\n((?: {2}.*\n)+)/.exec(userData)?.[1] ?? "").replace(
    /^ {2}/gm,
    "",
  );
}

/** Whether a program is on this machine. */
export function has(command: string): boolean {
  try {
    execFileSync("sh", ["-c", `command -v ${command}`]);
    return true;
  } catch {
    return false;
  }
}
