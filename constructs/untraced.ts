/**
 * Runs `make` without cdktf noting where each token was made. cdktf takes a whole stack trace for each, which for the many
 * tokens of a host is a quarter of its synth, and tells it only when a token cannot be resolved: of ours it would name our
 * own lines. Errors have their stacks as ever.
 */
export function untraced<T>(make: () => T): T {
  const { captureStackTrace } = Error;
  Error.captureStackTrace = () => {};
  try {
    return make();
  } finally {
    Error.captureStackTrace = captureStackTrace;
  }
}
