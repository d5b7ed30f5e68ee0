"""Profiles by name or from a file."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any

import click
import yaml

from pdoperator.capacity.builtin import BUILTIN
from pdoperator.capacity.profile import Profile
from pdoperator.capacity.profile_document import parse

MAX_BYTES = 1 << 20  # a profile is some hundred bytes; whatever is larger is another file


class ProfileType(click.ParamType[Profile]):
    """A built-in profile by name, or a YAML or JSON file."""

    name = "name or file"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Profile:
        """The profile; fails with the near names, or with what is wrong in the file."""
        if value in BUILTIN:
            return BUILTIN[value]
        path = Path(value)
        if not path.is_file():
            near = difflib.get_close_matches(value, BUILTIN, n=2)
            hint = (
                f"did you mean {' or '.join(near)}?" if near else "`pdctl profiles` lists the built-in ones"
            )
            self.fail(f"{value!r} is neither a file nor a built-in profile; {hint}", param, ctx)
        try:
            if path.stat().st_size > MAX_BYTES:
                raise ValueError(f"larger than {MAX_BYTES} bytes")
            return parse(yaml.safe_load(path.read_text(encoding="utf-8")))
        except yaml.YAMLError as error:
            self.fail(f"{value}: not YAML or JSON: {' '.join(str(error).split())}", param, ctx)
        except (OSError, ValueError) as error:
            self.fail(f"{value}: {error}", param, ctx)
