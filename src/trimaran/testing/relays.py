"""Links as a relay: every connection between two sides passes a process that can hold it back.

Needs no rights. A blocked link keeps its connections open and silent, and accepts new ones without
saying anything on them; that a connection was accepted is the one thing that a real cut would hide.

Does not: relay in this process (`relay` does, on a loop of its own).
"""

import json
import subprocess
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from trimaran.errors import TrimaranError
from trimaran.server.forks import tell_children

HOST = "127.0.0.1"


class RelayError(TrimaranError):
    """The relay's process is gone."""


class RelayLinks:
    """See the module."""

    name = "a relay"

    def __init__(self, nodes: Sequence[int]) -> None:
        """Start the relay; it ends with this process."""
        self._nodes = tuple(nodes)
        self._routes: dict[tuple[int, int, int], int] = {}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "trimaran.testing.relay"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        tell_children(self)

    def host(self, node: int) -> str:
        """Return the machine's own address: all nodes listen there."""
        assert node in self._nodes
        return HOST

    def prefix(self, node: int) -> tuple[str, ...]:
        """Return nothing: a node needs no wrapping."""
        assert node in self._nodes
        return ()

    def peer_address(self, node: int, other: int, port: int) -> tuple[str, int]:
        """Return the relay's port for this pair."""
        return HOST, self._route(node, other, port)

    def client_address(self, node: int, port: int) -> tuple[str, int]:
        """Return the relay's port for clients of a node."""
        return HOST, self._route(0, node, port)

    def block(self, pairs: Iterable[tuple[int, int]], *, blocked: bool = True) -> None:
        """Hold everything back, or let it go."""
        self._ask({"block": [list(pair) for pair in pairs], "blocked": blocked})

    def slow(self, pairs: Iterable[tuple[int, int]], *, delay_ms: int) -> None:
        """Hold each piece back for so long."""
        self._ask({"slow": [list(pair) for pair in pairs], "delay_ms": delay_ms})

    def close(self) -> None:
        """End the relay; what it relayed breaks."""
        self._process.kill()
        self.forked()
        self._process.wait()

    def forked(self) -> None:
        """Close the pipes: the relay ends when nobody holds its standard input."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()

    def _route(self, sender: int, receiver: int, port: int) -> int:
        key = (sender, receiver, port)
        if key not in self._routes:
            self._routes[key] = int(self._ask({"route": list(key)})["port"])
        return self._routes[key]

    def _ask(self, order: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(order).encode() + b"\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RelayError("the relay ended; its message stands above")
        answer: dict[str, Any] = json.loads(line)
        return answer
