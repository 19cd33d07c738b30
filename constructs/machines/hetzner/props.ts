import { Token } from "cdktf";
import { z } from "zod";
import { Cidr } from "../../../runtime/spec/network.ts";
import { checked, knownKeys, Refusal, refuse } from "../../refuse.ts";

const Image = z.enum(["debian-13", "ubuntu-24.04"]);
type HetznerImage = z.output<typeof Image>;

export interface HetznerMachineProps {
  /** Type of the server, such as `cx33`. Not `cax…`: those are arm64, and what is put on the host is built for x86. */
  readonly serverType: string;
  /** Location of the server and its volume, such as `fsn1`, `nbg1`, `hel1`, `ash`, `hil` or `sin`. A volume cannot move. */
  readonly location: string;
  /**
   * Operating system, as Hetzner's own image. Another one makes a new server.
   * @default debian-13
   */
  readonly image?: HetznerImage;
  /**
   * A public IPv4 address, which costs extra.
   * @default true
   */
  readonly ipv4?: boolean;
  /**
   * A public IPv6 address.
   * @default true
   */
  readonly ipv6?: boolean;
  /**
   * A private network for the server: one of yours by its subnet, or a new one. With `ipv4` and `ipv6` both off it is how
   * the operator reaches the server.
   * @default none
   */
  readonly privateNetwork?: ExistingSubnet | NewNetwork;
  /**
   * Size of the data volume, GiB, 10 to 10240. It outlives rebuilds; `cdktf destroy` removes it. It can grow, not shrink.
   * @default 10
   */
  readonly dataGiB?: number;
  /**
   * Id of a volume of yours in the same location, blank or of this host before, instead of a new one. May be a token.
   * @default a new volume
   */
  readonly volumeId?: string;
  /**
   * Id of a placement group of yours. May be a token.
   * @default none
   */
  readonly placementGroupId?: string;
  /**
   * Ids of more firewalls of yours; what one of them admits comes in. May be tokens.
   * @default the machine's own firewall alone
   */
  readonly firewallIds?: readonly string[];
  /**
   * Labels of everything that is made, besides `bailiwick-host`.
   * @default none
   */
  readonly labels?: Readonly<Record<string, string>>;
  /**
   * Whether Hetzner refuses to delete or rebuild the server, and to delete the volume. Then set it to false, and deploy,
   * before anything that makes a new machine, and before `cdktf destroy`.
   * @default false
   */
  readonly protect?: boolean;
  /**
   * Any other number than at the last deploy builds the machine anew; the data volume stays.
   * @default 0
   */
  readonly rebuild?: number;
}

/** A subnet that exists, or that another construct makes. */
export interface ExistingSubnet {
  /** Id of the subnet, `<network>-<range>`: the attribute `id` of a `NetworkSubnet`. May be a token. */
  readonly subnetId: string;
  /**
   * Address of the server in it. May be a token.
   * @default one that Hetzner chooses
   */
  readonly ip?: string;
}

/** A network that is made for this machine. */
export interface NewNetwork {
  /** Range of the network, such as `10.0.0.0/16`. */
  readonly range: string;
  /** Range of its one subnet, such as `10.0.1.0/24`. */
  readonly subnet: string;
  /** Zone of the server's location: `eu-central`, `us-east`, `us-west` or `ap-southeast`. */
  readonly zone: string;
  /**
   * Address of the server in it.
   * @default one that Hetzner chooses
   */
  readonly ip?: string;
}

/** The props with every default filled in; `dataGiB` is null for a volume that is not ours to size. */
export interface HetznerSettings {
  readonly serverType: string;
  readonly location: string;
  readonly image: HetznerImage;
  readonly ipv4: boolean;
  readonly ipv6: boolean;
  readonly privateNetwork: ExistingSubnet | NewNetwork | null;
  readonly dataGiB: number | null;
  readonly volumeId: string | null;
  readonly placementGroupId: string | null;
  readonly firewallIds: readonly string[];
  readonly labels: Readonly<Record<string, string>>;
  readonly protect: boolean;
  readonly rebuild: number;
}

const KEYS = {
  serverType: z.string().regex(/^[a-z]{2,5}[0-9]{1,3}$/, "must be a server type as Hetzner writes it, such as cx33"),
  location: z.string().regex(/^[a-z]{3}[0-9]{0,2}$/, "must be a location as Hetzner writes it, such as fsn1"),
  image: Image,
  ipv4: z.boolean(),
  ipv6: z.boolean(),
  dataGiB: z.number().int("must be a whole number").min(10).max(10_240),
  firewallIds: z.array(z.unknown()),
  labels: z.record(
    z.string().regex(/^[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$/, "must be a label as Hetzner takes them"),
    z
      .string()
      .regex(/^([A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?)?$/, "must be a label's value as Hetzner takes them"),
  ),
  protect: z.boolean(),
  rebuild: z.number().int("must be a whole number").min(0),
};

/** @throws Refusal */
export function checkedProps(path: string, props: HetznerMachineProps): HetznerSettings {
  knownKeys(path, props, [...Object.keys(KEYS), "privateNetwork", "volumeId", "placementGroupId"]);
  const value = <K extends keyof typeof KEYS>(key: K, standard?: z.output<(typeof KEYS)[K]>) =>
    checked(`${path}: ${key}`, KEYS[key], props[key] ?? standard) as z.output<(typeof KEYS)[K]>;
  const id = (key: "volumeId" | "placementGroupId") =>
    props[key] === undefined ? null : checkedId(`${path}: ${key}`, props[key]);
  const volumeId = id("volumeId");
  if (volumeId !== null && props.dataGiB !== undefined)
    throw new Refusal(
      `${path}: received volumeId and dataGiB; the size of a volume of yours is yours to set: leave dataGiB out`,
    );
  const privateNetwork =
    props.privateNetwork === undefined ? null : checkedNetwork(`${path}: privateNetwork`, props.privateNetwork);
  const ipv4 = value("ipv4", true);
  const ipv6 = value("ipv6", true);
  if (!ipv4 && !ipv6 && privateNetwork === null)
    throw new Refusal(
      `${path}: received ipv4 and ipv6 both false and no privateNetwork; nothing could reach the server: set one of them`,
    );
  const firewallIds = (props.firewallIds ?? []).map((one, i) => checkedId(`${path}: firewallIds[${i}]`, one));
  const serverType = value("serverType");
  if (serverType.startsWith("cax"))
    refuse(
      `${path}: serverType`,
      serverType,
      "it is arm64, and what is put on the host is built for x86; choose cx, cpx or ccx",
    );
  return {
    serverType,
    location: value("location"),
    image: value("image", "debian-13"),
    ipv4,
    ipv6,
    privateNetwork,
    dataGiB: volumeId === null ? value("dataGiB", 10) : null,
    volumeId,
    placementGroupId: id("placementGroupId"),
    firewallIds,
    labels: value("labels", {}),
    protect: value("protect", false),
    rebuild: value("rebuild", 0),
  };
}

function checkedId(path: string, id: unknown): string {
  if (typeof id !== "string" || (!Token.isUnresolved(id) && !/^[0-9]+$/.test(id)))
    refuse(path, id, "give an id as Hetzner shows it, as a string, or a token such as volume.id");
  return id;
}

function checkedNetwork(path: string, network: ExistingSubnet | NewNetwork): ExistingSubnet | NewNetwork {
  if (typeof network === "object" && network !== null && "subnetId" in network) {
    knownKeys(path, network, ["subnetId", "ip"]);
    const { subnetId } = network;
    if (typeof subnetId !== "string" || (!Token.isUnresolved(subnetId) && !/^[0-9]+-[0-9.]+\/[0-9]+$/.test(subnetId)))
      refuse(`${path}.subnetId`, subnetId, "give <network>-<range>, or a token such as subnet.id");
    return network;
  }
  knownKeys(path, network, ["range", "subnet", "zone", "ip"]);
  for (const key of ["range", "subnet"] as const) checked(`${path}.${key}`, Cidr, network[key]);
  checked(
    `${path}.zone`,
    z.string().regex(/^[a-z]+(-[a-z]+)+$/, "must be a network zone such as eu-central"),
    network.zone,
  );
  if (network.ip !== undefined) checked(`${path}.ip`, z.ipv4("must be an IPv4 address of the subnet"), network.ip);
  return network;
}
