"""Runs a program alone, under strace and under lanner, and keeps what they said."""

import ctypes
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile

DRIVERS = {
    "ebpf-core": ["--driver", "ebpf-core"],
    "ebpf-legacy": ["--driver", "ebpf-legacy"],
    "ptrace": ["--driver", "ptrace", "--ptrace-mode", "trace"],
    "ptrace-notify": ["--driver", "ptrace", "--ptrace-mode", "notify"],
}
STRACE = ["strace", "-ff", "-v", "-s", "4096", "-e", "abbrev=execve,execveat", "-e", "signal=none"]
SECONDS = 30
LINES = 20000  # of a thread; the rest is not looked at
ADDR_NO_RANDOMIZE = 0x40000
CLONE_NEWUTS, CLONE_NEWIPC = 0x04000000, 0x08000000


class Runs:
    """The runs of one program. Those that are kept are not made again."""

    def __init__(self, source, lanner, program):
        self.source, self.lanner, self.program = source, lanner, program
        self.kept = os.path.join(source.place, "runs", program)
        stat = os.stat(lanner)
        self.build = hashlib.sha256(f"{stat.st_size} {stat.st_mtime_ns}".encode()).hexdigest()[:16]

    def alone(self):
        return self.get("alone", "", lambda out: [], lambda out: [])

    def strace(self, time):
        return self.get(f"strace-{time}", "", lambda out: [*STRACE, "-o", out, "--"], strace_lines)

    def driver(self, name):
        words = lambda out: [self.lanner, "trace", *DRIVERS[name], "--buffer", "64M", "--snaplen", "4096", "-o", out, "--"]
        return self.get(name, self.build, words, lanner_lines)

    def get(self, name, key, wrapper, read):
        path = os.path.join(self.kept, f"{name}.json")
        try:
            with open(path) as file:
                kept = json.load(file)
            if kept["key"] == key:
                return kept
        except (OSError, ValueError, KeyError):
            pass
        made = {"key": key, **self.make(wrapper, read)}
        os.makedirs(self.kept, exist_ok=True)
        with open(path, "w") as file:
            json.dump(made, file)
        return made

    def make(self, wrapper, read):
        with tempfile.TemporaryDirectory(prefix="oracle.") as folder:
            # the same path each time, so that what the program has on its stack is the same
            work = os.path.join(self.source.place, "work", self.program)
            shutil.rmtree(work, ignore_errors=True)
            os.makedirs(work)
            out = os.path.join(folder, "out")
            command = [*wrapper(out), os.path.join(self.source.tests, self.program)]
            with open(os.path.join(folder, "said"), "w+") as said:
                process = subprocess.Popen(command, cwd=work, stdin=subprocess.DEVNULL, stdout=said, stderr=said,
                                           preexec_fn=prepare, env={"PATH": "/usr/bin:/bin", "LC_ALL": "C"})
                try:
                    status = process.wait(SECONDS)
                except subprocess.TimeoutExpired:
                    status = None
                    os.killpg(process.pid, signal.SIGTERM)
                    try:
                        process.wait(5)
                    except subprocess.TimeoutExpired:
                        pass
                    try:
                        os.killpg(process.pid, signal.SIGKILL)
                    except ProcessLookupError:
                        pass
                    process.wait()
            shutil.rmtree(work, ignore_errors=True)
            return {"status": status, "threads": read(out)}


def prepare():
    """Addresses and a priority that are the same in each run, and System V objects and a host name of its own."""
    os.setsid()
    os.setpriority(os.PRIO_PROCESS, 0, 0)
    libc = ctypes.CDLL(None)
    libc.personality(ADDR_NO_RANDOMIZE)
    libc.unshare(CLONE_NEWUTS | CLONE_NEWIPC)


def strace_lines(out):
    """The lines of each thread, in the order of the threads' ids."""
    folder, threads = os.path.dirname(out), {}
    for name in os.listdir(folder):
        found = re.fullmatch(r"out\.(\d+)", name)
        if found:
            with open(os.path.join(folder, name), errors="replace") as file:
                threads[int(found[1])] = file.read().splitlines()
    return named(threads)


def lanner_lines(out):
    threads = {}
    try:
        with open(out, errors="replace") as file:
            lines = file.read().splitlines()
    except OSError:
        return []
    for line in lines:
        found = re.match(r"\d+/(\d+) [^\t]*\t(.*)$", line)
        if found:
            threads.setdefault(int(found[1]), []).append(found[2])
    return named(threads)


def named(threads):
    """Ids of threads, which differ from run to run, as names."""
    order = sorted(threads)
    names = {str(tid): f"TID{at}" for at, tid in enumerate(order)}
    if not names:
        return []
    pattern = re.compile(r"(?<![\w.*])(" + "|".join(names) + r")(?![\w.])")
    return [[pattern.sub(lambda found: names[found[1]], line) for line in threads[tid][:LINES]] for tid in order]
