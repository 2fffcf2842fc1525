# SPDX-License-Identifier: GPL-2.0
"""Numbers of two things that were measured in turn, for tools/bench and tools/bench-loop: a table, and on which
machine."""

from __future__ import annotations

import os
import platform
import re
import statistics
import time
from typing import NamedTuple

from lib.base import ROOT, aligned, read, write

OUT = os.path.join(ROOT, "out")


class Row(NamedTuple):
    """What was done, and to or by how many."""
    what: str
    size: int
    unit: str


class Comparison:
    """Compares two things. Their numbers come in pairs, each of two runs that followed each other."""

    def __init__(self, title: str, names: list[str]) -> None:
        self.title, self.names = title, names
        self.values: dict[Row, tuple[list[int], list[int]]] = {}

    def add(self, which: int, row: Row, value: int) -> None:
        self.values.setdefault(row, ([], []))[which].append(value)

    def ratio(self, row: Row) -> float:
        return statistics.median(one / max(other, 1) for one, other in zip(*self.values[row]))

    def table(self) -> str:
        return aligned([["", "of", "", *self.names, "ratio"],
                        *([row.what, str(row.size or ""), row.unit, *map(spread, both), f"{self.ratio(row):.2f}"]
                          for row, both in self.values.items())])


def spread(values: list[int]) -> str:
    return f"{statistics.median(values):.0f}" + (f" ({min(values)} to {max(values)})" if values[1:] else "")


def write_page(path: str, title: str, what: str, comparisons: list[Comparison]) -> None:
    model = re.findall("^model name\t: (.*)", read("/proc/cpuinfo"), re.M)[:1] or [platform.machine()]
    text = f"# {title}\n\n{os.cpu_count()} x {model[0]}; {time.strftime('%Y-%m-%d')}; {what}"
    write(path, text + "".join(f"\n## {comparison.title}\n\n{comparison.table()}" for comparison in comparisons))
