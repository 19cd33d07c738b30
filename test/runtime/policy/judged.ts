import type { Judgement, Outcome, Probe, Subject } from "../../../runtime/policy/probe.ts";
import { renderRelease } from "../../../runtime/release/render/release.ts";
import type { HostSpec } from "../../../runtime/spec/host-spec.ts";
import { sampleInput, sampleSpec } from "../release/render/sample.ts";

/** What probes are derived from: a spec, and the manifest of the release that the kit renders of it. */
export function sampleSubject(change?: (spec: HostSpec) => void): Subject {
  const spec = sampleSpec(change);
  return { spec, manifest: renderRelease(sampleInput(spec)).manifest };
}

/** An attempt that could be made. */
export function done(value: unknown = null): Outcome {
  return { ok: true, errno: null, value, ms: 2 };
}

/** An attempt that failed, at once unless said otherwise. */
export function failed(errno: string, value: unknown = null, ms = 2): Outcome {
  return { ok: false, errno, value, ms };
}

/** A command that ended well, with this on its stdout. */
export function printed(stdout: string): Outcome {
  return done({ code: 0, stdout, stderr: "" });
}

/** A command that ended with another exit code than 0. */
export function exited(code: number, stdout = ""): Outcome {
  return failed("EXIT", { code, stdout, stderr: "" });
}

export function probeOf(probes: readonly Probe[], id: string): Probe {
  const probe = probes.find((one) => one.id === id);
  if (probe === undefined) throw new Error(`there is no probe ${id}; there are ${probes.map((one) => one.id)}`);
  return probe;
}

/** The judge of one probe. */
export function judgeOf(probes: readonly Probe[], id: string): (facts: unknown) => Judgement {
  const probe = probeOf(probes, id);
  return (facts) => probe.judge(facts);
}
