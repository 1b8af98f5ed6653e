"""Crash tests of the journal: cut at every byte, every byte changed, unsynced sectors lost."""

from itertools import product

import pytest

from trimaran.ids import Index, NodeId, Offset, Term
from trimaran.records.entry import HardState, LogPosition
from trimaran.storage.boundary import Boundary
from trimaran.storage.damage import Damage, DamageKind
from trimaran.storage.journal import JournalSettings, LiveGroup
from trimaran.storage.recovery import StoreSettings, open_store
from trimaran.storage.verify import verify_store

TINY = StoreSettings(
    journal=JournalSettings(file_bytes=16 << 10, round_bytes=1 << 10), segment_bytes=1000
)
SECTOR = 512
WRITTEN = {}
"""All entries that the node ever wrote, by group."""


@pytest.fixture
def node(kit, files):
    """Two groups with entries, one of them replaced; the last round has several sectors."""
    driver = kit.Driver(files, TINY)
    WRITTEN[kit.GROUP] = [
        *(kit.records(index) for index in (1, 2, 3)),
        kit.records(3, term=2, size=700),
        kit.records(4, term=2, size=300),
        kit.records(5, term=2, size=1100, event_ids=b"e" * 32),
    ]
    WRITTEN[kit.OTHER] = [kit.control(1), kit.records(2, offset=0, size=200)]
    driver.add()
    driver.add(kit.OTHER)
    driver.append(kit.records(1), kit.records(2), kit.records(3), commit=1)
    driver.append(kit.control(1), kit.records(2, offset=0, size=200), group=kit.OTHER)
    driver.append(kit.records(3, term=2, size=700), previous_term=1, commit=2)
    driver.round(hard_states=[(kit.OTHER, HardState(term=Term(4), vote=NodeId(3)))])
    driver.append(
        kit.records(4, term=2, size=300),
        kit.records(5, term=2, size=1100, event_ids=b"e" * 32),
        previous_term=2,
        commit=3,
    )
    return driver


def journal_path(driver):
    return f"journal/{driver.journal.generation:020d}.journal"


def reopened(kit, files):
    return open_store(files, identity=kit.IDENTITY, settings=TINY)


def state(group):
    return group.hard_state, group.boundary, group.entries, group.commit_known


def states(store):
    return {group: state(recovered) for group, recovered in store.groups.items()}


def damages(store):
    return {
        group: recovered.damage.kind
        for group, recovered in store.groups.items()
        if recovered.damage is not None
    }


def expect_nothing_lost_silently(store, whole):
    """Each group is either as it was or reported; and nothing is there that was never written."""
    assert store.groups.keys() == whole.keys()
    for group, recovered in store.groups.items():
        if recovered.damage is None:
            assert state(recovered) == whole[group]
        assert all(entry in WRITTEN[group] for entry in recovered.entries)
        assert [entry.index for entry in recovered.entries] == list(
            range(1, len(recovered.entries) + 1)
        )


def test_what_was_written_is_recovered(kit, node):
    found = node.restart()
    assert found.damage == []
    assert found.notes == []
    assert state(found.groups[kit.GROUP]) == (
        HardState(term=Term(1), vote=NodeId(2)),
        Boundary(group=kit.GROUP, voters=(NodeId(1), NodeId(2), NodeId(3))),
        [
            kit.records(1),
            kit.records(2),
            kit.records(3, term=2, size=700),
            kit.records(4, term=2, size=300),
            kit.records(5, term=2, size=1100, event_ids=b"e" * 32),
        ],
        3,
    )
    assert found.groups[kit.OTHER].hard_state == HardState(term=Term(4), vote=NodeId(3))
    assert len(found.groups[kit.OTHER].entries) == 2


def test_a_journal_cut_at_any_byte_is_damaged(kit, node):
    whole = states(reopened(kit, node.files.copy()))
    path = journal_path(node)
    used = node.journal.position
    for size in [*range(used + 2), len(node.files.contents[path]) - 1]:
        files = node.files.copy()
        del files.contents[path][size:]
        store = reopened(kit, files)

        assert set(damages(store)) == set(whole), size
        expect_nothing_lost_silently(store, whole)
        assert files.exists(path + ".damaged")
        again = reopened(kit, files)
        assert set(damages(again)) == set(whole), "a restart still knows"


def test_no_changed_byte_of_synced_rounds_goes_unnoticed(kit, node):
    whole = states(reopened(kit, node.files.copy()))
    path = journal_path(node)
    used = node.journal.position
    harmless = 0
    for position in range(used):
        files = node.files.copy()
        files.contents[path][position] ^= 1 << position % 8
        store = reopened(kit, files)

        expect_nothing_lost_silently(store, whole)
        if not store.damage:
            harmless += 1
            assert node.files.contents[path][position] == 0, "only padding is not covered"
    assert harmless < used / 2


def test_the_sync_of_a_later_round_makes_any_lost_sector_corruption(kit, node):
    whole = states(reopened(kit, node.files.copy()))
    path = journal_path(node)
    start = node.journal.position
    node.round()
    for sector in range(SECTOR, start, SECTOR):
        files = node.files.copy()
        files.contents[path][sector : sector + SECTOR] = bytes(SECTOR)
        store = reopened(kit, files)

        assert store.damage, sector
        assert set(damages(store).values()) <= {DamageKind.CORRUPT}
        expect_nothing_lost_silently(store, whole)


def test_an_unsynced_round_survives_whole_or_not_at_all(kit, node):
    before = states(reopened(kit, node.files.copy()))
    path = journal_path(node)
    start = node.journal.position
    node.append(kit.records(6, term=2, size=400), kit.records(7, term=2, size=900), previous_term=2)
    end = node.journal.position
    after = states(reopened(kit, node.files.copy()))
    sectors = range(start, end, SECTOR)
    assert len(sectors) >= 3
    for kept in product([False, True], repeat=len(sectors)):
        files = node.files.copy()
        for keep, sector in zip(kept, sectors, strict=True):
            if not keep:
                files.contents[path][sector : sector + SECTOR] = bytes(SECTOR)
        store = reopened(kit, files)

        assert damages(store) == {}
        assert states(store) == (after if all(kept) else before)
        assert bool(store.notes) == (any(kept) and not all(kept))
        assert not files.exists(path)
        assert not files.exists(path + ".damaged")


def test_a_sector_torn_inside_is_uncertain_at_worst(kit, node):
    before = states(reopened(kit, node.files.copy()))
    path = journal_path(node)
    start = node.journal.position
    node.append(kit.records(6, term=2, size=900), previous_term=2)
    end = node.journal.position
    after = states(reopened(kit, node.files.copy()))
    for position in range(start + 1, end):
        files = node.files.copy()
        sector_end = -(-position // SECTOR) * SECTOR
        files.contents[path][position:sector_end] = bytes(sector_end - position)
        store = reopened(kit, files)
        if damages(store):
            assert set(damages(store).values()) == {DamageKind.UNCERTAIN}
        else:
            assert states(store) in (before, after)


def test_a_torn_round_whose_payload_has_zero_sectors_of_its_own_is_uncertain(kit, node):
    path = journal_path(node)
    start = node.journal.position
    node.append(kit.control(6, term=2, offset=5, payload=b"x" * 600 + bytes(2000)), previous_term=2)
    files = node.files.copy()
    files.contents[path][start + SECTOR : start + 2 * SECTOR] = bytes(SECTOR)
    store = reopened(kit, files)

    assert damages(store) == {kit.GROUP: DamageKind.UNCERTAIN}
    assert len(store.groups[kit.GROUP].entries) == 5


def test_a_damaged_entry_damages_its_own_group_only(kit, node):
    path = journal_path(node)
    content = node.files.contents[path]
    content[content.index(bytes(kit.records(2, size=200).payload[61:])) + 5] ^= 1
    store = reopened(kit, node.files)

    assert damages(store) == {kit.OTHER: DamageKind.CORRUPT}
    assert "entry 2 fails its check" in store.groups[kit.OTHER].damage.text
    assert [entry.index for entry in store.groups[kit.OTHER].entries] == [1]
    assert any(path in line for line in store.damage)


def test_a_damaged_entry_that_was_replaced_damages_nobody(kit, node):
    content = node.files.contents[journal_path(node)]
    replaced = bytes(kit.records(3).payload[61:])
    content[content.index(replaced) + 5] ^= 1
    store = reopened(kit, node.files)
    assert damages(store) == {}
    assert len(store.damage) == 1, "the place is reported all the same"


def test_a_damaged_entry_below_the_boundary_damages_nobody(kit, node):
    position = node.flush(kit.records(1), kit.records(2))
    node.round(boundaries=[Boundary(group=kit.GROUP, position=position)])
    content = node.files.contents[journal_path(node)]
    content[content.index(bytes(kit.records(2).payload[61:])) + 5] ^= 1
    store = reopened(kit, node.files)

    assert damages(store) == {}
    assert [entry.index for entry in store.groups[kit.GROUP].entries] == [3, 4, 5]


def live(store, group, damage=None):
    found = store.groups[group]
    return LiveGroup(
        group=group,
        hard_state=found.hard_state,
        boundary=found.boundary,
        entries=found.entries,
        damage=damage,
    )


def test_a_copy_stands_in_for_a_damaged_original(kit, node):
    recovered = reopened(kit, node.files.copy())
    old = node.files.contents[journal_path(node)]
    node.rollover(live(recovered, kit.GROUP), live(recovered, kit.OTHER))
    old[old.index(bytes(kit.records(2).payload[61:])) + 5] ^= 1
    store = reopened(kit, node.files)

    assert damages(store) == {}
    assert states(store) == states(recovered)


def test_a_damaged_copy_behind_whole_originals_damages_nobody(kit, node):
    recovered = reopened(kit, node.files.copy())
    node.rollover(live(recovered, kit.GROUP), live(recovered, kit.OTHER))
    new = node.files.contents[journal_path(node)]
    new[new.index(bytes(kit.records(2).payload[61:])) + 5] ^= 1
    store = reopened(kit, node.files)

    assert damages(store) == {}
    assert states(store)[kit.GROUP][2] == states(recovered)[kit.GROUP][2]


def test_a_damaged_copy_without_original_damages_its_group(kit, node):
    node.restart()
    content = node.files.contents[journal_path(node)]
    content[content.index(bytes(kit.records(2).payload[61:])) + 5] ^= 1
    store = reopened(kit, node.files)

    assert damages(store) == {kit.GROUP: DamageKind.CORRUPT}
    assert [entry.index for entry in store.groups[kit.GROUP].entries] == [1]


def test_a_missing_file_is_damage_for_everyone(kit, node):
    recovered = reopened(kit, node.files.copy())
    first = journal_path(node)
    node.rollover(live(recovered, kit.GROUP), live(recovered, kit.OTHER))
    node.round()
    node.journal._file_list[0].needs[kit.GROUP] = Index(99)
    node.journal.release().run()
    second = journal_path(node)
    assert damages(reopened(kit, node.files.copy())) == {}
    for path in (first, second):
        files = node.files.copy()
        files.remove(path)
        store = reopened(kit, files)
        assert set(damages(store)) == {kit.GROUP, kit.OTHER}
        assert any("missing" in line for line in store.damage)


def test_no_journal_at_all_is_damage_for_every_listed_group(kit, node):
    node.files.remove("journal")
    node.files.make_directory("journal")
    store = reopened(kit, node.files)
    assert set(damages(store)) == {kit.GROUP, kit.OTHER}
    assert set(damages(reopened(kit, node.files))) == {kit.GROUP, kit.OTHER}


@pytest.mark.parametrize("change", ["flip", "remove"])
def test_a_damaged_range_is_damage_for_everyone(kit, node, change):
    if change == "flip":
        node.files.contents["journal/range"][13] ^= 1
    else:
        node.files.remove("journal/range")
    assert set(damages(reopened(kit, node.files))) == {kit.GROUP, kit.OTHER}


def test_rounds_lost_at_the_end_of_an_older_file_are_damage(kit, node):
    recovered = reopened(kit, node.files.copy())
    first = journal_path(node)
    end = node.journal.position
    node.rollover(live(recovered, kit.GROUP), live(recovered, kit.OTHER))
    for lost, damaged in ((SECTOR, ()), (5 * SECTOR, (kit.GROUP, kit.OTHER))):
        files = node.files.copy()
        files.contents[first][end - lost : end] = bytes(lost)
        store = reopened(kit, files)
        assert store.damage
        assert damages(store) == dict.fromkeys(damaged, DamageKind.CORRUPT)
        assert states(store)[kit.GROUP][2] == states(recovered)[kit.GROUP][2]


def test_the_torn_tail_of_an_older_file_stays_cut(kit, node):
    """A start that was interrupted after the new file got its name, before the old one went."""
    path = journal_path(node)
    start = node.journal.position
    node.append(kit.records(6, term=2, size=900), previous_term=2)
    node.files.contents[path][start + SECTOR : start + 2 * SECTOR] = bytes(SECTOR)
    torn = bytearray(node.files.contents[path])
    range_before = bytearray(node.files.contents["journal/range"])
    store = reopened(kit, node.files)
    expected = states(store)
    node.files.contents[path] = torn
    node.files.contents["journal/range"] = range_before
    again = reopened(kit, node.files)

    assert again.damage == []
    assert states(again) == expected


def test_a_first_round_that_fails_its_check_is_corruption(kit, node):
    node.restart()
    path = journal_path(node)
    for position, text in ((SECTOR, "fails its check"), (SECTOR + 100, "fails its check")):
        files = node.files.copy()
        files.contents[path][position] ^= 1
        store = reopened(kit, files)
        assert set(damages(store).values()) == {DamageKind.CORRUPT}
        assert any(text in line for line in store.damage)
    files = node.files.copy()
    end = node.journal.position
    files.contents[path][SECTOR:end] = bytes(end - SECTOR)
    assert set(damages(reopened(kit, files)).values()) == {DamageKind.CORRUPT}


def test_a_journal_of_another_disk_or_file_is_damage(kit, node):
    path = journal_path(node)
    for change in (40, 12, 20):
        files = node.files.copy()
        files.contents[path][change] ^= 1
        store = reopened(kit, files)
        assert set(damages(store)) == {kit.GROUP, kit.OTHER}


def test_a_file_full_to_its_last_byte_ends_there(kit, files):
    driver = kit.Driver(files, TINY)
    driver.add()
    index = 1
    while driver.journal.position < 16 << 10:
        driver.append(kit.records(index))
        index += 1
    assert driver.journal.position == 16 << 10
    store = driver.restart()
    assert store.damage == []
    assert len(store.groups[kit.GROUP].entries) == index - 1


def test_damage_stays_until_a_record_clears_it(kit, node):
    reason = Damage(kind=DamageKind.SET_BACK, text="the leader knows more")
    node.round(damaged=[(kit.GROUP, reason)])
    for _ in range(2):
        assert node.restart().groups[kit.GROUP].damage == reason
    assert node.store.damage == [f"{'746f7069632d302d746f7069632d3030'}-0: the leader knows more"]
    node.rollover(live(node.store, kit.GROUP, damage=reason), live(node.store, kit.OTHER))
    node.journal.release().run()
    assert node.restart().groups[kit.GROUP].damage == reason

    node.round(repaired=[kit.GROUP])
    assert node.restart().groups[kit.GROUP].damage is None
    assert node.store.damage == []


def test_a_hole_in_the_log_is_a_gap(kit, node):
    node.append(kit.records(8, term=2), previous_term=2)
    store = node.restart()
    assert damages(store) == {kit.GROUP: DamageKind.GAP}
    assert [entry.index for entry in store.groups[kit.GROUP].entries] == [1, 2, 3, 4, 5]


def test_an_entry_that_names_another_predecessor_is_a_gap(kit, node):
    node.append(kit.records(6, term=3), previous_term=1)
    assert damages(node.restart()) == {kit.GROUP: DamageKind.GAP}


def test_an_entry_below_the_boundary_is_damage(kit, node):
    position = node.flush(kit.records(1), kit.records(2))
    node.round(boundaries=[Boundary(group=kit.GROUP, position=position)])
    node.append(kit.records(2, term=5), previous_term=1)
    assert damages(node.restart()) == {kit.GROUP: DamageKind.BOUNDARY}


def test_a_boundary_that_contradicts_the_entries_is_damage(kit, node):
    node.flush(kit.records(1), kit.records(2))
    position = LogPosition(index=Index(2), term=Term(2), next_offset=Offset(2), log_time_ms=1002)
    node.round(boundaries=[Boundary(group=kit.GROUP, position=position)])
    assert damages(node.restart()) == {kit.GROUP: DamageKind.BOUNDARY}


def test_a_copy_never_truncates(kit, node):
    recovered = reopened(kit, node.files.copy())
    stale = live(recovered, kit.GROUP)
    stale.entries = [kit.records(3, term=2, size=700)]
    other = live(recovered, kit.OTHER)
    other.entries = ()
    node.rollover(stale, other)
    store = node.restart()

    assert states(store)[kit.GROUP][2] == recovered.groups[kit.GROUP].entries
    assert store.damage == []


def test_a_copy_that_cannot_be_placed_is_a_gap(kit, files):
    driver = kit.Driver(files, TINY)
    boundary = driver.add()
    driver.rollover(
        LiveGroup(
            group=kit.GROUP,
            hard_state=HardState(term=Term(1), vote=None),
            boundary=boundary,
            entries=[kit.records(5), kit.records(6)],
        )
    )
    assert damages(driver.restart()) == {kit.GROUP: DamageKind.GAP}


def test_an_older_boundary_copied_late_changes_nothing(kit, node):
    recovered = reopened(kit, node.files.copy())
    position = node.flush(kit.records(1), kit.records(2))
    boundary = Boundary(group=kit.GROUP, position=position)
    node.round(boundaries=[boundary])
    node.rollover(live(recovered, kit.GROUP), live(recovered, kit.OTHER))
    assert node.restart().groups[kit.GROUP].boundary == boundary


def test_verify_names_every_changed_byte_that_recovery_notices(kit, node):
    path = journal_path(node)
    assert verify_store(node.files) == []
    for position in range(0, node.journal.position, 7):
        files = node.files.copy()
        files.contents[path][position] ^= 1 << position % 8
        written = len(files.contents)
        findings = verify_store(files)
        store = reopened(kit, files.copy())

        assert bool(findings) == bool(store.damage)
        assert len(files.contents) == written, "verify changes nothing"


def test_a_payload_that_looks_like_rounds_is_none(kit, node):
    path = journal_path(node)
    start = node.journal.position
    fake = b"".join(b"TRND" + bytes((number,)) * 508 for number in range(1, 6))
    node.append(
        kit.control(6, term=2, offset=5, payload=b"x" * 360 + fake + b"yTRNDz"), previous_term=2
    )
    assert bytes(node.files.contents[path][start + 512 : start + 516]) == b"TRND"
    node.files.contents[path][start : start + SECTOR] = bytes(SECTOR)
    store = reopened(kit, node.files)
    assert damages(store) == {}
    assert len(store.groups[kit.GROUP].entries) == 5
    assert any("torn" in note for note in store.notes)


def behind_a_gap(kit, node, *entries, boundary):
    """Roll over with the log's end copied, then bound the log, then let the old file go."""
    recovered = reopened(kit, node.files.copy())
    tail = live(recovered, kit.GROUP)
    tail.entries = tail.entries[-2:]
    node.rollover(tail, live(recovered, kit.OTHER))
    for entry in entries:
        node.append(entry, previous_term=2)
    position = node.flush(*recovered.groups[kit.GROUP].entries[:boundary])
    node.round(boundaries=[Boundary(group=kit.GROUP, position=position)])
    node.journal._file_list[0].needs.clear()
    node.journal.release().run()
    return node.restart()


@pytest.mark.parametrize("boundary", [3, 4, 5])
def test_entries_copied_from_the_middle_wait_for_their_boundary(kit, node, boundary):
    store = behind_a_gap(kit, node, kit.records(6, term=2), boundary=boundary)
    assert store.damage == []
    assert [entry.index for entry in store.groups[kit.GROUP].entries] == list(
        range(boundary + 1, 7)
    )


def test_entries_copied_from_the_middle_are_a_gap_without_their_boundary(kit, node):
    store = behind_a_gap(kit, node, kit.records(6, term=2), boundary=2)
    assert damages(store) == {kit.GROUP: DamageKind.GAP}
    assert store.groups[kit.GROUP].entries == []


def test_entries_behind_a_gap_are_replaced_as_any_others(kit, node):
    store = behind_a_gap(kit, node, kit.records(6, term=2), kit.records(5, term=3), boundary=4)
    assert store.damage == []
    assert store.groups[kit.GROUP].entries == [kit.records(5, term=3)]


def test_two_gaps_are_damage_until_both_are_closed(kit, node):
    node.append(kit.records(8, term=2), previous_term=2)
    node.append(kit.records(11, term=2), previous_term=2)
    assert damages(reopened(kit, node.files.copy())) == {kit.GROUP: DamageKind.GAP}
    node.append(kit.records(6, term=2), kit.records(7, term=2), previous_term=2)
    assert damages(reopened(kit, node.files.copy())) == {}, "the log was cut at 6 by that append"


def test_a_copy_below_the_boundary_says_nothing(kit, node):
    recovered = reopened(kit, node.files.copy())
    position = node.flush(kit.records(1), kit.records(2))
    node.round(boundaries=[Boundary(group=kit.GROUP, position=position)])
    node.rollover(live(recovered, kit.GROUP), live(recovered, kit.OTHER))
    store = node.restart()
    assert store.damage == []
    assert [entry.index for entry in store.groups[kit.GROUP].entries] == [3, 4, 5]


def test_a_lost_entry_behind_a_gap_is_filled_in_by_a_copy(kit, node):
    node.append(kit.records(8, term=2), previous_term=2)
    content = node.files.contents[journal_path(node)]
    content[content.index(kit.records(8, term=2).payload[61:]) + 2] ^= 1
    node.round()
    recovered = reopened(kit, node.files.copy())
    tail = live(recovered, kit.GROUP)
    tail.entries = [kit.records(8, term=2)]
    node.rollover(tail, live(recovered, kit.OTHER))
    assert damages(node.restart()) == {kit.GROUP: DamageKind.GAP}


def test_a_lower_term_never_replaces_a_higher_one(kit, node):
    node.round(hard_states=[(kit.OTHER, HardState(term=Term(2), vote=None))])
    assert node.restart().groups[kit.OTHER].hard_state == HardState(term=Term(4), vote=NodeId(3))
    node.round(commits=[(b"nobody-nobody-nobody", Index(3))])
    assert node.restart().damage == []
