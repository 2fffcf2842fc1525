# SPDX-License-Identifier: GPL-2.0
"""A kernel under test, for the commands in this folder: a tree mirrored into build/ (it is never
modified), this repository's files and a fix put over the mirror, all that built and booted by the
tree's own kunit.py, and what came of it."""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import fcntl
import filecmp
import glob
import hashlib
import importlib
import json
import mailbox
import os
import pathlib
import re
import shlex
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from typing import Any, Callable, Iterable, Mapping

ROOT = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
BUILD = os.environ.get("FUSE_KUNIT_BUILD") or os.path.join(ROOT, "build")  # tools/test runs some at the same time
OVERLAY = ("arch", "Documentation", "fs", "include", "lib", "scripts", "tools/testing")  # these mirror the kernel tree
PROFILES = os.path.join(ROOT, "tools/profiles")
OUR_FIX = os.path.join(ROOT, "fs/fuse/fix")
DIR_C = "fs/fuse/dir.c"
KUNIT = "tools/testing/kunit/kunit.py"
TIME_IS_UP = "# judge: time is up"
# Where distributions have ccache under the names of compilers, and where it keeps what they have made.
CCACHE = ("/usr/lib/ccache", "/usr/lib64/ccache", "/usr/lib/ccache/bin")
KEPT = os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "fuse-inval-kunit/ccache")
TOOLCHAIN = ("binutils", "clang", "cpp", "gcc", "libc6-dev", "libclang", "libllvm", "linux-libc-dev")  # of Debian

# A line of a kernel report that says what it is about; a line that only belongs to one.
REPORT = re.compile(
    r"WARNING: |BUG: |KASAN: |UBSAN: |KCSAN: |BUG KFENCE|possible .* (detected|dependency)|INFO: (task|rcu|trying)"
    r"|suspicious RCU usage|detected stall|Oops|protection fault|kmemleak: \d|unreferenced object|refcount_t: "
    r"|DEBUG_LOCKS_WARN|printk messages dropped|locks? still held|held lock freed|VFS: Busy inodes|corruption|Kernel panic|Kernel mode fault")
REPORT_PART = re.compile("cut here|Call Trace:")
KTAP = re.compile(r" *(KTAP version \d|1\.\.\d|(not )?ok \d|#|$)")
RESULT = re.compile(r"( *)(?:not )?ok \d+ (?:- )?([^#]*[^# ])")
SUBTEST = re.compile(r"( *)# Subtest: (.*)")

# Signals only leave a note here, and the loops look at it: an exception out of
# a signal handler could strike between starting a process and noting its pid.
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


def with_ccache() -> dict[str, str]:
    """For the environment of UML's build: ccache, if it is there, with a folder of our own.

    It knows what a file includes from what the compiler tells kbuild. That leaves out the headers of the system: they
    and the tools are looked at here, as Debian installed them. Nobody tells what assembly embeds: KAFLAGS makes ccache
    read it first, and keep away from an .incbin. Other architectures overwrite these flags."""
    # The date and the number of a build would be compiled anew each time.
    env = {"KBUILD_BUILD_TIMESTAMP": "2000-01-01", "KBUILD_BUILD_VERSION": "1"}
    compilers = next((path for path in CCACHE if os.path.exists(os.path.join(path, "gcc"))), "")
    if not compilers or not os.path.isabs(KEPT):
        return env
    with contextlib.suppress(OSError):
        os.makedirs(KEPT, exist_ok=True)
        if os.stat(KEPT).st_uid == os.getuid() and os.access(KEPT, os.W_OK):  # or folders in it are somebody else's
            files = sorted(path for name in TOOLCHAIN for path in glob.glob(f"/var/lib/dpkg/info/{name}*.md5sums"))
            tools = hashlib.sha256("".join(map(read, files)).encode()).hexdigest()
            env.update(PATH=f"{compilers}:{os.environ.get('PATH', os.defpath)}",  # so that no command line says so
                       CCACHE_CONFIGPATH="/dev/null", CCACHE_DIR=KEPT, CCACHE_MAXSIZE="1G", CCACHE_NAMESPACE=tools,
                       CCACHE_DEPEND="1", KAFLAGS="-Wp,-UNO_DIRECT_MODE")
    return env


def run(command: list[str], log: str, err: int | None = subprocess.STDOUT, limit: float = float("inf"),
        at_limit: Callable[[], None] = lambda: None, more: Mapping[str, str] = {},
        stuck: Callable[[], bool] = lambda: False) -> int:
    """Runs a command to its end, or until we are asked to stop; more is for its environment. at_limit() has to make
    it end when its time is up or it is stuck. None of its processes stays: they get SIGINT, because make then removes
    what it had half made, and kunit.py does not die of it but waits for make or the kernel."""
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


def kernels(binary: str) -> list[int]:
    """The processes of the UML kernels that run."""
    found = []
    for exe in glob.glob("/proc/[0-9]*/exe"):
        with contextlib.suppress(OSError):  # gone, or not ours
            found += [int(exe.split("/")[2])] if os.readlink(exe) == binary else []
    return found


def kill_kernels(binary: str) -> None:
    """A UML kernel has a session of its own, and may hang in a way that ignores SIGTERM."""
    for pid in kernels(binary):
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGKILL)


def flush_log(mconsole: str, *more: str) -> None:
    """KUnit prints a result without its newline, and the kernel keeps that back until it prints
    something else. Have a hung one do so, or its last result is missing from the log. More are commands."""
    for text in (f"log {TIME_IS_UP}\n", *more):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client, contextlib.suppress(OSError):
            client.bind("")
            client.settimeout(3)
            client.sendto(struct.pack("=III512s", 0xcafebabe, 2, len(text), text.encode()), mconsole)
            while struct.unpack("=II", client.recv(1024)[:8])[1]:  # there is more to be said
                pass


class Sleeper:
    """Tells when a kernel waits for ever: for longer than two waits of the suites in a row, it has slept."""
    SECONDS = 12

    def __init__(self, binary: str) -> None:
        self.binary, self.looked, self.busy, self.used, self.long, self.now = binary, 0.0, time.monotonic(), 0, False, False

    def __call__(self) -> bool:
        now, states, used = time.monotonic(), "", 0
        for pid in kernels(self.binary) if now - self.looked >= 1 else ():
            with contextlib.suppress(OSError):
                stat = read(f"/proc/{pid}/stat").rpartition(")")[2].split()
                states, used = states + stat[0], used + int(stat[11]) + int(stat[12])
        if now - self.looked >= 1:
            # An idle one still uses a few hundredths of a second, with several processors and a clock for each.
            if not states or "R" in states or used - self.used > 10 * (now - self.looked):
                self.busy = now
            self.looked, self.used, self.long, self.now = now, used, now - self.busy > self.SECONDS, now > self.busy
        return self.long


def read(*path: str) -> str:
    with open(os.path.join(*path), errors="backslashreplace") as file:
        return file.read()


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
        pattern = os.path.join(glob.escape(fix), "*.patch") if os.path.isdir(fix) else fix
        if found := sorted(path for path in glob.glob(pattern) if is_patch(read(path))):
            return found
        raise Stop(f"--fix: there is no patch {fix}" + (": give a folder, a mailbox or a pattern for several" if " " in fix else ""))
    if not is_patch(read(fix)):
        raise Stop(f"--fix: {fix} changes nothing: there is no diff in it (none judges the tree as it is)")
    mails = ["".join(part.get_payload(decode=True).decode(errors="replace") for part in mail.walk()
                     if not part.is_multipart()) for mail in mailbox.mbox(fix)] if read(fix).startswith("From ") else []
    patches = list(filter(is_patch, mails))
    if len(patches) < 2:
        return [fix]
    folder = os.path.join(BUILD, "mailbox")
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    for number, text in enumerate(patches, 1):
        with open(os.path.join(folder, f"{number:04}.patch"), "w") as file:
            file.write(text)
    return sorted(glob.glob(folder + "/*"))


def is_patch(text: str) -> bool:
    """A cover letter is none."""
    return bool(re.search(r"(?m)^(--- .*\n\+\+\+ |rename from )", text))


def start_scan(kdir: str) -> subprocess.Popen[bytes]:
    """Lists every file of the tree with a stamp that changes when the file does; find is twice as fast as Python."""
    # Not somebody's build directory, such as .kunit. If the tree is a stage, we shall write to one called kunit-*.
    skip = [entry.path for entry in os.scandir(kdir) if entry.is_dir()
            and (entry.name.startswith("kunit-") or os.path.exists(os.path.join(entry.path, ".config")))]
    pruned = [word for path in (ROOT, *skip) for word in ("-o", "-path", re.sub(r"([\\*?[])", r"\\\1", path))]
    return subprocess.Popen(["find", kdir, "(", "-name", ".git", "-o", "-name", "__pycache__", *pruned, ")", "-prune", "-o",
                             "-type", "f", "-printf", r"%P\t%T@ %s %i\0", "-o", "-type", "l", "-printf", r"%P\t-> %l\0"],
                            stdout=subprocess.PIPE)


def scanned(find: subprocess.Popen[bytes]) -> dict[str, str]:
    found = find.communicate()[0]
    if find.returncode:
        raise Stop("find could not read all of the tree, see above")
    stamps: dict[str, str] = {}
    for line in os.fsdecode(found).split("\0")[:-1]:
        path, _, stamps[path] = line.partition("\t")
    return stamps


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
                   "judge it as it is with FIX=none (--fix none), or give a tree without it (`git worktree add`)")
    done = gnu_patch()
    if done.returncode:
        file, line = named[0] if named else "any file", ""
        for line in done.stdout.splitlines():
            if line.startswith("patching file "):
                file = line[14:].strip("'")
            elif re.search("FAILED|can't find|garbage|malformed|ignor", line):
                break
        raise Stop(f"{patch.replace(ROOT + '/', '')} does not apply to {file} of Linux {version}: {line}" + (
            "\nif the tree has a change of its own, judge it as it is with FIX=none (--fix none)" if os.path.dirname(patch) == OUR_FIX else ""))
    return touched


def place(origin: str, staged: str, temporary: str, link: bool) -> None:
    """Puts a file on the stage. Equal content keeps its mtime, so that nothing is rebuilt; other
    content gets a fresh one, so that all is: a copy, for a link has the mtime of the tree's file."""
    os.makedirs(os.path.dirname(staged), exist_ok=True)
    if link:
        with contextlib.suppress(OSError):  # another filesystem, not permitted, too many links
            os.link(origin, staged, follow_symlinks=False)
            return
    # What is still linked to the tree is equal, but may have been written to, with an old mtime.
    if (os.path.isfile(staged) and not os.path.islink(staged) and not os.path.islink(origin)
            and not os.path.samefile(origin, staged) and filecmp.cmp(origin, staged, shallow=False)):
        return
    shutil.copy(origin, temporary, follow_symlinks=False)
    os.replace(temporary, staged)


def write_manifest(manifest: str, stamps: dict[str, str]) -> None:
    with open(manifest + ".new", "w") as file:
        file.write(json.dumps(stamps))
    os.replace(manifest + ".new", manifest)


def stage(kdir: str, version: str, fix: list[str], home: str) -> None:
    """Brings the stage home/src up to date; home/manifest.json says what stands on it."""
    src, manifest = os.path.join(home, "src"), os.path.join(home, "manifest.json")
    find = start_scan(kdir)
    there = os.path.exists(manifest) and os.path.isdir(src)
    old: dict[str, str] = json.loads(read(manifest)) if there else {}
    if not there and os.path.exists(home):
        shutil.rmtree(home)  # the objects too: the links of a new stage have old mtimes
    os.makedirs(src, exist_ok=True)
    ours = overlay()
    patches = fix + [file for file in ours if file.endswith(".patch")]
    with tempfile.TemporaryDirectory(dir=BUILD) as scratch:
        touched = [path for patch in patches for path in apply_patch(patch, kdir, version, scratch)]
        stamps = scanned(find)
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
            write_manifest(manifest, {**old, **dict.fromkeys(changed + gone, "")})
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
            write_manifest(manifest, stamps)


class Kernel:
    """A tree with a fix, in a profile."""

    def __init__(self, args: argparse.Namespace) -> None:
        """Takes what add_arguments() asks for, and stops before anything that takes long if it makes no sense."""
        self.args = args
        path = {"ours": OUR_FIX}.get(args.fix, os.path.abspath(os.path.expanduser(args.fix)))
        self.fix = [] if args.fix == "none" else patches_of(path)
        for patch in self.fix:
            for new in re.findall(r"(?m)^--- /dev/null\n\+\+\+ \w+/(\S+)", read(patch)):
                if os.path.exists(os.path.join(ROOT, new)):
                    raise Stop(f"--fix: it brings {new}, which every tree is given here:\nleave the mails of the tests "
                               "and of their helpers out, as in fs/fuse/fix/")
        um = args.arch == "um"
        if not um and getattr(args, "selftest", False):
            raise Stop("--selftest: only UML boots from the host's files, leave --arch out")
        self.configs = [os.path.join(ROOT, ".kunitconfig" if um else "fs/fuse/.kunitconfig")]
        for name in args.profile.split(","):
            file = os.path.join(PROFILES, name + ".config")
            if not os.path.isfile(file):
                there = (os.path.basename(other)[:-len(".config")] for other in glob.glob(PROFILES + "/*"))
                raise Stop(f"--profile: there is no {name}, only " + ", ".join(sorted(there)))
            self.configs += [file] if um or name != "fast" else []  # that one is about UML
        self.make_options = self.asked("make options", "make_options")
        if um:
            self.arch, self.boot_options = [], self.asked("kernel arguments of UML", "kernel_args")
        else:
            cross = [f"--cross_compile={args.cross_compile}"] if args.cross_compile else []
            self.arch, self.boot_options = [f"--arch={args.arch}", *cross], self.asked("qemu arguments", "qemu_args")
        if not args.timeout:
            args.timeout = max([120, *(int(seconds) for config in self.configs
                                       for seconds in re.findall("^# seconds of a boot: (.*)", read(config), re.M))])
        progress.enter("source")
        answer = os.path.join(BUILD, "kernel-source.out")
        if not args.kdir and run([os.path.join(ROOT, "tools/kernel-source")], answer, err=None):
            raise Stop("tools/kernel-source gave no kernel tree; --kdir DIR takes one of your own")
        self.kdir = os.path.realpath(os.path.expanduser(args.kdir) if args.kdir else read(answer).strip())
        self.version = check_tree(self.kdir)
        self.name = re.sub(r"[^\w.+-]", "_", os.path.basename(self.kdir))
        self.home = os.path.join(BUILD, f"{self.name}-{hashlib.sha256(self.kdir.encode()).hexdigest()[:6]}")
        self.src = os.path.join(self.home, "src")
        # In the tree, because kbuild calls that "..", wherever it is: so a file that was compiled for another is known.
        self.build_dir = os.path.join(self.src, "kunit-" + args.profile + ("" if um else "-" + args.arch))
        self.linux = os.path.join(self.build_dir, "linux")
        self.test_log = os.path.join(self.build_dir, "test.log")  # kunit.py's
        self.run_log = os.path.join(self.build_dir, "judge-run.log")

    def asked(self, what: str, option: str) -> list[str]:
        """What comments of the profiles say beyond the configuration, as options of kunit.py."""
        return [f"--{option}={word}" for config in self.configs
                for words in re.findall(f"^# {what}: (.*)", read(config), re.M) for word in shlex.split(words)]

    def __str__(self) -> str:
        fix = {"ours": "ours (fs/fuse/fix/)", "none": "none (the tree as it is)"}.get(self.args.fix, self.args.fix)
        arch = f", {self.args.arch}" if self.args.arch != "um" else ""
        return f"Linux {self.version} ({self.name}), fix: {fix}, profile {self.args.profile}{arch}"

    def again(self) -> str:
        """The command that judges this one alone."""
        given = ((name, vars(self.args)[name]) for name in ("kdir", "fix", "profile"))
        return " ".join(["tools/judge", *(f"--{name} {shlex.quote(value)}" for name, value in given
                                          if value not in (None, "ours", "fast"))])

    def kunit(self, command: str, *options: str) -> list[str]:
        return [sys.executable, os.path.join(self.src, KUNIT), command, f"--build_dir={self.build_dir}", *options]

    def configuration(self) -> str:
        """All that is asked for, and what came of it; the stage has no .config when a Kconfig file has changed."""
        files = (*self.configs, os.path.join(self.src, "tools/testing/kunit/configs/arch_uml.config"),
                 os.path.join(self.build_dir, ".config"))
        return "\n".join([*self.make_options, *(read(file) if os.path.exists(file) else "" for file in files)])

    def build(self) -> None:
        progress.enter("stage", self.src)
        stage(self.kdir, self.version, self.fix, self.home)
        os.makedirs(self.build_dir, exist_ok=True)
        log = os.path.join(self.build_dir, "judge-build.log")
        progress.enter("build", log)
        options = [*self.arch, *self.make_options, *self.asked("instead", "kconfig_add"),
                   *(f"--kunitconfig={config}" for config in self.configs)]
        jobs = f"--jobs={self.args.jobs}"
        env = {} if self.arch else with_ccache()
        failed, configured = 0, ""
        if not self.arch:
            # As `kunit.py build`, but without its first half when there is nothing to configure, and without what is for
            # editors and debuggers: that is half of the time, most of the time.
            known = os.path.join(self.build_dir, "judge-config")
            if not os.path.exists(known) or read(known) != self.configuration():
                failed = run(self.kunit("config", *options), log, more=env)
                with open(known, "w") as file:
                    file.write("" if failed else self.configuration())
            configured = "" if failed else read(self.build_dir, ".config")
            failed = failed or run(["make", "-C", self.src, "ARCH=um", f"O={self.build_dir}", jobs,
                                    *(option.split("=", 1)[1] for option in self.make_options), "linux"], log, more=env)
        if self.arch or not failed and read(self.build_dir, ".config") != configured:
            # If kbuild found another compiler, kunit.py says whether all that we ask for is still there.
            failed = run(self.kunit("build", jobs, *options), log, more=env)
        if not failed:
            return
        lines = [re.sub(r"^(ERROR:root:|\.\./)|" + re.escape(self.src + "/"), "", line.strip()) for line in read(log).splitlines()]
        why: list[str] = []
        for pattern in ("^ccache: error: ", r":\d+: (fatal )?error: ", "undefined reference|multiple definition|ERROR: modpost",
                        "Missing: |ConfigError|Multiple values", r"Kconfig.*:\d+:|not found|\*\*\* \w", "."):
            why = why or [line for line in lines if re.search(pattern, line)][:3]
        raise Stop("\n".join(["the kernel does not build:", *why, f"log: {log}"]))

    def exec(self, log: str, timeout: int, *options: str) -> str:
        """Boots once through kunit.py, which writes the kernel's log to test_log. Says how it hung, if it did."""
        hung: list[str] = []
        sleeps = Sleeper(self.linux)
        with tempfile.TemporaryDirectory() as uml_dir:
            def time_is_up() -> None:
                hung.append("it waits for ever" if sleeps.long else f"it was ended after {timeout} s")
                flush_log(os.path.join(uml_dir, "kernel/mconsole"), *["sysrq w"] * sleeps.now)  # where tasks wait
                time.sleep(0.2)  # out of the interrupt that read this
                # One that runs panics and says where it was: sent to the thread, this comes before the clock's signal.
                for pid in kernels(self.linux):
                    ctypes.CDLL(None).tgkill(pid, pid, signal.SIGSEGV)
                end = time.monotonic() + 3
                while kernels(self.linux) and time.monotonic() < end:
                    time.sleep(0.1)
                kill_kernels(self.linux)
            uml = [] if self.arch else [f"--kernel_args=uml_dir={uml_dir}", "--kernel_args=umid=kernel"]
            try:
                run(self.kunit("exec", f"--timeout={timeout + 30}", *self.arch, *uml, *self.boot_options,
                               *options), log, limit=timeout, at_limit=time_is_up, stuck=(lambda: False) if self.arch else sleeps)
            finally:
                kill_kernels(self.linux)
        return "".join(hung)

    def boot(self, *options: str) -> Result:
        """Runs the suites, or those that kunit.py's options choose."""
        progress.enter("run", self.test_log)
        open(self.test_log, "w").close()  # never judge the last run's
        hung = self.exec(self.run_log, self.args.timeout, *options)
        lines = read_log(self.test_log)
        plan = [line for line in lines if re.match(r"1\.\.\d+$", line)][:1]
        if self.args.arch == "s390" and plan == [f"1..{sum(bool(re.match('(not )?ok ', line)) for line in lines)}"]:
            lines.append("reboot: Restarting")  # which that does without a word
        result = Result(lines, hung, parse(self.src, lines), not self.arch)
        if result.unfinished and result.booted:
            result.find_where(self.list_cases(options))
        return result

    def places(self, addresses: Iterable[str]) -> list[str]:
        """Function, file, line and what stands there, or "", for each address that a call returns to."""
        # That is behind the call. Of functions that are inlined, the last one is not.
        done = subprocess.run(["addr2line", "-a", "-i", "-f", "-e", self.linux, *(hex(max(int(one, 16), 1) - 1) for one in addresses)],
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        found = []
        for answer in re.split("(?m)^0x", done.stdout)[1:]:
            function, place = answer.splitlines()[-2:]
            path, _, line = re.sub(r"^.*/\.\./| \(discriminator.*", "", place).partition(":")
            file = os.path.join(self.src, path)
            said = read(file).splitlines()[int(line) - 1].strip() if line.isdigit() and os.path.isfile(file) else ""
            found.append(f"{function}(), {path}:{line}" + f": {said}" * bool(said) if function != "??" else "")
        return found

    def frames(self, text: str) -> list[str]:
        """Where a trace of UML's went through fs/fuse/, innermost first. It is all that looks like an address there."""
        addresses = [f"{int(one, 16) + (kind[0] == 'R'):x}" for kind, one in re.findall(r"(RIP: \w+:0x|\[<)([0-9a-f]+)", text) if not self.arch]
        return [place for place in dict.fromkeys(self.places(addresses)) if ", fs/fuse/" in place
                and not re.search("/tests/|}$", place)][:3]

    def name_addresses(self, text: str) -> str:
        """Text of the kernel's, with function, file and line in place of addresses as the race suite prints them."""
        def name(match: re.Match[str]) -> str:
            return next(iter(self.places([match[1]])), "") or match[0]
        enum = read(self.src, "include/uapi/linux/fuse.h").partition("enum fuse_opcode {")[2].partition("};")[0]
        opcodes = {number: opcode for opcode, number in re.findall(r"\tFUSE_(\w+)\s*= (\d+),", enum)}
        text = re.sub(r"opcode (\d+)", lambda match: opcodes.get(match[1], match[0]), text)
        return re.sub(r"\S+ at (0x[0-9a-f]{8,16})\b", name, text)

    def list_cases(self, options: Iterable[str]) -> list[str]:
        kept, log = (os.path.join(self.build_dir, name) for name in ("judge-test.log", "judge-list.log"))
        open(self.test_log, "a").close()
        os.replace(self.test_log, kept)  # this boot writes another one
        self.exec(log, 20, "--list_tests", *options)
        os.replace(kept, self.test_log)
        return re.findall(r"^[^\s.\[]+\.[^\s.]+$", read(log), re.M)


    def list_schedules(self) -> list[str]:
        """What --schedule chooses from, without where one is stopped."""
        result = self.boot("--kernel_args=fuse_kunit.schedule=", "fuse_inval_race")
        return [f"{parameter.name}:*" for suite in result.tests.subtests for case in suite.subtests for parameter in case.subtests]


def read_log(path: str) -> list[str]:
    return [re.sub(r"^\[ *\d+\.\d+\] ", "", line) for line in read(path).split("\n")]


def parse(src: str, lines: list[str]) -> Any:
    """What the kunit.py of a tree makes of a kernel's log."""
    sys.path.insert(0, os.path.dirname(os.path.join(src, KUNIT)))
    printer = importlib.import_module("kunit_printer").null_printer
    return importlib.import_module("kunit_parser").parse_run_tests(lines, printer)


class Report:
    """Something the kernel printed that is no test's output: what it says, and during which case."""

    def __init__(self, text: str, where: str = "") -> None:
        self.text, self.where = text, where  # "at boot" or "at shutdown", else it is in:
        self.case: tuple[str, ...] = ()
        self.lines = [text]

    def add(self, line: str) -> None:
        self.lines.append(line)
        if REPORT.search(line) and not REPORT.search(self.text):
            self.text = line.strip()  # says more than the line it began with

    def __str__(self) -> str:
        return self.where or "in " + ".".join(self.case)


class Result:
    """What a boot came to: kunit.py's results, and what the kernel's log says beyond them."""

    def __init__(self, lines: list[str], hung: str | bool, tests: Any, silent: bool = True) -> None:
        self.tests, self.counts, self.hung = tests, tests.counts, hung
        self.silent = silent  # no driver says anything during the tests
        self.reports: list[Report] = []
        self.died = ""  # where, if it did not come to its end
        self.died_in = ""  # the case, if known
        self.ended: set[str] = set()  # suites and cases
        self.parameter = ""  # the last one that ended, of a case that did not
        self.names: dict[int, str] = {}  # of the tests around a line, by their indentation
        self.flushed = TIME_IS_UP in lines
        end = lines.index(TIME_IS_UP) if self.flushed else len(lines)
        lines, self.asked = lines[:end], "\n".join(lines[end:])  # what a hung one was doing
        halted = any(re.match("reboot: (System halted|Restarting|Power)", line) for line in lines)
        self.unfinished = bool(hung) or not halted
        top = [i for i, line in enumerate(lines) if re.match(r"KTAP version 1$|(not )?ok \d", line)]
        self.booted = bool(top)
        self.left_behind = next(iter(re.findall(r"# SKIP (.*) left a lock or a thread behind", "\n".join(lines))), "")
        self.read(lines, top[0] if top else len(lines), top[-1] if top and halted else len(lines))
        if self.unfinished:
            self.died = "at boot"

    def read(self, lines: list[str], first: int, last: int) -> None:
        report: Report | None = None
        assertion = False  # its lines may say anything
        for i, line in enumerate(lines):
            inside = first <= i <= last
            if i == last + 1 or inside and KTAP.match(line):
                report = None
            if inside and KTAP.match(line):
                assertion = " FAILED at " in line or assertion and not line
                self.read_ktap(line)
            elif report and "cut here" not in line:
                report.add(line)
            elif self.silent and inside and not assertion or REPORT.search(line) or REPORT_PART.search(line):
                report = Report(line.strip(), "" if inside else "at boot" if i < first else "at shutdown")
                self.reports.append(report)

    def read_ktap(self, line: str) -> None:
        subtest, result = SUBTEST.match(line), RESULT.match(line)
        if subtest:
            self.names[len(subtest[1])] = subtest[2]
        elif result:
            depth = len(result[1])
            path = (*(n for indent, n in sorted(self.names.items()) if indent <= depth and depth), result[2])
            for report in self.reports:
                if not report.where and not report.case:
                    report.case = path  # printed before its result
            self.ended.add(".".join(path))
            self.parameter = result[2] if depth > 4 else ""

    def find_where(self, cases: list[str]) -> None:
        """Where the kernel was: in the first case, given all in their order, that did not end."""
        left = [case for case in cases if not self.ended & {case, case.split(".")[0]}]
        if not left:
            self.died = "after the last case" if cases else "in a case that kunit.py --list_tests does not tell"
            return
        self.died_in = left[0]
        self.died = f"in {left[0]}" + (f', after parameter "{self.parameter}"' if self.parameter else "")
        if not (self.flushed or self.reports):
            self.died += ", or in the case after that"  # its result may have been kept back
        for report in self.reports:
            if not report.where and not report.case:
                report.case = tuple(left[0].split("."))

    @property
    def passed(self) -> bool:
        counts = self.counts
        return not (self.died or self.reports or counts.failed or counts.crashed or counts.errors)


def failures(test: Any, above: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], list[str]]]:
    """What failed below a test of kunit_parser's: suite, case and parameter, and the messages."""
    name = above if test.name == "main" else (*above, test.name)
    below = [failure for sub in test.subtests for failure in failures(sub, name)]
    if below or test.status.name != "FAILURE":
        return below
    lines = [re.sub(r"^# [^:]*: |(?<=\d) \(0x\w+\)$", "", line.strip()) for line in test.log if line.strip()]
    first = next((i for i, line in enumerate(lines) if " FAILED at " in line), 0)
    text = "\n".join(line for line in lines[first:] if line != "slow" and not line.startswith("alone: "))
    # Of what the fixture says, the line in it says nothing.
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


def positive(text: str) -> int:
    if int(text) < 1:
        raise ValueError
    return int(text)


def add_arguments(parser: argparse.ArgumentParser, fix: bool = True, timeout: int | None = None) -> None:
    """Which kernel, for Kernel()."""
    parser.set_defaults(fix="ours", profile="fast", arch="um", cross_compile="")
    parser.add_argument("--kdir", metavar="DIR", help="kernel tree (Linux 7.2 or later, git checkout or not, not "
                        "configured in place); only read (default: the one tools/kernel-source gets)")
    if fix:
        parser.add_argument("--fix", metavar="ours|none|PATCHES", help="ours: fs/fuse/fix/; none: the tree as "
                            "it is; PATCHES: -p1 patches instead of ours, as a file, a mailbox, a folder, or a pattern, in order (default: ours)")
    parser.add_argument("--timeout", metavar="SECONDS", type=positive, default=timeout,
                        help=f"of a boot (default: {timeout or '120, with the profile debug 600'})")
    parser.add_argument("--jobs", metavar="N", type=positive, default=os.cpu_count() or 1, help="of make (default: all CPUs)")


def command(work: Callable[[argparse.Namespace], int], parser: argparse.ArgumentParser, lock: str = "lock") -> int:
    """Does a command's work, the only one with that lock in this checkout; returns its exit status."""
    args = parser.parse_args()
    sys.dont_write_bytecode = True
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda received, _: signals.append(received))
    name = os.path.basename(sys.argv[0])
    try:
        os.makedirs(BUILD, exist_ok=True)
        with open(os.path.join(BUILD, lock), "a+") as file:
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
        print(f"{name}: {why}" + (f"\n{whose} belongs to {pathlib.Path(whose).owner()}" if isinstance(why, PermissionError) else ""),
              file=sys.stderr)
        return 128 + signals[0] if signals else 2
