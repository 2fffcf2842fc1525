# SPDX-License-Identifier: GPL-2.0
"""What all commands share: where things are, what is said while they work, and how they end."""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import os
import re
import signal
import subprocess
import sys
import time
from typing import Callable, Mapping

ROOT = os.path.realpath(__file__).rsplit("/tools/", 1)[0]
BUILD = os.environ.get("FUSE_KUNIT_BUILD") or os.path.join(ROOT, "build")  # tools/test runs some at the same time
OUT = os.environ.get("FUSE_KUNIT_OUT") or os.path.join(ROOT, "out")

# Signal handlers only add to this list, and the loops look at it: an exception that
# a handler raises could come after a process is started and before its pid is known.
signals: list[int] = []


class Stop(Exception):
    """Why there can be no verdict."""


class Progress:
    """Says on stderr what is being done, and remembers how long it took."""
    phase, started, said = "", 0.0, 0.0
    times: list[str] = []

    def enter(self, phase: str, what: str = "") -> None:
        if self.phase:
            self.times.append(f"{self.phase} {time.monotonic() - self.started:.1f} s")
        self.phase, self.started = phase, time.monotonic()
        self.say(what)

    def tick(self, what: str = "") -> None:
        if signals:
            raise Stop("interrupted")
        if time.monotonic() - self.said >= (0.5 if sys.stderr.isatty() else 15):
            self.say(what or f"{time.monotonic() - self.started:.0f} s")

    def say(self, what: str) -> None:
        self.said = time.monotonic()
        tty = sys.stderr.isatty()  # there it is one line, rewritten, and empty in the end
        if what or tty:
            what = what.replace(ROOT + "/", "")
            text = ("\r\033[K" if tty else "") + (f"{self.phase}: {what}" if what else "")
            print(text, end="" if tty else "\n", file=sys.stderr, flush=True)


progress = Progress()


def run(command: list[str], log: str, err: int | None = subprocess.STDOUT, limit: float = float("inf"),
        at_limit: Callable[[], None] = lambda: None, more: Mapping[str, str] = {},
        stuck: Callable[[], bool] = lambda: False) -> int:
    """Runs a command to its end, or until we are asked to stop; more is for its environment. at_limit() has to make
    it end when its time is up or it is stuck. Then all its processes get SIGINT: make removes what it has made in part, and
    kunit.py goes on until make or the kernel has ended. What is still there after that is killed."""
    env = {name: value for name, value in os.environ.items()  # `make check` exports its own
           if not name.startswith(("MAKE", "MFLAGS", "KBUILD_", "KCONFIG_", "ARCH", "CROSS_", "CCACHE_"))
           or name == "CCACHE_DISABLE"}
    env.update(LC_ALL="C", PYTHONDONTWRITEBYTECODE="1")
    env.update(more)
    with open(log, "w") as out:
        child = subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=err,
                                 start_new_session=True)
    end = time.monotonic() + limit
    try:
        while time.monotonic() < end and not stuck():
            progress.tick()
            with contextlib.suppress(subprocess.TimeoutExpired):
                return child.wait(timeout=0.1)
        at_limit()
        return child.wait(timeout=30)
    finally:
        with contextlib.suppress(ProcessLookupError):  # all gone
            os.killpg(child.pid, signal.SIGINT)
            for _ in range(500):
                child.poll()
                os.killpg(child.pid, 0)
                time.sleep(0.02)
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()


def read(*path: str) -> str:
    with open(os.path.join(*path), errors="backslashreplace") as file:
        return file.read()


def kernel_source(*options: str) -> str:
    """What tools/kernel-source prints."""
    answer = os.path.join(BUILD, "kernel-source.out")
    os.makedirs(BUILD, exist_ok=True)
    if run([os.path.join(ROOT, "tools/kernel-source"), *options], answer, err=None):
        raise Stop("there is no source tree, see above")
    return read(answer).strip()


def write(path: str, text: str) -> None:
    """Writes all of a file, or leaves it as it was."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path + ".new", "w") as file:
        file.write(text)
    os.replace(path + ".new", path)


def reasons(path: str) -> list[tuple[str, str]]:
    """What a list excuses: each in a line, and indented below it why."""
    found = re.findall(r"^([^\s#].*)\n((?:[ \t]+\S.*\n)*)", read(path) + "\n", re.M)
    if unexplained := [what for what, why in found if not why]:
        raise Stop(f"{path} gives no reason for {unexplained[0]}")
    return [(what, " ".join(why.split())) for what, why in found]


def aligned(lines: list[list[str]]) -> str:
    """A table of Markdown's, whose first line is its head."""
    widths = [max(map(len, column)) for column in zip(*lines)]
    head, *others = ("| " + " | ".join(map(str.ljust, line, widths)) + " |\n" for line in lines)
    return head + "|" + "|".join("-" * (width + 2) for width in widths) + "|\n" + "".join(others)


def rows(text: str) -> list[list[str]]:
    """The lines of all such tables in a text."""
    return [re.split(r" *\| *", line)[1:-1] for line in text.splitlines() if line.startswith("| ")]


def positive(text: str) -> int:
    if int(text) < 1:
        raise ValueError
    return int(text)


def command(work: Callable[[argparse.Namespace], int], parser: argparse.ArgumentParser) -> int:
    """Does a command's work, while no other one works in this checkout; returns its exit status."""
    args = parser.parse_args()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda received, _: signals.append(received))
    name = os.path.basename(sys.argv[0])
    try:
        os.makedirs(BUILD, exist_ok=True)
        with open(os.path.join(BUILD, "lock"), "a+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise Stop(f"another command (pid {read(file.name).strip()}) is at work in this checkout: "
                           "wait for it, or use a second clone") from None
            file.truncate(0)
            print(os.getpid(), file=file, flush=True)
            return work(args)
    except (Stop, OSError, subprocess.TimeoutExpired) as why:
        progress.enter("")
        whose = next(path for path in (BUILD, ROOT) if os.path.exists(path))
        print(f"{name}: {why}" + (f"\n{whose} belongs to user {os.stat(whose).st_uid}" if isinstance(why, PermissionError) else ""),
              file=sys.stderr)
        return 128 + signals[0] if signals else 2
