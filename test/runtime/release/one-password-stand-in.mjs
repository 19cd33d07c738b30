#!/usr/bin/env node
// Stands for the 1Password CLI, with an account in the file that OP_STAND_IN names: `signin`, `signout`, `item edit <item>
// --vault <vault> <field>=<value>`, and `read [--no-newline] <reference>`. It says what version 2 says, on the same streams.
import { readFileSync, writeFileSync } from "node:fs";

const file = process.env.OP_STAND_IN;
const account = JSON.parse(readFileSync(file, "utf8"));
const [verb, ...args] = process.argv.slice(2);
const refuse = (message) => {
  process.stderr.write(`[ERROR] 2026/01/02 03:04:05 ${message}\n`);
  process.exit(1);
};
const save = () => writeFileSync(file, JSON.stringify(account));

if (verb === "signin" || verb === "signout") {
  account.signedIn = verb === "signin";
  save();
  process.exit(0);
}
if (!account.signedIn && process.env.OP_SERVICE_ACCOUNT_TOKEN === undefined)
  refuse("You are not currently signed in. Please run `op signin --help` for instructions");
if (verb === "item") {
  const [, item, , vault, assignment] = args;
  const [field, value] = assignment.split("=");
  account.vaults[vault][item][field] = value;
  save();
} else if (verb === "read") {
  const reference = args.find((arg) => arg.startsWith("op://"));
  const [vault, item, ...rest] = reference.slice("op://".length).split("/");
  const why = `could not read secret '${reference}'`;
  const items = account.vaults[vault];
  if (items === undefined)
    refuse(
      `${why}: could not get item ${vault}/${item}: "${vault}" isn't a vault in this account. Specify the vault with its ID or name.`,
    );
  if (items[item] === undefined)
    refuse(
      `${why}: could not get item ${vault}/${item}: "${item}" isn't an item in the "${vault}" vault. Specify the item with its UUID, name, or domain.`,
    );
  const value = items[item][rest.join("/")];
  if (value === undefined) refuse(`${why}: item '${vault}/${item}' does not have a field '${rest.join("/")}'`);
  process.stdout.write(args.includes("--no-newline") ? value : `${value}\n`);
} else refuse(`unknown command "${verb}" for "op"`);
