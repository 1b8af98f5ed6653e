"""A cluster whose nodes start with other settings than those that a local cluster is founded with.

Does not: check the settings; the nodes do.
"""

from pathlib import Path

import yaml

from trimaran.testing import Cluster


class ChangedCluster(Cluster):
    """Subclasses say what is set."""

    def settings_of(self, number):
        """Return {section: {setting: value}} of node `number`."""
        raise NotImplementedError

    def _arrange(self, founded):
        for number, place in founded.nodes.items():
            path = Path(f"{place.data}.yaml")
            settings = yaml.safe_load(path.read_text())
            for section, values in self.settings_of(number).items():
                settings.setdefault(section, {}).update(values)
            path.write_text(yaml.safe_dump(settings))
        return founded
