import { join, relative, resolve } from "node:path";
import { App, Manifest, TerraformStack } from "cdktf";
import type { Construct } from "constructs";
import { KIT_COMMAND } from "./kit.ts";

/**
 * Command line for a local-exec provisioner that runs `bailiwick`. Paths are relative to the stack's output folder, in
 * which cdktf runs Terraform, so the plan is the same in every clone.
 * @param tokens are passed as they are: ids that Terraform makes, of letters, digits and hyphens
 */
export function bailiwickCommand(scope: Construct, args: readonly (string | { readonly token: string })[]): string {
  const command = relativeToStack(scope, scope.node.tryGetContext(COMMAND_CONTEXT) ?? KIT_COMMAND);
  const words = args.map((arg) => (typeof arg === "string" ? shellWord(arg) : arg.token));
  return ["node", shellWord(command), ...words].join(" ");
}

/** cdktf context key under which tests name another program than the kit's own command. */
const COMMAND_CONTEXT = "bailiwick:command";

/** A path as it is seen from the stack's output folder. */
function relativeToStack(scope: Construct, path: string): string {
  return relative(stackFolder(scope), resolve(path));
}

/** The folder in which cdktf writes the stack and runs Terraform, absolute. */
function stackFolder(scope: Construct): string {
  return resolve(join(App.of(scope).outdir, Manifest.stacksFolder, TerraformStack.of(scope).node.id));
}

/** Text that Terraform's template language leaves as it is. */
export function terraformLiteral(text: string): string {
  return text.replaceAll(/[$%](?=\{)/g, (sign) => sign + sign);
}

/** One word for /bin/sh, whatever it contains, escaped for Terraform too. */
function shellWord(text: string): string {
  return terraformLiteral(/^[A-Za-z0-9._/=@-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`);
}
