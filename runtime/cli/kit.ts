import { existsSync, readFileSync } from "node:fs";

/** Version of this kit, from its package.json. */
export function kitVersion(): string {
  for (const up of ["../../package.json", "../../../package.json"]) {
    const url = new URL(up, import.meta.url);
    if (existsSync(url)) return (JSON.parse(readFileSync(url, "utf8")) as { version: string }).version;
  }
  throw new Error("the kit's own package.json was not found");
}
