"""How entries get into every log, and when they are committed (paper sections 5.3 and 5.4.2).

The leader's half: proposals, one AppendEntries stream per follower, answers, the commit rule. It
sends entries while its own disk is still writing them and counts itself only up to what is synced.
The follower's half: the consistency check, truncation on a real conflict only, and answers that
name at most what is both known to match this term's leader and synced.

Messages with entries are made when a `Ready` is collected, so that whatever was proposed or
answered since the last one travels together.
Does not: know what an entry means, or read older entries itself.
"""

from collections.abc import Sequence

from trimaran.errors import NotLeaderError, ProposalRefusedError
from trimaran.ids import Index, NodeId, Term
from trimaran.raft import roles
from trimaran.raft.messages import AppendAnswer, AppendEntries
from trimaran.raft.progress import Progress, ProgressState
from trimaran.raft.ready import OlderEntries, Role
from trimaran.raft.roles import RaftState
from trimaran.records.entry import Entry, EntryKind, LogPosition, Payload

# The leader's half.


def propose(
    state: RaftState,
    kind: EntryKind,
    payload: Payload,
    *,
    offset_count: int,
    log_time_ms: int,
    event_ids: bytes,
) -> Entry:
    """Append an entry to the leader's log; see `RaftNode.propose`."""
    if state.role is not Role.LEADER:
        raise NotLeaderError(f"node {state.node_id} in term {state.term}: leader {state.leader}")
    if state.transfer_target is not None:
        raise ProposalRefusedError(f"leadership is on its way to node {state.transfer_target}")
    log = state.log
    entry = Entry(
        Index(log.last_index + 1),
        state.term,
        kind,
        log.next_offset,
        offset_count,
        max(log_time_ms, log.last_log_time_ms),
        payload,
        event_ids,
    )
    if state.commit_index < log.last_index:
        waiting = log.bytes_between(Index(state.commit_index + 1), entry.index)
        limit = state.limits.uncommitted_bytes_max
        if waiting + entry.size > limit:
            raise ProposalRefusedError(f"{waiting} bytes are uncommitted; the limit is {limit}")
    log.append(entry)
    state.append_due = True
    return entry


def send_appends(state: RaftState) -> None:
    """Send every follower what it lacks, as far as its limits allow."""
    assert state.role is Role.LEADER
    state.append_due = False
    for peer, progress in state.progress.items():
        while not progress.is_paused(state.limits):
            if progress.next > state.log.last_index and progress.state is ProgressState.REPLICATE:
                _maybe_announce_commit(state, peer, progress)
                break
            if progress.next < state.log.first_index:
                progress.is_reading = True
                state.older.append(OlderEntries(peer=peer, start=progress.next))
                break
            entries = state.log.slice(progress.next, None, state.limits.message_bytes_max)
            prev_term = state.log.term_at(Index(progress.next - 1))
            assert prev_term is not None, "the entry before the first in memory is known"
            end = Index(progress.next + len(entries))
            message_bytes = state.log.bytes_between(progress.next, end)
            _send_append(state, peer, progress, prev_term, entries, message_bytes)


def send_older(state: RaftState, peer: NodeId, prev: LogPosition, entries: Sequence[Entry]) -> None:
    """Send what the driver has read, unless the follower is elsewhere by now."""
    assert entries, "entries that were asked for exist, or an install begins"
    assert entries[0].index == prev.index + 1
    progress = state.progress.get(peer)
    if progress is None or not progress.is_reading:
        return
    progress.is_reading = False
    state.append_due = True
    if progress.next == entries[0].index:
        message_bytes = sum(entry.size for entry in entries)
        _send_append(state, peer, progress, prev.term, entries, message_bytes)


def restart(state: RaftState, peer: NodeId) -> None:
    """Probe `peer` again: messages to it or answers from it may have been lost."""
    progress = state.progress.get(peer)
    if progress is not None:
        progress.become_probe()
        state.append_due = True


def on_append_answer(state: RaftState, sender: NodeId, answer: AppendAnswer) -> None:
    """Move the follower's progress and, with a majority, the commit index."""
    if answer.term > state.term:
        roles.become_follower(state, answer.term, None)
        return
    if state.role is not Role.LEADER or answer.term < state.term:
        return
    log = state.log
    if answer.index > log.last_index:
        return  # It cannot speak of this term's log.
    progress = state.progress[sender]
    progress.counts = answer.counts
    if not answer.counts:
        state.acked[sender] = Index(0)
    if not answer.success:
        _take_refusal(state, progress, answer)
        return
    progress.accepted(answer.index)
    if progress.next <= log.last_index:
        state.append_due = True
    if answer.counts and answer.index > state.acked[sender]:
        state.acked[sender] = answer.index
        if answer.index > state.commit_index:
            _maybe_commit(state)


def stop_counting(state: RaftState, peer: NodeId) -> None:
    """Count `peer` for no commit until it says that it may vote: what it acknowledged is lost."""
    progress = state.progress.get(peer)
    if progress is not None:
        progress.counts = False
        state.acked[peer] = Index(0)


def count_own_log(state: RaftState) -> None:
    """Count the leader itself up to what its disk holds."""
    synced = state.synced_index
    if state.role is Role.LEADER and synced > state.acked[state.node_id]:
        state.acked[state.node_id] = synced
        _maybe_commit(state)


def _maybe_commit(state: RaftState) -> None:
    """Commit what a majority has synced, if that reaches into this term (paper figure 8)."""
    index = state.configuration.committed_index(state.acked)
    if index < state.term_start:
        return
    if roles.advance_commit(state, index) and state.eager_commit:
        state.append_due = True


def _maybe_announce_commit(state: RaftState, peer: NodeId, progress: Progress) -> None:
    """Tell a follower that has everything, with an empty message, of a new commit index."""
    if state.eager_commit and progress.sent_commit < state.commit_index:
        progress.sent_commit = state.commit_index
        message = _append(state, progress, state.log.last_term, ())
        state.messages.append((peer, message))


def _send_append(
    state: RaftState,
    peer: NodeId,
    progress: Progress,
    prev_term: Term,
    entries: Sequence[Entry],
    message_bytes: int,
) -> None:
    message = _append(state, progress, prev_term, entries)
    progress.sent_commit = state.commit_index
    progress.sent(Index(message.prev_index + len(entries)), message_bytes=message_bytes)
    state.messages.append((peer, message))


def _append(
    state: RaftState, progress: Progress, prev_term: Term, entries: Sequence[Entry]
) -> AppendEntries:
    assert state.is_hard_state_synced, "a leader was elected by synced votes"
    return AppendEntries(
        state.term,
        Index(progress.next - 1),
        prev_term,
        state.commit_index,
        entries,
        progress.match,
    )


def _take_refusal(state: RaftState, progress: Progress, answer: AppendAnswer) -> None:
    """Probe where the logs could agree: fast log rejection, from both sides' terms."""
    if not answer.counts and answer.index <= progress.match:
        progress.forget_match(answer.index)
    hint = state.log.possible_match(answer.hint_index, answer.hint_term)
    if progress.maybe_retreat(answer.index, hint=hint):
        state.append_due = True


# The follower's half.


def on_append(state: RaftState, sender: NodeId, message: AppendEntries) -> None:
    """Take up entries that fit, or say where the logs could agree."""
    if message.term < state.term:
        answer = AppendAnswer(state.term, False, message.prev_index, counts=state.may_vote)
        roles.send(state, sender, answer)
        return
    roles.follow(state, message.term, sender)
    prev_index = message.prev_index
    if prev_index > state.commit_index and state.log.term_at(prev_index) != message.prev_term:
        _refuse(state, sender, message)
        return
    if not _append_missing(state, message):
        state.answer_now = True
    last = Index(prev_index + len(message.entries))
    # What is committed matches any leader that could send this (leader completeness).
    state.matched = max(state.matched, last, state.commit_index)
    if state.append_sender is None:
        # The term's first append: what is synced already is no news before its own sync.
        state.append_sender = sender
        state.answered = min(state.matched, state.synced_index)
    assert state.matched <= state.log.last_index
    roles.advance_commit(state, min(message.commit, state.matched))


def answer_append(state: RaftState) -> None:
    """Answer all appends since the last answer: what matches and is synced."""
    assert state.append_sender is not None
    assert state.is_hard_state_synced
    state.answered = min(state.matched, state.synced_index)
    state.answer_now = False
    answer = AppendAnswer(state.term, True, state.answered, counts=state.may_vote)
    state.messages.append((state.append_sender, answer))


def hear_leader(state: RaftState, sender: NodeId, term: Term, commit: Index) -> None:
    """Take up a heartbeat: `commit` is at most what we acknowledged to `sender` in `term`."""
    if term < state.term:
        return
    roles.follow(state, term, sender)
    if commit > state.log.last_index:
        state.may_vote = False  # We acknowledged more than we hold: the disk went back in time.
    roles.advance_commit(state, min(commit, state.matched))


def _append_missing(state: RaftState, message: AppendEntries) -> bool:
    """Append the entries that are not there; return whether there were any."""
    log = state.log
    entries = message.entries
    if message.prev_index == log.last_index:
        log.extend(entries)
        return len(entries) > 0
    for position in range(max(0, state.commit_index - message.prev_index), len(entries)):
        entry = entries[position]
        if log.term_at(entry.index) == entry.term:
            continue
        if entry.index <= log.last_index:
            _note_truncation(state, entry.index)
            log.truncate(entry.index)
        log.extend(entries[position:])
        return True
    return False


def _note_truncation(state: RaftState, start: Index) -> None:
    """Forget what was said of entries from `start` on, which are about to be replaced."""
    assert start > state.commit_index, "a committed entry is never replaced"
    assert start > state.matched, "what matched this term's leader is never replaced in its term"
    state.durability.truncated(start)
    if state.truncated_from is None or start < state.truncated_from:
        state.truncated_from = start


def _refuse(state: RaftState, sender: NodeId, message: AppendEntries) -> None:
    if message.prev_index <= message.match:
        state.may_vote = False  # We acknowledged this very entry: the disk went back in time.
    hint = state.log.possible_match(message.prev_index, message.prev_term)
    hint = max(hint, state.commit_index)
    hint_term = state.log.term_at(hint)
    assert hint_term is not None, "from the commit index on, terms are in memory"
    answer = AppendAnswer(
        state.term, False, message.prev_index, hint, hint_term, counts=state.may_vote
    )
    roles.send(state, sender, answer)
