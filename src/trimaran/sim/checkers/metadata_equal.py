"""Nodes that applied the same entries of the metadata group hold the same image."""

from collections.abc import Iterator, Sequence

from trimaran.broker.controller import Controller
from trimaran.ids import Index
from trimaran.sim.checkers.checker import Checker, Evidence


class MetadataEqual(Checker):
    """Remembers the digest of the image at each applied entry."""

    def __init__(self) -> None:
        self._known: dict[Index, tuple[bytes, str]] = {}
        self._seen: dict[tuple[str, int], Index] = {}

    def step(self, views: Sequence[Evidence]) -> Iterator[str]:
        """Compare the images that changed since the last look."""
        for view in views:
            if view.replica is None or not isinstance(view.replica.machine, Controller):
                continue
            applied = view.replica.applied
            if self._seen.get((view.node, view.incarnation)) == applied:
                continue
            self._seen[view.node, view.incarnation] = applied
            digest = view.replica.machine.image.digest()
            known, who = self._known.setdefault(applied, (digest, view.node))
            if known != digest:
                yield f"the images after entry {applied} differ between {who} and {view.node}"
