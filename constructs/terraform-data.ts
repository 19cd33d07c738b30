import {
  type ITerraformDependable,
  type LocalExecProvisioner,
  TerraformResource,
  type TerraformResourceLifecycle,
} from "cdktf";
import type { Construct } from "constructs";

export interface TerraformDataProps {
  readonly input?: unknown;
  readonly triggersReplace?: unknown;
  readonly lifecycle?: Omit<TerraformResourceLifecycle, "replaceTriggeredBy">;
  /** Replacing one of these replaces this one. */
  readonly replaceTriggeredBy?: readonly TerraformData[];
  readonly dependsOn?: readonly ITerraformDependable[];
  readonly provisioners?: readonly Omit<LocalExecProvisioner, "type">[];
}

/**
 * Terraform's built-in `terraform_data`: needs no provider and works offline. Not cdktf's DataResource, which starts a
 * `terraform version` for each instance at synth.
 */
export class TerraformData extends TerraformResource {
  readonly #props: TerraformDataProps;

  constructor(scope: Construct, id: string, props: TerraformDataProps) {
    // A resource given as an object would become a template, which Terraform does not take there.
    const replaceTriggeredBy = (props.replaceTriggeredBy ?? []).map((r) => `terraform_data.${r.friendlyUniqueId}`);
    super(scope, id, {
      terraformResourceType: "terraform_data",
      lifecycle: { ...props.lifecycle, ...(replaceTriggeredBy.length === 0 ? {} : { replaceTriggeredBy }) },
      ...(props.dependsOn === undefined ? {} : { dependsOn: [...props.dependsOn] }),
      ...(props.provisioners === undefined
        ? {}
        : { provisioners: props.provisioners.map((p) => ({ ...p, type: "local-exec" })) }),
    });
    this.#props = props;
  }

  /** Token for the id, new with each replacement. */
  get id(): string {
    return this.getStringAttribute("id");
  }

  /** Token for a string in its output, which is its input as of the last apply. */
  output(key: string): string {
    return this.getStringAttribute(`output.${key}`);
  }

  /** Token for a string in its triggers. Sensitive where the trigger was; Terraform forgets that of an output. */
  trigger(key: string): string {
    return this.getStringAttribute(`triggers_replace.${key}`);
  }

  protected override synthesizeAttributes(): Record<string, unknown> {
    return { input: this.#props.input, triggers_replace: this.#props.triggersReplace };
  }
}
