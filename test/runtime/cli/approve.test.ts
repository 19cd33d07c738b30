import { expect, it } from "vitest";
import { shown } from "../../../runtime/cli/commands/approve.ts";

it("a call that waits is shown whole, and nothing in it is obeyed by a terminal or hidden from who reads it", () => {
  const call = {
    id: "0a1b2c3d",
    agent: "ops",
    server: "files",
    tool: "write_file",
    arguments: {
      path: "/srv/a\u001b[2K\r/srv/b",
      content: ["x\u202ey", { more: "\u009b31m" }],
      "k\u001b]0;t\u0007": 1,
    },
    argumentsHash: "0".repeat(64),
    at: "2026-01-01T00:00:00.000Z",
    expiresAt: "2026-01-01T00:15:00.000Z",
  };
  const lines = shown(call);
  expect(lines[0]).toBe("0a1b2c3d  agent ops calls write_file of files (until 2026-01-01T00:15:00.000Z)");
  expect(lines[1]).toBe(String.raw`    path: "/srv/a\u001b[2K\r/srv/b"`);
  expect(lines[2]).toBe(String.raw`    content: ["x\u202ey",{"more":"\u009b31m"}]`);
  expect(lines[3]).toBe(String.raw`    k\u001b]0;t\u0007: 1`);
  expect(lines.join("")).not.toMatch(/[\p{Cc}\p{Cf}]/u);
});
