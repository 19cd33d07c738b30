import { request } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import type { AskAnswer } from "../../spec/activator.ts";
import { unseal } from "./credentials.ts";
import { isReady } from "./health.ts";
import { currentRelease, readManifest } from "./release.ts";
import { unitState } from "./systemd.ts";

/**
 * Puts one message to an agent on its own loopback port, which only root and the agent reach. An agent that is still
 * starting, as after a reboot, is waited for within the same time.
 * @throws when the agent is unknown or cannot be asked, does not listen, answers an error, or not in time
 */
export async function ask(agentName: string, message: string, timeoutSeconds: number): Promise<AskAnswer> {
  const current = await currentRelease();
  if (current === null) throw new Error("there is no release on this host yet; push one");
  const manifest = await readManifest(current);
  const agent = manifest.agents.find((candidate) => candidate.name === agentName);
  if (agent === undefined)
    throw new Error(
      `received agent "${agentName}"; this host has ${manifest.agents.map((a) => `"${a.name}"`).join(", ") || "none"}`,
    );
  if (agent.ask === null) throw new Error(`agent "${agentName}" takes no questions: its runtime names no path for ask`);
  const { credential } = agent.ask;
  const version = manifest.credentials.find(({ name }) => name === credential)?.version;
  const token = credential === null || version === undefined ? null : await unseal(credential, version);
  const asked = performance.now();
  const deadline = asked + timeoutSeconds * 1000;
  const unit = manifest.units.find(({ name }) => name === `bailiwick-agent-${agentName}.service`);
  while (unit !== undefined && !(await isReady(unit)) && performance.now() < deadline) {
    const { active, result } = await unitState(unit.name);
    // in the first seconds of a boot a unit may not have had its turn yet
    const noTurnYet = active === "inactive" && performance.now() < asked + 5000;
    if (active !== "active" && active !== "activating" && !noTurnYet)
      throw new Error(`agent "${agentName}" does not run: its unit is ${active} (${result}); see bailiwick status`);
    await sleep(250);
  }
  const started = performance.now();
  const { status, body } = await post(
    agent.port,
    agent.ask.path,
    token,
    { model: agent.ask.model, messages: [{ role: "user", content: message }] },
    Math.max(1, Math.ceil((deadline - started) / 1000)),
  );
  const ms = Math.round(performance.now() - started);
  if (status !== 200) throw new Error(`agent "${agentName}" answered HTTP ${status}: ${errorText(body)}`);
  const answer = JSON.parse(body) as { model?: string; choices?: { message?: { content?: unknown } }[] };
  const reply = answer.choices?.[0]?.message?.content;
  if (typeof reply !== "string")
    throw new Error(`agent "${agentName}" answered without a message: ${body.slice(0, 200)}`);
  return { reply, model: answer.model ?? agent.ask.model, ms };
}

function errorText(body: string): string {
  try {
    const { error } = JSON.parse(body) as { error?: { message?: string } };
    if (typeof error?.message === "string") return error.message;
  } catch {
    // not JSON: shown as it is
  }
  return body.slice(0, 300);
}

function post(
  port: number,
  path: string,
  token: string | null,
  body: unknown,
  seconds: number,
): Promise<{ status: number; body: string }> {
  return new Promise((resolve, reject) => {
    const headers: Record<string, string> = { "content-type": "application/json" };
    if (token !== null) headers.authorization = `Bearer ${token}`;
    const call = request(
      {
        host: "127.0.0.1",
        port,
        path,
        method: "POST",
        headers,
        signal: AbortSignal.timeout(Math.ceil(seconds * 1000)),
      },
      (response) => {
        const chunks: Buffer[] = [];
        response.on("data", (chunk: Buffer) => chunks.push(chunk));
        response.on("end", () => resolve({ status: response.statusCode ?? 0, body: Buffer.concat(chunks).toString() }));
        response.on("error", reject);
      },
    );
    call.on("error", (error) => {
      if ((error as NodeJS.ErrnoException).code === "ECONNREFUSED")
        reject(new Error(`the agent does not listen on port ${port}; see bailiwick status`));
      else if (error.name === "TimeoutError" || error.name === "AbortError")
        reject(new Error(`no answer within ${Math.round(seconds)} s`));
      else reject(error);
    });
    call.end(JSON.stringify(body));
  });
}
