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

  /** Its id, new with each replacement, as an expression for its own stack, like the following. */
  get id(): string {
    return this.#expression("id");
  }

  /** A string in its output, which is its input as of the last apply. */
  output(key: string): string {
    return this.#expression(`output.${key}`);
  }

  /** A string in its triggers, as JSON without quotes. Sensitive where the trigger was; Terraform forgets that of an output. */
  triggerInJson(key: string): string {
    return `\${trim(jsonencode(${this.#path(`triggers_replace.${key}`)}), "\\"")}`;
  }

  /** Plain text and no token: cdktf takes a text apart for each of its tokens, which for user data is most of a synth. */
  #expression(attribute: string): string {
    return `\${${this.#path(attribute)}}`;
  }

  #path(attribute: string): string {
    return `terraform_data.${this.friendlyUniqueId}.${attribute}`;
  }

  protected override synthesizeAttributes(): Record<string, unknown> {
    return { input: this.#props.input, triggers_replace: this.#props.triggersReplace };
  }
}
