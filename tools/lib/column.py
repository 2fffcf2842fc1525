# SPDX-License-Identifier: GPL-2.0
"""An implementation's verdicts for tools/matrix, one on each KUnit case with all its parameters. They are kept
in build/matrix/ until something that they depend on changes."""

from __future__ import annotations

import argparse
import dataclasses
import glob
import hashlib
import json
import os
import re
import time
from typing import Any

from lib.guest import Outcome, boot, build_selftests
from lib.base import BUILD, ROOT, Stop, progress, read, signals, write
from lib.kernel import Kernel
from lib.log import Result, Schedules, failures
from lib.stage import overlay

LOG = "kernel_log.outside_of_cases"
LIBFUSE = "inval_entry_test"  # tells stories of these suites, by the same names:
STORIES = ("fuse_inval_entry", "fuse_inval_late", "fuse_inval_table", "fuse_inval_waits")


@dataclasses.dataclass
class Cell:
    """The result of an implementation in a KUnit case with all its parameters."""
    verdict: str
    failed: int = 0
    total: int = 1
    messages: list[list[str]] = dataclasses.field(default_factory=list)  # parameter and text, of the first ones

    def __str__(self) -> str:
        return self.verdict + (f" {self.failed}/{self.total}" if self.verdict == "fails" and self.total > 1 else "")


class Column:
    """An implementation."""

    def __init__(self, fix: str, args: argparse.Namespace) -> None:
        self.kernel = Kernel(argparse.Namespace(**{**vars(args), "fix": fix}))
        self.name = re.sub(r"\.\w+$", "", os.path.basename(fix))
        heads = [re.sub(r"SPDX-.*\n", "", re.split(r"(?m)^(?:---|diff |Index: )", read(patch))[0]).strip()
                 for patch in self.kernel.fix] or ["The tree as it is."]
        about = heads[0] if len(heads) == 1 else "\n".join(head.split("\n")[0] for head in heads)
        self.about = about or f"{self.name}: a patch whose header says nothing"
        self.cells: dict[str, Cell] = {}
        self.broken: dict[str, int] = {}  # in how many schedules a property did not hold
        self.schedules = 0
        self.waits: dict[str, dict[str, str]] = {}  # of a request: what waits for which lock, and when
        self.judged, self.why = "", ""

    def twins(self, case: str) -> list[str]:
        """The verdicts of KUnit and of libfuse on a story that libfuse tells."""
        kunit = next((f"{suite}.{case.split('.')[1]}" for suite in STORIES
                      if f"{suite}.{case.split('.')[1]}" in self.cells), "")
        return [self.cells[name].verdict if name in self.cells else "none" for name in (kunit, case)]

    def verdict(self, case: str) -> str:
        """The worse one of KUnit and libfuse, on a story that both tell."""
        both = [self.cells[case].verdict, *(self.twins(case) if case.split(".")[0] == LIBFUSE else ())]
        return next((verdict for verdict in ("hangs", "crashes", "fails") if verdict in both), self.cells[case].verdict)

    def disagreements(self) -> list[str]:
        stories = [case for case in self.cells if case.split(".")[0] == LIBFUSE]
        return [case for case in stories if len(set(self.twins(case))) > 1]

    def text(self, case: str, exact: bool = False) -> str:
        cell = self.cells.get(case)
        if cell and case.split(".")[0] == LIBFUSE and not exact:
            return " / ".join(self.twins(case))
        # How many points there are depends on the length of hash chains.
        if cell and case.startswith("fuse_inval_race.") and not exact and cell.failed:
            return f"fails ?/{cell.total}"
        return str(cell or "not judged")

    def passes(self, case: str) -> bool:
        return case in self.cells and self.cells[case].verdict == "pass" and case not in self.disagreements()

    def property(self, name: str) -> str:
        """In how many schedules a property does not hold."""
        if not self.cells:
            return "not judged"
        return f"BROKEN in {self.broken[name]}" if self.broken.get(name) else "holds"

    def sum(self, cases: list[str]) -> str:
        passed = sum(case in self.cells and self.verdict(case) in ("pass", "skipped") for case in cases)
        return f"pass {passed}/{len(cases)}" if self.cells else "not judged"

    def file(self, tree: str) -> str:
        """The file that keeps the result: its name is a hash of all that the result depends on."""
        files = [file for file in overlay() if "/Documentation/" not in file]
        files += [*self.kernel.configs, *sorted(glob.glob(os.path.join(ROOT, "tools/lib/*.py"))),
                  os.path.join(ROOT, "tools/data/guest/init")]
        parts = [tree, *(part for file in files for part in (file, read(file)))]
        parts += map(read, self.kernel.fix)
        name = hashlib.sha256("\0".join(parts).encode(errors="backslashreplace")).hexdigest()[:20]
        return os.path.join(BUILD, "matrix", name + ".json")

    def judge(self, tree: str, again: bool) -> None:
        file = self.file(tree)
        kept = json.loads(read(file)) if os.path.exists(file) and not again else {}
        # With more time, a kernel that hung might pass.
        if kept and (kept["timeout"] == self.kernel.args.timeout or "hangs" not in read(file)):
            self.judged, self.cells = kept["judged"], {case: Cell(**cell) for case, cell in kept["cells"].items()}
            self.broken, self.schedules, self.waits = kept["broken"], kept["schedules"], kept["waits"]
            progress.enter("matrix", f"{self.name}: judged {self.judged}")
            return
        progress.enter("matrix", f"{self.name}: to be judged")
        try:
            self.cells, schedules, self.waits = boot_all(self.kernel)
            self.broken, self.schedules = schedules.broken, schedules.total
        except Stop as why:
            if signals:
                raise
            self.why = str(why)
            progress.enter("matrix", f"{self.name}: {why}")
            return
        self.judged = time.strftime("%Y-%m-%d %H:%M")
        write(file, json.dumps({"judged": self.judged, "timeout": self.kernel.args.timeout,
                                "broken": self.broken, "schedules": self.schedules, "waits": self.waits,
                                "cells": {case: dataclasses.asdict(cell) for case, cell in self.cells.items()}}))


def boot_all(kernel: Kernel) -> tuple[dict[str, Cell], Schedules, dict[str, dict[str, str]]]:
    """Every case gets a verdict: those after one that ends the kernel run in boots of their own."""
    kernel.build()
    cells, schedules, waits = {LOG: Cell("pass")}, Schedules(), dict[str, dict[str, str]]()
    todo = [""]  # what kunit.py is to choose; grows
    for chosen in todo:
        options = [chosen] if chosen else ["--filter=speed>very_slow"]
        result = kernel.boot(*options)
        if not result.booted:
            raise Stop(f"the kernel {'hangs' if result.hung else 'crashes'} at boot\nlog: {kernel.test_log}")
        take(result, cells)
        for cell in cells.values():
            cell.messages = [[name, kernel.name_addresses(text)] for name, text in cell.messages]
        if result.died:
            cells[result.died_in or LOG].messages[0][1] += "".join(f"\n{place}" for place in kernel.frames(
                "\n".join([result.asked, *(line for report in result.reports for line in report.lines)])))
        schedules.add(result.tests)
        waits.update(read_waits(result.tests))
        if result.died_in and "." not in chosen:
            suite = result.died_in.split(".")[0]
            left = [case for case in kernel.list_cases(options) if case not in cells]
            todo += dict.fromkeys(case if case.split(".")[0] == suite else case.split(".")[0] for case in left)
    for program in build_selftests(kernel):
        if os.path.basename(program) == LIBFUSE:
            take_stories(boot(kernel, [program], [LIBFUSE], kernel.args.timeout), cells)
    return cells, schedules, waits


def read_waits(tests: Any) -> dict[str, dict[str, str]]:
    """What fuse_inval_waits says: of each request, the notifications that wait while it is at the server, with the lock
    that they wait for, and for which names."""
    found: dict[str, dict[str, str]] = {}
    for parameter in (parameter for suite in tests.subtests if suite.name == "fuse_inval_waits"
                      for case in suite.subtests for parameter in case.subtests):
        log = "\n".join(parameter.log)
        there = re.findall("state: (.*)", log)
        sets = {"any": there, "cached": [state for state in there if state != "not_cached"],
                "positive": [state for state in there if state in ("file", "directory")]}
        waits: dict[str, list[str]] = {}
        for what, state in re.findall("waits: (.*, .*): (.*)", log):
            waits.setdefault(what, []).append(state)
        found[parameter.name] = {
            what: next((name for name, states in sets.items() if states == when), ", ".join(when).replace("_", " "))
            for what, when in waits.items()}
    return found


def take_stories(outcome: Outcome, cells: dict[str, Cell]) -> None:
    """A story passes if it does in each of its variants."""
    messages: dict[str, list[list[str]]] = {}
    for path, lines in failures(outcome.tests):
        messages.setdefault(path[0].split(".")[-1], []).append([path[0], "\n".join(lines)])
    for test in (test for test in outcome.tests.subtests if test.name):
        story = test.name.split(".")[-1]
        cell = cells.setdefault(f"{LIBFUSE}.{story}", Cell("skipped", 0, 0, messages=messages.get(story, [])[:3]))
        cell.total += 1
        cell.failed += test.status.name not in ("SUCCESS", "SKIPPED")
        cell.verdict = "fails" if cell.failed else "pass" if test.status.name == "SUCCESS" else cell.verdict
    if not outcome.died and (outcome.status is None or outcome.status > 1 or outcome.tests.counts.errors):
        cells[f"{LIBFUSE}.end"] = Cell("fails", 1, 1, [["", f"its output is incomplete, exit status {outcome.status}"]])
    if outcome.died:
        cells[f"{LIBFUSE}.end"] = Cell("hangs", 1, 1, [["", f"the kernel, {outcome.died}"]])
    for report in outcome.reports:
        cells[LOG].verdict, cells[LOG].failed = "fails", cells[LOG].failed or 1
        cells[LOG].messages.append([f"in {outcome.name}, {report}", report.text])


def take(result: Result, cells: dict[str, Cell]) -> None:
    messages: dict[str, list[list[str]]] = {}
    for path, lines in failures(result.tests):
        messages.setdefault(".".join(path[:2]), []).append([" ".join(path[2:]), "\n".join(lines)])
    for suite in result.tests.subtests:
        for case in suite.subtests:
            name, parameters = f"{suite.name}.{case.name}", case.subtests or [case]
            if name not in result.ended or name == result.died_in:
                continue
            states = [parameter.status.name for parameter in parameters]
            failed = sum(state not in ("SUCCESS", "SKIPPED") for state in states)
            failed = failed or int(case.status.name == "FAILURE")  # the case, but none of its parameters
            verdict = "fails" if failed else "pass" if "SUCCESS" in states else "skipped"
            # kunit.py may lose the message of a first parameter
            said = sorted(messages.get(name, []), key=lambda message: not message[1])
            cells[name] = Cell(verdict, failed, len(states), messages=said[:3])
    if result.died:
        name = result.died_in or LOG
        cells[name] = Cell("hangs" if result.hung else "crashes", 1, 1, [["", f"the kernel, {result.died}"]])
    for report in result.reports:
        name = ".".join(report.case[:2])
        cell = cells[name if name in cells else LOG]
        cell.failed = cell.failed or 1
        cell.verdict = "fails" if cell.verdict == "pass" else cell.verdict
        cell.messages.append([" ".join(report.case[2:]) or str(report), report.text])
