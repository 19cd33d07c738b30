import { App } from "cdktf";
import { AwsStack } from "./aws.ts";
import { HetznerStack } from "./hetzner.ts";
import { LocalStack } from "./local.ts";

const app = new App();
new LocalStack(app, "local");
new HetznerStack(app, "hetzner");
new AwsStack(app, "aws");
app.synth();
