"""A follower that lacks what its leader no longer has entries for: start over from a boundary.

The counterpart of the paper's InstallSnapshot (section 7). Here the files travel by the driver's
own means; the core only says who needs a boundary, sends nothing else meanwhile, and goes on from
the boundary once the follower has synced it. An install is never refused because the follower's
log says otherwise: what conflicts is dropped, what fits stays.
Does not: move or know any file.
"""

from trimaran.ids import Index, NodeId
from trimaran.raft import roles
from trimaran.raft.messages import InstallAnswer, InstallBoundary
from trimaran.raft.progress import ProgressState
from trimaran.raft.roles import RaftState
from trimaran.records.entry import LogPosition

# The leader's half.


def start_install(state: RaftState, peer: NodeId, boundary: LogPosition) -> None:
    """Tell `peer` to start over from `boundary`, unless it has come further by now."""
    progress = state.progress.get(peer)
    if progress is None:
        return
    if boundary.index <= progress.match:
        progress.is_reading = False
        state.append_due = True
        return
    progress.become_install(boundary.index)
    roles.send(state, peer, InstallBoundary(term=state.term, boundary=boundary))


def finish_install(state: RaftState, peer: NodeId, index: Index) -> None:
    """`peer` holds the boundary at `index`, synced: go on from there.

    It counts for commit from its next append answer on, which says whether it may.
    """
    progress = state.progress.get(peer)
    if progress is None or progress.state is not ProgressState.INSTALL:
        return
    progress.match = max(progress.match, index)
    progress.become_probe()
    state.append_due = True


def abandon_install(state: RaftState, peer: NodeId) -> None:
    """The install did not succeed: probe again, which asks for older entries again."""
    progress = state.progress.get(peer)
    if progress is not None and progress.state is ProgressState.INSTALL:
        progress.become_probe()
        state.append_due = True


def on_install_answer(state: RaftState, sender: NodeId, answer: InstallAnswer) -> None:
    """Take up what the follower says of its install."""
    if answer.term > state.term:
        roles.become_follower(state, answer.term, None)
    elif answer.term == state.term and answer.success:
        finish_install(state, sender, answer.index)
    elif answer.term == state.term:
        abandon_install(state, sender)


# The follower's half.


def on_install(state: RaftState, sender: NodeId, message: InstallBoundary) -> None:
    """Ask the driver for the files of a boundary, unless the log has grown past it."""
    if message.term < state.term:
        roles.send(state, sender, InstallAnswer(term=state.term, success=False, index=Index(0)))
        return
    roles.follow(state, message.term, sender)
    if message.boundary.index > state.commit_index:
        state.install = message.boundary
    else:
        _answer(state, sender)


def take_boundary(state: RaftState, boundary: LogPosition) -> None:
    """Start over after `boundary`, whose files are synced, keeping a tail that fits it."""
    log = state.log
    if boundary.index > state.commit_index:
        if log.term_at(boundary.index) == boundary.term:
            log.release(boundary.index)
        else:
            assert not state.is_leader, "a leader's log holds everything committed"
            state.durability.truncated(Index(state.commit_index + 1))
            log.reset(boundary)
        state.durability.installed(boundary.index)
        state.commit_index = boundary.index
        state.committed_handed = boundary.index
        state.matched = max(state.matched, boundary.index)
    if state.leader is not None and not state.is_leader:
        _answer(state, state.leader)


def _answer(state: RaftState, leader: NodeId) -> None:
    index = min(state.commit_index, state.synced_index)
    roles.send(state, leader, InstallAnswer(term=state.term, success=True, index=index))
