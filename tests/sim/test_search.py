"""The exhaustive search: right code has no violation in any state, planted bugs are found."""

from dataclasses import replace

import pytest

from trimaran.ids import Index
from trimaran.raft import election, replication, roles
from trimaran.raft.durability import Durability
from trimaran.raft.node import RaftNode
from trimaran.records.entry import HardState
from trimaran.sim import search_bounds as kinds
from trimaran.sim.core_cluster import CoreCluster
from trimaran.sim.search import Search, main
from trimaran.sim.search_bounds import PLANS, STARTS, Bounds, parse_bounds
from trimaran.sim.search_group import KIND_MASK, NODE_BITS, NODE_MASK, WIRE, Group
from trimaran.sim.search_rules import History, judged
from trimaran.sim.search_state import Facts, SearchMember
from trimaran.sim.search_steps import KIND_BITS

STATES_MIN = 100_000
"""Distinct states that every run of this file has seen, all plans together."""
STATES_TO_FIND_MAX = 200_000
"""Every planted bug is found before that many."""
SEARCHED = {"one-election": True, "handover": True, "turns": True}
SEARCHED |= {"deep-ordered": False, "deep-turns": False, "deep": False}
"""The plans searched here, and whether to the end."""
UNFINISHED_STATES = 60_000


def test_no_interleaving_within_the_bounds_breaks_a_rule():
    results = {
        name: Search(PLANS[name]).run(10 * STATES_MIN if is_finished else UNFINISHED_STATES)
        for name, is_finished in SEARCHED.items()
    }

    assert {name: result.violation for name, result in results.items() if result.violation} == {}
    assert {name: result.is_exhausted for name, result in results.items()} == SEARCHED
    assert sum(result.states for result in results.values()) >= STATES_MIN


@pytest.mark.parametrize("start", STARTS)
def test_every_start_can_be_gone_on_from(start):
    result = Search(Bounds(start=start, restarts=1)).run(1_000)

    assert result.violation == ""
    assert result.states >= 1_000


def test_equal_bounds_give_equal_searches():
    first, again = (Search(PLANS["deep"]).run(5_000) for _ in range(2))

    assert first == again


def test_more_may_happen_where_links_keep_no_order():
    ordered, unordered = (
        Search(Bounds(start="led", campaigns=0, proposals=2, is_ordered=is_ordered)).run(STATES_MIN)
        for is_ordered in (True, False)
    )

    assert ordered.is_exhausted
    assert unordered.is_exhausted
    assert ordered.states < unordered.states


def test_no_step_changes_the_member_it_began_with():
    search = Search(PLANS["deep"])
    search.run(60_000)
    members = search.group.steps.members

    numbers = [members.number(member.snapshot(), member) for member in members.items]

    assert len(numbers) > 1_000
    assert numbers == list(range(len(numbers)))


def test_every_way_in_a_search_ends_where_it_takes_cores_that_remember_nothing():
    bounds = replace(PLANS["deep"], beats=0)
    search = Search(bounds)
    search.run(60_000)

    for number in range(2_000, 60_000, 2_000):
        cluster = CoreCluster(3)
        state = search.group.start
        for action in search.actions_to(number):
            take(cluster, search.group, action)
            state = search.group.after(state, action)
        found = [search.group.steps.members.items[member] for member in state[2:WIRE]]
        members = cluster.members.values()
        driven = [SearchMember(each.core, each.disk, each.pending) for each in members]
        assert [each.snapshot() for each in driven] == [each.snapshot() for each in found]


def take(cluster: CoreCluster, group: Group, action: int) -> None:
    """Do to a cluster of cores what a search did."""
    node = (action & NODE_MASK) + 1
    kind = action >> NODE_BITS & KIND_MASK
    argument = action >> NODE_BITS >> KIND_BITS
    match kind:
        case kinds.DELIVER | kinds.REPEAT:
            envelope = cluster.deliver(cluster.wire.index(group.steps.envelopes.items[argument]))
            cluster.wire += [envelope] if kind == kinds.REPEAT else []
        case kinds.DROP:
            cluster.wire.remove(group.steps.envelopes.items[argument])
        case kinds.SYNC:
            cluster.sync(node, 1)
        case kinds.CAMPAIGN:
            cluster.campaign(node)
        case kinds.PROPOSE:
            cluster.propose(node, b"e%d" % argument)
        case kinds.RESTART:
            cluster.crash(node, rounds_kept=argument)
            cluster.restart(node)
        case kinds.RESET:
            cluster.reset(node, argument)
        case _:
            order(cluster.core(node), kind, argument)
            cluster.collect(node)


def order(core: RaftNode, kind: int, argument: int) -> None:
    match kind:
        case kinds.FORGET:
            core.forget_leader()
        case kinds.STEP_DOWN:
            core.quorum_lost()
        case kinds.TRANSFER:
            core.transfer(argument)
        case _:
            assert kind == kinds.ABORT
            core.abort_transfer()


def a_vote_is_forgotten_in_a_crash(patch):
    started = RaftNode.__init__

    def start(self, *, hard_state, **rest):
        started(self, hard_state=HardState(term=hard_state.term, vote=None), **rest)

    patch.setattr(RaftNode, "__init__", start)


def a_vote_is_told_before_it_is_synced(patch):
    patch.setattr(
        roles, "send", lambda state, peer, message: state.messages.append((peer, message))
    )


def a_vote_goes_to_a_shorter_log(patch):
    patch.setattr(election, "_compare_logs", lambda state, last_index, last_term: 0)


def an_entry_of_an_older_term_is_committed_by_counting(patch):
    def commit(state):
        roles.advance_commit(state, state.configuration.committed_index(state.acked))

    patch.setattr(replication, "_maybe_commit", commit)


def an_append_is_taken_without_the_consistency_check(patch):
    checked = replication.on_append

    def take(state, sender, message):
        term = state.log.term_at(message.prev_index)
        checked(state, sender, message if term is None else replace(message, prev_term=term))

    patch.setattr(replication, "on_append", take)


def an_entry_counts_as_synced_when_it_is_handed_out(patch):
    hand_out = Durability.hand_out

    def count(self, *, term, last_index):
        token = hand_out(self, term=term, last_index=last_index)
        self.synced_index = self.handed_index
        return token

    patch.setattr(Durability, "hand_out", count)


def a_sync_counts_for_entries_that_replaced_what_was_synced(patch):
    def truncate(self, start):
        self.synced_index = min(self.synced_index, Index(start - 1))
        self.handed_index = min(self.handed_index, Index(start - 1))

    patch.setattr(Durability, "truncated", truncate)


def an_append_cuts_off_what_it_does_not_name(patch):
    def append(state, message):
        if message.prev_index < state.log.last_index:
            state.durability.truncated(Index(message.prev_index + 1))
            state.log.truncate(Index(message.prev_index + 1))
        state.log.extend(message.entries)
        return True

    patch.setattr(replication, "_append_missing", append)


def a_conflicting_entry_is_kept(patch):
    def append(state, message):
        missing = [entry for entry in message.entries if entry.index > state.log.last_index]
        state.log.extend(missing)
        return bool(missing)

    patch.setattr(replication, "_append_missing", append)


def what_matched_one_leader_counts_for_the_next(patch):
    enter_term = roles._enter_term

    def enter(state, term, *, vote):
        matched = state.matched
        enter_term(state, term, vote=vote)
        state.matched = matched

    patch.setattr(roles, "_enter_term", enter)


PLANTED = [
    (
        a_vote_is_forgotten_in_a_crash,
        Bounds(restarts=1, standing=(1, 2)),
        "election safety: 1 votes for 1 and 2",
    ),
    (
        a_vote_is_told_before_it_is_synced,
        Bounds(restarts=1, standing=(1, 2)),
        "an unsynced term was spoken of",
    ),
    (
        a_vote_goes_to_a_shorter_log,
        Bounds(start="behind", campaigns=1, silences=1),
        "leader completeness: 3, leader of term 2, lacks entry 2",
    ),
    (
        an_entry_of_an_older_term_is_committed_by_counting,
        Bounds(start="ahead", campaigns=1, silences=1, one_entry_messages=True),
        "a leader of term 2 committed up to one of 1",
    ),
    (
        # Without a look at the commit itself, this is the paper's figure 8.
        an_entry_of_an_older_term_is_committed_by_counting,
        Bounds(
            start="forked",
            silences=1,
            standing=(1, 2),
            is_ordered=True,
            is_synced_at_once=True,
            one_entry_messages=True,
            judges_members=False,
        ),
        "leader completeness: 2, leader of term 4, lacks entry 2 of term 1",
    ),
    (
        an_append_is_taken_without_the_consistency_check,
        Bounds(start="forked", campaigns=1),
        "entry.offset >= self.next_offset",
    ),
    (
        an_entry_counts_as_synced_when_it_is_handed_out,
        Bounds(campaigns=1, judges_members=False),
        "durability: entry 1 is on 1 disks",
    ),
    (
        a_sync_counts_for_entries_that_replaced_what_was_synced,
        Bounds(start="torn", campaigns=1, silences=1),
        "durability: entry 2 is on 1 disks",
    ),
    (
        an_append_cuts_off_what_it_does_not_name,
        Bounds(start="led", proposals=2),
        "state.matched <= state.log.last_index",
    ),
    (
        a_conflicting_entry_is_kept,
        Bounds(start="forked", campaigns=1),
        "entry.offset >= self.next_offset",
    ),
    (
        what_matched_one_leader_counts_for_the_next,
        Bounds(start="torn", campaigns=1, silences=1),
        "what matched this term's leader is never replaced in its term",
    ),
]


def name_of(part):
    return part.__name__ if callable(part) else ""


@pytest.mark.parametrize(("plant", "bounds", "rule"), PLANTED, ids=name_of)
def test_a_planted_bug_is_found(plant, bounds, rule, monkeypatch):
    with monkeypatch.context() as patch:
        plant(patch)
        result = Search(bounds).run(STATES_TO_FIND_MAX)
    right = Search(bounds).run(result.states)

    assert rule in result.violation
    assert len(result.path) == result.depth
    assert not result.is_exhausted
    assert right.violation == ""


def test_a_path_reads_as_what_happened(monkeypatch):
    a_vote_is_forgotten_in_a_crash(monkeypatch)

    result = Search(Bounds(restarts=1, standing=(1, 2))).run(STATES_TO_FIND_MAX)

    assert result.path == (
        "  1 1 campaigns   -> 1 pre-candidate term=0 [] commit=0",
        "  2 2 campaigns   -> 2 pre-candidate term=0 [] commit=0",
        "  3 1>3 pre-vote? term=1 log=0/0",
        "  4 2>3 pre-vote? term=1 log=0/0",
        "  5 3>1 pre-vote term=1 granted   -> 1 candidate term=1 [] commit=0",
        "  6 1 syncs term=1 vote=1",
        "  7 1 crashes and starts again; 0 of 0 unsynced rounds survive"
        "   -> 1 follower term=1 [] commit=0",
        "  8 3>2 pre-vote term=1 granted   -> 2 candidate term=1 [] commit=0",
        "  9 2 syncs term=1 vote=2",
        " 10 2>1 vote? term=1 log=0/0",
        " 11 1 syncs term=1 vote=2",
    )


def test_the_command_tells_what_it_met_and_fails_on_a_violation(monkeypatch, capsys):
    code = main(["--bounds", "campaigns=1,standing=1", "--states", "2000"])
    met = capsys.readouterr().out
    a_vote_goes_to_a_shorter_log(monkeypatch)
    code_of_a_bug = main(["--bounds", "start=behind,campaigns=1,silences=1"])
    met_of_a_bug = capsys.readouterr().out

    assert (code, code_of_a_bug) == (0, 1)
    assert "no rule is broken" in met
    assert "leader completeness: 3, leader of term 2, lacks entry 2 of term 1" in met_of_a_bug
    assert "3>1 pre-vote? term=2 log=1/1" in met_of_a_bug


def test_the_command_searches_all_plans_by_default(capsys):
    code = main(["--states", "3000"])

    table = capsys.readouterr().out
    assert code == 0
    assert [name for name in PLANS if name not in table] == []


def fact(node_id, log="", *, disk=None, commit=0, term=2, leads=False):
    """Return what is known of a member; a log is written as the term of each entry."""
    facts = Facts.__new__(Facts)
    facts.node_id, facts.term, facts.is_leader, facts.commit_index = node_id, term, leads, commit
    facts.log, facts.disk_log = entries(log), entries(log if disk is None else disk)
    return facts


def entries(terms):
    return tuple((int(term), 0, b"") for term in terms)


KNOWN = History(leaders=((1, 1),), votes=((2, 1, 1),), committed=entries("1"), committed_in=(1,))


@pytest.mark.parametrize(
    ("members", "votes", "rule"),
    [
        ([fact(1), fact(2, "1", term=1, leads=True), fact(3)], (), "election safety: 1 and 2 lead"),
        ([fact(1, "1"), fact(2, "1"), fact(3)], ((2, 1, 3),), "election safety: 2 votes for 1"),
        ([fact(1, "1"), fact(2, "1"), fact(3, leads=True)], (), "leader completeness: 3"),
        ([fact(1, "1"), fact(2, "1"), fact(3, "2", commit=1)], (), "state-machine safety: 3"),
        ([fact(1, "1"), fact(2, "1", disk=""), fact(3)], (), "durability: entry 1 is on 1 disks"),
        ([fact(1, "112"), fact(2, "122"), fact(3)], (), "log matching: 1 and 2 differ"),
    ],
)
def test_each_rule_objects_to_what_breaks_it(members, votes, rule):
    with pytest.raises(AssertionError, match=rule):
        judged(KNOWN, members, votes)


def test_the_rules_remember_what_is_new():
    members = [fact(1, "12", commit=2, leads=True), fact(2, "12", commit=1), fact(3)]

    history = judged(KNOWN, members, [(2, 2, 1), (1, 2, 1)])

    assert history == History(
        leaders=((1, 1), (2, 1)),
        votes=((1, 2, 1), (2, 1, 1), (2, 2, 1)),
        committed=entries("12"),
        committed_in=(1, 2),
    )


def test_bounds_can_be_written_as_text():
    bounds = parse_bounds("start=forked,campaigns=3,is_ordered=1,standing=13,eager_commit=1")

    assert bounds == Bounds(
        start="forked", campaigns=3, is_ordered=True, standing=(1, 3), eager_commit=True
    )


@pytest.mark.parametrize("text", ["campaigns", "campaigns=8", "coffee=1", "start=nowhere", ""])
def test_what_is_no_bound_is_refused(text):
    with pytest.raises(ValueError, match=r"bound|most|literal"):
        parse_bounds(text)
