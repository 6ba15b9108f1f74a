"""Judges the measurements: passed, failed, or a gap that `lanner drivers` names on that host."""

import json
import re
from dataclasses import dataclass, field

PASSED, GAP, FAILED = "passed", "gap", "FAILED"
VICTIM = "/etc/hosts"
# The gap that explains why a driver does not run in its best mode.
MODE_GAP, OTHER_MODE = "trace mode", "notify"
# Features that a kernel can lack, as guest.sh names them: which driver cannot work without them in the rows that need
# them, and the gap that must report that.
FEATURES = {
    "btf": ("ebpf-core", "kernel types"),
    "raw tracepoints": ("ebpf-legacy", "a tracefs that lanner can read"),
    "notify": ("ptrace", "seccomp user notification"),
}
# Gaps that permit missing data.
BLIND = "the memory that parameters point to"
PREEMPTED = "calls that are made while a program is preempted"
NOT_ATTACHING = ("attaching to running processes", "running processes (-p)")


@dataclass
class Cell:
    """The result of one driver in one row."""

    verdict: str = PASSED
    cases: int = 0
    again: int = 0  # cases that were run once more, as the kernel had skipped runs of programs
    usable: bool = False
    faults: list = field(default_factory=list)
    gaps: list = field(default_factory=list)  # (what, why, remedy)
    chosen: str = "none"

    @property
    def mode(self):
        """The mode in which the driver runs, if that is not its best one."""
        return OTHER_MODE if any(what == MODE_GAP for what, _, _ in self.gaps) else ""

    def fault(self, text):
        self.verdict = FAILED
        self.faults.append(text)


@dataclass
class Measured:
    """One row's steps: name, then status and lines."""

    steps: dict = field(default_factory=dict)
    absent: bool = False
    lacks: set = field(default_factory=set)

    def step(self, name):
        return self.steps.get(name, (None, []))


def parse(text):
    """The rows of a machine's output with what the kernel lacks in each, and whether the output is complete."""
    rows, row, step = {}, None, None
    done, lacks = False, set()
    for line in text.splitlines():
        word, _, rest = line.partition(" ")
        if word == "@row":
            row = rows[rest] = Measured(lacks=lacks)
            done = False
        elif word == "@absent":
            rows[rest] = Measured(absent=True)
        elif word == "@step" and row:
            step = rest
            row.steps[step] = (None, [])
        elif word == "@end" and row and step:
            row.steps[step] = (int(rest), row.steps[step][1])
            step = None
        elif word == "@lacks":
            lacks.add(rest)
        elif word == "@done":
            done = True
        elif step:
            row.steps[step][1].append(line)
    return rows, done


def judge(row, measured):
    """A cell for each driver of a row, and one for the choice ("auto"), by name."""
    status, lines = measured.step("drivers")
    try:
        said = json.loads("\n".join(lines))
    except ValueError:
        broken = Cell()
        broken.fault(f"lanner drivers --json: status {status}: {' '.join(lines)[:200]}")
        return {name: broken for name in (*row.drivers, "auto")}
    named = {driver["name"]: driver for driver in said["drivers"]}
    cells = {name: judge_driver(row, measured, name, named.get(name)) for name in row.drivers}
    cells["auto"] = judge_choice(said, measured)
    return cells


def judge_driver(row, measured, name, said):
    cell = Cell()
    if said is None:
        cell.fault("lanner drivers does not name it")
        return cell
    cell.gaps = [(gap["what"], gap["why"], gap["remedy"]) for gap in said["gaps"]]
    cell.usable = said["usable"]
    if cell.usable:
        judge_suites(measured, name, cell)
        judge_named(measured, name, cell)
        judge_attaching(measured, name, cell)
    else:
        cell.verdict = GAP
        judge_refusal(measured, name, cell)
        if name in row.works and not excused(row, name, measured, cell):
            cell.fault("it should work here, and is said not to: " + "; ".join(why for _, why, _ in cell.gaps))
    return cell


def excused(row, name, measured, cell):
    """Whether a driver cannot work in this row because of a feature that the kernel lacks, and says so."""
    lacking = [FEATURES[feature] for feature in row.needs if feature in measured.lacks]
    return any((name, what) in lacking for what, _, _ in cell.gaps)


def judge_suites(measured, name, cell):
    for suite in ("conformance", "syscalls"):
        status, lines = measured.step(f"{suite} {name}")
        if not lines:
            continue
        for line in lines:
            match = re.match(r"(\d+) passed, \d+ failed|\S+: \d+ calls in (\d+) cases", line)
            if match:
                cell.cases += int(match.group(1) or match.group(2))
            judge_note(line, cell)
        if status == 0 and any(line.startswith(f"{name}: skipped") for line in lines):
            cell.fault(f"{suite}: skipped, although it is said to be usable")
        elif status == 0 and not cell.cases:
            cell.fault(f"{suite}: no case was run")
        if status != 0:
            faults = [line for line in lines if "FAILED" in line or "expected" in line] or lines[-3:]
            cell.fault(f"{suite}, status {status}: " + " | ".join(line[:300] for line in faults[:5]))


def judge_note(line, cell):
    """A gap that a suite accepted must be one that the driver names."""
    what = [what for what, _, _ in cell.gaps]
    note = re.search(r": ok \(gap: (.+)\)$", line)
    if note and not any(each.startswith(note.group(1)) for each in what):
        cell.fault(f"a gap that lanner drivers does not name: {line}")
    if re.search(r"runs of programs were skipped|the kernel skipped \d+ runs", line):
        cell.again += 1
        if PREEMPTED not in what:
            cell.fault(f"runs of programs were skipped, and lanner drivers does not name that gap: {line}")


def judge_named(measured, name, cell):
    status, lines = measured.step(f"named {name}")
    what = [what for what, _, _ in cell.gaps]
    # if that gap is named, memory behind pointers is a fault
    seen = "openat(" if BLIND in what else VICTIM
    if status != 0 or f"lanner: driver {name}" not in lines or not any(seen in line for line in lines):
        cell.fault(f"lanner trace --driver {name}, status {status}: " + " | ".join(lines[:4])[:400])
    for line in lines:
        if line.startswith("lanner: gap: ") and not any(line.startswith(f"lanner: gap: {each}: ") for each in what):
            cell.fault(f"a gap that lanner drivers does not name: {line.removeprefix('lanner: gap: ')}")


def judge_attaching(measured, name, cell):
    status, lines = measured.step(f"attach {name}")
    if status == 0 and any(VICTIM in line for line in lines):
        return
    if not any(word in what for word in NOT_ATTACHING for what, _, _ in cell.gaps) or status != 2:
        cell.fault(f"attaching with -p, status {status}: " + " | ".join(lines[:4])[:400])


def judge_refusal(measured, name, cell):
    """A driver that cannot run must give the same reason everywhere, and must not be replaced by another."""
    why = [why for _, why, _ in cell.gaps]
    if not why:
        cell.fault("it is said to be unusable, without a reason")
    _, lines = measured.step(f"conformance {name}")
    if f"{name}: skipped, it cannot run here: " + ", ".join(why) not in lines:
        cell.fault("the suite gives other reasons: " + " | ".join(lines[:2])[:300])
    status, lines = measured.step(f"named {name}")
    text = "\n".join(lines)
    if status != 2 or VICTIM in text or not all(each in text for each in why):
        cell.fault(f"lanner trace --driver {name} should refuse with these reasons, status {status}: {text[:300]}")


def judge_choice(said, measured):
    """auto must take the best usable driver, and say why it passed over the better ones."""
    cell = Cell()
    status, lines = measured.step("auto")
    usable = [driver["name"] for driver in said["drivers"] if driver["usable"] and driver["serves"]["command"]]
    text = " | ".join(lines[:4])[:400]
    if not usable:
        cell.verdict = GAP
        if status != 2:
            cell.fault(f"no driver is usable, and yet: status {status}: {text}")
        return cell
    choice = next((line for line in lines if line.startswith("lanner: driver ")), "")
    better = [driver["name"] for driver in said["drivers"]]
    better = better[:better.index(usable[0])]
    if status != 0 or not re.match(rf"lanner: driver {usable[0]}(,|$)", choice):
        cell.fault(f"{usable[0]} should have been taken, status {status}: {text}")
    elif not all(f"{name}: " in choice for name in better):
        cell.fault(f"it is not said why {' and '.join(better)} were not taken: {choice}")
    if said.get("choice", {}).get("command", {}).get("driver") != usable[0]:
        cell.fault(f"lanner drivers --json names another choice: {said.get('choice')}")
    cell.chosen = usable[0]
    return cell
