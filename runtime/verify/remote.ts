import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import * as z from "zod";
import type { Attempt, Outcome } from "../policy/probe.ts";
import type { Connection } from "../ssh/connection.ts";
import { shellQuote } from "../ssh/shell-quote.ts";

const program = (name: string) => readFileSync(new URL(`./on-host/${name}`, import.meta.url), "utf8");

const OutcomeSchema = z.strictObject({
  ok: z.boolean(),
  errno: z.string().nullable(),
  value: z.unknown(),
  ms: z.number(),
});

const Answer = z.strictObject({
  root: z.array(OutcomeSchema),
  sandboxes: z.record(
    z.string(),
    z.union([z.strictObject({ outcomes: z.array(OutcomeSchema) }), z.strictObject({ error: z.string() })]),
  ),
  served: z.array(z.number()),
});

/** Attempts to be made together on the host. */
export interface AttemptBatch {
  readonly root: readonly Attempt[];
  /** By unit, without `.service`: tried in the sandbox of its probe unit. */
  readonly sandboxes: Readonly<Record<string, readonly Attempt[]>>;
  /** Ports of 127.0.0.1 on which root listens meanwhile, where nobody does. */
  readonly serve: readonly number[];
}

export interface BatchAnswer {
  readonly root: readonly Outcome[];
  /** A sandbox that could not be entered has the reason in place of outcomes. */
  readonly sandboxes: Readonly<Record<string, { outcomes: readonly Outcome[] } | { error: string }>>;
  readonly served: readonly number[];
}

// the program comes with the request: nothing of verify is installed on a host
const COMMAND = `sudo -n /usr/bin/python3 -I -c ${shellQuote(
  "import json, sys; REQUEST = json.load(sys.stdin); exec(REQUEST['attempts'] + REQUEST['conduct'])",
)}`;

const LONGEST_MS = 180_000;

/**
 * Makes a batch of attempts in one command.
 * @throws UnreachableError if the connection is lost, CommandTimeoutError after three minutes, Error if root's part failed
 */
export async function attemptOnHost(connection: Connection, batch: AttemptBatch): Promise<BatchAnswer> {
  const request = {
    ...batch,
    attempts: program("attempts.py"),
    conduct: program("conduct.py"),
    run: randomBytes(6).toString("hex"),
  };
  const { code, stdout, stderr } = await connection.exec(COMMAND, {
    stdin: JSON.stringify(request),
    timeoutMs: LONGEST_MS,
  });
  if (code !== 0)
    throw new Error(`the host could not run its probes: ${stderr.trim().split("\n").at(-1) ?? `exit code ${code}`}`);
  return Answer.parse(JSON.parse(stdout)) as BatchAnswer;
}
