"""Parts of the page that need no browser: numbers, times, and the order of events, in Node.js."""

import json
import subprocess

import pytest

NODE_S = 20


@pytest.fixture
def run(root, builder):
    """Run TypeScript that sets `found`; return what it is."""

    def evaluate(text):
        done = subprocess.run(
            [builder.node_home() / "bin/node", "--input-type=module", "--eval", PROGRAM % text],
            cwd=root / "dashboard/src",
            capture_output=True,
            text=True,
            timeout=NODE_S,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return evaluate


PROGRAM = """
import { isLong, parse } from "./lib/exact.ts";
import { clock, day, moment } from "./lib/format.ts";
import { inReadingOrder, prepended } from "./pages/topic/order.ts";
let found;
%s
console.log(JSON.stringify(found));
"""


def test_a_large_number_keeps_its_digits_in_an_event_and_is_a_number_in_the_api(run):
    datum = {"view": "json", "data": {"id": 12345678901234567891}, "size_bytes": 9}
    event = {"timestamp_ms": 1796000000123456789, "value": datum | {"truncated": False}}
    found = run(f"""
        const event = parse({json.dumps(json.dumps(event))});
        const data = event.value.data;
        found = [JSON.stringify(data), event.timestamp_ms + 1, isLong(data.id)];
    """)
    assert found == ['{"id":12345678901234567891}', pytest.approx(1796000000123456789), True]


@pytest.mark.parametrize("at_ms", ["1796000000123456789", "-8.65e15", "NaN"])
def test_a_time_beyond_the_calendar_is_called_that(run, at_ms):
    shown = run(f"found = [clock({at_ms}, true), day({at_ms}), moment({at_ms})];")
    assert shown == ["out of range"] * 3


PAGED = """
    const log = %s;
    const [limit, read] = [%d, %d];
    let [places, heights] = [{0: 0, 1: 0}, {}];
    found = [];
    for (let round = 0; round < 100; round++) {
        const answers = Object.entries(places).map(([number, at]) => {
            const items = log[number].slice(at, at + read);
            return { items, next: { [number]: at + items.length } };
        });
        const page = inReadingOrder(answers, heights, limit);
        ({ places, heights } = page);
        found.push(...page.shown.map((one) => [one.partition, one.offset]));
    }
"""


@pytest.mark.parametrize(("limit", "read"), [(7, 7), (10, 3), (200, 200)])
def test_each_event_is_read_once_and_in_order_though_clocks_of_producers_differ(run, limit, read):
    log = [
        [
            {"partition": partition, "offset": at, "timestamp_ms": at * 10 - at // 2 % 2 * 5_000}
            for at in range(100)
        ]
        for partition in range(2)
    ]
    found = run(PAGED % (json.dumps(log), limit, read))
    assert len(found) == 200
    for partition in range(2):
        assert [at for number, at in found if number == partition] == list(range(100))


def test_what_came_last_in_the_tail_stands_first_however_old_it_is(run):
    shown = run("""
        const event = (offset, timestamp_ms) => ({ partition: 0, offset, timestamp_ms });
        const before = prepended([event(0, 900), event(1, 950)], []);
        const now = prepended([event(1, 950), event(2, 10), event(3, 20)], before);
        found = now.map((one) => one.offset);
    """)
    assert shown == [3, 2, 1, 0]
