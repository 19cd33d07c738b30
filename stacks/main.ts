import { App } from "cdktf";
import { LocalStack } from "./local.ts";

const app = new App();
new LocalStack(app, "local");
app.synth();
