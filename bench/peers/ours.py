"""Trimaran itself, three nodes, every setting at its default."""

from contextlib import AbstractContextManager
from pathlib import Path

from bench.peers.peer import Peer
from trimaran.bench.target import Target, local_cluster


def _open(base: Path) -> AbstractContextManager[Target]:
    return local_cluster(3, directory=base)


TRIMARAN = Peer(
    name="trimaran",
    durability="acks=all: a majority has synced it to disk",
    missing=lambda: None,
    open=_open,
)
