import type { Connection } from "../../ssh/connection.ts";
import type { Command } from "../command.ts";
import { EXIT, UsageError } from "../errors.ts";
import { withHost } from "../session.ts";

export const logs: Command = {
  usage: "logs <host> [--unit <name>] [-n <lines>] [-f] [--json]",
  summary: "the journal of everything the kit runs; -f follows it",
  options: {
    unit: { type: "string", short: "u" },
    lines: { type: "string", short: "n" },
    follow: { type: "boolean", short: "f" },
  },
  words: [1, 1],
  async run(call, output) {
    const unit = call.text("unit") ?? "*";
    const lines = call.text("lines") ?? "50";
    if (!/^[a-z0-9*@.-]+$/.test(unit))
      throw new UsageError(
        `received --unit ${JSON.stringify(unit)}; write a unit's name as status shows it, such as gateway or agent-main`,
      );
    if (!/^\d{1,6}$/.test(lines)) throw new UsageError(`received -n ${JSON.stringify(lines)}; write a number of lines`);
    const name = unit.startsWith("bailiwick-") ? unit : `bailiwick-${unit}`;
    // Selected by what the journal itself knows (_SYSTEMD_UNIT, and the identifier of root's audit lines), never by a message's text.
    const own = unit === "*" ? "+ SYSLOG_IDENTIFIER=bailiwick _UID=0" : "";
    const format = output.json ? "--output=json" : "--output=short-iso";
    const pattern = unit === "*" ? "" : `--unit '${name}'`;
    const command =
      unit === "*"
        ? `sudo -n sh -c 'exec journalctl --no-pager --lines=${lines} ${format} ${call.flag("follow") ? "--follow" : ""} $(systemctl list-units --all --plain --no-legend "bailiwick-*" | while read -r unit rest; do printf "_SYSTEMD_UNIT=%s " "$unit"; done) ${own}'`
        : `sudo -n journalctl --no-pager --lines=${lines} ${format} ${call.flag("follow") ? "--follow" : ""} ${pattern}`;
    return withHost(call.words[0] ?? "", async ({ connection }) => {
      if (unit !== "*") await requireUnit(connection, name);
      const { code, stderr } = await connection.exec(command, {
        onStdout: (chunk) => {
          process.stdout.write(chunk);
        },
      });
      if (code !== 0) process.stderr.write(stderr);
      return code === 0 ? EXIT.held : EXIT.failed;
    });
  },
};

/** @throws UsageError naming the units there are: the journal itself says of an unknown unit only that it has no lines */
async function requireUnit(connection: Connection, name: string): Promise<void> {
  const { stdout } = await connection.exec(
    "systemctl list-units --all --plain --no-legend --full 'bailiwick-*' | cut -d' ' -f1; cd /etc/systemd/system && ls -d bailiwick-* 2>/dev/null",
  );
  const units = [...new Set(stdout.split("\n").filter((one) => /\.(service|timer|socket|mount)$/.test(one)))].sort();
  const wanted = new RegExp(`^${name.replace(/[.]/g, "\\.").replace(/[*]/g, ".*")}(\\.[a-z]+)?$`);
  if (units.some((one) => wanted.test(one))) return;
  const known = units.map((one) => one.replace(/^bailiwick-|\.service$/g, ""));
  throw new UsageError(`received --unit "${name.replace(/^bailiwick-/, "")}"; the host has ${known.join(", ")}`);
}
