import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { connect } from "../../../runtime/ssh/connect.ts";
import type { Connection } from "../../../runtime/ssh/connection.ts";
import { HostTrustError, RemoteCommandError } from "../../../runtime/ssh/errors.ts";
import { waitForSshBanner } from "../../../runtime/ssh/reachability.ts";
import { type RotateOptions, rotateHostKey, rotationIsFinished } from "../../../runtime/ssh/rotate.ts";
import { shellQuote } from "../../../runtime/ssh/shell-quote.ts";
import type { Trust } from "../../../runtime/ssh/trust.ts";
import { type LoopbackSshd, sshdMissing, startSshd, username } from "./loopback-sshd.ts";
import { makeKey, type TestKey } from "./test-keys.ts";

// Does to this test's own sshd what docs/architecture.md says of host-key. CRASH_AT stops it there.
const HOST_KEY_PROGRAM = `#!/bin/sh
set -eu
etc=$(dirname "$0")
. "$etc/environment"
crash() { [ "\${CRASH_AT:-}" != "$1" ] || { echo "crashed: $1" >&2; exit 70; }; }
case $1 in
new)
  rm -rf "$etc/next"; mkdir -m 0700 "$etc/next"
  ssh-keygen -q -t ed25519 -N '' -C host -f "$etc/next/key"
  crash new
  cat "$etc/next/key.pub" ;;
install)
  attestation=$(cat)
  [ "\${CRASH_AT:-}" != does-nothing ] || exit 0
  crash before-banner
  grep -qF "$(cut -d ' ' -f 2 "$etc/next/key.pub")" <<END || { echo "attestation does not name the pending key" >&2; exit 1; }
$attestation
END
  printf '%s\\n' "$attestation" >"$BANNER.tmp"; mv "$BANNER.tmp" "$BANNER"
  crash before-move
  mv "$etc/next/key" "$etc/host"; mv "$etc/next/key.pub" "$etc/host.pub"
  crash before-reload
  mkdir -p "$etc/etc/bailiwick"; touch "$etc/etc/bailiwick/claimed"
  kill -HUP "$SSHD_PID"
  crash before-shred
  rm -rf "$etc/var" ;;
esac
`;

describe.skipIf(sshdMissing)("rotateHostKey, on the real sshd", () => {
  let dir: string;
  let ada: TestKey;
  let bootstrap: TestKey;
  let server: LoopbackSshd;
  let open: Connection[];

  beforeEach(async () => {
    dir = mkdtempSync(join(tmpdir(), "bailiwick-test-"));
    open = [];
    ada = makeKey(dir, "ada");
    bootstrap = makeKey(dir, "host");
    writeFileSync(join(dir, "banner"), "");
    mkdirSync(join(dir, "var/lib/cloud/instances"), { recursive: true });
    const extra = [`Banner ${join(dir, "banner")}`];
    server = await startSshd({ directory: dir, hostKey: bootstrap.path, authorized: [ada.publicKey], extra });
    writeFileSync(join(dir, "host-key"), HOST_KEY_PROGRAM);
    chmodSync(join(dir, "host-key"), 0o755);
    environment("");
  });
  afterEach(async () => {
    for (const connection of open) await connection.close();
    await server?.stop();
    rmSync(dir, { recursive: true, force: true });
  });

  function environment(crashAt: string): void {
    writeFileSync(
      join(dir, "environment"),
      `SSHD_PID=${server.pid}\nBANNER=${join(dir, "banner")}\nCRASH_AT=${crashAt}\n`,
    );
  }

  async function login(trust: Trust, port = server.port): Promise<Connection> {
    const connection = await connect({ host: "127.0.0.1", port, username, identity: ada.identity, trust });
    open.push(connection);
    return connection;
  }

  function contact(first: string | null = bootstrap.publicKey): Promise<Connection> {
    const attested = { admins: { ada: ada.publicKey }, host: "ops", instance: "i-1" };
    return login({ kind: "bootstrap-or-attested", bootstrap: first, attested });
  }

  function rotate(connection: Connection, changed: Partial<RotateOptions> = {}) {
    return rotateHostKey({
      connection,
      host: "ops",
      instance: "i-1",
      admin: "ada",
      identity: ada.identity,
      reconnect: login,
      command: shellQuote(join(dir, "host-key")),
      ...changed,
    });
  }

  async function settled() {
    const later = await contact();
    expect(later.contact).toBe("later");
    expect(`${later.hostKey} host\n`).toBe(readFileSync(join(dir, "host.pub"), "utf8"));
    expect(await rotationIsFinished(later, dir)).toBe(true);
    await expect(login({ kind: "pinned", hostKey: bootstrap.publicKey })).rejects.toThrow(HostTrustError);
  }

  it("replaces the bootstrap key; later contact is by the attestation, and the old key is refused", async () => {
    const steps: string[] = [];
    const first = await contact();
    expect(first.contact).toBe("first");
    const { connection, hostKey } = await rotate(first, { progress: (step) => steps.push(step) });
    expect(hostKey).not.toBe(bootstrap.publicKey);
    expect(connection).toMatchObject({ contact: "pinned", hostKey });
    expect(await connection.exec("echo in")).toMatchObject({ stdout: "in\n" });
    await expect(first.exec("true")).rejects.toThrow("is closed");
    expect(steps).toHaveLength(5);
    await settled();
  });

  it("lets what runs beside it on the old connection end", async () => {
    const first = await contact();
    const go = join(dir, "go");
    const beside = first.exec(`until test -e ${shellQuote(go)}; do sleep 0.05; done; echo done`);
    const progress = (step: string) => {
      if (step.startsWith("proving")) setTimeout(() => writeFileSync(go, ""), 500); // the new key serves long since
    };
    const { connection } = await rotate(first, { beside, progress });
    expect(await beside).toMatchObject({ stdout: "done\n" });
    await expect(first.exec("true")).rejects.toThrow("is closed");
    expect(await connection.exec("echo in")).toMatchObject({ stdout: "in\n" });
  });

  it("can be done again later", async () => {
    const { connection, hostKey } = await rotate(await contact());
    const again = await rotate(connection);
    expect(again.hostKey).not.toBe(hostKey);
    await settled();
  });

  it.each(["new", "before-banner", "before-move", "before-reload", "before-shred"])(
    "is repaired by the next contact after a crash: %s",
    async (at) => {
      environment(at);
      const error = await rotate(await contact()).catch((thrown: unknown) => thrown);
      expect(error).toBeInstanceOf(RemoteCommandError);
      expect((error as Error).message).toContain(`crashed: ${at}`);
      environment("");
      await waitForSshBanner({ host: "127.0.0.1", port: server.port, timeoutMs: 20_000 });
      const next = await contact();
      // some versions of sshd read their key anew for each connection, and show the new one before they are reloaded
      if (!["before-reload", "before-shred"].includes(at)) expect(next.contact).toBe("first");
      expect(await rotationIsFinished(next, dir)).toBe(false);
      await rotate(next);
      await settled();
    },
  );

  it("fails if sshd goes on with the old key", async () => {
    environment("does-nothing");
    const error = await rotate(await contact()).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(HostTrustError);
    expect((error as HostTrustError).shown).toBe(bootstrap.publicKey);
  });

  it("fails if the old key is still accepted beside the new one", async () => {
    const twin = join(dir, "twin");
    writeFileSync(twin, readFileSync(bootstrap.path), { mode: 0o600 });
    const old = await startSshd({ directory: dir, hostKey: twin, authorized: [ada.publicKey] });
    try {
      const reconnect = (trust: Trust) =>
        login(trust, trust.kind === "pinned" && trust.hostKey === bootstrap.publicKey ? old.port : server.port);
      await expect(rotate(await contact(), { reconnect })).rejects.toThrow("still presents the old host key");
    } finally {
      await old.stop();
    }
  });

  it("takes no third key, and does not try twice", async () => {
    const third = makeKey(dir, "third");
    const other = await startSshd({ directory: dir, hostKey: third.path, authorized: [ada.publicKey] });
    let tries = 0;
    try {
      const reconnect = (trust: Trust) => {
        tries += 1;
        return login(trust, other.port);
      };
      const error = await rotate(await contact(), { reconnect }).catch((thrown: unknown) => thrown);
      expect(error).toBeInstanceOf(HostTrustError);
      expect((error as HostTrustError).shown).toBe(third.publicKey);
      expect(tries).toBe(1);
      expect(other.methods()).toEqual([]);
    } finally {
      await other.stop();
    }
  });

  it.each([
    ["two lines", "cat host.pub host.pub"],
    ["another type", "echo ssh-rsa AAAAB3NzaC1yc2E="],
    ["words", "echo done"],
    ["the old key", "cat host.pub"],
  ])("signs nothing when the host prints %s", async (_title, print) => {
    const command = `true install; cd ${shellQuote(dir)}; ${print}; true`;
    await expect(rotate(await contact(), { command })).rejects.toThrow(/did not print one host key|already in use/);
    expect(readFileSync(join(dir, "banner"), "utf8")).toBe("");
  });
});
