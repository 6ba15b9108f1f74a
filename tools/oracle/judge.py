"""Compares a value of strace with lanner's: equal, another format, raw in strace, raw here, or wrong."""

import re

from text import inside, items, members, number, plain, split, string

EQUAL, FORMAT, RAW_THERE, RAW_HERE, WRONG = range(5)
NAMES = ("equal", "another format", "raw in strace", "raw here", "wrong")
# What strace adds to a message: how much room there was.
ROOM = ("msg_namelen", "msg_iovlen", "msg_controllen", "msg_flags")
# Members that have another name in newer headers of Linux.
RENAMED = {"pad": "flags"}
MACRO = re.compile(r"([A-Za-z_]\w*)\(")


def value(theirs, ours):
    """The verdict on a value; on a structure or an array, the worst one of its parts."""
    if theirs == ours:
        return EQUAL
    theirs, ours = plain(theirs), plain(ours)
    if ours[-4:] in ("]...", "}..."):
        # the message goes on behind what was captured
        ours = ours[:-3]
    # what a call reads and writes: lanner has the value at the return
    if " => " in theirs and not theirs.startswith('"'):
        theirs = re.sub(r"\[([^\[\]]*) => ", "[", theirs)
        theirs = theirs.split(" => ")[-1] if theirs[:1] in "{0123456789" and inside(theirs, "{}") is None else theirs
    theirs = one_iovec(theirs, ours)
    words = bits(items(theirs) or ["x"])
    if words is not None and words == [int(one) for one in " ".join(items(ours) or []).split() if one.isdigit()]:
        return FORMAT
    listed = items(theirs) is not None, items(ours) is not None
    theirs, ours = filter_line(single(theirs)), single(ours)
    if theirs == ours:
        return FORMAT
    if listed[0] != listed[1] and is_raw(theirs) and is_raw(ours) and numbers(theirs, ours) == WRONG:
        # an address on one side, the number that is there on the other
        return RAW_HERE if listed[0] else RAW_THERE
    for compare in (structures, vectors, arrays, strings, numbers, symbols):
        verdict = compare(theirs, ours)
        if verdict is not None:
            return max(FORMAT, verdict)
    return WRONG


def filter_line(text):
    """The structure that BPF_STMT(code, k) or BPF_JUMP(code, k, jt, jf) makes."""
    found = re.fullmatch(r"BPF_(STMT|JUMP)\((.*)\)", text, re.S)
    if not found:
        return text
    code, k, jt, jf = (split(found[2]) + ["0", "0"])[:4]
    return f"{{code={code}, jt={jt}, jf={jf}, k={k}}}"


def single(text):
    """An array of one element as that element."""
    parts = items(text)
    return parts[0] if parts is not None and len(parts) == 1 and parts[0] != "..." else text


def one_iovec(theirs, ours):
    """What the only iovec has, where lanner shows the gathered bytes as what they mean."""
    fields = dict((name, text) for name, text in members(single(theirs)) or [])
    if set(fields) == {"iov_base", "iov_len"} and not is_raw(fields["iov_base"]) and string(ours) is None and "iov_base" not in ours:
        return fields["iov_base"]
    return theirs


def is_raw(text):
    """Whether a text is no more than a number or an address."""
    return number(text) is not None or re.fullmatch(r"\?+", text) is not None


def is_address(text):
    """Whether a text is the address of something that strace could not read."""
    return text.startswith("0x") and (number(text) or 0) > 0xffffffff


def structures(theirs, ours):
    left, right = members(theirs), members(ours)
    if left is None and right is None:
        return None
    if left is None:
        return RAW_THERE if is_raw(theirs) or string(theirs) else None
    if right is None:
        return RAW_HERE if is_raw(ours) or string(ours) else None
    known = {name: text for name, text in right if name}
    # the member of a union that the call uses
    union = members(left[0][1]) if left and members(known.get(left[0][0], "")) is None else None
    left = union + left[1:] if union is not None else left
    verdict = FORMAT
    for name, text in left:
        if name in known:
            verdict = max(verdict, value(text, known[name]))
        elif not is_elsewhere(name, text, right, known):
            verdict = max(verdict, RAW_HERE)
    return verdict


def is_elsewhere(name, text, right, known):
    """Whether a member of strace's structure is in lanner's under another name, or says nothing."""
    text = plain(text)
    if name in RENAMED and number(text) is not None and number(text) == number(known.get(RENAMED[name], "")):
        return True
    bits = known.get("bits")
    if bits is not None and name and not name.startswith("__reserved") and number(text) is not None:
        # bits that C has as members
        parts = bits.split("|")
        return (name in parts) == (number(text) != 0) or f"{name}={text}" in parts
    if bits is not None and name and name.startswith("__reserved") and number(text):
        # the bits without a name, as C counts them
        unnamed = [number(part) for part in bits.split("|") if number(part) is not None]
        return any(are_bits_of(number(text) << shift, one) for one in unnamed for shift in range(24, 64))
    quoted = re.search(r'"(?:[^"\\]|\\.)*"', text)
    if quoted and (name in (None, "extra_data")):
        # bytes behind the structure, and addresses by inet_pton
        said = [re.search(r'"(?:[^"\\]|\\.)*"', other) for _, other in right]
        return any(one and same_bytes(one[0], quoted[0]) for one in said)
    if name is None:
        return text in ("...", "???", "") or is_address(text)
    if name == "family":
        # strace has one name for the families of all messages
        return any(other == text for one, other in right if one and one.endswith("_family"))
    return name in ROOM or number(text) == 0 or text == "[]" or number(text) is None and not text.strip('"')


def are_bits_of(all_bits, some):
    """Whether these are all bits but the few that have a name in newer headers."""
    return some & ~all_bits == 0 and (all_bits & ~some & (2**64 - 1)).bit_count() <= 2


def same_bytes(one, other):
    left, right = string(one)[0], string(other)[0]
    return left.startswith(right) or right.startswith(left)


def vectors(theirs, ours):
    """Lanner shows the bytes of an iovec array as one string, as they went through the call."""
    bytes_here, parts = string(ours), items(theirs)
    if members(theirs) is not None:
        parts = [theirs]
    if bytes_here is None or parts is None:
        return None
    numbers_there = [number(part) for part in parts if part != "..."]
    if parts and None not in numbers_there:
        # the bytes of mincore(2)
        said = bytes(one % 256 for one in numbers_there)
        return FORMAT if bytes_here[0].startswith(said) else RAW_HERE
    joined = b""
    for part in parts:
        fields = dict((name, text) for name, text in members(part) or [])
        base = string(fields.get("iov_base", ""))
        if base is None:
            return None if part != "..." else FORMAT
        joined += base[0]
    return FORMAT if joined.startswith(bytes_here[0]) or bytes_here[0].startswith(joined) else WRONG


def arrays(theirs, ours):
    left, right = items(theirs), items(ours)
    if left is None and right is None:
        return None
    if left is None or right is None:
        raw = theirs if left is None else ours
        if is_raw(raw) or (left is not None and string(raw)):
            return RAW_THERE if left is None else RAW_HERE
        left, right = [theirs] if left is None else left, [ours] if right is None else right
    if len(left) == 2 and left[1] == "..." and items(left[0]) is not None and right and items(right[0]) is None:
        # a message, and behind it what strace could not read
        left = items(left[0])
    if len(left) == len(right) + 1 and is_address(left[-1]):
        # strace could not read the last one; lanner leaves it out
        left = left[:-1]
    cut = "..." in (left[-1:] or [""])[0] or "..." in (right[-1:] or [""])[0]
    if len(left) != len(right) and not cut:
        return WRONG
    pairs = [(a, b) for a, b in zip(left, right) if "..." not in (a, b)]
    return max([FORMAT] + [value(a, b) for a, b in pairs])


def bits(words):
    """The numbers of the bits in words of 16 digits, as strace shows sets of nodes."""
    found = []
    for at, word in enumerate(words):
        if not re.fullmatch(r"(0x)?[0-9a-f]{16}", word):
            return None
        found += [at * 64 + bit for bit in range(64) if int(word, 16) >> bit & 1]
    return found


def strings(theirs, ours):
    left, right = string(theirs), string(ours)
    if left is None and right is None:
        return None
    if left is None:
        return RAW_THERE if is_raw(theirs) else None
    if right is None:
        return RAW_HERE if is_raw(ours) else None
    if left[0] == right[0]:
        return FORMAT
    if (left[1] and right[0].startswith(left[0])) or (right[1] and left[0].startswith(right[0])):
        return FORMAT
    # fixed room in a structure, with its NULs or without
    return FORMAT if left[0].rstrip(b"\0") == right[0].rstrip(b"\0") else WRONG


def numbers(theirs, ours):
    left, right = number(theirs), number(ours)
    if left is None or right is None:
        return None
    return FORMAT if left % 2**64 == right % 2**64 or left in (right - 2**32, right + 2**32) else WRONG


def shifted(text):
    """A number that strace prints as another one that is shifted: 0x2<<12."""
    found = re.fullmatch(r"(0x[0-9a-f]+|\d+)<<(\d+)", text.strip())
    return hex(int(found[1], 0) << int(found[2])) if found else text


def symbols(theirs, ours):
    """Names of bits and values, and calls of macros: makedev(0x1, 0x2)."""
    left, right = MACRO.match(theirs), MACRO.match(ours)
    if left and left[1] == "KERNEL_VERSION" and number(ours) is not None:
        parts = [int(part) for part in split(theirs[left.end():].rstrip(")"))]
        return FORMAT if (parts[0] << 16) + (parts[1] << 8) + parts[2] == number(ours) else WRONG
    if left and left[1] == "if_nametoindex" and number(ours) is not None:
        # strace asks the system
        return FORMAT
    if right and right[1] == "_IOC":
        return None if left else RAW_HERE
    if left and right and left[1] == right[1]:
        return value("[" + theirs[left.end():].rstrip(")") + "]", "[" + ours[right.end():].rstrip(")") + "]")
    if ours in re.split(r"\s+or\s+", theirs):
        return FORMAT
    if left and left[1] == "QCMD":
        theirs = "|".join(split(theirs[left.end():].rstrip(")")))
    left, right = [shifted(part) for part in split(theirs, "|")], split(ours, "|")
    if len(left) > 1:
        left = [part for part in left if number(part) != 0]
    only_left = [part for part in left if part not in right]
    only_right = [part for part in right if part not in left]
    named = lambda parts: [part for part in parts if not is_raw(part)]
    if not only_left and not only_right:
        return FORMAT
    if only_right and not named(only_right) and named(only_left):
        return RAW_HERE
    if not named(only_left) and (named(only_right) or not only_right):
        return RAW_THERE
    if not named(only_left) and not named(only_right):
        return FORMAT if sum(number(p) or 0 for p in only_left) == sum(number(p) or 0 for p in only_right) else WRONG
    return None


def parameters(theirs, ours):
    """Pairs of the parameters; `(nothing)` where lanner has none."""
    if len(theirs) == len(ours):
        return list(zip(theirs, ours))
    if len(theirs) > len(ours):
        return list(zip(theirs, ours)) + [(left, "(nothing)") for left in theirs[len(ours):]]
    spare = len(ours) - len(theirs)
    at = min(range(len(theirs) + 1), key=lambda at: sum(value(*pair) for pair in zip(theirs, ours[:at] + ours[at + spare:])))
    return list(zip(theirs, ours[:at] + ours[at + spare:]))


def result(theirs, ours):
    """The verdict on what is behind the equals sign."""
    if theirs == ours:
        return EQUAL
    bare = lambda text: re.sub(r"\s*\(.*\)$", "", plain(text), flags=re.S)
    left, right = bare(theirs), bare(ours)
    if left == right:
        return FORMAT
    if " E" in left and left.split()[-1] == right.split()[-1]:
        return FORMAT
    verdict = numbers(left, right)
    return WRONG if verdict is None else verdict
