"""When events are due."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from trimaran.bench.schedule import NANOSECONDS, Schedule, shares

rates = st.floats(min_value=1, max_value=1_000_000)


def test_event_k_is_intended_k_over_rate_after_the_start() -> None:
    schedule = Schedule(rate=250.0, start_ns=1_000, chunk=1)

    intended = [schedule.intended_ns(event) for event in range(4)]

    assert intended == [1_000, 4_001_000, 8_001_000, 12_001_000]


def test_chunk_is_due_with_its_last_event_and_never_before_it() -> None:
    schedule = Schedule(rate=1_000.0, start_ns=0, chunk=64)

    assert schedule.due_ns(0) == schedule.intended_ns(63) == 63_000_000
    assert schedule.due_ns(1) == schedule.intended_ns(127)


@given(rate=rates, chunk=st.integers(1, 500), number=st.integers(0, 10_000))
def test_rounding_does_not_add_up_over_a_run(rate: float, chunk: int, number: int) -> None:
    schedule = Schedule(rate=rate, start_ns=7, chunk=chunk)

    exact = 7 + ((number + 1) * chunk - 1) * NANOSECONDS / rate

    assert abs(schedule.due_ns(number) - exact) <= 1 + exact * 1e-15


def test_run_has_as_many_whole_chunks_as_fall_due_in_it() -> None:
    schedule = Schedule(rate=20_500.0, start_ns=0, chunk=64)

    assert schedule.chunk_count(60.0) == 60 * 20_500 // 64
    assert schedule.chunk_count(0.0001) == 1


def test_shares_offer_the_whole_rate_with_chunks_evenly_apart() -> None:
    schedules = shares(rate=82_000.0, producers=4, chunk=64, start_ns=0)

    assert sum(schedule.rate for schedule in schedules) == 82_000.0
    dues = [schedule.due_ns(0) for schedule in schedules]
    steps = [after - before for before, after in itertools.pairwise(dues)]
    assert max(steps) - min(steps) <= 1
    assert abs(steps[0] - 64 * NANOSECONDS / 82_000) <= 1
