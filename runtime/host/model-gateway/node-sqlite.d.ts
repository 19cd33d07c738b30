// Of node:sqlite (Node.js 24), what the ledger uses: the types of Node.js 20, which the kit's own side supports, have none.
declare module "node:sqlite" {
  type Value = string | number | bigint | null;

  export interface StatementSync {
    all(...values: Value[]): Record<string, Value>[];
    get(...values: Value[]): Record<string, Value> | undefined;
    run(...values: Value[]): unknown;
  }

  export class DatabaseSync {
    constructor(path: string);
    exec(sql: string): void;
    prepare(sql: string): StatementSync;
    close(): void;
  }
}
