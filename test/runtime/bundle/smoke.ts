import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";

/** What openclaw-smoke.ts says of one start. */
interface Smoke {
  readonly error?: string;
  readonly log: string;
  readonly readyMs: number;
  readonly askMs: number;
  readonly refused: number;
  readonly answer: { readonly status: number; readonly text: string };
  readonly calls: readonly object[];
  readonly logged: readonly object[];
  readonly exit: number;
}

/**
 * Starts OpenClaw and asks it once. Only loopback exists where it runs: it calls clawhub.ai at each start, and no switch
 * stops it. Needs root.
 * @param node program of the bundled Node.js
 * @param through wire format, and the model gateway's program; default: the model is asked directly
 * @param options more of Node.js' options for OpenClaw
 */
export async function smoke(
  node: string,
  component: string,
  work: string,
  { through = [], options = "" }: { readonly through?: readonly string[]; readonly options?: string } = {},
): Promise<Smoke> {
  const script = fileURLToPath(new URL("./openclaw-smoke.ts", import.meta.url));
  const lone = ["-n", "sh", "-c", 'ip link set lo up && exec "$@"', "sh"];
  const child = spawn("unshare", [...lone, node, script, component, work, "20999", ...through], {
    stdio: ["ignore", "pipe", "inherit"],
    env: { ...process.env, OPENCLAW_NODE_OPTIONS: options },
  });
  let out = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    out += text;
  });
  await new Promise((done) => child.on("close", done));
  return JSON.parse(out);
}
