"""What a leader believes its followers have synced never falls within a term, and is true.

Except of a follower without vote: one that lost what it had says so, and is counted no more.
"""

from collections.abc import Iterator, Sequence

from trimaran.ids import GroupId, Index, NodeId, Term
from trimaran.raft.ready import Role
from trimaran.sim.checkers.checker import Checker, Evidence

_Key = tuple[str, int, GroupId, Term, NodeId, int]


class MatchIsTrue(Checker):
    """Remembers the match index of every follower, and compares it with what that has synced."""

    sees_all = True

    def __init__(self) -> None:
        self._matches: dict[_Key, Index] = {}
        self._incarnations: dict[NodeId, int] = {}

    def step(self, views: Sequence[Evidence]) -> Iterator[str]:
        """Look at all leaders."""
        followers = {(view.group, view.core.node_id): view for view in views}
        for view in views:
            self._incarnations[view.core.node_id] = view.incarnation
        for view in views:
            if view.core.role is Role.LEADER:
                yield from self._judge(view, followers)

    def _judge(
        self, leader: Evidence, followers: dict[tuple[GroupId, NodeId], Evidence]
    ) -> Iterator[str]:
        term = leader.core.term
        for peer, progress in leader.core.progress.items():
            follower = followers.get((leader.group, peer))
            incarnation = self._incarnations.get(peer, 0)
            key = (leader.node, leader.incarnation, leader.group, term, peer, incarnation)
            if not progress.counts or (follower is not None and not follower.core.may_vote):
                self._matches.pop(key, None)
                continue
            known = self._matches.get(key, progress.match)
            where = f"group {leader.group.hex()} term {term}: {leader.node}'s match of node {peer}"
            if progress.match < known:
                yield f"{where} fell from {known} to {progress.match}"
            self._matches[key] = progress.match
            if follower is None or follower.core.term != term:
                continue
            last = follower.core.synced_index
            if progress.match > last:
                yield f"{where} is {progress.match}, synced there is {last}"
