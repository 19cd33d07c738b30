import { Fn, Token } from "cdktf";
import { Construct } from "constructs";
import { DATA_VOLUME_PLACEHOLDER } from "../../../cloud-init/baseline.ts";
import type { Firewall } from "../../imports/hcloud/firewall/index.ts";
import { Server, type ServerNetwork } from "../../imports/hcloud/server/index.ts";
import { SshKey } from "../../imports/hcloud/ssh-key/index.ts";
import { VolumeAttachment } from "../../imports/hcloud/volume-attachment/index.ts";
import { generateSshKeyPair } from "../../openssh-key.ts";
import { Refusal } from "../../refuse.ts";
import { searchedOnce } from "../../user-data.ts";
import type { HostOnMachine, Machine, MachineReview, MadeMachine } from "../machine.ts";
import { dataVolume } from "./data-volume.ts";
import { sshFirewall } from "./firewall.ts";
import { checkedProps, type HetznerMachineProps, type HetznerSettings } from "./props.ts";
import { hcloudProvider } from "./provider.ts";
import { subnetOf } from "./subnet.ts";

/**
 * A server of Hetzner Cloud with a data volume of its own. Its firewall is there before the server is, which is created
 * with it: nothing but SSH from the networks of the host's `Access` comes in, at no moment. Hetzner's firewalls do not
 * filter private networks; the host's own rules do, on every interface.
 *
 * Whatever changes the machine (location, type, image, addresses, baseline, `rebuild`) makes a new server and keeps the
 * volume. The token comes from `HCLOUD_TOKEN`, which the provider reads by itself.
 */
export class HetznerMachine extends Construct implements Machine {
  readonly dataDevice = `scsi-0HC_Volume_${DATA_VOLUME_PLACEHOLDER}`;
  readonly #settings: HetznerSettings;
  #server: Server | undefined;
  #firewall: Firewall | undefined;

  /** @throws Refusal for an unknown key, a value out of range, a server that nothing could reach, or a token where synth decides */
  constructor(scope: Construct, id: string, props: HetznerMachineProps) {
    super(scope, id);
    this.#settings = checkedProps(`HetznerMachine "${id}"`, props);
  }

  get spec(): Extract<Machine["spec"], { kind: "hetzner" }> {
    const { serverType, location, dataGiB } = this.#settings;
    return { kind: "hetzner", serverType, location, dataGiB };
  }

  get os(): HetznerSettings["image"] {
    return this.#settings.image;
  }

  get generation(): Machine["generation"] {
    const { serverType, location, image, ipv4, ipv6, privateNetwork, rebuild } = this.#settings;
    const addresses = [ipv4 && "ipv4", ipv6 && "ipv6", privateNetwork !== null && "private"].filter(Boolean).join(" ");
    return { kind: "hetzner", serverType, location, image, addresses, rebuild };
  }

  /** The server, once a host is on it: the escape hatch, and the source of outputs such as `ipv4Address`. */
  get server(): Server {
    return this.#server ?? this.#unbound("server");
  }

  /** The firewall that the server is created with, once a host is on it. */
  get firewall(): Firewall {
    return this.#firewall ?? this.#unbound("firewall");
  }

  /** Token for the address at which the operator reaches it: IPv4 if it has one, else IPv6, else the private one. */
  get address(): string {
    const { ipv4, ipv6 } = this.#settings;
    if (ipv4) return this.server.ipv4Address;
    return ipv6 ? this.server.ipv6Address : this.server.network.get(0).ip;
  }

  bind({ name, bootstrap, userData, sshFrom }: HostOnMachine): MadeMachine {
    const provider = hcloudProvider(this);
    const { serverType, location, image, ipv4, ipv6, protect, placementGroupId, firewallIds } = this.#settings;
    const labels = { ...this.#settings.labels, "bailiwick-host": name };
    const volume = dataVolume(this, { provider, host: name, location, labels, protect, ...this.#volume() });
    const subnet = subnetOf(this, { provider, host: name, labels, network: this.#settings.privateNetwork });
    this.#firewall = sshFirewall(this, { provider, host: name, labels, from: sshFrom });
    // Without a key Hetzner makes a password for root and mails it. Nobody has the private half of this one.
    const nobody = new SshKey(this, "nobody", {
      provider,
      name: `${name}-nobody`,
      labels,
      publicKey: generateSshKeyPair("").publicKey,
      lifecycle: { ignoreChanges: ["public_key"] },
    });
    this.#server = new Server(this, "server", {
      provider,
      name,
      labels,
      serverType,
      location,
      image,
      userData: searchedOnce(userData.replaceAll(DATA_VOLUME_PLACEHOLDER, () => volume.id)),
      sshKeys: [`\${hcloud_ssh_key.${nobody.friendlyUniqueId}.id}`],
      firewallIds: [this.#firewall.getNumberAttribute("id"), ...firewallIds.map(idNumber)],
      publicNet: [{ ipv4Enabled: ipv4, ipv6Enabled: ipv6 }],
      network: subnet === null ? [] : [networkBlock(subnet.id, subnet.ip)],
      ...(placementGroupId === null ? {} : { placementGroupId: idNumber(placementGroupId) }),
      deleteProtection: protect,
      rebuildProtection: protect, // the API takes the two together or not at all
      backups: false,
      ...(subnet?.resource == null ? {} : { dependsOn: [subnet.resource] }),
    });
    // A resource given as an object would become a template, which Terraform does not take there.
    this.#server.addOverride("lifecycle.replace_triggered_by", [`terraform_data.${bootstrap.friendlyUniqueId}`]);
    const attachment = new VolumeAttachment(this, "attachment", {
      provider,
      serverId: this.#server.getNumberAttribute("id"),
      volumeId: volume.number,
      automount: false, // Hetzner would mount it by itself, and by another name
    });
    const instance = `\${hcloud_server.${this.#server.friendlyUniqueId}.id}`;
    const binding = { kind: "remote", address: this.address, instance } as const;
    return { instance, made: attachment, isDrained: true, binding };
  }

  review(): MachineReview {
    return { refused: [], missing: [] };
  }

  #volume(): { readonly existing: string | null; readonly dataGiB: number } {
    const { volumeId, dataGiB } = this.#settings;
    return { existing: volumeId, dataGiB: dataGiB ?? 0 };
  }

  #unbound(what: string): never {
    throw new Refusal(`HetznerMachine "${this.node.id}": ${what}: there is none yet; put a host on the machine first`);
  }
}

function networkBlock(subnetId: string, ip: string | null): ServerNetwork {
  // Without `alias_ips` Terraform from 1.4 on takes the server off the network and on again at every apply.
  return { subnetId, aliasIps: [], ...(ip === null ? {} : { ip }) };
}

/** Ids are strings as attributes and numbers as arguments. */
function idNumber(id: string): number {
  return Token.isUnresolved(id) ? (Fn.tonumber(id) as unknown as number) : Number(id);
}
