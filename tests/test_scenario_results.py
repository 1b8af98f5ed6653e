"""The record of the scenarios: what is counted as passed, and that nothing in the table is not."""

from types import SimpleNamespace

import pytest

from tests.scenarios import Recorder, load_results, played_by, results_text

NAME = "tests/x.py::test_y"


def report(when="call", outcome="passed", name=f"{NAME}[a]"):
    flags = {kind: kind == outcome for kind in ("passed", "failed", "skipped")}
    return SimpleNamespace(nodeid=name, when=when, duration=0.5, **flags)


@pytest.mark.parametrize(
    ("reports", "outcome"),
    [
        ([report()], "passed"),
        ([report("setup"), report(), report("teardown")], "passed"),
        ([report("setup")], "skipped"),
        ([report(), report(outcome="skipped")], "skipped"),
        ([report(), report(outcome="failed")], "failed"),
        ([report(), report("teardown", "failed")], "failed"),
    ],
)
def test_only_what_ran_and_never_failed_has_passed(reports, outcome):
    recorder = Recorder("2030-01-02")
    for one in reports:
        recorder.pytest_runtest_logreport(one)

    (result,) = recorder.results.values()
    assert (result.test, result.outcome) == (NAME, outcome)
    assert result.seconds == 0.5 * len(reports)


def test_the_record_reads_back_as_it_was_written(tmp_path):
    recorder = Recorder("2030-01-02")
    recorder.pytest_runtest_logreport(report())
    path = tmp_path / "results.toml"
    path.write_text(results_text(recorder.results), encoding="utf-8")

    assert load_results(path) == recorder.results
    assert load_results(tmp_path / "none.toml") == {}


def test_a_scenario_that_is_not_in_the_table_is_an_error():
    assert NAME not in played_by([])
    with pytest.raises(KeyError, match="S99"):
        played_by(["S99"])


def test_every_test_of_a_scenario_has_passed_when_it_was_run_last():
    results = load_results()

    missed = [name for name in played_by([]) if name not in results]
    assert missed == [], "python -m tests.scenarios runs them"
    assert {results[name].outcome for name in played_by([])} == {"passed"}
