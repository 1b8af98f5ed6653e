"""The state of a whole group in a search, and every way on from it.

A state is a row of numbers: what is used up of the bounds, the history, three members, messages
under way. An event is one number as well. What an event does to a member is the core's doing
(search_steps), what the group makes of it is judged (search_rules); here the two are put together,
without a look into either.

Messages under way are sorted: by number where links keep no order, else by link, oldest first.

Does not: remember which states it has met (search does).
"""

from collections.abc import Iterator
from typing import TypeAlias

from trimaran.raft.messages import AppendEntries
from trimaran.raft.node import RaftNode
from trimaran.sim import search_bounds as kinds
from trimaran.sim.core_letters import describe_entries, describe_round
from trimaran.sim.search_bounds import COUNT_MAX, SHIFT_OF, STARTS, Bounds
from trimaran.sim.search_rules import Rules
from trimaran.sim.search_steps import KIND_BITS, VOTERS, Step, Steps, code

State: TypeAlias = tuple[int, ...]
"""Counts used, history, members 1 to 3, envelopes under way."""

NODE_BITS = 2
NODE_MASK = (1 << NODE_BITS) - 1
KIND_MASK = (1 << KIND_BITS) - 1
WIRE = 5
"""Where the messages under way begin in a state."""


class Group:
    """Three members, their links, and the bounds of what may happen to them."""

    def __init__(self, bounds: Bounds) -> None:
        """Begin where `bounds` say."""
        self.steps = Steps(bounds)
        self.rules = Rules(self.steps)
        self._bounds = bounds
        self._limit_at = {
            SHIFT_OF[kind]: int(getattr(bounds, name)) for kind, name in kinds.COUNTER_OF.items()
        }
        self.start = self._started()

    def successors(self, state: State) -> Iterator[tuple[int, State | str]]:
        """Yield each event that can be next, with the state after it or what is wrong then."""
        used = state[0]
        steps = self.steps
        members = state[2:WIRE]
        if max([steps.term_of[member] for member in members]) > self._bounds.term_max:
            return
        for at, member in enumerate(members):
            for shift, event in steps.events(member):
                if shift >= 0 and used >> shift & COUNT_MAX >= self._limit_at[shift]:
                    continue
                action = event << NODE_BITS | at
                if event == kinds.PROPOSE:
                    action |= (used >> shift & COUNT_MAX) + 1 << KIND_BITS + NODE_BITS
                after = self.after(state, action)
                if after is not None:
                    yield action, after
        yield from self._deliveries(state)

    def after(self, state: State, action: int) -> State | str | None:
        """Return what `action` makes of `state`: a state, what is wrong, None for no change."""
        at = action & NODE_MASK
        event = action >> NODE_BITS
        kind = event & KIND_MASK
        wire: list[int] = list(state[WIRE:])
        if kind in (kinds.DELIVER, kinds.DROP):
            wire.remove(event >> KIND_BITS)
        elif kind in (kinds.RESTART, kinds.RESET) and self._bounds.is_ordered:
            wire = self._cut(wire, at, kind, event >> KIND_BITS)
        shift = SHIFT_OF.get(kind, -1)
        used = state[0] + (1 << shift) if shift >= 0 else state[0]
        if kind == kinds.DROP:
            return (used, *state[1:WIRE], *wire)
        if kind == kinds.REPEAT:
            event = code(kinds.DELIVER, event >> KIND_BITS)
        step = self.steps.step(state[2 + at], event)
        if step.error:
            return step.error
        if step.sent:
            wire += step.sent
            wire.sort(key=self.steps.links.__getitem__ if self._bounds.is_ordered else None)
        elif step.member == state[2 + at] and kind > kinds.DROP:
            return None
        return self._judged(state, at, step, used, wire)

    def told(self, state: State, action: int) -> str:
        """Return one event as a person would tell it, with what it makes of its member."""
        after = self.after(state, action)
        changed = ""
        if isinstance(after, tuple):
            at = 2 + (action & NODE_MASK)
            old, new = (_shown(self.steps.members.items[one[at]].node) for one in (state, after))
            changed = "" if old == new else f"   -> {new}"
        return self._named(state, action) + changed

    def _judged(self, state: State, at: int, step: Step, used: int, wire: list[int]) -> State | str:
        """Return the state with the member at `at` as `step` left it, or what is wrong with it."""
        one, two, three = state[2:WIRE]
        if at == 0:
            one = step.member
        elif at == 1:
            two = step.member
        else:
            three = step.member
        if not step.is_noted:
            return (used, state[1], one, two, three, *wire)
        of = self.steps.facts_of
        history = self.rules.judge(state[1], (of[one], of[two], of[three]), step.votes)
        if isinstance(history, str):
            return history
        return (used, history, one, two, three, *wire)

    def _deliveries(self, state: State) -> Iterator[tuple[int, State | str]]:
        """Yield what each message under way can do, on ordered links the oldest of each."""
        used = state[0]
        variants = [kinds.DELIVER]
        for kind in (kinds.REPEAT, kinds.DROP):
            shift = SHIFT_OF[kind]
            if used >> shift & COUNT_MAX < self._limit_at[shift]:
                variants.append(kind)
        is_ordered = self._bounds.is_ordered
        links = self.steps.links
        last = -1
        for envelope in state[WIRE:]:
            here = links[envelope] if is_ordered else envelope
            if here == last:
                continue
            last = here
            for kind in variants:
                action = code(kind, envelope) << NODE_BITS | links[envelope] & NODE_MASK
                after = self.after(state, action)
                if after is not None:
                    yield action, after

    def _cut(self, wire: list[int], at: int, kind: int, argument: int) -> list[int]:
        """Lose what is under way on connections that broke; a connection has two links."""
        links = self.steps.links
        peers = [argument - 1] if kind == kinds.RESET else range(len(VOTERS))
        lost = [peer << NODE_BITS | at for peer in peers] + [
            at << NODE_BITS | peer for peer in peers
        ]
        return [envelope for envelope in wire if links[envelope] not in lost]

    # The start

    def _started(self) -> State:
        """Return the state after the events of the start, which count for no bound."""
        state: State = (0, self.rules.first, *self.steps.first)
        for line in STARTS[self._bounds.start]:
            word, *arguments = line.split()
            state = self._settled(state, arguments) if word == "settle" else state
            for number in arguments if word != "settle" else ():
                state = self._directed(state, word, int(number))
        return state

    def _directed(self, state: State, word: str, number: int) -> State:
        is_leader = self.steps.members.items[state[1 + number]].node.is_leader
        event = {
            "campaign": kinds.CAMPAIGN,
            "propose": kinds.PROPOSE,
            "restart": kinds.RESTART,
            "silence": kinds.STEP_DOWN if is_leader else kinds.FORGET,
        }[word]
        return self._taken(state, event << NODE_BITS | number - 1)

    def _taken(self, state: State, action: int) -> State:
        after = self.after(state, action)
        assert isinstance(after, tuple), f"the start is wrong: {after}"
        return (0, *after[1:])

    def _settled(self, state: State, words: list[str]) -> State:
        """Deliver and sync among the members named in `words` until they rest; drop the rest."""
        named = [int(word) - 1 for word in words if word.isdigit()]
        while True:
            actions = []
            if "syncs" not in words:
                actions += self._calm_disks(state, named)
            actions += self._calm_links(state, named, "appends" in words)
            if not actions:
                return state[:WIRE]
            state = self._taken(state, actions[0])

    def _calm_links(self, state: State, named: list[int], is_without_appends: bool) -> list[int]:
        actions = []
        for envelope in state[WIRE:]:
            link = self.steps.links[envelope]
            letter = self.steps.envelopes.items[envelope].letter
            is_kept = is_without_appends and isinstance(letter, AppendEntries)
            if link >> NODE_BITS in named and link & NODE_MASK in named and not is_kept:
                actions.append(code(kinds.DELIVER, envelope) << NODE_BITS | link & NODE_MASK)
        return actions

    def _calm_disks(self, state: State, named: list[int]) -> list[int]:
        return [
            event << NODE_BITS | at
            for at in named
            for _, event in self.steps.events(state[2 + at])
            if event in (kinds.SYNC, kinds.HAND_OUT)
        ]

    # How it is told

    def _named(self, state: State, action: int) -> str:
        """Return one event as a person would tell it."""
        node = (action & NODE_MASK) + 1
        kind = action >> NODE_BITS & KIND_MASK
        argument = action >> NODE_BITS >> KIND_BITS
        if kind in _TOLD_OF_MESSAGE:
            return f"{self.steps.envelopes.items[argument]}{_TOLD_OF_MESSAGE[kind]}"
        member = self.steps.members.items[state[1 + node]]
        if kind == kinds.SYNC:
            return f"{node} syncs {describe_round(member.pending[:1])}"
        if kind == kinds.RESTART:
            kept, count = argument, len(member.pending)
            return f"{node} crashes and starts again; {kept} of {count} unsynced rounds survive"
        return f"{node} {_TOLD[kind].format(argument)}"


_TOLD_OF_MESSAGE = {
    kinds.DELIVER: "",
    kinds.REPEAT: " (will come again)",
    kinds.DROP: " is lost",
}
_TOLD = {
    kinds.HAND_OUT: "hands out what is new",
    kinds.FORGET: "hears nothing of its leader",
    kinds.STEP_DOWN: "hears nothing of a majority",
    kinds.CAMPAIGN: "campaigns",
    kinds.PROPOSE: "takes event e{}",
    kinds.RESET: "is told of a new connection to {}",
    kinds.BEAT: "sends heartbeats",
    kinds.TRANSFER: "hands over to {}",
    kinds.ABORT: "hands over no more",
}


def _shown(node: RaftNode) -> str:
    entries = describe_entries(node.log.slice(node.log.first_index))
    return f"{node.node_id} {node.role.value} term={node.term} {entries} commit={node.commit_index}"
