"""Start Parsl's interchange so that it ends with the driver, and leaves Ctrl-C to it.

It is a program, started in place of `interchange.py` with the same arguments.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1

if __name__ == "__main__":
    os.setsid()
    libc = ctypes.CDLL(None)
    if hasattr(libc, "prctl"):
        libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    os.execvp("interchange.py", ["interchange.py", *sys.argv[1:]])
