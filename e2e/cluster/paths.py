"""Where things are kept: what is reused lies in the cache, what a running cluster needs in its state folder."""

from __future__ import annotations

import os
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


def cache_root() -> Path:
    """The folder for everything that is built or fetched once; outside the repository."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "pd-operator"


def state_root() -> Path:
    """The folder for what belongs to running clusters of this user."""
    base = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(base) / "pd-operator"
