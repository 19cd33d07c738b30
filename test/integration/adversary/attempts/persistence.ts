import { ABSENT, type Attempt } from "../attempt.ts";

const STRICT = "ProtectSystem=strict, and it is root's";
const HIDDEN = "the sandbox: nothing of /run is shown";

const root = { control: "root", meets: ABSENT } as const;
const user = { control: "user", meets: ABSENT } as const;
const plants = (name: string, directory: string): Attempt => ({
  ...root,
  name,
  stoppedBy: STRICT,
  code: `plant("${directory}")`,
});
const appends = (name: string, path: string): Attempt => ({
  ...root,
  name,
  stoppedBy: STRICT,
  code: `append("${path}")`,
});

/** What would make an attacker stay, or come back with more. */
export const PERSISTENCE: readonly Attempt[] = [
  plants("add a unit or a timer", "/etc/systemd/system"),
  plants("add a transient unit", "/run/systemd/system"),
  plants("change its own unit, or add to it", "/run/systemd/generator"),
  plants("add a job to cron", "/etc/cron.d"),
  plants("add a program to everybody's PATH", "/usr/local/bin"),
  plants("change the kit's programs", "/usr/lib/bailiwick"),
  plants("change the release", "/opt/bailiwick"),
  plants("add a script to every login", "/etc/profile.d"),
  plants("give itself sudo", "/etc/sudoers.d"),
  plants("add an SSH key", "/etc/ssh/authorized_keys.d"),
  appends("change its hosts file", "/etc/hosts"),
  appends("change its resolver", "/etc/resolv.conf"),
  appends("change who it is", "/etc/passwd"),
  appends("load a library into every program", "/etc/environment"),
  {
    ...root,
    name: "change its own configuration",
    stoppedBy: STRICT,
    code: 'plant("/etc/bailiwick/agent")',
    controlCode: 'plant(os.path.realpath("/opt/bailiwick/current/etc/agents/puppet"))',
  },
  {
    ...root,
    name: "change its own program",
    stoppedBy: STRICT,
    code: 'plant(E["component"])',
  },
  {
    ...user,
    name: "speak on the system bus",
    stoppedBy: HIDDEN,
    code: 'unix("/run/dbus/system_bus_socket", b"\\0AUTH EXTERNAL\\r\\n")',
  },
  {
    ...user,
    name: "have systemd run a command",
    stoppedBy: HIDDEN,
    meets: /^exit/,
    code: 'run("busctl", "--system", "call", "org.freedesktop.systemd1", "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager", "GetDefaultTarget")',
  },
  {
    ...root,
    name: "speak to systemd itself",
    stoppedBy: HIDDEN,
    code: 'unix("/run/systemd/private", b"\\0AUTH EXTERNAL\\r\\n")',
  },
  {
    ...user,
    name: "ask a service of systemd by varlink",
    stoppedBy: HIDDEN,
    code: 'unix("/run/systemd/userdb/io.systemd.DynamicUser")',
  },
  {
    ...root,
    name: "have systemd open a sealed secret by varlink",
    stoppedBy: HIDDEN,
    code: 'unix("/run/systemd/io.systemd.Credentials")',
  },
  {
    ...root,
    name: "hand systemd a false state of another unit",
    stoppedBy: HIDDEN,
    code: 'unix("/run/systemd/notify", b"READY=1", socket.SOCK_DGRAM)',
  },
];
