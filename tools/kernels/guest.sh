# Runs in a virtual machine and measures the rows of the matrix. test-kernels appends the rows to this script and reads its
# output: lines that begin with "@" come from this script, all others belong to the step above them.
export PATH=/t:/usr/sbin:/usr/bin
cd /tmp || exit 1
# options that a row passes to every lanner
more=""

# Whether this kernel is older than a version: its major and its minor number.
older_than() {
	release=$(uname -r)
	major=${release%%.*} minor=${release#*.}
	minor=${minor%%[!0-9]*}
	[ "$major" -lt "$1" ] || { [ "$major" -eq "$1" ] && [ "$minor" -lt "$2" ]; }
}

# features that this kernel lacks, so that rows cannot require them (FEATURES in judge.py)
[ -e /sys/kernel/btf/vmlinux ] || echo "@lacks btf"
# BPF_RAW_TRACEPOINT_OPEN: without it, ebpf-legacy reads the formats of tracepoints in tracefs, which only root may read
older_than 4 17 && echo "@lacks raw tracepoints"
# SECCOMP_USER_NOTIF_FLAG_CONTINUE
older_than 5 5 && echo "@lacks notify"

# step NAME SECONDS COMMAND: the limit is for steps that hang, not for steps that are slow on a busy machine
step() {
	echo "@step $1"
	limit=$2
	shift 2
	timeout -s KILL "$limit" "$@" 2>&1
	status=$?
	# the last line of the output may be incomplete
	echo
	echo "@end $status"
}

# row NAME PRIVILEGE DRIVERS CASES...: CASES select cases of the conformance suite by words in their names; without any, all
# cases run. "none" runs no suite, "syscalls" also runs the suite of the system calls.
row() {
	echo "@row $1"
	privilege=$2 drivers=$3
	shift 3
	echo "@step drivers"
	as "$privilege" lanner drivers --json $more
	echo "@end $?"
	for driver in $drivers; do
		case "$*" in
		none) ;;
		syscalls)
			step "conformance $driver" 5400 as "$privilege" conformance "$driver"
			step "syscalls $driver" 5400 as "$privilege" syscalls "$driver"
			;;
		*) step "conformance $driver" 5400 as "$privilege" conformance "$driver" "$@" ;;
		esac
		step "named $driver" 600 as "$privilege" lanner trace $more --driver "$driver" -e openat -- cat /etc/hosts
		# a process that opens files and is not a child of lanner
		as "$privilege" sh -c 'while :; do read line </etc/hosts; usleep 20000; done' &
		victim=$!
		usleep 300000
		step "attach $driver" 600 as "$privilege" lanner trace $more --driver "$driver" -e openat --duration 2s -p "$victim"
		kill $!
		wait $! 2>/dev/null
	done
	step auto 600 as "$privilege" lanner trace $more --driver auto -e openat -- cat /etc/hosts
}

# Whether the kernel knows CAP_BPF, number 39, and its neighbours.
knows_bpf_capability() {
	[ "$(cat /proc/sys/kernel/cap_last_cap)" -ge 39 ]
}

# set_sysctl NAME VALUE: fails if there is no sysctl of that name, or if it can no longer be set to this value.
set_sysctl() {
	{ [ "$(cat "/proc/sys/$1")" = "$2" ] || echo "$2" >"/proc/sys/$1"; } 2>/dev/null
}
