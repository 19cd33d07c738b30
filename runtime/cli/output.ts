/** Where a command's words go: people's on stdout and progress on stderr, or with `--json` one document on stdout. */
export interface Output {
  readonly json: boolean;
  /** A line for people; nothing with --json. */
  say(line: string): void;
  /** A line about long work under way, on stderr; nothing with --json. */
  progress(line: string): void;
  /** The command's one document; printed only with --json. */
  document(value: unknown): void;
}

export function makeOutput(json: boolean): Output {
  const started = performance.now();
  return {
    json,
    say: (line) => {
      if (!json) process.stdout.write(`${line}\n`);
    },
    progress: (line) => {
      if (!json) process.stderr.write(`${((performance.now() - started) / 1000).toFixed(1).padStart(6)} s  ${line}\n`);
    },
    document: (value) => {
      if (json) process.stdout.write(`${JSON.stringify(value)}\n`);
    },
  };
}

/** Rows as left-aligned columns, two spaces apart. */
export function table(rows: readonly (readonly string[])[]): string[] {
  const widths: number[] = [];
  for (const row of rows) for (const [i, cell] of row.entries()) widths[i] = Math.max(widths[i] ?? 0, cell.length);
  return rows.map((row) =>
    row
      .map((cell, i) => cell.padEnd(widths[i] ?? 0))
      .join("  ")
      .trimEnd(),
  );
}
