"""`python -m trimaran.bench`: the same as `trimaran bench`."""

import sys

from trimaran.bench.main import run

if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
