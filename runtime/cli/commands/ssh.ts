import { spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Command } from "../command.ts";
import { EXIT } from "../errors.ts";
import { findIdentity } from "../identity.ts";
import { openHost } from "../session.ts";

export const ssh: Command = {
  usage: "ssh <host> [<command>...]",
  summary: "a shell on the host as yourself, its key pinned to the attested one",
  words: [1, Number.POSITIVE_INFINITY],
  async run(call) {
    const [name = "", ...command] = call.words;
    const { address, admin, spec, connection } = await openHost(name);
    await connection.close();
    const { identity } = await findIdentity(spec);
    // OpenSSH takes the key that was just attested, and no other.
    const directory = mkdtempSync(join(tmpdir(), "bailiwick-"));
    try {
      const known = join(directory, "known_hosts");
      // OpenSSH looks its default port up by the bare name
      const listed = address.port === 22 ? address.host : `[${address.host}]:${address.port}`;
      writeFileSync(known, `${listed} ${connection.hostKey}\n`, { mode: 0o600 });
      const args = [
        "-F",
        "none",
        "-o",
        `UserKnownHostsFile=${known}`,
        "-o",
        "GlobalKnownHostsFile=none",
        "-o",
        "StrictHostKeyChecking=yes",
        // the banner is the attestation, for programs; errors are still shown
        "-o",
        "LogLevel=ERROR",
      ];
      args.push("-o", "HostKeyAlgorithms=ssh-ed25519", "-p", String(address.port), "-l", admin);
      if (identity.kind === "file") args.push("-o", "IdentitiesOnly=yes", "-i", identity.path);
      args.push(address.host, ...command);
      const code = await new Promise<number>((done, fail) => {
        spawn("ssh", args, { stdio: "inherit" })
          .on("error", fail)
          .on("close", (status) => done(status ?? EXIT.failed));
      });
      return code;
    } finally {
      rmSync(directory, { recursive: true });
    }
  },
};
