/** Starts of keys and tokens that services hand out, and of private keys. */
const PREFIXES = [
  "sk-",
  "sk_live_",
  "rk_live_",
  "ghp_",
  "gho_",
  "ghs_",
  "ghu_",
  "github_pat_",
  "glpat-",
  "xoxa-",
  "xoxb-",
  "xoxp-",
  "xoxs-",
  "xapp-",
  "AKIA",
  "ASIA",
  "AIza",
  "ya29.",
  "hf_",
  "npm_",
  "AGE-SECRET-KEY-",
];

/**
 * Why a plain value looks like a secret, without the value itself; undefined if it does not. A net for accidents, no
 * proof: what it lets through is still written to the spec in clear.
 */
export function whySecret(value: string): string | undefined {
  const words = value.split(/[\s"'=:,;]+/);
  const prefix = PREFIXES.find((p) => words.some((word) => word.startsWith(p) && word.length >= p.length + 8));
  if (prefix !== undefined) return `a value that starts with "${prefix}", as keys do`;
  if (/-----BEGIN [A-Z ]*PRIVATE KEY/.test(value)) return "a private key";
  if (/[a-z][a-z0-9+.-]*:\/\/[^/\s?#@]*:[^/\s?#@]+@/i.test(value)) return "a URL with a password in it";
  if (/[a-z][a-z0-9+.-]*:\/\/[^/\s?#@]+@/i.test(value)) return "a URL with user information in it";
  return undefined;
}
