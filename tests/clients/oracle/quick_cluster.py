"""One node of Trimaran that looks at its logs often, as `apache_kafka` is told to.

Does not: change what a client can see otherwise.
"""

from pathlib import Path

import yaml

from trimaran.testing import Cluster

SETTINGS = {"retention_interval_ms": 100, "compaction_interval_ms": 100}


class QuickCluster(Cluster):
    """Retention and compaction begin within a tenth of a second."""

    def _arrange(self, founded):
        for place in founded.nodes.values():
            path = Path(f"{place.data}.yaml")
            settings = yaml.safe_load(path.read_text())
            settings.setdefault("storage", {}).update(SETTINGS)
            path.write_text(yaml.safe_dump(settings))
        return founded
