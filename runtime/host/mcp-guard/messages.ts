/** JSON-RPC as MCP uses it: requests have an id and a method, answers an id, notifications a method. */
export type Id = string | number;

export interface Message {
  readonly jsonrpc: "2.0";
  readonly id?: Id;
  readonly method?: string;
  readonly params?: Readonly<Record<string, unknown>>;
  readonly result?: unknown;
  readonly error?: { readonly code: number; readonly message: string };
}

export const CODES = { parse: -32700, invalidRequest: -32600, methodNotFound: -32601, invalidParams: -32602 } as const;

/** Versions of the protocol that are spoken, newest first; in each of them tools work the same. */
export const PROTOCOL_VERSIONS = ["2025-11-25", "2025-06-18", "2025-03-26"] as const;

export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** The message, if it is one; undefined for anything else, a batch too. */
export function asMessage(value: unknown): Message | undefined {
  if (!isRecord(value) || value.jsonrpc !== "2.0") return undefined;
  const { id, method, params, error } = value;
  if (id !== undefined && !isId(id)) return undefined;
  if (method !== undefined && (typeof method !== "string" || method.length > 128)) return undefined;
  if (params !== undefined && !isRecord(params)) return undefined;
  if (method === undefined && id === undefined) return undefined;
  if (error !== undefined && !(isRecord(error) && typeof error.code === "number" && typeof error.message === "string"))
    return undefined;
  return value as unknown as Message;
}

function isId(value: unknown): value is Id {
  return (
    (typeof value === "string" && value.length <= 128) || (typeof value === "number" && Number.isSafeInteger(value))
  );
}
