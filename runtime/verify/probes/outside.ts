import { broken, held, unless, unprovable } from "../../policy/judgement.ts";
import type { Probe } from "../../policy/probe.ts";
import type { Contact } from "../../ssh/trust.ts";
import type { UnwantedAnswers } from "../../ssh/unwanted.ts";

/** The host as it is seen from where the operator is. */
export interface OutsideView {
  /** How this run's connection recognised the host. */
  readonly contact: Contact;
  /** The host key it showed, and the one-time key of first contact: `ssh-ed25519 AAAA…`. */
  readonly hostKey: string;
  readonly bootstrapKey: string;
  /** Asks the host for what it must refuse; asked once, however often this is called. */
  unwanted(): Promise<UnwantedAnswers>;
  /** Whether it lets root in with an admin's key. */
  rootLogin(): Promise<boolean>;
}

/** What the host shows to whom is not on it. */
export function outsideProbes(view: OutsideView): Probe[] {
  return [attestedKey(view), keysOnly(view), noRoot(view), noForwarding(view)];
}

function attestedKey({ contact, hostKey, bootstrapKey }: OutsideView): Probe<{ contact: Contact; spent: boolean }> {
  return {
    id: "outside/host-key",
    vantage: "outside",
    title: "the host shows a key that an admin has attested, and no longer its one-time key",
    expected: "recognised by its attestation",
    read: async () => ({ contact, spent: hostKey !== keyOf(bootstrapKey) }),
    judge: ({ contact: how, spent }) => {
      if (how === "first" || !spent) return broken("it still shows the one-time key of first contact");
      return how === "later"
        ? held("attested")
        : unprovable("pinned", "this connection did not ask for the attestation");
    },
  };
}

function keyOf(line: string): string {
  return line.split(" ").slice(0, 2).join(" ");
}

function keysOnly(view: OutsideView): Probe<UnwantedAnswers> {
  return {
    id: "outside/password",
    vantage: "outside",
    title: "sshd answers, offers keys as the only way in, and refuses a password",
    expected: "publickey",
    read: () => view.unwanted(),
    judge: ({ methods, password }) =>
      unless(
        [
          ...methods.filter((method) => method !== "publickey").map((method) => `it offers ${method}`),
          ...(password ? ["it took a password that is nobody's"] : []),
          ...(methods.length === 0 ? ["it offered no way in at all"] : []),
        ],
        methods.join(", "),
      ),
  };
}

function noRoot(view: OutsideView): Probe<boolean> {
  return {
    id: "outside/root",
    vantage: "outside",
    title: "root cannot log in, with an admin's key neither",
    expected: "refused",
    read: () => view.rootLogin(),
    judge: (letIn) => (letIn ? broken("root was let in") : held("refused")),
  };
}

function noForwarding(view: OutsideView): Probe<UnwantedAnswers> {
  return {
    id: "outside/forwarding",
    vantage: "outside",
    title: "sshd forwards nothing, in or out",
    expected: "every kind prohibited",
    read: () => view.unwanted(),
    judge: ({ forwarded }) =>
      unless(
        forwarded.map((kind) => `it forwards ${kind}`),
        "every kind prohibited",
      ),
  };
}
