// Running programs for the scripts of this folder, which work before any package is installed.
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, readFileSync, writeFileSync } from "node:fs";

/** Runs a program with its output shown; rejects on any other exit code than 0. */
export function run(program, args, options = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { stdio: "inherit", ...options });
    child.on("error", (error) => reject(new Error(`${program} could not be run: ${error.message}`)));
    child.on("close", (code) =>
      code === 0 ? resolve() : reject(new Error(`${program} ${args.join(" ")} ended with exit code ${code}`)),
    );
  });
}

/** Runs a program quietly; answers its exit code and output. */
export function capture(program, args, options = {}) {
  return new Promise((resolve) => {
    const child = spawn(program, args, { stdio: ["ignore", "pipe", "pipe"], ...options });
    let stdout = "";
    let stderr = "";
    child.stdout.on("data", (chunk) => {
      stdout += chunk;
    });
    child.stderr.on("data", (chunk) => {
      stderr += chunk;
    });
    child.on("error", (error) => resolve({ code: 127, stdout, stderr: error.message }));
    child.on("close", (code) => resolve({ code, stdout, stderr }));
  });
}

/** Installs the locked npm packages unless exactly these are installed already. */
export async function installPackages(say) {
  const stamp = "node_modules/.bailiwick-lock";
  const lock = createHash("sha256").update(readFileSync("package-lock.json")).digest("hex");
  if (existsSync(stamp) && readFileSync(stamp, "utf8") === lock) return;
  say("installing npm packages (npm ci)");
  await run("npm", ["ci", "--no-audit", "--no-fund", "--loglevel=error"]);
  writeFileSync(stamp, lock);
}

/** Debian packages that this kit needs on the operator's machine, installed by apt after saying so. */
export async function installDebianPackages(packages, say) {
  if (packages.length === 0) return;
  const root = process.getuid?.() === 0;
  const prefix = root ? [] : ["sudo"];
  if (!root && (await capture("sudo", ["-n", "true"])).code !== 0)
    throw new Error(
      `these Debian packages are missing: ${packages.join(" ")}; run: sudo apt-get install --no-install-recommends ${packages.join(" ")}`,
    );
  say(`installing Debian packages: ${packages.join(" ")}`);
  const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive" };
  const apt = async (...args) => {
    const [program, ...rest] = [...prefix, "apt-get", "-qq", "-o", "Dpkg::Use-Pty=0", ...args];
    const { code, stderr } = await capture(program, rest, { env });
    if (code !== 0) throw new Error(`apt-get ${args.join(" ")} ended with exit code ${code}: ${stderr.trim()}`);
  };
  await apt("update");
  await apt("install", "-y", "--no-install-recommends", ...packages);
}
