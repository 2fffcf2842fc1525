# SPDX-License-Identifier: GPL-2.0
"""Numbers of two things that were measured in turn, for tools/bench and tools/bench-loop: a table, a plot, and
on which machine."""

from __future__ import annotations

import glob
import os
import platform
import re
import statistics
import time
from typing import NamedTuple

from lib.base import ROOT, read, write

OUT = os.path.join(ROOT, "out")


class Row(NamedTuple):
    """What was done, and to or by how many."""
    what: str
    size: int
    unit: str


class Comparison:
    """Compares two things. Their numbers come in pairs, each of two runs that followed each other."""

    def __init__(self, title: str, names: list[str], goal: float) -> None:
        self.title, self.names = title, names
        self.goal = goal  # of the ratio
        self.values: dict[Row, tuple[list[int], list[int]]] = {}

    def add(self, which: int, row: Row, value: int) -> None:
        self.values.setdefault(row, ([], []))[which].append(value)

    def ratio(self, row: Row) -> float:
        return statistics.median(one / max(other, 1) for one, other in zip(*self.values[row]))

    def table(self) -> str:
        rows = [["", "of", "", *self.names, "ratio"], ["---"] * 6]
        rows += [[row.what, str(row.size or ""), row.unit, *map(spread, both), f"{self.ratio(row):.2f}"]
                 for row, both in self.values.items()]
        widths = [max(len(cells[i]) for cells in rows) for i in range(6)]
        return "".join("| " + " | ".join(cell.ljust(width) for cell, width in zip(cells, widths)) + " |\n" for cells in rows)

    def plot(self) -> str:
        """A bar for each ratio; what ends left of the line is as fast as it should be."""
        height, scale = 18 * len(self.values) + 50, 150 / self.goal
        bars = ""
        for i, row in enumerate(self.values):
            value = self.ratio(row)
            y, width = 40 + 18 * i, min(value * scale, 300)
            what = row.what + (f", {row.size}" if row.size else "")
            bars += (f'<text x="350" y="{y + 12}" text-anchor="end">{what}</text>'
                     f'<rect x="360" y="{y + 2}" width="{width:.1f}" height="13" fill="{"#2a7" if value <= self.goal else "#c63"}"/>'
                     f'<text x="{365 + width:.1f}" y="{y + 12}">{value:.2f}</text>\n')
        return (f'<svg xmlns="http://www.w3.org/2000/svg" width="740" height="{height}" font-family="sans-serif" font-size="12">\n'
                f'<rect width="740" height="{height}" fill="#fff"/><text x="10" y="20" font-size="14">{self.title}: '
                f'{" against ".join(self.names)}</text>\n{bars}'
                f'<path d="M510 32V{height - 10}" stroke="#000" stroke-dasharray="3"/></svg>\n')


def spread(values: list[int]) -> str:
    return f"{statistics.median(values):.0f}" + (f" ({min(values)} to {max(values)})" if values[1:] else "")


def write_page(path: str, title: str, what: str, comparisons: list[Comparison]) -> None:
    """Writes PATH.md, with a plot beside it for each table."""
    model = re.findall("^model name\t: (.*)", read("/proc/cpuinfo"), re.M)[:1] or [platform.machine()]
    text = f"# {title}\n\n{os.cpu_count()} x {model[0]}; {time.strftime('%Y-%m-%d')}; {what}"
    for comparison in comparisons:
        plot = f"{path}.{comparison.title.lower().replace(' ', '-')}.svg"
        write(plot, comparison.plot())
        text += f"\n## {comparison.title}\n\n{comparison.table()}\n![ratios]({os.path.basename(plot)})\n"
    write(path + ".md", text)


def remove(path: str) -> None:
    """Takes away what an earlier run has written there."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    for old in glob.glob(glob.escape(path) + ".*"):
        os.unlink(old)
