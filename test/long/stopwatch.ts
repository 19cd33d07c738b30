/** Says what each of a long test's steps took, and when it ended: seconds, since it was made. */
export function stopwatch(): <T>(what: string, work: Promise<T>) => Promise<T> {
  const started = Date.now();
  const seconds = (ms: number) => (ms / 1000).toFixed(0);
  return async (what, work) => {
    const start = Date.now();
    try {
      return await work;
    } finally {
      console.log(`${what}: ${seconds(Date.now() - start)} s, at ${seconds(Date.now() - started)} s`);
    }
  };
}
