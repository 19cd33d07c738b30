import type { AddressInfo } from "node:net";
import { adminServer } from "./admin.ts";
import { ConfigError, type Loaded, loadConfig } from "./config.ts";
import { type Guard, makeGuard } from "./guard.ts";
import { openLog } from "./log.ts";
import { guardServer } from "./server.ts";

// The MCP guard: agents call tools through it, each with its own token; it decides by the grants and by what was reviewed of
// each tool, and relays. Configured by one file, $CREDENTIALS_DIRECTORY, and the admin socket that systemd hands over.
//   mcp-guard <configuration file>
// SIGTERM lets open calls end for at most DRAIN_MS.

const DRAIN_MS = 8_000;
const IDLE_CHECK_MS = 10_000;
/** First descriptor that systemd passes (sd_listen_fds). */
const FIRST_FD = 3;

function initial(file: string | undefined): Loaded {
  try {
    if (file === undefined) throw new ConfigError("received no argument; call it with the path of its configuration");
    return loadConfig(file, process.env.CREDENTIALS_DIRECTORY);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    process.stderr.write(`mcp-guard: ${error.message}\n`);
    process.exit(1);
  }
}

function main(file: string | undefined): void {
  const { config, servers } = initial(file);
  const log = openLog();
  let guard: Guard = makeGuard(config, servers, log);
  const server = guardServer(() => guard);
  server.http.on("error", (error: NodeJS.ErrnoException) => {
    process.stderr.write(
      `mcp-guard: cannot listen on 127.0.0.1:${config.listen.port} (${error.code}); is another running?\n`,
    );
    process.exit(1);
  });
  const admin = process.env.LISTEN_FDS === "1" ? adminServer(guard) : undefined;
  admin?.listen({ fd: FIRST_FD });
  server.http.listen(config.listen.port, config.listen.host, () => {
    const { port } = server.http.address() as AddressInfo;
    guard = { ...guard, port };
    const granted = servers.map(
      ({ name, grants }) => `${name} (${grants.reduce((n, { tools }) => n + tools.length, 0)})`,
    );
    log.info({ port, node: process.version, admin: admin !== undefined, granted }, "started");
  });
  const idle = setInterval(() => guard.sessions.endIdle(config.limits.idleMs), IDLE_CHECK_MS);
  process.once("SIGTERM", () => {
    log.info("stopping");
    clearInterval(idle);
    admin?.close();
    void server.drain(DRAIN_MS).then(() => {
      guard.sessions.endAll();
      log.info("stopped");
      process.exit(0);
    });
  });
}

main(process.argv[2]);
