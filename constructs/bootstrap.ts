import type { Precondition } from "cdktf";
import type { Construct } from "constructs";
import { HOST_KEY_PRIVATE_PLACEHOLDER, HOST_KEY_PUBLIC_PLACEHOLDER } from "../cloud-init/baseline.ts";
import { terraformLiteral } from "./command-line.ts";
import { generateSshKeyPair } from "./openssh-key.ts";
import { TerraformData } from "./terraform-data.ts";

export interface BootstrapProps {
  /** What the machine is made from; a change of it makes a new machine with a new one-time key. */
  readonly generation: Readonly<Record<string, unknown>>;
  /** Fails the plan of this stack while something is missing. */
  readonly precondition: Precondition;
  /** The host key of a machine that has one already; undefined: one is made for it. */
  readonly hostKey: string | undefined;
}

/**
 * The host key that first contact is pinned to: of a machine that was there before its own, else a one-time key. Each synth makes a fresh pair, of which Terraform takes the one
 * of the synth after which `generation` first existed or changed, and ignores all others. The first push replaces it on
 * the host, and from then on it opens nothing.
 */
export class Bootstrap {
  readonly resource: TerraformData;
  /** Expression for the public line. */
  readonly publicKey: string;

  constructor(scope: Construct, { generation, precondition, hostKey }: BootstrapProps) {
    const replacedWith = new TerraformData(scope, "generation", {
      triggersReplace: generation,
      lifecycle: { precondition: [precondition] },
    });
    if (hostKey !== undefined) {
      // No pair is made: nobody but the machine itself must be able to show the key that it is trusted by.
      this.resource = new TerraformData(scope, "bootstrap", {
        input: { publicKey: hostKey },
        replaceTriggeredBy: [replacedWith],
      });
      this.publicKey = this.resource.output("publicKey");
      return;
    }
    const pair = generateSshKeyPair("");
    // The private half is a trigger, not an input: Terraform copies an input to the output and forgets there that it was
    // sensitive, so that plans of a replacement or a destroy would print it.
    this.resource = new TerraformData(scope, "bootstrap", {
      input: { publicKey: pair.publicKey },
      triggersReplace: { privateKey: `\${sensitive(${JSON.stringify(pair.privateKey)})}` },
      lifecycle: { ignoreChanges: ["input", "triggers_replace"] },
      replaceTriggeredBy: [replacedWith],
    });
    this.publicKey = this.resource.output("publicKey");
  }

  /** The user data with the one-time key in it: expressions of Terraform, of which the private half is sensitive. */
  fill(userData: string): string {
    // It stands in a YAML string in double quotes, where newlines are written as in JSON.
    const privateKey = this.resource.triggerInJson("privateKey");
    return terraformLiteral(userData)
      .replaceAll(HOST_KEY_PRIVATE_PLACEHOLDER, () => privateKey)
      .replaceAll(HOST_KEY_PUBLIC_PLACEHOLDER, () => this.publicKey);
  }
}
