import type { SynthCheck } from "./check.ts";

/** An EC2 instance has no credentials of AWS: whoever is root on the host would have them too. */
export const noInstanceRole: SynthCheck = ({ hosts }) =>
  hosts.flatMap(({ resources }) =>
    resources
      .filter(({ type }) => type === "aws_instance")
      .filter((instance) => ![undefined, null, ""].includes(instance.attribute("iam_instance_profile") as undefined))
      .map(
        ({ path }) =>
          `${path}: iam_instance_profile gives the host credentials of AWS; take it off and give an agent a key of its own for what it may do`,
      ),
  );
