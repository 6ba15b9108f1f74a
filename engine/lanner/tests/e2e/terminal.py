"""Plays a user at a terminal: terminal.py SCENE PREFIX... where PREFIX is what commands are started through."""

import os
import pty
import select
import shlex
import signal
import sys
import termios
import time

PATIENCE = 60
BASH = ["bash", "--noprofile", "--norc", "-i"]


class Terminal:
    def __init__(self, command):
        self.seen = ""
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            # what ran the tests may have them ignored (nohup, a shell's &)
            for number in [signal.SIGHUP, signal.SIGINT, signal.SIGQUIT]:
                signal.signal(number, signal.SIG_DFL)
            os.environ.update(PS1="$ ", TERM="dumb", HISTFILE="")
            os.execvp(command[0], command)

    def fail(self, what):
        print("%s; the screen: %r" % (what, self.seen[-1500:]), flush=True)
        os._exit(1)

    def read(self, timeout):
        if not select.select([self.fd], [], [], timeout)[0]:
            return True
        try:
            data = os.read(self.fd, 65536)
        except OSError:
            data = b""
        self.seen += data.decode(errors="replace")
        return bool(data)

    def expect(self, text):
        """Waits for a text, and forgets all up to its end."""
        end = time.monotonic() + PATIENCE
        while text not in self.seen:
            if time.monotonic() > end:
                self.fail("no %r" % text)
            if not self.read(0.1) and text not in self.seen:
                self.fail("the end instead of %r" % text)
        self.seen = self.seen.split(text, 1)[1]

    def until(self, what, holds):
        end = time.monotonic() + PATIENCE
        while not holds():
            if time.monotonic() > end:
                self.fail("never: " + what)
            self.read(0.02)

    def send(self, text):
        os.write(self.fd, text.encode())

    def foreground(self):
        return os.tcgetpgrp(self.fd)

    def status(self):
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            self.read(0.02)
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                return os.waitstatus_to_exitcode(status)
        self.fail("it does not end")


def states(group):
    """The states of all processes of a group (proc(5))."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                fields = open("/proc/%s/stat" % name).read().rsplit(") ", 1)[1].split()
            except (FileNotFoundError, ProcessLookupError):
                continue
            if int(fields[2]) == group:
                found.append(fields[0])
    return found


def shell(prefix):
    """An interactive shell with job control, started through the prefix."""
    at = Terminal(prefix + BASH)
    at.send("echo re''ady\n")
    at.expect("ready\r\n")
    own = at.foreground()
    at.send("sleep 600\n")
    at.until("the job has the terminal", lambda: at.foreground() != own)
    job = at.foreground()
    at.until("the job waits", lambda: states(job) == ["S"])
    at.send("\x1a")
    at.expect("Stopped")
    at.until("the shell has the terminal", lambda: at.foreground() == own)
    at.send("jobs; echo do''ne\n")
    at.expect("Stopped")
    at.expect("done\r\n")
    at.send("bg; echo do''ne\n")
    at.expect("done\r\n")
    at.until("the job goes on", lambda: states(job) == ["S"])
    at.send("fg\n")
    at.until("the job has the terminal again", lambda: at.foreground() == job)
    at.send("\x1a")
    at.expect("Stopped")
    at.send("fg\n")
    at.until("the job has the terminal once more", lambda: at.foreground() == job and states(job) == ["S"])
    at.send("\x03")
    at.until("the shell has the terminal again", lambda: at.foreground() == own)
    at.send("echo st''atus $?\n")
    at.expect("status 130\r\n")
    # a pipeline is one job
    at.send("sleep 600 | cat | cat\n")
    at.until("the pipeline waits", lambda: at.foreground() != own and states(at.foreground()) == ["S"] * 3)
    job = at.foreground()
    at.send("\x1a")
    at.expect("Stopped")
    # bash sends SIGCONT by itself only if it has noticed that all of the job is stopped, which is a matter of luck
    at.send("kill %1; kill -CONT %1 2>&-\n")
    at.until("the job is gone", lambda: states(job) == [])
    # told before the next prompt
    at.send("\n")
    at.expect("Terminated")
    at.send("exit 9\n")
    return 0 if at.status() == 9 else at.fail("not the shell's status")


COUNTER = """
import signal, time
hits = []
signal.signal(signal.SIGINT, lambda *_: hits.append(1))
signal.signal(signal.SIGQUIT, lambda *_: hits.append(100))
print("counting", flush=True)
while not hits or hits[-1] != 100:
    time.sleep(0.05)
time.sleep(0.3)
print("hits", sum(hits), flush=True)
"""


def job(prefix):
    """A command that is started through the prefix, as a job of an interactive shell."""
    at = Terminal(BASH)
    at.send("echo re''ady\n")
    at.expect("ready\r\n")
    own = at.foreground()
    at.send(shlex.join(prefix + ["python3", "-E", "-c", COUNTER]).replace("\n", "'$'\\n''") + "\n")
    at.expect("counting\r\n")
    for keys in ["\x03", "\x03", "\x03"]:
        at.send(keys)
        time.sleep(0.2)
    at.send("\x1c")
    # each key once, though lanner is in the foreground as well
    at.expect("hits 103\r\n")
    at.until("the shell has the terminal", lambda: at.foreground() == own)
    at.send(shlex.join(prefix + ["sh", "-c", "echo begun; exec cat"]).replace("begun", "beg''un") + "\n")
    at.expect("begun\r\n")
    job = at.foreground()
    at.send("one\n")
    at.expect("one\r\none\r\n")
    at.send("\x1a")
    at.expect("Stopped")
    at.until("all of it is stopped", lambda: set(states(job)) <= {"T", "t"})
    at.send("fg\n")
    at.until("the job has the terminal again", lambda: at.foreground() == job)
    at.send("two\n")
    at.expect("two\r\ntwo\r\n")
    at.send("\x04")
    at.until("the shell has the terminal again", lambda: at.foreground() == own)
    at.send("echo st''atus $?\n")
    at.expect("status 0\r\n")
    at.send(shlex.join(prefix + ["sh", "-c", "echo beg''un; exec sleep 600"]) + "\n")
    at.expect("begun\r\n")
    at.send("\x03")
    at.until("the shell has the terminal at last", lambda: at.foreground() == own)
    at.send("echo st''atus $?\n")
    at.expect("status 130\r\n")
    at.send("exit\n")
    return at.status()


if __name__ == "__main__":
    sys.exit({"shell": shell, "job": job}[sys.argv[1]](sys.argv[2:]))
