"""Linearizable reads without touching the log: ReadIndex (thesis section 6.4).

A leader may answer from what it has committed if it was still the leader after the read was taken
up: then no other leader can have committed anything before. Two conditions:

- it has committed an entry of its own term, so that its commit index covers what earlier leaders
  committed;
- a majority, itself included, has answered a heartbeat sent after the read was taken up. Heartbeats
  are numbered per node; a read remembers the last number before it and needs a higher one.

Reads are released in the order in which they came, each with the commit index of that moment.
Does not: send heartbeats, or read anything.
"""

from trimaran.ids import Index, NodeId
from trimaran.raft.ready import ReadState, Role
from trimaran.raft.roles import RaftState

_NO_LIMIT = Index(2**63)
"""The leader needs no answer from itself."""


def read(state: RaftState, context: int, heartbeat_number: int) -> None:
    """Take up a read; a member that does not lead fails it at once."""
    if state.role is not Role.LEADER:
        state.read_states.append(ReadState(context=context, index=None))
        return
    pending = state.reads_pending
    assert not pending or pending[-1][1] <= heartbeat_number, "heartbeat numbers never fall"
    pending.append((context, heartbeat_number))
    release_reads(state)


def heartbeat_answered(state: RaftState, peer: NodeId, number: int) -> None:
    """Note that `peer` follows us, as of the heartbeat with `number`.

    A follower that may not vote may have forgotten a vote for someone else: it confirms nothing.
    """
    progress = state.progress.get(peer)
    if progress is None or not progress.counts:
        return
    state.heartbeat_answers[peer] = max(state.heartbeat_answers[peer], Index(number))
    release_reads(state)


def release_reads(state: RaftState) -> None:
    """Confirm the reads that meet both conditions."""
    if not state.reads_pending or not state.has_own_commit:
        return
    state.heartbeat_answers[state.node_id] = _NO_LIMIT
    confirmed = state.configuration.committed_index(state.heartbeat_answers)
    pending = state.reads_pending
    while pending and pending[0][1] < confirmed:
        context, _ = pending.popleft()
        state.read_states.append(ReadState(context=context, index=state.commit_index))
