/** The resources of the emulated Hetzner Cloud project, in the shapes of its API as far as the provider reads them. */

export interface Action {
  id: number;
  status: "running" | "success" | "error";
  command: string;
  progress: number;
  started: string;
  finished: string | null;
  error: { code: string; message: string } | null;
  resources: { id: number; type: string }[];
}

interface Resource {
  id: number;
  name: string;
  labels: Record<string, string>;
  created: string;
}

export interface Server extends Resource {
  status: "initializing" | "starting" | "running" | "off";
  type: string;
  image: string;
  location: string;
  userData: string;
  keys: number[];
  firewalls: number[];
  placementGroup: number | null;
  primaryIps: number[];
  protection: { delete: boolean; rebuild: boolean };
  privateNet: { network: number; ip: string; alias_ips: string[] }[];
}

export interface Volume extends Resource {
  size: number;
  location: string;
  format: string | null;
  server: number | null;
  protection: { delete: boolean };
}

export interface FirewallRule {
  direction: "in" | "out";
  protocol: string;
  port?: string | null;
  source_ips?: string[];
  destination_ips?: string[];
  description?: string | null;
}

export interface Firewall extends Resource {
  rules: FirewallRule[];
}

export interface Network extends Resource {
  ip_range: string;
  subnets: { type: string; ip_range: string; network_zone: string; gateway: string }[];
}

export interface SshKey extends Resource {
  public_key: string;
  fingerprint: string;
}

export interface PlacementGroup extends Resource {
  type: string;
}

export interface PrimaryIp extends Resource {
  ip: string;
  type: "ipv4" | "ipv6";
  server: number | null;
  location: string;
  auto_delete: boolean;
}

/** What stands behind the API: nothing by default. Each step ends when the action that it belongs to has. */
export interface Machines {
  /** An address for a server; null: any will do, since nothing listens there. */
  address(family: "ipv4" | "ipv6"): Promise<string | null>;
  /** @param address its public IPv4 address; null if it has none */
  create(server: Server, rules: readonly FirewallRule[], address: string | null): Promise<void>;
  remove(server: Server): Promise<void>;
  setRules(server: Server, rules: readonly FirewallRule[]): Promise<void>;
  attach(server: Server, volume: Volume): Promise<void>;
  detach(server: Server, volume: Volume): Promise<void>;
  removeVolume(volume: Volume): Promise<void>;
}

const NO_MACHINES: Machines = {
  address: async () => null,
  create: async () => {},
  remove: async () => {},
  setRules: async () => {},
  attach: async () => {},
  detach: async () => {},
  removeVolume: async () => {},
};

export class World {
  readonly servers = new Map<number, Server>();
  readonly volumes = new Map<number, Volume>();
  readonly firewalls = new Map<number, Firewall>();
  readonly networks = new Map<number, Network>();
  readonly ssh_keys = new Map<number, SshKey>();
  readonly placement_groups = new Map<number, PlacementGroup>();
  readonly primary_ips = new Map<number, PrimaryIp>();
  readonly actions = new Map<number, Action>();
  readonly machines: Machines;
  #lastId = 100_000_000;

  constructor(machines: Machines = NO_MACHINES) {
    this.machines = machines;
  }

  id(): number {
    this.#lastId += 1;
    return this.#lastId;
  }

  /** How many of each kind there are; actions are no resources. */
  counts(): Record<string, number> {
    const { servers, volumes, firewalls, networks, ssh_keys, placement_groups, primary_ips } = this;
    const all = { servers, volumes, firewalls, networks, ssh_keys, placement_groups, primary_ips };
    return Object.fromEntries(Object.entries(all).flatMap(([kind, { size }]) => (size === 0 ? [] : [[kind, size]])));
  }

  /** An action that runs until `work` ends; it has failed if that throws. */
  act(command: string, resources: Action["resources"], work: () => Promise<void> = async () => {}): Action {
    const started = new Date().toISOString();
    const action: Action = {
      ...{ id: this.id(), status: "running", command, progress: 0, started, finished: null, error: null, resources },
    };
    this.actions.set(action.id, action);
    const end = (status: "success" | "error", message?: string) => {
      Object.assign(action, { status, progress: 100, finished: new Date().toISOString() });
      if (message !== undefined) action.error = { code: "action_failed", message };
    };
    work().then(
      () => end("success"),
      (error: Error) => end("error", error.message),
    );
    return action;
  }

  /** Whether an action on the resource has not ended yet; it then takes no other. */
  isLocked(type: string, id: number): boolean {
    return [...this.actions.values()].some(
      ({ status, resources }) => status === "running" && resources.some((one) => one.type === type && one.id === id),
    );
  }

  /** The public IPv4 address of a server. */
  addressOf(server: Server): string | null {
    const ips = server.primaryIps.flatMap((id) => this.primary_ips.get(id) ?? []);
    return ips.find(({ type }) => type === "ipv4")?.ip ?? null;
  }

  /** Rules of all firewalls of a server. */
  rulesOf(server: Server): FirewallRule[] {
    return server.firewalls.flatMap((id) => this.firewalls.get(id)?.rules ?? []);
  }
}
