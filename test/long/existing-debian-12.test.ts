import { olderSystem } from "./older-system.ts";

olderSystem({
  ...{ os: "debian-12", release: "debian 12", systemd: "systemd 252", nft: "v1.0.6", sshd: /OpenSSH_9\.2/ },
  socket: false,
});
