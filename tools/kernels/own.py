"""A kernel of one's own: NAME=BZIMAGE[:CONFIG] on the command line of test-kernels."""

import os
import re

import bzimage
import store

# What the machine and the suites need of a kernel, built in: kernels that test-kernels passes by --kernel have no modules.
# UNIX_DIAG has the other end of a Unix socket for ptrace before Linux 5.6; the ptrace driver needs POSIX_TIMERS.
REQUIRED = (
    "64BIT", "BLK_DEV_INITRD", "BINFMT_ELF", "BINFMT_SCRIPT", "DEVTMPFS", "PROC_FS", "SYSFS", "TMPFS", "UNIX",
    "UNIX_DIAG", "POSIX_TIMERS", "PCI", "VIRTIO_PCI", "VIRTIO_CONSOLE",
)


def parse(text):
    """The name, the image, and the configuration or None."""
    name, equals, image = text.partition("=")
    if not equals or not image or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._+-]*", name):
        raise RuntimeError(f"--kernel {text}: expected NAME=BZIMAGE or NAME=BZIMAGE:CONFIG")
    config = None
    if not os.path.exists(image) and ":" in image:
        image, _, config = image.rpartition(":")
    for path in (image, config):
        if path is not None and not os.path.isfile(path):
            raise RuntimeError(f"--kernel {text}: there is no file {path}")
    return name, image, config


def lacking(config):
    """The options that a machine needs and that this configuration (a text) does not build in."""
    built_in = set(re.findall(r"(?m)^CONFIG_(\w+)=y$", config))
    return [option for option in REQUIRED if option not in built_in]


def put(text):
    """Puts the kernel into the cache, and returns its name."""
    name, image, config = parse(text)
    if config is not None:
        with open(config, encoding="utf-8", errors="replace") as file:
            missing = lacking(file.read())
        if missing:
            options = " ".join(f"CONFIG_{option}=y" for option in missing)
            raise RuntimeError(f"--kernel {text}: {config} lacks {options}: build the kernel with them")
    with open(image, "rb") as file:
        release = bzimage.release(file.read())
    store.put(name, image, None, {"from": f"{release or 'unknown release'}, a kernel of one's own"})
    return name
