"""The table: how many values of each parameter of each call are equal, in another format, raw or wrong."""

import collections
import difflib
import functools
import os
import re

import judge
import text

MISSING = "(nothing)"
# This driver sees calls at their entry alone, and leaves some to themselves.
ENTRY_ONLY = "ptrace-notify"
# Calls with memory that the kernel reads and then writes. Their table does not say so (drivers/tests/syscalls/gaps.rs).
CHANGED = """_newselect accept accept4 adjtimex capget capset clock_adjtime copy_file_range getpeername getsockname getsockopt
io_setup io_uring_setup name_to_handle_at perf_event_open poll ppoll pselect6 recvfrom recvmmsg recvmsg sched_setattr select sendfile splice
tee""".split()
call = functools.lru_cache(100000)(text.call)
HERE = os.path.dirname(__file__)


class Table:
    """Verdicts by driver, call and parameter. The same pair of texts counts once, however many programs have it."""

    def __init__(self, root):
        self.kinds = parameters(os.path.join(root, "driver-api", "syscalls.tbl"))
        self.names = {call: [name for name, _ in params] for call, params in self.kinds.items()}
        self.unfailing = unfailing(os.path.join(root, "driver-api", "syscalls.tbl"))
        self.explained = explanations(os.path.join(HERE, "explained.tbl"))
        self.seen = {}
        self.lines = collections.defaultdict(list)
        self.programs = collections.defaultdict(set)

    def add(self, driver, program, first, second, ours):
        """Takes in one program: two runs of strace, and one of lanner. What differs between the two is not compared."""
        self.programs[driver].add(program)
        whole = driver != ENTRY_ONLY
        if whole and len(first["threads"]) != len(ours["threads"]):
            self.lines[driver].append(f"{program}: {len(first['threads'])} threads, here {len(ours['threads'])}")
        for number, (left, right) in enumerate(zip(first["threads"], ours["threads"])):
            again = second["threads"][number] if number < len(second["threads"]) else []
            left = [found for found in map(call, left) if found and (whole or found.name not in self.unfailing)]
            again = iter([other for one, other in align(left, [found for found in map(call, again) if found]) if one])
            for one, other in align(left, [found for found in map(call, right) if found]):
                twice = next(again) if one else None
                if one and one.ret.startswith("?"):
                    # the call will be made again, or its thread is at its end
                    continue
                if one and other:
                    self.compare(driver, program, one, twice, other)
                elif whole or other:
                    said = one or other
                    self.lines[driver].append(f"{program}: {'only strace' if one else 'only lanner'}: {said.name}({', '.join(said.params)})")

    def compare(self, driver, program, one, again, other):
        names = self.names.get(one.name, [])
        pairs = [(names[at] if at < len(names) else str(at), judge.value, *pair, at)
                 for at, pair in enumerate(judge.parameters(one.params, other.params))]
        if other.ret != "?":
            pairs.append(("(result)", judge.result, one.ret, other.ret, -1))
        for name, verdict, left, right, at in pairs:
            if again:
                twice = again.ret if at == -1 else again.params[at] if at < len(again.params) else left
                if twice != left:
                    continue
            key = (driver, one.name, name, left, right)
            if key not in self.seen:
                found = judge.RAW_HERE if right == MISSING else verdict(left, right)
                if driver == ENTRY_ONLY and found in (judge.RAW_HERE, judge.WRONG) and self.is_written(one.name, name):
                    # the kernel writes this memory later
                    continue
                self.seen[key] = (found, program)

    def explanation(self, key, verdict):
        """Why a value differs, if that is known."""
        driver, name, param, left, right = key
        for calls, params, found, word, reason in self.explained:
            if word == judge.NAMES[verdict] and calls.fullmatch(name) and params.fullmatch(param) and found.search(f"{left} | {right}"):
                return reason
        return None

    def is_written(self, name, param):
        """Whether the kernel writes what a parameter points to, or may do so."""
        kind = dict(self.kinds.get(name, [])).get(param, "")
        points = any(word in kind for word in ("*", "[", "struct(", "msghdr"))
        return kind.startswith((">", "!", "by(")) or (name in CHANGED and points)

    def counts(self, driver):
        """By verdict; the last is the number of wrong ones that are explained."""
        counts = [0] * 6
        for key, (verdict, _) in self.seen.items():
            if key[0] != driver:
                continue
            if verdict == judge.WRONG and self.explanation(key, verdict):
                counts[5] += 1
            else:
                counts[verdict] += 1
        return counts

    def by_parameter(self, driver):
        rows = collections.defaultdict(lambda: [0] * 5)
        for key, (verdict, _) in self.seen.items():
            if key[0] == driver:
                rows[key[1], key[2]][verdict] += 1
        return rows


def align(left, right):
    """Pairs of calls, by their names, in the order of the left ones; None where one side has none."""
    # when a program prints depends on how long its lines are, thus on results: what it prints is aligned apart
    others, alone = [None] * len(left), []
    for prints in (False, True):
        here, there = ([at for at, one in enumerate(side) if is_print(one) == prints] for side in (left, right))
        for at, other in align_names([left[at] for at in here], [right[at] for at in there]):
            if at is None:
                alone.append((None, other))
            else:
                others[here[at]] = other
    return [*zip(left, others), *alone]


def is_print(one):
    return one.name == "write" and one.params[:1] in (["1"], ["2"])


def align_names(left, right):
    """Where in the left ones a call is, and the right one; None where one side has none."""
    names, others = [one.name for one in left], [one.name for one in right]
    if names == others:
        yield from enumerate(right)
        return
    matcher = difflib.SequenceMatcher(None, names, others, autojunk=False)
    for tag, a, b, c, d in matcher.get_opcodes():
        if tag == "equal":
            yield from zip(range(a, b), right[c:d])
        else:
            yield from ((at, None) for at in range(a, b))
            yield from ((None, one) for one in right[c:d])


def parameters(path):
    """The names and kinds of the parameters of each call."""
    kinds = {}
    with open(path) as file:
        for line in file:
            words = line.split()
            if len(words) > 6 and not line.startswith(("#", "!")):
                kinds[words[0]] = [(re.split("[/:]", word)[0], word.partition(":")[2]) for word in words[7:]]
    return kinds


def unfailing(path):
    """The names of the calls that this driver leaves to themselves, because they must not fail."""
    with open(path) as file:
        lines = [line.split() for line in file]
    return {name for words in lines if words[:1] == ["!unfailing"] for name in words[1:]}


def explanations(path):
    """Lines of CALL PARAMETER VERDICT /PATTERN/ REASON; the first two are patterns as well."""
    rows = []
    with open(path) as file:
        for line in file:
            found = re.match(r"(\S+) (\S+) (wrong|raw-here) /(.*)/ (.+)$", line.strip())
            if line.startswith("#") or not line.strip():
                continue
            if not found:
                raise ValueError(f"{path}: `{line.strip()}` is no line of CALL PARAMETER VERDICT /PATTERN/ REASON")
            calls, params, word, pattern, reason = found.groups()
            rows.append((re.compile(calls), re.compile(params), re.compile(pattern, re.S), word.replace("-", " "), reason))
    return rows
