import pytest

from trimaran.broker.waiting import WITHDRAWN_KEPT_MAX, Deadlines


@pytest.fixture
def deadlines(clock):
    return Deadlines(clock)


def test_deadlines_fire_in_order_of_time(clock, deadlines):
    fired = []
    for delay_s in (3, 1, 2):
        deadlines.after(delay_s, lambda delay_s=delay_s: fired.append(delay_s))

    clock.advance(2.5)

    assert fired == [1, 2]
    assert len(deadlines) == 1


def test_all_deadlines_share_one_timer_of_the_loop(clock, deadlines):
    for number in range(50):
        deadlines.after(30 + number, lambda: None)

    assert clock.timer_count == 1


def test_an_earlier_deadline_moves_the_timer(clock, deadlines):
    fired = []
    deadlines.after(10, lambda: fired.append("late"))
    deadlines.after(1, lambda: fired.append("early"))

    clock.advance(1)

    assert fired == ["early"]
    assert clock.timer_count == 1


def test_a_withdrawn_deadline_never_fires(clock, deadlines):
    fired = []
    deadline = deadlines.after(1, lambda: fired.append(1))

    deadlines.withdraw(deadline)
    deadlines.withdraw(deadline)
    clock.advance(5)

    assert fired == []
    assert len(deadlines) == 0


def test_a_callback_may_withdraw_another_one_that_is_due(clock, deadlines):
    fired = []
    deadlines.after(1, lambda: deadlines.withdraw(other))
    other = deadlines.after(1, lambda: fired.append("other"))

    clock.advance(1)

    assert fired == []
    assert len(deadlines) == 0


def test_withdrawn_deadlines_take_no_memory_for_long(clock, deadlines):
    kept = deadlines.after(99, lambda: None)
    for _ in range(3 * WITHDRAWN_KEPT_MAX):
        deadlines.withdraw(deadlines.after(30, lambda: None))

    assert len(deadlines._heap) <= WITHDRAWN_KEPT_MAX + 2
    assert len(deadlines) == 1
    assert kept.callback is not None


def test_a_callback_that_raises_does_not_stop_the_others(clock, deadlines):
    fired = []

    def break_an_invariant():
        raise AssertionError("ours")

    deadlines.after(1, break_an_invariant)
    deadlines.after(1, lambda: fired.append(1))
    with pytest.raises(AssertionError):
        clock.advance(1)

    clock.advance(1)

    assert fired == [1]


def test_nothing_fires_after_close(clock, deadlines):
    fired = []
    deadlines.after(1, lambda: fired.append(1))

    deadlines.close()
    clock.advance(5)

    assert fired == []
    assert clock.timer_count == 0
