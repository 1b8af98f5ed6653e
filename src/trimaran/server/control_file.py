"""`control.json` beside `cluster.json`: only while it is there may nodes be broken over HTTP.

It holds one token a run. `up` and `demo` write it before they start nodes and remove it at the end;
a node looks for it in the directory above its data.
Does not: break anything.
"""

import contextlib
import json
import os
import secrets
from pathlib import Path

CONTROL_FILE = "control.json"


def write_control(directory: Path) -> str:
    """Write a new token, readable by this user alone; return it."""
    token = secrets.token_urlsafe(18)
    fresh = directory / (CONTROL_FILE + ".new")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(json.dumps({"token": token}) + "\n")
    fresh.replace(directory / CONTROL_FILE)
    return token


def read_control(directory: Path) -> str | None:
    """Return the token of this run; None if nodes must not be broken here."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        token = json.loads((directory / CONTROL_FILE).read_text())["token"]
        if isinstance(token, str) and token:
            return token
    return None


def remove_control(directory: Path) -> None:
    """The run is over."""
    (directory / CONTROL_FILE).unlink(missing_ok=True)
