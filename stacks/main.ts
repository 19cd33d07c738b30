import { App } from "cdktf";
import { HetznerStack } from "./hetzner.ts";
import { LocalStack } from "./local.ts";

const app = new App();
new LocalStack(app, "local");
new HetznerStack(app, "hetzner");
app.synth();
