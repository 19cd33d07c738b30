import { isSocketActivated, type Principal } from "../egress/principals.ts";
import { broken, held, unprovable, words } from "../judgement.ts";
import type { Outcome, Probe } from "../probe.ts";
import { secretCredential } from "./credentials.ts";

interface Tried {
  /** As the reader, in its sandbox, with a dummy in the secret's place. */
  readonly own: Outcome;
  /** The secret as the running unit has it, as root sees it: owner and mode, null if it is not there. */
  readonly live: Outcome;
  readonly others: readonly { readonly id: string; readonly outcome: Outcome }[];
}

/** A secret that was granted: its reader reads it, and nobody else reads that reader's. */
export function grantedProbe(secret: string, reader: Principal, all: readonly Principal[]): Probe<Tried> {
  const credential = secretCredential(secret);
  const others = all.filter(({ id }) => id !== reader.id);
  // a unit behind a socket has a folder for each session, and none when there is none
  const sessions = isSocketActivated(reader);
  const path = `/run/credentials/${reader.unit}.service/${credential}`;
  return {
    id: `${reader.id}/secret/${secret}`,
    vantage: `principal:${reader.id}`,
    title: `reads secret ${secret}, and nobody else does`,
    expected: "readable to it, closed to all others",
    read: async (host) => {
      const [own, live, ...outcomes] = await Promise.all([
        host.as(reader.id, { do: "credential", name: credential }),
        host.root({ do: "owners", paths: [path] }),
        ...others.map(({ id }) => host.as(id, { do: "read", path })),
      ]);
      return { own, live, others: others.map(({ id }, i) => ({ id, outcome: outcomes[i] as Outcome })) };
    },
    judge: ({ own, live, others: tried }) => {
      const open = tried.filter(({ outcome }) => outcome.ok).map(({ id }) => id);
      if (open.length > 0) return broken(`${open.join(", ")} can read it`);
      const failed = [own, ...tried.map(({ outcome }) => outcome)].find(({ errno }) => errno === "BROKEN_ATTEMPT");
      if (failed !== undefined) return unprovable(words(failed), "reading it was not tried");
      if (!own.ok) return broken(`${reader.id} cannot read it: ${words(own)}`);
      if (sessions) return held(`read by each session, closed to ${tried.length} others`);
      if (!live.ok) return unprovable(words(live), "root could not look");
      const file = (live.value as Record<string, { mode: number } | null>)[path] ?? null;
      if (file === null) return broken(`${reader.unit} runs without it`);
      if ((file.mode & 0o007) !== 0) return broken(`it is open to all (${file.mode.toString(8)})`);
      return held(`read by it, closed to ${tried.length} others`);
    },
  };
}
