"""A soak goes on where it stopped, keeps failures, and begins anew for other source."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from trimaran.sim import soak as soaking
from trimaran.sim.report import (
    COUNTED_ACKED,
    RunOptions,
    added_up,
    listed,
    missing,
    options_of,
    table,
)
from trimaran.sim.run import run_seed
from trimaran.sim.soak import Results, bar, main, soak, source_version


@pytest.fixture(scope="module")
def report():
    return run_seed(1, seconds=1, kinds=(), clients=1)


def test_what_is_written_is_read_back_equal(tmp_path, report):
    Results(tmp_path / "results", "v").add(report, repeatable=True)

    again = Results(tmp_path / "results", "v")
    assert again.reports == [report]
    assert list(again.done) == [1]
    assert again.failed == []
    assert Results(tmp_path / "results", "w").reports == [], "another version"


def test_a_line_cut_short_is_dropped_and_done_again(tmp_path, report):
    results = Results(tmp_path, "v")
    results.add(report, repeatable=True)
    results.add(replace(report, seed=2), repeatable=True)
    data = results.path.read_bytes()
    results.path.write_bytes(data[:-10])

    again = Results(tmp_path, "v")
    assert list(again.done) == [1]
    again.add(replace(report, seed=2), repeatable=True)
    assert list(Results(tmp_path, "v").done) == [1, 2]


def test_failures_are_named_with_the_command_that_repeats_them(tmp_path, report):
    results = Results(tmp_path, "v")
    options = RunOptions(seed=3, seconds=5, kinds=("kill",))
    results.add(replace(report, seed=3, options=options, violations=("lost",)), repeatable=True)
    results.add(replace(report, seed=4), repeatable=False)

    summary = results.summary()
    assert results.failed == [3, 4]
    assert "FAILED trimaran sim --seed 3 --seconds 5 --kinds 'kill': lost" in summary
    assert "two runs differed" in summary
    assert "2 of 2 seeds failed" in summary


def test_a_version_is_of_all_sources_in_whatever_language_and_of_nothing_built(tmp_path):
    (tmp_path / "dedup").mkdir()
    versions = []
    for name in ("node.py", "dedup/_native.c", "dedup/_native.so"):
        (tmp_path / name).write_bytes(b"1")
        versions.append(source_version(tmp_path))

    assert versions[0] != versions[1] == versions[2]


@pytest.mark.sim
def test_a_soak_goes_on_with_the_seeds_that_are_not_done(tmp_path, capsys, monkeypatch):
    version = source_version()
    monkeypatch.setattr(soaking, "source_version", lambda: version)
    words = ["--results", str(tmp_path), "--seconds", "1", "--processes", "1"]
    results = Results(tmp_path, version)
    first = next(iter(soak(results, first_seed=2, seeds=1, seconds=1, processes=1)))
    assert first.seed == 2

    assert main([*words, "--seeds", "2"]) == 0
    out = capsys.readouterr().out
    assert "1 new seeds" in out
    assert "0 of 2 seeds failed" in out
    assert list(Results(tmp_path, version).done) == [2, 1]

    assert main([*words, "--seeds", "2", "--hours", "1"]) == 0
    assert "0 new seeds" in capsys.readouterr().out
    assert main([*words, "--hours", "0"]) == 0


def test_a_soak_that_is_not_told_how_long_runs_for_an_hour_with_the_suites_sizes(
    tmp_path, monkeypatch
):
    asked = []

    def noted(_results, **how):
        asked.append(how)
        return iter(())

    monkeypatch.setattr(soaking, "soak", noted)

    assert main(["--results", str(tmp_path)]) == 0
    assert (asked[0]["hours"], asked[0]["seeds"]) == (1.0, None)
    assert {options_of(seed).nodes for seed in range(1, 16)} == {1, 3, 5}


def test_the_bar_is_as_long_as_the_share_that_is_done():
    assert bar(0.0, "x") == "[" + "." * 30 + "] x"
    assert bar(0.5, "x").count("#") == 15
    assert bar(7.0, "x") == "[" + "#" * 30 + "] x"


def test_counts_of_many_runs_add_up_and_what_never_happened_shows(report):
    one = replace(report, faults={"kill": 2}, counts={"recovery": 1}, acked=COUNTED_ACKED)
    two = replace(report, faults={"kill": 1, "pause": 3}, counts={})
    lines = table([one, two], expected=("kill", "ring")).splitlines()

    assert lines[1].split() == ["kill", "3", "2"]
    assert lines[2].split() == ["ring", "0", "0"]
    assert missing([one, two], expected=("kill", "ring", "recovery")) == ["ring"]
    assert added_up([{"a": 1}, {"a": 2, "b": 1}]) == {"a": 3, "b": 1}
    assert listed({}) == "none"


@pytest.mark.parametrize(
    ("virtual_s", "acked", "changes", "counts"),
    [(20.0, 500, 1, True), (19.9, 500, 1, False), (20.0, 499, 1, False), (20.0, 500, 0, False)],
)
def test_a_run_counts_only_if_enough_happened_in_it(report, virtual_s, acked, changes, counts):
    found = replace(report, virtual_s=virtual_s, acked=acked, leader_changes=changes)

    assert found.counted is counts


def test_real_clusters_are_broken_for_as_long_as_told_and_what_was_done_is_kept(
    tmp_path, monkeypatch
):
    ran = []

    def run(command, *, env, check):
        ran.append((command, env))
        return SimpleNamespace(returncode=3)

    monkeypatch.setattr(soaking.subprocess, "run", run)
    code = main(["--real", "--hours", "0.5", "--first-seed", "7", "--results", str(tmp_path / "r")])

    ((command, env),) = ran
    assert code == 3
    assert command[-1] == soaking.REAL
    assert (Path(__file__).parents[2] / soaking.REAL).is_file()
    assert (env["TRIMARAN_MIX_MINUTES"], env["TRIMARAN_MIX_SEED"]) == ("30.0", "7")
    assert Path(env["TRIMARAN_MIX_RESULTS"]).parent.is_dir()
