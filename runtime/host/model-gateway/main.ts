import { renameSync, writeFileSync } from "node:fs";
import type { Server } from "node:http";
import type { AddressInfo } from "node:net";
import { adminServer } from "./admin.ts";
import { Bodies } from "./body.ts";
import type { Gateway } from "./call.ts";
import { ConfigError, checkConfig, loadPolicy, type Policy } from "./config.ts";
import { Ledger } from "./ledger.ts";
import { Limiter } from "./limiter.ts";
import { errorCode, openLog } from "./log.ts";
import { Metrics } from "./metrics.ts";
import { gatewayServer } from "./server.ts";

// The model gateway: agents come with a virtual key and ask in their provider's own format; it decides by the grants,
// adds the provider's key, and passes bytes through. Configured by one file and $CREDENTIALS_DIRECTORY alone.
//   model-gateway <configuration file> [<the file that SIGHUP reads instead>]
//   model-gateway --check <configuration file> [<where to put it if it can be used>]
// SIGHUP reads file and credentials again, SIGTERM lets open calls finish for at most DRAIN_MS.

const DRAIN_MS = 10_000;
/** How often the report reaches the disk, and promises beyond need are given back. */
const FLUSH_MS = 5_000;

function initialPolicy(file: string | undefined): Policy {
  try {
    if (file === undefined) throw new ConfigError("received no argument; call it with the path of its configuration");
    return loadPolicy(file, process.env.CREDENTIALS_DIRECTORY);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    process.stderr.write(`model-gateway: ${error.message}\n`);
    process.exit(1);
  }
}

/** The new policy, or the old one if the new cannot be used. */
function reloadedPolicy(gateway: Gateway, file: string): Policy {
  try {
    const policy = loadPolicy(file, process.env.CREDENTIALS_DIRECTORY, gateway.policy);
    for (const name of ["port", "adminPort"] as const)
      if (policy.listen[name] !== gateway.policy.listen[name])
        throw new ConfigError(`${file}: listen.${name} changed; restart the gateway for that`);
    if (policy.budgets.ledger !== gateway.policy.budgets.ledger)
      throw new ConfigError(`${file}: budgets.ledger changed; restart the gateway for that`);
    gateway.ledger.configure(policy.budgets);
    gateway.log.info(summary(policy), "reloaded");
    return policy;
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    gateway.log.error({ problem: error.message }, "reload refused, the old configuration stays");
    return gateway.policy;
  }
}

/** Without its ledger a gateway could not hold a budget, so it does not start. */
function openLedger({ budgets }: Policy): Ledger {
  try {
    return new Ledger(budgets.ledger, budgets);
  } catch (error) {
    process.stderr.write(
      `model-gateway: the ledger ${budgets.ledger} cannot be opened (${error instanceof Error ? error.message : "unknown"}); is another gateway running, is the volume full or read-only?\n`,
    );
    process.exit(1);
  }
}

function flush({ ledger, log }: Gateway): void {
  try {
    ledger.flush();
  } catch (error) {
    log.error({ error: errorCode(error) }, "the ledger cannot be written; calls under a budget are refused");
  }
}

function summary(policy: Policy) {
  const routes = [...policy.routes.values()];
  return {
    routes: routes.map((route) => `${route.name} (${route.provider})`),
    agents: new Set(routes.flatMap((route) => [...route.grants.keys()])).size,
  };
}

function listen(server: Server, host: string, port: number, then: (port: number) => void): void {
  server.on("error", (error: NodeJS.ErrnoException) => {
    process.stderr.write(`model-gateway: cannot listen on ${host}:${port} (${error.code}); is another running?\n`);
    process.exit(1);
  });
  server.listen(port, host, () => then((server.address() as AddressInfo).port));
}

function main(file: string | undefined, reloaded = file ?? ""): void {
  const policy = initialPolicy(file);
  const log = openLog();
  const ledger = openLedger(policy);
  const gateway: Gateway = {
    ...{ policy, log, ledger, stopping: false },
    limiter: new Limiter(),
    bodies: new Bodies(),
    metrics: new Metrics(),
  };
  setInterval(() => flush(gateway), FLUSH_MS).unref();
  const server = gatewayServer(gateway);
  const admin = adminServer(gateway);
  const { host, port, adminPort } = policy.listen;
  listen(admin, host, adminPort, (adminPort) =>
    listen(server.http, host, port, (port) =>
      log.info({ port, adminPort, node: process.version, ...summary(policy) }, "started"),
    ),
  );

  process.on("SIGHUP", () => {
    gateway.policy = reloadedPolicy(gateway, reloaded);
  });
  process.once("SIGTERM", () => {
    log.info("stopping");
    void server.drain(DRAIN_MS).then(() => {
      ledger.close();
      log.info("stopped");
      process.exit(0);
    });
  });
}

function check(file: string | undefined, to: string | undefined): void {
  try {
    if (file === undefined) throw new ConfigError("--check: received no file; give the path of a configuration");
    const text = checkConfig(file);
    if (to === undefined) return;
    // whole or not at all, also for a gateway that is just reading it
    writeFileSync(`${to}.next`, text, { mode: 0o600 });
    renameSync(`${to}.next`, to);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    process.stderr.write(`model-gateway: ${error.message}\n`);
    process.exitCode = 1;
  }
}

const [first, ...rest] = process.argv.slice(2);
if (first === "--check") check(rest[0], rest[1]);
else main(first, rest[0]);
