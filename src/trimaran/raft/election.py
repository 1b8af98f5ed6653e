"""Who leads: pre-votes, votes, and who gives way (paper 5.2 and 5.4.1, thesis 4.2.3 and 9.6).

A member that knows a live leader refuses everyone (stickiness), so that a node that was cut off
disturbs nobody. The driver decides when a leader is no longer alive and calls `forget_leader`;
from then on the member is forgetful: it grants votes. Elections are fast because nobody waits for
time-outs that cannot help:

- a leader that asks for votes in a later term leads no more, however alive it is;
- a forgetful voter that must refuse a pre-vote because its own log is longer campaigns at once;
- a pre-candidate yields to another whose log is at least as long; on equal logs the lower rank
  (place in replica order) stands. Whoever stands asks the other again: it may have refused when it
  had not yet noticed that the leader is gone, and now it has.

Votes are judged against the appended log, its unsynced tail included.
Does not: measure time. When to campaign is the driver's decision.
"""

from typing import TypeAlias

from trimaran.ids import Index, NodeId, Term
from trimaran.raft import roles
from trimaran.raft.messages import PreVote, PreVoteAnswer, RequestVote, TimeoutNow, VoteAnswer
from trimaran.raft.quorum import VoteResult
from trimaran.raft.ready import Role
from trimaran.raft.roles import RaftState

ElectionMessage: TypeAlias = PreVote | PreVoteAnswer | RequestVote | VoteAnswer | TimeoutNow


def on_election_message(state: RaftState, sender: NodeId, message: ElectionMessage) -> None:
    """Take in a message from another voter."""
    match message:
        case PreVote():
            on_pre_vote(state, sender, message)
        case PreVoteAnswer():
            on_pre_vote_answer(state, sender, message)
        case RequestVote():
            on_request_vote(state, sender, message)
        case VoteAnswer():
            on_vote_answer(state, sender, message)
        case _:
            on_timeout_now(state, sender, message)


def campaign(state: RaftState) -> None:
    """Ask all voters whether they would vote for us.

    Does nothing for a leader, for a member that may not vote, and for a candidate whose own vote
    is still on its way to the disk: a slow disk must not start the election over again and again.
    """
    if state.role is Role.LEADER or not state.is_candidate_able:
        return
    if state.role is Role.CANDIDATE and not state.is_hard_state_synced:
        return
    roles.become_pre_candidate(state)
    for peer in state.peers:
        roles.send(state, peer, _pre_vote(state))
    _tally(state)


def on_pre_vote(state: RaftState, sender: NodeId, request: PreVote) -> None:
    """Answer whether we would vote for `sender`; yield or campaign ourselves if that is faster."""
    if _has_given_up(state, sender, request.term):
        roles.become_follower(state, state.term, None)
    order = _compare_logs(state, request.last_index, request.last_term)
    stands = _stands_against(state, sender, order)
    granted = (
        _may_vote_for(state, sender)
        and state.leader is None
        and order >= 0
        and _is_vote_free(state, sender, request.term)
        and not stands
    )
    if granted and state.role is Role.PRE_CANDIDATE:
        roles.become_follower(state, state.term, None)
    term = request.term if granted else state.term
    roles.send(state, sender, PreVoteAnswer(term=term, granted=granted))
    if stands:
        roles.send(state, sender, _pre_vote(state))
    elif order < 0 and state.role is Role.FOLLOWER and state.leader is None:
        campaign(state)


def on_pre_vote_answer(state: RaftState, sender: NodeId, answer: PreVoteAnswer) -> None:
    """Count an answer to our pre-vote; a refusal from a higher term moves us there."""
    if not answer.granted and answer.term > state.term:
        roles.become_follower(state, answer.term, None)
        return
    is_of_another_round = answer.granted and answer.term != state.term + 1
    if state.role is Role.PRE_CANDIDATE and not is_of_another_round:
        state.votes[sender] = answer.granted
        _tally(state)


def on_request_vote(state: RaftState, sender: NodeId, request: RequestVote) -> None:
    """Vote for `sender`, at most for one candidate in a term."""
    is_sticky = (
        state.leader is not None
        and not request.transfer
        and not _has_given_up(state, sender, request.term)
    )
    if request.term > state.term and not is_sticky:
        roles.become_follower(state, request.term, None)
    granted = (
        _may_vote_for(state, sender)
        and request.term == state.term
        and (
            state.vote == sender
            or (
                state.vote is None
                and state.leader is None
                and _compare_logs(state, request.last_index, request.last_term) >= 0
            )
        )
    )
    if granted and state.vote is None:
        _give_vote(state, sender)
    roles.send(state, sender, VoteAnswer(term=state.term, granted=granted))


def on_vote_answer(state: RaftState, sender: NodeId, answer: VoteAnswer) -> None:
    """Count a vote of this very term; answers of earlier rounds count for nothing."""
    if answer.term > state.term:
        roles.become_follower(state, answer.term, None)
    elif state.role is Role.CANDIDATE and answer.term == state.term:
        state.votes[sender] = answer.granted
        _tally(state)


def on_timeout_now(state: RaftState, sender: NodeId, message: TimeoutNow) -> None:
    """Campaign without asking first: the leader wants us to take over (thesis section 3.10)."""
    if message.term < state.term:
        return
    roles.follow(state, message.term, sender)
    if state.is_candidate_able:
        _stand(state, transfer=True)


def count_own_vote(state: RaftState) -> None:
    """Count a candidate's vote for itself, now that it is synced."""
    if state.role is Role.CANDIDATE and state.is_hard_state_synced:
        state.votes[state.node_id] = True
        _tally(state)


def _pre_vote(state: RaftState) -> PreVote:
    return PreVote(
        term=Term(state.term + 1), last_index=state.log.last_index, last_term=state.log.last_term
    )


def _stand(state: RaftState, *, transfer: bool) -> None:
    roles.become_candidate(state)
    request = RequestVote(
        term=state.term,
        last_index=state.log.last_index,
        last_term=state.log.last_term,
        transfer=transfer,
    )
    for peer in state.peers:
        roles.send(state, peer, request)


def _tally(state: RaftState) -> None:
    result = state.configuration.vote_result(state.votes)
    if result is VoteResult.LOST:
        roles.become_follower(state, state.term, None)
    elif result is VoteResult.WON:
        if state.role is Role.PRE_CANDIDATE:
            _stand(state, transfer=False)
        else:
            roles.become_leader(state)


def _give_vote(state: RaftState, candidate: NodeId) -> None:
    """Vote for `candidate`; a pre-candidate of the same term thereby gives up."""
    assert state.role in (Role.FOLLOWER, Role.PRE_CANDIDATE)
    roles.become_follower(state, state.term, None)
    state.vote = candidate
    state.durability.hard_state_changed()


def _may_vote_for(state: RaftState, candidate: NodeId) -> bool:
    return state.may_vote or state.rescuer == candidate


def _has_given_up(state: RaftState, sender: NodeId, term: Term) -> bool:
    """Whether `sender`, our leader, asks for votes in a later term: it does not lead any more.

    Its signs of life go on, so nothing else need ever tell: its last append may have overtaken
    whatever said that it stepped down.
    """
    return state.leader == sender and term > state.term


def _is_vote_free(state: RaftState, candidate: NodeId, term: Term) -> bool:
    """Whether we could still vote for `candidate` in `term`, the logs left aside."""
    return term > state.term or (term == state.term and state.vote in (None, candidate))


def _compare_logs(state: RaftState, last_index: Index, last_term: Term) -> int:
    """Return 1 if the asker's log is longer than ours in Raft's order, 0 if equal, else -1."""
    theirs = (last_term, last_index)
    ours = (state.log.last_term, state.log.last_index)
    return (theirs > ours) - (theirs < ours)


def _stands_against(state: RaftState, other: NodeId, order: int) -> bool:
    """Whether we, a pre-candidate, do not yield to `other`, whose log compares as `order`."""
    if state.role is not Role.PRE_CANDIDATE:
        return False
    rank = state.configuration.rank
    return order < 0 or (order == 0 and rank(state.node_id) < rank(other))
