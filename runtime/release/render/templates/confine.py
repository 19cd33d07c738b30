# Starts the program of an agent or a shell in a scope of its own: it and what it starts reach no abstract unix socket that was not made in
# there. Such sockets have no file whose mode or mount could keep others out. systemd has no setting for this scope of
# Landlock. A kernel before 6.12 lacks it: then the program runs without, and `bailiwick verify` says so.
import ctypes, os, sys

CREATE, RESTRICT = 444, 446  # the same on every architecture
ABSTRACT_UNIX_SOCKETS = 1
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
abi = libc.syscall(ctypes.c_long(CREATE), None, ctypes.c_size_t(0), ctypes.c_uint(1))
if abi >= 6:
    rules = (ctypes.c_uint64 * 3)(0, 0, ABSTRACT_UNIX_SOCKETS)
    scope = libc.syscall(ctypes.c_long(CREATE), rules, ctypes.c_size_t(24), ctypes.c_uint(0))
    if scope < 0 or libc.syscall(ctypes.c_long(RESTRICT), ctypes.c_int(scope), ctypes.c_uint(0)) != 0:
        sys.exit(f"the scope of abstract unix sockets could not be set: {os.strerror(ctypes.get_errno())}")
    os.close(scope)
else:
    print("the kernel has no scope for abstract unix sockets; others' can be reached", file=sys.stderr, flush=True)
os.execv(sys.argv[1], sys.argv[1:])
