import {
  App,
  DefaultTokenResolver,
  StringConcat,
  TerraformBackend,
  TerraformResource,
  TerraformStack,
  Token,
  Tokenization,
} from "cdktf";
import type { IConstruct } from "constructs";
import type { AgentHost } from "../agent-host.ts";
import { untraced } from "../untraced.ts";
import type { CheckedHost, CheckedStack, MadeResource, SynthCheck } from "./check.ts";
import { encryptedDisks } from "./encrypted-disks.ts";
import { firewallInPlace } from "./firewall-in-place.ts";
import { instanceMetadata } from "./instance-metadata.ts";
import { lockedState } from "./locked-state.ts";
import { noInstanceRole } from "./no-instance-role.ts";
import { noOpenFirewall } from "./no-open-firewall.ts";
import { oneHostOnAMachine } from "./one-host-on-a-machine.ts";
import { reachableSsh } from "./reachable-ssh.ts";
import { userDataHeeded } from "./user-data-heeded.ts";

const CHECKS: readonly SynthCheck[] = [
  encryptedDisks,
  firewallInPlace,
  instanceMetadata,
  lockedState,
  noInstanceRole,
  noOpenFirewall,
  reachableSsh,
  userDataHeeded,
];

/** The types that checks look at: reading all resources of a fleet would cost as much as its synth. */
const TYPES = new Set([
  "hcloud_server",
  "hcloud_firewall",
  "aws_instance",
  "aws_ebs_volume",
  "aws_security_group",
  "aws_vpc_security_group_ingress_rule",
]);

const hostsOf = new WeakMap<App, AgentHost[]>();

/** Has every check asked of the app when it is synthesised, with this host among its hosts. */
export function checkAtSynth(host: AgentHost): void {
  const app = App.of(host);
  const known = hostsOf.get(app);
  if (known !== undefined) return void known.push(host);
  const hosts = [host];
  hostsOf.set(app, hosts);
  app.node.addValidation({ validate: () => untraced(() => checkApp(hosts)) });
}

function checkApp(hosts: readonly AgentHost[]): string[] {
  const stacks = new Map<TerraformStack, AgentHost[]>();
  for (const host of hosts) {
    const stack = TerraformStack.of(host);
    stacks.set(stack, [...(stacks.get(stack) ?? []), host]);
  }
  const checked = [...stacks].map(([stack, all]) => checkedStack(stack, all));
  const problems = checked.flatMap((stack) => CHECKS.flatMap((check) => check(stack)));
  return [...new Set([...problems, ...oneHostOnAMachine(checked.flatMap((stack) => stack.hosts))])];
}

function checkedStack(stack: TerraformStack, hosts: readonly AgentHost[]): CheckedStack {
  const all = stack.node.findAll();
  const resources = new Map(all.flatMap((one) => (isChecked(one) ? [[one, made(one)] as const] : [])));
  const backend = all.find((one) => TerraformBackend.isBackend(one));
  return {
    path: stack.node.path,
    hosts: hosts.map((host) => checkedHost(host, resources)),
    resources: [...resources.values()],
    backend: backend === undefined ? null : backendOf(backend as TerraformBackend),
  };
}

function checkedHost(
  { name, machine, access }: AgentHost,
  resources: ReadonlyMap<IConstruct, MadeResource>,
): CheckedHost {
  return {
    name,
    machine: machine.node.path,
    machineSpec: machine.spec,
    from: access.from.flatMap((one) => ("text" in one && !Token.isUnresolved(one.text) ? [one.text] : [])),
    resources: machine.node.findAll().flatMap((one) => resources.get(one) ?? []),
  };
}

function isChecked(one: IConstruct): one is TerraformResource {
  return TerraformResource.isTerraformResource(one) && TYPES.has(one.terraformResourceType);
}

function made(resource: TerraformResource): MadeResource {
  const { terraformResourceType: type, friendlyUniqueId: id } = resource;
  let attributes: Readonly<Record<string, unknown>> | undefined;
  return {
    path: resource.node.path,
    type,
    reference: `${type}.${id}`,
    attribute: (name) => {
      attributes ??= (resource.toTerraform() as Written).resource?.[type]?.[id] ?? {};
      return resolved(resource, attributes[name]);
    },
  };
}

interface Written {
  readonly resource?: Readonly<Record<string, Readonly<Record<string, Readonly<Record<string, unknown>>>>>>;
}

function backendOf(backend: TerraformBackend): CheckedStack["backend"] {
  const written = backend.toTerraform() as { terraform: { backend: Record<string, Record<string, unknown>> } };
  const [one] = Object.entries(written.terraform.backend);
  if (one === undefined) return null;
  const [kind, attributes] = one;
  return { kind, attributes: resolved(backend, attributes) as Record<string, unknown> };
}

function resolved(scope: IConstruct, value: unknown): unknown {
  return Tokenization.resolve(value, {
    scope,
    resolver: new DefaultTokenResolver(new StringConcat()),
    preparing: true,
  });
}
