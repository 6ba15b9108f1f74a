"""The root of a virtual machine: an archive of files (cpio, "newc"), with the libraries that they need.

The format is described in the kernel's Documentation/driver-api/early-userspace/buffer-format.rst.
"""

import os
import re
import stat
import subprocess

# /bin, /lib and so on are links into /usr, as on Debian
MERGED = {"/bin": "/usr/bin", "/sbin": "/usr/sbin", "/lib": "/usr/lib", "/lib64": "/usr/lib64"}
PASSWD = "root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000:user:/home/user:/bin/sh\n"
GROUP = "root:x:0:\ntty:x:5:\nuser:x:1000:\n"


class Initramfs:
    """Files for the guest. Paths are the guest's unless noted otherwise."""

    def __init__(self, busybox):
        self.bytes = bytearray()
        self.inode = 0
        self.seen = {"/"}
        self.busybox = busybox
        for folder in ("/usr/lib", "/usr/lib64", "/usr/sbin", "/proc", "/sys", "/dev", "/run", "/root", "/vm/modules",
                       "/newroot", "/etc", "/var/tmp"):
            self.folder(folder)
        self.folder("/tmp", 0o1777)
        self.folder("/home/user", owner=1000)
        for link, target in MERGED.items():
            self.link(link, target.lstrip("/"))
        self.file("/usr/bin/busybox", read(busybox), 0o755)
        self.file("/etc/passwd", PASSWD.encode())
        self.file("/etc/group", GROUP.encode())
        self.file("/etc/hosts", b"127.0.0.1 localhost\n::1 localhost\n")

    def entry(self, path, mode, data=b"", owner=0):
        self.inode += 1
        name = path.strip("/").encode() + b"\0"
        fields = (self.inode, mode, owner, owner, 1, 0, len(data), 0, 0, 0, 0, len(name), 0)
        self.bytes += b"070701" + b"".join(b"%08x" % field for field in fields) + name
        self.bytes += b"\0" * (-len(self.bytes) % 4) + data
        self.bytes += b"\0" * (-len(self.bytes) % 4)
        self.seen.add(path)

    def parents(self, path):
        if os.path.dirname(path) not in self.seen:
            self.folder(os.path.dirname(path))

    def folder(self, path, mode=0o755, owner=0):
        if path not in self.seen:
            self.parents(path)
            self.entry(path, stat.S_IFDIR | mode, owner=owner)

    def file(self, path, data, mode=0o644):
        self.parents(path)
        self.entry(path, stat.S_IFREG | mode, data)

    def link(self, path, target):
        self.parents(path)
        self.entry(path, stat.S_IFLNK | 0o777, target.encode())

    def copy(self, source, path=None):
        """A file or folder of the host, at the same path by default."""
        path = merged(os.path.normpath(path or os.path.abspath(source)))
        if os.path.isdir(source):
            self.folder(path, stat.S_IMODE(os.stat(source).st_mode))
            for name in sorted(os.listdir(source)):
                self.copy(os.path.join(source, name), os.path.join(path, name))
        elif path not in self.seen:
            data = read(source)
            self.file(path, data, stat.S_IMODE(os.stat(source).st_mode))
            if data.startswith(b"\x7fELF"):
                for library in libraries(source):
                    self.copy(library)

    def finish(self):
        """The archive's bytes, with a link for each of busybox's programs that no other file provides."""
        for name in run([self.busybox, "--list"]).split():
            if f"/usr/bin/{name}" not in self.seen:
                self.link(f"/usr/bin/{name}", "busybox")
        self.entry("TRAILER!!!", 0)
        return bytes(self.bytes)


def merged(path):
    """The path behind the links of MERGED."""
    for link, target in MERGED.items():
        if path.startswith(link + "/"):
            return target + path[len(link):]
    return path


def libraries(program):
    """Shared libraries and loader of a program of the host; none for a static program, on which ldd fails."""
    result = subprocess.run(["ldd", program], capture_output=True, text=True)
    return re.findall(r"(/\S+) \(0x", result.stdout)


def read(path):
    with open(path, "rb") as file:
        return file.read()


def run(command, **options):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, **options).stdout
