import { execFile } from "node:child_process";
import { checkPrerequisites, checkQemu } from "../../local/prerequisites.ts";
import type { Command } from "../command.ts";
import { EXIT } from "../errors.ts";
import { table } from "../output.ts";

interface Check {
  id: string;
  ok: boolean;
  found: string;
  fix: string | null;
  /** Needed by some hosts only. */
  optional?: true;
}

export const doctor: Command = {
  usage: "doctor [--json]",
  summary: "what this computer lacks to run the kit, and the command that installs it",
  words: [0, 0],
  async run(_call, output) {
    const checks: Check[] = [node(), await terraform(), await openssh(), ...(await localMachine())];
    const absent = checks.filter((check) => !check.ok);
    const missing = absent.filter((check) => check.optional !== true);
    output.document({ ok: missing.length === 0, checks });
    const word = ({ ok, optional }: Check) => (ok ? "  ok     " : optional ? "  optional" : "  missing");
    for (const line of table(checks.map((check) => [word(check), check.id, check.found]))) output.say(line);
    for (const check of absent)
      output.say(`\n${check.id}: ${check.fix}${check.optional ? ", for virtual machines" : ""}`);
    if (missing.length === 0) output.say("this computer has all it needs");
    return missing.length === 0 ? EXIT.held : EXIT.failed;
  },
};

/** As `engines` in package.json says. */
const LEAST_MINOR: Readonly<Record<number, number>> = { 20: 19, 22: 12, 24: 0 };

function node(): Check {
  const [major = 0, minor = 0] = process.versions.node.split(".").map(Number);
  const least = LEAST_MINOR[major];
  const ok = least !== undefined && minor >= least;
  const fix = ok ? null : "install Node.js 22.12 or later of 22, or 24 (20.19 or later of 20 works too)";
  return { id: "node", ok, found: process.versions.node, fix };
}

async function terraform(): Promise<Check> {
  const program = process.env.TERRAFORM_BINARY_NAME ?? "terraform";
  const found = (await firstLine(program, ["version"])) ?? "not found";
  const [, name, major, minor] = /(Terraform|OpenTofu) v(\d+)\.(\d+)/.exec(found) ?? [];
  // OpenTofu began with what Terraform 1.6 was
  const ok = name === "OpenTofu" || Number(major) > 1 || (Number(major) === 1 && Number(minor) >= 5);
  return {
    id: "terraform",
    ok,
    found,
    fix: ok ? null : "install Terraform 1.5 or later, or OpenTofu and set TERRAFORM_BINARY_NAME=tofu",
  };
}

async function openssh(): Promise<Check> {
  const found = (await firstLine("ssh", ["-V"])) ?? "not found";
  const ok = found !== "not found";
  return { id: "ssh and ssh-keygen", ok, found, fix: ok ? null : "apt-get install openssh-client" };
}

async function localMachine(): Promise<Check[]> {
  if (process.platform !== "linux")
    return [
      {
        id: "local machine",
        ok: false,
        found: process.platform,
        fix: "the local machine needs Linux; other machines can be deployed from here",
      },
    ];
  return [...(await checkPrerequisites()), ...checkQemu().map((check) => ({ ...check, optional: true as const }))];
}

function firstLine(program: string, args: string[]): Promise<string | undefined> {
  return new Promise((done) => {
    execFile(program, args, (error, stdout, stderr) =>
      done(error === null ? (stdout || stderr).split("\n")[0]?.trim() : undefined),
    );
  });
}
