import { appendFileSync, existsSync } from "node:fs";
import { join } from "node:path";

// Stands where Terraform's provisioners find `bailiwick`: notes how it was called and fails where a file says so.
const folder = process.env.RECORDING_FOLDER;
const argv = process.argv.slice(2);
const verb = argv[0] === "local" ? argv[1] : argv[0];
const { BAILIWICK_USER_DATA: userData, BAILIWICK_BINDINGS: bindings } = process.env;
appendFileSync(
  join(folder, "calls.jsonl"),
  `${JSON.stringify({ verb, argv, cwd: process.cwd(), userData, bindings })}\n`,
);
console.log(`recorded ${verb}`);
if (existsSync(join(folder, `fail-${verb}`))) {
  console.error(`recorded reason why ${verb} failed`);
  process.exit(1);
}
