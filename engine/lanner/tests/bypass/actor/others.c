/* The default rules' examples by other calls. */
#include "actor.h"

/* Set-ID bits */

static void setid_openat2(void)
{
	struct open_how how = {.flags = O_CREAT | O_WRONLY, .mode = 04755};

	can(syscall(SYS_openat2, AT_FDCWD, OUT "/file", &how, sizeof(how)), "openat2");
}

static void setid_creat(void) { must(creat(OUT "/file", 02755), "creat"); }

static void setid_nameless(void) { can(open(OUT, O_TMPFILE | O_WRONLY, 04755), "open"); }

static void setid_descriptor(void)
{
	must(fchmod(must(open(OUT "/file", O_CREAT | O_WRONLY, 0600), "open"), 04755), "fchmod");
}

static void setid_empty_path(void)
{
	int file = must(open(OUT "/file", O_CREAT | O_WRONLY, 0600), "open");

	can(syscall(452 /* fchmodat2 */, file, "", 04755, AT_EMPTY_PATH), "fchmodat2");
}

/* Capabilities */

static uint32_t capabilities[5] = {0x02000001, 1 << 7};

static void capabilities_of_descriptor(void)
{
	int file = must(open(OUT "/file", O_CREAT | O_WRONLY, 0600), "open");

	can(fsetxattr(file, "security.capability", capabilities, sizeof(capabilities), 0), "fsetxattr");
}

static void capabilities_of_link(void)
{
	make(OUT "/file", "");
	can(lsetxattr(OUT "/file", "security.capability", capabilities, sizeof(capabilities), 0), "lsetxattr");
}

static void capabilities_at(void)
{
	struct {
		uint64_t value;
		uint32_t size, flags;
	} args = {(uintptr_t)capabilities, sizeof(capabilities), 0};

	make(OUT "/file", "");
	can(syscall(463 /* setxattrat */, AT_FDCWD, OUT "/file", 0, "security.capability", &args, sizeof(args)),
	    "setxattrat");
}

/* Logs */

static void own_log(void)
{
	own_file_system("/var/log");
	/* no rule sees that */
	must(mknod("/var/log/auth.log", S_IFREG | 0644, 0), "mknod");
}

static void log_opened_for_reading(void)
{
	own_log();
	must(open("/var/log/auth.log", O_RDONLY | O_TRUNC), "open");
}

static void log_openat2(void)
{
	struct open_how how = {.flags = O_TRUNC | O_WRONLY};

	own_log();
	can(syscall(SYS_openat2, AT_FDCWD, "/var/log/auth.log", &how, sizeof(how)), "openat2");
}

static void log_creat(void)
{
	own_log();
	must(creat("/var/log/auth.log", 0600), "creat");
}

static void log_punched(void)
{
	own_log();
	int file = must(open("/var/log/auth.log", O_WRONLY), "open");
	can(fallocate(file, 3 /* KEEP_SIZE, PUNCH_HOLE */, 0, 4096), "fallocate");
}

static void log_unlinkat(void)
{
	own_log();
	must(unlinkat(must(open("/var/log", O_PATH), "open"), "auth.log", 0), "unlinkat");
}

static void log_unlinked_relatively(void)
{
	own_log();
	must(chdir("/var/log"), "chdir");
	must(unlink("auth.log"), "unlink");
}

static void log_unlinked_in_chroot(void)
{
	own_log();
	must(chroot("/var/log"), "chroot");
	must(chdir("/"), "chdir");
	must(unlink("/auth.log"), "unlink");
}

static void log_exchanged(void)
{
	own_log();
	must(mknod("/var/log/x", S_IFREG | 0644, 0), "mknod");
	can(syscall(SYS_renameat2, AT_FDCWD, "/var/log/x", AT_FDCWD, "/var/log/auth.log", 2), "renameat2");
}

static void log_replaced(void)
{
	own_file_system("/var");
	must(mkdir("/var/log", 0755), "mkdir");
	must(mknod("/var/log/auth.log", S_IFREG | 0644, 0), "mknod");
	make("/var/x", "");
	must(rename("/var/x", "/var/log/auth.log"), "rename");
}

static void logs_renamed(void)
{
	own_file_system("/var");
	must(mkdir("/var/log", 0755), "mkdir");
	must(rename("/var/log", "/var/x"), "rename");
}

static void folder_moved(void)
{
	must(mkdir(OUT "/log", 0755), "mkdir");
	must(rename(OUT "/log", OUT "/logs"), "rename");
	must(rmdir(OUT "/logs"), "rmdir");
}

static void log_folder_removed(void)
{
	own_file_system("/var/log");
	must(mkdir("/var/log/audit", 0755), "mkdir");
	must(rmdir("/var/log/audit"), "rmdir");
}

/* Namespaces */

static void in_child(unsigned long long flags)
{
	struct clone_args args = {.flags = flags, .exit_signal = SIGCHLD};
	pid_t child = can(syscall(SYS_clone3, &args, sizeof(args)), "clone3");

	if (!child)
		_exit(0);
	wait_for(child);
}

static void namespace_user(void) { in_child(CLONE_NEWUSER); }
static void namespace_pid(void) { in_child(CLONE_NEWPID); }
static void namespace_net(void) { in_child(CLONE_NEWNET); }
static void namespace_ipc(void) { in_child(CLONE_NEWIPC); }
static void namespace_uts(void) { in_child(CLONE_NEWUTS); }
static void namespace_cgroup(void) { in_child(0x02000000); }
static void namespace_time(void) { in_child(0x80); }
static void unshare_time(void) { can(unshare(0x80), "unshare"); }

static void setns_process(void)
{
	int process = can(syscall(SYS_pidfd_open, getppid(), 0), "pidfd_open");

	can(setns(process, CLONE_NEWUTS), "setns");
}

/* Memory of others */

static void memory_of_task(void)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/task/%d/mem", getpid());
	must(open(path, O_WRONLY), path);
}

static void memory_of_thread(void) { must(open("/proc/thread-self/mem", O_RDWR), "open"); }

static void memory_at(void) { must(openat(must(open("/proc/self", O_PATH), "open"), "mem", O_WRONLY), "openat"); }

static void memory_creat(void) { creat("/proc/self/mem", 0); }

static void do_nothing(void) {}

static void traced(int request, const void *at, long value)
{
	pid_t child = start_traced(do_nothing);

	must(ptrace(request, child, at, value), "ptrace");
	kill(child, SIGKILL);
	wait(NULL);
}

static void memory_poked(void) { traced(PTRACE_POKEDATA, capabilities, 1); }

static void child_peeked(void) { traced(PTRACE_PEEKDATA, capabilities, 1); }

static void memory_poked_user(void)
{
#ifdef __x86_64__
	traced(PTRACE_POKEUSER, (void *)offsetof(struct user_regs_struct, r12), 7);
#else
	end(CANNOT, "ptrace");
#endif
}

/* Names below /etc */

static void etc_relative(void)
{
	own_file_system("/etc");
	must(mknod("/etc/x", S_IFREG | 0644, 0), "mknod");
	must(chdir("/etc"), "chdir");
	must(rename("x", "passwd"), "rename");
}

static void etc_descriptor(void)
{
	own_file_system("/etc");
	must(mknod("/etc/x", S_IFREG | 0644, 0), "mknod");
	int etc = must(open("/etc", O_PATH), "open");
	must(renameat(etc, "x", etc, "passwd"), "renameat");
}

static void etc_chroot(void)
{
	own_file_system("/etc");
	must(mknod("/etc/x", S_IFREG | 0644, 0), "mknod");
	must(chroot("/etc"), "chroot");
	must(chdir("/"), "chdir");
	must(rename("/x", "/passwd"), "rename");
}

static void etc_nameless(void)
{
	own_file_system("/etc");
	int file = can(open("/etc", O_TMPFILE | O_RDWR, 0644), "open");
	must(linkat(file, "", AT_FDCWD, "/etc/passwd", AT_EMPTY_PATH), "linkat");
}

static void etc_truncated(void)
{
	own_file_system("/etc");
	must(mknod("/etc/hosts.deny", S_IFREG | 0644, 0), "mknod");
	must(truncate("/etc/hosts.deny", 0), "truncate");
}

static void etc_opened_for_reading(void)
{
	own_file_system("/etc");
	must(mknod("/etc/hosts.deny", S_IFREG | 0644, 0), "mknod");
	must(open("/etc/hosts.deny", O_RDONLY | O_TRUNC), "open");
}

static void etc_removed(void)
{
	own_file_system("/etc");
	must(mknod("/etc/hosts.deny", S_IFREG | 0644, 0), "mknod");
	must(unlink("/etc/hosts.deny"), "unlink");
}

/* Names of processes */

static void comm_of_task(void)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/task/%d/comm", getpid());
	must(open(path, O_WRONLY), path);
}

static void comm_at(void) { must(openat(must(open("/proc/thread-self", O_PATH), "open"), "comm", O_WRONLY), "openat"); }

const struct way OTHERS[] = {
    {"setid-openat2", setid_openat2},
    {"setid-creat", setid_creat},
    {"setid-nameless", setid_nameless},
    {"setid-descriptor", setid_descriptor},
    {"setid-empty-path", setid_empty_path},
    {"capabilities-descriptor", capabilities_of_descriptor},
    {"capabilities-link", capabilities_of_link},
    {"capabilities-at", capabilities_at},
    {"log-read-only", log_opened_for_reading},
    {"log-openat2", log_openat2},
    {"log-creat", log_creat},
    {"log-punched", log_punched},
    {"log-unlinkat", log_unlinkat},
    {"log-unlink-relative", log_unlinked_relatively},
    {"log-unlink-chroot", log_unlinked_in_chroot},
    {"log-exchanged", log_exchanged},
    {"log-replaced", log_replaced},
    {"logs-renamed", logs_renamed},
    {"folder-moved", folder_moved},
    {"log-folder-removed", log_folder_removed},
    {"namespace-user", namespace_user},
    {"namespace-pid", namespace_pid},
    {"namespace-net", namespace_net},
    {"namespace-ipc", namespace_ipc},
    {"namespace-uts", namespace_uts},
    {"namespace-cgroup", namespace_cgroup},
    {"namespace-time", namespace_time},
    {"unshare-time", unshare_time},
    {"setns-process", setns_process},
    {"memory-of-task", memory_of_task},
    {"memory-of-thread", memory_of_thread},
    {"memory-at", memory_at},
    {"memory-creat", memory_creat},
    {"memory-poked", memory_poked},
    {"child-peeked", child_peeked},
    {"memory-poked-user", memory_poked_user},
    {"etc-relative", etc_relative},
    {"etc-descriptor", etc_descriptor},
    {"etc-chroot", etc_chroot},
    {"etc-nameless", etc_nameless},
    {"etc-truncated", etc_truncated},
    {"etc-read-only", etc_opened_for_reading},
    {"etc-removed", etc_removed},
    {"comm-of-task", comm_of_task},
    {"comm-at", comm_at},
    {NULL, NULL},
};
