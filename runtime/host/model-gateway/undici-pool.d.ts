// Its pool alone: what undici has besides (fetch, WebSockets, caches) is a megabyte to read at each start.
declare module "undici/lib/dispatcher/pool.js" {
  import { Pool } from "undici";
  export default Pool;
}
