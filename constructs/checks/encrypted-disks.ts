import { block, type SynthCheck } from "./check.ts";

/** Disks on AWS are encrypted. */
export const encryptedDisks: SynthCheck = ({ hosts }) =>
  hosts.flatMap(({ resources }) => [
    ...resources
      .filter(({ type }) => type === "aws_ebs_volume")
      .filter((volume) => volume.attribute("encrypted") !== true)
      .map(({ path }) => `${path}: encrypted is not true, and agents' data lie on it; leave it true`),
    ...resources
      .filter(({ type }) => type === "aws_instance")
      .filter((instance) => block(instance.attribute("root_block_device"))?.encrypted !== true)
      .map(
        ({ path }) =>
          `${path}: root_block_device.encrypted is not true, and the key of sealed credentials lies on it; leave it true`,
      ),
  ]);
