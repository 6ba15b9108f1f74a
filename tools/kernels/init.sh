#!/bin/busybox sh
# Process 1 of a virtual machine: mounts the usual file systems, runs /vm/command, powers off.
export PATH=/usr/sbin:/usr/bin
mnt() { mount -n "$@" 2>/dev/null; }
if [ "$1" != second ]; then
	mnt -t proc proc /proc
	mnt -t sysfs sysfs /sys
	mnt -t devtmpfs devtmpfs /dev
	for module in /vm/modules/*.ko; do [ -e "$module" ] && insmod "$module"; done
	# pivot_root(2) needs a root that is a mount of its own
	mnt --bind / /newroot
	cd /newroot || exit 1
	for name in proc sys dev; do mnt --move /$name /newroot/$name; done
	mnt --move . /
	exec chroot . /bin/busybox sh /init second
fi
cd / || exit 1
mkdir -p /dev/pts /dev/shm
mnt -t devpts -o gid=5,mode=620,ptmxmode=666 devpts /dev/pts
mnt -t tmpfs -o mode=1777 tmpfs /dev/shm
mnt -t tmpfs -o mode=1777 tmpfs /tmp
mnt -t tmpfs -o mode=755 tmpfs /run
mnt -t debugfs debugfs /sys/kernel/debug
mnt -t tracefs tracefs /sys/kernel/tracing
mnt -t securityfs securityfs /sys/kernel/security
mnt -t bpf -o mode=0700 bpffs /sys/fs/bpf
mnt -t cgroup2 cgroup2 /sys/fs/cgroup
ln -s /proc/self/fd /dev/fd
ln -s fd/0 /dev/stdin
ln -s fd/1 /dev/stdout
ln -s fd/2 /dev/stderr
ip link set lo up
hostname vm
if [ -e /vm/shell ]; then
	cd /root
	setsid cttyhack sh
	reboot -f
fi
tries=0
while [ ! -e /dev/vport0p3 ] && [ $tries -lt 400 ]; do
	tries=$((tries + 1))
	usleep 10000
done
mkfifo /run/out /run/err
cat </run/out >/dev/vport0p1 & out=$!
cat </run/err >/dev/vport0p2 & err=$!
echo start >/dev/vport0p3
sh /vm/command </dev/null >/run/out 2>/run/err
status=$?
# a process that still runs may keep the two open: wait at most a second
tries=0
while { kill -0 $out || kill -0 $err; } 2>/dev/null && [ $tries -lt 50 ]; do
	tries=$((tries + 1))
	usleep 20000
done
echo "exit $status" >/dev/vport0p3
sleep 5
reboot -f
