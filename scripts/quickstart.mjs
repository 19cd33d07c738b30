// One command from a fresh clone to an agent that answers: installs what is missing, builds, deploys, verifies, asks.
// Run again it is quick and changes nothing that is as it should be.
import { existsSync } from "node:fs";
import { capture, installDebianPackages, installPackages, run } from "./processes.mjs";

const started = Date.now();
const say = (line) => console.log(`\n[${((Date.now() - started) / 1000).toFixed(0).padStart(4)} s] ${line}`);
const bailiwick = ["bin/bailiwick.mjs"];
const env = { ...process.env, CHECKPOINT_DISABLE: "1" };

async function quickstart() {
  if (process.platform !== "linux")
    throw new Error(
      `this is ${process.platform}; the local machine needs Linux (other machines can be deployed from here)`,
    );
  if (!existsSync("cdktf.json")) throw new Error("run this in the folder of the clone");
  await installPackages(say);
  await installDebianPackages(await missingPackages(), say);
  if (process.getuid?.() !== 0)
    throw new Error("the local machine needs root (namespaces, loop devices): run `sudo -E npm run quickstart`");

  say("building the machine's image and the agent's bundle, side by side (cached for next time)");
  await run("node", ["--import", "tsx", "stacks/main.ts"], { env });
  await Promise.all([
    run("node", [...bailiwick, "local", "image"], { env }),
    run("node", [...bailiwick, "bundle", "local"], { env }),
  ]);

  say("deploying: npx cdktf deploy local");
  // Into a file or a pipe, cdktf writes plain lines only where it believes to be in CI.
  const plain = process.stdout.isTTY ? {} : { CI: "true" };
  await run("npx", ["--no-install", "cdktf", "deploy", "local", "--auto-approve"], { env: { ...env, ...plain } });

  say("verifying every boundary on the live host: bailiwick verify local");
  await run("node", [...bailiwick, "verify", "local"], { env });

  const question = "In one sentence: who are you, and what can you reach?";
  say(`asking the agent: bailiwick ask local "${question}"`);
  const { code, stdout, stderr } = await capture("node", [...bailiwick, "ask", "local", question, "--json"], { env });
  if (code !== 0) throw new Error(`ask failed: ${stdout}${stderr}`);
  const { reply, ms } = JSON.parse(stdout);
  console.log(`\n${reply}\n\n(answered in ${ms} ms, through the model gateway)`);
  say("done. What next:");
  console.log('  npx bailiwick ask local "…"      another question');
  console.log("  npx bailiwick status local       what runs there");
  console.log("  npx cdktf destroy local          leave nothing behind");
}

/** What `bailiwick doctor` misses and apt can install; everything else it misses is an error that says what to do. */
async function missingPackages() {
  const { stdout, stderr } = await capture("node", [...bailiwick, "doctor", "--json"], { env });
  if (stdout.trim() === "") throw new Error(`bailiwick doctor failed: ${stderr}`);
  const missing = JSON.parse(stdout).checks.filter((check) => !check.ok);
  const packages = new Set();
  for (const { id, found, fix } of missing) {
    const apt = /^apt-get install (?:-y )?(?:--no-install-recommends )?([a-z0-9 .+-]+)$/.exec(fix ?? "");
    if (apt !== null) for (const name of apt[1].trim().split(/\s+/)) packages.add(name);
    else if (id !== "root") throw new Error(`${id}: found ${found}; ${fix}`);
  }
  return [...packages];
}

quickstart().catch((error) => {
  console.error(`\nquickstart: ${error.message}`);
  process.exitCode = 1;
});
