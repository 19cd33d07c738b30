import { describe, expect, it } from "vitest";
import { loadTemplate, render } from "../../cloud-init/render.ts";

describe("render", () => {
  it("renders quoted values, blocks and the partials it is given", () => {
    const partials = { line: "{{word name}}={{sh value}}\n" };
    const template = "{{#each items}}\n{{#if value}}\n  {{> line}}\n{{else}}\n{{! none }}\n{{/if}}\n{{/each}}\n";
    const items = [
      { name: "a", value: "it's" },
      { name: "b", value: "" },
      { name: "c", value: "$x" },
    ];
    expect(render(template, { items }, partials)).toBe("  a='it'\\''s'\n  c='$x'\n");
  });

  it.each([
    ["{{x}}", '"x" is no quoting helper'],
    ["{{this}}", '"this" is no quoting helper'],
    ["{{yaml}}", "yaml takes one value, received 0"],
    ["{{yaml x x}}", "yaml takes one value, received 2"],
    ["{{{yaml x}}}", "{{{…}}} and {{&…}} are not allowed"],
    ["{{&yaml x}}", "{{{…}}} and {{&…}} are not allowed"],
    ["{{./yaml x}}", '"./yaml" is no quoting helper'],
    ["{{@yaml x}}", "is no quoting helper"],
    ["{{lookup x 'a'}}", '"lookup" is no quoting helper'],
    ["{{log x}}", '"log" is no quoting helper'],
    ["{{constructor x}}", '"constructor" is no quoting helper'],
    ["{{yaml (sh x)}}", "sub-expressions are not allowed"],
    ["{{number x max=(sh x)}}", "sub-expressions are not allowed"],
    ["{{#if (sh x)}}a{{/if}}", "sub-expressions are not allowed"],
    ["{{#with x}}{{/with}}", 'block "with" is not allowed'],
    ["{{#x}}a{{/x}}", 'block "x" is not allowed'],
    ["{{^x}}a{{/x}}", 'block "x" is not allowed'],
    ["{{#yaml x}}a{{/yaml}}", 'block "yaml" is not allowed'],
    ["{{#if x}}{{else}}{{x}}{{/if}}", '"x" is no quoting helper'],
    ["{{#each x}}{{this}}{{/each}}", '"this" is no quoting helper'],
    ["{{#*inline 'p'}}{{/inline}}", "DecoratorBlock is not allowed"],
    ["{{* decorator}}", "Decorator is not allowed"],
    ["{{#> given}}a{{/given}}", "PartialBlockStatement is not allowed"],
    ["{{> other}}", 'no partial "other" was given; there are: given'],
    ["{{> toString}}", 'no partial "toString" was given'],
    ["{{> (lookup . 'x')}}", "no partial"],
  ])("refuses %s, with its place", (template, problem) => {
    const attempt = () => render(`line\n${template}`, { x: "given" }, { given: "text" });
    expect(attempt).toThrow(problem);
    expect(attempt).toThrow(/^template, line 2, column \d+: /);
  });

  it("refuses the same in a partial, used or not", () => {
    expect(() => render("text", { x: 1 }, { unused: "{{x}}" })).toThrow('partial unused, line 1, column 0: "x"');
  });

  it.each([
    "{{yaml missing}}",
    "{{yaml x.missing}}",
    "{{#if missing}}{{/if}}",
    "{{#each missing}}{{/each}}",
    "{{> p}}",
  ])("refuses a field that the data does not have: %s", (template) => {
    expect(() => render(template, { x: {} }, { p: "{{sh missing}}" })).toThrow("received undefined");
  });

  it("does not reach what an object inherits", () => {
    for (const field of ["constructor", "__proto__", "toString"])
      expect(() => render(`{{yaml ${field}}}`, {})).toThrow("received undefined");
    expect(() => render("{{yaml constructor.name}}", {})).toThrow("of undefined");
  });

  it("keeps nothing between calls", () => {
    expect(render("{{> p}}", {}, { p: "first" })).toBe("first");
    expect(() => render("{{> p}}", {})).toThrow('no partial "p"');
  });

  it("loads a template that lies beside the code", () => {
    expect(loadTemplate(new URL("../../cloud-init/user-data.yaml.hbs", import.meta.url))).toMatch(/^#cloud-config\n/);
  });
});
