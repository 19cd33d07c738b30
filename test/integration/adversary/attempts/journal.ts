import { ABSENT, type Attempt } from "../attempt.ts";

const HIDDEN = "the sandbox: neither /run nor /var/log is shown";
const root = { control: "root", meets: ABSENT } as const;
const user = { control: "user", meets: ABSENT } as const;

/** Reading and writing the log past one's own standard output; forging and flooding have tests of their own. */
export const JOURNAL: readonly Attempt[] = [
  { ...root, name: "read the journal's files", stoppedBy: HIDDEN, code: 'read("/var/log/journal")' },
  {
    ...root,
    name: "read the journal by journalctl",
    stoppedBy: HIDDEN,
    meets: /^(nothing|exit)/,
    code: 'if not run("journalctl", "-q", "-n", "3", "-u", "bailiwick-gateway").strip(): raise Stopped("nothing")',
  },
  {
    ...user,
    name: "write to the journal in another's name, by its own protocol",
    stoppedBy: HIDDEN,
    code: 'unix("/run/systemd/journal/socket", b"MESSAGE=siege-forged-native\\nSYSLOG_IDENTIFIER=bailiwick\\n", socket.SOCK_DGRAM)',
  },
  {
    ...user,
    name: "write to the journal in another's name, by syslog",
    stoppedBy: HIDDEN,
    code: 'unix("/dev/log", b"<13>bailiwick: siege-forged-syslog", socket.SOCK_DGRAM)',
  },
  {
    ...user,
    name: "open a stream to the journal under another unit's name",
    stoppedBy: HIDDEN,
    code: 'unix("/run/systemd/journal/stdout", b"bailiwick\\nbailiwick-egress.service\\n6\\n1\\n0\\n0\\n0\\nsiege-forged-stream\\n")',
  },
];
