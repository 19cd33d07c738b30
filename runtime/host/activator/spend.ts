import { get } from "node:http";
import type { SpendAnswer } from "../../spec/activator.ts";
import { GATEWAY_ADMIN_PORT } from "../../spec/names.ts";
import { currentRelease, readManifest } from "./release.ts";

const TIMEOUT_MS = 10_000;

/**
 * What the model gateway has counted.
 * @throws when this host has none, or it does not answer
 */
export async function spend(): Promise<SpendAnswer> {
  const current = await currentRelease();
  if (current === null) throw new Error("there is no release on this host yet; push one");
  const { units } = await readManifest(current);
  if (!units.some(({ principal }) => principal === "gateway"))
    throw new Error("this host has no model gateway: no model is granted, so nothing is spent");
  return JSON.parse(await read(GATEWAY_ADMIN_PORT, "/spend")) as SpendAnswer;
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
