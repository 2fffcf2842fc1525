# SPDX-License-Identifier: GPL-2.0
"""What the tests of tools/test use: a scratch folder, the calls of tools that all of them make, and the plan by which
they run."""

from __future__ import annotations

import contextlib
import difflib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import unittest
from typing import Any

from lib.base import BUILD, ROOT, read, write
from lib.stage import DIR_C, OUR_FIX, apply_patch, copy_tree, patches_of

JUDGE = os.path.join(ROOT, "tools/judge")

SKIPPED = 77  # exit status
PROGRESS = re.compile(r"[\w, ]+: \d+ (s|of \d+)$")  # a line about the progress of a tool, which is printed at once


def run(*command: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, errors="replace", **options)


def kernel() -> str:
    """The pristine default tree."""
    return subprocess.run([os.path.join(ROOT, "tools/kernel-source")], stdout=subprocess.PIPE, text=True,
                          check=True).stdout.strip()


def patch_of(path: str, before: str, after: str) -> str:
    return "".join(difflib.unified_diff(before.splitlines(True), after.splitlines(True), "a/" + path, "b/" + path))


def on(kernel: str) -> Any:
    """Says which kernel a test builds, or changes, if it is not that of its class."""
    def mark(test: Any) -> Any:
        test.kernel = kernel
        return test
    return mark


class Test(unittest.TestCase):
    """A scratch folder, and what all tests ask of the tools."""

    kernel = ""  # that the tests need: those with the same one do not run at the same time

    def setUp(self) -> None:
        self.scratch = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.scratch, ignore_errors=True)

    def write(self, name: str, text: str) -> str:
        path = os.path.join(self.scratch, name)
        write(path, text)
        return path

    def own_tree(self) -> str:
        """The default tree once more: it shares the inodes, so nothing may be written in place."""
        tree = os.path.join(BUILD, "own-tree")
        self.addCleanup(shutil.rmtree, tree, ignore_errors=True)
        copy_tree(kernel(), tree)
        return tree

    def judge(self, *options: str, status: int, says: str = ".") -> str:
        return self.tool(JUDGE, *options, status=status, says=says)

    def tool(self, *command: str, status: int, says: str) -> str:
        out = ""
        with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, errors="replace") as tool:
            assert tool.stdout
            for line in tool.stdout:
                out += line
                if PROGRESS.match(line):
                    print(line, end="", flush=True)
        self.assertEqual(tool.returncode, status, out)
        self.assertRegex(out, says)
        self.assertNotIn("Traceback", out)
        return out

    def fix(self, new: str, old: str = "\tparent = fuse_ilookup(") -> str:
        """A patch of the pristine tree's fuse_reverse_inval_entry() that puts new in front of old."""
        before = read(kernel(), DIR_C)
        at = before.index(old, before.index("int fuse_reverse_inval_entry("))
        return self.write("fix.patch", patch_of(DIR_C, before, before[:at] + new + before[at:]))

    def ours_and(self, new: str, old: str) -> str:
        """A folder of patches: our fix, with new in front of old in dir.c."""
        before = self.fixed(DIR_C)
        shutil.copytree(OUR_FIX, os.path.join(self.scratch, "fix"), dirs_exist_ok=True)
        return os.path.dirname(self.write("fix/last.patch", patch_of(DIR_C, before, before.replace(old, new + old, 1))))

    def other_signature(self) -> str:
        """A patch of the pristine tree that gives fuse_reverse_inval_entry() one more argument."""
        return self.write("signature.patch", "".join(
            patch_of(path, before := read(kernel(), path), re.sub(r"(\bfuse_reverse_inval_entry\([^)]*)\)", rf"\1, {more})", before))
            for path, more in ((DIR_C, "bool more"), ("fs/fuse/fuse_i.h", "bool more"), ("fs/fuse/notify.c", "true"))))

    def fixed(self, path: str) -> str:
        """A file with our fix, and all others that it changes beside it."""
        for patch in patches_of(OUR_FIX):
            apply_patch(patch, kernel(), "", self.scratch)
        return read(self.scratch, path)


class Plan:
    """Tests that are left to run, in two lanes at the same time. Each lane has a build folder of its own, and each
    kernel is built in one of them only: the tests that need it stay in that lane. The first test gets all processors."""

    def __init__(self, script: str, tests: dict[str, str], first: str) -> None:
        self.script, self.kernels, self.first_test = script, tests, first
        self.left, self.lanes = list(tests), dict[str, int]()
        self.done: list[tuple[float, str, int]] = []  # seconds, test, exit status
        self.children: dict[int, subprocess.Popen[str]] = {}
        self.lock, self.stopped = threading.Lock(), False
        self.first = threading.Event()  # the first test has ended: until then no other that needs a kernel runs
        if first not in tests:
            self.first.set()

    def next(self, lane: int) -> str:
        """The first test that does not need the other lane's kernel, or "" if there is none."""
        with self.lock:
            test = next((test for test in self.left if self.lanes.get(self.kernels[test], lane) == lane), "")
            if test:
                self.left.remove(test)
                if self.kernels[test]:
                    self.lanes[self.kernels[test]] = lane
            return test

    def start(self, lane: int, test: str) -> subprocess.Popen[str] | None:
        with self.lock:
            if self.stopped:
                return None
            self.children[lane] = subprocess.Popen(
                [sys.executable, self.script, "--alone", test], text=True, errors="replace",
                env={**os.environ, "FUSE_KUNIT_BUILD": os.path.join(ROOT, f"build/test-{lane}")},
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True)
            return self.children[lane]

    def run(self, lane: int) -> None:
        while test := self.next(lane):
            if self.kernels[test] and test != self.first_test:
                self.first.wait()
            started, out = time.monotonic(), ""
            child = self.start(lane, test)
            if not child:
                break
            with child:
                assert child.stdout
                for line in child.stdout:
                    out += line
                    if PROGRESS.match(line):
                        print(f"[{lane}] {test}, {line}", end="", flush=True)
            if test == self.first_test:
                self.first.set()
            took = time.monotonic() - started
            self.done.append((took, test, child.returncode))
            how = {0: "ok", SKIPPED: "skipped"}.get(child.returncode, "FAILED")
            print(("" if how == "ok" else out) + f"[{lane}] {test}: {how}, {took:.0f} s", flush=True)

    def stop(self) -> None:
        with self.lock:
            self.stopped = True
            self.first.set()
            for child in self.children.values():
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(child.pid, signal.SIGINT)


def alone(case: unittest.TestCase) -> int:
    """Runs a test in this process; returns the exit status."""
    try:
        result = unittest.TextTestRunner(sys.stdout, descriptions=False).run(case)
    except KeyboardInterrupt:
        case.doCleanups()
        return 130
    return SKIPPED if result.skipped else 0 if result.wasSuccessful() and result.testsRun else 1
