/* Ways to read FOLDER/secret by another path than its own. */
#include "actor.h"

static char name[64];

static char *fd_path(int fd, const char *below)
{
	snprintf(name, sizeof(name), "/proc/self/fd/%d%s", fd, below);
	return name;
}

static void plain(void) { look(open(SECRET, O_RDONLY)); }

static void by_symlink(void)
{
	must(symlink(SECRET, OUT "/link"), "symlink");
	look(open(OUT "/link", O_RDONLY));
}

static void by_linked_folder(void)
{
	must(symlink(FOLDER, OUT "/folder"), "symlink");
	look(open(OUT "/folder/secret", O_RDONLY));
}

static void by_dots(void) { look(open(FOLDER "/kept/../secret", O_RDONLY)); }

static void by_slashes(void) { look(open(FOLDER "///.//secret", O_RDONLY)); }

static void by_relative_path(void)
{
	must(chdir(FOLDER), "chdir");
	look(open("secret", O_RDONLY));
}

static void by_path_descriptor(void) { look(open(fd_path(must(open(SECRET, O_PATH), "open"), ""), O_RDONLY)); }

static void by_proc_root(void) { look(open("/proc/self/root" SECRET, O_RDONLY)); }

static void by_root_of_another(void)
{
	char path[512];
	pid_t child = must(fork(), "fork");

	if (!child) {
		pause();
		_exit(0);
	}
	snprintf(path, sizeof(path), "/proc/%d/root%s", child, SECRET);
	look(open(path, O_RDONLY));
	kill(child, SIGKILL);
	wait(NULL);
}

static void by_proc_cwd(void)
{
	must(chdir(FOLDER), "chdir");
	look(open("/proc/self/cwd/secret", O_RDONLY));
}

static void in_chroot(void)
{
	can(chroot(FOLDER), "chroot");
	must(chdir("/"), "chdir");
	look(open("/secret", O_RDONLY));
}

static void by_folder_descriptor(void)
{
	int folder = must(open(FOLDER, O_RDONLY | O_DIRECTORY), "open");

	look(openat(folder, "secret", O_RDONLY));
}

static void with_root_descriptor(void)
{
	struct open_how how = {.flags = O_RDONLY, .resolve = RESOLVE_IN_ROOT};
	int folder = must(open(FOLDER, O_PATH), "open");

	look(can(syscall(SYS_openat2, folder, "/secret", &how, sizeof(how)), "openat2"));
}

static void beneath_descriptor(void)
{
	struct open_how how = {.flags = O_RDONLY, .resolve = RESOLVE_BENEATH};
	int folder = must(open(FOLDER, O_PATH), "open");

	look(can(syscall(SYS_openat2, folder, "secret", &how, sizeof(how)), "openat2"));
}

static void hard_link(void) { must(link(SECRET, OUT "/link"), "link"); }

static void hard_link_of_descriptor(void)
{
	int file = must(open(SECRET, O_PATH), "open");

	must(linkat(file, "", AT_FDCWD, OUT "/link", AT_EMPTY_PATH), "linkat");
}

static void hard_link_of_proc_fd(void)
{
	int file = must(open(SECRET, O_PATH), "open");

	must(linkat(AT_FDCWD, fd_path(file, ""), AT_FDCWD, OUT "/link", AT_SYMLINK_FOLLOW), "linkat");
}

static void bind_mount(void)
{
	own_mounts();
	make(OUT "/bound", "");
	can(mount(SECRET, OUT "/bound", NULL, MS_BIND, NULL), "mount");
	look(open(OUT "/bound", O_RDONLY));
}

static void bind_mount_of_folder(void)
{
	own_mounts();
	must(mkdir(OUT "/bound", 0700), "mkdir");
	can(mount(FOLDER, OUT "/bound", NULL, MS_BIND, NULL), "mount");
	look(open(OUT "/bound/secret", O_RDONLY));
}

static void after_pivot(void)
{
	own_mounts();
	can(mount(FOLDER, FOLDER, NULL, MS_BIND | MS_REC, NULL), "mount");
	must(chdir(FOLDER), "chdir");
	can(syscall(SYS_pivot_root, ".", "."), "pivot_root");
	must(umount2(".", MNT_DETACH), "umount");
	look(open("/secret", O_RDONLY));
}

static void in_mount_namespace(void)
{
	own_mounts();
	look(open(SECRET, O_RDONLY));
}

static void on_detached_mount(void)
{
	int tree = can(syscall(SYS_open_tree, AT_FDCWD, FOLDER, 1 /* OPEN_TREE_CLONE */), "open_tree");

	look(openat(tree, "secret", O_RDONLY));
}

static void by_handle(void)
{
	struct {
		struct file_handle handle;
		char bytes[128];
	} file = {.handle.handle_bytes = 128};
	int mount_id;

	can(name_to_handle_at(AT_FDCWD, SECRET, &file.handle, &mount_id, 0), "name_to_handle_at");
	int folder = must(open(FOLDER, O_RDONLY | O_DIRECTORY), "open");
	look(can(open_by_handle_at(folder, &file.handle, O_RDONLY), "open_by_handle_at"));
}

static void other_flags(void *how) { ((struct open_how *)how)->flags = O_WRONLY | O_DIRECTORY; }

static void how_is_changed(void)
{
	static struct open_how how = {.flags = O_RDONLY};
	char *path = late_page(NULL, SECRET, other_flags, &how);

	look(can(syscall(SYS_openat2, AT_FDCWD, path, &how, sizeof(how)), "openat2"));
}

static void torn_path(void) { look(open(torn(SECRET), O_RDONLY)); }

static void passed_descriptor(void)
{
	int sockets[2];

	must(socketpair(AF_UNIX, SOCK_STREAM, 0, sockets), "socketpair");
	pid_t child = fork();
	if (!child) {
		send_fd(sockets[1], open(SECRET, O_RDONLY));
		_exit(0);
	}
	look(receive_fd(sockets[0]));
	wait_for(child);
}

static void taken_descriptor(void)
{
	int ends[2];
	char byte;

	must(pipe(ends), "pipe");
	pid_t child = must(fork(), "fork");
	if (!child) {
		dup2(open(SECRET, O_RDONLY), 99);
		write(ends[1], "x", 1);
		pause();
		_exit(0);
	}
	must(read(ends[0], &byte, 1), "read");
	int process = can(syscall(SYS_pidfd_open, child, 0), "pidfd_open");
	look(can(syscall(SYS_pidfd_getfd, process, 99, 0), "pidfd_getfd"));
	kill(child, SIGKILL);
	wait(NULL);
}

static void by_sendfile(void)
{
	int in = must(open(SECRET, O_RDONLY), "open");
	int out = must(open(OUT "/copy", O_CREAT | O_WRONLY, 0600), "open");

	must(sendfile(out, in, NULL, 10), "sendfile");
}

static void by_splice(void)
{
	int ends[2], in = must(open(SECRET, O_RDONLY), "open");

	must(pipe(ends), "pipe");
	must(splice(in, NULL, ends[1], NULL, 10, 0), "splice");
}

static void by_copy_range(void)
{
	int in = must(open(SECRET, O_RDONLY), "open");
	int out = must(open(OUT "/copy", O_CREAT | O_WRONLY, 0600), "open");

	must(copy_file_range(in, NULL, out, NULL, 10, 0), "copy_file_range");
}

static void by_mapping(void)
{
	int in = must(open(SECRET, O_RDONLY), "open");

	if (mmap(NULL, 4096, PROT_READ, MAP_SHARED, in, 0) == MAP_FAILED)
		end(1, "mmap");
}

static void int80_open(void)
{
	char *path = strcpy(low_memory(), SECRET);

	look(int80(5, (long)path, O_RDONLY, 0, 0, 0));
}

static void int80_openat(void)
{
	char *path = strcpy(low_memory(), SECRET);

	look(int80(295, AT_FDCWD, (long)path, O_RDONLY, 0, 0));
}

/* Most kernels refuse these numbers. The attempt is what counts. */
static void x32_openat(void)
{
#ifdef __x86_64__
	long fd = syscall(0x40000000L | SYS_openat, AT_FDCWD, SECRET, O_RDONLY, 0);

	if (fd < 0 && errno == ENOSYS)
		return;
	look(fd);
#else
	end(CANNOT, "x86");
#endif
}

static void int80_openat2(void)
{
	char *path = strcpy(low_memory(), SECRET);

	look(int80(437, AT_FDCWD, (long)path, (long)memset(path + 4096, 0, 64), sizeof(struct open_how), 0));
}

/* fanotify hands out a descriptor of the file that another process opens. */
static void by_notification(void)
{
	struct {
		uint32_t length;
		uint8_t version, reserved;
		uint16_t metadata_length;
		uint64_t mask;
		int32_t fd, pid;
	} event[8];
	int notifications = can(syscall(SYS_fanotify_init, 0, O_RDONLY), "fanotify_init");

	can(syscall(SYS_fanotify_mark, notifications, 1 /* FAN_MARK_ADD */, 0x20ULL /* FAN_OPEN */, AT_FDCWD, SECRET),
	    "fanotify_mark");
	pid_t child = must(fork(), "fork");
	if (!child) {
		plain();
		_exit(0);
	}
	must(read(notifications, event, sizeof(event)), "read");
	look(event[0].fd);
	wait_for(child);
}

/* Another thread waits until the descriptor is there, passes it on, and puts an innocent file in its place. */
static struct {
	volatile int armed, number, spare;
	int sockets[2];
} swap;

static void *swapper(void *unused)
{
	for (;;) {
		while (!swap.armed)
			;
		while (fcntl(swap.number, F_GETFD) < 0)
			;
		int kept = dup(swap.number);
		if (kept >= 0)
			dup2(swap.spare, swap.number);
		swap.armed = 0;
		if (kept >= 0)
			close(kept);
	}
	return unused;
}

static void replaced(void)
{
	pthread_t thread;

	swap.spare = must(open(INNOCENT, O_RDONLY), "open");
	swap.number = must(open(INNOCENT, O_RDONLY), "open");
	close(swap.number);
	pthread_create(&thread, NULL, swapper, NULL);
	swap.armed = 1;
	int fd = must(open(SECRET, O_RDONLY), "open");
	while (swap.armed)
		;
	close(fd);
}

/* The kernel ignores the upper half of a call's number and of an int. */
static void high_halves(void)
{
#ifdef __x86_64__
	long result;
	register long mode asm("r10") = 0;

	asm volatile("syscall"
		     : "=a"(result)
		     : "a"(0xdeadbeef00000000UL | SYS_openat), "D"(0xdeadbeef00000000UL | (uint32_t)AT_FDCWD),
		       "S"(SECRET), "d"(0x5a5a5a5a00000000UL), "r"(mode)
		     : "rcx", "r11", "memory");
	errno = result < 0 ? -result : 0;
	look(result);
#else
	end(CANNOT, "x86");
#endif
}

const struct way READING[] = {
    {"plain", plain},
    {"symlink", by_symlink},
    {"linked-folder", by_linked_folder},
    {"dots", by_dots},
    {"slashes", by_slashes},
    {"relative", by_relative_path},
    {"path-descriptor", by_path_descriptor},
    {"proc-root", by_proc_root},
    {"root-of-another", by_root_of_another},
    {"proc-cwd", by_proc_cwd},
    {"chroot", in_chroot},
    {"folder-descriptor", by_folder_descriptor},
    {"in-root", with_root_descriptor},
    {"beneath", beneath_descriptor},
    {"hard-link", hard_link},
    {"hard-link-descriptor", hard_link_of_descriptor},
    {"hard-link-proc-fd", hard_link_of_proc_fd},
    {"bind", bind_mount},
    {"bind-folder", bind_mount_of_folder},
    {"pivot", after_pivot},
    {"mount-namespace", in_mount_namespace},
    {"detached-mount", on_detached_mount},
    {"handle", by_handle},
    {"how", how_is_changed},
    {"torn-open", torn_path},
    {"passed", passed_descriptor},
    {"taken", taken_descriptor},
    {"sendfile", by_sendfile},
    {"splice", by_splice},
    {"copy-range", by_copy_range},
    {"mapping", by_mapping},
    {"notification", by_notification},
    {"replaced", replaced},
    {"int80-open", int80_open},
    {"int80-openat", int80_openat},
    {"int80-openat2", int80_openat2},
    {"x32-openat", x32_openat},
    {"high-halves", high_halves},
    {NULL, NULL},
};
