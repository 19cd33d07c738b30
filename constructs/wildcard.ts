import { Annotations } from "cdktf";
import type { IConstruct } from "constructs";

/** Synth says what a wildcard grants beside the names that were meant. */
export function warnOfWildcard(scope: IConstruct, path: string, name: string): void {
  const zone = name.slice("*.".length);
  Annotations.of(scope).addWarning(
    `${path}("${name}"): grants every name of one label before ${zone}, and lets what the label says reach the name servers of ${zone}; allow exact names where you know them`,
  );
}
