"""How the loop is compiled, and when compiled code on disk is out of date."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba


def _digest(folder: Path) -> str:
    """Of all files of the loop: a compiled function contains those that it calls."""
    sources = (path.read_bytes() for path in sorted(folder.glob("*.py")))
    return hashlib.sha256(b"\0".join(sources)).hexdigest()


DIGEST = _digest(Path(__file__).parent)

# Without numba's reference counting, which costs more than the work itself: nothing here allocates an array.
_compile: Any = numba.njit(cache=True, error_model="numpy", _nrt=False)  # type: ignore[call-overload]


def jit(function: Callable[..., Any]) -> Any:
    """Compile at the first call; kept on disk. numba would look at the function's own file alone for its age."""
    compiled = _compile(function)
    compiled._cache._cache_file._source_stamp = DIGEST
    return compiled
