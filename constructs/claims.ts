import { App, TerraformStack } from "cdktf";
import { Construct } from "constructs";
import type { AgentHost } from "./agent-host.ts";
import type { Machine } from "./machines/machine.ts";
import { Refusal, refuse } from "./refuse.ts";

/** Hosts of an app by name: looking through the whole tree for each would cost a fleet the square of its size. */
const hostsOf = new WeakMap<App, Map<string, AgentHost>>();
const hostOn = new WeakMap<Machine, string>();

/** @throws Refusal unless it is a machine of the host's own stack that carries no other host */
export function claimMachine(path: string, host: AgentHost): void {
  const { machine } = host;
  if (!Construct.isConstruct(machine) || typeof machine.bind !== "function")
    refuse(`${path}: machine`, machine, 'give a machine, such as new LocalMachine(this, "machine")');
  const other = hostOn.get(machine);
  if (other !== undefined)
    throw new Refusal(
      `${path}: machine: received "${machine.node.path}", which carries host "${other}"; a machine carries one host: make another machine`,
    );
  if (TerraformStack.of(machine) !== TerraformStack.of(host))
    throw new Refusal(
      `${path}: machine: received "${machine.node.path}" of another stack; make the machine in the host's own stack`,
    );
  hostOn.set(machine, host.name);
}

/** @throws Refusal if another host of the app has this name */
export function claimName(path: string, host: AgentHost): void {
  const app = App.of(host);
  const hosts = hostsOf.get(app) ?? new Map<string, AgentHost>();
  hostsOf.set(app, hosts);
  const twin = hosts.get(host.name);
  if (twin !== undefined)
    throw new Refusal(
      `${path}: name: received "${host.name}", already the name of the host at ${twin.node.path}; every bailiwick command takes a host's name: set another as name`,
    );
  hosts.set(host.name, host);
}
