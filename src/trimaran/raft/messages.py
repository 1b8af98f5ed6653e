"""What the members of one group say to each other. Plain data.

The names and fields are those of the Raft paper (figures 2 and 13) and thesis (sections 3.10, 9.6).
Does not: say who answers what (the rule modules do), or know bytes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from trimaran.ids import Index, Term
from trimaran.records.entry import Entry, LogPosition

_NO_INDEX = Index(0)
_NO_TERM = Term(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class PreVote:
    """Would you vote for me in `term`? Changes nobody's state (thesis section 9.6)."""

    term: Term
    last_index: Index
    last_term: Term


@dataclass(frozen=True, slots=True, kw_only=True)
class PreVoteAnswer:
    """`term` is the asked-for term when granted, the voter's own when refused."""

    term: Term
    granted: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestVote:
    """Vote for me in `term` (paper section 5.2, 5.4.1)."""

    term: Term
    last_index: Index
    last_term: Term
    transfer: bool = False
    """The old leader asked for this election: a voter's live leader is no reason to refuse."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VoteAnswer:
    """The voter's answer in its own (synced) term."""

    term: Term
    granted: bool


@dataclass(slots=True)
class AppendEntries:
    """Entries after (prev_index, prev_term), and how far the leader knows the log committed."""

    term: Term
    prev_index: Index
    prev_term: Term
    commit: Index
    entries: Sequence[Entry] = field(default_factory=tuple)
    match: Index = _NO_INDEX
    """What the follower has acknowledged in this term. One that must refuse an entry up to here
    has lost synced data (a disk set back in time) and says so with `counts`."""


@dataclass(slots=True)
class AppendAnswer:
    """A follower's answer, sent when what it speaks of is synced.

    On success `index` is the highest index known to match the leader's log and synced here. On
    refusal `index` is the refused prev_index, and (hint_index, hint_term) the highest entry here
    that could match (fast log rejection).
    """

    term: Term
    success: bool
    index: Index
    hint_index: Index = _NO_INDEX
    hint_term: Term = _NO_TERM
    counts: bool = True
    """False: this node may not vote (damaged, new disk); the leader counts it for no commit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InstallBoundary:
    """The follower's log ends below what the leader can send: start over from `boundary`.

    The driver moves the files; the core only learns when they are synced.
    """

    term: Term
    boundary: LogPosition


@dataclass(frozen=True, slots=True, kw_only=True)
class InstallAnswer:
    """`index` is the boundary the follower now holds, files and boundary synced."""

    term: Term
    success: bool
    index: Index


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeoutNow:
    """Campaign at once, I give up leadership (thesis section 3.10)."""

    term: Term


Message: TypeAlias = (
    AppendEntries
    | AppendAnswer
    | PreVote
    | PreVoteAnswer
    | RequestVote
    | VoteAnswer
    | InstallBoundary
    | InstallAnswer
    | TimeoutNow
)
