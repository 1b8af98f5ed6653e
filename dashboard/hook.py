"""The package build's step for the dashboard: sdist, wheel and editable installs get the page.

Does not: fail. Where npm cannot be reached the package is built without the page and says so.
"""

import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

sys.path.insert(0, str(Path(__file__).absolute().parent))
import build as dashboard

sys.path.pop(0)


class DashboardHook(BuildHookInterface[Any]):
    """Builds the page if its sources changed since."""

    def dependencies(self) -> list[str]:
        """Return Node.js, if there is something to build."""
        return [] if dashboard.is_fresh() else [dashboard.NODE_WHEEL]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build."""
        if dashboard.is_fresh():
            return
        try:
            dashboard.build()
        except dashboard.BuildError as error:
            self.app.display_warning(f"Trimaran's dashboard was not built: {error}")
