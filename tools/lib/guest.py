# SPDX-License-Identifier: GPL-2.0
"""User space on a kernel under test: UML boots from the host's own files, which it can only read, runs one
program and switches off. The host is not changed, and if root runs this, the kernel runs as nobody."""

from __future__ import annotations

import glob
import os
import re
import selectors
import shutil
import subprocess
import tempfile
import time
from typing import Any

from lib.base import ROOT, Stop, progress, read, run
from lib.kernel import Kernel, flush_log, kill_kernels
from lib.log import REPORT, Lines, Reader, failures, parse

SELFTESTS = "tools/testing/selftests/filesystems/fuse"
PROGRAMS = sorted(os.path.basename(source)[:-2] for source in glob.glob(os.path.join(ROOT, SELFTESTS, "*_test.c")))
NOBODY = 65534


class Outcome(Reader):
    """The result of a program: what it printed as KTAP, and what the kernel's log says meanwhile."""

    def __init__(self, name: str, log: str) -> None:
        super().__init__(silent=False)
        self.name, self.log = name, log
        self.lines: list[str] = []  # the program's
        self.status: int | None = None

    def read_program(self, line: str) -> None:
        begins, ends = re.match(r"# +RUN +(\S+)", line), re.match("# guest: status (\\d+)", line)
        if ends:
            self.status, self.where = int(ends[1]), "at shutdown"
        else:
            self.where = begins[1] if begins else self.where
            self.lines.append(line)

    def read_kernel(self, line: str) -> None:
        if self.died:
            return  # that was asked for
        if REPORT.search(line) and self.report and REPORT.search(self.report.text):
            self.report = None  # nothing else tells where one ends
        if not re.match(r"kmemleak: \d+ new", line):  # tools/data/guest/init prints each of them
            super().read_kernel(line)

    @property
    def passed(self) -> bool:
        """All tests of the plan have a result, and not all of them were skipped."""
        return bool(self.tests.expected_count and self.tests.counts.passed) and not self.status and super().passed


def build(kernel: Kernel, names: list[str]) -> list[str]:
    """Builds selftests of the tree, or programs of tools/data/guest/, as the Makefile of these selftests does."""
    output = os.path.join(kernel.build_dir, "programs")
    headers, log = os.path.join(output, "include"), output + ".log"
    os.makedirs(os.path.join(headers, "linux"), exist_ok=True)
    shutil.copy(os.path.join(kernel.src, "include/uapi/linux/fuse.h"), os.path.join(headers, "linux"))
    programs = [os.path.join(output, name) for name in names]
    if run(["make", "-C", os.path.join(kernel.src, SELFTESTS), f"VPATH={ROOT}/tools/data/guest", f"OUTPUT={output}",
            f"NOTIFY_TESTS={' '.join(names)}", f"KHDR_INCLUDES=-isystem {headers}", *programs], log):
        errors = [line for line in read(log).splitlines() if re.search(r"error|\*\*\*", line)]
        raise Stop("\n".join(["the programs for user space do not build:", *errors[:3], f"log: {log}"]))
    return programs


def boot(kernel: Kernel, files: list[str], command: list[str], limit: int, **environment: object) -> Outcome:
    """Boots, runs a command in a folder that has copies of files and folders, and parses what it prints."""
    outcome = Outcome(command[0], os.path.join(kernel.build_dir, f"guest-{command[0]}.log"))
    progress.enter(command[0], outcome.log)
    with tempfile.TemporaryDirectory() as home, open(outcome.log, "w") as out:
        if subprocess.run(["cp", "-a", os.path.join(ROOT, "tools/data/guest/init"), kernel.linux, *files, home]).returncode:
            raise Stop(f"cannot copy the programs to {home}, see above")
        linux = os.path.join(home, os.path.basename(kernel.linux))
        os.mkdir(os.path.join(home, "uml"))
        who: dict[str, Any] = {}
        if os.geteuid() == 0:
            for path in home, os.path.join(home, "uml"):
                os.chown(path, NOBODY, NOBODY)
            who = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
        arguments = ["mem=1G", "seccomp=on", "kunit.enable=0", "console=tty1", "con=null", "con0=fd:1", "con1=fd:2",
                     "root=98:0", "rootfstype=hostfs", "rootflags=/", "ro", f"uml_dir={home}/uml", "umid=kernel",
                     *kernel.boot_options, *(f"{name}={value}" for name, value in environment.items()),
                     f"init={home}/init", "--", "./" + command[0], *command[1:]]
        # its memory is a file in TMPDIR, else in /dev/shm or /tmp, and the first may be root's
        env = {name: value for name, value in os.environ.items() if name not in ("TMPDIR", "TMP", "TEMP")}
        # if this process is killed, the kernel is, too
        child = subprocess.Popen(["setpriv", "--pdeathsig=KILL", linux, *arguments], cwd=home, env=env,
                                 stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True, **who)
        try:
            listen(outcome, child, out, limit, os.path.join(home, "uml/kernel/mconsole"))
        finally:
            kill_kernels(linux)
            child.communicate()
    outcome.tests = parse(kernel.src, outcome.lines)
    return outcome


def listen(outcome: Outcome, child: subprocess.Popen[bytes], log: Any, limit: int, mconsole: str) -> None:
    """Reads what the program and the kernel print, until the kernel ends or the time is up."""
    readers = {child.stdout: (Lines(), outcome.read_program, ""), child.stderr: (Lines(), outcome.read_kernel, "kernel: ")}
    end = time.monotonic() + limit
    with selectors.DefaultSelector() as selector:
        for stream, reader in readers.items():
            selector.register(stream, selectors.EVENT_READ, reader)  # type: ignore[arg-type]
        while selector.get_map():
            progress.tick()
            if time.monotonic() > end and not outcome.died:
                outcome.died = f"hung, {outcome.where}; ended after {limit} s"
                flush_log(mconsole, "sysrq t")  # where each task is
                child.kill()
            for key, _ in selector.select(0.2):
                lines, read_line, whose = key.data
                chunk = os.read(key.fd, 1 << 16)
                for line in lines(chunk):
                    log.write(f"{whose}{line}\n")
                    read_line(line)
                if not chunk:
                    selector.unregister(key.fileobj)
    if not outcome.died and (outcome.status is None or not outcome.halted):
        outcome.died = f"crashed, {outcome.where}"


def selftests(kernel: Kernel, only: list[str] | None = None, **environment: object) -> list[Outcome]:
    """Runs the selftests of notifications, or only some of them, each in a boot of its own."""
    names = only or PROGRAMS
    return [boot(kernel, [program], [name], kernel.args.timeout, **environment)
            for name, program in zip(names, build(kernel, names))]


def print_outcomes(outcomes: list[Outcome]) -> None:
    for outcome in outcomes:
        counts, failed = outcome.tests.counts, failures(outcome.tests)
        skipped = f", {counts.skipped} skipped" if counts.skipped else ""
        print(f"  user     {outcome.name}: {counts.passed} passed, {counts.total() - counts.passed - counts.skipped} failed{skipped}")
        for path, message in failed[:5]:
            print("\n             ".join([f"  failed   {'.'.join(path)}", *(line for line in message if " RUN " not in line)]))
        if failed[5:]:
            print(f"  failed   and {len(failed) - 5} more")
        if outcome.died:
            print(f"  kernel   {outcome.died}")
        for report in outcome.reports[:5]:
            print(f"  log      {report.text}\n             in {outcome.name}, {report}")
        if not outcome.passed:
            print(f"  see      {outcome.log}")
    print("  time     " + ", ".join(progress.times))
