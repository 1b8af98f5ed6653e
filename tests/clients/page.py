"""Makes docs/clients.md from what the runs found: `python -m tests.clients.page`.

Reads `build/clients/features.json` (tests/clients), `suite-*.json` (tests.clients.suites),
`oracle.json` (tests.clients.oracle) and `group-times.jsonl` (tests/cluster/test_groups.py, a line
for each run that there ever was; remove it to begin anew). A run that did not take place is told as
not run.
Does not: run anything.
"""

import json
import statistics
from collections import Counter
from pathlib import Path

from tests.clients.suites.__main__ import DIFFERENCES, OWN_SKIPS, SUITES

ROOT = Path(__file__).parents[2]
BUILD = ROOT / "build" / "clients"
PAGE = ROOT / "docs" / "clients.md"
CELLS = {"passed": "yes", "failed": "**no**", "skipped": "-"}
CLIENTS = ("confluent-kafka", "kcat", "aiokafka", "kafka-python", "Java", "franz-go", "kafkajs")
NOT_RUN = "not run: install "

HEAD = """\
# Clients

What real clients, their own test suites, stream frameworks and Apache Kafka's tools find when they
talk to Trimaran. This page is made by the runs:

| command | does |
|---|---|
| `make test` | the Python libraries and kcat of the table below, against a cluster of three nodes |
| `make test-clients` | all of this page: the clients in other languages (with Java and Maven, Go,\
 Node), Kafka's tools, the frameworks, Apache Kafka as an oracle, the suites, then this page |
| `python -m tests.clients.suites aiokafka CHECKOUT` | aiokafka's own suite; CHECKOUT is a checkout\
 of its repository |
| `python -m tests.clients.suites kafka-python CHECKOUT` | the same for kafka-python |
| `python -m tests.clients.oracle` | the same conversation with Apache Kafka and with Trimaran |
| `TRIMARAN_GROUP_RUNS=50 python -m pytest tests/cluster/test_groups.py -k in_time` | groups that\
 lose members and nodes, in time, on a machine without other work |
| `python -m tests.clients.page` | this page, from what the runs left in `build/clients` |

`make test-clients` runs the suites too where `SUITES` names a directory that holds the checkouts
`aiokafka` and `kafka-python`.

One thing to know of kafka-python 3.0.12, whatever the broker: if `poll(timeout_ms)` returns after
JoinGroup was answered and before SyncGroup is, the consumer never takes up its partitions, sends no
heartbeats, and reads nothing until it joins anew. Give it a second or more; it returns at once with
what there is to read.
"""


def loaded(name):
    path = BUILD / name
    return json.loads(path.read_text()) if path.exists() else None


def feature_lines(found):
    features = found.get("features", {})
    columns = [one for one in CLIENTS if one in features]
    rows = sorted({row for one in columns for row in features[one]}, key=row_order)
    titles = [f"{one} {found['versions'].get(one, '')}".strip() for one in columns]
    yield "| feature | " + " | ".join(titles) + " |"
    yield "|---|" + "---|" * len(columns)
    notes = {}
    for row in rows:
        cells = []
        for one in columns:
            outcome, reason = features[one].get(row, ("absent", ""))
            cell = "not run" if reason.startswith(NOT_RUN) else CELLS.get(outcome, "not run")
            if cell == "-":
                short = reason.removeprefix(f"{one}: ")
                number = notes.setdefault(f"{one}: {short}", len(notes) + 1)
                cell = f"- ({number})"
            cells.append(cell)
        yield f"| {row} | " + " | ".join(cells) + " |"
    yield ""
    yield "yes: shown by a test; -: the client has no such thing:"
    yield ""
    for reason, number in notes.items():
        yield f"{number}. {reason}"
    missing = [one for one in CLIENTS if one not in columns]
    if missing:
        yield ""
        yield f"Not run: {', '.join(missing)}."


def row_order(row):
    kinds = ("compression", "group:", "topics", "configs", "DeleteRecords", "groups:")
    kind = next((n for n, start in enumerate(kinds, 1) if row.startswith(start)), 0)
    return (0 if kind == 1 else kind + 1 if kind else 1, row)


def simple_lines(title, rows):
    yield f"| {title} | outcome |"
    yield "|---|---|"
    for name, (outcome, reason) in rows.items():
        cell = CELLS.get(outcome, outcome) if outcome != "skipped" else reason or "not run"
        yield f"| {name} | {cell} |"


def suite_lines(name):
    outcome = loaded(f"suite-{name}.json")
    if outcome is None:
        yield f"### {name}: not run"
        return
    results = outcome["tests"]
    skips = json.loads((ROOT / "tests/clients/suites/skips.json").read_text())[name]
    differences = DIFFERENCES[name]
    own = [test for test, (_, reason) in results.items() if reason.startswith(OWN_SKIPS)]
    counts = Counter(outcome for outcome, _ in results.values())
    failed = [test for test, (outcome, _) in results.items() if outcome == "failed"]
    yield f"### {name} {outcome['version']}"
    yield ""
    yield (
        f"{len(results)} tests: {counts['passed']} passed, {len(failed)} failed, "
        f"{len(skips)} skipped by name below, {len(own)} skipped by the suite itself whatever the "
        "broker (nothing to run, or for old brokers only), "
        f"{len(differences)} left out because of a difference that is on purpose."
    )
    for words, tests in (("Failed", failed),):
        if tests:
            yield ""
            yield f"{words}: " + ", ".join(f"`{one}`" for one in tests) + "."
    for test, reason in differences.items():
        yield ""
        yield f"On purpose: `{test}`. {reason}"
    if SUITES[name].adapted:
        yield ""
        yield "Adapted: " + "; ".join(
            f"`{file.removeprefix('tests/')}`, `{words}` reads `{instead}` (a node of ours "
            "cannot be number 0)"
            for file, words, instead in SUITES[name].adapted
        ) + "."  # fmt: skip
    yield ""
    yield "| skipped for | tests |"
    yield "|---|---|"
    for kind in sorted(set(skips.values())):
        named = sorted(short(test) for test, reason in skips.items() if reason == kind)
        yield f"| {kind} | {', '.join(f'`{one}`' for one in named)} |"


def short(test):
    return test.split("::")[-1]


def oracle_lines():
    result = loaded("oracle.json")
    if result is None or "not run" in result:
        yield "Not run."
        return
    yield (
        f"{result['steps']} requests to each, {result['fields']} fields of Kafka's answers "
        f"compared; {len(result['unlisted'])} differ without being listed here."
    )
    yield ""
    yield "| request and field | Apache Kafka 4.3.0 | Trimaran | why |"
    yield "|---|---|---|---|"
    grouped = {}
    for step, field, theirs, ours, reason in result["differences"]:
        grouped.setdefault(reason, []).append((step, field, theirs, ours))
    for reason, rows in grouped.items():
        step, field, theirs, ours = rows[0]
        more = f" and {len(rows) - 1} more" if len(rows) > 1 else ""
        named = f"{step}: `{field or 'answer'}`{more}"
        yield f"| {named} | {shown(theirs)} | {shown(ours)} | {reason} |"


def shown(value):
    return "-" if value == "(absent)" else f"`{value}`"


PROTOCOLS = {
    "confluent": "classic, `heartbeat.interval.ms=500`, `session.timeout.ms=6000`",
    "new_protocol": "new (KIP-848), a node's defaults: heartbeat 1 s, session 10 s",
}


def group_lines():
    """A table of the timed runs of groups: each loss by protocol, and whose offsets were intact."""
    path = BUILD / "group-times.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    if not rows:
        yield "Not run."
        return
    dates = sorted({row["date"][:10] for row in rows})
    yield f"{' to '.join(sorted({dates[0], dates[-1]}))}, on {rows[-1]['machine']}."
    yield ""
    yield "| protocol | what happens | runs | lowest s | median s | highest s |"
    yield "|---|---|---|---|---|---|"
    for library, words in PROTOCOLS.items():
        own = [row for row in rows if row["library"] == library]
        for what in dict.fromkeys(what for row in own for what in row["taken_s"]):
            taken = [row["taken_s"][what] for row in own if what in row["taken_s"]]
            low, high = min(taken), max(taken)
            figures = f"{low:.2f} | {statistics.median(taken):.2f} | {high:.2f}"
            yield f"| {words} | {what} | {len(taken)} | {figures} |"
    yield ""
    for library, words in PROTOCOLS.items():
        own = [row for row in rows if row["library"] == library]
        intact = sum(row["is_intact"] for row in own)
        yield f"- {words}: committed offsets intact in {intact} of {len(own)} runs."


def page():
    found = loaded("features.json") or {}
    lines = [HEAD, "## Client x feature", "", *feature_lines(found)]
    lines += ["", "## Apache Kafka's own tools", ""]
    lines += simple_lines("tools", found.get("tools", {}))
    lines += [
        "",
        "## Stream frameworks",
        "",
        "An application on each counts events by key; it is killed, loses its disk, and goes on "
        "with the counts that it finds in its changelog topic.",
        "",
        *simple_lines("framework", found.get("frameworks", {})),
        "",
        "## Groups that lose members and nodes",
        "",
        "Three consumers over 30 partitions on three nodes. Each time is from before the loss (a "
        "member is told to leave, SIGKILL is sent) until an event that was produced after it in "
        "every partition is read; of a killed member, until the others have all of its "
        "partitions. After each loss the committed offsets are compared with what members were "
        "told.",
        "",
        *group_lines(),
        "",
        "## The clients' own suites",
    ]
    for name in SUITES:
        lines += ["", *suite_lines(name)]
    lines += ["", "## Apache Kafka as an oracle", "", *oracle_lines()]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(f"{PAGE.relative_to(ROOT)} is written")
