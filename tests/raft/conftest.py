"""One core whose group is played by the test, and the switch that renews what tests generate."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from trimaran.ids import Index, NodeId, Offset, Term
from trimaran.raft.log import RaftLog
from trimaran.raft.messages import (
    AppendAnswer,
    AppendEntries,
    Message,
    PreVoteAnswer,
    VoteAnswer,
)
from trimaran.raft.node import RaftNode
from trimaran.raft.ready import Ready
from trimaran.records.entry import Entry, EntryKind, HardState


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--rewrite",
        action="store_true",
        help="write down what scripts and tables say now; commit only what you understand",
    )


@pytest.fixture
def rewrite(pytestconfig: pytest.Config) -> bool:
    return bool(pytestconfig.getoption("--rewrite", False))


@pytest.fixture(scope="session")
def tests_directory() -> Path:
    return Path(__file__).parent


def make_entries(terms: Sequence[int], *, first: int = 1, size: int = 0) -> list[Entry]:
    """One event per entry, so that the offset is the index - 1."""
    return [
        Entry(
            Index(index),
            Term(term),
            EntryKind.RECORDS,
            Offset(index - 1),
            1,
            0,
            b"%d/%d" % (index, term) + bytes(size),
        )
        for index, term in enumerate(terms, first)
    ]


class Lone:
    """A core on its own. `terms` are those of its log from index 1, all synced."""

    def __init__(
        self,
        *,
        node_id: int = 1,
        voters: Sequence[int] = (1, 2, 3),
        terms: Sequence[int] = (),
        term: int = 0,
        vote: int | None = None,
        commit: int = 0,
        **settings: object,
    ) -> None:
        self.node = RaftNode(
            node_id=NodeId(node_id),
            voters=tuple(NodeId(voter) for voter in voters),
            log=RaftLog(None, make_entries(terms)),
            hard_state=HardState(
                term=Term(max([term, *terms])), vote=None if vote is None else NodeId(vote)
            ),
            commit_index=Index(commit),
            **settings,
        )
        self.readies: list[Ready] = []

    @property
    def log_terms(self) -> list[int]:
        log = self.node.log
        return [entry.term for entry in log.slice(log.first_index)]

    def take(self) -> Ready:
        """Collect a Ready and leave its sync to the test."""
        ready = self.node.ready()
        self.readies.append(ready)
        return ready

    def drive(self) -> list[tuple[int, Message]]:
        """Collect and sync until nothing is left; return all messages."""
        messages: list[tuple[int, Message]] = []
        while self.node.has_ready:
            ready = self.take()
            messages += ready.messages
            self.node.synced(ready.token)
        return messages

    def hear(self, sender: int, message: Message) -> list[tuple[int, Message]]:
        """Take in one message; return what is said after everything is synced."""
        self.node.step(NodeId(sender), message)
        return self.drive()

    def append(
        self,
        sender: int,
        term: int,
        prev: tuple[int, int],
        terms: Sequence[int] = (),
        commit: int = 0,
    ) -> list[tuple[int, Message]]:
        """Take in AppendEntries with entries of `terms` after (index, term) `prev`."""
        entries = make_entries(terms, first=prev[0] + 1)
        message = AppendEntries(Term(term), Index(prev[0]), Term(prev[1]), Index(commit), entries)
        return self.hear(sender, message)

    def acknowledge(self, peer: int, index: int) -> list[tuple[int, Message]]:
        """Take in a follower's success in our term."""
        return self.hear(peer, AppendAnswer(self.node.term, True, Index(index)))

    def stand(self) -> list[tuple[int, Message]]:
        """Win the pre-votes of everybody; return what the candidate says."""
        self.node.campaign()
        self.drive()
        for peer in self.node.peers:
            self.node.step(peer, PreVoteAnswer(term=Term(self.node.term + 1), granted=True))
            if self.node.role.value != "pre-candidate":
                break
        return self.drive()

    def lead(self) -> list[tuple[int, Message]]:
        """Win an election; return the first messages of the leader."""
        messages = self.stand()
        for peer in self.node.peers:
            if not self.node.is_leader:
                messages = self.hear(peer, VoteAnswer(term=self.node.term, granted=True))
        assert self.node.is_leader
        return messages


@pytest.fixture
def lone() -> type[Lone]:
    return Lone


@pytest.fixture
def entries():
    return make_entries
