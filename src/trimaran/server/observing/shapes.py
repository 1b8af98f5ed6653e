"""What observing tells those that show it: plain data, and the one interface to it.

Times are milliseconds since the epoch; a phase's is relative to its incident's beginning.
Does not: measure anything, or know HTTP.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesInfo:
    """A number that is sampled every second."""

    name: str
    """`events_in_per_s`, `topic/<name>/events_in_per_s`, `partition/<topic>/<n>/log_end`, ..."""
    unit: str
    help: str


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """Series of one node over a while, all of one length, oldest first; None: no sample."""

    begin_ms: int
    step_ms: int
    values: Mapping[str, Sequence[float | None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Histogram:
    """How a measured number was distributed."""

    name: str
    unit: str
    bounds: Sequence[float]
    """Upper bounds, ascending; one more count follows for what lies above."""
    counts: Sequence[int]
    count: int
    sum: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """A moment of an incident."""

    name: str
    """last_ack, detected, pre_vote, vote, elected, first_commit, first_ack."""
    at_ms: float
    """Since the incident began."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Incident:
    """A leader was lost and replaced."""

    id: str
    began_ms: int
    observed_by: int
    """The node that tells it."""
    cause: str
    """connection, silence, stepped-down, transfer, unknown."""
    lost_node: int | None
    groups: int
    """Groups that failed over together."""
    topic: str | None
    partition: int | None
    old_term: int
    new_term: int
    new_leader: int | None
    phases: Sequence[Phase]
    total_ms: float | None
    """None: it is not over."""
    over_limit: bool
    """Whether it took longer than 600 ms."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Happening:
    """Something worth a line: an election, a node down, a slow disk."""

    seq: int
    """Counts up on its node from 1."""
    at_ms: int
    node_id: int
    """The node that says it."""
    kind: str
    """election, leader-moved, node-up, node-down, slow-disk, stall, damage, repair, space, topic,
    incident, warning."""
    text: str
    topic: str | None = None
    partition: int | None = None
    term: int | None = None
    leader: int | None = None
    subject_node: int | None = None
    ms: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupLag:
    """How far a consumer group is behind."""

    events: int | None
    """None: it has committed nothing, or no leader tells."""
    seconds: float | None
    """Age of the first event that it has not consumed; None: not known."""


GROUPS_TOLD_MAX = 100
"""Groups of one coordinator whose lag is told."""


class Observer(Protocol):
    """What a node has seen. Called on the event loop; nothing here takes longer than 2 ms."""

    def series(self) -> Sequence[SeriesInfo]:
        """Return what there is."""

    def latest(self) -> Mapping[str, float]:
        """Return every series' value of the last whole second."""

    def history(self, names: Sequence[str], *, seconds: int, step: int) -> History:
        """Return the last `seconds`, one value every `step` seconds; unknown names are left out."""

    def histograms(self, *, window_s: int) -> Sequence[Histogram]:
        """Return all histograms over the last `window_s` seconds (at most 60); 0: since start."""

    def incidents(self) -> Sequence[Incident]:
        """Return the latest 100, newest first."""

    def happenings(self, after: int) -> Sequence[Happening]:
        """Return those with a `seq` above `after`, oldest first, at most the latest 1,000."""

    def watch(self, callback: Callable[[], None]) -> object:
        """Call `callback` after each happening and whenever an incident changed."""

    def unwatch(self, handle: object) -> None:
        """Stop calling."""

    def note_group_lags(self, found: Mapping[str, GroupLag], *, held_s: float) -> None:
        """Tell the lag of groups, by id, for `held_s` seconds, or until the next time."""

    def prometheus(self) -> bytes:
        """Return the text of `/metrics`."""


class NoObserver:
    """An observer of nothing."""

    def series(self) -> Sequence[SeriesInfo]:
        """Return nothing."""
        return ()

    def latest(self) -> Mapping[str, float]:
        """Return nothing."""
        return {}

    def history(self, names: Sequence[str], *, seconds: int, step: int) -> History:
        """Return nothing."""
        return History(begin_ms=0, step_ms=step * 1000, values={})

    def histograms(self, *, window_s: int) -> Sequence[Histogram]:
        """Return nothing."""
        return ()

    def incidents(self) -> Sequence[Incident]:
        """Return nothing."""
        return ()

    def happenings(self, after: int) -> Sequence[Happening]:
        """Return nothing."""
        return ()

    def watch(self, callback: Callable[[], None]) -> object:
        """Call nobody."""
        return None

    def unwatch(self, handle: object) -> None:
        """Do nothing."""

    def note_group_lags(self, found: Mapping[str, GroupLag], *, held_s: float) -> None:
        """Do nothing."""

    def prometheus(self) -> bytes:
        """Return nothing."""
        return b""
