import { randomUUID } from "node:crypto";
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Logger } from "pino";
import { ModelId, type ProviderKind } from "../../policy/models/schema.ts";
import { attempt } from "./attempts.ts";
import { type Bodies, type Held, readBody } from "./body.ts";
import type { Policy } from "./config.ts";
import { requestHeaders } from "./headers.ts";
import { JsonError, type JsonFields, jsonFields, scalar } from "./json-fields.ts";
import { presentedKey } from "./keys.ts";
import type { Ledger } from "./ledger.ts";
import type { Limiter } from "./limiter.ts";
import { type CallLine, errorCode, logCall } from "./log.ts";
import type { Metrics } from "./metrics.ts";
import { COSTLY } from "./quote.ts";
import { type Refusal, Refused, sendJson, sendRefusal, type WireFormat, wireFormat } from "./refusal.ts";
import type { RelayEnd } from "./relay.ts";
import {
  endpoints,
  type FoundEndpoint,
  findEndpoint,
  type Grant,
  modelEntry,
  modelList,
  parseTarget,
  type Route,
} from "./routes.ts";
import { admit, type Spender, settle } from "./spending.ts";
import { Transcript } from "./transcript.ts";
import { UsageMeter } from "./usage-meter.ts";

/** What all calls share. `policy` is replaced as a whole by a reload; a call keeps the one it began with. */
export interface Gateway {
  policy: Policy;
  readonly log: Logger;
  readonly ledger: Ledger;
  readonly limiter: Limiter;
  readonly bodies: Bodies;
  readonly metrics: Metrics;
  /** True once calls that are still open are being cut because the gateway stops. */
  stopping: boolean;
}

/** Takes one request from its headers to its line in the log. Never rejects. */
export async function answer(gateway: Gateway, req: IncomingMessage, res: ServerResponse): Promise<void> {
  if (req.method === "GET" && req.url === "/healthz") {
    sendJson(res, 200, '{"status":"ok"}', randomUUID());
    return;
  }
  const call = new Call(gateway, req, res);
  await call.run();
}

class Call {
  readonly #gateway: Gateway;
  readonly #policy: Policy;
  readonly #req: IncomingMessage;
  readonly #res: ServerResponse;
  readonly #startedAt = performance.now();
  readonly #line: CallLine;
  #format: WireFormat = "openai";
  #leave: (tokens: number) => void = () => {};
  #held: Held | null = null;

  constructor(gateway: Gateway, req: IncomingMessage, res: ServerResponse) {
    this.#gateway = gateway;
    this.#policy = gateway.policy;
    this.#req = req;
    this.#res = res;
    this.#line = {
      requestId: randomUUID(),
      agent: null,
      keyId: null,
      route: null,
      endpoint: null,
      model: null,
      status: null,
      outcome: "ok",
      reason: null,
      stream: false,
      bytesIn: 0,
      bytesOut: 0,
      msToFirstByte: null,
      ms: 0,
      upstreamRequestId: null,
      attempts: 0,
      servedBy: null,
      inputTokens: null,
      outputTokens: null,
      usd: null,
      usdIsReserved: false,
      changed: [],
    };
  }

  async run(): Promise<void> {
    const line = this.#line;
    try {
      const { route, grant, query, ...found } = this.#authorise();
      const { endpoint } = found;
      if (endpoint.does === "models") {
        line.bytesOut = sendJson(this.#res, 200, modelList(route, grant.models), line.requestId);
        line.status = 200;
      } else if (endpoint.does === "model") {
        const asked = modelEntry(route, grant.models, found.model ?? "");
        if (asked === undefined)
          throw new Refused(
            404,
            "model_not_found",
            `no such model is granted; \`GET /${route.name}/…/models\` lists those that are`,
          );
        line.model = asked.id;
        line.bytesOut = sendJson(this.#res, 200, asked.json, line.requestId);
        line.status = 200;
      } else {
        this.#leave = this.#gateway.limiter.enter(this.#line.agent ?? "", route.name, grant.limits);
        const asked = await this.#accepted(route, grant.models, found);
        if (asked !== undefined)
          await this.#invoke({ ...asked, route, endpoint }, endpoint.path.replace("{model}", asked.model) + query);
      }
    } catch (error) {
      if (!(error instanceof Refused)) line.error = errorCode(error);
      this.#refuse(
        error instanceof Refused
          ? error.refusal
          : { status: 500, code: "internal_error", message: "an error of its own; see `bailiwick logs`" },
      );
    }
    if (this.#gateway.stopping && line.outcome === "client_gone") line.outcome = "shutdown";
    this.#held?.release();
    this.#leave((line.inputTokens ?? 0) + (line.outputTokens ?? 0));
    line.ms = milliseconds(performance.now() - this.#startedAt);
    this.#gateway.metrics.count(line);
    logCall(this.#gateway.log, line);
  }

  /** Who asks, and for what: the key first, so that nothing is told to those who have none. */
  #authorise(): FoundEndpoint & { route: Route; grant: Grant; query: string } {
    const { method = "", url = "", rawHeaders } = this.#req;
    const target = parseTarget(url);
    const route = target === undefined ? undefined : this.#policy.routes.get(target.route);
    if (route !== undefined) this.#format = wireFormat(route.provider);

    if (!isPlain(this.#req))
      throw new Refused(400, "malformed_request", "the request is not HTTP/1.1, or names more than one host");

    const key = presentedKey(rawHeaders);
    const holder = key === undefined ? undefined : this.#policy.keys.holder(key);
    if (holder === undefined)
      throw new Refused(
        401,
        "invalid_api_key",
        key === undefined
          ? "received no virtual key, or more than one; send exactly one, as `authorization: Bearer`, `x-api-key` or `x-goog-api-key`"
          : "received a key that is none of this host's virtual keys; use the agent's own",
      );
    const { agent } = holder;
    this.#line.agent = agent;
    this.#line.keyId = holder.keyId;

    if (target === undefined || route === undefined)
      throw new Refused(404, "not_found", "no such route; the path is /<model provider's name on this host>/v1/…");
    this.#line.route = route.name;
    const grant = route.grants.get(agent);
    if (grant === undefined)
      throw new Refused(
        403,
        "no_grant",
        `agent "${agent}" has no grant on "${route.name}"; grant it with ${route.name}.grantInvoke and push`,
      );
    const found = findEndpoint(route.provider, method, target);
    if (found === undefined) {
      const known = endpoints(route.provider).map((e) => `${e.method} /${route.name}${e.path}`);
      throw new Refused(404, "not_found", `no such endpoint; there are ${known.join(", ")}`);
    }
    this.#line.endpoint = found.endpoint.path;
    return { ...found, route, grant, query: found.endpoint.does === "invoke" ? target.query : "" };
  }

  /** The body and its model, if that is granted; undefined if the client left before it was whole. */
  async #accepted(
    route: Route,
    granted: ReadonlySet<string>,
    found: FoundEndpoint,
  ): Promise<Pick<Spender, "agent" | "body" | "fields" | "model"> | undefined> {
    const { headers } = this.#req;
    const type = headers["content-type"] ?? "application/json";
    if (!/^application\/json(?:; ?charset="?utf-8"?)?$/i.test(type) || headers["content-encoding"] !== undefined)
      throw new Refused(415, "unsupported_media_type", "the body must be plain application/json in UTF-8");
    const { bodyBytes: limit, bufferedBytes } = this.#policy.limits;
    this.#held = this.#gateway.bodies.holdFor(this.#line.agent ?? "", bufferedBytes);
    const body = await readBody(this.#req, limit, this.#held);
    this.#line.bytesIn = body.read;
    if (body.kind === "client_gone") {
      this.#line.outcome = "client_gone";
      return undefined;
    }
    if (body.kind === "too_large")
      throw new Refused(413, "body_too_large", `the body is larger than ${limit} bytes, the limit; send less`);
    if (body.kind === "no_room")
      throw new Refused(
        503,
        "no_room",
        "the bodies of calls under way are all that the gateway can hold; send this one when some have ended",
        Date.now() + 1000,
      );
    const fields = acceptedFields(route, body.bytes);
    const model = found.model ?? requestedModel(body.bytes, fields);
    if (ModelId.safeParse(model).success) this.#line.model = model;
    if (!granted.has(model)) {
      const shown = JSON.stringify(model.length > 128 ? `${model.slice(0, 128)}…` : model);
      const known = [...granted].map((m) => JSON.stringify(m)).join(", ");
      throw new Refused(
        403,
        "model_not_found",
        `model ${shown} is not granted to agent "${this.#line.agent}" on "${this.#line.route}"; granted: ${known}`,
      );
    }
    return { agent: this.#line.agent ?? "", body: body.bytes, fields, model };
  }

  /** From here on the call may cost something: what it can cost at most is reserved, and booked whatever happens. */
  async #invoke(spender: Spender, path: string): Promise<void> {
    const { route, endpoint } = spender;
    const { limits, budgets } = this.#policy;
    const line = this.#line;
    const fallback = route.fallback === null ? undefined : this.#policy.routes.get(route.fallback);
    const routes = fallback === undefined ? [route] : [route, fallback];
    const headers = new Map<Route, string[]>();
    for (const one of routes) {
      const passed = requestHeaders(one.provider, one.key, this.#req.headers);
      if (passed === undefined)
        throw new Refused(400, "malformed_request", "a request header holds more than printable ASCII; remove it");
      headers.set(one, passed);
    }
    const admission = admit(this.#gateway.ledger, budgets, spender, routes);
    line.changed = admission.changed;
    let meter: UsageMeter | null = null;
    const answered = route.logContent ? new Transcript() : null;
    const { end, servedBy, attempts } = await attempt(
      routes,
      (one) => ({
        ...{
          upstream: one.upstream,
          path,
          headers: headers.get(one) ?? [],
          body: admission.body,
          key: one.key,
          limits,
        },
        requestId: line.requestId,
        transcript: answered,
        meter: (stream) => {
          if (endpoint.usage !== null) meter = new UsageMeter(one.provider, endpoint.usage, stream);
          return meter;
        },
      }),
      this.#res,
    );
    line.attempts = attempts;
    line.servedBy = attempts === 0 ? null : servedBy.name;
    try {
      settle(this.#gateway.ledger, spender, admission, servedBy, meter, end, line);
    } catch (error) {
      // it is booked in memory; the next reservation fails if the disk still does
      line.error = errorCode(error);
    }
    this.#ended(end);
    if (answered !== null) this.#logContent(spender.body, answered, routes);
  }

  /** The one place where content is logged, if the operator wants it. */
  #logContent(body: Buffer, answered: Transcript, routes: readonly Route[]): void {
    const asked = new Transcript();
    asked.push(body);
    const secrets = [presentedKey(this.#req.rawHeaders), ...routes.map(({ key }) => key)].filter((key) => key != null);
    const { requestId, agent, route, model } = this.#line;
    this.#gateway.log.info(
      { requestId, agent, route, model, request: asked.read(secrets), response: answered.read(secrets) },
      "content",
    );
  }

  #ended(end: RelayEnd): void {
    const line = this.#line;
    line.outcome = end.outcome;
    line.status = end.status;
    line.stream = end.stream;
    line.bytesOut = end.bytesOut;
    line.msToFirstByte = end.firstByteAt === null ? null : milliseconds(end.firstByteAt - this.#startedAt);
    line.upstreamRequestId = end.upstreamRequestId;
    if (end.error !== undefined) line.error = end.error;
    if (end.refusal !== undefined) this.#refuse(end.refusal);
  }

  #refuse(refusal: Refusal): void {
    const line = this.#line;
    line.outcome = "refused";
    line.reason = refusal.code;
    if (this.#res.headersSent) {
      this.#res.destroy();
      return;
    }
    line.status = refusal.status;
    line.bytesOut = sendRefusal(this.#res, this.#format, refusal, line.requestId);
  }
}

/** Fields, in lower case, that could choose another model than the granted one. Google's is named by the path. */
const CHOOSE_MODEL: Readonly<Partial<Record<ProviderKind, readonly string[]>>> = {
  openrouter: ["models", "route", "preset"],
  google: ["model"],
};

/** The fields of a body. One that a provider could read differently is refused, since its bytes are passed on. */
function acceptedFields(route: Route, body: Buffer): JsonFields {
  try {
    const fields = jsonFields(body, COSTLY);
    const other = CHOOSE_MODEL[route.provider] ?? [];
    for (const name of fields.keys())
      if (other.includes(name.toLowerCase()))
        throw new Refused(
          400,
          "malformed_request",
          `received "${name}", which could choose another model; leave it out`,
        );
    return fields;
  } catch (error) {
    if (error instanceof JsonError)
      throw new Refused(400, "malformed_request", `the body was refused: ${error.message}; send one JSON object`);
    throw error;
  }
}

/** The model a body asks for. */
function requestedModel(body: Buffer, fields: JsonFields): string {
  const model = scalar(body, fields, "model");
  if (typeof model === "string") return model;
  throw new Refused(400, "malformed_request", 'the body has no string "model"; name the model');
}

/** What Node's parser lets through and another reader could take otherwise: a version it does not speak, a second host. */
function isPlain({ httpVersion, rawHeaders }: IncomingMessage): boolean {
  const hosts = rawHeaders.filter((name, i) => i % 2 === 0 && name.toLowerCase() === "host");
  return (httpVersion === "1.1" || httpVersion === "1.0") && hosts.length <= 1;
}

function milliseconds(value: number): number {
  return Math.round(value * 10) / 10;
}
