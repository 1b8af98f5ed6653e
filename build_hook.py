"""The package build's own steps: the dashboard's page, and what is in C compiled.

sdist, wheel and editable installs get the page; wheel and editable installs the compiled code. A
wheel with them is one for this platform and every Python from 3.11 on; TRIMARAN_PURE=1 makes one
without, that fits everywhere.

Does not: fail. Where npm cannot be reached, or no C compiler with Python's headers is there, the
package is built without the one or the other and says so.
"""

import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

HERE = Path(__file__).absolute().parent
sys.path[:0] = [str(HERE), str(HERE / "dashboard")]
import build as dashboard  # noqa: E402
import build_native as native  # noqa: E402

del sys.path[:2]


class PackageHook(BuildHookInterface[Any]):
    """Builds what is not there or older than its sources."""

    def dependencies(self) -> list[str]:
        """Return Node.js, if there is a page to build."""
        return [] if dashboard.is_fresh() else [dashboard.NODE_WHEEL]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build."""
        if not dashboard.is_fresh():
            try:
                dashboard.build()
            except dashboard.BuildError as error:
                self.app.display_warning(f"Trimaran's dashboard was not built: {error}")
        if self.target_name != "wheel":
            return
        try:
            native.compile_all()
        except native.CompileError as error:
            self.app.display_warning(f"Trimaran runs in plain Python, more slowly: {error}")
        else:
            build_data["pure_python"] = False
            build_data["tag"] = f"cp311-abi3-{native.platform_tag()}"
