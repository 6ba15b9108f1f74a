"""The kernels that were fetched or imported, each in a folder of the cache: image, modules, description."""

import gzip
import json
import lzma
import os
import re
import shutil
import subprocess

import bzimage


def cache():
    """$KERNEL_VM_CACHE, else lanner's folder in the user's cache."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return os.environ.get("KERNEL_VM_CACHE") or os.path.join(base, "lanner-kernels")


def folder(key):
    return os.path.join(cache(), "kernels", key)


def describe(key):
    """The description of a kernel, or None if it is not in the cache."""
    try:
        with open(os.path.join(folder(key), "info.json"), encoding="utf-8") as file:
            return json.load(file)
    except FileNotFoundError:
        return None


def keys():
    """The kernels of the cache, oldest version first."""
    try:
        names = os.listdir(os.path.join(cache(), "kernels"))
    except FileNotFoundError:
        return []
    return sorted((name for name in names if describe(name)), key=lambda name: [int(n) for n in re.findall(r"\d+", name)])


def put(key, image, modules, info):
    """Adds a kernel to the cache, completely or not at all."""
    new = folder(key) + ".new"
    shutil.rmtree(new, ignore_errors=True)
    os.makedirs(new)
    shutil.copy(image, os.path.join(new, "vmlinuz"))
    if modules:
        shutil.copytree(modules, os.path.join(new, "modules"))
    with open(image, "rb") as file:
        elf = bzimage.startable(file.read())
    if elf:
        with open(os.path.join(new, "vmlinux"), "wb") as file:
            file.write(elf)
    info["boot"] = "vmlinux" if elf else "vmlinuz"
    with open(os.path.join(new, "info.json"), "w", encoding="utf-8") as file:
        json.dump(info, file, indent=1)
    shutil.rmtree(folder(key), ignore_errors=True)
    os.rename(new, folder(key))


def image(key):
    return os.path.join(folder(key), describe(key)["boot"])


def modules(key, names):
    """Name and bytes of these modules, dependencies first. Built-in modules are left out."""
    index = {}
    for place, _, files in os.walk(os.path.join(folder(key), "modules")):
        for file in files:
            match = re.match(r"(.+)\.ko(\.xz|\.gz|\.zst)?$", file)
            if match:
                index[match.group(1).replace("-", "_")] = os.path.join(place, file)
    found = {}

    def take(name):
        name = name.replace("-", "_")
        if name in found or name not in index:
            return
        data = unpacked(index[name])
        match = re.search(rb"depends=([^\0]+)\0", data)
        for other in match.group(1).decode().split(",") if match else []:
            take(other)
        found[name] = data

    for name in names:
        take(name)
    return list(found.items())


def unpacked(path):
    with open(path, "rb") as file:
        data = file.read()
    if path.endswith(".xz"):
        return lzma.decompress(data)
    if path.endswith(".gz"):
        return gzip.decompress(data)
    if path.endswith(".zst"):
        return subprocess.run(["zstd", "-dc"], input=data, check=True, capture_output=True).stdout
    return data
