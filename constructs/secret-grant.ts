import { Agent } from "./agent.ts";
import { McpServer } from "./mcp-server.ts";
import { Model } from "./model.ts";
import { Refusal } from "./refuse.ts";
import type { Secret } from "./secret.ts";

/**
 * Grants a secret to one principal, and so on that principal's host alone: a secret is a value of no host.
 * @throws Refusal for what is no principal that reads files, or a second grant
 */
export function grantRead(secret: Secret, to: unknown): void {
  if (to instanceof Agent) to.book.read(`agent/${to.name}`, secret);
  else if (to instanceof McpServer) to.book.read(`mcp/${to.name}`, secret);
  else if (to instanceof Model) to.book.read(`model/${to.name}`, secret);
  else
    throw new Refusal(
      `secrets.${secret.name}.grantRead: received ${to === null ? "null" : `a ${typeof to}`}; give what host.addAgent, host.addMcpServer or host.addModel returned`,
    );
}
