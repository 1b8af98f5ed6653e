"""Everything about clients, one after the other: `python -m tests.clients [pytest's arguments]`.

The tests with every client there is, Apache Kafka as an oracle, the suites of those libraries whose
checkouts lie below the directory that SUITES names, then docs/clients.md. A part that fails does
not keep the others from running; each says how it ended. Exit code 0: all went well.
Does not: fetch checkouts.
"""

import os
import subprocess
import sys
from pathlib import Path

from tests.clients.suites.__main__ import SUITES


def parts(words):
    """Return {name: command} of what is to be run."""
    python = [sys.executable, "-m"]
    found = {
        "clients": [*python, "pytest", "tests/clients", *words],
        "oracle": [*python, "tests.clients.oracle"],
    }
    checkouts = os.environ.get("SUITES")
    for name in SUITES:
        checkout = Path(checkouts or "", name)
        if checkouts and checkout.is_dir():
            found[f"suite of {name}"] = [*python, "tests.clients.suites", name, str(checkout)]
        else:
            print(f"suite of {name}: not run, SUITES names no directory with its checkout")
    return found | {"page": [*python, "tests.clients.page"]}


def main(words):
    environment = {**os.environ, "TRIMARAN_ALL_CLIENTS": "1"}
    ends = {
        name: subprocess.run(command, env=environment, check=False).returncode
        for name, command in parts(words).items()
    }
    for name, code in ends.items():
        print(f"{name}: {'well' if code == 0 else f'exit code {code}'}")
    return 1 if any(ends.values()) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
