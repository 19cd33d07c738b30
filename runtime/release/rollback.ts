import type { ActivateAnswer, ReleaseList } from "../spec/activator.ts";
import type { HostSpec } from "../spec/host-spec.ts";
import type { Connection } from "../ssh/connection.ts";
import { Activator, HostError } from "./activator-client.ts";
import { activateAndConfirm } from "./confirm.ts";

/** There is no such release to go back to. */
export class NoSuchReleaseError extends Error {
  constructor(message: string) {
    super(message);
    this.name = "NoSuchReleaseError";
  }
}

/**
 * Goes back to a release that is still on the host, with the versions of secrets it had; agents whose runtime changes get
 * the state back that they last had with that runtime. Health and confirmation are as in a push.
 * @param options.wanted the first digits of its digest; default: the one confirmed before the current one
 * @throws NoSuchReleaseError, UnhealthyError, UnconfirmedError, HostError
 */
export async function rollback(options: {
  connection: Connection;
  spec: HostSpec;
  admin: string;
  wanted: string | undefined;
  reconnect: () => Promise<Connection>;
  progress: (line: string) => void;
}): Promise<ActivateAnswer> {
  const { connection, spec, admin, wanted, reconnect, progress } = options;
  // by the current release's own activator: the older one may know less
  const activator = await Activator.ofCurrentRelease(connection);
  return activator.withLock(admin, "bailiwick rollback", async (token) => {
    const target = chooseRelease(await activator.releases(), wanted);
    progress(`going back to release ${target.release.slice(0, 12)}`);
    const { missing, spoiled } = await activator.check(token, Object.values(target.components));
    const lacking = [...missing, ...spoiled].map((digest) => digest.slice(0, 12));
    if (lacking.length > 0)
      throw new HostError("rollback", `components ${lacking.join(", ")} of it are not whole on the host; push instead`);
    return activateAndConfirm({
      ...{ activator, token, spec, reconnect, progress, digest: target.release },
      ...{ why: "bailiwick rollback", restoreState: true },
      activatorOn: (fresh) => activator.on(fresh),
    });
  });
}

/** The release that is meant. @throws NoSuchReleaseError naming those there are */
export function chooseRelease(
  { current, releases }: Pick<ReleaseList, "current" | "releases">,
  wanted: string | undefined,
): ReleaseList["releases"][number] {
  const others = releases.filter(({ release }) => release !== current);
  if (wanted === undefined) {
    const before = others.find(({ confirmedAt }) => confirmedAt !== null);
    if (before === undefined) throw new NoSuchReleaseError("there is no earlier release on this host to go back to");
    return before;
  }
  const matches = wanted === "" ? [] : releases.filter(({ release }) => release.startsWith(wanted));
  const [target, second] = matches;
  if (second !== undefined)
    throw new NoSuchReleaseError(`received "${wanted}", which begins ${matches.length} releases; write more of it`);
  if (target?.release === current && target !== undefined)
    throw new NoSuchReleaseError(`received "${wanted}", which is the current release`);
  if (target === undefined)
    throw new NoSuchReleaseError(
      `received release "${wanted}"; besides the current one the host has ${others.map(({ release }) => release.slice(0, 12)).join(", ") || "none"}`,
    );
  return target;
}
