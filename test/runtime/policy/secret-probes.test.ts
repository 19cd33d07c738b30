import { describe, expect, it } from "vitest";
import { hostPrincipals } from "../../../runtime/policy/egress/principals.ts";
import { unitCredentials } from "../../../runtime/policy/secrets/credentials.ts";
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
  const own = (unit: string) => {
    const principal = hostPrincipals(subject.spec).find((one) => `units/${one.unit}.service` === unit);
    return principal === undefined ? [] : unitCredentials(subject.spec, principal);
  };
  const live = units.filter(({ path }) => !path.includes("-probe@"));

  it("are sealed and its own in every unit that the kit renders", () => {
    expect(live.some(({ content }) => content.includes("LoadCredentialEncrypted="))).toBe(true);
    expect(live.flatMap(({ path, content }) => credentialProblems(content, own(path)))).toEqual([]);
  });

  it("are not when another's is among them, or one of its own is missing", () => {
    const unit = "LoadCredentialEncrypted=agent.ops.virtual-key:/x.cred";
    expect(credentialProblems(unit, ["secret.team"])).toEqual([
      "agent.ops.virtual-key is not for it",
      "secret.team is missing",
    ]);
    const taken = "LoadCredentialEncrypted=secret.team:/x.cred\nLoadCredentialEncrypted=\n";
    expect(credentialProblems(taken, ["secret.team"])).toEqual(["secret.team is missing"]);
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
    ["\tLoadCredentialEncrypted = stray:/root/stray.cred", "stray is not for it"],
    ["LoadCredentialEncrypted=stray:/root/stray.cred", "stray is not for it"],
  ])("are not with %j, and what is told is its name alone", (line, problem) => {
    expect(credentialProblems(`[Service]\n${line}\nUser=bw-agent-ops`, [])).toEqual([problem]);
  });

  it("are not looked for in comments", () => {
    expect(credentialProblems("# LoadCredential=key:/root/key\n; SetCredential=key:x", [])).toEqual([]);
  });

  it("prove nothing where systemd does not show the unit", () => {
    const judge = judgeOf(probes, "agent/ops/credentials");
    expect(judge(exited(1)).verdict).toBe("unprovable");
    const given = ["agent.ops.gateway-token", "agent.ops.virtual-key"].map(
      (name) => `LoadCredentialEncrypted=${name}:/x.cred`,
    );
    expect(judge(printed(given.join("\n")))).toEqual({ verdict: "held", found: "2 sealed, none in clear" });
    expect(judge(printed([...given, "SetCredential=key:clear"].join("\n"))).verdict).toBe("broken");
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

describe("a secret that was granted", () => {
  const granted = sampleSubject((spec) => {
    spec.secrets.team = { source: { kind: "env", variable: "TEAM" } };
    spec.grants.read = [{ secret: "team", principal: "agent/web-hook" }];
  });
  const judge = judgeOf(secretProbes(granted), "agent/web-hook/secret/team");
  const path = "/run/credentials/bailiwick-agent-web-hook.service/secret.team";
  const facts = (change: object = {}) => ({
    own: done(),
    live: done({ [path]: { uid: 20100, gid: 0, mode: 0o400 } }),
    others: [{ id: "agent/ops", outcome: failed("ENOENT") }],
    ...change,
  });

  it("is its reader's when that can read it, has it, and no other can", () => {
    expect(judge(facts())).toEqual({ verdict: "held", found: "read by it, closed to 1 others" });
  });

  it.each([
    ["another reads it", { others: [{ id: "agent/ops", outcome: done() }] }, "agent/ops can read it"],
    ["its reader cannot", { own: failed("EACCES") }, "agent/web-hook cannot read it: EACCES"],
    ["its reader runs without it", { live: done({ [path]: null }) }, "bailiwick-agent-web-hook runs without it"],
    ["it is open", { live: done({ [path]: { uid: 0, gid: 0, mode: 0o444 } }) }, "it is open to all (444)"],
  ])("is broken when %s", (_, change, found) => {
    expect(judge(facts(change))).toEqual({ verdict: "broken", found });
  });

  it("proves nothing where it was not tried", () => {
    expect(judge(facts({ own: failed("BROKEN_ATTEMPT", "x") })).verdict).toBe("unprovable");
    expect(judge(facts({ live: failed("EIO") })).verdict).toBe("unprovable");
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
