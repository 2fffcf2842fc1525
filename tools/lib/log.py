# SPDX-License-Identifier: GPL-2.0
"""Step 6 of a verdict: what the log of a kernel says."""

from __future__ import annotations

import importlib
import os
import pathlib
import re
import sys
from typing import Any

from lib.base import ROOT, read
from lib.stage import KUNIT, files_below

TIME_IS_UP = "# judge: time is up"

# A line of a kernel report that says what it is about; a line that only belongs to one.
REPORT = re.compile(
    r"WARNING: |BUG: |KASAN: |UBSAN: |KCSAN: |BUG KFENCE|possible .* (detected|dependency)|INFO: (task|rcu|trying)"
    r"|suspicious RCU usage|detected stall|Oops|protection fault|kmemleak: \d|unreferenced object|refcount_t: "
    r"|DEBUG_LOCKS_WARN|printk messages dropped|locks? still held|held lock freed|VFS: Busy inodes|corruption|Kernel panic|Kernel mode fault")
REPORT_PART = re.compile("cut here|Call Trace:")
KTAP = re.compile(r" *(KTAP version \d|1\.\.\d|(not )?ok \d|#|$)")
RESULT = re.compile(r"( *)(not )?ok \d+ (?:- )?([^#]*[^# ])")


class Lines:
    """Splits what a kernel prints, which is read in pieces, into complete lines without times. An empty piece ends it."""
    rest = b""

    def __call__(self, piece: bytes) -> list[str]:
        *lines, self.rest = (self.rest + (piece or b"\n" * bool(self.rest))).split(b"\n")
        return [re.sub(r"^\[ *\d+\.\d+\] ", "", line.decode(errors="backslashreplace").rstrip("\r")) for line in lines]


def parse(src: str, lines: list[str]) -> Any:
    """What the kunit.py of a tree makes of a kernel's log."""
    sys.path.insert(0, os.path.dirname(os.path.join(src, KUNIT)))
    printer = importlib.import_module("kunit_printer").null_printer
    return importlib.import_module("kunit_parser").parse_run_tests(lines, printer)


class Report:
    """Something the kernel printed that is no test's output: what it says, and during which case."""

    def __init__(self, text: str, where: str) -> None:
        self.text, self.where = text, where  # where: as in Reader; if it is "", the report is in:
        self.case: tuple[str, ...] = ()
        self.lines = [text]

    def add(self, line: str) -> None:
        self.lines.append(line)
        if REPORT.search(line) and not REPORT.search(self.text):
            self.text = line.strip()  # says more than the line it began with

    def __str__(self) -> str:
        return self.where or "in " + ".".join(self.case)


class Reader:
    """What a kernel has printed so far: its reports, the tests that have ended, with their results, and those that run. It
    reads a line at a time."""
    tests: Any = None  # kunit.py's results, if it was asked
    died = ""  # where, if the kernel did not come to its end

    def __init__(self, silent: bool = True) -> None:
        self.silent = silent  # no driver says anything during the tests
        self.where = "at boot"  # or "": in the tests, or "at shutdown"
        self.halted, self.booted = False, False
        self.reports: list[Report] = []
        self.report: Report | None = None  # the one that goes on
        self.assertion = False  # its lines may say anything
        self.message = ""  # what failed in the case that runs, and how
        self.names: dict[int, str] = {}  # of the tests around a line, by their indentation
        self.path: tuple[str, ...] = ()  # of the last result
        self.failed = False  # what that result is
        self.left = self.results = 0  # suites to come; results there were
        self.ended: set[str] = set()  # suites and cases

    def read(self, line: str) -> None:
        if self.where and re.match(r"KTAP version 1$|(not )?ok \d", line):
            self.where, self.booted = "", True
        elif line.startswith("reboot: "):
            self.where = "at shutdown"
        if self.where or not KTAP.match(line):
            self.read_kernel(line)
        else:
            self.read_ktap(line)

    def read_kernel(self, line: str) -> None:
        self.halted |= bool(re.match("reboot: (System halted|Restarting|Power)", line))
        if self.report and "cut here" not in line:
            self.report.add(line)
        elif self.silent and not self.where and not self.assertion or REPORT.search(line) or REPORT_PART.search(line):
            self.report = Report(line.strip(), self.where)
            self.reports.append(self.report)
        elif self.assertion:
            self.message += " " + line.strip()

    def read_ktap(self, line: str) -> None:
        self.report = None
        self.assertion = " FAILED at " in line or self.assertion and not line
        subtest, result, plan = re.match("( *)# Subtest: (.*)", line), RESULT.match(line), re.match(r"1\.\.(\d+)$", line)
        if plan:
            self.left += int(plan[1])
        elif subtest:
            self.names = {indent: name for indent, name in self.names.items() if indent < len(subtest[1])}
            self.names[len(subtest[1])] = subtest[2]
        elif result:
            depth = len(result[1])
            self.names = {indent: name for indent, name in self.names.items() if indent <= depth and depth}
            self.path, self.failed, self.message = (*self.above(), result[3]), bool(result[2]), ""
            self.results += 1
            self.ended.add(".".join(self.path))
            for report in self.reports:
                if not report.where and not report.case:
                    report.case = self.path  # printed before its result
            self.left -= not depth
            self.where = "at shutdown" if self.left <= 0 and not depth else ""
        elif " FAILED at " in line:
            self.message = line.split(" FAILED at ")[1]

    def above(self) -> list[str]:
        return [name for _, name in sorted(self.names.items())]

    @property
    def passed(self) -> bool:
        counts = self.tests.counts
        return not (self.died or self.reports or counts.failed or counts.crashed or counts.errors)


class Result(Reader):
    """What a boot came to: what the kunit.py of a tree makes of the kernel's log, and what that says beyond it."""

    def __init__(self, src: str, log: str, hung: str = "", silent: bool = True) -> None:
        super().__init__(silent)
        lines = self.lines = Lines()(pathlib.Path(log).read_bytes() + b"\n")
        self.tests, self.hung, self.log = parse(src, lines), hung, log
        self.counts = self.tests.counts
        self.died_in = ""  # the case, if known
        self.flushed = TIME_IS_UP in lines
        end = lines.index(TIME_IS_UP) if self.flushed else len(lines)
        self.asked = "\n".join(lines[end:])  # what a hung one was doing
        for line in lines[:end]:
            self.read(line)
        self.left_behind = next(iter(re.findall(r"# SKIP (.*) left a lock or a thread behind", "\n".join(lines))), "")
        if self.hung or not self.halted:
            self.died = "at boot"

    def find_where(self, cases: list[str]) -> None:
        """Where the kernel was: in the first of all cases, which are in their order, that did not end."""
        left = [case for case in cases if not self.ended & {case, case.split(".")[0]}]
        if not left:
            self.died = "after the last case" if cases else "in a case that kunit.py --list_tests does not list"
            return
        self.died_in = left[0]
        self.died = f"in {left[0]}" + (f', after parameter "{self.path[2]}"' if self.path[2:] else "")
        if not (self.flushed or self.reports):
            self.died += ", or in the case after that"  # its result may have been kept back
        for report in self.reports:
            if not report.where and not report.case:
                report.case = tuple(left[0].split("."))


def failures(test: Any, above: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], list[str]]]:
    """What failed below a test of kunit_parser's: suite, case and parameter, and the messages."""
    name = above if test.name == "main" else (*above, test.name)
    if test.subtests and not test.subtests[0].log and not test.subtests[0].subtests:
        test.subtests[0].log = test.log  # what a first parameter prints, kunit_parser takes for the head of its case
    below = [failure for sub in test.subtests for failure in failures(sub, name)]
    if below or test.status.name != "FAILURE":
        return below
    lines = [re.sub(r"^# [^:]*: |(?<=\d) \(0x\w+\)$", "", line.strip()) for line in test.log if line.strip()]
    first = next((i for i, line in enumerate(lines) if " FAILED at " in line), 0)
    text = "\n".join(line for line in lines[first:] if line != "slow" and not re.match(r"alone: |(# .*)?pass:\d", line))
    # For what the fixture reports, its own file and line are of no use.
    text = re.sub(r"(?m)^.* FAILED at (\S*/fixture\w*\.c\S*|(\S+))\n", lambda at: f"{at[2]}: " if at[2] else "", text)
    return [(name, text.splitlines()[:7])]


class Schedules:
    """What fuse_inval_race found: how many schedules there were, in how many of them each property did not hold,
    and one message of each kind."""
    PROPERTIES = {"fresh": "not fresh", "collateral": "collateral", "quiet": "not quiet", "balanced": "not balanced",
                  "serial": "not serial", "waits": "waits", "server": "the server complains"}

    def __init__(self) -> None:
        self.total, self.broken = 0, dict[str, int]()
        self.classes: dict[str, set[str]] = {}  # of those that broke: state, notification and call
        self.messages: dict[str, list[str]] = {}  # by what they say, without names and numbers

    def add(self, tests: Any) -> None:
        for suite in tests.subtests:
            for parameter in (parameter for case in suite.subtests for parameter in case.subtests
                              if suite.name.startswith("fuse_inval_race")):
                self.read(parameter.name, re.sub(r"(?m)^ *# ?(\w+: )?", "", "\n".join(parameter.log)))

    def read(self, which: str, log: str) -> None:
        for number in re.findall(r"(?m)^schedules: (\d+)$", log):
            self.total += int(number)
        for name, number in re.findall(r"(?m)^broken: (\w+) in (\d+)$", log):
            self.broken[name] = self.broken.get(name, 0) + int(number)
            self.classes.setdefault(name, set()).add(which)
        for message in log.split("EXPECTATION FAILED at ")[1:]:
            lines = [line.strip() for line in message.splitlines()[1:]]
            end = next((i for i, line in enumerate(lines) if line.startswith(tuple(self.PROPERTIES.values()))), 0)
            if end:
                self.messages.setdefault(re.sub(r"'.*'|\d+|, not .*", "", lines[end]), lines[:end + 1])

    def where(self, name: str) -> str:
        """What the schedules have in common in which a property did not hold, which locates the mistake."""
        names = [which.split(".") for which in sorted(self.classes[name])]
        if common := [word for word in names[0] if all(word in other for other in names)]:
            return ", all with " + " and ".join(common)
        parts = [list(dict.fromkeys(part)) for part in zip(*names)]
        pattern = ".".join("*" if len(part) > 4 else "|".join(part) for part in parts)
        return f", all of {pattern}" if pattern != "*.*.*" else ""


def stories() -> dict[str, tuple[str, str]]:
    """What the sources say of a case, and where."""
    found = {}
    for file in (file for top in ("fs", "lib", "tools/testing") for file in files_below(os.path.join(ROOT, top))):
        text = read(file)
        suites = re.findall(r'\.name\s*= "(\w+)"', text) or [os.path.basename(file)[:-2]]
        for suite in suites if file.endswith(".c") else []:
            for case in re.finditer(r"(?s)(?:/\*((?:(?!\*/).)*)\*/[ \t\\]*\n\t?)?"
                                    r"(?:static void |RACE_CASE\(|TEST_F\(\w+, )(\w+)(?:\)|\(struct kunit \*test\))", text):
                what = " ".join(re.sub(r"(?m)^\s*\*", "", case[1] or "").split())
                found[f"{suite}.{case[2]}"] = what, f"{os.path.relpath(file, ROOT)}:{text[:case.start(2)].count(chr(10)) + 1}"
    return found
