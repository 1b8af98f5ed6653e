"""Ends a peer's servers and removes their files when the comparison itself ended first.

Started by its file, with the servers' directory; each line on standard input is a session of
theirs, a line `done` says that they were ended properly. The end of standard input without it
means that nobody is left to do so, for whatever reason: SIGKILL, a closed terminal, no memory.
Does not: import anything of ours; it must start fast and anywhere.
"""

import contextlib
import os
import shutil
import signal
import sys
import time

DONE = "done"
ASK_S = 0.2
ASKS = 50
"""Nodes of ours end by themselves when their owner does; until then they write."""


def main(directory: str) -> None:
    """Wait for the end of standard input, or for `DONE`."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sessions = []
    for line in sys.stdin:
        if line.strip() == DONE:
            return
        sessions.append(int(line))
    for session in sessions:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(session, signal.SIGKILL)
    for _ in range(ASKS):
        time.sleep(ASK_S)
        shutil.rmtree(directory, ignore_errors=True)
        if not os.path.exists(directory):
            break


if __name__ == "__main__":
    main(sys.argv[1])
