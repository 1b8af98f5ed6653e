"""`trimaran`: finds the noun that was typed and imports nothing else.

`node` does not even import the command-line library: a node must be up in a moment.
Does not: implement any command.
"""

import sys
from collections.abc import Sequence
from importlib import import_module

from trimaran import __version__

NOUNS = (
    "up",
    "down",
    "demo",
    "format",
    "topic",
    "produce",
    "consume",
    "group",
    "cluster",
    "leader",
    "dedup",
    "top",
    "bundle",
    "context",
    "doctor",
    "verify",
    "sim",
    "bench",
)
"""In the order of the help; each is a module of this package with a function `register`."""

HELP = """Trimaran: three nodes, one log, any Kafka client.

`trimaran up` starts a local cluster, `trimaran demo` shows it surviving its leaders.
`trimaran node --config FILE` runs one node. `--install-completion` teaches your shell the words.
`--version` says which one this is.

Exit codes: 0 it worked, 1 it failed, 2 wrong usage or settings, 130 interrupted.
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line `arguments` (sys.argv without the program's name) and exit."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words[:1] == ["node"]:
        from trimaran.server.main import main as node_main

        sys.exit(node_main(words[1:]))
    if words == ["--version"]:
        print(f"trimaran {__version__}")
        sys.exit(0)
    run(words)


def run(words: list[str]) -> None:
    """Build the command line with the noun typed, or with all of them for help, and run it."""
    import typer

    from trimaran.cli.exits import INTERRUPTED, USAGE, CommandError, end_with
    from trimaran.errors import ConfigError, TrimaranError

    app = typer.Typer(
        help=HELP, no_args_is_help=True, add_completion=True, pretty_exceptions_enable=False
    )
    app.callback()(lambda: None)
    nouns = [words[0]] if words and words[0] in NOUNS else NOUNS
    for noun in nouns:
        import_module(f"trimaran.cli.{noun}").register(app)
    try:
        app(words, prog_name="trimaran", standalone_mode=True)
    except CommandError as error:
        end_with(error, error.code)
    except ConfigError as error:
        end_with(error, USAGE)
    except (TrimaranError, OSError) as error:
        end_with(error, 1)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
