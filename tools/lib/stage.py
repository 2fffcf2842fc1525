# SPDX-License-Identifier: GPL-2.0
"""Steps 1 and 2 of a verdict: a kernel tree is mirrored into build/, and never modified; this repository's files
and a fix are put over the mirror."""

from __future__ import annotations

import concurrent.futures
import contextlib
import filecmp
import glob
import hashlib
import json
import mailbox
import os
import re
import shutil
import subprocess
import tempfile

from lib.base import BUILD, ROOT, Stop, progress, read, run, write

OVERLAY = ("arch", "Documentation", "fs", "include", "lib", "scripts", "tools/testing")  # these mirror the kernel tree
OUR_FIX = os.path.join(ROOT, "fs/fuse/fix")
DIR_C = "fs/fuse/dir.c"
KUNIT = "tools/testing/kunit/kunit.py"


def check_tree(kdir: str) -> str:
    """The tree's version, if it is one that can be judged."""
    for path in ("Makefile", "Kconfig", "fs/fuse/dir.c"):
        if not os.path.isfile(os.path.join(kdir, path)):
            raise Stop(f"{kdir} is not a kernel source tree: it has no {path}")
    numbers = re.findall(r"^(?:VERSION|PATCHLEVEL|SUBLEVEL|EXTRAVERSION) *= *(\S*)", read(kdir, "Makefile"), re.M)
    version = ".".join(numbers[:3]) + "".join(numbers[3:])
    path, name = "fs/fuse/dev.h", "fuse_chan_new"
    if not os.path.isfile(os.path.join(kdir, path)) or name + "(" not in read(kdir, path):
        raise Stop(f"{kdir} is Linux {version} and lacks {name}() in {path}:\n"
                   "the fake server of the suites needs it; Linux 7.2 and later have it")
    for path in (".config", "include/config", "arch/*/include/generated"):
        if glob.glob(os.path.join(glob.escape(kdir), path)):
            raise Stop(f"{kdir} is configured in place ({path} exists), so kbuild builds nowhere else: save its\n"
                       ".config and run `make mrproper` there, or give a clean checkout (`git worktree add`)")
    return version


def patches_of(fix: str) -> list[str]:
    """The patches of a fix in their order: it is one, or a folder or pattern of them, or a mailbox of git or b4."""
    if not os.path.isfile(fix):
        pattern = os.path.join(glob.escape(fix), "*") if os.path.isdir(fix) else fix
        found = sorted(path for path in glob.glob(pattern) if os.path.isfile(path) and "cover-letter" not in path)
        for path in found:
            if not is_patch(read(path)):
                raise Stop(f"--fix: {path} changes nothing: there is no diff in it; take it away from the others")
        if found:
            return found
        raise Stop(f"--fix: there is no patch {fix}: give a file, or a mailbox, a folder or a pattern for several")
    if not is_patch(read(fix)):
        raise Stop(f"--fix: {fix} changes nothing: there is no diff in it; to judge the tree as it is: FIX=none (--fix none)")
    mails = ["".join(part.get_payload(decode=True).decode(errors="replace") for part in mail.walk()
                     if not part.is_multipart()) for mail in mailbox.mbox(fix)] if read(fix).startswith("From ") else []
    patches = list(filter(is_patch, mails))
    if len(patches) < 2:
        return [fix]
    folder = os.path.join(BUILD, "mailbox")
    shutil.rmtree(folder, ignore_errors=True)
    for number, text in enumerate(patches, 1):
        write(os.path.join(folder, f"{number:04}.patch"), text)
    return sorted(glob.glob(folder + "/*"))


def copy_tree(kdir: str, to: str) -> None:
    """With links, where there can be: so nothing may write to a file in place."""
    for how in "-al", "-a":
        shutil.rmtree(to, ignore_errors=True)
        if not run(["cp", how, kdir, to], to + ".log"):
            return
    raise Stop(f"cannot make {to}: {read(to + '.log').splitlines()[0]}")


def is_patch(text: str) -> bool:
    """A cover letter is none."""
    return bool(re.search(r"(?m)^(--- .*\n\+\+\+ |rename from )", text))


def scan(kdir: str) -> dict[str, str]:
    """Every file of the tree with a stamp that changes when the file does; find is twice as fast as Python."""
    # Leave out build directories, such as .kunit, and if the tree is itself a stage of ours, those that we write to: kunit-*.
    skip = [entry.path for entry in os.scandir(kdir) if entry.is_dir()
            and (entry.name.startswith("kunit-") or os.path.exists(os.path.join(entry.path, ".config")))]
    pruned = [word for path in (ROOT, *skip) for word in ("-o", "-path", re.sub(r"([\\*?[])", r"\\\1", path))]
    found = subprocess.run(["find", kdir, "(", "-name", ".git", "-o", "-name", "__pycache__", *pruned, ")", "-prune", "-o",
                            "-type", "f", "-printf", r"%P\t%T@ %s %i\0", "-o", "-type", "l", "-printf", r"%P\t-> %l\0"],
                           stdout=subprocess.PIPE)
    if found.returncode:
        raise Stop("find could not read all files of the kernel tree, see above: let this user read them")
    return dict(line.split("\t", 1) for line in os.fsdecode(found.stdout).split("\0")[:-1])


def files_below(top: str) -> list[str]:
    return sorted(os.path.join(where, name) for where, _, names in os.walk(top)
                  for name in names if not name.endswith(("~", ".orig", ".rej", ".swp", ".pyc")))


def overlay() -> list[str]:
    """All that goes to the kernel, but for the fix."""
    files = [file for top in OVERLAY for file in files_below(os.path.join(ROOT, top))]
    return [file for file in files if os.path.dirname(file) != OUR_FIX]


def apply_patch(patch: str, kdir: str, version: str, scratch: str) -> list[str]:
    """Applies a patch to copies of the files it names; returns those names."""
    named = re.findall(r"^(?:(?:---|\+\+\+) [^/\s]+/|(?:rename|copy) from )([^\t\r\n]+)", read(patch), re.M)
    touched = [path for path in named if ".." not in path and os.path.isfile(os.path.join(kdir, path))]
    for path in touched:
        if not os.path.exists(os.path.join(scratch, path)):
            os.makedirs(os.path.dirname(os.path.join(scratch, path)), exist_ok=True)
            shutil.copy(os.path.join(kdir, path), os.path.join(scratch, path))

    def gnu_patch(*options: str) -> subprocess.CompletedProcess[str]:
        # --force: a patch that is applied already must fail, not be reversed
        return subprocess.run(["patch", "-p1", "--fuzz=0", "--force", "--no-backup-if-mismatch", "--reject-file=-",
                               "-d", scratch, "-i", patch, *options], env={**os.environ, "LC_ALL": "C"},
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, errors="backslashreplace")

    done = gnu_patch("--dry-run")
    if done.returncode and gnu_patch("--dry-run", "--reverse").returncode == 0:
        raise Stop(f"{patch.replace(ROOT + '/', '')} is applied already in {kdir}:\n"
                   "to judge the tree as it is: FIX=none (--fix none); else give a tree without this patch (`git worktree add`)")
    done = gnu_patch()
    if done.returncode:
        file, line = named[0] if named else "any file", ""
        for line in done.stdout.splitlines():
            if line.startswith("patching file "):
                file = line[14:].strip("'")
            elif re.search("FAILED|can't find|garbage|malformed|ignor", line):
                break
        raise Stop(f"{patch.replace(ROOT + '/', '')} does not apply to {file} of Linux {version}: {line}" + (
            "\nif the tree has a change of its own, judge that: FIX=none (--fix none)" if os.path.dirname(patch) == OUR_FIX else
            "\nif it is for another tree, give that: KDIR=DIR (--kdir DIR)"))
    return touched


def place(origin: str, staged: str, temporary: str, link: bool) -> None:
    """Puts a file into the stage. If its content is the same, it keeps its mtime, and nothing is rebuilt. Else it gets
    a new mtime, and what depends on it is rebuilt: it is copied, because a link has the mtime of the tree's file."""
    os.makedirs(os.path.dirname(staged), exist_ok=True)
    if link:
        with contextlib.suppress(OSError):  # another filesystem, not permitted, too many links
            os.link(origin, staged, follow_symlinks=False)
            return
    # A link to the tree's file always has equal content: if that was changed, with an old mtime, it must be copied.
    if (os.path.isfile(staged) and not os.path.islink(staged) and not os.path.islink(origin)
            and not os.path.samefile(origin, staged) and filecmp.cmp(origin, staged, shallow=False)):
        return
    shutil.copy(origin, temporary, follow_symlinks=False)
    os.replace(temporary, staged)


def stage(kdir: str, version: str, fix: list[str], home: str) -> None:
    """Brings the stage home/src up to date; home/manifest.json lists the files in it."""
    src, manifest = os.path.join(home, "src"), os.path.join(home, "manifest.json")
    there = os.path.exists(manifest) and os.path.isdir(src)
    old: dict[str, str] = json.loads(read(manifest)) if there else {}
    if not there and os.path.exists(home):
        shutil.rmtree(home)  # the objects too: the links of a new stage have old mtimes
    os.makedirs(src, exist_ok=True)
    ours = overlay()
    patches = fix + [file for file in ours if file.endswith(".patch")]
    with tempfile.TemporaryDirectory(dir=BUILD) as scratch, concurrent.futures.ThreadPoolExecutor(1) as meanwhile:
        scanned = meanwhile.submit(scan, kdir)
        touched = [path for patch in patches for path in apply_patch(patch, kdir, version, scratch)]
        stamps = scanned.result()
        for path in touched:
            stamps.pop(path, None)  # unless the patch deletes it, it comes back below
        origins = {os.path.relpath(file, scratch): file for file in files_below(scratch)}
        # after the patches, so that no fix changes the suite
        origins.update({os.path.relpath(file, ROOT): file for file in ours if not file.endswith(".patch")})
        for path, origin in origins.items():
            with open(origin, "rb") as content:
                stamps[path] = hashlib.sha256(content.read()).hexdigest()
        changed = [path for path, stamp in stamps.items() if old.get(path) != stamp]
        gone = [path for path in old if path not in stamps]
        if old and changed + gone:
            # If we are interrupted, the next run must not trust any of these.
            write(manifest, json.dumps({**old, **dict.fromkeys(changed + gone, "")}))
            kconfig = any(os.path.basename(path).startswith("Kconfig") for path in changed + gone)
            for config in glob.glob(os.path.join(glob.escape(src), "*/.config")) if kconfig else []:
                os.unlink(config)  # kunit.py makes it anew: a default may have changed
        for path in gone:
            with contextlib.suppress(OSError):  # gone already, or the directory is still needed
                os.unlink(os.path.join(src, path))
                os.removedirs(os.path.dirname(os.path.join(src, path)))
        for path in changed:
            progress.tick()
            place(origins.get(path) or os.path.join(kdir, path), os.path.join(src, path),
                  os.path.join(scratch, "temporary"), link=not old and path not in origins)
        if changed or gone:
            write(manifest, json.dumps(stamps))
