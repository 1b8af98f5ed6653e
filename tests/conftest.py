"""What every test shares: Hypothesis profiles, and an honest list of what could not run.

A test that needs a program outside Python says so: `@pytest.mark.needs("kcat")`. Where the program
is missing the test is skipped and listed as *not run: install kcat*; with TRIMARAN_TOOLS_REQUIRED
set (as in `.ci/run`) a list that is not empty fails the run.

Does not: define fixtures for one package only; those live beside that package's tests.
"""

import os
import shutil
from collections import Counter
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

NOT_RUN = "not run: install "

_QUIET = [HealthCheck.too_slow]
settings.register_profile("dev", max_examples=50, deadline=None, suppress_health_check=_QUIET)
settings.register_profile(
    "ci", max_examples=200, deadline=None, derandomize=True, suppress_health_check=_QUIET
)
settings.register_profile(
    "nightly", max_examples=10_000, deadline=None, suppress_health_check=_QUIET
)
settings.load_profile(os.environ.get("TRIMARAN_PROFILE", "ci" if os.environ.get("CI") else "dev"))


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "needs(program, ...): runs only where these are installed")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        for program in _missing_programs(item):
            item.add_marker(pytest.mark.skip(reason=f"{NOT_RUN}{program}"))


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    if _tools_required() and not exitstatus and _not_run(session.config):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    not_run = _not_run(config)
    if not not_run:
        return
    terminalreporter.section("not run")
    for reason, count in sorted(not_run.items()):
        terminalreporter.line(f"{reason}  ({count} tests)")
    if _tools_required():
        terminalreporter.line("TRIMARAN_TOOLS_REQUIRED is set: this counts as a failure", red=True)


def _missing_programs(item: pytest.Item) -> Iterator[str]:
    for marker in item.iter_markers("needs"):
        for program in marker.args:
            if shutil.which(program) is None:
                yield program


def _tools_required() -> bool:
    return bool(os.environ.get("TRIMARAN_TOOLS_REQUIRED"))


def _not_run(config: pytest.Config) -> Counter[str]:
    """Count the skipped tests by what would have to be installed for them."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    counts: Counter[str] = Counter()
    for report in reporter.stats.get("skipped", []) if reporter is not None else []:
        text = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        if NOT_RUN in text:
            counts[text[text.index(NOT_RUN) :]] += 1
    return counts
