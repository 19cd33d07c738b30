import { describe, expect, it } from "vitest";
import type { Contact } from "../../../runtime/ssh/trust.ts";
import { outsideProbes } from "../../../runtime/verify/probes/outside.ts";
import { judgeOf, probeOf } from "../policy/judged.ts";

const KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBSCKxlmuLk7hEAPGlDi3Nt0SGKpo7mRRT4VpR0LsCkE";
const ONE_TIME = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJGUZ1GKdyV0jnEaGUpm1PGSZ1dNlfZ01uWwEXAMPLEk";

const view = (contact: Contact, hostKey = KEY) => ({
  contact,
  hostKey,
  bootstrapKey: `${ONE_TIME} bootstrap`,
  unwanted: async () => ({ methods: ["publickey"], password: false, forwarded: [] }),
  rootLogin: async () => false,
});
const probes = outsideProbes(view("later"));
const judge = (id: string) => judgeOf(probes, id);

describe("the host's key", () => {
  const verdict = async (contact: Contact, hostKey = KEY) => {
    const probe = probeOf(outsideProbes(view(contact, hostKey)), "outside/host-key");
    // nothing on the host is asked: what counts is what this connection saw
    return probe.judge(await probe.read(undefined as never)).verdict;
  };

  it("holds when an admin's attestation vouched for it", async () => {
    expect(await verdict("later")).toBe("held");
  });

  it("is broken at first contact, and when the one-time key is shown again however it was recognised", async () => {
    expect(await verdict("first", ONE_TIME)).toBe("broken");
    expect(await verdict("first")).toBe("broken");
    expect(await verdict("later", ONE_TIME)).toBe("broken");
    expect(await verdict("pinned", ONE_TIME)).toBe("broken");
  });

  it("proves nothing when it was pinned: then the attestation was not asked for", async () => {
    expect(await verdict("pinned")).toBe("unprovable");
  });
});

describe("ways to log in", () => {
  const tried = (methods: string[], password = false) =>
    judge("outside/password")({ methods, password, forwarded: [] });

  it("are keys alone", () => {
    expect(tried(["publickey"])).toEqual({ verdict: "held", found: "publickey" });
  });

  it.each([
    [["publickey", "password"], false, "it offers password"],
    [["publickey", "keyboard-interactive"], false, "it offers keyboard-interactive"],
    [["publickey"], true, "it took a password that is nobody's"],
    [[], false, "it offered no way in at all"],
  ])("are too many with %j, password taken: %s", (methods, password, found) => {
    expect(tried(methods, password)).toEqual({ verdict: "broken", found });
  });

  it("are closed to root", () => {
    expect(judge("outside/root")(false).verdict).toBe("held");
    expect(judge("outside/root")(true)).toEqual({ verdict: "broken", found: "root was let in" });
  });
});

describe("forwarding", () => {
  it("is prohibited in every kind", () => {
    const tried = (forwarded: string[]) => judge("outside/forwarding")({ methods: [], password: false, forwarded });
    expect(tried([]).verdict).toBe("held");
    expect(tried(["direct-tcpip", "tcpip-forward"])).toEqual({
      verdict: "broken",
      found: "it forwards direct-tcpip; it forwards tcpip-forward",
    });
  });
});
