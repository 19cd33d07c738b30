import { Fn } from "cdktf";
import { Construct } from "constructs";
import { DATA_VOLUME_PLACEHOLDER } from "../../../cloud-init/baseline.ts";
import { Refusal } from "../../refuse.ts";
import { searchedOnce } from "../../user-data.ts";
import type { HostOnMachine, Machine, MachineReview, MadeMachine } from "../machine.ts";
import { admitEndpoint, admitNetworks, instanceGroup } from "./inbound.ts";
import { machineNetwork } from "./network.ts";
import { type AwsImage, type AwsMachineProps, type AwsSettings, checkedProps } from "./props.ts";
import { AwsLookup, type AwsMeta, AwsResource, awsProvider } from "./resources.ts";

/** Who publishes a system's own images, and how they are named, with ARCH for Debian's name of the architecture. */
const IMAGES: Readonly<Record<AwsImage, { readonly owner: string; readonly name: string }>> = {
  "debian-13": { owner: "136693071363", name: "debian-13-ARCH-*" },
  "ubuntu-24.04": { owner: "099720109477", name: "ubuntu/images/hvm-ssd-gp3/ubuntu-noble-24.04-ARCH-server-*" },
};

/**
 * An EC2 instance from Debian's or Ubuntu's own image, with a data volume of its own; both disks encrypted, no instance
 * role, and a metadata service that answers to tokens only and not beyond the instance itself. Region and credentials come
 * from the environment, as for the AWS CLI.
 *
 * Whatever changes the machine (type, image's system, way in, baseline, `rebuild`) makes a new instance and keeps the
 * volume; before that the old one is stopped, and its volume taken off in order. A newer image alone changes nothing: it
 * comes with `rebuild`.
 */
export class AwsMachine extends Construct implements Machine {
  readonly dataDevice = `nvme-Amazon_Elastic_Block_Store_${DATA_VOLUME_PLACEHOLDER}`;
  readonly #settings: AwsSettings;
  #instance: AwsResource | undefined;
  #group: AwsResource | undefined;

  /** @throws Refusal for an unknown key, a value out of range or malformed, or a token where synth decides */
  constructor(scope: Construct, id: string, props: AwsMachineProps) {
    super(scope, id);
    this.#settings = checkedProps(`AwsMachine "${id}"`, props);
  }

  get spec(): Extract<Machine["spec"], { kind: "aws" }> {
    const { instanceType, architecture, inbound, dataGiB } = this.#settings;
    return { kind: "aws", instanceType, ...(architecture === "arm64" ? { architecture } : {}), inbound, dataGiB };
  }

  get os(): AwsImage {
    return this.#settings.image;
  }

  get generation(): Machine["generation"] {
    const { instanceType, inbound, publicIp, rootGiB, rebuild } = this.#settings;
    return { kind: "aws", instanceType, inbound, publicIp: String(publicIp), rootGiB, rebuild };
  }

  /** The instance, once a host is on it: the escape hatch, and the source of outputs by `attribute(name)`. */
  get instance(): AwsResource {
    return this.#instance ?? this.#unbound("instance");
  }

  /** The instance's security group, once a host is on it. */
  get securityGroup(): AwsResource {
    return this.#group ?? this.#unbound("securityGroup");
  }

  bind({ name, bootstrap, userData, sshFrom }: HostOnMachine): MadeMachine {
    const { inbound, publicIp, kmsKeyArn, dataGiB, instanceType, rootGiB, protect } = this.#settings;
    const tags = { ...this.#settings.tags, Name: name, "bailiwick-host": name };
    const meta: AwsMeta = { provider: awsProvider(this), tags };
    const network = machineNetwork(this, this.#settings, meta);
    const group = instanceGroup(this, { host: name, network, meta });
    this.#group = group;
    const way = [...network.way];
    if (inbound === "cidr") admitNetworks(this, sshFrom, group, meta);
    else way.push(admitEndpoint(this, { host: name, network, meta }, group));
    const key = kmsKeyArn === null ? {} : { kms_key_id: kmsKeyArn };
    const encrypted = { encrypted: true, ...key } as const;
    const volume = new AwsResource(
      this,
      "data",
      "aws_ebs_volume",
      { availability_zone: network.zone, size: dataGiB, type: "gp3", ...encrypted },
      { ...meta, ...(protect ? { lifecycle: { preventDestroy: true } } : {}) },
    );
    this.#snapshots(name, meta);
    const image = new AwsLookup(this, "image", "aws_ami", imageFilter(this.#settings), meta.provider);
    const instance = new AwsResource(
      this,
      "instance",
      "aws_instance",
      {
        ami: image.attribute("id"),
        instance_type: instanceType,
        subnet_id: network.subnetId,
        vpc_security_group_ids: [group.id],
        associate_public_ip_address: publicIp,
        user_data: searchedOnce(userData.replaceAll(DATA_VOLUME_PLACEHOLDER, () => Fn.replace(volume.id, "-", ""))),
        user_data_replace_on_change: true,
        disable_api_termination: protect,
        instance_initiated_shutdown_behavior: "stop",
        metadata_options: {
          ...{ http_endpoint: "enabled", http_tokens: "required", http_put_response_hop_limit: 1 },
          ...{ http_protocol_ipv6: "disabled", instance_metadata_tags: "disabled" },
        },
        root_block_device: { volume_type: "gp3", volume_size: rootGiB, ...encrypted, delete_on_termination: true },
      },
      { ...meta, lifecycle: { ignoreChanges: ["ami"] }, dependsOn: way },
    );
    this.#instance = instance;
    // A resource given as an object would become a template, which Terraform does not take there.
    instance.addOverride("lifecycle.replace_triggered_by", [`terraform_data.${bootstrap.friendlyUniqueId}`]);
    const attachment = new AwsResource(
      this,
      "attachment",
      "aws_volume_attachment",
      {
        ...{ device_name: "/dev/sdf", volume_id: volume.id, instance_id: instance.id },
        stop_instance_before_detaching: true,
      },
      { provider: meta.provider },
    );
    const made = { instance: instance.id, made: attachment, isDrained: true, binding: this.#binding(instance) };
    // The host sees the endpoint's own address, not the operator's.
    return inbound === "cidr" ? made : { ...made, sshFrom: [network.cidr] };
  }

  review(): MachineReview {
    return { refused: [], missing: [] };
  }

  #binding(instance: AwsResource): MadeMachine["binding"] {
    const { inbound, publicIp } = this.#settings;
    if (inbound === "instance-connect") return { kind: "instance-connect", instance: instance.id };
    const address = instance.attribute(publicIp ? "public_ip" : "private_ip");
    return { kind: "remote", address, instance: instance.id };
  }

  #snapshots(host: string, meta: AwsMeta): void {
    const { snapshots } = this.#settings;
    if (snapshots === null) return;
    const { roleArn, everyHours, keep } = snapshots;
    const schedule = {
      name: "bailiwick",
      create_rule: { interval: everyHours, interval_unit: "HOURS" },
      retain_rule: { count: keep },
      copy_tags: true,
    } as const;
    new AwsResource(
      this,
      "snapshots",
      "aws_dlm_lifecycle_policy",
      {
        description: `data volume of bailiwick host ${host}`,
        execution_role_arn: roleArn,
        state: "ENABLED",
        policy_details: { resource_types: ["VOLUME"], target_tags: { "bailiwick-host": host }, schedule },
      },
      meta,
    );
  }

  #unbound(what: string): never {
    throw new Refusal(`AwsMachine "${this.node.id}": ${what}: there is none yet; put a host on the machine first`);
  }
}

function imageFilter({ image, architecture }: AwsSettings) {
  const { owner, name } = IMAGES[image];
  const arm = architecture === "arm64";
  return {
    owners: [owner],
    most_recent: true,
    filter: [
      { name: "name", values: [name.replace("ARCH", arm ? "arm64" : "amd64")] },
      { name: "architecture", values: [arm ? "arm64" : "x86_64"] },
      { name: "virtualization-type", values: ["hvm"] },
    ],
  };
}
