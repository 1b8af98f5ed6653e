"""What the machine says about the process: processor time and memory.

Does not: measure the machine as a whole.
"""

import resource
import time
from pathlib import Path

_STATM = Path("/proc/self/statm")
_RESIDENT = 1
"""Which number of the file is the resident pages'."""
_PAGE_BYTES = resource.getpagesize()


class Machine:
    """Processor time since the look before."""

    def __init__(self) -> None:
        """Begin to measure now."""
        self._used_s = time.process_time()

    def cpu_percent(self, passed_s: float) -> float:
        """Return what was used in the last `passed_s` seconds; 100 is one core."""
        before, self._used_s = self._used_s, time.process_time()
        return (self._used_s - before) / passed_s * 100.0


def rss_bytes() -> int:
    """Return the resident memory; where the system does not say, its peak."""
    try:
        return int(_STATM.read_text(encoding="ascii").split()[_RESIDENT]) * _PAGE_BYTES
    except (OSError, ValueError, IndexError):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
