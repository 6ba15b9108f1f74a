/* Ways that use parts of the kernel which few programs use. */
#include "actor.h"
#include <dirent.h>
#include <stddef.h>
#include <linux/if_tun.h>
#include <linux/net_tstamp.h>
#include <net/if.h>
#include <sys/fanotify.h>
#include <sys/personality.h>
#include <sys/resource.h>
#include <setjmp.h>
#include <ucontext.h>

/* Reading */

static void call_harmlessly(void) { syscall(SYS_getpriority, AT_FDCWD, SECRET, O_RDONLY); }

/* A tracer changes a harmless call into another one when it is entered. */
static void renumbered(void)
{
#ifdef __x86_64__
	struct user_regs_struct registers;
	pid_t child = start_traced(call_harmlessly);

	to_next_stop(child);
	must(ptrace(PTRACE_GETREGS, child, NULL, &registers), "ptrace");
	registers.orig_rax = SYS_openat;
	must(ptrace(PTRACE_SETREGS, child, NULL, &registers), "ptrace");
	to_next_stop(child);
	/* and says afterwards that it was the harmless one */
	must(ptrace(PTRACE_GETREGS, child, NULL, &registers), "ptrace");
	registers.orig_rax = SYS_getpriority;
	must(ptrace(PTRACE_SETREGS, child, NULL, &registers), "ptrace");
	must(ptrace(PTRACE_CONT, child, NULL, NULL), "ptrace");
	must(waitpid(child, NULL, 0), "waitpid");
#else
	end(CANNOT, "ptrace");
#endif
}

static volatile char selector;

static void undo(int signal, siginfo_t *info, void *context)
{
	ucontext_t *interrupted = context;

	selector = 0; /* SYSCALL_DISPATCH_FILTER_ALLOW */
#ifdef __x86_64__
	interrupted->uc_mcontext.gregs[REG_RAX] = syscall(SYS_openat, AT_FDCWD, SECRET, O_RDONLY);
#endif
}

/* A harmless call is not made; the handler of the signal makes another one (PR_SET_SYSCALL_USER_DISPATCH). */
static void dispatched(void)
{
	struct sigaction action = {.sa_sigaction = undo, .sa_flags = SA_SIGINFO};

	must(sigaction(SIGSYS, &action, NULL), "sigaction");
	can(prctl(59, 1, 0, 0, &selector), "prctl");
	selector = 1; /* SYSCALL_DISPATCH_FILTER_BLOCK */
	look(syscall(SYS_getppid));
}

/* A call by `syscall` in code of 32 bits. The kernel returns from it to a place that this process does not have. */
static sigjmp_buf back;

static void go_back(int signal)
{
	(void)signal;
	siglongjmp(back, 1);
}

static void compat_call(void)
{
#ifdef __x86_64__
	static char other_stack[65536];
	char *low = low_memory(), *path = strcpy(low + 512, SECRET), *stack = low + 12288;
	uint32_t at = (uintptr_t)path;
	/* mov $5 (open), %eax; mov $path, %ebx; xor %ecx, %ecx; mov %ecx, %ebp; xor %edx, %edx; syscall; ud2 */
	unsigned char code[] = {0xb8, 5,    0,	  0,	0,    0xbb, 0,	  0,	0,    0,
				0x31, 0xc9, 0x89, 0xcd, 0x31, 0xd2, 0x0f, 0x05, 0x0f, 0x0b};
	struct {
		uint32_t offset;
		uint16_t segment;
	} __attribute__((packed)) there = {(uintptr_t)low, 0x23};
	stack_t handlers = {.ss_sp = other_stack, .ss_size = sizeof(other_stack)};
	struct sigaction action = {.sa_handler = go_back, .sa_flags = SA_ONSTACK};
	int failures[] = {SIGSEGV, SIGILL, SIGBUS, SIGTRAP};

	memcpy(code + 6, &at, sizeof(at));
	memcpy(low, code, sizeof(code));
	must(mprotect(low, 16384, PROT_READ | PROT_WRITE | PROT_EXEC), "mprotect");
	must(sigaltstack(&handlers, NULL), "sigaltstack");
	for (int i = 0; i < 4; i++)
		sigaction(failures[i], &action, NULL);
	if (!sigsetjmp(back, 1))
		asm volatile("mov %1, %%rsp\n\tljmp *(%0)" : : "r"(&there), "r"(stack) : "memory");
	/* processors of some makers have no such call */
	if (fcntl(3, F_GETFD) < 0 && fcntl(4, F_GETFD) < 0)
		end(CANNOT, "syscall");
#else
	end(CANNOT, "syscall");
#endif
}

static void in_untraced(pid_t child)
{
	if (!child) {
		int file = open(SECRET, O_RDONLY);
		_exit(file < 0 ? errno == ENOSYS ? REFUSED : 1 : 0);
	}
	wait_for(child);
}

static void untraced_clone3(void)
{
	struct clone_args args = {.flags = CLONE_UNTRACED, .exit_signal = SIGCHLD};

	in_untraced(can(syscall(SYS_clone3, &args, sizeof(args)), "clone3"));
}

static void int80_untraced(void) { in_untraced(int80(120, CLONE_UNTRACED | SIGCHLD, 0, 0, 0, 0)); }

static void other_personality(void)
{
	personality(0x0400000 /* READ_IMPLIES_EXEC */ | 0x0008 /* PER_LINUX32 */);
	look(open(SECRET, O_RDONLY));
}

/* A mount whose owners are mapped (mount_setattr(2)). */
static void mapped_mount(void)
{
	struct {
		uint64_t set, clear, propagation, userns;
	} attributes = {.set = 0x00100000 /* MOUNT_ATTR_IDMAP */};
	char path[64];
	int ready[2];

	own_mounts();
	must(pipe(ready), "pipe");
	pid_t child = must(fork(), "fork");
	if (!child) {
		unshare(CLONE_NEWUSER);
		write(ready[1], "x", 1);
		pause();
	}
	must(read(ready[0], path, 1), "read");
	snprintf(path, sizeof(path), "/proc/%d/uid_map", child);
	dprintf(must(open(path, O_WRONLY), path), "0 0 65536");
	snprintf(path, sizeof(path), "/proc/%d/gid_map", child);
	dprintf(must(open(path, O_WRONLY), path), "0 0 65536");
	snprintf(path, sizeof(path), "/proc/%d/ns/user", child);
	attributes.userns = must(open(path, O_RDONLY), path);
	int tree = can(syscall(428 /* open_tree */, AT_FDCWD, FOLDER, 1 | O_CLOEXEC), "open_tree");
	long mapped = syscall(442 /* mount_setattr */, tree, "", AT_EMPTY_PATH, &attributes, sizeof(attributes));
	kill(child, SIGKILL);
	wait(NULL);
	can(mapped, "mount_setattr");
	look(openat(tree, "secret", O_RDONLY));
}

/* A child that shares all but its id with the parent, which then ends. */
static int open_it(void *unused)
{
	(void)unused;
	usleep(20000);
	_exit(open(SECRET, O_RDONLY) < 0);
}

static void orphan_with_memory(void)
{
	char *stack = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	pid_t child = must(fork(), "fork");

	if (!child) {
		clone(open_it, stack + 65536, CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND, NULL);
		syscall(SYS_exit, 0);
	}
	wait_for(child);
	usleep(60000);
}

/* Running */

/* The kernel runs the program for a file whose format it is (binfmt_misc). */
static void run_by_format(const char *flags)
{
	char line[512];

	own_mounts();
	can(mount("x", OUT, "binfmt_misc", 0, NULL), "mount");
	int file = can(open(OUT "/register", O_WRONLY), "open");
	snprintf(line, sizeof(line), ":lannerway:M::LANNERWAY::" CANARY ":%s", flags);
	can(write(file, line, strlen(line)), "write");
	close(file);
	make(KEPT "/data", "LANNERWAY\n");
	RUN(KEPT "/data");
	int entry = open(OUT "/lannerway", O_WRONLY);
	write(entry, "-1", 2);
}

static void run_format(void) { run_by_format(""); }
static void run_format_fixed(void) { run_by_format("F"); }
static void run_format_open(void) { run_by_format("OC"); }

/* Connecting */

static void connect_any_6(void)
{
	struct sockaddr_in6 address = {.sin6_family = AF_INET6, .sin6_port = htons(PORT)};

	address.sin6_addr.s6_addr[10] = address.sin6_addr.s6_addr[11] = 0xff;
	must(connect(must(socket(AF_INET6, SOCK_STREAM, 0), "socket"), (void *)&address, sizeof(address)), "connect");
}

static void connect_long(void)
{
	struct {
		struct sockaddr_in address;
		char rest[112];
	} address = {.address = {.sin_family = AF_INET, .sin_port = htons(PORT), .sin_addr = {htonl(INADDR_LOOPBACK)}}};

	must(connect(must(socket(AF_INET, SOCK_STREAM, 0), "socket"), (void *)&address, sizeof(address)), "connect");
}

static void connect_network(void)
{
	struct sockaddr_in address = {
	    .sin_family = AF_INET, .sin_port = htons(PORT), .sin_addr = {htonl(INADDR_LOOPBACK)}};
	int sockets[2];

	/* of this network namespace, used in another one */
	must(socketpair(AF_UNIX, SOCK_STREAM, 0, sockets), "socketpair");
	int out = must(socket(AF_INET, SOCK_STREAM, 0), "socket");
	can(unshare(CLONE_NEWNET), "unshare");
	must(connect(out, (void *)&address, sizeof(address)), "connect");
}

/* Network interfaces whose packets the program itself writes. */
static void tunnel(void)
{
	struct ifreq name = {.ifr_flags = IFF_TUN | IFF_NO_PI};

	int tun = can(open("/dev/net/tun", O_RDWR), "open");
	can(ioctl(tun, TUNSETIFF, &name), "TUNSETIFF");
}

/* Changing */

/* The kernel writes a file where the program is when it fails. */
static void dumped(void)
{
	char pattern[64] = "";
	struct rlimit limit = {1 << 20, 1 << 20};

	FILE *file = fopen("/proc/sys/kernel/core_pattern", "r");
	if (!file || !fgets(pattern, sizeof(pattern), file) || pattern[0] == '|' || pattern[0] == '/')
		end(CANNOT, "core_pattern");
	pid_t child = must(fork(), "fork");
	if (!child) {
		setrlimit(RLIMIT_CORE, &limit);
		must(chdir(KEPT), "chdir");
		abort();
	}
	waitpid(child, NULL, 0);
	if (rmdir(KEPT) == 0)
		end(CANNOT, "no core dump");
}

static void accounted(void)
{
	make(KEPT "/file", "");
	can(acct(KEPT "/file"), "acct");
	acct(NULL);
}

/* System files by detours */

static void own_etc(void)
{
	own_file_system("/etc");
	must(mknod("/etc/hosts.deny", S_IFREG | 0644, 0), "mknod");
}

static void detour_link(void)
{
	own_etc();
	must(symlink("/etc", OUT "/folder"), "symlink");
	must(unlink(OUT "/folder/hosts.deny"), "unlink");
}

static void detour_root(void)
{
	own_etc();
	must(rename("/proc/self/root/etc/hosts.deny", OUT "/../out/x") < 0 && errno == EXDEV ? 0 : -1, "rename");
	must(unlink("/proc/self/root/etc/hosts.deny"), "unlink");
}

static void detour_rename(void)
{
	own_etc();
	must(symlink("/etc", OUT "/folder"), "symlink");
	must(rename(OUT "/folder/hosts.deny", OUT "/folder/x"), "rename");
}

static void detour_elsewhere(void)
{
	make(KEPT "/file", "");
	must(symlink(KEPT, OUT "/folder"), "symlink");
	must(rename(OUT "/folder/file", OUT "/folder/x"), "rename");
	must(unlink(OUT "/folder/x"), "unlink");
}

/* cgroups */

static int own_cgroup(void)
{
	own_mounts();
	can(mount("x", OUT, "cgroup2", 0, NULL), "mount");
	if (mkdir(OUT "/lanner-way", 0755) < 0 && errno != EEXIST)
		end(CANNOT, "mkdir");
	return can(open(OUT "/lanner-way", O_RDONLY | O_DIRECTORY), "open");
}

static void cgroup_file(const char *name, int flags)
{
	int fd = openat(own_cgroup(), name, flags);

	rmdir(OUT "/lanner-way");
	can(fd, name);
}

static void cgroup_killed(void) { cgroup_file("cgroup.kill", O_WRONLY); }
static void cgroup_frozen(void) { cgroup_file("cgroup.freeze", O_WRONLY); }
static void cgroup_read(void) { cgroup_file("cgroup.freeze", O_RDONLY); }

/* A child is made in a cgroup of its own. */
static void in_other_cgroup(void)
{
	struct clone_args args = {.flags = CLONE_INTO_CGROUP, .exit_signal = SIGCHLD, .cgroup = own_cgroup()};
	pid_t child = syscall(SYS_clone3, &args, sizeof(args));

	if (!child) {
		look(open(SECRET, O_RDONLY));
		_exit(0);
	}
	if (child > 0)
		waitpid(child, NULL, 0);
	rmdir(OUT "/lanner-way");
	can(child, "clone3");
}

/* Opened, and nothing is written. */
static void opened_only(const char *path)
{
	int fd = open(path, O_WRONLY);

	if (fd < 0)
		end(CANNOT, path);
}

static void tracing_off(void) { opened_only("/proc/sys/kernel/ftrace_enabled"); }
static void all_killed(void) { opened_only("/proc/sysrq-trigger"); }

const struct way FURTHER[] = {
    {"tracing-off", tracing_off},
    {"all-killed", all_killed},
    {"renumbered", renumbered},
    {"dispatched", dispatched},
    {"compat-call", compat_call},
    {"untraced-clone3", untraced_clone3},
    {"int80-untraced", int80_untraced},
    {"personality", other_personality},
    {"mapped-mount", mapped_mount},
    {"orphan-memory", orphan_with_memory},
    {"other-cgroup", in_other_cgroup},
    {"run-format", run_format},
    {"run-format-fixed", run_format_fixed},
    {"run-format-open", run_format_open},
    {"connect-any-mapped", connect_any_6},
    {"connect-long", connect_long},
    {"connect-other-network", connect_network},
    {"tunnel", tunnel},
    {"dumped", dumped},
    {"accounted", accounted},
    {"detour-link", detour_link},
    {"detour-root", detour_root},
    {"detour-rename", detour_rename},
    {"detour-elsewhere", detour_elsewhere},
    {"cgroup-killed", cgroup_killed},
    {"cgroup-frozen", cgroup_frozen},
    {"cgroup-read", cgroup_read},
    {NULL, NULL},
};
