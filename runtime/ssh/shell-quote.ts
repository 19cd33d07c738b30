/** The text as one word of a POSIX shell. @throws if it holds a NUL, which no shell can pass on */
export function shellQuote(text: string): string {
  if (text.includes("\0")) throw new Error("a shell word cannot hold a NUL byte");
  return `'${text.replaceAll("'", `'\\''`)}'`;
}
