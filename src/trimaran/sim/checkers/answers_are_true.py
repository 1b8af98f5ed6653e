"""A producer is told of success only when it is true: committed for acks=all, synced for acks=1.

Looked at when the answer arrives, on the node that gave it, if it leads then and has committed in
its term: that leader knows all that was ever committed. One that was restarted, or started the
group over, while the answer was on its way may not know yet (seed 45). An answer to a duplicate
promises the same of the first copy.
"""

from collections.abc import Iterator, Sequence

from trimaran.broker.partition import Partition
from trimaran.ids import Offset
from trimaran.raft.node import RaftNode
from trimaran.sim.checkers.checker import Checker, Evidence
from trimaran.sim.history import Answer


class AnswersAreTrue(Checker):
    """Compares an answer with its author's log."""

    def answered(self, answer: Answer, views: Sequence[Evidence]) -> Iterator[str]:
        """Look at the leader that gave `answer`."""
        for view in views:
            machine = None if view.replica is None else view.replica.machine
            if view.node != answer.node or not isinstance(machine, Partition):
                continue
            if (machine.topic, machine.number) == (answer.topic, answer.partition):
                yield from _judged(answer, view, machine)


def _judged(answer: Answer, view: Evidence, machine: Partition) -> Iterator[str]:
    assert view.replica is not None
    where = f"{answer.node} acknowledged {answer.topic}-{answer.partition}:{answer.last_offset}"
    raft = view.replica.raft
    if answer.acks < 0:
        if _knows_all(raft) and machine.high_watermark <= answer.last_offset:
            yield f"{where}, its high watermark is {machine.high_watermark}"
        return
    index = raft.log.find_offset(Offset(answer.last_offset))
    # What is not in memory any more is below a boundary. One that no longer leads may have lost it.
    if index is not None and raft.is_leader and index > raft.synced_index:
        yield f"{where} as entry {index}, it has synced {raft.synced_index}"


def _knows_all(raft: RaftNode) -> bool:
    """Whether all that was ever committed is below its commit index (leader completeness)."""
    return raft.is_leader and raft.log.term_at(raft.commit_index) == raft.term
