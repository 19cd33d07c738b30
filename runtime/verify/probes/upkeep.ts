import { broken, held, unless, unprovable, words } from "../../policy/judgement.ts";
import type { Outcome, Probe, Subject } from "../../policy/probe.ts";
import { stdoutOf } from "./machine.ts";

/** Whether the host is kept as it should be while nobody looks. */
export function upkeepProbes(subject: Subject): Probe[] {
  return [updates(), patches(), clock(subject), journal()];
}

const DAY = 86_400;
/** What happens daily may be late by a day, as on a machine that was off. */
const PATIENCE = 2 * DAY;

// stamps are written by apt's daily run when it has succeeded; `born` is when first boot ended
const PATCH_STATE = `
stamp() { printf '%s\\t%s\\n' "$1" "$(stat -c %Y "$2" 2>/dev/null || echo 0)"; }
printf 'now\\t%s\\n' "$(date +%s)"
stamp born /etc/bailiwick/baseline.json
stamp lists /var/lib/apt/periodic/update-stamp
stamp upgraded /var/lib/apt/periodic/upgrade-stamp
stamp restart /run/reboot-required
apt-get -qq -s -o Debug::NoLocking=true upgrade | sed -n 's/^Inst \\([^ ]*\\) .*ecurity.*/pending\\t\\1/p'`;

/** Judges what PATCH_STATE printed: lines of a word and a time (seconds since the epoch, 0 for never) or a package. */
function judgePatches(text: string) {
  const lines = text.split("\n").map((line) => line.split("\t"));
  const time = (word: string) => Number(lines.find(([first]) => first === word)?.[1] ?? 0);
  const pending = lines.flatMap(([word, name = ""]) => (word === "pending" ? [name] : []));
  const [now, born, restart] = [time("now"), time("born"), time("restart")];
  if (now === 0 || born === 0) return unprovable("no times", "the host did not say when it was made");
  const days = (since: number) => `${Math.floor((now - since) / DAY)} days ago`;
  const late = (what: string, at: number) =>
    now - Math.max(at, born) <= PATIENCE ? [] : [`${what} ${at === 0 ? "never" : days(at)}`];
  const stuck = time("upgraded") > time("lists") && time("lists") > 0 ? pending : [];
  return unless(
    [
      ...late("package lists were read", time("lists")),
      ...late("updates were installed", time("upgraded")),
      ...(stuck.length === 0 ? [] : [`security updates did not install themselves: ${stuck.join(", ")}`]),
      ...(restart !== 0 && now - restart > PATIENCE ? [`an update asked for a restart ${days(restart)}`] : []),
    ],
    pending.length === 0 ? "none is known to be missing" : `${pending.length} come with the next daily run`,
  );
}

function patches(): Probe<Outcome> {
  return {
    id: "root/patches",
    vantage: "root",
    title: "no security update has been missing, and no restart been due, for more than two days",
    expected: "read and installed daily",
    read: (host) => host.root({ do: "run", argv: ["/bin/sh", "-c", PATCH_STATE], seconds: 30 }),
    judge: (outcome) =>
      outcome.ok ? judgePatches(stdoutOf(outcome)) : unprovable(words(outcome), "apt could not be asked"),
  };
}

/** Certificates and attestations are judged by it; what the network's time gives is far closer. */
const CLOCK_TOLERANCE_SECONDS = 10;

interface ClockFacts {
  readonly time: Outcome;
  readonly service: Outcome;
  /** When it was asked and when it had answered, by the operator's clock, seconds since the epoch. */
  readonly asked: number;
  readonly answered: number;
}

function clock({ spec: { machine } }: Subject): Probe<ClockFacts> {
  // a container has the operator's clock, and its service stands still
  const expected = machine.kind === "local" && machine.engine === "nspawn" ? ["enabled"] : ["enabled", "active"];
  const argv = ["/bin/sh", "-c", "systemctl is-enabled systemd-timesyncd; systemctl is-active systemd-timesyncd; true"];
  return {
    id: "root/clock",
    vantage: "root",
    title: "the clock is the operator's, and set by the network's time",
    expected: `within ${CLOCK_TOLERANCE_SECONDS} s`,
    read: async (host) => {
      const asked = Date.now() / 1000;
      const [time, service] = await Promise.all([
        host.root({ do: "time" }),
        host.root({ do: "run", argv, seconds: 20 }),
      ]);
      return { time, service, asked, answered: Date.now() / 1000 };
    },
    judge: ({ time, service, asked, answered }) => {
      if (!time.ok || !service.ok) return unprovable(words(time.ok ? service : time), "the clock could not be read");
      const now = Number(time.value);
      const off = now < asked ? now - asked : now > answered ? now - answered : 0;
      const states = stdoutOf(service).trim().split("\n").slice(0, expected.length);
      return unless(
        [
          ...(Math.abs(off) <= CLOCK_TOLERANCE_SECONDS
            ? []
            : [`it is ${Math.abs(Math.round(off))} s ${off < 0 ? "behind" : "ahead"}`]),
          ...(states.join() === expected.join() ? [] : [`systemd-timesyncd is ${states.join(", ")}`]),
        ],
        `within ${CLOCK_TOLERANCE_SECONDS} s`,
      );
    },
  };
}

function updates(): Probe<Outcome> {
  const script =
    "apt-config dump APT::Periodic::Unattended-Upgrade; apt-config dump APT::Periodic::Update-Package-Lists; systemctl is-enabled unattended-upgrades.service apt-daily.timer apt-daily-upgrade.timer; true";
  return {
    id: "root/updates",
    vantage: "root",
    title: "security updates install themselves",
    expected: "enabled, daily",
    read: (host) => host.root({ do: "run", argv: ["/bin/sh", "-c", script], seconds: 20 }),
    judge: (outcome) => {
      if (!outcome.ok) return unprovable(words(outcome), "apt and systemd were not asked");
      const lines = stdoutOf(outcome).split("\n").filter(Boolean);
      const settings = lines.filter((line) => line.includes("::"));
      const states = lines.filter((line) => !line.includes("::"));
      return unless(
        [
          ...(settings.length === 2 ? [] : ["apt has no daily run"]),
          ...settings.filter((line) => !line.endsWith('"1";')),
          ...(states.length === 3 && states.every((state) => state === "enabled")
            ? []
            : [`units are ${states.join(", ") || "missing"}`]),
        ],
        "enabled, daily",
      );
    },
  };
}

function journal(): Probe<Outcome> {
  return {
    id: "root/journal",
    vantage: "root",
    title: "the journal is kept on disk",
    expected: "persistent, and written to",
    read: (host) =>
      host.root({
        do: "run",
        argv: ["/bin/sh", "-c", "journalctl --header --no-pager | grep -m1 -o 'File path: /var/log/journal/.*'"],
        seconds: 20,
      }),
    judge: (outcome) => (outcome.ok ? held("on disk") : broken("no journal below /var/log/journal")),
  };
}
