import type { Message } from "./messages.ts";

/** A way to one server, for one session. After `closed` nothing is heard of it any more. */
export interface Transport {
  send(message: Message): void;
  close(): void;
}

/** What a transport tells. */
export interface Listener {
  message(message: unknown): void;
  /** It is gone, with a reason for the log. Told once. */
  closed(reason: string): void;
}
