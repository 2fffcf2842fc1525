# SPDX-License-Identifier: GPL-2.0
"""What the tests of tools/test use: a scratch folder, the calls of tools that all of them make, and the plan by which
they run."""

from __future__ import annotations

import difflib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest
import unittest.mock
from typing import Any

from lib.base import BUILD, ROOT, kernel_source, read, write
from lib.stage import DIR_C, OUR_FIX, apply_patch, copy_tree, patches_of

JUDGE = os.path.join(ROOT, "tools/judge")

SKIPPED = 77  # exit status


def run(*command: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, errors="replace", **options)


def kernel() -> str:
    """The pristine default tree."""
    return kernel_source()


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
        self.enterContext(unittest.mock.patch.dict(os.environ, FUSE_KUNIT_OUT=self.scratch))

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
        done = run(*command)
        self.assertEqual(done.returncode, status, done.stdout)
        self.assertRegex(done.stdout, says)
        self.assertNotIn("Traceback", done.stdout)
        return done.stdout

    def fix(self, new: str, old: str = "\tparent = fuse_ilookup(") -> str:
        """A patch of the pristine tree's fuse_reverse_inval_entry() that puts new in front of old."""
        before = read(kernel(), DIR_C)
        at = before.index(old, before.index("int fuse_reverse_inval_entry("))
        return self.write("fix.patch", patch_of(DIR_C, before, before[:at] + new + before[at:]))

    def ours_and(self, new: str, old: str = "\tparent = fuse_ilookup_outdate(") -> str:
        """A folder of patches: our fix, with new in front of old in dir.c, which is in fuse_reverse_inval_entry()."""
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
    """Tests in groups, and two lanes at the same time, each of which takes the next group when it has run one. A lane has a
    build folder of its own: so the tests that build or change the same kernel have to be one group."""

    def __init__(self, script: str, groups: list[list[str]]) -> None:
        self.script, self.groups, self.stopped = script, iter(groups), False
        self.done: list[tuple[float, str, int]] = []  # seconds, test, exit status
        self.children: dict[int, subprocess.Popen[str]] = {}

    def run(self, lane: int) -> None:
        for group in self.groups:
            for test in group:
                self.run_test(lane, test)

    def run_test(self, lane: int, test: str) -> None:
        if self.stopped:
            return
        print(f"[{lane}] {test} ...", flush=True)
        started = time.monotonic()
        self.children[lane] = child = subprocess.Popen(
            [sys.executable, self.script, "--alone", test], text=True, errors="replace",
            env={**os.environ, "FUSE_KUNIT_BUILD": os.path.join(ROOT, f"build/test-{lane}")},
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True)
        if self.stopped:  # meanwhile
            self.stop()
        out, took = child.communicate()[0], time.monotonic() - started
        self.done.append((took, test, child.returncode))
        how = {0: "ok", SKIPPED: "skipped"}.get(child.returncode, "FAILED")
        print(("" if how == "ok" else out) + f"[{lane}] {test}: {how}, {took:.0f} s", flush=True)

    def stop(self) -> None:
        self.stopped = True
        for child in list(self.children.values()):
            if child.poll() is None:
                os.killpg(child.pid, signal.SIGINT)


def alone(case: unittest.TestCase) -> int:
    """Runs a test in this process; returns the exit status."""
    try:
        result = unittest.TextTestRunner(sys.stdout, descriptions=False).run(case)
    except KeyboardInterrupt:
        case.doCleanups()
        return 130
    return SKIPPED if result.skipped else 0 if result.wasSuccessful() and result.testsRun else 1
