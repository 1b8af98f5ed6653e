"""What travels between the members of a core cluster, and how it reads in a trace.

Beside the core's own messages there are the driver's heartbeats, reduced to one group.
Does not: deliver anything.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from trimaran.ids import Index, NodeId, Term
from trimaran.raft.messages import (
    AppendAnswer,
    AppendEntries,
    InstallAnswer,
    InstallBoundary,
    Message,
    PreVote,
    PreVoteAnswer,
    RequestVote,
    TimeoutNow,
    VoteAnswer,
)
from trimaran.raft.ready import Ready
from trimaran.records.entry import Entry, EntryKind


@dataclass(frozen=True, slots=True, kw_only=True)
class Beat:
    """A heartbeat as far as one group is concerned."""

    term: Term
    commit: Index
    number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BeatAnswer:
    """`follows` says whether the receiver follows the sender in `term`, its own synced term."""

    term: Term
    number: int
    follows: bool


Letter: TypeAlias = Message | Beat | BeatAnswer


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """A message under way."""

    sender: NodeId
    receiver: NodeId
    letter: Letter

    def __str__(self) -> str:
        """Return `sender>receiver` and what is said."""
        return f"{self.sender}>{self.receiver} {describe(self.letter)}"


def describe(letter: Letter) -> str:
    """Return one line for a message; a position reads index/term."""
    match letter:
        case Beat() | BeatAnswer():
            return _describe_beat(letter)
        case AppendEntries():
            after = f"after {letter.prev_index}/{letter.prev_term}"
            entries = describe_entries(letter.entries)
            return f"append term={letter.term} {after} commit={letter.commit} {entries}"
        case AppendAnswer():
            return f"appended term={letter.term} {_describe_answer(letter)}"
        case PreVote() | RequestVote():
            name = "pre-vote?" if isinstance(letter, PreVote) else "vote?"
            handed = " handed over" if isinstance(letter, RequestVote) and letter.transfer else ""
            return f"{name} term={letter.term} log={letter.last_index}/{letter.last_term}{handed}"
        case PreVoteAnswer() | VoteAnswer():
            name = "pre-vote" if isinstance(letter, PreVoteAnswer) else "vote"
            return f"{name} term={letter.term} {'granted' if letter.granted else 'refused'}"
        case InstallBoundary():
            at = letter.boundary
            return f"install term={letter.term} boundary={at.index}/{at.term}"
        case InstallAnswer():
            result = f"up to {letter.index}" if letter.success else "failed"
            return f"installed term={letter.term} {result}"
        case TimeoutNow():
            return f"campaign-now term={letter.term}"


def describe_entries(entries: Sequence[Entry]) -> str:
    """Return index/term of each entry; those with records are followed by their payload."""
    return "[" + " ".join(_describe_entry(entry) for entry in entries) + "]"


def describe_round(finished: Sequence[Ready]) -> str:
    """Return what one or more Ready objects made durable."""
    parts: list[str] = []
    for ready in finished:
        if ready.hard_state is not None:
            parts.append(f"term={ready.hard_state.term} vote={ready.hard_state.vote}")
        if ready.entries:
            parts.append(describe_entries(ready.entries))
    return " ".join(parts)


def _describe_beat(letter: Beat | BeatAnswer) -> str:
    if isinstance(letter, Beat):
        return f"heartbeat {letter.number} term={letter.term} commit={letter.commit}"
    verb = "follows" if letter.follows else "does not follow"
    return f"heartbeat {letter.number} {verb} term={letter.term}"


def _describe_answer(letter: AppendAnswer) -> str:
    doubt = "" if letter.counts else " not counting"
    if letter.success:
        return f"up to {letter.index}{doubt}"
    return f"refused {letter.index}, try {letter.hint_index}/{letter.hint_term}{doubt}"


def _describe_entry(entry: Entry) -> str:
    name = f"{entry.index}/{entry.term}"
    if entry.kind is EntryKind.RECORDS:
        return f"{name}={bytes(entry.payload).decode()}"
    return name
