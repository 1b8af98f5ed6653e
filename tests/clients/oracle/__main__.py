"""The same conversation with Apache Kafka and with Trimaran, compared field by field.

    python -m tests.clients.oracle [--show]

Both run as one node on this machine, one after the other. `differences.json` lists what may differ
and why: {pattern of `step | field`: reason}. Exit code 1 if anything else differs, or if a listed
difference is not there any more. The outcome goes to `build/clients/oracle.json`.
Does not: run where Java or Maven is missing (exit code 0, and the outcome says "not run").
"""

import argparse
import json
import sys
from fnmatch import fnmatchcase
from pathlib import Path

from tests.clients.changed_cluster import ChangedCluster
from tests.clients.oracle import (
    administration_script,
    apache_kafka,
    compaction_script,
    groups_script,
    limits_script,
    records_script,
    sessions_script,
    topics_script,
)
from tests.clients.oracle.talk import Talk, flat

HERE = Path(__file__).parent
ABSENT = "(absent)"
SCRIPTS = (
    *topics_script.SCRIPT,
    *records_script.SCRIPT,
    *sessions_script.SCRIPT,
    *groups_script.SCRIPT,
    *administration_script.SCRIPT,
    *limits_script.SCRIPT,
    *compaction_script.SCRIPT,
)


class QuickCluster(ChangedCluster):
    """Retention and compaction begin within a tenth of a second, as `apache_kafka` is told to."""

    def settings_of(self, _number):
        return {"storage": {"retention_interval_ms": 100, "compaction_interval_ms": 100}}


def conversation(address):
    """Return every answer by the step's name."""
    talk = Talk(address)
    for part in SCRIPTS:
        part(talk)
    talk.hang_up()
    return talk.notes


def compare(theirs, ours):
    """Return [(step, field, Kafka's value, ours)] where they differ."""
    assert theirs.keys() == ours.keys(), theirs.keys() ^ ours.keys()
    rows = []
    for step in theirs:
        left, right = flat(theirs[step]), flat(ours[step])
        for field in [*left, *(one for one in right if one not in left)]:
            pair = left.get(field, ABSENT), right.get(field, ABSENT)
            if pair[0] != pair[1]:
                rows.append((step, field, *pair))
    return rows


def judge(rows, listed):
    """Return rows with their reasons, those without one, and the reasons that nothing needs."""
    reasoned, unlisted, used = [], [], set()
    for step, field, theirs, ours in rows:
        name = f"{step} | {field}"
        pattern = next((one for one in listed if matches(name, one)), None)
        if pattern is None:
            unlisted.append((name, theirs, ours))
        else:
            used.add(pattern)
            reasoned.append((step, field, theirs, ours, listed[pattern]))
    return reasoned, unlisted, [one for one in listed if one not in used]


def matches(name, pattern):
    """Whether `name` fits, `*` standing for anything; brackets mean themselves."""
    return fnmatchcase(name, pattern.replace("[", "[[]"))


def main():
    parser = argparse.ArgumentParser(prog="python -m tests.clients.oracle")
    parser.add_argument("--show", action="store_true", help="print every answer")
    show = parser.parse_args().show
    result = apache_kafka.BUILD / "oracle.json"
    result.parent.mkdir(parents=True, exist_ok=True)
    program = apache_kafka.missing()
    if program is not None:
        result.write_text(json.dumps({"not run": f"install {program}"}) + "\n")
        print(f"not run: install {program}")
        return 0
    with apache_kafka.apache_kafka() as address:
        theirs = conversation(address)
    with QuickCluster(nodes=1) as cluster:
        ours = conversation(cluster.bootstrap_servers)
    if show:
        print(json.dumps({"kafka": theirs, "trimaran": ours}, indent=1))
    listed = json.loads((HERE / "differences.json").read_text())
    reasoned, unlisted, unneeded = judge(compare(theirs, ours), listed)
    for name, left, right in unlisted:
        print(f"{name}: Kafka {left!r}, Trimaran {right!r}")
    for pattern in unneeded:
        print(f"listed, but no difference: {pattern}")
    steps = len(theirs)
    fields = sum(len(flat(one)) for one in theirs.values())
    print(f"{steps} steps, {fields} fields, {len(reasoned)} differences listed, "
          f"{len(unlisted)} not listed")  # fmt: skip
    outcome = {"steps": steps, "fields": fields, "differences": reasoned, "unlisted": unlisted}
    result.write_text(json.dumps(outcome, indent=1) + "\n")
    return 1 if unlisted or unneeded else 0


if __name__ == "__main__":
    sys.exit(main())
