/* What a default rule must report, and the like of it that none must. What happens below /etc and /var/log happens on
 * file systems of the process's own. */
#include "actor.h"

/* Goes on as `way` in a program of this name in a directory of installed programs. */
static void installed(const char *name, const char *way)
{
	char path[64];

	own_file_system("/usr/local/bin");
	snprintf(path, sizeof(path), "/usr/local/bin/%s", name);
	int to = must(open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0755), path);
	copy("/proc/self/exe", to);
	close(to);
	execl(path, name, way, NULL);
	end(1, path);
}

static void cat_named_passwd(void)
{
	must(symlink("/bin/cat", OUT "/passwd"), "symlink");
	RUN(OUT "/passwd", "/etc/shadow");
}

static void script_named_passwd(void) { RUN("/usr/bin/perl", "-e", "$0 = 'passwd'; open F, '</etc/shadow'; <F>"); }

static void passwd_itself(void) { RUN("/usr/bin/passwd", "-S", "root"); }

static void setid_created(void) { must(open(OUT "/file", O_CREAT | O_WRONLY, 04755), "open"); }

static void setid_node(void) { must(mknod(OUT "/file", S_IFREG | 04755, 0), "mknod"); }

static void setid_changed(void)
{
	make(OUT "/file", "");
	can(syscall(452 /* fchmodat2 */, AT_FDCWD, OUT "/file", 04755, 0), "fchmodat2");
}

static void mode_changed(void)
{
	make(OUT "/file", "");
	must(chmod(OUT "/file", 0755), "chmod");
}

static void attribute(const char *name)
{
	uint32_t capabilities[5] = {0x02000001, 1 << 7};

	make(OUT "/file", "");
	can(setxattr(OUT "/file", name, capabilities, sizeof(capabilities), 0), "setxattr");
}

static void capabilities_set(void) { attribute("security.capability"); }

static void attribute_set(void) { attribute("trusted.note"); }

static void log_truncated(void)
{
	own_file_system("/var/log");
	make("/var/log/auth.log", "line\n");
	must(truncate("/var/log/auth.log", 0), "truncate");
}

static void log_truncated_open(void)
{
	own_file_system("/var/log");
	must(ftruncate(must(open("/var/log/auth.log", O_CREAT | O_WRONLY, 0600), "open"), 0), "ftruncate");
}

static void log_removed(void)
{
	own_file_system("/var/log");
	make("/var/log/auth.log", "line\n");
	must(unlink("/var/log/auth.log"), "unlink");
}

static void log_renamed(void)
{
	own_file_system("/var/log");
	make("/var/log/auth.log", "line\n");
	must(rename("/var/log/auth.log", "/var/log/x"), "rename");
}

static void note_removed(void)
{
	make(OUT "/note", "line\n");
	must(truncate(OUT "/note", 0), "truncate");
	must(unlink(OUT "/note"), "unlink");
}

static void log_rotated(void) { installed("logrotate", "log-renamed"); }

static void namespace_of_child(void)
{
	struct clone_args args = {.flags = CLONE_NEWNS, .exit_signal = SIGCHLD};
	pid_t child = can(syscall(SYS_clone3, &args, sizeof(args)), "clone3");

	if (!child)
		_exit(0);
	wait_for(child);
}

static void plain_child(void)
{
	pid_t child = fork();

	if (!child)
		_exit(0);
	wait_for(child);
}

static void memory_opened(void) { must(open("/proc/self/mem", O_RDWR), "open"); }

static void memory_looked_at(void) { must(open("/proc/self/mem", O_RDONLY), "open"); }

static void memory_debugged(void) { installed("gdb", "memory-opened"); }

static void memory_written(void)
{
	static int from, to;
	struct iovec source = {&from, sizeof(from)}, target = {&to, sizeof(to)};

	can(process_vm_writev(getpid(), &source, 1, &target, 1, 0), "process_vm_writev");
}

static void memory_read(void)
{
	static int from, to;
	struct iovec target = {&to, sizeof(to)}, source = {&from, sizeof(from)};

	can(process_vm_readv(getpid(), &target, 1, &source, 1, 0), "process_vm_readv");
}

static void renamed_over_etc(void)
{
	own_file_system("/etc");
	make(OUT "/file", "evil\n");
	make("/etc/x", "evil\n");
	must(rename("/etc/x", "/etc/passwd"), "rename");
}

static void linked_in_etc(void)
{
	own_file_system("/etc");
	must(symlink("/tmp/x", "/etc/resolv.conf"), "symlink");
}

static void linked_in_binaries(void)
{
	own_file_system("/usr/local/bin");
	make("/usr/local/bin/x", "evil\n");
	must(link("/usr/local/bin/x", "/usr/local/bin/y"), "link");
}

static void renamed_elsewhere(void)
{
	make(OUT "/x", "");
	must(rename(OUT "/x", OUT "/y"), "rename");
	must(link(OUT "/y", OUT "/z"), "link");
}

static void renamed_by_account_tool(void) { installed("usermod", "renamed-over-etc"); }

static void mounted_over_etc(void) { own_file_system("/etc"); }

static void mounted_elsewhere(void) { own_file_system(OUT); }

static void process_hidden(void)
{
	char self[32];

	snprintf(self, sizeof(self), "/proc/%d", getpid());
	own_file_system(self);
}

/* What a container engine does: a procfs where there is one. */
static void procfs_mounted(void)
{
	own_mounts();
	must(mount("proc", "/proc", "proc", 0, NULL), "mount");
}

static void process_file_hidden(void)
{
	own_mounts();
	make(OUT "/file", "");
	must(chdir("/proc"), "chdir");
	must(mount(OUT "/file", "cmdline", NULL, MS_BIND, NULL), "mount");
}

/* The kernel refuses this: there is nothing to load. */
static void kernel_loaded(void) { syscall(SYS_kexec_load, 0L, 1L, NULL, 0L); }

#ifdef SYS_iopl
static void hardware_reached(void) { syscall(SYS_iopl, 3); }
#else
static void hardware_reached(void) { end(CANNOT, "iopl"); }
#endif

static void tree_cloned(void) { can(syscall(SYS_open_tree, AT_FDCWD, OUT, 1 /* OPEN_TREE_CLONE */), "open_tree"); }

static void file_system_opened(void) { can(syscall(SYS_fsopen, "tmpfs", 0), "fsopen"); }

static void tree_opened(void) { can(syscall(SYS_open_tree, AT_FDCWD, OUT, 0), "open_tree"); }

static void ring_made(void)
{
	struct io_uring_params set = {0};

	can(syscall(SYS_io_uring_setup, 1, &set), "io_uring_setup");
}

static void ring_of_server(void) { installed("mariadbd", "ring-made"); }

static void bpf_called(void)
{
	static char attributes[128];

	/* BPF_PROG_GET_NEXT_ID */
	syscall(SYS_bpf, 11, attributes, sizeof(attributes));
}

static void bpf_of_tc(void) { installed("tc", "bpf-called"); }

static void comm_written(void) { must(open("/proc/self/comm", O_WRONLY), "comm"); }

static void comm_read(void) { must(open("/proc/self/comm", O_RDONLY), "comm"); }

static void cat_descriptor(void)
{
	must(dup2(open(INNOCENT, O_RDONLY), 33), "dup2");
	RUN("/bin/cat", "/proc/self/fd/33");
}

static void read_from(pid_t pid)
{
	static int from, to;
	struct iovec target = {&to, sizeof(to)}, source = {&from, sizeof(from)};

	/* that the attempt fails is right */
	process_vm_readv(pid, &target, 1, &source, 1, 0);
}

static void lanner_read(void) { read_from(lanner()); }

static void parent_read(void) { read_from(getppid()); }

const struct way DEFAULTS[] = {
    {"cat-named-passwd", cat_named_passwd},
    {"script-named-passwd", script_named_passwd},
    {"passwd-itself", passwd_itself},
    {"setid-created", setid_created},
    {"setid-node", setid_node},
    {"setid-changed", setid_changed},
    {"mode-changed", mode_changed},
    {"capabilities-set", capabilities_set},
    {"attribute-set", attribute_set},
    {"log-truncated", log_truncated},
    {"log-truncated-open", log_truncated_open},
    {"log-removed", log_removed},
    {"log-renamed", log_renamed},
    {"log-rotated", log_rotated},
    {"note-removed", note_removed},
    {"namespace-of-child", namespace_of_child},
    {"plain-child", plain_child},
    {"memory-opened", memory_opened},
    {"memory-looked-at", memory_looked_at},
    {"memory-debugged", memory_debugged},
    {"memory-written", memory_written},
    {"memory-read", memory_read},
    {"renamed-over-etc", renamed_over_etc},
    {"linked-in-etc", linked_in_etc},
    {"linked-in-binaries", linked_in_binaries},
    {"renamed-elsewhere", renamed_elsewhere},
    {"renamed-by-tool", renamed_by_account_tool},
    {"mounted-over-etc", mounted_over_etc},
    {"mounted-elsewhere", mounted_elsewhere},
    {"process-hidden", process_hidden},
    {"process-file-hidden", process_file_hidden},
    {"procfs-mounted", procfs_mounted},
    {"kernel-loaded", kernel_loaded},
    {"hardware-reached", hardware_reached},
    {"tree-cloned", tree_cloned},
    {"file-system-opened", file_system_opened},
    {"tree-opened", tree_opened},
    {"ring-made", ring_made},
    {"ring-of-server", ring_of_server},
    {"bpf-called", bpf_called},
    {"bpf-of-tc", bpf_of_tc},
    {"comm-written", comm_written},
    {"comm-read", comm_read},
    {"cat-descriptor", cat_descriptor},
    {"lanner-read", lanner_read},
    {"parent-read", parent_read},
    {NULL, NULL},
};
