import { timed } from "../results.ts";
import type { BenchHost } from "./host.ts";

interface Manifest {
  readonly agents: readonly { name: string; port: number; ask: { path: string; model: string } }[];
}

/**
 * What OpenClaw itself needs on that host, past the kit: from its unit's start until it says that it is ready, and one turn
 * asked of its own endpoint. Seconds.
 */
export async function openclawByHand(host: BenchHost, agent: string): Promise<{ ready: number; turn: number }> {
  const manifest = JSON.parse(await host.root("cat /opt/bailiwick/current/manifest.json")) as Manifest;
  const found = manifest.agents.find(({ name }) => name === agent);
  if (found === undefined) throw new Error(`the release has no agent "${agent}"`);
  const unit = `bailiwick-agent-${agent}`;
  await host.root(`systemctl stop ${unit}`);
  const ready = await timed(() =>
    host.root(`
      systemctl start --no-block ${unit}
      python3 -I - <<'END'
import time, urllib.request
while True:
    try:
        if urllib.request.urlopen("http://127.0.0.1:${found.port}/readyz", timeout=5).status == 200: break
    except OSError: time.sleep(0.05)
END`),
  );
  const turn = await timed(() =>
    host.root(`
      python3 -I - <<'END'
import glob, json, urllib.request
token = open(glob.glob("/run/credentials/${unit}.service/*token*")[0]).read().strip()
body = json.dumps({"model": "${found.ask.model}", "messages": [{"role": "user", "content": "are you there?"}]})
call = urllib.request.Request("http://127.0.0.1:${found.port}${found.ask.path}", body.encode(),
    {"content-type": "application/json", "authorization": "Bearer " + token})
assert "choices" in json.load(urllib.request.urlopen(call, timeout=120))
END`),
  );
  return { ready: ready.seconds, turn: turn.seconds };
}
