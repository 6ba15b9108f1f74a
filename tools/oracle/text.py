"""Reads the lines of strace and of `lanner trace`: calls, their parameters, and what a parameter consists of."""

import re

OPEN, CLOSE = "{[(", "}])"
CALL = re.compile(r"([A-Za-z_]\w*)\(")


class Call:
    """One line: a call's name, the texts of its parameters, and the text behind the equals sign."""

    def __init__(self, name, params, ret):
        self.name, self.params, self.ret = name, params, ret


def call(line):
    """The call in a line, or None if there is none, or none that returned."""
    found = CALL.match(line)
    if not found or "<unfinished ...>" in line or " resumed>" in line:
        return None
    end = closing(line, found.end() - 1)
    if end is None:
        return None
    ret = line[end + 1:].strip()
    if not ret.startswith("="):
        return None
    return Call(found[1], split(line[found.end():end]), ret[1:].strip())


TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"?|/\*.*?\*/|[{}()\[\],|]', re.S)


def walk(text, start=0):
    """The brackets, commas and bars outside of strings and comments: place, character, depth of brackets before it."""
    depth = 0
    for found in TOKEN.finditer(text, start):
        char = found[0]
        if len(char) > 1 or char == '"':
            continue
        yield found.start(), char, depth
        if char in OPEN:
            depth += 1
        elif char in CLOSE:
            depth -= 1


def closing(text, start):
    """The place of the bracket that closes the one at `start`."""
    for at, char, depth in walk(text, start):
        if char in CLOSE and depth == 1:
            return at
    return None


def split(text, mark=","):
    """The parts between commas that are in no bracket."""
    parts, begin = [], 0
    for at, char, depth in walk(text):
        if char == mark and depth == 0:
            parts.append(text[begin:at].strip())
            begin = at + 1
    last = text[begin:].strip()
    return parts + [last] if last or parts else []


def plain(text):
    """The text without comments."""
    if "/*" not in text:
        return text
    return TOKEN.sub(lambda found: "" if found[0].startswith("/*") else found[0], text).strip()


def inside(text, brackets):
    """What is between these brackets, if they hold the whole text."""
    if text[:1] == brackets[0] and closing(text, 0) == len(text) - 1:
        return text[1:-1].strip()
    return None


def members(text):
    """The members of a structure as a list of (name or None, text), or None if the text is no structure."""
    within = inside(text, "{}")
    if within is None:
        return None
    found = []
    for part in split(within):
        named = re.match(r"([A-Za-z_]\w*)=(?!=)", part)
        found.append((named[1], part[named.end():]) if named else (None, part))
    return found


def items(text):
    """The elements of an array, or None if the text is none."""
    within = inside(text, "[]")
    return None if within is None else split(within)


def string(text):
    """The bytes of a quoted string, and whether it is cut; None if the text is no string."""
    found = re.fullmatch(r'"((?:[^"\\]|\\.)*)"(\.\.\.)?', text, re.S)
    if not found:
        return None
    return unescape(found[1]), bool(found[2])


ESCAPES = {"n": 10, "t": 9, "r": 13, "v": 11, "f": 12, "\\": 92, '"': 34}


def unescape(text):
    out, at = bytearray(), 0
    while at < len(text):
        if text[at] != "\\":
            out += text[at].encode()
            at += 1
            continue
        number = re.compile(r"x[0-9a-f]{2}|[0-7]{1,3}").match(text, at + 1)
        if number:
            digits = number[0]
            out.append((int(digits[1:], 16) if digits[0] == "x" else int(digits, 8)) & 255)
            at = number.end()
        else:
            out.append(ESCAPES.get(text[at + 1:at + 2], 63))
            at += 2
    return bytes(out)


def number(text):
    """The value of a number, or None."""
    if text == "NULL":
        return 0
    try:
        if re.fullmatch(r"0[0-7]+", text):
            return int(text, 8)
        return int(text, 0)
    except ValueError:
        return None
