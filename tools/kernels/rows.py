"""The rows of the matrix: the privilege, the settings of the host, and what must work."""

from dataclasses import dataclass, replace

CORE, LEGACY, PTRACE = DRIVERS = ("ebpf-core", "ebpf-legacy", "ptrace")

# The sufficient capabilities according to docs/drivers.md: from Linux 5.8 on, and before it.
ENOUGH = "+bpf,+perfmon,+sys_resource"
ENOUGH_BEFORE = "+sys_admin,+sys_resource"
# Cases of the conformance suite, selected by words in their names, for rows that test a setting of the host.
FEW = "facts followed"
# The same for hosts where no memory of other processes can be read: these cases compare only numbers.
BLIND = "fork clone exit status alone"


@dataclass(frozen=True)
class Row:
    """One row. `before` and `after` are lines of shell, run as root; the row is left out if `before` fails."""

    name: str
    privilege: str
    works: tuple  # drivers that must work; the others work, or give a reason
    cases: str = FEW
    before: str = "true"
    after: str = "true"
    drivers: tuple = DRIVERS
    needs: tuple = ("btf",)  # features of judge.FEATURES without which a driver of `works` may be a gap


def sysctl(name, value, default):
    return {"before": f"set_sysctl {name} {value}", "after": f"set_sysctl {name} {default}"}


def yama(scope):
    return sysctl("kernel/yama/ptrace_scope", scope, 0)


NO_TRACEFS = {
    "before": "umount /sys/kernel/tracing; umount /sys/kernel/debug/tracing; umount /sys/kernel/debug; "
    "! [ -d /sys/kernel/tracing/events ]",
    "after": "mount -t debugfs debugfs /sys/kernel/debug; mount -t tracefs tracefs /sys/kernel/tracing",
}
# Makes the kernel look like one without type information, and provides a file with the types.
TYPES_IN_FILE = {
    "before": "[ -e /sys/kernel/btf/vmlinux ] && cp /sys/kernel/btf/vmlinux /tmp/types && mount -t tmpfs none /sys/kernel/btf && "
    "export LANNER_TEST_BTF=/tmp/types more='--btf /tmp/types'",
    "after": "unset LANNER_TEST_BTF; more=''; umount /sys/kernel/btf 2>/dev/null; true",
}
PARANOID = "kernel/perf_event_paranoid"
EBPF = (CORE, LEGACY)

ROWS = (
    Row("root", "root", DRIVERS, "syscalls"),
    Row("a user", "user", (PTRACE,), ""),
    Row("a user with CAP_BPF, CAP_PERFMON, CAP_SYS_RESOURCE", ENOUGH, (CORE, PTRACE), "", "knows_bpf_capability"),
    Row("... and perf_event_paranoid 2", ENOUGH, DRIVERS, "",
        f"knows_bpf_capability && set_sysctl {PARANOID} 2", f"set_sysctl {PARANOID} 3", (LEGACY,)),
    Row("... and no tracefs", ENOUGH, (CORE, PTRACE), FEW,
        "knows_bpf_capability && { " + NO_TRACEFS["before"] + "; }", NO_TRACEFS["after"]),
    # 5.10 enforces this limit, newer kernels do not
    Row("a user with CAP_BPF, CAP_PERFMON, RLIMIT_MEMLOCK 64 KiB", "+bpf,+perfmon", (PTRACE,), FEW,
        f"knows_bpf_capability && ulimit -l 64 && set_sysctl {PARANOID} 2", f"ulimit -l unlimited; set_sysctl {PARANOID} 3"),
    Row("... and RLIMIT_MEMLOCK 64 MiB", "+bpf,+perfmon", DRIVERS, FEW,
        f"knows_bpf_capability && ulimit -l 65536 && set_sysctl {PARANOID} 2", f"ulimit -l unlimited; set_sysctl {PARANOID} 3"),
    Row("a user with CAP_SYS_ADMIN, CAP_SYS_RESOURCE", ENOUGH_BEFORE, DRIVERS, needs=("btf", "raw tracepoints")),
    # before Linux 4.17
    Row("... and a readable tracefs", ENOUGH_BEFORE, DRIVERS,
        before="older_than 4 17 && mount -o remount,mode=755 /sys/kernel/tracing",
        after="older_than 4 17 && mount -o remount,mode=700 /sys/kernel/tracing"),
    Row("root, perf_event_paranoid 4", "root", DRIVERS, **sysctl(PARANOID, 4, 3)),
    Row("root, no tracefs", "root", DRIVERS, **NO_TRACEFS),
    Row("root, no kernel types, --btf FILE", "root", (CORE,), drivers=(CORE,), **TYPES_IN_FILE),
    Row("root, Yama 1", "root", (PTRACE,), drivers=(PTRACE,), **yama(1)),
    Row("a user, Yama 1", "user", (PTRACE,), drivers=(PTRACE,), **yama(1)),
    Row("root, Yama 2", "root", (PTRACE,), drivers=(PTRACE,), **yama(2)),
    # here ptrace switches to notify mode by itself
    Row("a user, Yama 2", "user", (PTRACE,), BLIND, drivers=(PTRACE,), needs=("notify",), **yama(2)),
    # last, because this scope stays until the next boot
    Row("root, Yama 3", "root", (PTRACE,), BLIND, drivers=(PTRACE,), needs=("notify",), **yama(3)),
    Row("a user, Yama 3", "user", (PTRACE,), BLIND, drivers=(PTRACE,), needs=("notify",), **yama(3)),
)


# The most important rows, to save time. Those with privileges have the documented ones, before Linux 5.8 or from then on.
QUICK = {
    "root": "true",
    "a user": "true",
    "a user with CAP_BPF, CAP_PERFMON, CAP_SYS_RESOURCE": "knows_bpf_capability",
    "a user with CAP_SYS_ADMIN, CAP_SYS_RESOURCE": "! knows_bpf_capability",
}


def quick(rows):
    """The whole suites only as root and as a user; a few cases with the documented capabilities."""
    chosen = [replace(row, before=QUICK[row.name]) for row in rows if row.name in QUICK]
    return [row if row.privilege in ("root", "user") else replace(row, cases=FEW) for row in chosen]


def few(rows):
    """Only a few cases of the suites, to save time."""
    return [replace(row, cases=FEW) if row.cases in ("", "syscalls") else row for row in rows]


def script(rows):
    """The lines that run the rows, behind guest.sh."""
    lines = []
    for row in rows:
        drivers = " ".join(row.drivers)
        lines.append(
            f"if {row.before}; then row '{row.name}' {row.privilege} '{drivers}' {row.cases}; "
            f"else echo '@absent {row.name}'; fi\n{row.after}"
        )
    return "\n".join(lines) + "\necho @done\n"
