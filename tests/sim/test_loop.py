import asyncio
import time
from random import Random

import pytest

from trimaran.sim.loop import START_S, SimLoop, SimulationError
from trimaran.sim.process import Death


@pytest.fixture
def loop():
    made = SimLoop()
    yield made
    made.close()


def test_time_jumps_to_the_next_timer_without_waiting(loop):
    started = time.perf_counter()

    loop.run_until_complete(asyncio.sleep(3600))

    assert loop.time() == START_S + 3600
    assert time.perf_counter() - started < 5


def test_timers_that_fall_due_together_run_in_the_order_they_were_set(loop):
    order = []
    for number in range(20):
        loop.call_at(START_S + 1, order.append, number)

    loop.run_until_complete(asyncio.sleep(1))

    assert order == list(range(20))


def test_asyncio_s_own_tools_work_on_virtual_time(loop):
    async def scenario():
        queue = asyncio.Queue()
        async with asyncio.TaskGroup() as group:
            group.create_task(queue.put("x"))
            got = await queue.get()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(5):
                await asyncio.Event().wait()
        return got, loop.time()

    assert loop.run_until_complete(scenario()) == ("x", START_S + 5)


def test_waiting_for_what_can_never_happen_is_an_error(loop):
    async def scenario():
        await asyncio.Event().wait()

    with pytest.raises(SimulationError, match="wait for ever"):
        loop.run_until_complete(scenario())


def test_an_endless_loop_in_no_time_is_an_error(loop):
    async def scenario():
        def again():
            loop.call_soon(again)

        again()
        await asyncio.sleep(1)

    with pytest.raises(SimulationError, match="endless loop"):
        loop.run_until_complete(scenario())


@pytest.mark.parametrize(
    "leave",
    [
        lambda loop: loop.run_in_executor(None, print),
        lambda loop: loop.create_connection(asyncio.Protocol, "localhost", 9),
        lambda loop: loop.create_server(asyncio.Protocol, "localhost", 0),
        lambda loop: loop.getaddrinfo("localhost", 1),
        lambda loop: loop.add_reader(0, print),
        lambda loop: loop.subprocess_exec(asyncio.SubprocessProtocol, "true"),
        lambda loop: loop.add_signal_handler(15, print),
        lambda loop: loop.call_soon_threadsafe(print),
    ],
)
def test_whatever_would_leave_the_simulation_raises(loop, leave):
    with pytest.raises(SimulationError, match="leave the simulation"):
        leave(loop)


def test_a_thread_cannot_be_started_through_asyncio(loop):
    with pytest.raises(SimulationError, match="run_in_executor"):
        loop.run_until_complete(asyncio.to_thread(print))


def test_callbacks_and_tasks_belong_to_the_process_that_made_them(loop):
    node = loop.new_process("node-1", "node-1", clock_offset_s=50.0)
    seen = []

    async def inside():
        seen.append(loop.time())
        await asyncio.sleep(1)
        loop.call_soon(lambda: seen.append(loop.time()))
        seen.append(asyncio.current_task().get_name())
        await asyncio.sleep(0)

    node.start(inside(), name="main")
    loop.run_until_complete(asyncio.sleep(5))

    assert seen == [START_S + 50, "node-1/main-1", START_S + 51]
    assert loop.time() == START_S + 5


def test_after_a_kill_no_callback_timer_or_task_step_runs(loop):
    node = loop.new_process("node-1", "node-1")
    seen = []

    async def inside():
        try:
            while True:
                seen.append("step")
                await asyncio.sleep(1)
        finally:
            seen.append("finally")

    def set_up():
        loop.call_later(2.5, seen.append, "timer")
        loop.call_later(1.5, loop.call_soon, seen.append, "soon")

    node.start(inside())
    node.run(set_up)
    loop.call_later(1.5, node.die, Death.KILLED)
    loop.run_until_complete(asyncio.sleep(10))

    assert seen == ["step", "step"]
    loop.close()
    assert seen == ["step", "step", "finally"]


def test_a_process_that_kills_itself_does_nothing_more(loop):
    node = loop.new_process("node-1", "node-1")
    seen = []

    def last_words():
        node.die(Death.KILLED)
        loop.call_soon(seen.append, "soon")
        loop.call_later(1, seen.append, "later")

    node.run(loop.call_soon, last_words)
    loop.run_until_complete(asyncio.sleep(3))

    assert seen == []


def test_a_paused_process_runs_nothing_and_catches_up_in_order(loop):
    node = loop.new_process("node-1", "node-1")
    seen = []

    def set_up():
        for delay in (1, 2, 3, 6):
            loop.call_later(delay, lambda d=delay: seen.append((d, loop.time() - START_S)))

    node.run(set_up)
    node.pause()
    loop.run_until_complete(asyncio.sleep(5))
    assert seen == []
    node.resume()
    loop.run_until_complete(asyncio.sleep(5))

    assert seen == [(1, 5), (2, 5), (3, 5), (6, 6)]


def test_a_resumed_process_may_see_late_timers_before_late_bytes(loop):
    node = loop.new_process("node-1", "node-1")
    seen = []
    node.pause()
    loop.call_io(node, 1.0, seen.append, "bytes")
    node.run(loop.call_later, 2.0, seen.append, "timer")
    loop.run_until_complete(asyncio.sleep(3))

    node.resume(io_last=True)
    loop.run_until_complete(asyncio.sleep(1))

    assert seen == ["timer", "bytes"]


def test_death_callbacks_run_in_order_once(loop):
    node = loop.new_process("node-1", "node-1")
    seen = []
    node.on_death(lambda death: seen.append(("first", death)))
    node.on_death(lambda death: seen.append(("second", death)))

    node.die(Death.POWER_CUT)
    node.die(Death.KILLED)

    assert seen == [("first", Death.POWER_CUT), ("second", Death.POWER_CUT)]


def test_an_uncaught_exception_is_kept_with_the_process_that_raised_it(loop):
    node = loop.new_process("node-1", "node-1")
    node.run(loop.call_soon, lambda: 1 // 0)

    loop.run_until_complete(asyncio.sleep(1))

    assert [(f.process, type(f.exception)) for f in loop.failures] == [
        ("node-1", ZeroDivisionError)
    ]


def interleaving(seed, perturb):
    loop = SimLoop(chance=Random(seed), perturb=perturb)
    seen = []
    for name in "abc":
        process = loop.new_process(name, name)
        for number in range(5):
            process.run(loop.call_soon, seen.append, (name, number))
    loop.run_until_complete(asyncio.sleep(1))
    loop.close()
    return seen


def test_perturbation_mixes_processes_but_keeps_each_one_s_order():
    calm = interleaving(1, 0.0)
    mixed = interleaving(1, 0.8)

    assert calm == [(name, number) for name in "abc" for number in range(5)]
    assert mixed != calm
    for name in "abc":
        assert [number for who, number in mixed if who == name] == list(range(5))


def test_equal_seeds_give_equal_interleavings():
    assert interleaving(7, 0.5) == interleaving(7, 0.5)
    assert interleaving(7, 0.5) != interleaving(8, 0.5)


def test_cancelled_timers_never_run_and_are_thrown_away(loop):
    handles = [loop.call_later(100, pytest.fail, "ran") for _ in range(5000)]
    for handle in handles:
        handle.cancel()

    loop.run_until_complete(asyncio.sleep(200))

    assert loop.time() == START_S + 200
