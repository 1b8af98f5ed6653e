"""CRC-32C that keeps the interpreter.

The library gives the interpreter up for every buffer above 32 KiB. A batch of that size is summed
in a few microseconds, several times on its way; each time the loop and the workers' threads would
change places, which costs more than the sum itself (measured: 5 to 7 % of a node's CPU time).

Does not: suit buffers of many megabytes on the event loop; 1 MiB takes about 0.1 ms.
"""

from collections.abc import Callable
from functools import partial

import crc32c as library

crc32c: Callable[..., int] = partial(library.crc32c, gil_release_mode=0)
"""`crc32c(buffer, start=0)`: the CRC-32C of `buffer`, continued from `start`."""
