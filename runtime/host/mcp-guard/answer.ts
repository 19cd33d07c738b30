import { randomUUID } from "node:crypto";
import type { IncomingMessage, ServerResponse } from "node:http";
import { readBody } from "./body.ts";
import type { CataloguedServer } from "./catalogue.ts";
import type { Guard } from "./guard.ts";
import { type AuditLine, errorCode } from "./log.ts";
import { asMessage, CODES, type Id, type Message, PROTOCOL_VERSIONS } from "./messages.ts";
import { Refused } from "./refusal.ts";
import type { Session } from "./sessions.ts";
import { presentedToken } from "./tokens.ts";
import { callTool, problemResult, quarantined } from "./tool-call.ts";

/** Takes one request of an agent from its headers to its line in the log. Never rejects. */
export async function answer(guard: Guard, req: IncomingMessage, res: ServerResponse): Promise<void> {
  if (req.method === "GET" && req.url === "/healthz") {
    send(res, { status: 200, body: Buffer.from('{"status":"ok"}') });
    return;
  }
  await new Exchange(guard, req, res).run();
}

class Exchange {
  readonly #guard: Guard;
  readonly #req: IncomingMessage;
  readonly #res: ServerResponse;
  readonly #startedAt = performance.now();
  readonly #line: AuditLine;
  #id: Id | null = null;
  /** Notifications and pings leave no line unless they are refused. */
  #silent = false;
  #reply: Reply = { status: 500, body: NOTHING };

  constructor(guard: Guard, req: IncomingMessage, res: ServerResponse) {
    this.#guard = guard;
    this.#req = req;
    this.#res = res;
    this.#line = {
      requestId: randomUUID(),
      principal: null,
      server: null,
      method: null,
      tool: null,
      argumentsHash: null,
      decision: "refused",
      rule: "internal-error",
      approver: null,
      outcome: null,
      exitStatus: null,
      status: null,
      bytesIn: 0,
      bytesOut: 0,
      ms: 0,
    };
  }

  async run(): Promise<void> {
    const line = this.#line;
    try {
      await this.#answer();
    } catch (error) {
      const refused = error instanceof Refused ? error : undefined;
      line.rule = refused?.rule ?? "internal-error";
      if (refused === undefined)
        this.#guard.log.error({ requestId: line.requestId, error: errorCode(error) }, "internal error");
      this.#refuse(refused ?? new Refused({ http: 500 }, "internal-error", "an error of the guard's own"));
    }
    // logged before it is sent: nobody has an answer of which there is no line
    line.status = this.#reply.status;
    line.bytesOut = this.#reply.body.length;
    line.ms = Math.round((performance.now() - this.#startedAt) * 10) / 10;
    if (line.decision === "refused" && !this.#silent) this.#guard.log.warn(line, "call");
    else if (!this.#silent) this.#guard.log.info(line, "call");
    send(this.#res, this.#reply);
  }

  async #answer(): Promise<void> {
    const { agent, server } = this.#authorise();
    const { method } = this.#req;
    if (method === "DELETE") return this.#endSession(agent, server);
    // clients ask for a stream as they connect, and take this for an answer
    if (method === "GET") this.#silent = true;
    if (method !== "POST")
      throw new Refused({ http: 405 }, "http-method", "no stream is offered; send requests by POST");
    const message = await this.#message();
    if (message === undefined) return;
    await this.#dispatch(agent, server, message);
  }

  /** Who asks, and of which server. A page in a browser could send to loopback, but not without these headers. */
  #authorise(): { agent: string; server: CataloguedServer } {
    const { headers, rawHeaders, url = "" } = this.#req;
    const hosts = [`127.0.0.1:${this.#guard.port}`, `localhost:${this.#guard.port}`];
    if (headers.origin !== undefined || !hosts.includes(headers.host ?? ""))
      throw new Refused({ http: 403 }, "origin", "requests of web pages are refused");
    const token = presentedToken(rawHeaders);
    const agent = token === undefined ? undefined : this.#guard.tokens.holder(token);
    if (agent === undefined)
      throw new Refused({ http: 401 }, "token", "send the agent's own token as `authorization: Bearer`, once");
    this.#line.principal = `agent/${agent}`;
    const server = this.#guard.servers.get(/^\/((?:shell\/)?[a-z0-9-]{1,20})$/.exec(url)?.[1] ?? "");
    if (server === undefined || server.grantedTo(agent) === undefined)
      throw new Refused({ http: 404 }, "no-grant", "no such server, or no tool of it is granted to this agent");
    this.#line.server = server.name;
    return { agent, server };
  }

  /** The one message of a POST; undefined if the client left before it was whole. */
  async #message(): Promise<Message | undefined> {
    const { headers } = this.#req;
    const type = headers["content-type"] ?? "";
    if (!/^application\/json(?:; ?charset="?utf-8"?)?$/i.test(type) || headers["content-encoding"] !== undefined)
      throw new Refused({ http: 415 }, "content-type", "the body must be plain application/json in UTF-8");
    const limit = this.#guard.limits.bodyBytes;
    const body = await readBody(this.#req, limit);
    this.#line.bytesIn = body.read;
    if (body.kind === "client_gone") throw new Refused({ http: 400 }, "client-gone", "the body did not come whole");
    if (body.kind !== "whole")
      throw new Refused({ http: 413 }, "body-too-large", `the body is larger than ${limit} bytes`);
    let value: unknown;
    try {
      value = JSON.parse(body.text);
    } catch {
      throw new Refused({ http: 400 }, "not-json", "the body is not JSON");
    }
    const message = asMessage(value);
    if (message === undefined)
      throw new Refused(
        { http: 400 },
        "not-a-message",
        "the body must be one JSON-RPC 2.0 message; batches are not taken",
      );
    this.#id = message.id ?? null;
    return message;
  }

  async #dispatch(agent: string, server: CataloguedServer, message: Message): Promise<void> {
    const { id, method, params = {} } = message;
    this.#line.method = method !== undefined && /^[A-Za-z/_-]{1,64}$/.test(method) ? method : null;
    if (method === "initialize" && id !== undefined) return this.#initialize(agent, server, id, params);
    const session = this.#session(agent, server);
    if (id === undefined || method === undefined) {
      if (method === "notifications/cancelled") session.calls.get(params.requestId as Id)?.abort();
      this.#silent = true;
      return this.#accepted();
    }
    if (method === "ping") {
      this.#silent = true;
      return this.#result(id, {});
    }
    if (method === "tools/list") return this.#list(session, id);
    if (method === "tools/call") return this.#call(session, id, params);
    throw new Refused({ rpc: CODES.methodNotFound }, "method", "the guard relays tools alone");
  }

  #session(agent: string, server: CataloguedServer): Session {
    const id = this.#req.headers["mcp-session-id"];
    if (typeof id !== "string")
      throw new Refused({ http: 400 }, "no-session", "send the mcp-session-id that initialize was answered with");
    const session = this.#guard.sessions.find(id, agent, server);
    if (session === undefined) throw new Refused({ http: 404 }, "unknown-session", "no such session; initialize anew");
    return session;
  }

  #initialize(agent: string, server: CataloguedServer, id: Id, params: Readonly<Record<string, unknown>>): void {
    this.#count(agent);
    const session = this.#guard.sessions.open(agent, server);
    const wanted = PROTOCOL_VERSIONS.find((version) => version === params.protocolVersion);
    this.#res.setHeader("mcp-session-id", session.id);
    this.#allowed("session");
    this.#result(id, {
      protocolVersion: wanted ?? PROTOCOL_VERSIONS[0],
      capabilities: { tools: {} },
      serverInfo: { name: server.name, version: "pinned" },
    });
    // it starts while the client goes on; whoever needs it hears of what goes wrong
    session.ready().catch(() => {});
  }

  #list(session: Session, id: Id): void {
    const { agent, server } = session;
    this.#count(agent);
    if (server.quarantined !== null) {
      const { rule, message } = quarantined(server.name);
      throw new Refused({ rpc: -32000 }, rule, message);
    }
    // what is listed is what was reviewed, so nobody waits for the server to be compared with it again; a call does
    session.verified().catch(() => {});
    const tools = [...(server.grantedTo(agent)?.values() ?? [])].map(({ tool }) => {
      const { hash: _, class: __, ...definition } = tool;
      return definition;
    });
    this.#allowed("granted-tools");
    this.#result(id, { tools });
  }

  async #call(session: Session, id: Id, params: Readonly<Record<string, unknown>>): Promise<void> {
    const { agent } = session;
    this.#count(agent);
    const end = this.#guard.rates.begin(agent);
    if (end === undefined)
      throw new Refused("tool", "concurrency", "too many calls are under way; wait until some have ended");
    // a client that hangs up has no more use for the answer
    const aborter = new AbortController();
    this.#res.once("close", () => {
      // a client that does not read its answers has them count as under way, for they are held in memory
      end();
      if (!this.#res.writableFinished) aborter.abort();
    });
    try {
      this.#result(id, await callTool(this.#guard, session, { id, params, aborter }, this.#line));
    } finally {
      session.usedAt = performance.now();
    }
  }

  #count(agent: string): void {
    if (!this.#guard.rates.count(agent))
      throw new Refused(
        { http: 429 },
        "rate",
        `more than ${this.#guard.limits.requestsPerMinute} requests a minute; wait`,
      );
  }

  #endSession(agent: string, server: CataloguedServer): void {
    this.#guard.sessions.end(this.#session(agent, server));
    this.#silent = true;
    this.#accepted(204);
  }

  #allowed(rule: string): void {
    this.#line.decision = "allowed";
    this.#line.rule = rule;
    this.#line.outcome = "ok";
  }

  #accepted(status = 202): void {
    this.#line.decision = "allowed";
    this.#reply = { status, body: NOTHING };
  }

  #result(id: Id, result: object): void {
    this.#line.decision = "allowed";
    this.#reply = { status: 200, body: json({ jsonrpc: "2.0", id, result }) };
  }

  #refuse({ as, message }: Refused): void {
    this.#line.decision = "refused";
    const id = this.#id;
    if (as === "tool" && id !== null) {
      this.#reply = { status: 200, body: json({ jsonrpc: "2.0", id, result: problemResult(message) }) };
      return;
    }
    const rpc = typeof as === "object" && "rpc" in as;
    const status = rpc ? 200 : typeof as === "object" && "http" in as ? as.http : 500;
    if (status === 401) this.#res.setHeader("www-authenticate", "Bearer");
    if (status === 405) this.#res.setHeader("allow", "POST, DELETE");
    const error = { code: rpc ? as.rpc : CODES.invalidRequest, message: `bailiwick guard: ${message}` };
    this.#reply = { status, body: json({ jsonrpc: "2.0", id, error }) };
  }
}

interface Reply {
  readonly status: number;
  readonly body: Buffer;
}

const NOTHING = Buffer.alloc(0);

function json(value: object): Buffer {
  return Buffer.from(JSON.stringify(value));
}

function send(res: ServerResponse, { status, body }: Reply): void {
  const type = body.length > 0 ? { "content-type": "application/json" } : {};
  res.writeHead(status, { ...type, "content-length": body.length }).end(body);
}
