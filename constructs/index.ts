export { Access, type AccessFromEnvProps, type AdminProps, type Anywhere, type SshAccessProps } from "./access.ts";
export type { Agent } from "./agent.ts";
export { AgentHost, type AgentHostProps, type AgentProps } from "./agent-host.ts";
export type { LimitProps } from "./agent-limits.ts";
export { Argument } from "./argument.ts";
export type { BudgetProps } from "./budget.ts";
/** Bindings of the Hetzner resources in use, for networks, placement groups and volumes of a team's own. */
export * as hcloud from "./imports/hcloud/index.ts";
export { AwsMachine } from "./machines/aws/aws-machine.ts";
export type { AwsMachineProps } from "./machines/aws/props.ts";
export { ExistingMachine, type ExistingMachineProps } from "./machines/existing/existing-machine.ts";
export { HetznerMachine } from "./machines/hetzner/hetzner-machine.ts";
export type { ExistingSubnet, HetznerMachineProps, NewNetwork } from "./machines/hetzner/props.ts";
export { LocalMachine, type LocalMachineProps } from "./machines/local/local-machine.ts";
export type { HostOnMachine, Machine, MachineReview, MadeMachine } from "./machines/machine.ts";
export { McpPackage, type NpmServerProps, type RemoteServerProps } from "./mcp-package.ts";
export type { McpServer, ToolGrantProps } from "./mcp-server.ts";
export type { InvokeProps, Model, ModelProps } from "./model.ts";
export {
  type HostedProviderProps,
  type ModelPriceProps,
  ModelProvider,
  type OpenAiCompatibleProps,
} from "./model-provider.ts";
export { Refusal } from "./refuse.ts";
export { type CommandProps, type OpenClawProps, Runtime } from "./runtime.ts";
export { type AwsSecretOptions, type ManagedSecretOptions, Secret, type SecretOptions } from "./secret.ts";
export { Seed } from "./seed.ts";
export { Setting } from "./setting.ts";
export type { Shell, ShellProps } from "./shell.ts";
export type { Workspace, WorkspaceProps } from "./workspace.ts";
