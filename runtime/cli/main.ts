import { type Command, parseCall } from "./command.ts";
import { ask } from "./commands/ask.ts";
import { bundle } from "./commands/bundle.ts";
import { doctor } from "./commands/doctor.ts";
import { local } from "./commands/local.ts";
import { logs } from "./commands/logs.ts";
import { push } from "./commands/push.ts";
import { rebuild } from "./commands/rebuild.ts";
import { releases } from "./commands/releases.ts";
import { rollback } from "./commands/rollback.ts";
import { secrets } from "./commands/secrets.ts";
import { spend } from "./commands/spend.ts";
import { ssh } from "./commands/ssh.ts";
import { status } from "./commands/status.ts";
import { verify } from "./commands/verify.ts";
import { EXIT, errorKind, exitCodeOf, UsageError } from "./errors.ts";
import { kitVersion } from "./kit.ts";
import { makeOutput, table } from "./output.ts";

const commands: Record<string, Command> = {
  push,
  ask,
  verify,
  status,
  releases,
  rollback,
  rebuild,
  secrets,
  spend,
  logs,
  ssh,
  doctor,
  bundle,
  local,
};

function usage(): string {
  const rows = Object.values(commands).map((command) => [`  ${command.usage}`, command.summary]);
  return [
    `bailiwick ${kitVersion()}: hardened agent hosts, every boundary proven`,
    "",
    "usage: bailiwick <command> <host> [--json]",
    "",
    ...table(rows),
    "",
    "exit codes: 0 held, 1 the check or deploy failed, 2 wrong usage or spec, 3 the host could not be reached or trusted",
  ].join("\n");
}

async function main(argv: readonly string[]): Promise<number> {
  const [verb, ...args] = argv;
  const output = makeOutput(args.includes("--json"));
  if (verb === undefined || verb === "help" || verb === "--help" || verb === "-h") {
    process.stdout.write(`${usage()}\n`);
    return verb === undefined ? EXIT.usage : EXIT.held;
  }
  if (verb === "--version") {
    process.stdout.write(`${kitVersion()}\n`);
    return EXIT.held;
  }
  try {
    const command = Object.hasOwn(commands, verb) ? commands[verb] : undefined;
    if (command === undefined)
      throw new UsageError(`received command "${verb}"; there are ${Object.keys(commands).join(", ")}`);
    const call = parseCall(command, args);
    if (call.flag("help")) {
      process.stdout.write(`usage: bailiwick ${command.usage}\n${command.summary}\n`);
      return EXIT.held;
    }
    return await command.run(call, output);
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    output.document({ error: { kind: errorKind(error), message } });
    if (!output.json) process.stderr.write(`bailiwick ${verb}: ${message}\n`);
    if (process.env.BAILIWICK_DEBUG && error instanceof Error) process.stderr.write(`${error.stack}\n`);
    return exitCodeOf(error);
  }
}

process.exitCode = await main(process.argv.slice(2));
