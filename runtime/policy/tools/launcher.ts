/**
 * What Node.js loads before a stdio server (`--import`). It gives the process the secrets that are its own, as the
 * environment variables that servers read, and ends it when its connection has ended: not every server does so by itself,
 * and nobody else could tell that it is of no more use.
 * @param secrets names of credentials by environment variable
 * @param files whether it was granted secrets to read as files, and so is told where they are
 */
export function launcher(secrets: Readonly<Record<string, string>>, files: boolean): string {
  return `import { readFileSync } from "node:fs";
const secrets = ${JSON.stringify(secrets)};
for (const [variable, credential] of Object.entries(secrets))
  process.env[variable] = readFileSync(\`\${process.env.CREDENTIALS_DIRECTORY}/\${credential}\`, "utf8").replace(/\\n$/, "");
${files ? "" : "delete process.env.CREDENTIALS_DIRECTORY;\n"}const end = () => setTimeout(() => process.exit(0), 500);
process.stdin.once("end", end).once("close", end);
process.stdout.on("error", () => process.exit(0));
`;
}
