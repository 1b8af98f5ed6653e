"""A pytest plugin for the suites of others: skips what is listed by name, notes what happened.

`TRIMARAN_SKIPS` names a JSON file {suite: {test id: reason}}; `TRIMARAN_RESULTS` gets one JSON
object {test id: [outcome, reason]}.
Does not: change any test.
"""

import json
import os
import sys
from pathlib import Path

import pytest

RESULTS = {}

if os.environ.get("TRIMARAN_SUITE") == "aiokafka":
    # Their fixtures write a keytab with Kerberos' tool before every class of tests.
    import subprocess

    _run = subprocess.run

    def run(command, *words, **options):
        if command == ["ktutil"]:
            return subprocess.CompletedProcess(command, 0, b"", b"")
        return _run(command, *words, **options)

    subprocess.run = run


def pytest_collection_modifyitems(items):
    skips = json.loads(Path(os.environ["TRIMARAN_SKIPS"]).read_text())
    listed = skips[os.environ["TRIMARAN_SUITE"]] | json.loads(os.environ["TRIMARAN_DIFFERENCES"])
    for item in items:
        if item.nodeid in listed:
            item.add_marker(pytest.mark.skip(reason=listed[item.nodeid]))


def pytest_runtest_logreport(report):
    if report.when == "call" or report.outcome != "passed":
        reason = ""
        if report.outcome == "skipped":
            reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else ""
        elif report.outcome == "failed":
            crash = getattr(report.longrepr, "reprcrash", None)
            reason = crash.message.splitlines()[0] if crash else str(report.longrepr)[-200:]
        known = RESULTS.get(report.nodeid)
        if known is None or known[0] != "failed":
            RESULTS[report.nodeid] = [report.outcome, reason.removeprefix("Skipped: ")]


def pytest_collectreport(report):
    if report.failed:
        RESULTS[report.nodeid or "collection"] = ["failed", "not collected"]
        print(report.longrepr, file=sys.stderr)


def pytest_sessionfinish():
    Path(os.environ["TRIMARAN_RESULTS"]).write_text(json.dumps(RESULTS, indent=1))
