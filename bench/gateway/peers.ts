import { execFileSync } from "node:child_process";
import { randomUUID } from "node:crypto";
import { cpSync, existsSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { nodeBinary } from "../../runtime/bundle/node.ts";
import { load, type Target } from "./load.ts";
import { start } from "./program.ts";

const here = import.meta.dirname;
const cache = join(process.env.XDG_CACHE_HOME ?? join(homedir(), ".cache"), "bailiwick", "bench");
const LITELLM = "1.108.7";

/**
 * The gateways that others would take, each with what it needs to do no more than the floor does. Installed once, outside
 * the project; one that cannot be had is left out.
 * @param notRun told of the ratio that is not measured then, and why
 */
export async function peers(
  folder: string,
  origin: string,
  notRun: (ratio: string, reason: string) => void,
): Promise<Record<string, Target>> {
  const found: Record<string, Target> = {};
  for (const [name, peer] of Object.entries({ portkey, litellm }))
    try {
      const target = await peer(folder, origin);
      await load(target, 1, true, 0.1);
      found[name] = target;
    } catch (error) {
      notRun(`cpu_vs_${name}`, `not run: ${error instanceof Error ? error.message.slice(-300) : "unknown"}`);
    }
  return found;
}

async function portkey(_folder: string, origin: string): Promise<Target> {
  const home = join(cache, "portkey-1.15.2");
  const entry = join(home, "node_modules", "@portkey-ai", "gateway", "build", "start-server.js");
  if (!existsSync(entry)) {
    mkdirSync(home, { recursive: true });
    cpSync(join(here, "portkey", "package.json"), join(home, "package.json"));
    cpSync(join(here, "portkey", "package-lock.json"), join(home, "package-lock.json"));
    execFileSync("npm", ["ci", "--ignore-scripts", "--no-audit", "--no-fund"], { cwd: home, stdio: "ignore" });
  }
  const port = 8787;
  const program = await start([await nodeBinary(), entry, "--headless", `--port=${port}`], {
    env: { NODE_ENV: "production", TRUSTED_CUSTOM_HOSTS: "127.0.0.1" },
    listens: (output) => (/running|ready|8787/i.test(output) ? port : undefined),
  });
  const headers = {
    ...{ authorization: "Bearer key-of-the-provider", "x-portkey-provider": "openai" },
    "x-portkey-custom-host": `${origin}/v1`,
  };
  return { program, path: "/v1/chat/completions", headers };
}

async function litellm(folder: string, origin: string): Promise<Target> {
  const home = join(cache, `litellm-${LITELLM}`);
  const entry = join(home, "bin", "litellm");
  if (!existsSync(entry)) {
    try {
      rmSync(home, { recursive: true, force: true });
      execFileSync("python3", ["-m", "venv", home], { stdio: "ignore" });
      const pip = ["-m", "pip", "install", "--quiet", "--only-binary", ":all:", `litellm[proxy]==${LITELLM}`];
      execFileSync(join(home, "bin", "python3"), pip, { stdio: "ignore" });
    } catch (error) {
      rmSync(home, { recursive: true, force: true });
      throw error;
    }
  }
  const model = "gpt-5.6";
  const key = randomUUID();
  const config = join(folder, "litellm.yaml");
  const route = { model: `openai/${model}`, api_base: `${origin}/v1`, api_key: "key-of-the-provider" };
  const text = { model_list: [{ model_name: model, litellm_params: route }], litellm_settings: { telemetry: false } };
  writeFileSync(config, JSON.stringify(text)); // JSON is YAML
  const port = 8788;
  const argv = [join(home, "bin", "python3"), entry, "--config", config, "--host", "127.0.0.1", "--port", String(port)];
  const program = await start(argv, {
    // else it asks the internet for prices while it starts
    env: {
      PATH: process.env.PATH ?? "",
      HOME: folder,
      LITELLM_LOCAL_MODEL_COST_MAP: "True",
      LITELLM_LOG: "ERROR",
      PYTHONUNBUFFERED: "1",
      LITELLM_MASTER_KEY: `sk-${key}`,
    },
    // with its log at errors alone, it does not say when it listens
    listens: (output) => (/Proxy initialized with Config/.test(output) ? port : undefined),
  });
  for (let i = 0; !(await answers(`http://127.0.0.1:${port}/health/liveliness`)); i++) {
    if (i === 600) throw new Error("LiteLLM did not listen within a minute of its start");
    await sleep(100);
  }
  return { program, path: "/v1/chat/completions", headers: { authorization: `Bearer sk-${key}` } };
}

async function answers(url: string): Promise<boolean> {
  try {
    return (await fetch(url)).ok;
  } catch {
    return false;
  }
}
