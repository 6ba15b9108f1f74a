#!/bin/sh
# Boots a systemd of its own, as a container would, from this machine's files: namespaces, an overlay that forgets, and
# nothing but the journal beside the units that a folder has. For root.
#
# systemd.sh FOLDER [FROM TO]...: the folder is for what is mounted; `units` in it has units. FROM is seen as TO, a copy
# if it is small. ROOT is the system whose files it has; this machine's without it.
set -eu
folder=$1
if [ "${2-}" != inside ]; then
	# a cgroup of its own, whose root it sees as the root
	mkdir -p "$folder/cgroup"
	mount -t cgroup2 cgroup2 "$folder/cgroup"
	mkdir "$folder/cgroup/lanner-test-$$"
	echo $$ > "$folder/cgroup/lanner-test-$$/cgroup.procs"
	shift
	exec unshare --mount --pid --fork --cgroup --ipc --uts --kill-child sh "$0" "$folder" inside "$@"
fi
shift 2

mount --make-rprivate /
mkdir -p "$folder/mnt"
mount -t tmpfs -o mode=755 tmpfs "$folder/mnt"
root=$folder/mnt/root
mkdir "$folder/mnt/upper" "$folder/mnt/work" "$root"
mount -t overlay -o "lowerdir=${ROOT:-/},upperdir=$folder/mnt/upper,workdir=$folder/mnt/work" overlay "$root"
# what is the kernel's is not to be changed
mount -t proc proc "$root/proc"
mount --bind "$root/proc/sys" "$root/proc/sys"
mount -o remount,bind,ro "$root/proc/sys"
mount -t sysfs -o ro sysfs "$root/sys"
mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
for place in run tmp dev; do mount -t tmpfs -o mode=755 tmpfs "$root/$place"; done
for device in null zero full random urandom tty; do
	touch "$root/dev/$device"
	mount --bind "/dev/$device" "$root/dev/$device"
done
ln -s /proc/self/fd "$root/dev/fd"
mkdir "$root/dev/shm" "$root/dev/pts"
mount -t devpts -o newinstance,ptmxmode=0666 devpts "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx"

rm -rf "$root/etc/systemd/system"
mkdir -p "$root/etc/systemd/system"
cp -r "$folder/units/." "$root/etc/systemd/system/"
for unit in systemd-sysctl.service systemd-modules-load.service systemd-remount-fs.service systemd-update-utmp.service \
	systemd-binfmt.service systemd-udevd.service systemd-udev-trigger.service systemd-sysusers.service \
	systemd-random-seed.service systemd-tmpfiles-setup.service systemd-tmpfiles-setup-dev.service \
	systemd-journald-audit.socket systemd-journal-flush.service dev-hugepages.mount dev-mqueue.mount \
	sys-kernel-config.mount sys-kernel-debug.mount sys-kernel-tracing.mount sys-fs-fuse-connections.mount \
	proc-sys-fs-binfmt_misc.automount; do
	ln -s /dev/null "$root/etc/systemd/system/$unit"
done
rm -rf "$root/etc/lanner" "$root/usr/lib/lanner" "$root/var/lib/lanner" "$root/var/log/journal"
while [ $# -gt 0 ]; do
	mkdir -p "$(dirname "$root$2")"
	if [ "$(stat -c %s "$1")" -lt 65536 ]; then
		install -m 644 "$1" "$root$2"
	else
		touch "$root$2"
		mount --bind "$1" "$root$2"
	fi
	shift 2
done
cd "$root"
pivot_root . mnt
umount -l /mnt
exec env -i container=lanner-test PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd --system --unit=basic.target \
	--log-target=journal --show-status=no
