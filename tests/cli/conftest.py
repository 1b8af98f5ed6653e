"""The command line, run as a person does, in this process."""

import pytest

from trimaran.cli.main import main


@pytest.fixture
def run(capsys):
    """Run a command line; return its exit code, what it printed, and what it complained of."""

    def run_words(*words):
        with pytest.raises(SystemExit) as ended:
            main(words)
        out = capsys.readouterr()
        code = ended.value.code
        return (0 if code is None else code), out.out, out.err

    return run_words
