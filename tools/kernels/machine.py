"""Runs a command in a virtual machine of qemu.

The guest's standard output and standard error come back through separate ports; a third port reports when the
command began and how it ended.
"""

import json
import os
import re
import selectors
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time

import store
from initramfs import Initramfs

HERE = os.path.dirname(os.path.realpath(__file__))
QEMU = "qemu-system-x86_64"
APPEND = (
    "console=ttyS0 quiet loglevel=4 panic=-1 oops=panic nokaslr random.trust_cpu=on no_timer_check "
    "cryptomgr.notests i8042.noaux i8042.nokbd mitigations=off rng_core.default_quality=1000"
)
# A bug of qemu's emulation (7.2 and 10.0) for which there is no workaround here: if SETO writes to a page for the first
# time, it is executed again after the page fault, with different flags. Compilers generate SETO to test for the one
# value that means "none". Where such a test is important, lanner's source avoids it.
# Two bugs of 7.2 kill guests now and then:
# - cmpxchg16b leaves garbage in the flags, which an interrupt carries into the kernel: hence -cx16;
# - with a thread for each CPU, a translation made while another CPU patches that code can outlive the patch, so that
#   a removed probe still traps: hence one thread for all CPUs.
# Five-level page tables are off, as they only make emulation slower.
ACCELERATORS = {
    "kvm": ["-accel", "kvm", "-cpu", "host"],
    "tcg": ["-accel", "tcg,thread=single,tb-size=256", "-cpu", "max,-cx16,-la57"],
}
# A guest boots in a second under KVM. Where KVM has no hardware support, it takes a minute to fail.
TRIAL_SECONDS = 15

# Results of a run other than the command's own status.
TIMEOUT = 124
BROKEN = 125


class Options:
    """Options of a machine."""

    def __init__(self, cpus=2, memory=1024, append="", timeout=120, console=None, copies=(), env=()):
        self.cpus = cpus
        self.memory = memory  # MiB
        self.append = append
        self.timeout = timeout  # seconds, the boot included
        self.console = console  # a file of the host, for the kernel's messages
        self.copies = copies  # (source, path in the guest or None)
        self.env = dict(env)


def busybox():
    """A static busybox, the only program that every guest needs."""
    for path in ("/usr/bin/busybox", "/bin/busybox", "/bin/busybox-static"):
        if os.path.exists(path):
            return path
    raise RuntimeError("there is no busybox: install busybox-static")


def archive(key, options, command):
    """The guest's root. Without a command: a shell on the console."""
    root = Initramfs(busybox())
    for source, path in options.copies:
        root.copy(source, path)
    for at, (name, data) in enumerate(store.modules(key, ["virtio_pci", "virtio_console"])):
        root.file(f"/vm/modules/{at:02}-{name}.ko", data)
    with open(os.path.join(HERE, "init.sh"), "rb") as file:
        root.file("/init", file.read(), 0o755)
    if command:
        env = {"HOME": "/root", "USER": "root", "TERM": "dumb", "LANG": "C.UTF-8", **options.env}
        lines = [f"export {name}={shlex.quote(value)}" for name, value in env.items()]
        lines.append("cd /root; exec " + " ".join(shlex.quote(word) for word in command))
        root.file("/vm/command", ("\n".join(lines) + "\n").encode())
    else:
        root.file("/vm/shell", b"")
    return root.finish()


def arguments(key, options, initrd, accelerator):
    # memory holds the archive twice while the kernel unpacks it
    memory = max(options.memory, 384 + 3 * os.path.getsize(initrd) // (1 << 20))
    return [
        QEMU, *ACCELERATORS[accelerator], "-machine", "q35", "-smp", str(options.cpus), "-m", f"{memory}M",
        "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
        "-kernel", store.image(key), "-initrd", initrd, "-append", f"{APPEND} {options.append}".strip(),
    ]


def accelerator(key):
    """kvm if a guest runs under it, else tcg; and why. Tried once for each boot of this host."""
    wish = os.environ.get("KERNEL_VM_ACCEL")
    if wish:
        return wish, "KERNEL_VM_ACCEL says so"
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return "tcg", "/dev/kvm is not there or may not be opened"
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        boot = file.read().strip()
    note = os.path.join(store.cache(), "accelerator.json")
    try:
        with open(note, encoding="utf-8") as file:
            known = json.load(file)
    except (OSError, ValueError):
        known = {}
    if known.get("boot") != boot:
        status, _, fault = run(key, ["true"], Options(timeout=TRIAL_SECONDS), collect=True, with_accelerator="kvm")
        fault = [line.strip() for line in fault.splitlines() if "qemu-system" in line] or [f"no guest was up after {TRIAL_SECONDS} s"]
        known = {"boot": boot, "name": "kvm" if status == 0 else "tcg", "why": "a guest ran under KVM" if status == 0 else fault[0]}
        with open(note, "w", encoding="utf-8") as file:
            json.dump(known, file)
    return known["name"], known["why"]


def shell(key, options):
    """A root shell on the serial console; Ctrl-A x leaves it."""
    with tempfile.TemporaryDirectory(prefix="kernel-vm.") as place:
        initrd = os.path.join(place, "initrd")
        with open(initrd, "wb") as file:
            file.write(archive(key, options, []))
        return subprocess.call(arguments(key, options, initrd, accelerator(key)[0]) + ["-serial", "mon:stdio"])


def run(key, command, options, collect=False, with_accelerator=None, sink=None):
    """Status, standard output and error text. The output is printed as it comes unless it is collected; then
    `sink` gets it as well. A machine that dies before the command begins is started once more."""
    for last in (with_accelerator is not None, True):
        status, out, fault, began = once(key, command, options, collect, with_accelerator, sink)
        if began or last:
            break
    if fault and not collect:
        sys.stderr.write(fault)
    return status, out, fault


def once(key, command, options, collect, with_accelerator, sink):
    name = with_accelerator or accelerator(key)[0]
    with tempfile.TemporaryDirectory(prefix="kernel-vm.") as place:
        initrd = os.path.join(place, "initrd")
        with open(initrd, "wb") as file:
            file.write(archive(key, options, command))
        console = options.console or os.path.join(place, "console")
        words = arguments(key, options, initrd, name)
        words += ["-chardev", f"file,id=console,path={console}", "-serial", "chardev:console"]
        words += ["-device", "virtio-serial-pci,max_ports=8"]
        listeners = {}
        for number, port in enumerate(("out", "err", "control"), 1):
            listeners[port] = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            listeners[port].bind(os.path.join(place, port))
            listeners[port].listen(1)
            words += ["-chardev", f"socket,id={port},path={place}/{port}"]
            words += ["-device", f"virtserialport,chardev={port},name={port},nr={number}"]
        # random.trust_cpu came with Linux 4.19: before it getrandom(2) waits for minutes in a machine where nothing happens.
        # It comes behind the ports, whose names have the number of their device.
        words += ["-device", "virtio-rng-pci"]
        with open(os.path.join(place, "qemu.err"), "wb") as errors:
            qemu = subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=errors, stderr=errors,
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
            )
        try:
            talk = Talk(collect, sink)
            why = talk.until_the_end(qemu, listeners, options.timeout)
        finally:
            qemu.kill()
            qemu.wait()
        if talk.status is not None:
            return talk.status, bytes(talk.out), "", True
        fault = f"kernel-vm: {key}: {why}\n"
        for title, path in (("console", console), ("qemu", os.path.join(place, "qemu.err"))):
            if os.path.exists(path):
                with open(path, errors="replace", encoding="utf-8") as file:
                    fault += f"--- {title}\n{file.read()[-4000:]}\n"
        return TIMEOUT if "time" in why else BROKEN, bytes(talk.out), fault, talk.began


class Talk:
    """The data from the ports of one run."""

    def __init__(self, collect, sink):
        self.collect = collect
        self.sink = sink
        self.out = bytearray()
        self.control = b""
        self.began = False
        self.status = None

    def until_the_end(self, qemu, listeners, timeout):
        """Why there is no status, if there is none."""
        end = time.monotonic() + timeout
        selector = selectors.DefaultSelector()
        for port, listener in listeners.items():
            listener.settimeout(0.1)
            while True:
                try:
                    connection, _ = listener.accept()
                    break
                except socket.timeout:
                    if qemu.poll() is not None:
                        return "qemu did not start"
            listener.close()
            connection.setblocking(False)
            selector.register(connection, selectors.EVENT_READ, port)
        while selector.get_map():
            wait = 0.05 if self.status is not None else end - time.monotonic()
            if wait <= 0:
                return f"the time is up ({timeout} s)" + ("" if self.began else ", and the command had not begun")
            ready = selector.select(wait)
            if not ready and self.status is not None:
                break
            for key, _ in ready:
                try:
                    data = key.fileobj.recv(1 << 16)
                except OSError:
                    data = b""
                if not data:
                    selector.unregister(key.fileobj)
                    key.fileobj.close()
                else:
                    self.take(key.data, data)
        return "the machine ended before the command did"

    def take(self, port, data):
        if port == "control":
            self.control += data
            self.began |= b"start\n" in self.control
            match = re.search(rb"exit (\d+)\n", self.control)
            if match:
                self.status = int(match.group(1))
        elif self.collect:
            self.out += data
            if self.sink:
                self.sink(data)
        else:
            stream = sys.stdout.buffer if port == "out" else sys.stderr.buffer
            stream.write(data)
            stream.flush()
