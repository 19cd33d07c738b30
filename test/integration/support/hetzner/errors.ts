/** An error as Hetzner's API answers it, with its HTTP status. */
export class ApiError extends Error {
  readonly status: number;
  readonly code: string;
  readonly details: unknown;

  constructor(code: keyof typeof STATUS, message: string, details: unknown = null) {
    super(message);
    this.status = STATUS[code];
    this.code = code;
    this.details = details;
  }
}

const STATUS = {
  unauthorized: 401,
  not_found: 404,
  conflict: 409,
  uniqueness_error: 409,
  resource_in_use: 409,
  resource_unavailable: 412,
  placement_error: 412,
  invalid_input: 422,
  service_error: 422,
  server_not_stopped: 422,
  locked: 423,
  protected: 423,
  rate_limit_exceeded: 429,
} as const;

export type ErrorCode = keyof typeof STATUS;

export function invalid(field: string, message: string): ApiError {
  return new ApiError("invalid_input", `invalid input in field '${field}'`, {
    fields: [{ name: field, messages: [message] }],
  });
}
