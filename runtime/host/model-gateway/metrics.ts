import type { CapState } from "./ledger.ts";
import type { CallLine } from "./log.ts";
import { usd } from "./price.ts";

type Labels = Readonly<Record<string, string>>;

/** Upper ends of the buckets of times, s. */
const SECONDS = [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120];

interface Histogram {
  readonly labels: Labels;
  readonly counts: number[];
  sum: number;
  count: number;
}

/**
 * What the gateway counts, in Prometheus' text format. Labels are names from the configuration alone: nothing that an
 * agent can make up, so their number is bounded and none of it is content.
 */
export class Metrics {
  readonly #counters = new Map<string, { name: string; labels: Labels; value: number }>();
  readonly #firstByte = new Map<string, Histogram>();

  count(line: CallLine): void {
    const { agent, route: provider } = line;
    // a model is known to be granted once the call was not refused for it
    const who = { agent: agent ?? "", provider: provider ?? "", model: line.reason === null ? (line.model ?? "") : "" };
    this.#add("calls_total", { ...who, outcome: line.reason ?? line.outcome, status: String(line.status ?? "") }, 1);
    if (line.inputTokens !== null) this.#add("input_tokens_total", who, line.inputTokens);
    if (line.outputTokens !== null) this.#add("output_tokens_total", who, line.outputTokens);
    if (line.usd !== null) this.#add("usd_total", who, line.usd);
    if (line.msToFirstByte !== null) this.#observe({ provider: who.provider }, line.msToFirstByte / 1000);
  }

  /** The text a scrape is answered with. */
  text(open: number, caps: readonly CapState[], upstreams: readonly { name: string; up: boolean }[]): string {
    const lines: string[] = [];
    const write = (name: string, type: string, samples: readonly [Labels, number][]) => {
      lines.push(`# TYPE bailiwick_gateway_${name} ${type}`);
      for (const [labels, value] of samples) lines.push(sample(name, labels, value));
    };
    for (const name of ["calls_total", "input_tokens_total", "output_tokens_total", "usd_total"])
      write(
        name,
        "counter",
        [...this.#counters.values()].filter((one) => one.name === name).map(({ labels, value }) => [labels, value]),
      );
    write("open_calls", "gauge", [[{}, open]]);
    write("resident_bytes", "gauge", [[{}, process.memoryUsage.rss()]]);
    write(
      "upstream_up",
      "gauge",
      upstreams.map(({ name, up }) => [{ provider: name }, up ? 1 : 0]),
    );
    for (const part of ["cap", "spent", "reserved", "leased", "left"] as const)
      write(
        `budget_${part}_usd`,
        "gauge",
        caps.map((cap) => [{ scope: cap.scope, period: cap.period }, usd(cap[part])]),
      );
    lines.push("# TYPE bailiwick_gateway_first_byte_seconds histogram");
    for (const histogram of this.#firstByte.values()) lines.push(...histogramLines(histogram));
    return `${lines.join("\n")}\n`;
  }

  #add(name: string, labels: Labels, value: number): void {
    // names of the configuration hold no line feed
    let key = name;
    for (const label in labels) key += `\n${labels[label]}`;
    const known = this.#counters.get(key);
    if (known === undefined) this.#counters.set(key, { name, labels, value });
    else known.value += value;
  }

  #observe(labels: Labels, seconds: number): void {
    const key = labels.provider ?? "";
    let histogram = this.#firstByte.get(key);
    if (histogram === undefined) {
      histogram = { labels, counts: SECONDS.map(() => 0), sum: 0, count: 0 };
      this.#firstByte.set(key, histogram);
    }
    histogram.sum += seconds;
    histogram.count++;
    const bucket = SECONDS.findIndex((end) => seconds <= end);
    if (bucket !== -1) histogram.counts[bucket] = (histogram.counts[bucket] ?? 0) + 1;
  }
}

function histogramLines({ labels, counts, sum, count }: Histogram): string[] {
  let below = 0;
  const name = "first_byte_seconds";
  return [
    ...SECONDS.map((end, i) => {
      below += counts[i] ?? 0;
      return sample(`${name}_bucket`, { ...labels, le: String(end) }, below);
    }),
    sample(`${name}_bucket`, { ...labels, le: "+Inf" }, count),
    sample(`${name}_sum`, labels, sum),
    sample(`${name}_count`, labels, count),
  ];
}

function sample(name: string, labels: Labels, value: number): string {
  const text = Object.entries(labels).map(([key, label]) => `${key}=${JSON.stringify(label)}`);
  return `bailiwick_gateway_${name}${text.length === 0 ? "" : `{${text.join(",")}}`} ${value}`;
}
