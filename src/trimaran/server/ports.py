"""Free TCP ports for local clusters.

Taken from below the range from which the kernel gives ports to outgoing connections: a client that
keeps trying a dead node's port would otherwise, sooner or later, connect to itself and block it.
Does not: reserve; another process may be faster.
"""

import random
import socket

FIRST_PORT = 15_000
LAST_PORT = 32_000
ATTEMPTS = 2_000


def is_free(host: str, port: int) -> bool:
    """Whether a socket could listen there now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            probe.listen(1)
        except OSError:
            return False
    return True


def free_ports(count: int, *, host: str = "127.0.0.1") -> list[int]:
    """Return `count` different ports that are free now.

    Raises:
        OSError: none found in ATTEMPTS tries.
    """
    chance = random.SystemRandom()
    found: list[int] = []
    for _ in range(ATTEMPTS):
        port = chance.randint(FIRST_PORT, LAST_PORT)
        if port not in found and is_free(host, port):
            found.append(port)
        if len(found) == count:
            return found
    raise OSError(f"no {count} free ports between {FIRST_PORT} and {LAST_PORT} on {host}")
