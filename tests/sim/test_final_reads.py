"""The final reads of a run: of each node's own copy, whatever becomes of its process meanwhile."""

import asyncio
from types import SimpleNamespace

import pytest

from trimaran.errors import CorruptionError
from trimaran.ids import Offset
from trimaran.records.building import build_batch
from trimaran.records.iteration import Record
from trimaran.sim.history import History
from trimaran.sim.liveness import read_node
from trimaran.sim.loop import SimLoop

pytestmark = pytest.mark.sim


class Copy:
    """A partition of three events in the hands of one process."""

    high_watermark = Offset(3)

    def __init__(self, *answers):
        self.answers = list(answers)

    def read(self, _position, _bytes_max):
        answer = self.answers.pop(0)
        return answer() if callable(answer) else answer


def never():
    return asyncio.get_running_loop().create_future()


def damaged():
    answer = never()
    answer.set_exception(CorruptionError("segment", 0, "rotten"))
    return answer


def test_a_node_that_ends_over_a_read_is_read_in_its_next_process():
    batch = build_batch([Record(value=b"%d" % number, timestamp_ms=1) for number in range(3)])
    before, after = Copy(damaged, never), Copy([batch])
    copies = iter([None, before, before, after])
    cluster = SimpleNamespace(partition=lambda *_which: next(copies))
    history = History()
    loop = SimLoop()

    loop.run_until_complete(
        read_node(cluster, SimpleNamespace(name="node-1"), 0, Offset(3), history)
    )
    loop.close()

    values = [record.value for record in history.final["node-1", 0]]
    assert values == [b"0", b"1", b"2"]
