import { describe, expect, it } from "vitest";
import { credentialProblems, secretProbes } from "../../../runtime/policy/secrets/probes.ts";
import { renderRelease } from "../../../runtime/release/render/release.ts";
import { sampleInput } from "../release/render/sample.ts";
import { done, exited, failed, judgeOf, printed, sampleSubject } from "./judged.ts";

const subject = sampleSubject();
const probes = secretProbes(subject);
const sealedNames = subject.manifest.credentials.map(({ name }) => name);

describe("the credentials of a unit", () => {
  const units = renderRelease(sampleInput(subject.spec)).files.filter(({ path }) =>
    /^units\/[^/]*\.service$/.test(path),
  );
  const live = units.filter(({ path }) => !path.includes("-probe@"));

  it("are sealed and the release's in every unit that the kit renders", () => {
    expect(live.some(({ content }) => content.includes("LoadCredentialEncrypted="))).toBe(true);
    expect(live.flatMap(({ content }) => credentialProblems(content, sealedNames))).toEqual([]);
  });

  it.each([
    ["LoadCredential=key:/root/key", "LoadCredential= (key)"],
    ["SetCredential=key:clear", "SetCredential= (key)"],
    ["SetCredentialEncrypted=key: AAAA", "SetCredentialEncrypted= (key)"],
    ["ImportCredential=*", "ImportCredential= (*)"],
    ["EnvironmentFile=/root/env", "EnvironmentFile= (/root/env)"],
    ["PassEnvironment=KEY", "PassEnvironment= (KEY)"],
    // systemd skips white space before a setting and around its equals sign
    ["  SetCredential = key:clear", "SetCredential= (key)"],
    ["\tLoadCredentialEncrypted = stray:/root/stray.cred", "stray is no credential of the release"],
    ["LoadCredentialEncrypted=stray:/root/stray.cred", "stray is no credential of the release"],
  ])("are not with %j, and what is told is its name alone", (line, problem) => {
    expect(credentialProblems(`[Service]\n${line}\nUser=bw-agent-ops`, sealedNames)).toEqual([problem]);
  });

  it("are not looked for in comments", () => {
    expect(credentialProblems("# LoadCredential=key:/root/key\n; SetCredential=key:x", sealedNames)).toEqual([]);
  });

  it("prove nothing where systemd does not show the unit", () => {
    const judge = judgeOf(probes, "agent/ops/credentials");
    expect(judge(exited(1)).verdict).toBe("unprovable");
    expect(judge(printed("[Service]\nLoadCredentialEncrypted=agent.ops.virtual-key:/x.cred"))).toEqual({
      verdict: "held",
      found: "1 sealed, none in clear",
    });
    expect(judge(printed("[Service]\nSetCredential=key:clear")).verdict).toBe("broken");
  });
});

describe("secrets and what belongs to others", () => {
  const judge = judgeOf(probes, "agent/ops/secrets");
  const fact = (path: string, outcome = failed("EACCES"), there = done()) => ({ path, outcome, there });

  it("are closed when none that is there can be read", () => {
    expect(judge([fact("/etc/shadow"), fact("/gone", failed("ENOENT"), failed("ENOENT"))])).toEqual({
      verdict: "held",
      found: "1 are there, none can be read",
    });
  });

  it("are open when one can be read, though others prove nothing", () => {
    const notTried = fact("/var/log/journal", failed("BROKEN_ATTEMPT", "x"));
    expect(judge([notTried, fact("/etc/shadow", done())])).toEqual({
      verdict: "broken",
      found: "it reads /etc/shadow",
    });
  });

  it("prove nothing when none is there, or one was not tried", () => {
    expect(judge([fact("/gone", failed("ENOENT"), failed("ENOENT"))]).verdict).toBe("unprovable");
    expect(judge([fact("/etc/shadow"), fact("/x", failed("BROKEN_ATTEMPT", "x"))])).toMatchObject({
      verdict: "unprovable",
      reason: "reading /x was not tried",
    });
  });
});

describe("files of sealed credentials", () => {
  const judge = judgeOf(probes, "root/credential-files");
  const folder = "/etc/bailiwick/credentials";
  const files = subject.manifest.credentials.map(({ name, version }) => [`${name}/${version}.cred`, 0o600, "00"]);
  const owners = (uid: number, mode: number) =>
    done({ [folder]: { uid, gid: 0, mode }, "/etc/bailiwick/version.key": null });

  it("are closed when root alone has them and none is missing", () => {
    expect(judge({ list: done(files), owners: owners(0, 0o700) })).toEqual({
      verdict: "held",
      found: `${files.length} files, closed`,
    });
  });

  it("are open when others may enter, own or write them, and broken when one is missing", () => {
    const verdictOf = (list: unknown, owned: ReturnType<typeof owners>) => judge({ list: done(list), owners: owned });
    expect(verdictOf(files, owners(0, 0o755)).found).toBe(`${folder} (755)`);
    expect(verdictOf(files, owners(1000, 0o700)).verdict).toBe("broken");
    const [first, ...rest] = files;
    expect(verdictOf([[first?.[0], 0o622, "00"], ...rest], owners(0, 0o700)).verdict).toBe("broken");
    expect(verdictOf(rest, owners(0, 0o700))).toEqual({ verdict: "broken", found: `${sealedNames[0]} is missing` });
  });

  it("prove nothing where root could not look", () => {
    expect(judge({ list: done(files), owners: failed("EIO") }).verdict).toBe("unprovable");
  });
});
