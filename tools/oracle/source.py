"""strace's test programs: fetches the source package of the strace that is installed, and builds them."""

import os
import re
import subprocess
import tarfile

# Variants of a program that make the same calls, and differ in the output that they expect from strace; and programs
# that want strace to make their calls succeed.
SAME = re.compile(r"--|-(P|X\w*|y+|v|nv|q+|s|e\w*|success.*|secontext.*|Pidns.*|idx|toolong|legacy|W?cmd.*|f|p\w*)$")
# Programs that wait for strace to do something to them, that look at their tracer, that start others for ever, or that make a hundred thousand calls.
LEFT_OUT = re.compile(
    r"attach|detach|inject|fault|filter|qual_|count|redirect|sleep|interactive|looping|strace|status|run_|block_reset"
    r"|check_sig|set_ptracer|print_|kill_child|delay|vhangup|unblock|answer|signal_receive|sigkill_rain|zeroargc"
    r"|threads-execve|clone_parent|ptrace_restart|list_sig|test_|pidns|prlimit-|limit|get_process_reaper|tracer_|clone_ptrace|maybe|^times$|umovestr|printstrn|^siginfo$|^read-write$")


class SourceError(Exception):
    """The programs could not be fetched or built."""


class Source:
    """A folder with strace's source and its test programs."""

    def __init__(self, place):
        self.place = place
        self.version = version()
        self.root = os.path.join(place, f"strace-{self.version.split('-')[0]}")
        self.tests = os.path.join(self.root, "tests")

    def ready(self, say):
        """Fetches and builds what is missing."""
        if not os.path.exists(os.path.join(self.root, "configure")):
            say(f"fetching the source of strace {self.version}")
            self.fetch()
        if not os.path.exists(os.path.join(self.tests, "Makefile")):
            say("configuring it")
            self.run("./configure", "--enable-mpers=no", "--disable-gcc-Werror", "--with-libdw=no", "--with-libunwind=no",
                     "--with-libselinux=no", "CFLAGS=-O1 -w -g0")
        done = os.path.join(self.root, "built")
        if not os.path.exists(done):
            say("building its test programs: this takes some minutes")
            jobs = f"-j{os.cpu_count() or 1}"
            self.run("make", "-k", jobs, "-C", "bundled", check=False)
            self.run("make", "-k", "-C", "src", *self.built_sources(), check=False)
            self.run("make", "-k", jobs, "-C", "tests", "check", "TESTS=", check=False)
            if not self.programs():
                raise SourceError(f"no test program of strace could be built: {self.log}")
            open(done, "w").close()

    @property
    def log(self):
        return os.path.join(self.place, "build.log")

    def run(self, *command, check=True):
        with open(self.log, "a") as log:
            done = subprocess.run(["nice", *command], cwd=self.root, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        if check and done.returncode:
            raise SourceError(f"`{' '.join(command)}` failed: {self.log}")

    def built_sources(self):
        with open(os.path.join(self.root, "src", "Makefile")) as file:
            found = re.search(r"(?m)^BUILT_SOURCES = ((?:.*\\\n)*.*)$", file.read())
        return found[1].replace("\\\n", " ").split() if found else []

    def fetch(self):
        """Gets the source package through apt, with lists of its own."""
        archive = os.path.join(self.place, "apt")
        os.makedirs(os.path.join(archive, "lists", "partial"), exist_ok=True)
        lines = apt("indextargets", "--format", "$(SITE) $(RELEASE) $(COMPONENT) $(SIGNED_BY)", "Created-By: Packages")
        with open(os.path.join(archive, "sources.list"), "w") as file:
            for line in sorted(set(lines.splitlines())):
                site, release, component, *key = line.split()
                # apt leaves the name of a value that is not set as it is
                signed = f"[signed-by={key[0]}] " if key and not key[0].startswith("$(") else ""
                file.write(f"deb-src {signed}{site} {release} {component}\n")
        options = [f"-oDir::Etc::SourceList={archive}/sources.list", "-oDir::Etc::SourceParts=-",
                   f"-oDir::State::Lists={archive}/lists"]
        apt("-q", *options, "update", check=False)
        apt("-q", *options, "source", "--download-only", f"strace={self.version}", cwd=self.place)
        name = f"strace_{self.version.split('-')[0]}.orig.tar.xz"
        with tarfile.open(os.path.join(self.place, name)) as packed:
            packed.extractall(self.place, filter="data")

    def programs(self):
        """The names of the programs that make calls worth comparing."""
        with open(os.path.join(self.tests, "Makefile")) as file:
            text = file.read().replace("\\\n", " ")
        names = set()
        for variable in ("check_PROGRAMS", "am__EXEEXT_1", "am__EXEEXT_2"):
            found = re.search(rf"(?m)^{variable} = (.*)$", text)
            names |= set(re.findall(r"([\w.+-]+)\$\(EXEEXT\)", found[1] if found else ""))
        wanted = [name for name in names if not SAME.search(name) and not LEFT_OUT.search(name)]
        return sorted(name for name in wanted if os.access(os.path.join(self.tests, name), os.X_OK))


def version():
    """The version of the package of the strace that is installed."""
    try:
        return subprocess.run(["dpkg-query", "-W", "-f", "${Version}", "strace"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        raise SourceError("strace is not installed as a Debian package (tools/setup test installs it)") from error


def apt(*words, check=True, cwd=None):
    done = subprocess.run(["apt-get", *words], capture_output=True, text=True, cwd=cwd)
    if check and done.returncode:
        raise SourceError(f"apt-get {' '.join(words)}: {done.stderr.strip()}")
    return done.stdout
