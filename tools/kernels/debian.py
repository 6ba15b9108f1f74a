"""Fetches Debian's kernels through apt, from this system's archive, without changing apt's own state."""

import functools
import os
import re
import subprocess
import tempfile

import store

# Where to look for a version; "S:" is the security archive. The last line is for all others.
SUITES = {
    "5.10": ["S:bullseye-security", "bullseye"],
    "6.1": ["S:bookworm-security", "bookworm"],
    "6.12": ["S:trixie-security", "trixie"],
    "": ["sid", "S:trixie-security", "trixie", "trixie-backports", "bookworm-backports", "bookworm"],
}


def fetch(key, flavour="cloud-amd64"):
    """Puts the newest build of this version (such as 6.1) into the cache. Raises RuntimeError."""
    with tempfile.TemporaryDirectory(prefix="kernel-vm.") as place:
        apt = Apt(place, SUITES.get(key, SUITES[""]))
        apt.run("apt-get", "-q", "update")
        pattern = re.compile(rf"linux-image-{re.escape(key)}\.[0-9][^ ]*-{re.escape(flavour)}$")
        names = [name for name in apt.run("apt-cache", "pkgnames", f"linux-image-{key}").split() if pattern.match(name)]
        found = []
        for name in names:
            for text in apt.run("apt-cache", "show", name).split("\n\n"):
                fields = dict(re.findall(r"(?m)^([A-Za-z0-9-]+): (.*)$", text))
                if "Version" in fields:
                    found.append((name, fields["Version"], fields.get("Depends", "")))
        found.sort(key=functools.cmp_to_key(lambda a, b: -1 if newer(a[1], b[1]) else 1))
        for name, version, depends in found:
            if take(apt, key, name, version, depends):
                return
        said = f"\n{apt.said[-2000:].strip()}" if apt.said else ""
    raise RuntimeError(f"Linux {key}: no package linux-image-{key}.*-{flavour} could be fetched from {sources()[0]}{said}")


def take(apt, key, name, version, depends):
    """Downloads and unpacks one candidate; false if the archive no longer has all of it."""
    # newer kernels have separate packages for the image and the modules
    parts = re.findall(r"(linux-(?:binary|modules)-\S+) \(= ([^)]+)\)", depends)
    with tempfile.TemporaryDirectory(dir=apt.place) as place:
        wanted = [f"{package}={at}" for package, at in [(name, version), *parts]]
        got = subprocess.run(["apt-get", "-q", "download", *wanted], cwd=place, env=apt.env, capture_output=True, text=True)
        if got.returncode:
            apt.said += got.stderr
            return False
        for package in os.listdir(place):
            if package.endswith(".deb"):
                subprocess.run(["dpkg-deb", "-x", package, "x"], cwd=place, check=True)
        release = name.removeprefix("linux-image-")
        root = os.path.join(place, "x")
        image = first(f"{root}/boot/vmlinuz-{release}", f"{root}/usr/lib/modules/{release}/vmlinuz")
        modules = first(f"{root}/usr/lib/modules/{release}/kernel", f"{root}/lib/modules/{release}/kernel")
        if not image:
            return False
        store.put(key, image, modules, {"package": f"{name} {version}", "release": release})
        return True


def first(*paths):
    return next((path for path in paths if os.path.exists(path)), None)


def newer(a, b):
    return subprocess.run(["dpkg", "--compare-versions", a, "gt", b]).returncode == 0


class Apt:
    """apt with its own sources, lists and cache, which are removed with the folder."""

    def __init__(self, place, suites):
        self.place = place
        for name in ("lists/partial", "cache/archives/partial"):
            os.makedirs(os.path.join(place, name))
        archive, security, keyring = sources()
        options = f"[check-valid-until=no{f' signed-by={keyring}' if keyring else ''}]"
        with open(f"{place}/sources.list", "w", encoding="utf-8") as file:
            for suite in suites:
                base = security if suite.startswith("S:") else archive
                file.write(f"deb {options} {base} {suite.removeprefix('S:')} main\n")
        with open(f"{place}/apt.conf", "w", encoding="utf-8") as file:
            file.write(
                f'Dir::Etc::sourcelist "{place}/sources.list";\nDir::Etc::sourceparts "-";\n'
                f'Dir::State::lists "{place}/lists";\nDir::Cache "{place}/cache";\n'
                'Acquire::Languages "none";\nAcquire::Retries "4";\nAPT::Sandbox::User "root";\n'
            )
            for target in ("DEP-11", "DEP-11-icons-small", "DEP-11-icons", "DEP-11-icons-hidpi", "Contents-deb"):
                file.write(f'Acquire::IndexTargets::deb::{target}::DefaultEnabled "false";\n')
        self.said = ""  # its warnings: apt-get update fails at nothing else when the archive is not to be had
        self.env = dict(os.environ, APT_CONFIG=f"{place}/apt.conf", LC_ALL="C")

    def run(self, *command):
        result = subprocess.run(command, env=self.env, capture_output=True, text=True)
        if result.returncode:
            raise RuntimeError(f"{' '.join(command)}: {result.stderr[-2000:].strip()}")
        self.said += result.stderr
        return result.stdout


def sources():
    """The addresses of this system's archive and of its security updates, and the keyring."""
    archive = security = keyring = None
    texts = []
    places = ["/etc/apt/sources.list"]
    if os.path.isdir("/etc/apt/sources.list.d"):
        places += sorted(os.path.join("/etc/apt/sources.list.d", name) for name in os.listdir("/etc/apt/sources.list.d"))
    for path in places:
        if os.path.exists(path):
            with open(path, encoding="utf-8") as file:
                texts.append((path, file.read()))
    for path, text in texts:
        if path.endswith(".sources"):
            for stanza in re.split(r"\n\s*\n", text):
                fields = dict(re.findall(r"(?m)^([A-Za-z-]+):\s*(.*?)\s*$", stanza))
                uri, suites = fields.get("URIs", "").split()[:1], fields.get("Suites", "")
                if not uri or not re.search(r"debian", uri[0]):
                    continue
                keyring = keyring or fields.get("Signed-By")
                if "-security" in suites:
                    security = security or uri[0]
                else:
                    archive = archive or uri[0]
        else:
            for uri, suite in re.findall(r"(?m)^\s*deb\s+(?:\[.*?\]\s+)?(\S*debian\S*)\s+(\S+)", text):
                if "-security" in suite:
                    security = security or uri
                else:
                    archive = archive or uri
    if not archive:
        raise RuntimeError("no Debian archive is named in /etc/apt")
    return archive, security or archive.rstrip("/") + "-security", keyring
