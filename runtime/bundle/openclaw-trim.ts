/** One thing that is taken out of an installed OpenClaw. */
export interface TrimRule {
  readonly name: string;
  readonly reason: string;
  /** Matched against a path below the component, a directory's ending with `/`; a directory goes with all in it. */
  readonly path: RegExp;
}

/**
 * What a headless host does not need of OpenClaw. Upstream does not support a trimmed tree: every new version goes
 * through test/long/openclaw-component.test.ts, which starts what is left, and where each rule must match something.
 */
export const OPENCLAW_TRIM: readonly TrimRule[] = [
  {
    name: "npm's own records",
    reason: "what npm was told and what it did; nothing on the host runs npm here",
    path: /^(?:package\.json|package-lock\.json|node_modules\/\.package-lock\.json)$/,
  },
  {
    name: "command links",
    reason:
      "links to commands of packages; the host starts openclaw.mjs by its path, and its units have no shell for it",
    path: /^node_modules\/(?:.+\/node_modules\/)?\.bin\/$/,
  },
  {
    name: "source maps",
    reason: "for debuggers only; Node.js reads none unless it is told to",
    path: /\.map$/,
  },
  {
    name: "type declarations",
    reason: "for the TypeScript compiler only",
    path: /\.d\.[cm]?ts$/,
  },
  {
    name: "documentation",
    reason: "OpenClaw's manual; people read it on the web",
    path: /^node_modules\/openclaw\/docs\/$/,
  },
  {
    name: "desktop control",
    reason: "drives the mouse and keyboard of a desktop; a host has none, and no agent may be given one by accident",
    path: /^node_modules\/@trycua\/$/,
  },
  {
    name: "musl binaries",
    reason: "for another C library than the host's",
    path: /^node_modules\/@koromix\/koffi-linux-x64\/musl_x64\/$/,
  },
  {
    name: "macOS and Windows binaries",
    reason: "keyboard helpers of the terminal interface for other systems",
    path: /^node_modules\/@earendil-works\/pi-tui\/native\/$/,
  },
  {
    name: "control UI",
    reason: "the gateway's web interface, which the host's configuration switches off",
    path: /^node_modules\/openclaw\/dist\/control-ui\/$/,
  },
  {
    name: "cloud worker",
    reason: "a second copy of OpenClaw that it sends to other machines; a host's agent stays on its host",
    path: /^node_modules\/openclaw\/dist\/worker\/$/,
  },
];

/** The rule that takes a path out, if any does. */
export function trimmedBy(path: string, rules: readonly TrimRule[] = OPENCLAW_TRIM): TrimRule | undefined {
  return rules.find((rule) => rule.path.test(path));
}
