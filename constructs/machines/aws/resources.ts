import {
  type ITerraformDependable,
  TerraformDataSource,
  TerraformProvider,
  TerraformResource,
  type TerraformResourceLifecycle,
  TerraformStack,
} from "cdktf";
import type { Construct } from "constructs";

/**
 * The few AWS resources in use, typed by hand with the arguments in use: `@cdktf/provider-aws` is 392 MB for these. Names
 * of arguments are the provider's own. A team that has the package passes its resources' ids as tokens.
 */
interface Types {
  aws_vpc: { cidr_block: string; enable_dns_support: boolean; enable_dns_hostnames: boolean };
  aws_internet_gateway: { vpc_id: string };
  aws_subnet: { vpc_id: string; cidr_block: string; map_public_ip_on_launch: false };
  aws_route_table: { vpc_id: string };
  aws_route: { route_table_id: string; destination_cidr_block: string; gateway_id: string };
  aws_route_table_association: { subnet_id: string; route_table_id: string };
  aws_default_security_group: { vpc_id: string };
  aws_security_group: { name_prefix: string; description: string; vpc_id: string };
  aws_vpc_security_group_ingress_rule: Rule;
  aws_vpc_security_group_egress_rule: Rule;
  aws_ec2_instance_connect_endpoint: { subnet_id: string; security_group_ids: string[]; preserve_client_ip: false };
  aws_ebs_volume: { availability_zone: string; size: number; type: "gp3"; encrypted: true; kms_key_id?: string };
  aws_volume_attachment: {
    device_name: string;
    volume_id: string;
    instance_id: string;
    stop_instance_before_detaching: boolean;
  };
  aws_instance: {
    ami: string;
    instance_type: string;
    subnet_id: string;
    vpc_security_group_ids: string[];
    associate_public_ip_address: boolean;
    user_data: string;
    user_data_replace_on_change: true;
    disable_api_termination: boolean;
    instance_initiated_shutdown_behavior: "stop";
    metadata_options: {
      http_endpoint: "enabled";
      http_tokens: "required";
      http_put_response_hop_limit: 1;
      http_protocol_ipv6: "disabled";
      instance_metadata_tags: "disabled";
    };
    root_block_device: {
      volume_type: "gp3";
      volume_size: number;
      encrypted: true;
      kms_key_id?: string;
      delete_on_termination: true;
    };
  };
  aws_dlm_lifecycle_policy: {
    description: string;
    execution_role_arn: string;
    state: "ENABLED";
    policy_details: {
      resource_types: ["VOLUME"];
      target_tags: Record<string, string>;
      schedule: {
        name: string;
        create_rule: { interval: number; interval_unit: "HOURS" };
        retain_rule: { count: number };
        copy_tags: boolean;
      };
    };
  };
}

interface Rule {
  security_group_id: string;
  description: string;
  ip_protocol: string;
  from_port?: number;
  to_port?: number;
  cidr_ipv4?: string;
  cidr_ipv6?: string;
  referenced_security_group_id?: string;
}

export interface AwsMeta {
  readonly provider: TerraformProvider;
  readonly tags?: Readonly<Record<string, string>>;
  readonly lifecycle?: TerraformResourceLifecycle;
  readonly dependsOn?: ITerraformDependable[];
}

/** One AWS resource. */
export class AwsResource<T extends keyof Types = keyof Types> extends TerraformResource {
  readonly #arguments: object;

  constructor(scope: Construct, id: string, type: T, given: Types[T], { tags, ...meta }: AwsMeta) {
    super(scope, id, { terraformResourceType: type, terraformGeneratorMetadata: GENERATOR, ...meta });
    this.#arguments = tags === undefined ? given : { ...given, tags: { ...tags } };
  }

  /** Token for an attribute, such as `id` or `private_ip`. */
  attribute(name: string): string {
    return this.getStringAttribute(name);
  }

  get id(): string {
    return this.attribute("id");
  }

  protected override synthesizeAttributes(): Record<string, unknown> {
    return { ...this.#arguments };
  }
}

/** What is looked up in AWS. */
export class AwsLookup extends TerraformDataSource {
  readonly #arguments: object;

  constructor(
    scope: Construct,
    id: string,
    type: "aws_ami" | "aws_subnet",
    given: object,
    provider: TerraformProvider,
  ) {
    super(scope, id, { terraformResourceType: type, terraformGeneratorMetadata: GENERATOR, provider });
    this.#arguments = given;
  }

  attribute(name: string): string {
    return this.getStringAttribute(name);
  }

  protected override synthesizeAttributes(): Record<string, unknown> {
    return { ...this.#arguments };
  }
}

const GENERATOR = { providerName: "aws", providerVersionConstraint: "~> 6.0" };

class AwsProvider extends TerraformProvider {
  constructor(scope: Construct, id: string) {
    super(scope, id, {
      terraformResourceType: "aws",
      terraformGeneratorMetadata: GENERATOR,
      terraformProviderSource: "hashicorp/aws",
    });
  }

  protected override synthesizeAttributes(): Record<string, unknown> {
    return {};
  }
}

/** The stack's own AWS provider if it has one already, else one that takes region and credentials from the environment. */
export function awsProvider(scope: Construct): TerraformProvider {
  const stack = TerraformStack.of(scope);
  return (
    stack.allProviders().find((one) => one.terraformResourceType === "aws") ?? new AwsProvider(stack, "aws-provider")
  );
}
