"""What aiokafka's own tests know as Docker, with a Trimaran node in place of a container.

Their fixtures ask Docker for an image that listens on a given port; here that is `start_node.py`
in the interpreter that TRIMARAN_PYTHON names. Everything else they would run inside the container
(tools for ACLs, SASL users, certificates) is answered with success and does nothing: the tests that
need it are skipped by name (`suites/skips.toml`).
Does not: run containers.
"""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from types import SimpleNamespace

STOP_S = 15.0


class Container:
    """A cluster of one node, or nothing where the image was wanted for a tool in it."""

    def __init__(self, environment):
        self.process = None
        self.directory = None
        if "ADVERTISED_PORT" in environment:
            self.start(environment)

    def start(self, environment):
        self.directory = Path(tempfile.mkdtemp(prefix="trimaran-suite-", dir=Path.cwd()))
        script = os.environ["TRIMARAN_START_NODE"]
        words = [environment["ADVERTISED_PORT"], environment["NUM_PARTITIONS"]]
        self.process = subprocess.Popen(
            [os.environ["TRIMARAN_PYTHON"], script, str(self.directory / "cluster")]
            + [str(word) for word in words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        if self.process.stdout.readline() != b"ready\n":
            raise RuntimeError("the node did not start")

    def exec_run(self, _command, **_options):
        return 0, b""

    def stop(self):
        if self.process is None:
            return
        self.process.communicate(timeout=STOP_S)
        shutil.rmtree(self.directory, ignore_errors=True)


class Client:
    def __init__(self):
        self.images = SimpleNamespace(pull=lambda _image: None)
        self.containers = SimpleNamespace(run=self.run)

    def run(self, image, *, environment=None, **_options):
        return Container(environment or {})

    def close(self):
        pass


from_env = Client
models = SimpleNamespace(containers=SimpleNamespace(Container=Container))
