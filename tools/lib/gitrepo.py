# SPDX-License-Identifier: GPL-2.0
"""git in repositories of our own, for the mails: in the user's name, but not with the user's configuration."""

from __future__ import annotations

import os
import re
import subprocess

from lib.base import ROOT, Stop


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
