"""Frames find their group, also those that come before it or from a node that is gone."""

from types import SimpleNamespace

import pytest

from trimaran.broker.groups import GroupTable
from trimaran.broker.inbox import Inbox
from trimaran.broker.peer_frames import HandOver, Messages
from trimaran.ids import GroupId, Index, NodeId, Offset, Term
from trimaran.raft.messages import AppendEntries, RequestVote
from trimaran.records.entry import Entry, EntryKind

GROUP = GroupId(bytes(19) + b"\x07")
LEADER = SimpleNamespace(node_id=NodeId(2), counts=True)
OTHER = SimpleNamespace(node_id=NodeId(3), counts=True)


class Bench:
    def __init__(self):
        self.missed = []
        self.handed = []
        self.held_back = []
        self.intake = SimpleNamespace(from_leaders=True)
        self.stepped = []
        self.groups = GroupTable()
        heartbeats = SimpleNamespace(
            missed=lambda node, group: self.missed.append((node, group)),
            held_back=lambda node, group: self.held_back.append((node, group)),
        )
        self.inbox = Inbox(
            commands=None,
            groups=self.groups,
            heartbeats=heartbeats,
            leaders=None,
            in_sync=None,
            mending=None,
            touched=lambda replica: None,
            hand_over=lambda replica, target: self.handed.append((replica.group, target)),
            intake=self.intake,
        )
        raft = SimpleNamespace(
            voters=(NodeId(1), NodeId(2)),
            step=lambda sender, message: self.stepped.append((sender, message)),
        )
        self.replica = SimpleNamespace(group=GROUP, raft=raft)


def append(*kinds):
    entries = [
        Entry(Index(index), Term(1), kind, Offset(0), 0, 0, b"")
        for index, kind in enumerate(kinds, start=1)
    ]
    return AppendEntries(Term(1), Index(0), Term(0), Index(0), entries, Index(0))


@pytest.mark.asyncio
async def test_a_new_group_gets_what_came_before_it():
    bench, message = Bench(), append()
    bench.inbox.receive(LEADER, [Messages([(GROUP, message)])])

    bench.inbox.deliver_early(bench.replica)

    assert bench.stepped == [(2, message)]


@pytest.mark.asyncio
async def test_a_new_group_does_not_begin_by_following_a_node_that_is_gone():
    bench, message = Bench(), append()
    bench.inbox.receive(LEADER, [Messages([(GROUP, append())])])
    bench.inbox.receive(OTHER, [Messages([(GROUP, message)])])

    bench.inbox.forget_sender(NodeId(2))
    bench.inbox.deliver_early(bench.replica)

    assert bench.stepped == [(3, message)]
    assert bench.missed == [(2, GROUP)]


@pytest.mark.asyncio
async def test_a_leadership_is_handed_to_a_voter_only():
    bench = Bench()
    bench.groups.add(bench.replica)

    bench.inbox.receive(OTHER, [HandOver(GROUP, NodeId(2)), HandOver(GROUP, NodeId(9))])
    bench.inbox.receive(OTHER, [HandOver(GroupId(bytes(20)), NodeId(2))])

    assert bench.handed == [(GROUP, 2)]


@pytest.mark.asyncio
async def test_events_that_cannot_be_taken_are_dropped_as_a_whole_and_that_is_said():
    bench = Bench()
    bench.groups.add(bench.replica)
    bench.intake.from_leaders = False

    bench.inbox.receive(LEADER, [Messages([(GROUP, append(EntryKind.RECORDS))])])
    bench.inbox.receive(LEADER, [Messages([(GROUP, append(*EntryKind))])])

    assert bench.stepped == []
    assert bench.held_back == [(2, GROUP), (2, GROUP)]


@pytest.mark.asyncio
async def test_what_brings_no_events_passes_a_node_that_takes_none():
    bench = Bench()
    bench.groups.add(bench.replica)
    bench.intake.from_leaders = False
    control = [kind for kind in EntryKind if kind is not EntryKind.RECORDS]
    messages = [
        append(),
        append(*control),
        RequestVote(term=Term(2), last_index=Index(1), last_term=Term(1)),
    ]

    bench.inbox.receive(LEADER, [Messages([(GROUP, message) for message in messages])])

    assert [message for _, message in bench.stepped] == messages
    assert bench.held_back == []
