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
