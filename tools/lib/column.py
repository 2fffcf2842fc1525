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
    """The result of an implementation in a KUnit case with all its parameters, or in a story that libfuse tells."""
    verdict: str
    share: str = ""  # how many of its parameters failed
    messages: list[list[str]] = dataclasses.field(default_factory=list)  # parameter and text, of the first ones
    kunit: str = ""  # of a story: the verdict of KUnit on the same one

    def __str__(self) -> str:
        return f"{self.kunit} / {self.verdict}" if self.kunit else f"{self.verdict} {self.share}".rstrip()

    @property
    def worst(self) -> str:
        return next((bad for bad in ("hangs", "crashes", "fails") if bad in (self.verdict, self.kunit)), self.verdict)

    @property
    def agrees(self) -> bool:
        return self.kunit in ("", self.verdict)


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

    def text(self, case: str) -> str:
        return str(self.cells.get(case, "not judged"))

    def passes(self, case: str) -> bool:
        return case in self.cells and self.cells[case].verdict == "pass" and self.cells[case].agrees

    def property(self, name: str) -> str:
        """In how many schedules a property does not hold."""
        if not self.cells:
            return "not judged"
        return f"BROKEN in {self.broken[name]}" if self.broken.get(name) else "holds"

    def sum(self, cases: list[str]) -> str:
        passed = sum(case in self.cells and self.cells[case].worst in ("pass", "skipped") for case in cases)
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

    def judge(self, tree: str) -> None:
        file = self.file(tree)
        kept = json.loads(read(file)) if os.path.exists(file) else {}
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
    tests: dict[str, list[Any]] = {}
    for test in (test for test in outcome.tests.subtests if test.name):
        tests.setdefault(test.name.split(".")[-1], []).append(test)
    for story, variants in tests.items():
        cells[f"{LIBFUSE}.{story}"] = cell = cell_of(variants, [(path[:1], lines) for test in variants for path, lines in failures(test)])
        cell.kunit = next((cells[name].verdict for suite in STORIES if (name := f"{suite}.{story}") in cells), "none")
    if outcome.died:
        cells[f"{LIBFUSE}.end"] = Cell("hangs", messages=[["", f"the kernel, {outcome.died}"]])
    elif outcome.status is None or outcome.status > 1 or outcome.tests.counts.errors:
        cells[f"{LIBFUSE}.end"] = Cell("fails", messages=[["", f"its output is incomplete, exit status {outcome.status}"]])
    for report in outcome.reports:
        cells[LOG].verdict = "fails"
        cells[LOG].messages.append([f"in {outcome.name}, {report}", report.text])


def cell_of(tests: list[Any], failed: list[tuple[tuple[str, ...], list[str]]], always: bool = False) -> Cell:
    """What the tests of a case came to together; always: even if all of them passed, it failed."""
    states = [test.status.name for test in tests]
    bad = sum(state not in ("SUCCESS", "SKIPPED") for state in states)
    verdict = "fails" if bad or always else "pass" if "SUCCESS" in states else "skipped"
    # kunit.py may lose the message of a first parameter
    said = sorted(([" ".join(path), "\n".join(lines)] for path, lines in failed), key=lambda message: not message[1])
    return Cell(verdict, f"{bad or 1}/{len(tests)}" if verdict == "fails" and tests[1:] else "", said[:3])


def take(result: Result, cells: dict[str, Cell]) -> None:
    for suite in result.tests.subtests:
        for case in suite.subtests:
            name = f"{suite.name}.{case.name}"
            if name in result.ended and name != result.died_in:
                cells[name] = cell_of(case.subtests or [case], [(path[1:], lines) for path, lines in failures(case)],
                                      case.status.name == "FAILURE")
                if suite.name == "fuse_inval_race":  # how many points there are depends on the length of hash chains
                    cells[name].share = re.sub(r"^\d+", "?", cells[name].share)
    if result.died:
        cells[result.died_in or LOG] = Cell("hangs" if result.hung else "crashes", messages=[["", f"the kernel, {result.died}"]])
    for report in result.reports:
        name = ".".join(report.case[:2])
        cell = cells[name if name in cells else LOG]
        cell.verdict = "fails" if cell.verdict == "pass" else cell.verdict
        cell.messages.append([" ".join(report.case[2:]) or str(report), report.text])
