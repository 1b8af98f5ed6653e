"""A new journal file begins with the live state of all groups, in as many rounds as that takes."""

import pytest

from trimaran.errors import DiskFullError
from trimaran.records.entry import HardState
from trimaran.storage import live_state
from trimaran.storage.boundary import Boundary
from trimaran.storage.journal_format import SECTOR_BYTES
from trimaran.storage.journal_scan import JournalScan
from trimaran.storage.live_state import LiveGroup
from trimaran.storage.recovery import open_store


@pytest.fixture
def loaded(kit, driver, monkeypatch):
    """Two groups with more than a round may hold, one entry alone among that."""
    monkeypatch.setattr(live_state, "ENTRY_BYTES_PER_ROUND", 700)
    monkeypatch.setattr(live_state, "GROUPS_PER_ROUND", 1)
    for group in (kit.GROUP, kit.OTHER):
        driver.add(group)
        driver.append(*entries(kit), group=group, commit=7)
    return driver


def entries(kit):
    return [kit.records(index, size=2000 if index == 9 else 100) for index in range(1, 14)]


def scanned(kit, driver):
    return list(JournalScan(driver.files, kit.IDENTITY).rounds())


def test_live_state_that_is_too_long_for_a_round_takes_several(kit, loaded):
    for _ in range(2):
        store = loaded.restart()
        for group in (kit.GROUP, kit.OTHER):
            found = store.groups[group]
            assert (found.damage, found.entries) == (None, entries(kit))
            assert (found.commit_index, found.hard_state.vote) == (7, 2)
        rounds = scanned(kit, loaded)
        assert len(rounds) > 6
        assert all(record.copy for part in rounds for record in part.records)
        assert rounds[0].head.synced == rounds[-1].head.end == loaded.journal.position
        assert loaded.journal.bytes_written == loaded.journal.position - SECTOR_BYTES
    loaded.append(kit.records(14))
    assert loaded.restart().groups[kit.GROUP].last_index == 14


def test_live_state_takes_one_round_if_it_can(kit, driver):
    driver.add()
    driver.append(*entries(kit))
    driver.restart()
    assert len(scanned(kit, driver)) == 1


def test_no_round_that_a_file_begins_with_is_taken_for_a_torn_tail(kit, loaded):
    loaded.restart()
    path = f"journal/{loaded.journal.generation:020d}.journal"
    for start in range(SECTOR_BYTES, loaded.journal.position, SECTOR_BYTES):
        files = loaded.files.copy()
        files.contents[path][start : start + SECTOR_BYTES] = bytes(SECTOR_BYTES)
        assert open_store(files, identity=kit.IDENTITY, settings=loaded.settings).damage


def test_a_disk_that_fills_up_within_the_live_state_keeps_the_old_file(kit, loaded):
    before = {path: bytes(content) for path, content in loaded.files.contents.items()}
    live = [
        LiveGroup(
            group=group,
            hard_state=HardState(term=1, vote=None),
            boundary=Boundary(group=group),
            entries=entries(kit),
        )
        for group in (kit.GROUP, kit.OTHER)
    ]
    loaded.files.room = SECTOR_BYTES * 6
    write = loaded.journal.plan_rollover(live)
    with pytest.raises(DiskFullError):
        write.run()
    write.abandon()

    assert loaded.files.contents == before
    loaded.files.room = None
    loaded.append(kit.records(14))
    assert loaded.restart().groups[kit.GROUP].last_index == 14
