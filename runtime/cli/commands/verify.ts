import type { Command } from "../command.ts";
import { EXIT } from "../errors.ts";
import { withHost } from "../session.ts";
export const verify: Command = { usage: "verify <host> [--json]", summary: "x", words: [1, 1], run: () => withHost("x", async () => EXIT.held) };
