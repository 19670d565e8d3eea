"""Starts a program, and holds one of its threads: NAME PROGRAM ARGUMENT...

Each line of standard input holds the thread of that name, or lets it go again, and is answered by
`held` or `let go`. The others run on. It is held as a debugger does it (ptrace), and is a child of
this program, since that is whom a system allows to be held by anybody but root.
"""

import ctypes
import os
import pathlib
import signal
import subprocess
import sys

SEIZE, INTERRUPT, DETACH = 0x4206, 0x4207, 17
WAIT_FOR_THREADS = 0x40000000
libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
libc.ptrace.restype = ctypes.c_long


def ptrace(request, thread):
    if libc.ptrace(request, thread, None, None) != 0:
        raise OSError(ctypes.get_errno(), f"ptrace {request:#x} of thread {thread}")


def main():
    name, *command = sys.argv[1:]
    # It ends with this program, also when that is killed.
    follow = lambda: libc.prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, preexec_fn=follow)
    signal.signal(signal.SIGTERM, lambda *_: child.terminate())
    held = None
    try:
        while sys.stdin.readline():
            if held is None:
                tasks = pathlib.Path(f"/proc/{child.pid}/task").iterdir()
                held = next(int(task.name) for task in tasks if (task / "comm").read_text().strip() == name)
                ptrace(SEIZE, held)
                ptrace(INTERRUPT, held)
                os.waitpid(held, WAIT_FOR_THREADS)
                print("held now", flush=True)
            else:
                ptrace(DETACH, held)
                held = None
                print("let go now", flush=True)
        child.terminate()
        sys.exit(child.wait())
    finally:
        child.kill()


if __name__ == "__main__":
    main()
