"""Who is said to be cut off: only who hears most of the others can tell it of one of them."""

from types import SimpleNamespace

import pytest

from trimaran.server.http.health import judge

TOLD = SimpleNamespace(state="ready")
"""What a node told of itself by HTTP."""


def who_hears(*numbers):
    return SimpleNamespace(
        node_id=1,
        alive=lambda: list(numbers),
        controller_id=1,
        image=SimpleNamespace(node=lambda _: "registered", topics=(), partition_count=0),
        broker=SimpleNamespace(is_ready=True, services=None),
    )


@pytest.mark.parametrize(
    ("heard", "silent", "is_known"), [((1, 2), 3, True), ((1, 3), 2, True), ((1,), 2, False)]
)
@pytest.mark.asyncio
async def test_a_node_that_is_cut_off_itself_does_not_say_it_of_the_others(heard, silent, is_known):
    facts = dict.fromkeys((1, 2, 3), (TOLD, 1.0))
    health = await judge(who_hears(*heard), facts)
    (row,) = [row for row in health.nodes if row.node_id == silent]
    assert row.state == "unreachable"
    assert ("other nodes do not hear it" in row.reason) == is_known
    assert ("this node is cut off" in row.reason) == (not is_known)
