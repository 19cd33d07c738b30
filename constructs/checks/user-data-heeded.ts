import { block, type SynthCheck } from "./check.ts";

/** A changed baseline makes a new machine: nothing hides it. */
export const userDataHeeded: SynthCheck = ({ hosts }) =>
  hosts.flatMap(({ resources }) =>
    resources
      .filter(({ type }) => type === "hcloud_server" || type === "aws_instance")
      .filter((server) => {
        const ignored = block(server.attribute("lifecycle"))?.ignore_changes;
        return (
          ignored === "all" || (Array.isArray(ignored) && (ignored.includes("user_data") || ignored.includes("all")))
        );
      })
      .map(
        ({ path }) =>
          `${path}: lifecycle.ignore_changes hides user_data, so the machine would keep an old baseline and a spent host key; take user_data out of it`,
      ),
  );
