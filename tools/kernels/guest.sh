# Runs in a virtual machine: what each row of the matrix measures. test-kernels puts the rows behind this, and reads
# what is printed: lines that begin with "@" are this script's, all others belong to the step above them.
export PATH=/t:/usr/sbin:/usr/bin
cd /tmp || exit 1
# options that a row gives every lanner
more=""

# what rows cannot demand here
[ -e /sys/kernel/btf/vmlinux ] || echo "@lacks btf"

# step NAME SECONDS COMMAND: limits for what hangs, not for what is slow on a busy machine
step() {
	echo "@step $1"
	limit=$2
	shift 2
	timeout -s KILL "$limit" "$@" 2>&1
	status=$?
	# the last line of what is printed need not be whole
	echo
	echo "@end $status"
}

# row NAME PRIVILEGE DRIVERS CASES...: the cases are words of the conformance suite's; none of them: all. With "none"
# there is no suite, with "syscalls" the suite of the system calls as well.
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
			step "conformance $driver" 2400 as "$privilege" conformance "$driver"
			step "syscalls $driver" 2400 as "$privilege" syscalls "$driver"
			;;
		*) step "conformance $driver" 2400 as "$privilege" conformance "$driver" "$@" ;;
		esac
		step "named $driver" 600 as "$privilege" lanner trace $more --driver "$driver" -e openat -- cat /etc/hosts
		# a process that opens files and is no child of lanner's
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

# set_sysctl NAME VALUE: false where there is none of that name, or it cannot have this value any more.
set_sysctl() {
	{ [ "$(cat "/proc/sys/$1")" = "$2" ] || echo "$2" >"/proc/sys/$1"; } 2>/dev/null
}
