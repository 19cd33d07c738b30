import { type Command, parseCall } from "./command.ts";
import { EXIT, errorKind, exitCodeOf, UsageError } from "./errors.ts";
import { kitVersion } from "./kit.ts";
import { makeOutput, table } from "./output.ts";

// Each is loaded when it is called: reading all of the kit takes longer than most of them.
const commands: Record<string, () => Promise<Command>> = {
  push: async () => (await import("./commands/push.ts")).push,
  ask: async () => (await import("./commands/ask.ts")).ask,
  verify: async () => (await import("./commands/verify.ts")).verify,
  status: async () => (await import("./commands/status.ts")).status,
  releases: async () => (await import("./commands/releases.ts")).releases,
  rollback: async () => (await import("./commands/rollback.ts")).rollback,
  rebuild: async () => (await import("./commands/rebuild.ts")).rebuild,
  secrets: async () => (await import("./commands/secrets.ts")).secrets,
  spend: async () => (await import("./commands/spend.ts")).spend,
  mcp: async () => (await import("./commands/mcp.ts")).mcp,
  approve: async () => (await import("./commands/approve.ts")).approve,
  logs: async () => (await import("./commands/logs.ts")).logs,
  ssh: async () => (await import("./commands/ssh.ts")).ssh,
  doctor: async () => (await import("./commands/doctor.ts")).doctor,
  bundle: async () => (await import("./commands/bundle.ts")).bundle,
  local: async () => (await import("./commands/local.ts")).local,
  machine: async () => (await import("./commands/machine.ts")).machine,
};

async function usage(): Promise<string> {
  const all = await Promise.all(Object.values(commands).map((load) => load()));
  const rows = all.map((command) => [`  ${command.usage}`, command.summary]);
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
    process.stdout.write(`${await usage()}\n`);
    return verb === undefined ? EXIT.usage : EXIT.held;
  }
  if (verb === "--version") {
    process.stdout.write(`${kitVersion()}\n`);
    return EXIT.held;
  }
  try {
    const load = Object.hasOwn(commands, verb) ? commands[verb] : undefined;
    if (load === undefined)
      throw new UsageError(`received command "${verb}"; there are ${Object.keys(commands).join(", ")}`);
    const command = await load();
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
