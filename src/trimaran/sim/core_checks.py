"""What must hold in a group of consensus cores after every step (Raft paper, figure 3).

Fed with everything the cores hand out, over crashes and restarts:

- election safety: at most one leader in a term; no member votes twice in a term;
- log matching: an entry's index and term name its content and its predecessor's term, everywhere;
- leader completeness: a leader holds whatever was committed before its term;
- state-machine safety: one entry for each committed index, the same on every member;
- durability: what is committed first is on the disks of a majority, and no message speaks of a
  term, vote or entry that its sender's disk does not hold;
- within one life of a member: term, commit index and a follower's match never fall.

Does not: drive anything (core_cluster does).
"""

from collections.abc import Iterable, Sequence

from trimaran.ids import Index, NodeId, Term
from trimaran.raft.messages import (
    AppendAnswer,
    Message,
    PreVote,
    PreVoteAnswer,
    RequestVote,
    VoteAnswer,
)
from trimaran.raft.node import RaftNode
from trimaran.records.entry import Entry, HardState


class CoreChecks:
    """Memory of a whole run; every violation is an AssertionError."""

    def __init__(self, *, voter_count: int) -> None:
        """Start with nothing seen."""
        self.committed: list[Entry] = []
        """Entry i + 1 of the one history."""
        self._committed_in: list[Term] = []
        self._majority = voter_count // 2 + 1
        self.leaders: dict[Term, NodeId] = {}
        """Who led in each term."""
        self._votes: dict[tuple[NodeId, Term], NodeId] = {}
        self._contents: dict[tuple[Index, Term], tuple[Term, bytes]] = {}
        self._seen: dict[NodeId, tuple[Term, Index]] = {}
        self._lost: list[NodeId] = []
        self._matches: dict[tuple[NodeId, Term, NodeId], Index] = {}

    def restarted(self, node_id: NodeId) -> None:
        """A member begins another life: its commit index may be lower."""
        self._seen.pop(node_id, None)

    def wiped(self, node_id: NodeId) -> None:
        """A member lost its disk: one holder less is asked of what it had acknowledged."""
        self._majority -= 1
        self._lost.append(node_id)

    def appended(self, prev_term: Term, entries: Iterable[Entry]) -> None:
        """Check log matching for entries that joined a log."""
        for entry in entries:
            content = (prev_term, bytes(entry.payload))
            known = self._contents.setdefault((entry.index, entry.term), content)
            assert known == content, f"log matching: entry {entry.index} of term {entry.term}"
            prev_term = entry.term

    def committed_by(self, node: RaftNode, entries: Iterable[Entry], disks: "Disks") -> None:
        """Check state-machine safety, and that a majority's disks hold what is new."""
        for entry in entries:
            if entry.index <= len(self.committed):
                known = self.committed[entry.index - 1]
                assert known.term == entry.term, f"state-machine safety: entry {entry.index}"
                assert known.payload == entry.payload
                continue
            assert entry.index == len(self.committed) + 1
            holders = sum(disk.holds(entry.index, entry.term) for disk in disks)
            assert holders >= self._majority, f"entry {entry.index} is on {holders} disks"
            self.committed.append(entry)
            self._committed_in.append(node.term)

    def led_by(self, node: RaftNode, log_terms: Sequence[Term]) -> None:
        """Check election safety and leader completeness; `log_terms` are those of its whole log."""
        known = self.leaders.setdefault(node.term, node.node_id)
        assert known == node.node_id, f"two leaders in term {node.term}"
        for entry, term in zip(self.committed, self._committed_in, strict=True):
            if term < node.term:
                assert log_terms[entry.index - 1] == entry.term, "leader completeness"

    def moved(self, node: RaftNode) -> None:
        """Check that nothing a member knows for certain fell."""
        term, commit = self._seen.get(node.node_id, (Term(0), Index(0)))
        assert node.term >= term, "the term fell"
        assert node.commit_index >= commit, "the commit index fell"
        self._seen[node.node_id] = (node.term, node.commit_index)
        for peer, progress in node.progress.items():
            key = (node.node_id, node.term, peer)
            known = 0 if peer in self._lost else self._matches.get(key, 0)
            assert progress.match >= known, "a match fell"
            assert progress.match < progress.next
            assert progress.match <= node.log.last_index
            self._matches[key] = progress.match

    def sent(self, node: RaftNode, peer: NodeId, message: Message, disk: "Disk") -> None:
        """Check that `message` speaks only of what its sender's disk holds."""
        match message:
            case PreVote():
                assert message.term - 1 <= disk.hard_state.term, "an unsynced term was spoken of"
            case PreVoteAnswer(granted=True):
                pass
            case _:
                assert message.term <= disk.hard_state.term, "an unsynced term was spoken of"
        match message:
            case RequestVote():
                self._voted(node.node_id, message.term, node.node_id, disk.hard_state)
            case VoteAnswer(granted=True):
                self._voted(node.node_id, message.term, peer, disk.hard_state)
            case AppendAnswer(success=True):
                assert message.index <= disk.last_index, "an unsynced entry was acknowledged"
            case _:
                pass

    def _voted(self, voter: NodeId, term: Term, candidate: NodeId, stored: HardState) -> None:
        known = self._votes.setdefault((voter, term), candidate)
        assert known == candidate, f"node {voter} voted twice in term {term}"
        assert stored.term > term or stored.vote == candidate, "an unsynced vote was spoken of"


class Disk:
    """What one member's disk holds for certain: the journal of one group, unlimited."""

    def __init__(self) -> None:
        """Hold nothing: term 0, an empty log."""
        self.hard_state = HardState(term=Term(0), vote=None)
        self.first_index = Index(1)
        self.entries: list[Entry] = []
        self.commit_hint = Index(0)

    @property
    def last_index(self) -> Index:
        """The end of the stored log."""
        return Index(self.first_index + len(self.entries) - 1)

    def store(self, hard_state: HardState | None, entries: Sequence[Entry]) -> None:
        """Take in what one Ready handed out; the first entry truncates."""
        if hard_state is not None:
            self.hard_state = hard_state
        if entries:
            assert self.first_index <= entries[0].index <= self.last_index + 1
            del self.entries[entries[0].index - self.first_index :]
            self.entries += entries

    def install(self, index: Index, term: Term) -> None:
        """Store a boundary: entries after it stay if the log held the boundary's entry."""
        keeps_tail = index >= self.first_index and self.holds(index, term)
        kept = self.entries[index + 1 - self.first_index :] if keeps_tail else []
        self.entries = kept
        self.first_index = Index(index + 1)
        self.commit_hint = max(self.commit_hint, index)

    def holds(self, index: Index, term: Term) -> bool:
        """Whether the entry, or a boundary above it, is stored."""
        if index < self.first_index:
            return True
        position = index - self.first_index
        return position < len(self.entries) and self.entries[position].term == term


Disks = Iterable[Disk]
