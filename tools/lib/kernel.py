# SPDX-License-Identifier: GPL-2.0
"""Steps 3 to 5 of a verdict: the staged tree is configured, built and booted by its own kunit.py."""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import glob
import hashlib
import os
import re
import shlex
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from typing import Iterable

from lib.base import BUILD, ROOT, Stop, kernel_source, positive, progress, read, run, write
from lib.log import TIME_IS_UP, Result
from lib.stage import KUNIT, OUR_FIX, check_tree, patches_of, stage

PROFILES = os.path.join(ROOT, "tools/data/profiles")
CCACHE = "/usr/lib/ccache"  # it is here under the names of compilers, and keeps here what they have made:
KEPT = os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "fuse-inval-kunit/ccache")
TOOLCHAIN = ("binutils", "clang", "cpp", "gcc", "libc6-dev", "libclang", "libllvm", "linux-libc-dev")  # of Debian


def with_ccache() -> dict[str, str]:
    """For the environment of UML's build: ccache, if it is there, with a folder of our own.

    ccache learns which files an object depends on from the list that the compiler writes for kbuild. It lacks headers
    of the system: so their checksums and those of the tools, as Debian installed them, are in each key. It also leaves
    out what assembly embeds: with these KAFLAGS ccache preprocesses assembly, and does not keep a file with an .incbin.
    Other architectures overwrite KAFLAGS."""
    # The date and the number of a build would be compiled anew each time.
    env = {"KBUILD_BUILD_TIMESTAMP": "2000-01-01", "KBUILD_BUILD_VERSION": "1"}
    if not os.path.exists(os.path.join(CCACHE, "gcc")) or not os.path.isabs(KEPT):
        return env
    with contextlib.suppress(OSError):
        os.makedirs(KEPT, exist_ok=True)
        if os.stat(KEPT).st_uid == os.getuid() and os.access(KEPT, os.W_OK):  # else ccache could not write to folders in it
            files = sorted(path for name in TOOLCHAIN for path in glob.glob(f"/var/lib/dpkg/info/{name}*.md5sums"))
            tools = hashlib.sha256("".join(map(read, files)).encode()).hexdigest()
            env.update(PATH=f"{CCACHE}:{os.environ.get('PATH', os.defpath)}",  # CC= would be in all command lines
                       CCACHE_CONFIGPATH="/dev/null", CCACHE_DIR=KEPT, CCACHE_MAXSIZE="1G", CCACHE_NAMESPACE=tools,
                       CCACHE_DEPEND="1", KAFLAGS="-Wp,-UNO_DIRECT_MODE")
    return env


def kernels(path: str = BUILD) -> list[int]:
    """The processes of the UML kernels that run: of one, or of all below a folder."""
    found = []
    for exe in glob.glob("/proc/[0-9]*/exe"):
        with contextlib.suppress(OSError):  # gone, or not ours
            found += [int(exe.split("/")[2])] if (os.readlink(exe) + "/").startswith(path + "/") else []
    return found


def kill_kernels(binary: str) -> None:
    """A UML kernel has a session of its own, and may hang in a way that ignores SIGTERM."""
    for pid in kernels(binary):
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGKILL)


def flush_log(mconsole: str, *more: str) -> None:
    """KUnit prints a result without its newline, and the kernel keeps that back until it prints something
    else. This makes a hung kernel print a line, so that its last result gets into the log, and then runs more commands."""
    for text in (f"log {TIME_IS_UP}\n", *more):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client, contextlib.suppress(OSError):
            client.bind("")
            client.settimeout(3)
            client.sendto(struct.pack("=III512s", 0xcafebabe, 2, len(text), text.encode()), mconsole)
            while struct.unpack("=II", client.recv(1024)[:8])[1]:  # there is more to be said
                pass


class Sleeper:
    """Tells whether a UML kernel waits for ever: it has slept, and printed nothing, for longer than two waits of a case may take."""
    SECONDS = 12

    def __init__(self, binary: str) -> None:
        self.binary, self.looked, self.used, self.wrote, self.slept = binary, time.monotonic(), 0, 0, 0.0

    def __call__(self) -> bool:
        states, used, wrote, passed = "", 0, 0, time.monotonic() - self.looked
        if passed >= 1:
            for pid in kernels(self.binary):
                with contextlib.suppress(OSError):
                    stat = read(f"/proc/{pid}/stat").rpartition(")")[2].split()
                    states, used = states + stat[0], used + int(stat[11]) + int(stat[12])
                    wrote += int(read(f"/proc/{pid}/io").split()[3])  # bytes; kunit.py's log comes later
            # An idle one still uses a few hundredths of a second, with several processors and a clock for each.
            idle = states and "R" not in states and used - self.used <= 10 * passed and wrote == self.wrote
            self.looked, self.used, self.wrote, self.slept = self.looked + passed, used, wrote, self.slept + passed if idle else 0.0
        return self.slept > self.SECONDS


class Kernel:
    """A tree with a fix, in a profile."""

    def __init__(self, args: argparse.Namespace, **instead: str | int) -> None:
        """Takes the options of parser_of(), or others in place of some. If these make no sense, it raises Stop before anything
        that takes long."""
        args = self.args = argparse.Namespace(**{**vars(args), **instead})
        path = {"ours": OUR_FIX}.get(args.fix, os.path.abspath(os.path.expanduser(args.fix)))
        self.fix = [] if args.fix == "none" else patches_of(path)
        for patch in self.fix:
            for new in re.findall(r"(?m)^--- /dev/null\n\+\+\+ \w+/(\S+)", read(patch)):
                if os.path.exists(os.path.join(ROOT, new)):
                    raise Stop(f"--fix: a patch brings {new}, which this repository adds to every tree:\nleave out the mails "
                               "of the tests and of their helpers")
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
        self.make_options = self.asked("make options")
        self.boot_options = self.asked("kernel arguments of UML" if um else "qemu arguments")
        cross = [f"--cross_compile={args.cross_compile}"] if args.cross_compile else []
        self.arch = [] if um else [f"--arch={args.arch}", *cross]
        if not args.timeout:
            args.timeout = max([120, *map(int, self.asked("seconds of a boot"))])
        progress.enter("source")
        self.kdir = os.path.realpath(os.path.expanduser(args.kdir) if args.kdir else kernel_source())
        self.version = check_tree(self.kdir)
        self.name = re.sub(r"[^\w.+-]", "_", os.path.basename(self.kdir))
        self.home = os.path.join(BUILD, f"{self.name}-{hashlib.sha256(self.kdir.encode()).hexdigest()[:6]}")
        self.src = os.path.join(self.home, "src")
        # Below the tree, so that kbuild calls the tree "..": no command has its path, and ccache finds what was
        # compiled for another tree.
        self.build_dir = os.path.join(self.src, "kunit-" + args.profile + ("" if um else "-" + args.arch))
        self.linux = os.path.join(self.build_dir, "linux")
        self.test_log = os.path.join(self.build_dir, "test.log")  # kunit.py's
        self.run_log = os.path.join(self.build_dir, "judge-run.log")

    def asked(self, what: str) -> list[str]:
        """What comments of the profiles say beyond the configuration."""
        return [word for config in self.configs
                for words in re.findall(f"^# {what}: (.*)", read(config), re.M) for word in shlex.split(words)]

    def __str__(self) -> str:
        fix = {"ours": "ours (fs/fuse/fix/)", "none": "none (the tree as it is)"}.get(
            self.args.fix, self.args.fix + f", {len(self.fix)} patches" * (len(self.fix) > 1))
        arch = f", {self.args.arch}" if self.args.arch != "um" else ""
        return f"Linux {self.version} ({self.name}), fix: {fix}, profile {self.args.profile}{arch}"

    def again(self) -> str:
        """The command that judges this one alone."""
        given = ((name, vars(self.args)[name]) for name in ("kdir", "fix", "profile", "arch", "cross_compile"))
        return " ".join(["tools/judge", *(f"--{name} {shlex.quote(value)}" for name, value in given
                                          if value not in (None, "", "ours", "fast", "um"))])

    def kunit(self, command: str, *options: str) -> list[str]:
        return [sys.executable, os.path.join(self.src, KUNIT), command, f"--build_dir={self.build_dir}", *options]

    def configuration(self) -> str:
        """All that is asked for, and what came of it; the stage has no .config when a Kconfig file has changed."""
        files = (*self.configs, os.path.join(self.src, "tools/testing/kunit/configs/arch_uml.config"),
                 os.path.join(self.build_dir, ".config"))
        return "\n".join([*self.make_options, *(read(file) if os.path.exists(file) else "" for file in files)])

    def state(self, env: dict[str, str]) -> str:
        """A hash of all that decides if kbuild has something to build. "" if make gets options, which may choose another
        compiler, or if the kernel is not UML."""
        tools = subprocess.run("gcc --version; ld --version", shell=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, text=True).stdout
        parts = [read(self.home, "manifest.json"), self.configuration(), tools, env.get("CCACHE_NAMESPACE", ""),
                 *(os.environ.get(name, "") for name in ("PATH", "LLVM", "CROSS_COMPILE", "KCFLAGS", "KAFLAGS", "KCPPFLAGS"))]
        known = not self.arch and not self.make_options
        return hashlib.sha256("\0".join(parts).encode(errors="backslashreplace")).hexdigest() if known else ""

    def build(self, *more: str) -> None:
        """Stages, configures and builds; more: options for make, used only for UML."""
        progress.enter("stage", self.src)
        stage(self.kdir, self.version, self.fix, self.home)
        os.makedirs(self.build_dir, exist_ok=True)
        log, built = (os.path.join(self.build_dir, name) for name in ("judge-build.log", "judge-built"))
        progress.enter("build", log)
        env = {} if self.arch else with_ccache()
        if os.path.exists(self.linux) and os.path.exists(built) and read(built) == self.state(env) != "":
            return
        write(built, "")
        options = [*self.arch, *(f"--make_options={word}" for word in self.make_options),
                   *(f"--kconfig_add={word}" for word in self.asked("instead") + self.asked("for UML") * (not self.arch)),
                   *(f"--kunitconfig={config}" for config in self.configs)]
        jobs = f"--jobs={self.args.jobs}"
        failed, configured = 0, ""
        if not self.arch:
            # As `kunit.py build`, but it configures only if something has changed, and does not build what only editors
            # and debuggers use: in most runs that saves half of the time.
            known = os.path.join(self.build_dir, "judge-config")
            if not os.path.exists(known) or read(known) != self.configuration():
                failed = run(self.kunit("config", *options), log, more=env)
                write(known, "" if failed else self.configuration())
            configured = "" if failed else read(self.build_dir, ".config")
            failed = failed or run(["make", "-C", self.src, "ARCH=um", f"O={self.build_dir}", jobs,
                                    *self.make_options, *more, "linux"], log, more=env)
        if self.arch or not failed and read(self.build_dir, ".config") != configured:
            # If kbuild found another compiler, kunit.py says whether all that we ask for is still there.
            failed = run(self.kunit("build", jobs, *options), log, more=env)
        if not failed:
            write(built, self.state(env))
            return
        lines = [re.sub(r"^(ERROR:root:|\.\./)|" + re.escape(self.src + "/"), "", line.strip()) for line in read(log).splitlines()]
        why: list[str] = []
        for pattern in ("^ccache: error: ", r":\d+: (fatal )?error: ", "undefined reference|multiple definition|ERROR: modpost",
                        "Missing: |ConfigError|Multiple values", r"Kconfig.*:\d+:|not found|\*\*\* \w", "."):
            why = why or [line for line in lines if re.search(pattern, line)][:3]
        raise Stop("\n".join(["the kernel does not build:", *why, f"log: {log}"]
                             + ["FIX=none (--fix none) tells if the tree builds without the fix"] * bool(self.fix)))

    def exec(self, log: str, *options: str) -> str:
        """Boots once through kunit.py, which writes the kernel's log to test_log. Says how it hung, if it did."""
        hung, timeout = list[str](), self.args.timeout
        sleeps = Sleeper(self.linux)
        with tempfile.TemporaryDirectory() as uml_dir:
            def time_is_up() -> None:
                hung.append("it waits for ever" if sleeps() else f"it was ended after {timeout} s")
                flush_log(os.path.join(uml_dir, "kernel/mconsole"), *["sysrq w"] * (sleeps.slept > 0))  # where tasks wait
                time.sleep(0.2)  # until the kernel has left the interrupt in which it read this
                # A kernel that spins panics and prints where it was. Sent to the thread, not to the process, this signal is
                # handled before that of the clock.
                for pid in kernels(self.linux):
                    ctypes.CDLL(None).tgkill(pid, pid, signal.SIGSEGV)
                end = time.monotonic() + 3
                while kernels(self.linux) and time.monotonic() < end:
                    time.sleep(0.1)
                kill_kernels(self.linux)
            words = self.boot_options if self.arch else [f"uml_dir={uml_dir}", "umid=kernel", *self.boot_options]
            boot_options = (f"--{'qemu' if self.arch else 'kernel'}_args={word}" for word in words)
            try:
                run(self.kunit("exec", f"--timeout={timeout + 30}", *self.arch, *boot_options, *options), log,
                    limit=timeout, at_limit=time_is_up, stuck=sleeps)
            finally:
                kill_kernels(self.linux)
        return "".join(hung)

    def boot(self, *options: str) -> Result:
        """Runs the suites, or those that kunit.py's options choose."""
        progress.enter("run", self.test_log)
        open(self.test_log, "w").close()  # never judge the last run's
        hung = self.exec(self.run_log, *options)
        result = Result(self.src, self.test_log, hung, not self.arch)
        if self.args.arch == "s390" and not hung and result.where == "at shutdown":
            result.died = ""  # it restarts without a word
        if result.died and result.booted:
            result.find_where(self.list_cases(options))
        return result

    def places(self, addresses: Iterable[str]) -> list[str]:
        """Function, file, line and what stands there, or "", for each address that a call returns to."""
        # A return address is behind the call, so one is subtracted. If functions were inlined, the last one that is named
        # is the one that contains the others.
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
        """The places in fs/fuse/ of a stack trace of UML, innermost first. The trace has all on the stack that looks like
        an address."""
        addresses = [f"{int(one, 16) + (kind[0] == 'R'):x}" for kind, one in re.findall(r"(RIP: \w+:0x|\[<)([0-9a-f]+)", text) if not self.arch]
        return [place for place in dict.fromkeys(self.places(addresses)) if ", fs/fuse/" in place
                and not re.search("/tests/|}$", place)][:3]

    def name_addresses(self, text: str) -> str:
        """Text of the kernel's, with function, file and line in place of addresses as the race suite prints them."""
        def name(match: re.Match[str]) -> str:
            return next(iter(self.places([match[1]])), "") or match[0]
        return re.sub(r"\S+ at (0x[0-9a-f]{8,16})\b", name, text)

    def list_cases(self, options: Iterable[str]) -> list[str]:
        kept, log = (os.path.join(self.build_dir, name) for name in ("judge-test.log", "judge-list.log"))
        open(self.test_log, "a").close()
        os.replace(self.test_log, kept)  # this boot writes another one
        self.exec(log, "--list_tests", *options)
        os.replace(kept, self.test_log)
        return re.findall(r"^[^\s.\[]+\.[^\s.]+$", read(log), re.M)

    def list_schedules(self) -> list[str]:
        """What --schedule chooses from, without where one is stopped."""
        result = self.boot("--kernel_args=fuse_kunit.schedule=", "fuse_inval_race")
        return [f"{parameter.name}:*" for suite in result.tests.subtests for case in suite.subtests for parameter in case.subtests]


def parser_of(what: str | None, status: str, fix: bool = True, profile: str = "",
              timeout: int | None = None) -> argparse.ArgumentParser:
    """A parser of the options that Kernel() takes; --fix and --profile only if they can be chosen, with this default."""
    parser = argparse.ArgumentParser(description=what, epilog="exit status: " + status,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.set_defaults(fix="ours", profile="fast", arch="um", cross_compile="")
    parser.add_argument("--kdir", metavar="DIR", help="kernel tree: Linux 7.2 or later, without a .config in it, with or "
                        "without git; it is never changed (default: Debian's, from tools/kernel-source)")
    if fix:
        parser.add_argument("--fix", metavar="ours|none|PATCHES", help="ours: fs/fuse/fix/; none: the tree as it is; PATCHES: yours "
                            "in place of ours, for patch -p1: a file, a mailbox, a folder or a pattern (default: ours)")
    if profile:
        parser.add_argument("--profile", metavar="NAME[,NAME...]", default=profile, help="kernel configuration: .kunitconfig and "
                            f"tools/data/profiles/NAME.config, e.g. debug, smp, or debug,smp (default: {profile})")
    parser.add_argument("--timeout", metavar="SECONDS", type=positive, default=timeout,
                        help=f"end a boot after so long (default: {timeout or '120, with the profile debug 600'})")
    parser.add_argument("--jobs", metavar="N", type=positive, default=os.cpu_count() or 1, help="for make -j (default: all CPUs)")
    return parser
