import { Token } from "cdktf";
import { z } from "zod";
import type { Architecture } from "../../../runtime/spec/architecture.ts";
import { Cidr } from "../../../runtime/spec/network.ts";
import { checked, knownKeys, refuse } from "../../refuse.ts";

const Image = z.enum(["debian-13", "ubuntu-24.04"]);
export type AwsImage = z.output<typeof Image>;

export interface AwsMachineProps {
  /** Type of the instance, of the Nitro system, such as `t3.medium` or, on arm64, `t4g.medium`. The family decides the
   * architecture of the image, and of what is put on the host. */
  readonly instanceType: string;
  /**
   * Operating system: the newest image of its publisher's own. Another one makes a new instance.
   * @default debian-13
   */
  readonly image?: AwsImage;
  /**
   * How the operator reaches sshd. `cidr`: a public address, and a security group that admits the networks of the host's
   * `Access`. `instance-connect`: nothing at all comes in from outside; an EC2 Instance Connect Endpoint leads there, for
   * who may use it by IAM, and `bailiwick` opens its tunnels by the AWS CLI. Those are limited in rate, and to an hour.
   * @default cidr
   */
  readonly inbound?: "cidr" | "instance-connect";
  /**
   * The team's own subnet. Ids may be tokens. It must lead to the internet, by a gateway or NAT.
   * @default a VPC of its own with one subnet and an internet gateway; no NAT gateway
   */
  readonly network?: { readonly vpcId: string; readonly subnetId: string };
  /**
   * Network of the VPC that is made. Another one replaces all that stands in it, the data volume included.
   * @default 10.77.0.0/24
   */
  readonly vpcCidr?: string;
  /**
   * Whether the instance has a public IPv4 address. With `inbound: "cidr"` it is reached there, else at its private one; in
   * a VPC of its own it is also its way out.
   * @default true
   */
  readonly publicIp?: boolean;
  /**
   * Size of the root disk, GiB, at least 8. All on it is disposable.
   * @default 16
   */
  readonly rootGiB?: number;
  /**
   * Size of the data volume, GiB, 1 to 16384. It outlives rebuilds; `cdktf destroy` removes it. It can grow, not shrink.
   * @default 10
   */
  readonly dataGiB?: number;
  /**
   * ARN of a KMS key of yours for both disks. May be a token. Another one replaces the data volume, with its data.
   * @default the account's key for EBS
   */
  readonly kmsKeyArn?: string;
  /**
   * Whether AWS refuses to terminate the instance, and Terraform a plan that would destroy the data volume or replace it. Set
   * it to false, and deploy, before anything that makes a new machine.
   * @default false
   */
  readonly protect?: boolean;
  /**
   * Snapshots of the data volume by Data Lifecycle Manager, which needs a role of yours.
   * @default none
   */
  readonly snapshots?: { readonly roleArn: string; readonly everyHours: number; readonly keep: number };
  /**
   * Tags of everything that is made, besides `bailiwick-host`.
   * @default none
   */
  readonly tags?: Readonly<Record<string, string>>;
  /**
   * Any other number than at the last deploy builds the machine anew; the data volume stays.
   * @default 0
   */
  readonly rebuild?: number;
}

const Arn = z.string().regex(/^arn:aws[a-z-]*:[a-z0-9-]+:/, "must be an ARN, or a token");

const KEYS = {
  instanceType: z
    .string()
    .regex(/^[a-z][a-z0-9-]*\.[a-z0-9-]+$/, "must be an instance type as AWS writes it, such as t3.medium"),
  image: Image,
  inbound: z.enum(["cidr", "instance-connect"]),
  vpcCidr: Cidr,
  publicIp: z.boolean(),
  rootGiB: z.number().int("must be a whole number").min(8).max(1024),
  dataGiB: z.number().int("must be a whole number").min(1).max(16_384),
  protect: z.boolean(),
  tags: z.record(z.string().min(1).max(128), z.string().max(256)),
  rebuild: z.number().int("must be a whole number").min(0),
};

type Checked = { readonly [K in keyof typeof KEYS]: z.output<(typeof KEYS)[K]> };
export type AwsSettings = Checked & {
  readonly architecture: Architecture;
  readonly network: { readonly vpcId: string; readonly subnetId: string } | null;
  readonly kmsKeyArn: string | null;
  readonly snapshots: { readonly roleArn: string; readonly everyHours: number; readonly keep: number } | null;
};

/** Families of arm64 (Graviton), whose letters after the number begin with `g`, as m7g and c6gd; g5g is one, g5 is not. */
const ARM = /^(a1|[a-z]+[0-9]+g[a-z]*)\./;
/** Families whose disks are not NVMe. */
const NO_NITRO = /^(t1|t2|m[1-4]|c[1345]?|c4|r[34]|i2|d2|g[23]|p[23]|x1e?|h1|f1)\./;

/** @throws Refusal */
export function checkedProps(path: string, props: AwsMachineProps): AwsSettings {
  knownKeys(path, props, [...Object.keys(KEYS), "network", "kmsKeyArn", "snapshots"]);
  const value = <K extends keyof typeof KEYS>(key: K, standard?: Checked[K]) =>
    checked(`${path}: ${key}`, KEYS[key], props[key] ?? standard) as Checked[K];
  const instanceType = value("instanceType");
  if (NO_NITRO.test(instanceType))
    refuse(
      `${path}: instanceType`,
      instanceType,
      "its disks have no names to know them by; choose a type of the Nitro system such as t3",
    );
  return {
    instanceType,
    architecture: ARM.test(instanceType) ? "arm64" : "x64",
    image: value("image", "debian-13"),
    inbound: value("inbound", "cidr"),
    vpcCidr: value("vpcCidr", "10.77.0.0/24"),
    publicIp: value("publicIp", true),
    rootGiB: value("rootGiB", 16),
    dataGiB: value("dataGiB", 10),
    protect: value("protect", false),
    tags: value("tags", {}),
    rebuild: value("rebuild", 0),
    network: checkedNetwork(`${path}: network`, props.network),
    kmsKeyArn: props.kmsKeyArn === undefined ? null : checkedArn(`${path}: kmsKeyArn`, props.kmsKeyArn),
    snapshots: checkedSnapshots(`${path}: snapshots`, props.snapshots),
  };
}

function checkedNetwork(path: string, network: AwsMachineProps["network"]): AwsSettings["network"] {
  if (network === undefined) return null;
  knownKeys(path, network, ["vpcId", "subnetId"]);
  for (const [key, prefix] of Object.entries({ vpcId: "vpc-", subnetId: "subnet-" })) {
    const id: unknown = network[key as keyof typeof network];
    if (typeof id !== "string" || (!Token.isUnresolved(id) && !id.startsWith(prefix)))
      refuse(`${path}.${key}`, id, `give an id that starts with ${prefix}, or a token`);
  }
  return network;
}

function checkedArn(path: string, arn: string): string {
  return Token.isUnresolved(arn) ? arn : checked(path, Arn, arn);
}

function checkedSnapshots(path: string, given: AwsMachineProps["snapshots"]): AwsSettings["snapshots"] {
  if (given === undefined) return null;
  knownKeys(path, given, ["roleArn", "everyHours", "keep"]);
  const Hours = z.union([1, 2, 3, 4, 6, 8, 12, 24].map((one) => z.literal(one)));
  checked(`${path}.everyHours`, Hours, given.everyHours);
  checked(`${path}.keep`, z.number().int().min(1).max(1000), given.keep);
  return { ...given, roleArn: checkedArn(`${path}.roleArn`, given.roleArn) };
}
