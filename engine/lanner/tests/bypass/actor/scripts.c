/* Programs and scripts in memory or in shared memory, as interpreters get them. */
#include "actor.h"

static int in_memory(const char *text)
{
	int fd = can(syscall(SYS_memfd_create, "x", 0), "memfd_create");

	must(write(fd, text, strlen(text)), "write");
	lseek(fd, 0, SEEK_SET);
	return fd;
}

static char *fd_path(const char *folder, int fd)
{
	static char path[64];

	snprintf(path, sizeof(path), "%s/%d", folder, fd);
	return path;
}

static void shell_by_dev_fd(void) { RUN("/bin/sh", fd_path("/dev/fd", in_memory("exit 0\n"))); }

static void shell_by_thread(void) { RUN("/bin/sh", fd_path("/proc/thread-self/fd", in_memory("exit 0\n"))); }

static void shell_by_slashes(void) { RUN("/bin/sh", fd_path("//proc/./self/fd", in_memory("exit 0\n"))); }

static void shell_with_options(void) { RUN("/bin/sh", "-e", "-u", fd_path("/proc/self/fd", in_memory("exit 0\n"))); }

static void shell_by_folder(void)
{
	char name[16];

	snprintf(name, sizeof(name), "%d", in_memory("exit 0\n"));
	must(chdir("/proc/self/fd"), "chdir");
	RUN("/bin/sh", name);
}

static void shell_by_input(void)
{
	dup2(in_memory("exit 0\n"), 0);
	RUN("/bin/sh");
}

static void shell_by_stdin_path(void)
{
	dup2(in_memory("exit 0\n"), 0);
	RUN("/bin/sh", "/dev/stdin");
}

static void shell_sources(void)
{
	char command[64];

	snprintf(command, sizeof(command), ". /proc/self/fd/%d", in_memory("exit 0\n"));
	RUN("/bin/sh", "-c", command);
}

static void shell_by_link(void)
{
	must(symlink(fd_path("/proc/self/fd", in_memory("exit 0\n")), OUT "/script"), "symlink");
	RUN("/bin/sh", OUT "/script");
}

static void perl_requires(void)
{
	RUN("/usr/bin/perl", "-w", "-x", fd_path("/proc/self/fd", in_memory("#!perl\nexit 0\n")));
}

static void preloaded(void)
{
	char value[64];
	int fd = can(syscall(SYS_memfd_create, "x", 0), "memfd_create");

	copy(CANARY, fd);
	snprintf(value, sizeof(value), "/proc/self/fd/%d", fd);
	setenv("LD_PRELOAD", value, 1);
	RUN("/bin/true");
}

static void shell_reads_note(void)
{
	make(OUT "/script", "exit 0\n");
	dup2(must(open(OUT "/script", O_RDONLY), "open"), 0);
	RUN("/bin/sh");
}

static void shared_memory_by_input(void)
{
	char path[64];

	snprintf(path, sizeof(path), "/dev/shm/lanner-bypass-%d", getpid());
	make(path, "exit 0\n");
	must(chdir("/dev/shm"), "chdir");
	RUN("/bin/sh", "-e", "-u", strrchr(path, '/') + 1);
	unlink(path);
}

static void shared_memory_by_link(void)
{
	char path[64];

	snprintf(path, sizeof(path), "/dev/shm/lanner-bypass-%d", getpid());
	make(path, "exit 0\n");
	must(symlink(path, OUT "/script"), "symlink");
	RUN("/bin/sh", OUT "/script");
	unlink(path);
}

const struct way SCRIPTS[] = {
    {"shell-dev-fd", shell_by_dev_fd},
    {"shell-thread", shell_by_thread},
    {"shell-slashes", shell_by_slashes},
    {"shell-options", shell_with_options},
    {"shell-folder", shell_by_folder},
    {"shell-input", shell_by_input},
    {"shell-stdin", shell_by_stdin_path},
    {"shell-reads-note", shell_reads_note},
    {"shell-sources", shell_sources},
    {"shell-link", shell_by_link},
    {"perl-options", perl_requires},
    {"preloaded", preloaded},
    {"shared-memory-options", shared_memory_by_input},
    {"shared-memory-link", shared_memory_by_link},
    {NULL, NULL},
};
