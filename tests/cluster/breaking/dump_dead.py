"""`python dump_dead.py DIR TOPIC`: the entries of one topic, and on standard error what is wrong.

For the directory of a node that is killed or frozen: `trimaran verify` refuses the latter, since a
process holds it; what it would find after SIGKILL is what lies there. Exit code 1: not all is well.
"""

import json
import sys

from trimaran.cli.dump import dumped_entries
from trimaran.storage.files import RealFiles
from trimaran.storage.verify import DataDirectory, verify_store


def main(directory, topic):
    files = RealFiles(directory, read_only=True)
    opened = DataDirectory(files)
    for entry in dumped_entries(opened, files, topic=topic):
        print(json.dumps(entry))
    opened.close()
    findings = verify_store(files)
    for finding in findings:
        print(finding, file=sys.stderr)
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
