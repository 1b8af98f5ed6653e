"""Starting a follower over from a boundary, and all the ways in which that can be overtaken."""

from trimaran.raft.messages import AppendAnswer, AppendEntries, InstallAnswer, InstallBoundary
from trimaran.raft.progress import ProgressState
from trimaran.records.entry import LogPosition

BOUNDARY = LogPosition(index=3, term=1, next_offset=3, log_time_ms=9)


def leader_that_must_install(lone):
    """A leader of term 2 whose log starts after 3 and whose follower 2 has nothing."""
    one = lone(terms=[1, 1, 1, 1], commit=4)
    one.node.log.release(3)
    one.lead()
    one.hear(2, AppendAnswer(2, False, 4, 0, 0))
    assert one.readies[-1].older[0].start == 1
    return one


def test_a_leader_sends_the_boundary_and_nothing_else(lone) -> None:
    one = leader_that_must_install(lone)

    one.node.start_install(2, BOUNDARY)

    assert one.drive() == [(2, InstallBoundary(term=2, boundary=BOUNDARY))]
    assert one.node.progress[2].state is ProgressState.INSTALL


def test_entries_follow_once_the_boundary_is_synced(lone) -> None:
    one = leader_that_must_install(lone)
    one.node.start_install(2, BOUNDARY)
    one.drive()

    said = one.hear(2, InstallAnswer(term=2, success=True, index=3))

    assert [(peer, m.prev_index, len(m.entries)) for peer, m in said] == [(2, 3, 2)]
    assert one.node.follower_match(2) == 3
    assert one.node.commit_index == 4


def test_an_install_that_failed_begins_again(lone) -> None:
    one = leader_that_must_install(lone)
    one.node.start_install(2, BOUNDARY)
    one.drive()

    one.hear(2, InstallAnswer(term=2, success=False, index=0))

    assert one.readies[-1].older[0].start == 1


def test_an_install_is_dropped_when_the_follower_has_come_further(lone) -> None:
    one = lone(terms=[1, 1, 1, 1], commit=4)
    one.lead()
    one.acknowledge(2, 4)
    one.node.progress[2].is_reading = True

    one.node.start_install(2, BOUNDARY)

    assert not one.node.progress[2].is_reading
    assert one.node.progress[2].state is ProgressState.REPLICATE


def test_answers_to_an_install_that_is_over_change_nothing(lone) -> None:
    one = leader_that_must_install(lone)
    one.acknowledge(2, 4)

    one.node.install_done(2, 3)
    one.node.install_failed(2)

    assert one.node.progress[2].state is ProgressState.REPLICATE
    assert one.node.follower_match(2) == 4


def test_a_member_that_does_not_lead_starts_no_install(lone) -> None:
    one = lone(term=2)

    one.node.start_install(2, BOUNDARY)
    one.node.install_done(2, 3)

    assert not one.node.has_ready


def test_a_follower_asks_its_driver_for_the_boundarys_files(lone) -> None:
    one = lone(term=2)

    said = one.hear(3, InstallBoundary(term=2, boundary=BOUNDARY))

    assert said == []
    assert [ready.install for ready in one.readies if ready.install] == [BOUNDARY]
    assert (one.node.leader, one.node.commit_index) == (3, 0)


def test_a_follower_starts_over_after_the_boundary(lone, entries) -> None:
    one = lone(terms=[1], term=2)
    one.hear(3, InstallBoundary(term=2, boundary=BOUNDARY))

    one.node.boundary_installed(BOUNDARY)
    answer = one.drive()
    appended = one.append(3, 2, (3, 1), [2], commit=4)

    assert answer == [(3, InstallAnswer(term=2, success=True, index=3))]
    assert appended == [(3, AppendAnswer(2, True, 4))]
    assert (one.node.log.before, one.log_terms) == (BOUNDARY, [2])
    committed = [(r.committed_from, r.committed_to) for r in one.readies if r.committed_to]
    assert committed == [(4, 4)]


def test_a_tail_that_fits_the_boundary_stays(lone) -> None:
    one = lone(terms=[1, 1, 1, 2, 2])
    one.hear(3, InstallBoundary(term=2, boundary=BOUNDARY))

    one.node.boundary_installed(BOUNDARY)
    one.drive()

    assert one.log_terms == [2, 2]
    assert (one.node.commit_index, one.node.synced_index) == (3, 5)


def test_a_log_that_conflicts_with_the_boundary_is_dropped(lone) -> None:
    one = lone(terms=[1, 2, 2, 2, 2], commit=1, term=3)
    one.hear(3, InstallBoundary(term=3, boundary=BOUNDARY))

    one.node.boundary_installed(BOUNDARY)
    one.drive()

    assert one.log_terms == []
    assert (one.node.log.last_index, one.node.commit_index, one.node.synced_index) == (3, 3, 3)


def test_a_tail_that_matches_but_is_too_short_gives_way_to_the_boundary(lone) -> None:
    one = lone(terms=[1, 1])
    one.hear(3, AppendEntries(1, 2, 1, 0))
    one.hear(3, InstallBoundary(term=1, boundary=BOUNDARY))

    one.node.boundary_installed(BOUNDARY)
    one.drive()

    assert (one.node.log.last_index, one.node.synced_index) == (3, 3)
    assert one.readies[-1].truncated_from is None


def test_syncs_of_entries_from_before_the_boundary_do_not_count_after_it(lone, entries) -> None:
    one = lone(terms=[1], term=2)
    one.node.step(2, AppendEntries(2, 1, 1, 0, entries([2] * 6, first=2)))
    under_way = one.take()

    one.node.step(3, InstallBoundary(term=3, boundary=LogPosition(index=4, term=3)))
    one.take()
    one.node.boundary_installed(LogPosition(index=4, term=3))
    one.node.synced(under_way.token)

    assert one.node.synced_index == 4


def test_a_boundary_that_the_log_has_passed_is_answered_at_once(lone) -> None:
    one = lone(terms=[1, 1, 1, 1], commit=4)

    said = one.hear(3, InstallBoundary(term=2, boundary=BOUNDARY))

    assert said == [(3, InstallAnswer(term=2, success=True, index=4))]
    assert one.log_terms == [1, 1, 1, 1]


def test_files_that_arrive_after_the_log_has_passed_them_change_nothing(lone) -> None:
    one = lone(terms=[1, 1, 1, 1], commit=4)

    one.node.boundary_installed(BOUNDARY)

    assert one.log_terms == [1, 1, 1, 1]
    assert not one.node.has_ready


def test_a_member_that_leads_by_now_answers_nobody(lone) -> None:
    one = lone(terms=[1, 1, 1, 1])
    one.lead()

    one.node.boundary_installed(BOUNDARY)

    assert one.node.commit_index == 3
    assert one.drive() == []
