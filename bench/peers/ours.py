"""Trimaran itself, three nodes, every setting at its default."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from bench.peers.peer import NODES, Peer
from bench.peers.processes import servers
from bench.peers.topics import BATCH_BYTES, with_proof
from trimaran import __version__
from trimaran.bench.target import Target, local_cluster


@contextlib.contextmanager
def _open(base: Path) -> Iterator[Target]:
    with (
        servers("trimaran", base) as own,
        local_cluster(NODES, directory=own.directory) as target,
    ):
        yield with_proof(target)


TRIMARAN = Peer(
    name="trimaran",
    durability="acks=all: a majority has synced it to disk",
    synced="a majority",
    missing=lambda: None,
    version=lambda: f"Trimaran {__version__}",
    open=_open,
    chunk_bytes=BATCH_BYTES,
)
