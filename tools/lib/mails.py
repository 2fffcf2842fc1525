# SPDX-License-Identifier: GPL-2.0
"""The mails that this repository sends: the series, which files are in which mail, and git for repositories of our own:
in the user's name, but not with the user's configuration."""

from __future__ import annotations

import collections
import fnmatch
import os
import re
import shutil
import subprocess
from typing import NamedTuple

from lib.base import ROOT, Stop, kernel_source, read
from lib.stage import overlay, patches_of

MAILS = os.path.join(ROOT, "tools/data/mails")


class Series(NamedTuple):
    on: str  # the series that it is made on
    patches: str  # a folder of patches that have a message: its first mails
    texts: dict[str, str]  # of the other mails: a text in tools/data/mails/SERIES/, and the files that come with it


SERIES = {
    "um": Series("", "arch/um/fix", {}),
    "libfuse": Series("", "tools/data/libfuse", {}),
    "kunit": Series("", "", {
        "01-threads": "include/kunit/thread.h lib/kunit/thread.c lib/kunit/kunit-*-test.c "
                      "lib/kunit/Makefile.1.patch lib/kunit/Kconfig.1.patch scripts/*",
        "02-leaks": "lib/kunit/leak-test.c lib/kunit/Makefile.2.patch lib/kunit/Kconfig.2.patch"}),
    "fuse": Series("kunit", "fs/fuse/fix", {
        "06-docs": "Documentation/*",
        "07-files": "fs/fuse/tests/fake_fs.c fs/fuse/tests/fake_server.h fs/fuse/tests/export.c fs/fuse/tests/Makefile "
                    "fs/fuse/Makefile.patch fs/fuse/Kconfig.1.patch fs/fuse/.kunitconfig tools/testing/kunit/*",
        "08-server": "fs/fuse/tests/fake_server.c",
        "09-calls": "fs/fuse/tests/fixture_calls.c fs/fuse/tests/fixture.h",
        "10-fixture": "fs/fuse/tests/fixture.c",
        "11-stories": "fs/fuse/tests/inval_entry_kunit.c fs/fuse/tests/inval_late_kunit.c",
        "12-schedules": "fs/fuse/tests/inval_race_kunit.c",
        "13-server-of-selftests": "tools/testing/*/fuse_test_server.h tools/testing/*/fuse/config",
        "14-selftest": "tools/testing/*/inval_entry_test.c tools/testing/*/Makefile.1.patch tools/testing/*/.gitignore.1.patch"}),
    "more": Series("fuse", "", {
        "01-table": "fs/fuse/tests/inval_table_kunit.c",
        "02-waits": "fs/fuse/tests/inval_waits_kunit.c",
        "03-benchmark": "fs/fuse/tests/inval_bench_kunit.c fs/fuse/Kconfig.2.patch",
        "04-selftests": "tools/testing/*/notify_*_test.c tools/testing/*/Makefile.2.patch tools/testing/*/.gitignore.2.patch"}),
}


def chain(name: str) -> list[str]:
    """A series, and in front of it those that it is made on."""
    return [*chain(SERIES[name].on), name] if name else []


def mails(name: str) -> list[tuple[str, list[str]]]:
    """Of a series, each mail's text and its files, of which the patches are to be applied."""
    series = SERIES[name]
    patches = patches_of(os.path.join(ROOT, series.patches)) if series.patches else []
    return [(read(patch).partition("\n---\n")[0], [patch]) for patch in patches] + [
        (read(MAILS, name, text + ".txt"), brought_by(files)) for text, files in series.texts.items()]


def brought_by(patterns: str) -> list[str]:
    return [file for file in overlay() if any(fnmatch.fnmatch(os.path.relpath(file, ROOT), one) for one in patterns.split())]


def check_table() -> None:
    """Each file that goes to the kernel is in exactly one mail."""
    there = collections.Counter(file for name in SERIES for _, files in mails(name) for file in files)
    for file in overlay():
        if there[file] != 1:
            raise Stop(f"{os.path.relpath(file, ROOT)} is in {there[file]} mails: see SERIES in tools/lib/mails.py")


def libfuse(folder: str) -> str:
    """Puts libfuse's tree, as Debian's sid has it, into a folder; returns its version."""
    tree = kernel_source("--libfuse")
    shutil.copytree(tree, folder, dirs_exist_ok=True)
    return tree.rpartition("-")[2]


def git(tree: str, *options: str) -> str:
    """Runs git; returns what it prints."""
    # GIT_DIR, say, would have it work in the user's own repository
    env = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    done = subprocess.run(["git", "-C", tree, "-c", f"core.excludesFile={os.devnull}", "-c", f"core.attributesFile={os.devnull}",
                           *options], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          env={**env, **identity(), "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"})
    if done.returncode:
        raise Stop(f"git {options[0]} failed: {(done.stderr.strip() or 'no reason given').splitlines()[0]}")
    return done.stdout


def identity() -> dict[str, str]:
    """Who signs, as git knows it in this checkout, or else anywhere."""
    for place in ROOT, "/":
        done = subprocess.run(["git", "-C", place, "-c", "user.useConfigOnly=true", "var", "GIT_AUTHOR_IDENT"],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if who := re.match(r"(.*) <(.*)> \d", done.stdout):
            return {f"GIT_{role}_{what}": value for role in ("AUTHOR", "COMMITTER")
                    for what, value in (("NAME", who[1]), ("EMAIL", who[2]))}
    raise Stop("git does not know who signs the series:\n  git config --global user.name 'Your Name'\n"
               "  git config --global user.email you@example.org")


def start(tree: str) -> None:
    git(tree, "init", "--quiet")
    git(tree, "add", "--all")
    git(tree, "commit", "--quiet", "--message", "what there is")
    git(tree, "tag", "base")
