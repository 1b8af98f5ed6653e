"""Handing leadership over on purpose (thesis section 3.10).

The leader stops taking proposals, brings the target's log up to its own end, and tells it to
campaign at once. If nothing comes of it, the driver aborts and proposals are taken again.
Does not: choose a target, or measure how long it takes.
"""

from trimaran.errors import NotLeaderError
from trimaran.ids import NodeId
from trimaran.raft import roles
from trimaran.raft.messages import TimeoutNow
from trimaran.raft.ready import Role
from trimaran.raft.roles import RaftState


def start_transfer(state: RaftState, target: NodeId) -> None:
    """Refuse proposals from now on and hand over to `target` once it has everything."""
    if state.role is not Role.LEADER:
        raise NotLeaderError(f"node {state.node_id} in term {state.term}: leader {state.leader}")
    assert target in state.progress, "the target is another voter"
    state.transfer_target = target
    maybe_hand_over(state, target)


def maybe_hand_over(state: RaftState, peer: NodeId) -> bool:
    """Tell `peer` to campaign if it is the target and has all entries synced."""
    if peer != state.transfer_target:
        return False
    progress = state.progress[peer]
    if not progress.counts or progress.match < state.log.last_index:
        return False
    roles.send(state, peer, TimeoutNow(term=state.term))
    return True


def abort_transfer(state: RaftState) -> None:
    """Take proposals again."""
    state.transfer_target = None
