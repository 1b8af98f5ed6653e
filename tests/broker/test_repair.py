"""The repair of single entries, with members and a disk that are played."""

import asyncio
from types import SimpleNamespace

import pytest

from trimaran.broker import repair
from trimaran.broker.peer_messages import write_message
from trimaran.broker.ports import Lane
from trimaran.broker.repair import VAIN_MAX, Repairs
from trimaran.broker.repair_frames import Manifest, RepairKind, SegmentEntry, encode_manifest
from trimaran.broker.tasks import Tasks
from trimaran.errors import CorruptionError
from trimaran.ids import GroupId, Index, NodeId, Term
from trimaran.raft.messages import AppendEntries
from trimaran.records.entry import Entry, EntryKind, LogPosition
from trimaran.storage.boundary import Boundary
from trimaran.storage.scrub import ScrubbedPart

GROUP = GroupId(b"g" * 20)
PATH = "groups/g/1-0"
BAD = Index(2)


class Bench:
    """A segment of three entries of which the second is bad, as long as `heals` is False."""

    def __init__(self, monkeypatch, *, gives, compacted, heals=False):
        monkeypatch.setattr(repair, "RETRY_S", 0.0)
        self.gives = gives
        self.compacted = compacted
        self.heals = heals
        self.is_bad = True
        self.writes = 0
        self.looks = 0
        self.started_over = 0
        self.failed = []
        segment = SimpleNamespace(path=PATH, paths=(PATH + ".segment",), row_count=3, generation=0)
        storage = SimpleNamespace(
            segments=[segment],
            first_index=1,
            last_index=3,
            whole_from=LogPosition(),
            plan_scrub=lambda _segment, number, _bytes: partial_look(self, number),
            plan_repair=lambda _entries: self.write,
        )
        self.replica = SimpleNamespace(
            group=GROUP, storage=storage, removed=False, node_ids=[NodeId(1), NodeId(2)]
        )
        self.repairs = Repairs(
            node_id=NodeId(1),
            asking=self,
            leaders=SimpleNamespace(hint=lambda _group: (NodeId(2), 1)),
            workers=self,
            tasks=Tasks(self.failed.append),
            start_over=self.start_over,
        )

    def can_ask(self, _node):
        return True

    async def ask(self, _node, kind, group, *, start, count=0):
        if kind is RepairKind.ENTRIES:
            return entry_body() if self.gives and start == BAD else None
        assert kind is RepairKind.MANIFEST
        if self.compacted is None:
            return None
        segment = SegmentEntry(
            base=LogPosition(),
            last_index=Index(3),
            size=10,
            ids_size=0,
            generation=int(self.compacted),
            row_count=2,
        )
        return encode_manifest(Manifest(boundary=Boundary(group=group), segments=(segment,)))

    def submit(self, lane, work):
        assert lane in (Lane.READS, Lane.SEGMENTS)
        done = asyncio.get_running_loop().create_future()
        done.set_result(work())
        return done

    def write(self):
        self.writes += 1
        self.is_bad = not self.heals

    def start_over(self, _replica):
        self.started_over += 1
        self.replica.removed = True

    def found(self):
        """Return the future of a repair."""
        return self.repairs.damage_found(self.replica, CorruptionError(PATH, 0, "bad"))


def partial_look(bench, number):
    def look():
        bench.looks += 1
        if bench.looks > 4 * VAIN_MAX:
            bench.replica.removed = True  # enough seen
        if number < 2 and bench.is_bad:
            return ScrubbedPart(next_number=2, read_bytes=0, bad_index=BAD, reason="bad")
        return ScrubbedPart(next_number=3, read_bytes=10)

    return look


def entry_body():
    entry = Entry(
        index=BAD,
        term=Term(1),
        kind=EntryKind.LEADER_START,
        offset=0,
        offset_count=0,
        log_time_ms=1,
        payload=b"",
    )
    buffers = [(1).to_bytes(4, "big")]
    write_message(buffers, GROUP, AppendEntries(Term(1), Index(1), Term(1), Index(1), [entry]))
    return b"".join(buffers)


def repaired(bench):
    async def wait():
        await bench.found()

    asyncio.run(wait())
    assert bench.failed == []
    assert bench.repairs.open_count == 0


def test_an_entry_that_a_member_gives_is_put_back_once(monkeypatch):
    bench = Bench(monkeypatch, gives=True, compacted=False, heals=True)
    repaired(bench)
    assert (bench.writes, bench.started_over) == (1, 0)


def test_an_entry_that_the_disk_loses_again_at_once_is_not_written_for_ever(monkeypatch):
    bench = Bench(monkeypatch, gives=True, compacted=False)
    repaired(bench)
    assert (bench.writes, bench.started_over) == (VAIN_MAX + 1, 1)


def test_an_entry_that_was_compacted_elsewhere_makes_the_group_start_over(monkeypatch):
    bench = Bench(monkeypatch, gives=False, compacted=True)
    repaired(bench)
    assert (bench.writes, bench.started_over, bench.looks) == (0, 1, VAIN_MAX)


@pytest.mark.parametrize("compacted", [False, None], ids=["has it damaged, too", "is silent"])
def test_nothing_is_given_up_for_a_member_that_has_nothing_better(monkeypatch, compacted):
    bench = Bench(monkeypatch, gives=False, compacted=compacted)
    repaired(bench)
    assert (bench.writes, bench.started_over) == (0, 0)
    assert bench.looks > 4 * VAIN_MAX
