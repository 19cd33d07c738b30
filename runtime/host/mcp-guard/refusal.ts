/**
 * A request that is decided against. `http`: answered by a status; `rpc`: by a JSON-RPC error; `tool`: by a result that says
 * so to the model, which can do something about it.
 */
export class Refused extends Error {
  readonly rule: string;
  readonly as: { readonly http: number } | { readonly rpc: number } | "tool";

  constructor(as: Refused["as"], rule: string, message: string) {
    super(message);
    this.as = as;
    this.rule = rule;
  }
}
