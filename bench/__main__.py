"""What `make bench`, `bench-full`, `bench-long` and `bench-peers` run.

    python -m bench bench|bench-full|bench-long|bench-peers [OPTION ...]

Options go to the command behind the name and win over what stands here.
"""

import sys

from bench.peers.__main__ import main as peers
from trimaran.bench.main import run

PASSES = {
    "bench": [["all", "--repeats", "1", "--seconds", "30", "--kills", "5", "--freezes", "2"]],
    "bench-full": [["all"], ["workloads"]],
    "bench-long": [["growth"]],
}


def main(name: str, options: list[str]) -> int:
    """Run the passes of one name; the highest exit code counts."""
    if name == "bench-peers":
        return peers(options)
    return max(run([*words, *options]) for words in PASSES[name])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
