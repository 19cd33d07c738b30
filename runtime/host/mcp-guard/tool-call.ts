import { digestOf } from "../../spec/digest.ts";
import { BackendError } from "./backend.ts";
import { type Granted, QuarantineError } from "./catalogue.ts";
import type { Guard } from "./guard.ts";
import type { AuditLine } from "./log.ts";
import { CODES, type Id, isRecord } from "./messages.ts";
import { Refused } from "./refusal.ts";
import type { Session } from "./sessions.ts";

/** A call as the client made it; `aborter` ends it. */
interface Asked {
  readonly id: Id;
  readonly params: Readonly<Record<string, unknown>>;
  readonly aborter: AbortController;
}

/**
 * Takes a call from its parameters to the tool's result. Fills in what the log's line says of it.
 * @throws Refused
 */
export async function callTool(
  guard: Guard,
  session: Session,
  asked: Asked,
  line: AuditLine,
): Promise<Record<string, unknown>> {
  const { name, arguments: given = {} } = asked.params;
  const { server, agent } = session;
  const granted = typeof name === "string" ? server.grantedTo(agent)?.get(name) : undefined;
  if (isToolName(name)) line.tool = name;
  if (isRecord(given)) line.argumentsHash = digestOf(given);
  if (granted === undefined)
    throw new Refused(
      { rpc: CODES.invalidParams },
      "not-granted",
      `tool ${shown(name)} of "${server.name}" is not granted to agent "${agent}"`,
    );
  if (server.quarantined !== null) throw quarantined(server.name);
  if (!isRecord(given))
    throw new Refused({ rpc: CODES.invalidParams }, "arguments-schema", "the arguments must be an object");
  const problem = granted.check(given);
  if (problem !== null) throw new Refused("tool", problem.rule, problem.message);

  const bound = bindingOf(session, granted, given);
  const needsApproval = granted.tool.class === "write" && granted.grant.approval === "each-call";
  if (needsApproval && !guard.approvals.has(bound)) throw askForApproval(guard, bound, given);
  const backend = await session.ready().catch(unavailable(server.name));
  if (needsApproval) {
    // only now that the server stands ready is the approval used up, and before anything is sent
    const approver = guard.approvals.take(bound);
    if (approver === undefined) throw askForApproval(guard, bound, given);
    line.approver = approver;
  }
  return send(session, asked, granted.tool.name, given, line, backend);
}

async function send(
  session: Session,
  { id, aborter }: Asked,
  name: string,
  given: Record<string, unknown>,
  line: AuditLine,
  backend: Awaited<ReturnType<Session["ready"]>>,
): Promise<Record<string, unknown>> {
  if (session.calls.has(id))
    throw new Refused({ rpc: CODES.invalidRequest }, "id-in-use", "a request of this id is under way in this session");
  session.calls.set(id, aborter);
  line.decision = "allowed";
  line.rule = `grant:${session.server.name}/${name}`;
  try {
    const result = await backend.call(name, given, session.server.callMs, aborter.signal);
    if (session.server.exitStatus) line.exitStatus = exitStatusOf(result);
    line.outcome = result.isError === true ? "tool-error" : "ok";
    return result;
  } catch (error) {
    if (!(error instanceof BackendError)) throw error;
    line.outcome = error.kind === "refused" ? "server-error" : error.kind;
    return problemResult(callProblem(session.server.name, error, session.server.callMs));
  } finally {
    session.calls.delete(id);
  }
}

function exitStatusOf({ structuredContent }: Record<string, unknown>): number | null {
  const status = isRecord(structuredContent) ? structuredContent.exitStatus : undefined;
  return typeof status === "number" && Number.isInteger(status) ? status : null;
}

function callProblem(server: string, error: BackendError, ms: number): string {
  switch (error.kind) {
    case "timeout":
      return `"${server}" did not answer within ${ms} ms; the call may have had its effect`;
    case "gone":
      return `"${server}" ended before it answered; the call may have had its effect`;
    case "cancelled":
      return "the call was cancelled";
    case "refused":
      return `"${server}" answered with error ${error.code}: ${error.message.slice(0, 1024)}`;
  }
}

function bindingOf({ agent, server }: Session, { tool }: Granted, given: object) {
  return { agent, server: server.name, tool: tool.name, definition: tool.hash, argumentsHash: digestOf(given) };
}

function askForApproval(guard: Guard, bound: ReturnType<typeof bindingOf>, given: Record<string, unknown>): Refused {
  const id = guard.approvals.ask(bound, given);
  if (id === undefined)
    return new Refused(
      "tool",
      "approvals-full",
      "too many calls wait for approval already; wait until some are settled",
    );
  guard.log.info({ id, ...bound }, "approval asked for");
  return new Refused(
    "tool",
    "approval-required",
    `this call needs a person's approval, as ${id}; nothing was done yet. When it is approved, make the same call again with exactly the same arguments. Do not try another way.`,
  );
}

/** What an agent is told when a server cannot be reached or trusted. */
function unavailable(server: string): (error: unknown) => never {
  return (error) => {
    if (error instanceof QuarantineError) throw quarantined(server);
    if (error instanceof BackendError)
      throw new Refused(
        "tool",
        "server-unavailable",
        `"${server}" does not serve now; the operator sees why in its log`,
      );
    throw error;
  };
}

export function quarantined(server: string): Refused {
  return new Refused(
    "tool",
    "quarantined",
    `"${server}" is out of use: it no longer describes its tools as they were reviewed; the operator must look at it`,
  );
}

/** A tool's result that only says what is wrong. */
export function problemResult(text: string): Record<string, unknown> {
  return { isError: true, content: [{ type: "text", text: `bailiwick guard: ${text}` }] };
}

function isToolName(name: unknown): name is string {
  return typeof name === "string" && /^[A-Za-z0-9_./-]{1,128}$/.test(name);
}

function shown(name: unknown): string {
  return JSON.stringify(typeof name === "string" ? name.slice(0, 64) : typeof name);
}
