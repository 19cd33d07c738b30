import { BASELINE_PACKAGES } from "../../cloud-init/baseline.ts";
import { ubuntuImageMissing } from "../integration/support/image-missing.ts";
import { olderSystem } from "./older-system.ts";

olderSystem({
  ...{ os: "ubuntu-24.04", release: "ubuntu 24.04", systemd: "systemd 255", nft: "v1.0.9", sshd: /OpenSSH_9\.6/ },
  socket: true,
  missing: await ubuntuImageMissing({ os: "ubuntu-24.04", packages: BASELINE_PACKAGES }),
});
