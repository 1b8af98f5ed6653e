"""Reads a node's settings from its file and the environment.

Does not: know what settings there are (config.py does).
"""

import os
from pathlib import Path

from trimaran.config import NodeConfig, load_config
from trimaran.errors import ConfigError


def read_config(path: Path) -> NodeConfig:
    """Return the settings of a file and the environment.

    Raises:
        ConfigError: the file cannot be read, or every problem found in it.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError([f"{path}: cannot be read as settings: {error}"]) from error
    try:
        return load_config(text, os.environ)
    except ConfigError as error:
        raise ConfigError([f"{path}: {problem}" for problem in error.problems]) from error
