import { mkdirSync, writeFileSync } from "node:fs";
import { hostSpecJsonSchema, hostSpecReference } from "../runtime/spec/reference.ts";

// docs/reference/ is what the schemas say; test/runtime/spec/reference.test.ts fails when it is out of date.
mkdirSync("docs/reference", { recursive: true });
writeFileSync("docs/reference/host-spec.schema.json", hostSpecJsonSchema());
writeFileSync("docs/reference/host-spec.md", hostSpecReference());
