import { readFile } from "node:fs/promises";
import { get } from "node:http";
import { join } from "node:path";
import { GatewayStatus, type SpendAnswer } from "../../spec/activator.ts";
import { sha256 } from "../../spec/digest.ts";
import type { ReleaseManifest } from "../../spec/manifest.ts";
import { GATEWAY_ADMIN_PORT } from "../../spec/names.ts";
import { currentRelease, readManifest, releasePath } from "./release.ts";

const TIMEOUT_MS = 10_000;

/**
 * What the model gateway has counted.
 * @throws when this host has none, or it does not answer
 */
export async function spend(): Promise<SpendAnswer> {
  const current = await currentRelease();
  if (current === null) throw new Error("there is no release on this host yet; push one");
  if (!hasGateway(await readManifest(current)))
    throw new Error("this host has no model gateway: no model is granted, so nothing is spent");
  return JSON.parse(await read(GATEWAY_ADMIN_PORT, "/spend")) as SpendAnswer;
}

/**
 * How the model gateway finds its providers, and what is wrong with the configuration that it serves. Nothing of a host that
 * has none; of one whose gateway does not answer, its unit tells.
 */
export async function gatewayHealth(
  manifest: ReleaseManifest,
): Promise<{ providers: GatewayStatus["providers"] | null; problems: string[] }> {
  if (!hasGateway(manifest)) return { providers: null, problems: [] };
  try {
    const { config, providers } = GatewayStatus.parse(JSON.parse(await read(GATEWAY_ADMIN_PORT, "/status")));
    const file = await readFile(join(releasePath(manifest.digest), "etc/gateway/gateway.json"));
    const problem =
      "the model gateway serves another configuration than the release's; see bailiwick logs <host> --unit gateway, then push again";
    return { providers, problems: config === sha256(file) ? [] : [problem] };
  } catch {
    return { providers: null, problems: [] };
  }
}

function hasGateway({ units }: ReleaseManifest): boolean {
  return units.some(({ principal }) => principal === "gateway");
}

function read(port: number, path: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const call = get({ host: "127.0.0.1", port, path, signal: AbortSignal.timeout(TIMEOUT_MS) }, (response) => {
      const chunks: Buffer[] = [];
      response.on("data", (chunk: Buffer) => chunks.push(chunk));
      response.on("end", () => {
        if (response.statusCode === 200) resolve(Buffer.concat(chunks).toString());
        else reject(new Error(`the model gateway answered HTTP ${response.statusCode}; see bailiwick logs`));
      });
      response.on("error", reject);
    });
    call.on("error", (error: NodeJS.ErrnoException) =>
      reject(
        new Error(
          `the model gateway does not answer (${error.code ?? error.name}); see bailiwick status, then bailiwick logs <host> --unit gateway`,
        ),
      ),
    );
  });
}
