"""How far the search goes: what may happen how often, on which links, from which start.

A search without bounds has no end. Each kind of event that could go on for ever has a count; what
is left of the counts is part of a state. Deliveries and syncs need none: every one of them uses up
something. A message that is never delivered is a lost one, so losing needs no event of its own
where links keep no order.

Does not: explore anything.
"""

from dataclasses import dataclass, fields, replace

COUNT_BITS = 3
COUNT_MAX = 2**COUNT_BITS - 1
"""The counts of a state share one 32-bit word."""

DELIVER, REPEAT, DROP, SYNC, HAND_OUT, FORGET, STEP_DOWN = range(7)
CAMPAIGN, PROPOSE, RESTART, RESET, BEAT, TRANSFER, ABORT = range(7, 14)

COUNTED = (
    *("campaigns", "proposals", "restarts", "silences", "repeats"),
    *("drops", "resets", "beats", "transfers"),
)

COUNTER_OF = {
    CAMPAIGN: "campaigns",
    PROPOSE: "proposals",
    RESTART: "restarts",
    FORGET: "silences",
    STEP_DOWN: "silences",
    REPEAT: "repeats",
    DROP: "drops",
    RESET: "resets",
    BEAT: "beats",
    TRANSFER: "transfers",
}
"""Which bound counts an event; one without a row needs no bound."""

SHIFT_OF = {kind: COUNT_BITS * COUNTED.index(name) for kind, name in COUNTER_OF.items()}
"""Where in a state's word of counts an event is counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What one search may do; every count is at most `COUNT_MAX`."""

    start: str = "empty"
    """Where it begins: a name in `STARTS`."""
    campaigns: int = 2
    proposals: int = 0
    restarts: int = 0
    """Crashes; what was handed out and is not synced is lost, all of it or the latest rounds."""
    silences: int = 0
    """A follower hears nothing of its leader, or a leader nothing of a majority."""
    repeats: int = 0
    """Messages delivered that stay under way, to come again."""
    drops: int = 0
    resets: int = 0
    """A leader is told that a connection was made anew."""
    beats: int = 0
    transfers: int = 0
    term_max: int = 4
    """States with a higher term are checked and not gone on from."""
    standing: tuple[int, ...] = (1, 2, 3)
    """Who campaigns of its own accord."""
    is_ordered: bool = False
    """Links keep their order; a restart or reset loses what is under way on them."""
    is_synced_at_once: bool = False
    """Disks take no time, so that more depth is left for messages."""
    is_batched: bool = False
    """Several events may come before a Ready is taken, as in a turn of the real driver."""
    eager_commit: bool = False
    one_entry_messages: bool = False
    is_deep: bool = False
    """Search deep before broad, for bounds within which there is no end to be seen."""
    judges_members: bool = True
    """Whether what is wrong with one member alone is a violation (it speaks of what its disk does
    not hold, it commits an older term's entry by counting), or only what comes of it."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        assert all(0 <= getattr(self, name) <= COUNT_MAX for name in COUNTED)
        assert self.start in STARTS, f"no start is called {self.start}"


_LED = ("campaign 1", "settle 1 2 3")

STARTS: dict[str, tuple[str, ...]] = {
    "empty": (),
    "led": _LED,
    "behind": (*_LED, "propose 1", "settle 1 2"),
    "ahead": (*_LED, "propose 1", "settle 1", "silence 1"),
    "torn": (*_LED, "propose 1", "settle 1 2 but syncs", "restart 1"),
    "forked": (
        *(*_LED, "propose 1", "settle 1", "silence 1 2 3"),
        *("campaign 2", "settle 2 3 but appends", "silence 2"),
    ),
}
"""What happened before a search, each time the same.

`settle` delivers and syncs among the members named until they are at rest; the rest is lost.

- led: 1 leads; behind: 3 lacks an entry that is committed;
- ahead: 1 led and has an entry that nobody else has;
- torn: 1 crashed and lost an entry that is under way to the disk of 2;
- forked: two logs of two terms, each with an entry that nobody else has, and no leader.
"""


_MUCH = Bounds(
    is_deep=True,
    campaigns=3,
    proposals=2,
    restarts=2,
    silences=3,
    repeats=1,
    drops=1,
    resets=1,
    beats=1,
    transfers=1,
)

PLANS: dict[str, Bounds] = {
    "one-election": Bounds(campaigns=1),
    "handover": Bounds(start="led", campaigns=1, transfers=1, standing=(2,), is_ordered=True),
    "torn": Bounds(start="torn", campaigns=1, restarts=1, is_ordered=True),
    "behind": Bounds(start="behind", campaigns=1, silences=1, standing=(2, 3), is_ordered=True),
    "turns": Bounds(start="led", campaigns=0, proposals=2, is_batched=True),
    "forked": Bounds(start="forked", campaigns=2, standing=(1, 2), is_ordered=True),
    "replication": Bounds(start="led", campaigns=0, proposals=2, beats=1),
    "rivals": Bounds(campaigns=2, is_ordered=True, is_synced_at_once=True),
    "forked-crash": Bounds(start="forked", campaigns=1, restarts=1, is_ordered=True),
    "deep-ordered": replace(_MUCH, is_ordered=True, eager_commit=True),
    "deep-turns": replace(_MUCH, is_batched=True),
    "deep": _MUCH,
}
"""What is searched by default: first what can be searched to the end, the smallest first."""


def parse_bounds(text: str) -> Bounds:
    """Return the bounds in `campaigns=2,start=led,is_ordered=1,standing=12`.

    Raises:
        ValueError: a name that is not a bound, or a value that does not fit it.
    """
    types = {field.name: field.type for field in fields(Bounds)}
    values: dict[str, object] = {}
    for part in text.split(","):
        name, _, value = part.strip().partition("=")
        if name == "start" and value in STARTS:
            values[name] = value
        elif name == "standing":
            values[name] = tuple(int(number) for number in value)
        elif name in types and name != "start":
            limit = COUNT_MAX if types[name] is int else 1
            if not 0 <= int(value) <= limit:
                raise ValueError(f"{name} is at most {limit}")
            values[name] = int(value) if types[name] is int else bool(int(value))
        else:
            raise ValueError(f"{part} is no bound; there are {', '.join(types)}")
    return replace(Bounds(), **values)  # type: ignore[arg-type]
