"""What a replica counts as synced would survive a power cut: its bytes are on the platter."""

from collections.abc import Iterator, Sequence

from trimaran.sim.checkers.checker import Checker, Evidence
from trimaran.sim.history import History


class SyncedIsDurable(Checker):
    """Compares what is read with what is durable, at the end."""

    sees_all = True

    def __init__(self) -> None:
        self._views: list[Evidence] = []

    def step(self, views: Sequence[Evidence]) -> Iterator[str]:
        """Remember who lives."""
        self._views = list(views)
        return iter(())

    def finish(self, history: History) -> Iterator[str]:
        """Look at the segments that end below what the last look's replicas have synced."""
        del history
        for view in self._views:
            replica, disk = view.replica, view.disk
            if replica is None or disk is None or replica.removed:
                continue
            paths = dict.fromkeys(disk.file_paths())
            for segment in replica.storage.segments:
                path = segment.paths[0]
                if path not in paths or segment.last.index > replica.storage.synced_position.index:
                    continue  # a missing file is the business of `segments_identical`
                node = disk.file_node(path)
                durable = bytes(node.durable[: node.durable_size])[: segment.size]
                if durable.ljust(segment.size, b"\0") != node.read(segment.size, 0):
                    yield f"{view.node}: {path} counts as synced up to {segment.size}, it is not"
