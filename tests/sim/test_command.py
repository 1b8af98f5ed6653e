"""`trimaran sim`: what is printed, the exit codes, and the command line that repeats a run."""

import json
import shlex

import pytest

from trimaran.broker.partition import Partition
from trimaran.cli.main import main
from trimaran.sim.report import RunOptions

pytestmark = pytest.mark.sim


@pytest.fixture
def run(capsys):
    def run_words(*words):
        with pytest.raises(SystemExit) as ended:
            main(["sim", *words])
        out = capsys.readouterr()
        return ended.value.code or 0, out.out + out.err

    return run_words


def test_a_run_prints_its_counts_and_its_replay_is_the_same(run):
    code, out = run("--seed", "4", "--minutes", "0.05", "--kinds", "kill,slow links", "--replay")

    assert code == 0
    assert "seed 4 ok, digest " in out
    assert "faults that happened: " in out
    assert "election:" in out
    assert "replay: the same event log" in out


def test_a_report_as_json_holds_everything(run):
    code, out = run("--seed", "4", "--seconds", "2", "--kinds", "", "--nodes", "5", "-o", "json")

    found = json.loads(out)
    assert code == 0
    assert (found["seed"], found["nodes"], found["kinds"], found["violations"]) == (4, 5, [], [])
    assert found["acked"] > 0


def test_an_unknown_kind_is_wrong_usage(run):
    code, out = run("--kinds", "earthquake")

    assert code == 2
    assert "found 'earthquake'" in out


def test_a_failing_run_names_the_command_that_repeats_it(run, monkeypatch):
    monkeypatch.setattr(Partition, "_judge", lambda *_arguments: None)

    code, out = run("--seed", "2", "--seconds", "12", "--kinds", "", "--clients", "1")

    assert code == 1
    assert "ProducerSequencesStoredOnce" in out
    assert "again: trimaran sim --seed 2 --seconds 12 --clients 1 --kinds ''" in out


def test_the_command_of_a_run_gives_the_same_options_again():
    options = RunOptions(seed=3, seconds=2.5, nodes=5, clients=1, kinds=("kill", "slow links"))
    words = shlex.split(options.command())

    assert words[:2] == ["trimaran", "sim"]
    assert dict(zip(words[2::2], words[3::2], strict=True)) == {
        "--seed": "3",
        "--seconds": "2.5",
        "--nodes": "5",
        "--clients": "1",
        "--kinds": "kill,slow links",
    }
