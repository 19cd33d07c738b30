import type { SynthCheck } from "./check.ts";

/** State that several share is locked, or two deploys push over each other and one of them is forgotten. */
export const lockedState: SynthCheck = ({ path, backend }) => {
  if (backend?.kind !== "s3") return [];
  const { use_lockfile: lockfile, dynamodb_table: table, encrypt } = backend.attributes;
  return [
    ...(lockfile === true || table !== undefined
      ? []
      : [`${path}: its S3 back end has no lock; add backend.addOverride("use_lockfile", true)`]),
    ...(encrypt === false ? [`${path}: its S3 back end says encrypt: false; leave it out or set it to true`] : []),
  ];
};
