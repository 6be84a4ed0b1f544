"""Where gfqa keeps its data. No configuration file exists: flags and a few environment variables are all there is."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs


def home() -> Path:
    """The directory that holds the store: GFQA_HOME if set and not empty, else the user's data directory. Not created here."""
    chosen = os.environ.get("GFQA_HOME")
    if chosen:
        return Path(os.path.abspath(os.path.expanduser(chosen)))
    return Path(platformdirs.user_data_dir("gfqa", appauthor=False))
