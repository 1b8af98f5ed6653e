"""The mutation gate: every planted bug on record is found again by what found it before.

A seed on record may draw something else after a change of the package; the gate then gives the same
catcher all its seeds. `python -m trimaran.sim.mutation --all --rewrite` makes the record anew.
"""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from trimaran.sim.mutation import (
    BUGS,
    GENERAL,
    PACKAGE,
    RECORD,
    UNIT,
    Bug,
    Caught,
    Gate,
    GateError,
    load_bugs,
    load_record,
    markdown,
    record_text,
    run_gate,
)

ROOT = Path(__file__).parents[3]
BUGS_MIN = 25
GENERAL_MIN = 15
UNCAUGHT: list[str] = []
"""What nothing finds, in sixteen seeds and the unit tests: gaps, not successes.

A bug leaves this list with a row in the record.
"""

BUG = Bug(name="a bug", file="raft/x.py", old="a = 1\n", new="a = 2\n", breaks="all")
CAUGHT = Caught(bug="a bug", catcher="core", at="7", tries=8, seconds=1.25, said='"no"')


@pytest.fixture(scope="module")
def bugs():
    return load_bugs(ROOT / BUGS)


@pytest.fixture(scope="module")
def record():
    return load_record(ROOT / RECORD)


def test_every_planted_bug_still_fits_the_package(bugs):
    for bug in bugs:
        text = (ROOT / PACKAGE / bug.file).read_text(encoding="utf-8")
        assert bug.planted(text) != text


def test_the_page_on_testing_says_how_many_are_planted_and_how_they_are_found(bugs, record):
    page = (ROOT / "docs" / "testing.md").read_text(encoding="utf-8")
    general = sum(row.is_general for row in record.values())
    assert f"| {len(bugs)} small changes of the package" in page
    assert f"all are caught, {general} of them by general checkers" in page


def test_enough_bugs_are_planted_and_most_are_found_by_checks_not_written_for_them(bugs, record):
    general = [row for row in record.values() if row.is_general]

    assert [bug.name for bug in bugs if bug.name not in record] == UNCAUGHT
    assert [bug.name for bug in bugs if bug.name in record] == list(record)
    assert len(bugs) >= BUGS_MIN
    assert len(general) >= GENERAL_MIN
    assert {row.catcher for row in record.values()} <= {*GENERAL, UNIT}


@pytest.mark.sim
def test_every_bug_on_record_is_caught_again(bugs, record, tmp_path, capsys):
    def told(bug, caught):
        at = caught.at if isinstance(caught, Caught) else caught
        if bug.name in record and at != record[bug.name].at:
            with capsys.disabled():
                print(f"\n{bug.name}: now at {at}, on record {record[bug.name].at}")

    expected = [bug for bug in bugs if bug.name in record]

    found = asyncio.run(run_gate(Gate(ROOT, work=tmp_path), expected, record, told=told))

    assert [bug.name for bug in expected if bug.name not in found] == []


@pytest.mark.parametrize("text", ["b = 1\n", "a = 1\na = 1\n"])
def test_a_change_whose_old_text_does_not_stand_exactly_once_fails_the_gate(text):
    with pytest.raises(GateError, match="a bug: the old text stands"):
        BUG.planted(text)


def test_a_change_that_is_no_python_is_not_taken_for_a_bug_that_was_caught():
    with pytest.raises(GateError, match="no Python"):
        replace(BUG, new="a = \n").planted("a = 1\n")


def test_a_bug_is_planted_in_a_copy(tmp_path):
    package = tmp_path / "package"
    (package / "raft").mkdir(parents=True)
    (package / "raft" / "x.py").write_text("a = 1\n", encoding="utf-8")

    planted = Gate(ROOT, work=tmp_path / "work", package=package).plant(BUG)

    assert (planted / "trimaran/raft/x.py").read_text(encoding="utf-8") == "a = 2\n"
    assert (package / "raft/x.py").read_text(encoding="utf-8") == "a = 1\n"


def test_a_change_that_breaks_nothing_is_missed(bugs, tmp_path):
    path = "raft/roles.py"
    line = "class RaftState:\n"
    harmless = Bug(name="none", file=path, old=line, new=line + "\n", breaks="nothing")
    gate = Gate(ROOT, work=tmp_path)

    async def attempt():
        return await gate.attempt(harmless, gate.plant(harmless), "core", "3")

    assert asyncio.run(attempt()) is None


def test_a_catcher_that_cannot_begin_fails_the_gate(tmp_path):
    broken = Bug(
        name="broken",
        file="raft/roles.py",
        old="class RaftState:\n",
        new="raise ImportError\n\n\nclass RaftState:\n",
        breaks="the import",
    )
    gate = Gate(ROOT, work=tmp_path)

    async def attempt():
        await gate.attempt(broken, gate.plant(broken), "core", "3")

    with pytest.raises(GateError, match="core in broken ended with 1"):
        asyncio.run(attempt())


def test_a_test_that_fails_without_the_bug_as_well_fails_the_gate(tmp_path):
    line = "class RaftState:\n"
    harmless = Bug(name="none", file="raft/roles.py", old=line, new=line + "\n", breaks="nothing")
    failing = tmp_path / "test_failing.py"
    failing.write_text("def test_it():\n    assert False\n", encoding="utf-8")
    gate = Gate(ROOT, work=tmp_path / "work")

    async def attempt():
        await gate.attempt(harmless, gate.plant(harmless), UNIT, str(failing))

    with pytest.raises(GateError, match="fails without 'none' as well"):
        asyncio.run(attempt())


def test_the_record_reads_back_as_it_was_written(tmp_path):
    path = tmp_path / "caught.toml"
    path.write_text(record_text([BUG], {"a bug": CAUGHT}), encoding="utf-8")

    assert load_record(path) == {"a bug": replace(CAUGHT, seconds=1.2)}
    assert load_record(tmp_path / "none.toml") == {}


def test_the_table_names_what_caught_a_bug_and_what_nothing_caught():
    missed = replace(BUG, name="another")

    table = markdown([BUG, missed], {"a bug": CAUGHT}).splitlines()

    assert table[2:] == [
        "| a bug | all | core | seed 7 | 8 | 1.2 |",
        "| another | all | **nothing** | | | |",
    ]
