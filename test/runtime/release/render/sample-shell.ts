import type { ShellGrant } from "../../../../runtime/policy/shell/schema.ts";
import type { HostSpec } from "../../../../runtime/spec/host-spec.ts";
import { principalUid } from "../../../../runtime/spec/names.ts";
import { sampleSpec } from "./sample.ts";

/** The sample host, on which agent `ops` has a shell that sees all of its workspaces. */
export function sampleWithShell(change: (spec: HostSpec, shell: ShellGrant) => unknown = () => {}): HostSpec {
  return sampleSpec((spec) => {
    const shell: ShellGrant = {
      agent: "ops",
      uid: principalUid("shell/ops"),
      workspaces: ["repo", "docs"],
      seconds: 50,
      outputBytes: 65536,
      approval: "waived",
    };
    spec.grants.shell = [shell];
    change(spec, shell);
  });
}
