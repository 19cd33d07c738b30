import * as z from "zod";

/**
 * A value that is known only after Terraform has applied: in the spec it is `{"$binding": "<key>"}`, and the push is
 * given its value in the environment variable `BAILIWICK_BINDINGS`.
 */
export const Binding = z
  .strictObject({ $binding: z.string().min(1).describe("Key of the value in the bindings that the push is given.") })
  .describe("A value known only after Terraform has applied.");

export type Binding = z.infer<typeof Binding>;

/** A string, or a binding to one. */
export function bindable<T extends z.ZodType<string>>(schema: T) {
  return z.union([Binding, schema]);
}

export function isBinding(value: unknown): value is Binding {
  return typeof value === "object" && value !== null && "$binding" in value;
}

/** How the push finds a machine of the local engine. */
const LocalMachineBinding = z.strictObject({
  kind: z.literal("local"),
  slot: z.string().min(8).describe("Id of the machine's slot: its directory and namespaces are named by it."),
  instance: z.string().min(8).describe("Id of this boot of the machine: a rebuilt machine has another."),
});

/** How the push finds a machine that has an address of its own. */
const RemoteMachineBinding = z.strictObject({
  kind: z.literal("remote"),
  address: z.string().min(1).describe("IP address, or name, at which its sshd answers on port 22."),
  instance: z.string().min(1).describe("Id of this very machine: a rebuilt one has another."),
});

/** How the push finds an EC2 instance that nothing reaches but an EC2 Instance Connect Endpoint. */
const InstanceConnectBinding = z.strictObject({
  kind: z.literal("instance-connect"),
  instance: z.string().min(1).describe("Id of the instance: the tunnel's target, and of a rebuilt machine another."),
});

/** What Terraform knows and the push needs, as JSON in `BAILIWICK_BINDINGS`; also each stack's output `bailiwick_<host>`. */
export const Bindings = z.strictObject({
  machine: z.discriminatedUnion("kind", [LocalMachineBinding, RemoteMachineBinding, InstanceConnectBinding]),
  bootstrap: z.strictObject({
    publicKey: z.string().describe("The one-time host key that first contact must show: `ssh-ed25519 AAAA…`."),
    claimedBy: z.string().describe("Id of the instance this one-time key was made for; any other is refused."),
  }),
  values: z.record(z.string(), z.string()).describe("Values of the spec's bindings, by key."),
});

export type Bindings = z.infer<typeof Bindings>;

/** Bindings of a machine on the operator's own computer. */
export type LocalBindings = Bindings & { machine: { kind: "local" } };

export function isLocal(bindings: Bindings): bindings is LocalBindings {
  return bindings.machine.kind === "local";
}

/**
 * The value with every `{"$binding": key}` replaced by `values[key]`.
 * @throws if a key has no value, naming the key and its path in the spec
 */
export function resolveBindings<T>(value: T, values: Readonly<Record<string, string>>, path = ""): unknown {
  if (isBinding(value)) {
    const found = values[value.$binding];
    if (found === undefined)
      throw new Error(
        `${path}: binding "${value.$binding}" has no value; run the deploy again so that Terraform sets it`,
      );
    return found;
  }
  if (Array.isArray(value)) return value.map((v, i) => resolveBindings(v, values, `${path}[${i}]`));
  if (typeof value === "object" && value !== null)
    return Object.fromEntries(
      Object.entries(value).map(([k, v]) => [k, resolveBindings(v, values, path === "" ? k : `${path}.${k}`)]),
    );
  return value;
}
