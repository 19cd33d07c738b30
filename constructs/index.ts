export { Access, type AccessFromEnvProps, type AdminProps, type Anywhere, type SshAccessProps } from "./access.ts";
export type { Agent } from "./agent.ts";
export { AgentHost, type AgentHostProps, type AgentProps } from "./agent-host.ts";
export type { BudgetProps } from "./budget.ts";
export { LocalMachine, type LocalMachineProps } from "./machines/local/local-machine.ts";
export type { HostOnMachine, Machine, MachineReview, MadeMachine } from "./machines/machine.ts";
export type { InvokeProps, Model, ModelProps } from "./model.ts";
export {
  type HostedProviderProps,
  type ModelPriceProps,
  ModelProvider,
  type OpenAiCompatibleProps,
} from "./model-provider.ts";
export { Refusal } from "./refuse.ts";
export { type CommandProps, type OpenClawProps, Runtime } from "./runtime.ts";
export { Secret, type SecretOptions } from "./secret.ts";
export { Setting } from "./setting.ts";
export type { Workspace } from "./workspace.ts";
