import { block, type SynthCheck } from "./check.ts";

/** An EC2 instance's metadata answer sessions alone, and nobody beyond the instance. */
export const instanceMetadata: SynthCheck = ({ hosts }) =>
  hosts.flatMap(({ resources }) =>
    resources
      .filter(({ type }) => type === "aws_instance")
      .flatMap((instance) => {
        const options = block(instance.attribute("metadata_options"));
        const { path } = instance;
        return [
          ...(options?.http_tokens === "required"
            ? []
            : [
                `${path}: metadata_options.http_tokens is ${JSON.stringify(options?.http_tokens)}; leave it "required"`,
              ]),
          ...(options?.http_put_response_hop_limit === 1
            ? []
            : [
                `${path}: metadata_options.http_put_response_hop_limit is ${JSON.stringify(options?.http_put_response_hop_limit)}; leave it 1`,
              ]),
        ];
      }),
  );
