# SPDX-License-Identifier: GPL-2.0
"""Numbers of two things that were measured in turn, for tools/bench and tools/bench-loop: a table, and on which
machine."""

from __future__ import annotations

import os
import platform
import re
import statistics
import time

from lib.base import aligned, read, write


class Comparison:
    """Compares two things. Their numbers come in pairs, each of two runs that followed each other."""

    def __init__(self, title: str, names: list[str]) -> None:
        self.title, self.names = title, names
        self.values: dict[tuple[str, str], tuple[list[int], list[int]]] = {}  # by what was done, and the unit

    def add(self, which: int, what: str, value: int, unit: str) -> None:
        self.values.setdefault((what, unit), ([], []))[which].append(value)

    def table(self) -> str:
        return aligned([["", "", *self.names, "ratio"], *([what, unit, *map(spread, both), f"{ratio(both):.2f}"]
                                                          for (what, unit), both in self.values.items())])


def ratio(both: tuple[list[int], list[int]]) -> float:
    return statistics.median(one / max(other, 1) for one, other in zip(*both))


def spread(values: list[int]) -> str:
    return f"{statistics.median(values):.0f}" + (f" ({min(values)} to {max(values)})" if values[1:] else "")


def write_page(path: str, title: str, what: str, comparisons: list[Comparison]) -> None:
    model = re.findall("^model name\t: (.*)", read("/proc/cpuinfo"), re.M)[:1] or [platform.machine()]
    text = f"# {title}\n\n{os.cpu_count()} x {model[0]}; {time.strftime('%Y-%m-%d')}; {what}"
    write(path, text + "".join(f"\n## {comparison.title}\n\n{comparison.table()}" for comparison in comparisons))
