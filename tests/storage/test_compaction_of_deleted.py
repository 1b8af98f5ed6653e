"""A group that is deleted while it is compacted, by the other lane, stays deleted."""

from random import Random

import pytest

from trimaran.errors import StorageError
from trimaran.sim.disk import Disk
from trimaran.sim.files import SimFiles
from trimaran.sim.trace import EventLog
from trimaran.storage.files import RealFiles
from trimaran.storage.formatting import format_store
from trimaran.storage.segment import group_directory


def deleted_before(call_number, files, kit, ledger):
    """Compact while the group is deleted before that disk call; return the number of calls."""
    format_store(files, kit.IDENTITY)
    driver = kit.Driver(files, kit.SMALL)
    ledger.filled(driver, ledger.written(3, count=12))
    work = driver.log().plan_compaction(
        ledger.wanted(driver.log()), keys_bytes_max=1 << 20, reserve_bytes=0
    )
    remove = driver.store.plan_remove_group(kit.GROUP)
    calls = 0
    gate = files.gate

    def counted(operation, path, size=0):
        nonlocal calls
        calls += 1
        if calls == call_number:
            files.gate = gate
            remove.run()
            files.gate = counted
        return gate(operation, path, size)

    files.gate = counted
    try:
        ledger.run_through(work)
    except StorageError:
        assert calls >= call_number
    files.gate = gate
    if calls < call_number:
        return calls
    work.plan_discard(is_removed=True).run()
    assert not files.exists(group_directory(kit.GROUP))
    driver.store.close()
    return calls


def test_a_group_stays_deleted_wherever_its_compaction_is_then(kit, ledger):
    call_number = 1
    while deleted_before(call_number, sim_files(), kit, ledger) >= call_number:
        call_number += 1
    assert call_number > 20


def sim_files():
    return SimFiles(Disk("d", Random(1), EventLog(lambda: 0.0)), who="node")


def test_the_directory_of_a_group_that_is_gone_is_not_made_again(
    kit, ledger, tmp_path, monkeypatch
):
    """On the real disk, and at the one call that could."""
    files = RealFiles(str(tmp_path))
    format_store(files, kit.IDENTITY)
    driver = kit.Driver(files, kit.SMALL)
    ledger.filled(driver, ledger.written(3, count=12))
    work = driver.log().plan_compaction(
        ledger.wanted(driver.log()), keys_bytes_max=1 << 20, reserve_bytes=0
    )
    remove = driver.store.plan_remove_group(kit.GROUP)
    make = RealFiles.make_directory

    def removed_meanwhile(self, path, **how):
        remove.run()
        make(self, path, **how)

    monkeypatch.setattr(RealFiles, "make_directory", removed_meanwhile)
    with pytest.raises(StorageError, match="No such file"):
        ledger.run_through(work)
    work.plan_discard(is_removed=True).run()

    assert files.list("groups") == []
    driver.store.close()
