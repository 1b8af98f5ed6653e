"""Clients wait at the limit, leaders at twice of it; both wait for a journal at its own."""

import pytest

from trimaran.broker.intake import HELD_FACTOR, Intake
from trimaran.broker.space import Space

MAX = 1_000
RESERVE = 256


def intake_of(*, has_space=True, changed=lambda: None):
    return Intake(unflushed_bytes_max=MAX, has_space=lambda: has_space, changed=changed)


def taken(intake):
    return intake.from_clients, intake.from_leaders


def test_leaders_are_held_back_later_than_clients_and_both_go_on_at_the_limit():
    intake = intake_of()
    seen = []
    for size in (MAX, MAX + 1, HELD_FACTOR * MAX, HELD_FACTOR * MAX + 1, MAX + 1, MAX):
        intake.unflushed(size)
        seen.append(taken(intake))

    open_, clients_wait, closed = (True, True), (False, True), (False, False)
    assert seen == [open_, clients_wait, clients_wait, closed, closed, open_]


def test_it_is_told_when_clients_wait_and_when_they_go_on_and_not_in_between():
    said = []
    intake = intake_of(changed=lambda: said.append(intake.from_clients))

    for size in (MAX, MAX + 1, MAX + 2, 9 * MAX, MAX, 0):
        intake.unflushed(size)
    intake.journal_full(True)
    intake.journal_full(False)

    assert said == [False, True, False, True]


def test_a_journal_at_its_limit_holds_back_both():
    intake = intake_of()

    intake.journal_full(True)
    assert taken(intake) == (False, False)
    intake.journal_full(False)
    assert taken(intake) == (True, True)


def test_a_disk_without_room_holds_leaders_back():
    assert taken(intake_of(has_space=False)) == (True, False)


class Workers:
    def submit(self, lane, work):
        async def run():
            return work.run()

        return run()


class Files:
    def __init__(self, free):
        self.free = free

    def free_bytes(self):
        return self.free


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("free", "has_room", "may_follow"),
    [
        (RESERVE, True, True),
        (RESERVE - 1, False, True),
        (RESERVE // 2, False, True),
        (RESERVE // 2 - 1, False, False),
        (0, False, False),
    ],
)
async def test_half_of_the_reserve_is_left_to_what_leaders_send(
    monkeypatch, free, has_room, may_follow
):
    space = Space(
        files=Files(free), workers=Workers(), reserve_bytes=RESERVE, changed=lambda room: None
    )

    class LookedError(Exception):
        pass

    async def stop(_seconds):
        raise LookedError

    monkeypatch.setattr("trimaran.broker.space.asyncio.sleep", stop)
    assert space.may_follow
    with pytest.raises(LookedError):
        await space.watch()

    assert (space.has_room, space.may_follow) == (has_room, may_follow)
    space.write_ended(refused=True)
    assert not space.may_follow
