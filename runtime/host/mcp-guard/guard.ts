import type { Logger } from "pino";
import type { GuardConfig } from "../../policy/tools/schema.ts";
import { Approvals } from "./approvals.ts";
import { CataloguedServer, type ServerEntry } from "./catalogue.ts";
import { Rates } from "./rates.ts";
import { Sessions } from "./sessions.ts";
import { TokenRing } from "./tokens.ts";

type Limits = GuardConfig["limits"];

/** All that decides about calls. */
export interface Guard {
  readonly port: number;
  readonly tokens: TokenRing;
  readonly servers: ReadonlyMap<string, CataloguedServer>;
  readonly sessions: Sessions;
  readonly approvals: Approvals;
  readonly rates: Rates;
  readonly limits: Limits;
  readonly log: Logger;
}

export function makeGuard(
  config: Pick<GuardConfig, "listen" | "agents" | "limits">,
  servers: readonly ServerEntry[],
  log: Logger,
): Guard {
  const { limits } = config;
  return {
    port: config.listen.port,
    tokens: new TokenRing(config.agents),
    servers: new Map(servers.map((entry) => [entry.name, new CataloguedServer(entry, limits.startMs, log)])),
    sessions: new Sessions(limits.sessions),
    approvals: new Approvals(limits),
    rates: new Rates(limits.requestsPerMinute, limits.concurrentCalls),
    limits,
    log,
  };
}
