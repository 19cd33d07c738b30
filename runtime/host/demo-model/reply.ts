/** How every reply begins: nobody may take the script for a model. */
const INTRODUCTION = "this is the demo model of bailiwick: a script, not a language model.";

const REMEMBER = /^remember:\s*(\S[\s\S]*)$/i;
const RECALL = /^what did i tell you\s*\??$/i;
/** Longest quotation of a message, characters. */
const QUOTED = 500;

/**
 * The reply to a conversation, a function of the user's messages alone (oldest first, the last one is answered):
 * `remember: <fact>` is acknowledged, `what did I tell you?` lists the facts of the earlier messages, and anything else
 * is said back.
 */
export function reply(userTexts: readonly string[]): string {
  const last = (userTexts.at(-1) ?? "").trim();
  const fact = factIn(last);
  if (fact !== undefined) return `${INTRODUCTION} noted: ${fact}`;
  if (RECALL.test(last)) {
    const facts = userTexts.slice(0, -1).flatMap((text) => factIn(text.trim()) ?? []);
    if (facts.length === 0)
      return `${INTRODUCTION} in this conversation you told me nothing to remember; write "remember: <fact>".`;
    return `${INTRODUCTION} you told me: ${facts.join("; ")}`;
  }
  const quoted = last.length > QUOTED ? `${last.slice(0, QUOTED)}…` : last;
  return `${INTRODUCTION} you said: "${quoted}"`;
}

function factIn(text: string): string | undefined {
  return REMEMBER.exec(text)?.[1]?.trim();
}
