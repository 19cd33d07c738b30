import { broken, held, unless, unprovable, words } from "../../policy/judgement.ts";
import type { Outcome, Probe, Subject } from "../../policy/probe.ts";
import { ownsTables } from "../../spec/operating-system.ts";

const RELEASE_RULES = "/opt/bailiwick/current/etc/firewall.nft";
const BASE_RULES = "/usr/lib/bailiwick/base.nft";
const TABLES = ["inet bailiwick", "inet bailiwick_base"];

/** The firewall in the kernel is the release's, and nobody but its holder can change it. */
export function firewallProbes({ spec }: Subject): Probe[] {
  return [tables(spec), rules()];
}

function sh(script: string) {
  return { do: "run", argv: ["/bin/sh", "-c", script], seconds: 20 } as const;
}

const stdoutOf = (outcome: Outcome) => ((outcome.value ?? {}) as { stdout?: string }).stdout ?? "";

interface TableFacts {
  readonly list: Outcome;
  readonly holder: Outcome;
}

function tables({ os }: Subject["spec"]): Probe<TableFacts> {
  const owns = ownsTables(os);
  return {
    id: "root/firewall-tables",
    vantage: "root",
    title: owns
      ? "both tables are in the kernel, owned by their holder, so that no flush or edit by others takes them away"
      : "both tables are in the kernel, watched by their holder, which puts back what a flush or edit by others takes away",
    expected: `${TABLES.join(" and ")}, ${owns ? "owned and persistent" : "watched"}, no other`,
    read: async (host) => {
      const [list, holder] = await Promise.all([
        host.root(sh("nft -st list ruleset | grep -A1 '^table '")),
        host.root({
          do: "run",
          argv: ["systemctl", "show", "-p", "ActiveState,StatusText", "bailiwick-firewall.service"],
          seconds: 10,
        }),
      ]);
      return { list, holder };
    },
    judge: ({ list, holder }) => {
      const found = [...stdoutOf(list).matchAll(/^table (\S+ \S+) \{([^\n]*)\n([^\n]*)/gm)].map(
        ([, name = "", comment = "", flags = ""]) => ({
          name,
          // nft names the program that owns a table; there is none once the owner is gone
          owned: comment.includes("# progname "),
          persistent: /^\s*flags .*\bowner\b.*\bpersist\b/.test(flags),
        }),
      );
      const names = found.map(({ name }) => name);
      return unless(
        [
          ...TABLES.filter((name) => !names.includes(name)).map((name) => `table ${name} is missing`),
          ...found.flatMap(({ name, owned, persistent }) => {
            if (!TABLES.includes(name)) return [`table ${name} is not the kit's`];
            if (!owns) return [];
            return [
              ...(owned ? [] : [`table ${name} has no owner`]),
              ...(persistent ? [] : [`table ${name} would not stay without its owner`]),
            ];
          }),
          ...(/^ActiveState=active$/m.test(stdoutOf(holder)) ? [] : ["the holder does not run"]),
          ...(owns || /^StatusText=(ok, watched|failed)/m.test(stdoutOf(holder)) ? [] : ["the holder does not watch"]),
          ...(/^StatusText=failed/m.test(stdoutOf(holder))
            ? [/^StatusText=(.*)$/m.exec(stdoutOf(holder))?.[1] ?? ""]
            : []),
        ],
        owns ? "both owned and persistent" : "both there and watched",
      );
    },
  };
}

interface RuleFacts {
  /** The tables as the kernel has them, and as the files give them when loaded where there is no other table. */
  readonly kernel: Outcome;
  readonly files: Outcome;
}

function rules(): Probe<RuleFacts> {
  const listing = TABLES.map((table) => `nft -s list table ${table}`).join(" && ");
  return {
    id: "root/firewall-rules",
    vantage: "root",
    title: "the rules in the kernel are the release's and the baseline's, rule by rule",
    expected: "no rule more or less",
    read: async (host) => {
      const [kernel, files] = await Promise.all([
        host.root(sh(listing)),
        // in a network namespace of their own, which is gone afterwards
        host.root(sh(`unshare --net sh -c 'nft -f ${BASE_RULES} && nft -f ${RELEASE_RULES} && ${listing}'`)),
      ]);
      return { kernel, files };
    },
    judge: ({ kernel, files }) => {
      if (!files.ok) return unprovable(words(files), "the release's rules could not be loaded for comparison");
      if (!kernel.ok) return broken("the kernel lacks a table");
      return compareRules(stdoutOf(kernel), stdoutOf(files));
    },
  };
}

/** Rules compared line by line, in their order, without what only says who owns a table: that is for the other probe. */
export function compareRules(kernel: string, files: string) {
  const lines = (text: string) =>
    text
      .split("\n")
      .map((line) => line.replace(/\s*# (progname|handle).*$/, "").trim())
      .filter((line) => line !== "" && !/^flags (owner|persist|owner,persist)$/.test(line));
  const has = lines(kernel);
  const wants = lines(files);
  if (wants.length < 10) return unprovable(`${wants.length} rules`, "the release's files hold no rules");
  const more = has.filter((line) => !wants.includes(line)).map((line) => `too much: ${line}`);
  const less = wants.filter((line) => !has.includes(line)).map((line) => `missing: ${line}`);
  if (more.length + less.length > 0) return unless([...more, ...less], "");
  return has.join("\n") === wants.join("\n")
    ? held(`${has.length} lines, the same`)
    : broken("the order of the rules differs");
}
