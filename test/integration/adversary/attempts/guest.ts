import { type Attempt, FILTERED } from "../attempt.ts";

const root = { control: "root", meets: FILTERED, stoppedBy: "the filter of system calls" } as const;

/** What root of a container is refused too, and so is tried in a virtual machine. Numbers are those of x86-64. */
export const GUEST: readonly Attempt[] = [
  {
    ...root,
    name: "count the events of processors",
    code: `
attributes = bytearray(136)
# software events, the clock of processors, of its own process
struct.pack_into("IIQ", attributes, 0, 1, 136, 0)
os.close(call(298, (ctypes.c_char * 136).from_buffer(attributes), 0, -1, -1, 0))`,
  },
  { ...root, name: "watch all files being opened", code: "os.close(call(300, 0, os.O_RDONLY))" },
  { ...root, name: "read the kernel's log", code: "call(103, 3, ctypes.create_string_buffer(4096), 4096)" },
  {
    ...root,
    name: "set up io_uring",
    stoppedBy: "the filter of system calls, and kernel.io_uring_disabled",
    code: "os.close(call(425, 1, ctypes.create_string_buffer(120)))",
  },
  {
    ...root,
    name: "open a file by its handle",
    code: `
handle = ctypes.create_string_buffer(struct.pack("Ii", 128, 0), 136)
call(303, -100, b"/tmp", handle, ctypes.create_string_buffer(4), 0)
os.close(call(304, os.open("/tmp", os.O_RDONLY), handle, os.O_RDONLY))`,
  },
  {
    ...root,
    name: "load a kernel module",
    code: 'call(313, os.open("/dev/null", os.O_RDONLY), b"", 0)',
    controlCode: 'run("/usr/sbin/modprobe", "dummy"); run("/usr/sbin/rmmod", "dummy")',
  },
];
