import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { BASELINE_PACKAGES } from "../../cloud-init/baseline.ts";
import { ensureImage } from "../../runtime/local/image.ts";
import { bootMachine, destroyMachine } from "../../runtime/local/machine.ts";
import { timed } from "../results.ts";
import { rootIn } from "./host.ts";

/** The floor: the same image, given to cloud-init with nothing to do, until cloud-init is done. Seconds. */
export async function bareBoot(): Promise<number> {
  const image = await ensureImage({ os: "debian-13", packages: BASELINE_PACKAGES, progress: () => {} });
  const slot = randomUUID();
  try {
    const { seconds } = await timed(async () => {
      await bootMachine({
        ...{ slot, instance: randomUUID(), host: "bare", engine: "nspawn", image, rootGiB: 4, dataGiB: 1 },
        userData: "#cloud-config\n{}\n",
        progress: () => {},
      });
      for (;;) {
        if ((await rootIn(slot, "cat /run/cloud-init/result.json 2>/dev/null || true")) !== "") return;
        await sleep(50);
      }
    });
    return seconds;
  } finally {
    await destroyMachine(slot);
  }
}
