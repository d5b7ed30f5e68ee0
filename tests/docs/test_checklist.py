"""The checklist names tests and sections that exist, and no item is left out."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

CHECKLIST = Path(__file__).parents[2] / "docs" / "results" / "checklist.md"
ITEMS = (
    *(f"C{n}" for n in range(1, 5)), *("D1", "D2", "D4", "D5", "D8", "D9"), *(f"M{n}" for n in range(1, 6)),
    *(f"B{n}" for n in range(1, 5)), *(f"S{n}" for n in range(1, 4)), *(f"X{n}" for n in range(1, 4)),
)  # fmt: skip
LINK = re.compile(r"\[([^]]+)\]\(([^)#]+)(?:#([^)]+))?\)")


def rows() -> dict[str, list[str]]:
    """The cells of each item's row: what, state, shown by."""
    lines = [
        line.strip("|\n").split("|") for line in CHECKLIST.read_text().splitlines() if line.startswith("| ")
    ]
    cells = [[cell.strip() for cell in line] for line in lines]
    return {first: rest for first, *rest in cells if re.fullmatch(r"[A-Z]\d", first)}


def anchors(page: Path) -> set[str]:
    """Of a page's headings, as GitHub makes them."""
    headings = [line.lstrip("#").strip() for line in page.read_text().splitlines() if line.startswith("#")]
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_item_has_a_row() -> None:
    assert tuple(rows()) == ITEMS


@pytest.mark.parametrize("item", ITEMS)
def test_what_an_item_is_shown_by_exists(item: str) -> None:
    links = LINK.findall(rows()[item][2])
    assert links
    for text, path, anchor in links:
        target = (CHECKLIST.parent / path).resolve()
        assert target.is_file(), f"{item}: there is no {path}"
        if anchor:
            assert anchor in anchors(target), f"{item}: {path} has no section #{anchor}"
        else:
            test = text.strip("`")
            assert re.search(rf"^(async )?def {re.escape(test)}\(", target.read_text(), re.M), (
                f"{item}: no {test}"
            )


@pytest.mark.parametrize("item", ITEMS)
def test_an_item_holds_or_says_why_not(item: str) -> None:
    assert re.fullmatch(r"holds|(partly|does not hold): .{20,}", rows()[item][1])
