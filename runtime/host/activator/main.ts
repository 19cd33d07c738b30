import { createInterface } from "node:readline";
import { ZodError } from "zod";
import {
  ActivateRequest,
  AskRequest,
  CheckRequest,
  ConfirmRequest,
  type LockedAnswer,
  LockedRequest,
  LockRequest,
  LookRequest,
  SealRequest,
  StageRequest,
} from "../../spec/activator.ts";
import { GuardRequest } from "../../spec/guard-admin.ts";
import { activate, confirm } from "./activate.ts";
import { ask } from "./ask.ts";
import { audit } from "./audit.ts";
import { checkComponents, lookAtComponents } from "./components.ts";
import { seal, versionsOf } from "./credentials.ts";
import { spend } from "./gateway.ts";
import { askGuard } from "./guard.ts";
import { requireLock, takeLock, takeOver } from "./lock.ts";
import { currentFiles, facts, releases, status } from "./observe.ts";
import { stage } from "./release.ts";
import { revert } from "./revert.ts";

// The program of a host that a push speaks to, as root, one verb per run: JSON on stdin, JSON on stdout.

const verbs: Record<string, (input: unknown) => Promise<unknown>> = {
  facts: () => facts(),
  status: () => status(),
  releases: () => releases(),
  files: () => currentFiles(),
  look: (input) => lookAtComponents(LookRequest.parse(input).components),
  check: async (input) => {
    const request = CheckRequest.parse(input);
    await requireLock(request.token);
    return checkComponents(request.components);
  },
  seal: async (input) => {
    const request = SealRequest.parse(input);
    if (request.dryRun) return versionsOf(request);
    const answer = await seal(request);
    await audit("seal", { set: Object.keys(request.set), generated: request.generate });
    return answer;
  },
  stage: async (input) => {
    const request = StageRequest.parse(input);
    await requireLock(request.token);
    return { digest: await stage(request) };
  },
  guard: async (input) => {
    const request = GuardRequest.parse(input);
    if (!("by" in request)) return askGuard(request);
    // sudo names who called it: an admin approves under no other name than the account's own
    const by = process.env.SUDO_USER ?? "root";
    const answer = await askGuard({ ...request, by });
    await audit(request.do, { id: request.id, settled: "settled" in answer });
    return answer;
  },
  activate: async (input) => {
    const request = ActivateRequest.parse(input);
    const { handBack } = await takeOver(request.token);
    return activate(request).finally(handBack);
  },
  confirm: async (input) => {
    const request = ConfirmRequest.parse(input);
    const { handBack } = await takeOver(request.token);
    return confirm(request).finally(handBack);
  },
  spend: () => spend(),
  ask: async (input) => {
    const { agent, message, timeoutSeconds } = AskRequest.parse(input);
    await audit("ask", { agent, bytes: Buffer.byteLength(message) });
    return ask(agent, message, timeoutSeconds);
  },
};

async function main(verb: string | undefined): Promise<void> {
  if (process.getuid?.() !== 0) throw new Error("the activator must run as root");
  process.umask(0o022);
  if (verb === "lock") return holdLock();
  if (verb === "revert") return revert(process.argv[3] === "boot" ? "boot" : "timer");
  const handler = verbs[verb ?? ""];
  if (handler === undefined)
    throw new Error(`received verb ${JSON.stringify(verb)}; this activator has lock, ${Object.keys(verbs).join(", ")}`);
  const chunks: Buffer[] = [];
  for await (const chunk of process.stdin) chunks.push(chunk as Buffer);
  const text = Buffer.concat(chunks).toString();
  process.stdout.write(`${JSON.stringify(await handler(text === "" ? undefined : JSON.parse(text)))}\n`);
}

/**
 * The first line asks for the lock and is answered by its token. Each further one is a verb to be done by this process,
 * which saves a push the start of a program for every step; their answers come in the order of the questions. The lock is
 * held until stdin ends, so a cut connection frees it.
 */
async function holdLock(): Promise<void> {
  let held: Awaited<ReturnType<typeof takeLock>> | undefined;
  let answered: Promise<unknown> = Promise.resolve();
  for await (const line of createInterface({ input: process.stdin })) {
    if (held === undefined) {
      const { who, why } = LockRequest.parse(JSON.parse(line));
      held = await takeLock(who, why);
      await audit("lock", { who, why });
      process.stdout.write(`${JSON.stringify({ token: held.token })}\n`);
      continue;
    }
    const answer = underLock(line);
    answered = answered.then(async () => process.stdout.write(`${JSON.stringify(await answer)}\n`));
  }
  await answered;
  await held?.release();
}

async function underLock(line: string): Promise<LockedAnswer> {
  try {
    const { verb, input } = LockedRequest.parse(JSON.parse(line));
    const handler = verbs[verb];
    if (handler === undefined)
      throw new Error(`received verb ${JSON.stringify(verb)}, which nothing does under the lock`);
    return { value: (await handler(input)) ?? null };
  } catch (error) {
    return { error: inWords(error as Error) };
  }
}

main(process.argv[2]).catch((error: Error) => {
  process.stderr.write(`${inWords(error)}\n`);
  process.exitCode = 1;
  process.stdin.destroy(); // whoever asked may hold it open until told
});

function inWords(error: Error): string {
  if (!(error instanceof ZodError)) return error.message;
  // what was asked has another shape than this activator knows: an operator's newer kit
  const issues = error.issues.map(({ path, message }) => `${path.join(".")}: ${message}`).join("; ");
  return `received a request that this activator does not know; push with this kit first (${issues})`;
}
