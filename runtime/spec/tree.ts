import { digestOf } from "./digest.ts";

/** One thing in a component; `path` is relative, with `/`, in byte order within a listing. */
export type TreeEntry =
  | { readonly path: string; readonly type: "directory" }
  | { readonly path: string; readonly type: "link"; readonly target: string }
  | {
      readonly path: string;
      readonly type: "file";
      readonly executable: boolean;
      readonly bytes: number;
      readonly sha256: string;
    };

/** sha256 of the canonical JSON of `[path, type, mode, target or sha256 of the content]` of all entries in order. */
export function treeDigest(entries: readonly TreeEntry[]): string {
  return digestOf(
    entries.map((entry) => {
      if (entry.type === "directory") return [entry.path, entry.type, "0755", ""];
      if (entry.type === "link") return [entry.path, entry.type, "0777", entry.target];
      return [entry.path, entry.type, entry.executable ? "0755" : "0644", entry.sha256];
    }),
  );
}
