"""Pages of which a benchmark writes the tables and a person the text around them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

END = "<!-- end of table -->\n"


def write_tables(page: Path, script: str, tables: Iterable[str]) -> None:
    """Replace what stands between the marks of `script` in the page."""
    begin = f"<!-- table: benchmarks/{script} --write -->\n"
    before, _, rest = page.read_text(encoding="utf-8").partition(begin)
    _, _, after = rest.partition(END)
    page.write_text("".join((before, begin, *tables, END, after)), encoding="utf-8")
