import { defineConfig } from "vitest/config";

// unit: any machine, any supported Node. host: programs that run on the host, on the Node they are bundled with.
// integration: real machines, as root, one file at a time.
export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: "unit",
          include: ["test/**/*.test.ts"],
          exclude: ["test/integration/**", "test/long/**", "test/runtime/host/**"],
          testTimeout: 30_000,
        },
      },
      { test: { name: "host", include: ["test/runtime/host/**/*.test.ts"], testTimeout: 30_000 } },
      {
        test: {
          name: "integration",
          include: ["test/integration/**/*.test.ts"],
          fileParallelism: false,
          testTimeout: 300_000,
          hookTimeout: 900_000,
        },
      },
      {
        test: {
          name: "long",
          include: ["test/long/**/*.test.ts"],
          fileParallelism: false,
          testTimeout: 1_800_000,
          hookTimeout: 1_800_000,
        },
      },
    ],
  },
});
