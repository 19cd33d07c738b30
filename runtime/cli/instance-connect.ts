import { type ChildProcess, spawn } from "node:child_process";
import { freePort } from "../local/port.ts";
import { UnreachableError } from "../ssh/errors.ts";

interface Tunnel {
  readonly port: number;
  readonly child: ChildProcess;
}

const open = new Map<string, Tunnel>();

/** AWS ends a tunnel after this long; uploads resume, so a push that was cut is run again. */
const LONGEST_SECONDS = 3600;
const OPENS_WITHIN_MS = 30_000;

/**
 * The way to an instance that takes nothing from outside: a port of loopback that the AWS CLI leads to its sshd, through
 * the EC2 Instance Connect Endpoint of its subnet, by the credentials and region that the CLI has. It ends with this
 * process; one tunnel serves all its connections. Whom it leads to is proven by the host key, as everywhere.
 * @throws UnreachableError with what the CLI said, or that it is not there
 */
export async function instanceConnectTunnel(instance: string): Promise<{ host: string; port: number }> {
  const known = open.get(instance);
  if (known !== undefined && known.child.exitCode === null && known.child.signalCode === null)
    return { host: "127.0.0.1", port: known.port };
  // the CLI takes a number, not a socket
  const port = await freePort();
  const child = spawn(
    "aws",
    [
      ...["ec2-instance-connect", "open-tunnel", "--instance-id", instance, "--remote-port", "22"],
      ...["--local-port", String(port), "--max-tunnel-duration", String(LONGEST_SECONDS)],
    ],
    { stdio: ["ignore", "pipe", "pipe"] },
  );
  process.once("exit", () => child.kill());
  await listening(child, instance);
  child.unref();
  for (const stream of [child.stdout, child.stderr]) (stream as unknown as { unref(): void }).unref();
  open.set(instance, { port, child });
  return { host: "127.0.0.1", port };
}

/** The CLI says on stdout when it listens; a connection to try it by would be one of the tunnel's few. */
function listening(child: ChildProcess, instance: string): Promise<void> {
  return new Promise((done, fail) => {
    let said = "";
    const give = (reason: string) => {
      clearTimeout(timer);
      child.kill();
      fail(new UnreachableError(`no EC2 Instance Connect tunnel to ${instance}: ${reason}`));
    };
    const timer = setTimeout(
      () => give(`the AWS CLI did not listen in time; it said: ${said.trim()}`),
      OPENS_WITHIN_MS,
    );
    const hear = (chunk: Buffer) => {
      said = (said + chunk.toString()).slice(-2000);
      if (!/listening for connections/i.test(said)) return;
      clearTimeout(timer);
      done();
    };
    child.stdout?.on("data", hear);
    child.stderr?.on("data", hear);
    child.on("error", (error: NodeJS.ErrnoException) =>
      give(error.code === "ENOENT" ? "the AWS CLI is not installed here; install aws, version 2" : error.message),
    );
    child.on("exit", (code) => give(`the AWS CLI ended with exit code ${code}: ${said.trim()}`));
  });
}
