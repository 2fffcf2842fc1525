# SPDX-License-Identifier: GPL-2.0
"""Many boots of one UML kernel, some at once, each of them ended as soon as it is known to fail. kunit.py
does not do that: it waits for the end of a kernel, and reads all of it once more."""

from __future__ import annotations

import contextlib
import os
import selectors
import subprocess
import tempfile
import time
from typing import Iterator

from lib.base import progress
from lib.kernel import Kernel, kill_kernels
from lib.log import REPORT, Lines, Reader

SILENCE = 20.0  # seconds without output after which a kernel counts as hung, if there is no good boot to compare with


class Boot:
    """A kernel that runs. fate is None until it has ended; then "" if nothing failed, else what did. good is a boot
    without failure: it shows how many results to expect, and how long a boot may print nothing."""

    def __init__(self, kernel: Kernel, name: str, arguments: list[str], uml_dir: str, good: Boot | None) -> None:
        self.lines, self.log = Lines(), Reader()
        self.longest, self.heard, self.end_by = 0.0, time.monotonic(), time.monotonic() + kernel.args.timeout
        self.name, self.expected = name, good.log.results if good else 0
        self.patience = max(3.0, 10 * good.longest) if good else SILENCE
        self.fate: str | None = None
        self.child = subprocess.Popen(  # with the 1G of kunit.py, half of a short boot initializes its pages
            [kernel.linux, "kunit.enable=1", "mem=256M", "console=tty", "kunit_shutdown=halt",
             f"uml_dir={uml_dir}", *arguments, *kernel.boot_options],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True)
        assert self.child.stdout
        self.out = self.child.stdout

    def read(self) -> None:
        chunk = os.read(self.out.fileno(), 1 << 16)
        self.longest, self.heard = max(self.longest, self.silence()), time.monotonic()
        for line in self.lines(chunk):
            if self.fate is None:
                self.read_line(line)
        if self.fate is None and not chunk:
            whole = self.log.halted and not self.log.left and not self.log.reports and self.log.results >= self.expected
            self.fate = "" if whole else self.died(self.said() or "crashes")

    def read_line(self, line: str) -> None:
        results = self.log.results
        said = self.said()  # before a result clears it
        self.log.read(line)
        if self.log.reports and REPORT.search(self.log.reports[-1].text):
            self.fate = self.died(self.log.reports[-1].text)
        elif self.log.results > results and (self.log.failed or self.log.reports):
            self.fate = f"{'.'.join(self.log.path)}: {said}"

    def said(self) -> str:
        """What is wrong in the case that runs."""
        return self.log.message or " ".join(line.strip() for report in self.log.reports for line in report.lines)

    def died(self, how: str) -> str:
        return f"{'.'.join(self.log.above())} after {self.log.path[-1] if self.log.path else 'boot'}: {how}"

    def silence(self) -> float:
        return time.monotonic() - self.heard

    def ended(self) -> bool:
        if self.fate is None and (self.silence() > (1 if self.said() else self.patience) or time.monotonic() > self.end_by):
            self.fate = self.died(self.said() or "hangs")
        return self.fate is not None

    def end(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.child.pid, 9)
        self.child.communicate()


def boots(kernel: Kernel, arguments: dict[str, list[str]], good: Boot | None = None) -> Iterator[Boot]:
    """Boots once with each of these arguments, whose keys are the names of the boots; yields each boot when it has ended."""
    waiting, running = list(arguments.items()), set[Boot]()
    with tempfile.TemporaryDirectory() as uml_dir, selectors.DefaultSelector() as selector:
        try:
            while waiting or running:
                progress.tick(f"{len(arguments) - len(waiting)} of {len(arguments)}")
                # A boot that prints nothing is waiting: its CPU is free for another one.
                while waiting and sum(boot.silence() < 1 for boot in running) < kernel.args.jobs:
                    boot = Boot(kernel, *waiting.pop(0), uml_dir, good)
                    running.add(boot)
                    selector.register(boot.out, selectors.EVENT_READ, boot)
                for key, _ in selector.select(0.2):
                    key.data.read()
                for boot in [boot for boot in running if boot.ended()]:
                    selector.unregister(boot.out)
                    boot.end()
                    running.remove(boot)
                    yield boot
        finally:
            for boot in running:
                boot.end()
            kill_kernels(kernel.linux)
