import { AdoptionRefusedError } from "../existing/adopt.ts";
import { BaselineError } from "../release/baseline-wait.ts";
import { UnconfirmedError, UnhealthyError } from "../release/confirm.ts";
import { SpentKeyError } from "../release/host-trust.ts";
import { NoSuchReleaseError } from "../release/rollback.ts";
import { SpecError } from "../spec/host-spec.ts";
import { HostTrustError, UnreachableError } from "../ssh/errors.ts";
import { NoSuchProbeError } from "../verify/verify.ts";

/** Exit codes of every command; docs/reference/cli.md. */
export const EXIT = { held: 0, failed: 1, usage: 2, unreachable: 3 } as const;

/** The command was called wrongly: the message says how to call it. */
export class UsageError extends Error {}

export function exitCodeOf(error: unknown): number {
  if (error instanceof UsageError || error instanceof SpecError || namesNothing(error)) return EXIT.usage;
  if (error instanceof HostTrustError || error instanceof SpentKeyError || error instanceof UnreachableError)
    return EXIT.unreachable;
  return EXIT.failed;
}

/** What was named is not on the host. */
function namesNothing(error: unknown): boolean {
  return error instanceof NoSuchReleaseError || error instanceof NoSuchProbeError;
}

/** A short word for `--json` output, so that programs need not read the message. */
export function errorKind(error: unknown): string {
  if (error instanceof UsageError || namesNothing(error)) return "usage";
  if (error instanceof SpecError) return "spec";
  if (error instanceof HostTrustError || error instanceof SpentKeyError) return "trust";
  if (error instanceof UnreachableError) return "unreachable";
  if (error instanceof UnhealthyError) return "unhealthy";
  if (error instanceof UnconfirmedError) return "unconfirmed";
  if (error instanceof AdoptionRefusedError) return "refused";
  if (error instanceof BaselineError) return `baseline:${error.step}`;
  return "failed";
}
