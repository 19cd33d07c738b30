import { readFileSync } from "node:fs";
import Handlebars from "handlebars";
import { QUOTING_HELPERS } from "./quoting.ts";

const BLOCK_HELPERS = new Set(["each", "if", "unless"]);

/** Partials by name, given to each call: there is no registry that another template could have changed. */
export type Partials = Readonly<Record<string, string>>;

/**
 * Renders a Handlebars template for a file that some program will parse.
 *
 * Every `{{…}}` must name the quoting helper of the format it stands in (see quoting.ts) and one value:
 * `Description={{unit title}}`, `{{number port min=1 max=65535}}`. Allowed besides: `each`, `if`, `unless`, comments and
 * `{{> name}}` for the partials given here. A bare `{{x}}`, `{{{x}}}`, sub-expressions, decorators, inline partials and
 * dynamic partial names are refused before anything is rendered, also in partials that are not used.
 * A field that the data does not have is an error, in `if` and `each` too.
 *
 * @throws Error naming line and column of what is refused, or the helper and the value it refused.
 */
export function render(template: string, data: object, partials: Partials = {}): string {
  check(template, "template", partials);
  for (const [name, text] of Object.entries(partials)) check(text, `partial ${name}`, partials);
  const environment = Handlebars.create();
  for (const [name, quote] of Object.entries(QUOTING_HELPERS))
    environment.registerHelper(name, (value: unknown, options: Handlebars.HelperOptions) => quote(value, options.hash));
  for (const name of BLOCK_HELPERS) environment.registerHelper(name, definedOnly(name, environment.helpers[name]));
  const compiled = environment.compile(template, {
    strict: true,
    noEscape: true,
    knownHelpersOnly: true,
    knownHelpers: Object.fromEntries([...Object.keys(QUOTING_HELPERS), ...BLOCK_HELPERS].map((name) => [name, true])),
  });
  // stated, so that Handlebars denies inherited fields without a word on stderr
  const own = { allowProtoPropertiesByDefault: false, allowProtoMethodsByDefault: false };
  return compiled(data, { ...own, partials: { ...partials } });
}

/** Text of a template that lies beside the code: `loadTemplate(new URL("./gateway.service.hbs", import.meta.url))`. */
export function loadTemplate(url: URL): string {
  return readFileSync(url, "utf8");
}

/** Handlebars' strict mode does not reach the arguments of block helpers: a misspelt field would be an empty list. */
function definedOnly(name: string, block: Handlebars.HelperDelegate | undefined): Handlebars.HelperDelegate {
  return function (this: unknown, value: unknown, options: unknown) {
    if (value === undefined)
      throw new Error(`${name} received undefined; the data must have the field, if only as false`);
    return block?.call(this, value, options);
  };
}

type Node = hbs.AST.Node;

/** Refuses, with its place, everything in a template that could write a value which no helper has quoted. */
function check(template: string, source: string, partials: Partials): void {
  const refuse = (node: Node, problem: string): never => {
    throw new Error(`${source}, line ${node.loc.start.line}, column ${node.loc.start.column}: ${problem}`);
  };

  const statement = (node: Node): void => {
    if (node.type === "MustacheStatement") mustache(node as hbs.AST.MustacheStatement);
    else if (node.type === "BlockStatement") block(node as hbs.AST.BlockStatement);
    else if (node.type === "PartialStatement") partial(node as hbs.AST.PartialStatement);
    else if (node.type !== "ContentStatement" && node.type !== "CommentStatement")
      refuse(node, `${node.type} is not allowed; give partials to render() instead`);
  };

  const mustache = (node: hbs.AST.MustacheStatement): void => {
    const helper = nameOf(node.path);
    const names = Object.keys(QUOTING_HELPERS).join(", ");
    if (!node.escaped) refuse(node, `{{{…}}} and {{&…}} are not allowed; write {{helper value}}, one of: ${names}`);
    if (helper === undefined || !Object.hasOwn(QUOTING_HELPERS, helper))
      refuse(node, `"${originalOf(node.path)}" is no quoting helper; write {{helper value}}, one of: ${names}`);
    if (node.params.length !== 1) refuse(node, `${helper} takes one value, received ${node.params.length}`);
    operands(node.params, node.hash);
  };

  const block = (node: hbs.AST.BlockStatement): void => {
    const helper = nameOf(node.path);
    if (helper === undefined || !BLOCK_HELPERS.has(helper))
      refuse(node, `block "${originalOf(node.path)}" is not allowed; there are each, if and unless`);
    if (node.params.length !== 1) refuse(node, `${helper} takes one value, received ${node.params.length}`);
    operands(node.params, node.hash);
    for (const program of [node.program, node.inverse]) for (const inner of program?.body ?? []) statement(inner);
  };

  const partial = (node: hbs.AST.PartialStatement): void => {
    const name = nameOf(node.name);
    if (name === undefined || !Object.hasOwn(partials, name))
      refuse(node, `no partial "${originalOf(node.name)}" was given; there are: ${Object.keys(partials).join(", ")}`);
    operands(node.params, node.hash);
  };

  const operands = (params: Node[], hash: hbs.AST.Hash | undefined): void => {
    for (const operand of [...params, ...(hash?.pairs ?? []).map((pair) => pair.value)])
      if (operand.type === "SubExpression") refuse(operand, "sub-expressions are not allowed; compute it in the data");
  };

  for (const node of Handlebars.parse(template).body) statement(node);
}

function nameOf(node: Node): string | undefined {
  if (node.type !== "PathExpression") return undefined;
  const path = node as hbs.AST.PathExpression;
  return !path.data && path.depth === 0 && path.parts.length === 1 && path.original === path.parts[0]
    ? path.original
    : undefined;
}

function originalOf(node: Node): string {
  return "original" in node ? String(node.original) : node.type;
}
