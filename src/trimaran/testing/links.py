"""The links of a cluster on one machine: between its nodes, and between them and their clients.

`open_links` gives network namespaces with a pair of virtual interfaces for each link where that can
be done (root on Linux with iproute2), a relay in a process of its own (`relays`) elsewhere. Either
way a blocked link is silent: nothing is refused or closed, nobody is told.

Does not: start nodes.
"""

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import permutations
from typing import Protocol

CLIENTS = 0
"""Stands for everything that is not a node: the machine's own network."""


class Links(Protocol):
    """All links of one cluster. Sides are node ids, or `CLIENTS`."""

    name: str
    """How it is done, for people."""

    def host(self, node: int) -> str:
        """Return the address that a node listens on."""

    def prefix(self, node: int) -> tuple[str, ...]:
        """Return what goes before the command of a node."""

    def peer_address(self, node: int, other: int, port: int) -> tuple[str, int]:
        """Return where `node` reaches the peer port `port` of `other`."""

    def client_address(self, node: int, port: int) -> tuple[str, int]:
        """Return where clients reach the Kafka port `port` of a node."""

    def block(self, pairs: Iterable[tuple[int, int]], *, blocked: bool = True) -> None:
        """Let nothing pass from the first to the second of each pair; or let it pass again."""

    def slow(self, pairs: Iterable[tuple[int, int]], *, delay_ms: int) -> None:
        """Hold what passes from the first to the second back for so long; 0: not at all.

        Where the kernel cannot delay, the link is narrowed so that bulk data takes about so long.
        """

    def close(self) -> None:
        """Take everything down."""


def both_ways(one: int, others: Iterable[int]) -> list[tuple[int, int]]:
    """Return the pairs between one side and others, in both directions."""
    return [pair for other in others if other != one for pair in ((one, other), (other, one))]


def between(left: Sequence[int], right: Sequence[int]) -> list[tuple[int, int]]:
    """Return the pairs that a partition into `left` and `right` blocks."""
    return [pair for one in left for pair in both_ways(one, right)]


def open_links(nodes: Sequence[int]) -> Links:
    """Return the best kind of links that this machine allows, all open."""
    from trimaran.testing.namespaces import NamespaceLinks, namespaces_allowed
    from trimaran.testing.relays import RelayLinks

    return NamespaceLinks(nodes) if namespaces_allowed() else RelayLinks(nodes)


@contextlib.contextmanager
def blocked(links: Links, pairs: Iterable[tuple[int, int]]) -> Iterator[None]:
    """Keep links blocked while the block runs."""
    chosen = list(pairs)
    links.block(chosen)
    try:
        yield
    finally:
        links.block(chosen, blocked=False)


def all_pairs(nodes: Sequence[int]) -> list[tuple[int, int]]:
    """Return every pair of sides that has a link, clients included."""
    return list(permutations((CLIENTS, *nodes), 2))
