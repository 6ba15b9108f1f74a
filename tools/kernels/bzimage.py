"""Reads a kernel image: its release, and the ELF file in it. qemu can start the ELF file itself, and the guest need not
unpack it, which saves seconds at each boot under emulation. Documentation/arch/x86/boot.rst has the header.
"""

import gzip
import io
import lzma
import shutil
import struct
import subprocess

# include/xen/interface/elfnote.h: the entry point for a loader such as qemu's
XEN_ELFNOTE_PHYS32_ENTRY = 18
PT_NOTE = 4


def release(image):
    """The release in the bytes of a bzImage, such as 4.19.79, or None."""
    if image[0x202:0x206] != b"HdrS":
        return None
    (at,) = struct.unpack_from("<H", image, 0x20E)
    words = image[0x200 + at:].split(b"\0", 1)[0].decode(errors="replace").split() if at else []
    return words[0] if words else None


def startable(image):
    """The ELF file in a bzImage if qemu can start it itself, or None."""
    elf = unpack(image)
    return elf if elf and has_entry(elf) else None


def unpack(image):
    """The ELF file in the bytes of a bzImage, or None if its compression is unknown."""
    if image[0x202:0x206] != b"HdrS":
        return None
    start = ((image[0x1F1] or 4) + 1) * 512 + struct.unpack_from("<I", image, 0x248)[0]
    payload = image[start:start + struct.unpack_from("<I", image, 0x24C)[0]]
    (size,) = struct.unpack("<I", payload[-4:])
    try:
        if payload[:2] == b"\x1f\x8b":
            elf = gzip.GzipFile(fileobj=io.BytesIO(payload)).read(size)
        elif payload[:6] == b"\xfd7zXZ\0":
            elf = lzma.LZMADecompressor().decompress(payload)
        else:
            tool = {b"\x28\xb5\x2f\xfd": "zstd", b"\x02\x21\x4c\x18": "lz4"}.get(payload[:4])
            if not tool or not shutil.which(tool):
                return None
            elf = subprocess.run([tool, "-dc"], input=payload[:-4], capture_output=True).stdout
    except (OSError, EOFError, lzma.LZMAError):
        return None
    return elf[:size] if elf[:4] == b"\x7fELF" and len(elf) >= size else None


def has_entry(elf):
    """Whether one of the ELF file's notes names an entry point for a loader."""
    (table,) = struct.unpack_from("<Q", elf, 32)
    entry_size, entries = struct.unpack_from("<HH", elf, 54)
    for at in range(entries):
        kind, _, offset, _, _, size = struct.unpack_from("<IIQQQQ", elf, table + at * entry_size)
        end = offset + size
        while kind == PT_NOTE and offset + 12 <= end:
            name, data, note = struct.unpack_from("<III", elf, offset)
            if elf[offset + 12:offset + 12 + name] == b"Xen\0" and note == XEN_ELFNOTE_PHYS32_ENTRY:
                return True
            offset += 12 + (name + 3 & ~3) + (data + 3 & ~3)
    return False
