"""What a killed process made of directories is not durable: the next one must not rely on it.

The system's page cache lives on, so the next process sees it; a power cut later takes it away.
"""

from random import Random

import pytest

from trimaran.ids import METADATA_GROUP, Term
from trimaran.records.entry import HardState
from trimaran.sim.disk import Disk
from trimaran.sim.files import ProcessEnded, SimFiles
from trimaran.sim.trace import EventLog
from trimaran.storage.boundary import Boundary
from trimaran.storage.formatting import format_store
from trimaran.storage.identity import IDENTITY_PATH
from trimaran.storage.segment import group_directory

SEEDS = range(40)


class Machine:
    """One disk, and the processes that use it one after the other."""

    def __init__(self, kit, seed):
        self.kit = kit
        self.disk = Disk("d", Random(seed), EventLog(lambda: 0.0))
        self.files = SimFiles(self.disk, who="first")

    def start(self):
        """Open the data directory in a new process; return its driver."""
        self.files.detach()
        self.files = SimFiles(self.disk, who="next")
        return self.kit.Driver(self.files)

    def kill_before_sync(self, directory, work):
        """Let `work` end where it would sync `directory`."""
        really = self.files.sync_directory

        def stop(path):
            if path == directory:
                raise ProcessEnded
            really(path)

        self.files.sync_directory = stop
        with pytest.raises(ProcessEnded):
            work()

    def cut_power(self):
        self.files.detach()
        self.disk.cut_power()


def flush(kit, driver, entries, states):
    """Flush as the broker does: the boundary names what was written."""
    work = driver.log().plan_flush(entries, states)
    work.run()
    work.finish()
    boundary = Boundary(
        group=kit.GROUP,
        voters=(1, 2, 3),
        position=driver.log().last_position,
        state_files=work.state_files,
    )
    driver.round(boundaries=[boundary])


@pytest.mark.parametrize("seed", SEEDS)
def test_a_directory_of_state_files_that_a_killed_process_made_is_made_durable(kit, seed):
    machine = Machine(kit, seed)
    format_store(machine.files, kit.IDENTITY)
    driver = machine.start()
    driver.add()
    entries = [kit.records(index) for index in range(1, 4)]
    driver.append(*entries[:1], commit=1)
    flush(kit, driver, entries[:1], {})
    driver.append(*entries[1:], previous_term=1, commit=3)
    machine.kill_before_sync(
        group_directory(kit.GROUP),
        lambda: flush(kit, driver, entries[1:2], {"producers": b"abc"}),
    )

    flush(kit, machine.start(), entries[1:], {"producers": b"abc"})
    machine.cut_power()

    assert machine.start().store.damage == []


@pytest.mark.parametrize("seed", SEEDS)
def test_a_segment_that_a_killed_install_put_in_its_place_stays_there(kit, seed):
    entries = [kit.records(index) for index in range(1, 6)]
    other = kit.MemoryFiles()
    format_store(other, kit.IDENTITY)
    source = kit.Driver(other)
    source.add()
    boundary = Boundary(group=kit.GROUP, voters=(1, 2, 3), position=source.flush(*entries))
    machine = Machine(kit, seed)
    format_store(machine.files, kit.IDENTITY)
    driver = machine.start()
    driver.add()
    driver.append(*entries[:1], commit=1)
    flush(kit, driver, entries[:1], {})
    driver.append(*entries[1:], previous_term=1, commit=5)
    directory = group_directory(kit.GROUP)
    driver.store.plan_staging(kit.GROUP, needed_bytes=0).run()
    for path, content in other.contents.items():
        if path.startswith(directory + "/"):
            driver.store.plan_stage(
                kit.GROUP,
                path.removeprefix(directory + "/"),
                bytes(content),
                position=0,
                is_last=True,
                reserve_bytes=0,
            ).run()
    adopt = driver.store.plan_adopt(boundary)
    machine.kill_before_sync(f"{directory}/state", adopt.run)

    flush(kit, machine.start(), entries[1:], {})
    machine.cut_power()

    assert machine.start().store.damage == []


@pytest.mark.parametrize("seed", SEEDS)
def test_a_data_directory_whose_making_was_killed_at_the_end_is_durable_once_it_is_used(kit, seed):
    machine = Machine(kit, seed)

    def kill_at_the_last(path):
        if machine.files.exists(IDENTITY_PATH):
            raise ProcessEnded
        really(path)

    really, machine.files.sync_directory = machine.files.sync_directory, kill_at_the_last
    with pytest.raises(ProcessEnded):
        format_store(machine.files, kit.IDENTITY, joins=True)
    driver = machine.start()
    driver.round(hard_states=[(METADATA_GROUP, HardState(term=Term(3), vote=None))])
    machine.cut_power()

    assert machine.start().store.groups[METADATA_GROUP].hard_state.term == 3
