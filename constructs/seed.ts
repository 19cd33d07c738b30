import { WorkspaceSeed } from "../runtime/policy/workspaces/schema.ts";
import { checked, knownKeys, Refusal, refuseTokens } from "./refuse.ts";
import { whySecret } from "./secret-shapes.ts";
import { sourceFolder } from "./source-folder.ts";

/** What a workspace holds when it is first made. A value: one seed may serve many workspaces and hosts. */
export class Seed {
  /** The seed as it stands in the spec. */
  readonly spec: WorkspaceSeed;

  private constructor(spec: WorkspaceSeed) {
    this.spec = spec;
  }

  /**
   * Everything in a folder on the operator's machine, as it is at push; links in it must stay within it.
   * @param path absolute, or relative to the project
   * @throws Refusal for `/`, the home directory, the project itself, a folder above one of them, one with Terraform state, what
   * is no folder, or a token
   */
  static folder(path: string): Seed {
    return new Seed({ kind: "folder", source: sourceFolder("Seed.folder", path) });
  }

  /**
   * The files of one commit of a repository, without history. Fetched at push by whoever pushes, with their git and their keys:
   * the host needs no way there.
   * @param url `https://…`, `ssh://…`, `git@host:path`, or `file:///…`, without a password or token in it
   * @param props.commit the whole hash of the commit, 40 hex digits: no branch and no tag, which move
   * @throws Refusal for another URL, one with a secret in it, what is no whole hash, an unknown key, or a token
   */
  static git(url: string, props: { readonly commit: string }): Seed {
    const path = "Seed.git";
    knownKeys(path, props, ["commit"]);
    refuseTokens(path, url);
    const why = typeof url === "string" && !/^(ssh:|[a-z0-9_-]+@)/.test(url) ? whySecret(url) : undefined;
    if (why !== undefined)
      throw new Refusal(
        `${path}: received ${why}; it would stand in clear in the spec: let git's own credentials know it`,
      );
    return new Seed(checked(path, WorkspaceSeed, { kind: "git", url, commit: props.commit }));
  }
}
