import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { QUOTING_HELPERS } from "../../cloud-init/quoting.ts";
import { render } from "../../cloud-init/render.ts";

const HOSTILE: readonly unknown[] = [
  ...[
    "",
    " ",
    " lead",
    "tail ",
    "\t",
    "a\nb",
    "a\n",
    "\na",
    "a\r\nb",
    "a\0b",
    "a\u0085b",
    "a\u2028b",
    "a\u2029b",
    "\ufeff",
  ],
  ...["\ufffe", "\ud800", "a\udc00", "\u001b[31m", "\u007f", "\u009b", "é", "日本", "😀", "x".repeat(100_000)],
  ...[
    '"',
    "'",
    "`id`",
    "$(id)",
    "$HOME",
    "$" + "{HOME}",
    "%" + "{if}",
    "%n",
    "%%",
    "$$",
    "\\",
    "trailing\\",
    "\\n",
    "a\\",
  ],
  ...[
    "-rf",
    "--",
    "; rm -rf /",
    "a;b",
    "a|b",
    "a&b",
    "a>b",
    "*",
    "?",
    "~",
    "~root",
    "!",
    "#c",
    "a #c",
    "@x",
    "+x",
    ":x",
    "|x",
  ],
  ...[
    "*ref",
    "&anchor",
    "!!python/object/apply:os.system",
    "yes",
    "null",
    "1e3",
    "0x10",
    "a: b",
    "- x",
    "[",
    "]",
    "{",
    "}",
  ],
  ...["{{x}}", "{{{x}}}", "..", ".", "../../etc", "/a/../b", "/a//b", "/a/", "/", "/etc/passwd:/x", "/a b"],
  ...[
    "1.2.3.4/33",
    "1.2.3.4/24",
    "::1%lo",
    "fe80::%0/64",
    "1.2.3",
    "0x7f000001",
    "1.2.3.4,5.6.7.8",
    "example.com.",
    "a..b",
  ],
  ...["EXAMPLE.com", "-a.example.com", "127.0.0.1", "accept", "agent_ops; flush ruleset", "} table inet x {"],
  ...[0, -1, 1.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 53, 1n, true, null, undefined, Symbol("s"), () => "f"],
  ...[{}, [], ["a"], { a: undefined }, new Date(0), new Map(), { toString: () => "a" }],
];

type Outcome = { value: unknown; text?: string; error?: string };

function outcomes(helper: string, values = HOSTILE): Outcome[] {
  return values.map((value) => {
    try {
      return { value, text: render(`{{${helper} value}}`, { value }) };
    } catch (error) {
      return { value, error: (error as Error).message };
    }
  });
}

function accepted(helper: string): { value: unknown; text: string }[] {
  return outcomes(helper).flatMap(({ value, text }) => (text === undefined ? [] : [{ value, text }]));
}

function missing(...commands: string[]): string | undefined {
  return commands.find((command) => spawnSync("sh", ["-c", `command -v ${command}`]).status !== 0);
}

function scratch<T>(use: (folder: string) => T): T {
  const folder = mkdtempSync(join(tmpdir(), "bailiwick-quoting-"));
  try {
    return use(folder);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

describe("quoting helpers", () => {
  it.each(Object.keys(QUOTING_HELPERS))("%s says what it received and what it takes when it refuses", (helper) => {
    const refused = outcomes(helper).flatMap(({ error }) => error ?? []);
    expect(refused.length).toBeGreaterThan(5);
    for (const message of refused) {
      expect(message).toMatch(new RegExp(`^${helper} received .+; it takes .+`));
      expect(message.length).toBeLessThan(400);
    }
  });

  it.each([
    "sh",
    "unit",
    "unitWord",
    "execWord",
    "nftName",
    "nftAddress",
    "haproxyWord",
    "hostsName",
    "path",
    "deviceUnit",
    "word",
    "yaml",
  ])("%s takes nothing but strings, without NUL and lone surrogates, of bounded length", (helper) => {
    for (const { value } of accepted(helper)) {
      expect(typeof value).toBe("string");
      expect(value).not.toMatch(/\0|\p{Cs}/u);
      expect(String(value).length).toBeLessThanOrEqual(65_536);
    }
  });

  it("yaml: a YAML reader and a JSON reader get the very value", () => {
    const taken = accepted("yaml");
    expect(taken.length).toBeGreaterThan(60);
    expect(taken.map(({ text }) => JSON.parse(text))).toEqual(taken.map(({ value }) => value));
    const python =
      "import sys,json,yaml; print(json.dumps([yaml.safe_load('a: ' + t + '\\n')['a'] for t in json.load(sys.stdin)]))";
    if (spawnSync("/usr/bin/python3", ["-c", "import yaml"]).status !== 0)
      return console.log("not run: reading back by PyYAML, since /usr/bin/python3 has no yaml (apt: python3-yaml)");
    const input = JSON.stringify(taken.map(({ text }) => text));
    const read = JSON.parse(execFileSync("/usr/bin/python3", ["-c", python], { input, encoding: "utf8" }));
    expect(read).toEqual(taken.map(({ value }) => value));
  });

  it("sh: a shell gets the very value as one word", () => {
    const taken = accepted("sh");
    expect(taken.length).toBeGreaterThan(60);
    const script = `printf '%s\\0' ${taken.map(({ text }) => text).join(" ")}`;
    const words = execFileSync("sh", ["-c", script], { encoding: "utf8" }).split("\0").slice(0, -1);
    expect(words).toEqual(taken.map(({ value }) => value));
  });

  it("unit, unitWord, execWord: systemd reads every line without a complaint", () => {
    const lack = missing("systemd-analyze");
    if (lack) return console.log(`not run: systemd-analyze verify, since ${lack} is not installed`);
    const lines = [
      "[Unit]",
      ...accepted("unit").map(({ text }) => `Description=${text}`),
      "[Service]",
      ...accepted("unitWord").map(({ text }) => `Environment=${text.replace(/^"/, '"A=')}`),
      `ExecStart=/bin/true ${accepted("execWord")
        .map(({ text }) => text)
        .join(" ")}`,
    ];
    expect(lines.length).toBeGreaterThan(80);
    expect(verified(lines)).toBe("");
    // the check sees what it is there to see
    expect(verified([...lines, 'Environment="A=%n%', "ExecReload=relative"])).not.toBe("");
  });

  it("unit and its words double what systemd expands, where it expands it", () => {
    expect(QUOTING_HELPERS.unit?.("100% $HOME", {})).toBe("100%% $HOME");
    expect(QUOTING_HELPERS.unitWord?.('a "b" \\ % $HOME', {})).toBe('"a \\"b\\" \\\\ %% $HOME"');
    expect(QUOTING_HELPERS.execWord?.("$HOME %h", {})).toBe('"$$HOME %%h"');
  });

  it("nftName and nftAddress: nft loads whatever they let through", () => {
    const names = outcomes("nftName", [
      ...["agent_ops", "model_gateway", "refuse", "input", "x".repeat(63)],
      ...HOSTILE,
    ]);
    const name = names.flatMap(({ text }) => text ?? []);
    expect(name).toContain("agent_ops");
    for (const text of name) expect(text).toMatch(/^[a-z][a-z0-9_]*$/);
    const addresses = ["1.2.3.4", "203.0.113.0/24", "::1", "2001:db8::/48", "::ffff:1.2.3.4"];
    const address = outcomes("nftAddress", [...addresses, ...HOSTILE]).flatMap(({ text }) => text ?? []);
    expect(address).toEqual([...addresses, "127.0.0.1"]);
    if (missing("nft", "unshare") || process.getuid?.() !== 0)
      return console.log("not run: nft -c, which needs root, nft and unshare");
    const rules = [
      ...name.map((text) => `chain ${text} { }\nset ${text} { type mark; }\nchain jump_${text} { jump ${text}; }`),
      "chain addresses {",
      ...address.map((text) => `${text.includes(":") ? "ip6" : "ip"} daddr ${text} accept`),
      "}",
    ];
    const loaded = loads(rules);
    expect(loaded.stderr).toBe("");
    expect(loaded.status).toBe(0);
    expect(loads(["chain accept { }"]).status).not.toBe(0);
  });

  it("nftAddress keeps families apart", () => {
    expect(render("{{nftAddress a family=4}}", { a: "1.2.3.4" })).toBe("1.2.3.4");
    expect(() => render("{{nftAddress a family=6}}", { a: "1.2.3.4" })).toThrow("of family 6");
  });

  it("words, names and paths let through only what no format gives a meaning to", () => {
    const letThrough = (helper: string) => accepted(helper).map(({ value }) => value);
    for (const value of letThrough("word")) expect(value).toMatch(/^[A-Za-z0-9._:@/+=][A-Za-z0-9._:@/+=-]*$/);
    for (const value of letThrough("haproxyWord")) expect(value).toMatch(/^[A-Za-z0-9:][A-Za-z0-9._:/-]*$/);
    expect(letThrough("path")).toEqual([]);
    expect(letThrough("deviceUnit")).toEqual([]);
    expect(letThrough("hostsName")).toEqual(["yes", "null", "1e3", "0x10", "0x7f000001", "accept"]);
    expect(render("{{path p}}", { p: "/opt/bailiwick/components/0f/bin/node" })).toBe(
      "/opt/bailiwick/components/0f/bin/node",
    );
    expect(render("{{deviceUnit p}}", { p: "/dev/disk/by-id/scsi-0HC_Volume_1" })).toBe(
      "dev-disk-by\\x2did-scsi\\x2d0HC_Volume_1.device",
    );
    expect(render("{{hostsName n}}", { n: "api.example.com" })).toBe("api.example.com");
    expect(render("{{haproxyWord a}} {{haproxyWord b}}", { a: "api.example.com", b: "::1" })).toBe(
      "api.example.com ::1",
    );
  });

  it("number takes integers in its range alone", () => {
    expect(accepted("number").map(({ value }) => value)).toEqual([0]);
    expect(render("{{number n min=1 max=65535}}", { n: 443 })).toBe("443");
    expect(() => render("{{number n min=1 max=65535}}", { n: 65536 })).toThrow("an integer from 1 to 65535");
    expect(() => render("{{number n min='1'}}", { n: 1 })).toThrow("they are numbers");
  });

  it("json is canonical, and refuses what JSON would drop or change", () => {
    expect(render("{{json v}}", { v: { b: [1, "\u2028"], a: null } })).toBe('{"a":null,"b":[1,"\u2028"]}');
    for (const { value, text } of accepted("json")) expect(JSON.parse(text)).toEqual(value);
    const refused = [Number.NaN, undefined, new Date(0), new Map(), { a: undefined }, "\ud800", 1n];
    expect(outcomes("json", refused).filter(({ text }) => text !== undefined)).toEqual([]);
  });
});

function verified(lines: readonly string[]): string {
  return scratch((folder) => {
    const file = join(folder, "quoting.service");
    writeFileSync(file, `${lines.join("\n")}\n`);
    const { stderr } = spawnSync("systemd-analyze", ["verify", "--man=no", file], { encoding: "utf8" });
    return stderr
      .split("\n")
      .filter((line) => line.includes("quoting.service"))
      .join("\n");
  });
}

function loads(body: readonly string[]) {
  const input = `table inet quoting {\n${body.join("\n")}\n}\n`;
  return spawnSync("unshare", ["-n", "nft", "-c", "-f", "-"], { input, encoding: "utf8" });
}
