"""A member that knows that its disk lost something has no vote (design D11)."""

from collections.abc import Iterator, Sequence

from trimaran.sim.checkers.checker import Checker, Evidence


class DamagedNeverVotes(Checker):
    """Looks at every replica that says that it is damaged."""

    def step(self, views: Sequence[Evidence]) -> Iterator[str]:
        """Compare what the replica knows with what its core may do."""
        for view in views:
            damage = None if view.replica is None else view.replica.damage
            if damage is not None and view.core.may_vote:
                yield f"{view.node} group {view.group.hex()} votes in spite of: {damage.text}"
