import { type TerraformProvider, TerraformStack } from "cdktf";
import type { Construct } from "constructs";
import { HcloudProvider } from "../../imports/hcloud/provider/index.ts";

/** The stack's own Hetzner provider if it has one already, else one that reads `HCLOUD_TOKEN`: no token is in the stack. */
export function hcloudProvider(scope: Construct): TerraformProvider {
  const stack = TerraformStack.of(scope);
  const found = providers.get(stack);
  if (found !== undefined) return found;
  const known = stack.allProviders().find((one) => one.terraformResourceType === HcloudProvider.tfResourceType);
  const provider = known ?? new HcloudProvider(stack, "hcloud-provider");
  providers.set(stack, provider);
  return provider;
}

/** By stack: looking through all of it for each machine would cost a fleet the square of its size. */
const providers = new WeakMap<TerraformStack, TerraformProvider>();
