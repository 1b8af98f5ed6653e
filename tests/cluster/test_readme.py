"""The README's example does what it shows."""

import re
from pathlib import Path

import pytest

import trimaran.testing
from trimaran.testing import Cluster

pytestmark = [pytest.mark.cluster, pytest.mark.clients]

README = Path(__file__).parents[2] / "README.md"
EXAMPLE_LINES_MAX = 11


def test_the_example_stores_one_event_before_and_one_after_its_leader_is_killed(
    monkeypatch, readers
):
    (example,) = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    assert len(example.splitlines()) <= EXAMPLE_LINES_MAX
    seen = {}

    class Watched(Cluster):
        def __exit__(self, *ended):
            alive = [node for node in self.nodes if self.is_running(node)]
            seen["alive"] = len(alive)
            records = readers["confluent"](self.bootstrap_servers, "greetings")
            seen["events"] = sorted((record.key, record.value) for record in records)
            super().__exit__(*ended)

    monkeypatch.setattr(trimaran.testing, "Cluster", Watched)
    exec(compile(example, str(README), "exec"), {})

    assert seen == {"alive": 2, "events": [(b"de", b"hallo"), (b"en", b"hello")]}
