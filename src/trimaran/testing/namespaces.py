"""Links as pairs of virtual interfaces between network namespaces: real TCP over a real cut.

Each node has a namespace and an address of its own; each pair of nodes, and each node and the
machine, a link of their own, so that any link can be cut in either direction: the queue of its
sending end becomes a black hole. Names carry the process id of their owner; what a killed owner
left behind is removed by the next one.

Does not: work without root, `ip` and `tc`.
"""

import contextlib
import functools
import os
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from itertools import combinations, count
from pathlib import Path

from trimaran.testing.links import CLIENTS

_NAME = "trimaran"
_RUN_DIRECTORY = Path("/run/netns")
_CLUSTERS = count()
NARROW_BYTES = 64_000
"""Without a kernel that can delay: so many bytes take as long as the delay asked for."""


class NamespaceLinks:
    """See the module."""

    name = "network namespaces"

    def __init__(self, nodes: Sequence[int]) -> None:
        """Make namespaces and links for `nodes`. Raises CalledProcessError where not allowed."""
        _remove_orphans()
        self._nodes = tuple(nodes)
        self._number = next(_CLUSTERS) % 16
        self._owner = pid = os.getpid()
        # One network of 10.128.0.0/9 for each cluster of each process that is likely to be alive.
        self._network = f"10.{128 + (pid >> 4) % 128}.{(pid % 16) * 16 + self._number}"
        try:
            self._build()
        except BaseException:
            self.close()
            raise

    def host(self, node: int) -> str:
        """Return the address of a node, or of the clients."""
        return f"{self._network}.{node or 254}"

    def prefix(self, node: int) -> tuple[str, ...]:
        """Return what runs a command in the node's namespace."""
        return ("ip", "netns", "exec", self._namespace(node))

    def peer_address(self, node: int, other: int, port: int) -> tuple[str, int]:
        """Return the other node's own address."""
        assert node != other
        return self.host(other), port

    def client_address(self, node: int, port: int) -> tuple[str, int]:
        """Return the node's own address."""
        return self.host(node), port

    def block(self, pairs: Iterable[tuple[int, int]], *, blocked: bool = True) -> None:
        """Make black holes of the sending ends, or take them away."""
        self._queues(pairs, "blackhole" if blocked else "")

    def slow(self, pairs: Iterable[tuple[int, int]], *, delay_ms: int) -> None:
        """Delay (netem) or, without it in the kernel, narrow (tbf) the sending ends."""
        if delay_ms == 0:
            self._queues(pairs, "")
        elif _kernel_delays():
            self._queues(pairs, f"netem delay {delay_ms}ms limit 100000")
        else:
            kilobits = max(64, NARROW_BYTES * 8 // delay_ms)
            self._queues(pairs, f"tbf rate {kilobits}kbit burst 16kb limit 4mb")

    def close(self) -> None:
        """Remove the namespaces, and with them every interface."""
        for node in self._nodes:
            _remove(self._namespace(node))

    def _build(self) -> None:
        for node in self._nodes:
            _run("ip", "netns", "add", self._namespace(node))
        for one, other in combinations(self._nodes, 2):
            peer = f"name to{one} netns {self._namespace(other)}"
            _batch(self._namespace(one), [f"link add to{other} type veth peer {peer}"])
        for node in self._nodes:
            peer = f"name to{CLIENTS} netns {self._namespace(node)}"
            mine = self._own_interface(node)
            _batch(None, [f"link add {mine} type veth peer {peer}", f"link set {mine} up"])
            address = f"addr add {self.host(CLIENTS)}/32 dev {mine}"
            route = f"route add {self.host(node)}/32 dev {mine} src {self.host(CLIENTS)}"
            _batch(None, [address, route])
            lines = ["link set lo up", f"addr add {self.host(node)}/32 dev lo"]
            for other in (CLIENTS, *self._nodes):
                if other != node:
                    lines.append(f"link set to{other} up")
                    source = f"src {self.host(node)}"
                    lines.append(f"route add {self.host(other)}/32 dev to{other} {source}")
            _batch(self._namespace(node), lines)

    def _queues(self, pairs: Iterable[tuple[int, int]], discipline: str) -> None:
        """Set the queue of each sending end; "" for the usual one."""
        for sender, receiver in pairs:
            if sender == CLIENTS:
                where, device = [], self._own_interface(receiver)
            else:
                where, device = ["-n", self._namespace(sender)], f"to{receiver}"
            change = ["qdisc", "replace", "dev", device, "root"]
            _run("tc", *where, *change, *(discipline or "noqueue").split())

    def _namespace(self, node: int) -> str:
        return f"{_NAME}-{self._owner}-{self._number}-{node}"

    def _own_interface(self, node: int) -> str:
        return f"tm{self._owner}{chr(ord('a') + self._number)}{node}"


@functools.cache
def namespaces_allowed() -> bool:
    """Whether this process may make namespaces, links and queues."""
    if os.geteuid() != 0 or shutil.which("ip") is None or shutil.which("tc") is None:
        return False
    try:
        NamespaceLinks([1]).close()
    except (OSError, subprocess.CalledProcessError):
        return False
    return True


@functools.cache
def _kernel_delays() -> bool:
    """Whether the kernel has netem."""
    name = f"{_NAME}-{os.getpid()}-x-0"
    _run("ip", "netns", "add", name)
    try:
        _run("tc", "-n", name, "qdisc", "add", "dev", "lo", "root", "netem", "delay", "1ms")
    except subprocess.CalledProcessError:
        return False
    finally:
        _remove(name)
    return True


def _remove_orphans() -> None:
    """Remove what owners left behind that are gone."""
    if not _RUN_DIRECTORY.is_dir():
        return
    for path in _RUN_DIRECTORY.iterdir():
        name, _, rest = path.name.partition("-")
        pid = rest.partition("-")[0]
        if name == _NAME and pid.isdigit() and not Path("/proc", pid).exists():
            _remove(path.name)


def _remove(namespace: str) -> None:
    with contextlib.suppress(subprocess.CalledProcessError):
        _run("ip", "netns", "del", namespace)


def _batch(namespace: str | None, lines: Sequence[str]) -> None:
    where = ["-n", namespace] if namespace is not None else []
    _run("ip", *where, "-batch", "-", text="\n".join(lines))


def _run(*words: str, text: str = "") -> None:
    subprocess.run(words, input=text, text=True, check=True, capture_output=True)
