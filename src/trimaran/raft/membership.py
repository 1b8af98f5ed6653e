"""Who is in a group: data only.

A configuration is laid out for joint change (thesis section 4.3): while `outgoing` is not empty,
agreement needs a majority of both halves. Nothing proposes a change yet; every group lives with
the simple configuration that it was created with.

Does not: change a configuration, or read one from an entry.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from trimaran.ids import Index, NodeId
from trimaran.raft import quorum


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """Voters in replica order, the half that is being left (if joint), and learners."""

    voters: tuple[NodeId, ...]
    outgoing: tuple[NodeId, ...] = ()
    learners: tuple[NodeId, ...] = ()

    @property
    def is_joint(self) -> bool:
        """Whether two majorities are needed."""
        return len(self.outgoing) > 0

    def is_voter(self, node: NodeId) -> bool:
        """Whether `node` votes in either half."""
        return node in self.voters or node in self.outgoing

    def rank(self, node: NodeId) -> int:
        """Return the place of voter `node` in replica order; the lowest wins a tie."""
        assert node in self.voters
        return self.voters.index(node)

    def committed_index(self, acked: Mapping[NodeId, Index]) -> Index:
        """Return the highest index that every needed majority has acknowledged."""
        index = quorum.joint_committed_index(self.voters, self.outgoing, acked)
        assert index is not None, "a group has voters"
        return index

    def vote_result(self, votes: Mapping[NodeId, bool]) -> quorum.VoteResult:
        """Return what the votes counted so far decide."""
        assert self.voters, "a group has voters"
        return quorum.joint_vote_result(self.voters, self.outgoing, votes)
