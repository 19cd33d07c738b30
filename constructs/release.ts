import { Lazy, TerraformOutput } from "cdktf";
import type { Construct } from "constructs";
import type { Bootstrap } from "./bootstrap.ts";
import { bailiwickCommand } from "./command-line.ts";
import { addDrain } from "./drain.ts";
import { KIT_VERSION } from "./kit.ts";
import type { MadeMachine } from "./machines/machine.ts";
import { TerraformData } from "./terraform-data.ts";
import { untraced } from "./untraced.ts";

export interface ReleaseProps {
  readonly host: string;
  readonly specFile: string;
  readonly bootstrap: Bootstrap;
  readonly machine: MadeMachine;
  /**
   * Digests of the spec, of all files that decide components, and of what the machine is made from; asked for at synth, when
   * every grant is made.
   */
  readonly digests: Readonly<Record<"spec" | "components" | "generation", () => string>>;
  /** Values of the spec's bindings: tokens by key; asked for at synth. */
  readonly values: () => Readonly<Record<string, string>>;
}

/** Pushes the release whenever the spec, the kit, a component or what Terraform knows of the machine has changed. */
export function addRelease(scope: Construct, props: ReleaseProps): void {
  const { host, specFile, bootstrap, machine } = props;
  const claim = new TerraformData(scope, "claim", {
    input: { instance: machine.instance },
    lifecycle: { ignoreChanges: ["input"] },
    replaceTriggeredBy: [bootstrap.resource],
  });
  // Each token costs a stack trace when it is made, and a deep one while others are being resolved: all are made here.
  const known = {
    machine: { ...machine.binding },
    bootstrap: { publicKey: bootstrap.publicKey, claimedBy: claim.output("instance") },
  };
  let resolved: unknown;
  // Resolved once for all places, into plain text. References to other stacks can be among the values alone: what the machine
  // is bound to by such a reference is in its own resources.
  const bindings = (place: "triggers" | "output") =>
    Lazy.anyValue({
      produce: (context) => {
        if (context.preparing) return place === "triggers" ? { ...props.values() } : {};
        resolved ??= untraced(() => context.resolve({ ...known, values: { ...props.values() } }));
        return resolved;
      },
    });
  // Before all stacks are ready the spec may be incomplete: nothing is decided by it then.
  const digest = (kind: keyof ReleaseProps["digests"]) =>
    Lazy.stringValue({ produce: ({ preparing }) => (preparing ? "" : props.digests[kind]()) });
  new TerraformData(scope, "release", {
    triggersReplace: {
      spec: digest("spec"),
      kit: KIT_VERSION,
      components: digest("components"),
      bindings: bindings("triggers"),
    },
    dependsOn: [machine.made],
    provisioners: [
      {
        command: bailiwickCommand(scope, ["push", host, "--spec", specFile, "--from-terraform"]),
        environment: { BAILIWICK_BINDINGS: `\${jsonencode(self.triggers_replace.bindings)}` },
      },
    ],
  });
  if (machine.isDrained)
    addDrain(scope, {
      ...{ host, specFile, machine },
      ...{ bindings: bindings("triggers"), generation: digest("generation") },
    });
  new TerraformOutput(scope, `bailiwick_${host.replaceAll("-", "_")}`, {
    staticId: true,
    description: `What bailiwick needs to find host ${host}; no secrets.`,
    value: bindings("output"),
  });
}
