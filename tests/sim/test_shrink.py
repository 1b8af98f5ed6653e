"""Failing runs become small: the kinds, the time, the nodes and the clients that matter remain."""

import itertools

import pytest

from trimaran.sim.faults import draw_mix
from trimaran.sim.files import SimFile
from trimaran.sim.report import RunOptions
from trimaran.sim.run import run
from trimaran.sim.shrink import SECONDS_MIN, Shrinker, shrink


def busy_seed():
    """Return the first seed with many kinds, and these."""
    for seed in itertools.count(1):
        kinds = draw_mix(f"{seed}/faults", None).kinds
        if len(kinds) >= 8:
            return seed, kinds
    raise AssertionError


@pytest.mark.parametrize("needed_count", [0, 1, 2, 3])
def test_only_the_kinds_time_and_clients_that_are_needed_remain(needed_count):
    seed, kinds = busy_seed()
    needed = kinds[1 : 1 + needed_count]

    def fails(options):
        return (
            options.kinds is not None
            and set(needed) <= set(options.kinds)
            and options.seconds >= 7
            and options.clients >= 2
        )

    least = shrink(RunOptions(seed=seed, seconds=40, nodes=5), fails)

    assert least.kinds == needed
    assert 7 <= least.seconds < 10
    assert (least.nodes, least.clients) == (3, 2)


def test_nothing_is_run_twice_and_the_number_of_runs_is_limited():
    seed, kinds = busy_seed()
    asked = []

    def fails(options):
        asked.append(options)
        return options.kinds == kinds

    shrinker = Shrinker(fails, runs_max=9)
    least = shrinker.smallest(RunOptions(seed=seed))

    assert least.kinds == kinds
    assert len(asked) == len(set(asked)) == shrinker.run_count == 9


def test_a_failure_that_only_the_original_has_stays_as_it_is():
    options = RunOptions(seed=1)

    assert shrink(options, lambda tried: tried == options) == options


@pytest.mark.sim
def test_a_planted_bug_shrinks_to_the_one_kind_of_fault_that_shows_it(monkeypatch):
    """Nothing is synced: a process that starts after a power cut finds what cannot be."""
    monkeypatch.setattr(SimFile, "sync", lambda _file: None)
    kinds = ("clock jump", "power cut of all")

    def fails(tried):
        found = run(tried, trace_lines=0).violations
        return any("ended by itself" in line for line in found)

    options = RunOptions(seed=1, seconds=3.9, clients=3, kinds=kinds)
    assert fails(options)

    least = shrink(options, fails, runs_max=12)

    assert least.kinds == ("power cut of all",)
    assert SECONDS_MIN <= least.seconds <= 3.9
