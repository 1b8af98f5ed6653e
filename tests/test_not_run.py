"""The list of tests that could not run: what tests/conftest.py promises."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
EXAMPLE = """
import pytest

@pytest.mark.needs("no-such-program")
def test_with_a_program():
    assert True

def test_without():
    assert True
"""


def run_example(folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    shutil.copy(ROOT / "tests" / "conftest.py", folder)
    (folder / "test_example.py").write_text(EXAMPLE, encoding="utf-8")
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TRIMARAN_")}
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", str(folder)],
        cwd=folder,
        env={**kept, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_missing_program_is_listed_and_the_rest_runs(tmp_path: Path) -> None:
    done = run_example(tmp_path)

    assert done.returncode == pytest.ExitCode.OK, done.stdout
    assert "not run: install no-such-program  (1 tests)" in done.stdout
    assert "1 passed, 1 skipped" in done.stdout.splitlines()[-1]


def test_missing_program_fails_the_run_where_tools_are_required(tmp_path: Path) -> None:
    done = run_example(tmp_path, TRIMARAN_TOOLS_REQUIRED="1")

    assert done.returncode == pytest.ExitCode.TESTS_FAILED, done.stdout
