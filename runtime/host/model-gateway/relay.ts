import type { IncomingHttpHeaders, ServerResponse } from "node:http";
import type { Dispatcher } from "undici";
import type { GatewayConfig } from "../../policy/models/schema.ts";
import { responseHeaders, upstreamRequestId } from "./headers.ts";
import { KeyWatch } from "./key-watch.ts";
import { errorCode, type Outcome } from "./log.ts";
import type { Refusal } from "./refusal.ts";
import type { Transcript } from "./transcript.ts";
import type { Upstream } from "./upstream.ts";
import type { UsageMeter } from "./usage-meter.ts";

/** One request as it goes up, byte for byte. */
export interface RelayRequest {
  readonly upstream: Upstream;
  /** Path and query below the upstream's prefix. */
  readonly path: string;
  readonly headers: string[];
  readonly body: Buffer;
  /** The provider's key, which may not come back. */
  readonly key: string | null;
  readonly limits: GatewayConfig["limits"];
  /** Set as `x-bailiwick-request-id` of the response. */
  readonly requestId: string;
  /** Whether an answer of this status is not to be passed on, since another provider will be asked. */
  readonly declines: (status: number) => boolean;
  /** Told of the answer's bytes once it is known that the provider accepted the call; `stream` if they are events. */
  readonly meter: (stream: boolean) => UsageMeter | null;
  /** Told of all that is sent on to the client; null where nothing of it is logged. */
  readonly transcript: Transcript | null;
}

/** How a relay ended. With `refusal` nothing has been sent to the client yet: the caller answers. */
export interface RelayEnd {
  readonly outcome: Outcome;
  readonly refusal?: Refusal;
  /** Whether the provider may have received the request. */
  readonly sent: boolean;
  /** The status the provider answered with, passed on or not; null if it did not. */
  readonly answered: number | null;
  /** Whether that status was declined. */
  readonly declined: boolean;
  readonly status: number | null;
  readonly stream: boolean;
  readonly bytesOut: number;
  /** `performance.now()` at the first body byte. */
  readonly firstByteAt: number | null;
  readonly upstreamRequestId: string | null;
  readonly error?: string;
}

/**
 * Sends a request to the provider and its answer to the client, as it comes: a client that reads slowly slows the provider
 * down, a client that leaves ends the provider's work, and no wait is without end. Once the status has been sent, a
 * failure can only be told by closing the connection before the body is complete; it is never ended as if whole.
 */
export function relay(request: RelayRequest, res: ServerResponse): Promise<RelayEnd> {
  return new Promise((resolve) => new Relay(request, res, resolve).start());
}

class Relay implements Dispatcher.DispatchHandler {
  readonly #request: RelayRequest;
  readonly #res: ServerResponse;
  readonly #resolve: (end: RelayEnd) => void;
  readonly #watch: KeyWatch | undefined;
  #controller: Dispatcher.DispatchController | undefined;
  #dropConnections: () => void = () => {};
  #clock: NodeJS.Timeout | undefined;
  /** When something last came or went, `performance.now()`. */
  #heardAt = 0;
  #meter: UsageMeter | null = null;
  #status: number | null = null;
  #answered: number | null = null;
  #stream = false;
  #bytesOut = 0;
  #firstByteAt: number | null = null;
  #upstreamId: string | null = null;
  #clientStalls = false;
  #upstreamDone = false;
  #ended = false;

  constructor(request: RelayRequest, res: ServerResponse, resolve: (end: RelayEnd) => void) {
    this.#request = request;
    this.#res = res;
    this.#resolve = resolve;
    this.#watch = request.key === null ? undefined : new KeyWatch(request.key);
  }

  start(): void {
    const { upstream, path, headers, body, limits } = this.#request;
    if (this.#res.closed) {
      this.#end({ outcome: "client_gone" });
      return;
    }
    this.#res.on("close", this.#onClientClose);
    this.#res.on("drain", this.#onClientReads);
    this.#clock = setTimeout(() => this.#onHeaderTimeout(), limits.headerTimeoutMs);
    this.#dropConnections = upstream.post(path, headers, body, this);
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller;
    if (this.#ended) controller.abort(new Error("nobody waits for the answer"));
  }

  onResponseStart(controller: Dispatcher.DispatchController, status: number, headers: IncomingHttpHeaders): void {
    if (this.#ended || status < 200) return;
    if (status < 400 && status >= 300) {
      this.#refuse({
        status: 502,
        code: "upstream_redirect",
        message: `the provider answered ${status}, a redirect, which is never followed; set the provider's final url`,
      });
      controller.abort(new Error("a redirect"));
      return;
    }
    this.#answered = status;
    if (this.#request.declines(status)) {
      const message = `the provider answered ${status}; try again`;
      this.#refuse({ status: 502, code: "upstream_unreachable", message });
      controller.abort(new Error("another provider is asked"));
      return;
    }
    clearTimeout(this.#clock);
    this.#heard();
    this.#clock = setTimeout(this.#onSilence, this.#request.limits.idleTimeoutMs);
    const passed = responseHeaders(headers, this.#request.key);
    this.#status = status;
    this.#stream = String(passed["content-type"] ?? "").startsWith("text/event-stream");
    this.#upstreamId = upstreamRequestId(passed);
    if (status < 300) this.#meter = this.#request.meter(this.#stream);
    this.#res.writeHead(status, { ...passed, "x-bailiwick-request-id": this.#request.requestId });
    // they mostly come together with the first event, and then go on with it
    if (this.#stream) setImmediate(this.#flushHeaders);
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    if (this.#ended) return;
    this.#heard();
    this.#meter?.push(chunk);
    const passed = this.#watch === undefined ? chunk : this.#watch.pass(chunk);
    if (passed === null) {
      this.#cut("key_in_response");
      return;
    }
    if (!this.#send(passed)) {
      this.#clientStalls = true;
      controller.pause();
    }
  }

  onResponseEnd(): void {
    if (this.#ended) return;
    this.#upstreamDone = true;
    if (this.#watch !== undefined) this.#send(this.#watch.rest());
    this.#res.end(() => this.#end({ outcome: "ok" }));
  }

  onResponseError(_controller: Dispatcher.DispatchController, error: Error): void {
    if (this.#ended) return;
    this.#dropConnections();
    if (this.#status !== null) {
      this.#cut("upstream_cut", errorCode(error));
      return;
    }
    const code = errorCode(error);
    const message = `the provider could not be reached or broke off (${code}); try again, or see \`bailiwick status\``;
    this.#refuse({ status: 502, code: "upstream_unreachable", message }, code);
  }

  #send(bytes: Buffer): boolean {
    if (bytes.length === 0) return true;
    this.#firstByteAt ??= performance.now();
    this.#bytesOut += bytes.length;
    this.#request.transcript?.push(bytes);
    return this.#res.write(bytes);
  }

  readonly #onClientReads = (): void => {
    this.#clientStalls = false;
    this.#heard();
    this.#controller?.resume();
  };

  readonly #onClientClose = (): void => {
    if (this.#ended || this.#res.writableFinished) return;
    this.#end({ outcome: "client_gone" });
    this.#abort();
  };

  #onHeaderTimeout(): void {
    const seconds = this.#request.limits.headerTimeoutMs / 1000;
    const message = `the provider sent no answer within ${seconds} s; try again, or ask for a stream`;
    this.#dropConnections();
    this.#refuse({ status: 504, code: "upstream_timeout", message });
    this.#abort();
  }

  /** Something has moved; a clock reading is cheaper than a timer's refresh, for every event of a stream. */
  #heard(): void {
    this.#heardAt = performance.now();
  }

  readonly #flushHeaders = (): void => {
    if (!this.#ended && this.#firstByteAt === null) this.#res.flushHeaders();
  };

  readonly #onSilence = (): void => {
    const left = this.#heardAt + this.#request.limits.idleTimeoutMs - performance.now();
    if (left > 0) {
      this.#clock = setTimeout(this.#onSilence, left);
      return;
    }
    if (this.#clientStalls || this.#upstreamDone) {
      this.#cut("client_stalled");
      return;
    }
    this.#dropConnections();
    this.#cut("upstream_idle");
  };

  #refuse(refusal: Refusal, error?: string): void {
    this.#end({ outcome: "refused", refusal, ...(error === undefined ? {} : { error }) });
  }

  /** Ends what has already begun, so that no client can take it for whole. */
  #cut(outcome: Outcome, error?: string): void {
    this.#end({ outcome, ...(error === undefined ? {} : { error }) });
    this.#res.destroy();
    this.#abort();
  }

  #abort(): void {
    this.#controller?.abort(new Error("the call has ended"));
  }

  #end(end: Pick<RelayEnd, "outcome" | "refusal" | "error">): void {
    if (this.#ended) return;
    this.#ended = true;
    clearTimeout(this.#clock);
    this.#res.off("close", this.#onClientClose);
    this.#res.off("drain", this.#onClientReads);
    this.#resolve({
      ...end,
      sent: this.#controller !== undefined,
      answered: this.#answered,
      declined: this.#answered !== null && this.#request.declines(this.#answered),
      status: this.#status,
      stream: this.#stream,
      bytesOut: this.#bytesOut,
      firstByteAt: this.#firstByteAt,
      upstreamRequestId: this.#upstreamId,
    });
  }
}
