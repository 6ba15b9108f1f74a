/* Ways to run FOLDER/bin/canary, or a program or script that is not in any folder. */
#include "actor.h"
#include <spawn.h>

static char *arguments[] = {"canary", "one", NULL};

static _Noreturn void run(const char *path, char **words)
{
	execve(path, words, environ);
	end(1, path);
}

static void run_at(int folder, const char *path, int flags)
{
	can(syscall(SYS_execveat, folder, path, arguments, environ, flags), "execveat");
}

static char *fd_path(int fd)
{
	static char path[64];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return path;
}

static int in_memory(const char *name, int flags, const char *text)
{
	int fd = can(syscall(SYS_memfd_create, name, flags), "memfd_create");

	if (text)
		must(write(fd, text, strlen(text)), "write");
	else
		copy(CANARY, fd);
	return fd;
}

static void plain(void) { run(CANARY, arguments); }

static void of_descriptor(void) { run_at(must(open(CANARY, O_PATH | O_CLOEXEC), "open"), "", AT_EMPTY_PATH); }

static void of_proc_fd(void) { run(fd_path(must(open(CANARY, O_PATH), "open")), arguments); }

static void below_descriptor(void) { run_at(must(open(FOLDER "/bin", O_PATH), "open"), "canary", 0); }

static void after_unlink(void)
{
	int fd = must(open(OUT "/gone", O_CREAT | O_WRONLY, 0755), "open"), program;

	copy(CANARY, fd);
	close(fd);
	program = must(open(OUT "/gone", O_PATH | O_CLOEXEC), "open");
	must(unlink(OUT "/gone"), "unlink");
	run_at(program, "", AT_EMPTY_PATH);
}

static void without_name(void)
{
	int fd = can(open(OUT, O_TMPFILE | O_RDWR, 0755), "O_TMPFILE");
	int program = must(open(fd_path(fd), O_PATH | O_CLOEXEC), "open");

	copy(CANARY, fd);
	close(fd);
	run_at(program, "", AT_EMPTY_PATH);
}

static void after_vfork(void)
{
	pid_t child = vfork();

	if (!child) {
		execve(CANARY, arguments, environ);
		_exit(1);
	}
	must(child, "vfork");
	wait(NULL);
}

static void in_chroot(void)
{
	can(chroot(FOLDER), "chroot");
	must(chdir("/"), "chdir");
	run("/bin/canary", arguments);
}

static void of_detached_mount(void)
{
	int tree =
	    can(syscall(SYS_open_tree, AT_FDCWD, FOLDER "/bin", 1 /* OPEN_TREE_CLONE */ | O_CLOEXEC), "open_tree");

	run_at(tree, "canary", 0);
}

static void of_script(void)
{
	make(OUT "/script", "#!" CANARY " I\n");
	run(OUT "/script", arguments);
}

static void of_link(void)
{
	must(symlink(CANARY, OUT "/link"), "symlink");
	run(OUT "/link", arguments);
}

static void of_script_descriptor(void)
{
	make(OUT "/script", "#!" CANARY " I\n");
	run_at(must(open(OUT "/script", O_PATH), "open"), "", AT_EMPTY_PATH);
}

static void of_descriptor_in_chroot(void)
{
	int program = must(open(CANARY, O_PATH | O_CLOEXEC), "open");

	can(chroot(OUT), "chroot");
	must(chdir("/"), "chdir");
	run_at(program, "", AT_EMPTY_PATH);
}

static void spawned(void)
{
	pid_t child;

	if (posix_spawn(&child, CANARY, NULL, NULL, arguments, environ))
		end(1, "posix_spawn");
	wait_for(child);
}

static void of_chain(void)
{
	make(OUT "/first", "#!" CANARY " I\n");
	make(OUT "/second", "#!" OUT "/first\n");
	run(OUT "/second", arguments);
}

static void *plainly(void *unused)
{
	plain();
	return unused;
}

static void of_thread(void)
{
	pthread_t thread;

	pthread_create(&thread, NULL, plainly, NULL);
	pthread_join(thread, NULL);
}

static void without_arguments(void) { run(CANARY, NULL); }

static void with_forged_arguments(void)
{
	char *words[] = {"/usr/sbin/sshd", "-D", NULL};

	run(CANARY, words);
}

/* The kernel is the first to read these pages. */
static void from_untouched_pages(void)
{
	int file = must(open(OUT "/pages", O_CREAT | O_RDWR, 0600), "open");

	must(ftruncate(file, 8192), "ftruncate");
	must(pwrite(file, CANARY, sizeof(CANARY), 0), "pwrite");
	must(pwrite(file, "unread", 7, 4096), "pwrite");
	char *mapped = mmap(NULL, 8192, PROT_READ, MAP_PRIVATE, file, 0);
	char *words[] = {mapped, mapped + 4096, NULL};
	run(mapped, words);
}

static void by_int80(void)
{
	char *low = low_memory();
	uint32_t *words = (uint32_t *)(low + 4096);

	strcpy(low, CANARY);
	words[0] = (uint32_t)(uintptr_t)low;
	must(int80(11, (long)low, (long)words, 0, 0, 0), "execve");
}

static void of_torn_path(void) { run(torn(CANARY), arguments); }

static void deep_program(void)
{
	must(chdir(OUT), "chdir");
	for (int i = 0; i < 130; i++) {
		must(mkdir("d", 0755), "mkdir");
		must(chdir("d"), "chdir");
	}
	int to = must(open("canary", O_CREAT | O_WRONLY, 0755), "open");
	copy(CANARY, to);
	close(to);
	run("./canary", arguments);
}

static void from_memory(void) { run(fd_path(in_memory("x", 0, NULL)), arguments); }

static void from_nameless_memory(void) { run_at(in_memory("", 1 /* MFD_CLOEXEC */, NULL), "", AT_EMPTY_PATH); }

static void loader(const char *program)
{
	static const char *const loaders[] = {"/lib64/ld-linux-x86-64.so.2", "/lib/ld-linux-aarch64.so.1"};
	char *words[] = {"ls", (char *)program, NULL};

	for (int i = 0; i < 2; i++)
		if (!access(loaders[i], X_OK))
			run(loaders[i], words);
	end(CANNOT, "the dynamic loader");
}

static void memory_by_loader(void) { loader(fd_path(in_memory("x", 0, NULL))); }

static void memory_by_shell(void)
{
	char *words[] = {"sh", fd_path(in_memory("x", 0, "exit 0\n")), NULL};

	run("/bin/sh", words);
}

static void memory_as_script(void) { run(fd_path(in_memory("x", 0, "#!/bin/sh\nexit 0\n")), arguments); }

static void shared_memory(char *path)
{
	snprintf(path, 64, "/dev/shm/lanner-bypass-%d", getpid());
	int to = must(open(path, O_CREAT | O_WRONLY, 0755), path);
	copy(CANARY, to);
	close(to);
}

static void shared_memory_program(void)
{
	char path[64];

	shared_memory(path);
	pid_t child = fork();
	if (!child)
		run(path, arguments);
	wait_for(child);
	unlink(path);
}

static void shared_memory_by_loader(void)
{
	char path[64];

	shared_memory(path);
	pid_t child = fork();
	if (!child)
		loader(path);
	wait_for(child);
	unlink(path);
}

static void long_argument(void)
{
	static char word[6000];
	char *words[] = {"canary", memset(word, 'x', sizeof(word) - 1), "HIDDEN", NULL};

	run(CANARY, words);
}

static void long_first_argument(void)
{
	static char word[6000];
	char *words[] = {memset(word, 'x', sizeof(word) - 1), "HIDDEN", NULL};

	run(CANARY, words);
}

static void many_arguments(void)
{
	char *words[302];

	for (int i = 0; i < 300; i++)
		words[i] = "a";
	words[300] = "HIDDEN";
	words[301] = NULL;
	run(CANARY, words);
}

static void name_by_prctl(void)
{
	must(prctl(PR_SET_NAME, "sshd"), "prctl");
	look(open(SECRET, O_RDONLY));
}

static void name_by_file(void)
{
	int file = must(open("/proc/self/comm", O_WRONLY), "comm");

	must(write(file, "sshd", 4), "write");
	look(open(SECRET, O_RDONLY));
}

static void arguments_overwritten(void)
{
	extern char *program_invocation_name;

	memset(program_invocation_name, 'x', strlen(program_invocation_name));
	look(open(SECRET, O_RDONLY));
}

const struct way RUNNING[] = {
    {"run", plain},
    {"run-descriptor", of_descriptor},
    {"run-proc-fd", of_proc_fd},
    {"run-below-descriptor", below_descriptor},
    {"run-unlinked", after_unlink},
    {"run-nameless", without_name},
    {"run-vfork", after_vfork},
    {"run-chroot", in_chroot},
    {"run-detached-mount", of_detached_mount},
    {"run-script", of_script},
    {"run-link", of_link},
    {"run-script-descriptor", of_script_descriptor},
    {"run-descriptor-chroot", of_descriptor_in_chroot},
    {"run-spawned", spawned},
    {"run-chain", of_chain},
    {"run-thread", of_thread},
    {"run-no-arguments", without_arguments},
    {"run-forged-arguments", with_forged_arguments},
    {"run-untouched", from_untouched_pages},
    {"run-int80", by_int80},
    {"run-torn", of_torn_path},
    {"run-deep", deep_program},
    {"memory", from_memory},
    {"memory-nameless", from_nameless_memory},
    {"memory-loader", memory_by_loader},
    {"memory-shell", memory_by_shell},
    {"memory-script", memory_as_script},
    {"shared-memory", shared_memory_program},
    {"shared-memory-loader", shared_memory_by_loader},
    {"long-argument", long_argument},
    {"long-first-argument", long_first_argument},
    {"many-arguments", many_arguments},
    {"name-prctl", name_by_prctl},
    {"name-file", name_by_file},
    {"arguments-overwritten", arguments_overwritten},
    {NULL, NULL},
};
