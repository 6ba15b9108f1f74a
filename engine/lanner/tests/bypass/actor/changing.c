/* Ways to change what is below FOLDER/kept. */
#include "actor.h"

static void rename_over(void)
{
	make(OUT "/file", "evil\n");
	make(KEPT "/file", "good\n");
	must(rename(OUT "/file", KEPT "/file"), "rename");
}

static void exchange(void)
{
	make(OUT "/file", "evil\n");
	make(KEPT "/file", "good\n");
	can(syscall(SYS_renameat2, AT_FDCWD, OUT "/file", AT_FDCWD, KEPT "/file", 2 /* RENAME_EXCHANGE */),
	    "renameat2");
}

static void rename_with_descriptor(void)
{
	int folder = must(open(KEPT, O_PATH), "open");

	make(OUT "/file", "evil\n");
	must(renameat(AT_FDCWD, OUT "/file", folder, "file"), "renameat");
}

static void rename_with_passed_descriptor(void)
{
	int sockets[2];

	make(OUT "/file", "evil\n");
	must(socketpair(AF_UNIX, SOCK_STREAM, 0, sockets), "socketpair");
	pid_t child = fork();
	if (!child) {
		send_fd(sockets[1], open(KEPT, O_PATH));
		_exit(0);
	}
	int folder = receive_fd(sockets[0]);
	wait_for(child);
	must(renameat(AT_FDCWD, OUT "/file", folder, "file"), "renameat");
}

static void rename_through_link(void)
{
	make(OUT "/file", "evil\n");
	must(symlink(KEPT, OUT "/folder"), "symlink");
	must(rename(OUT "/file", OUT "/folder/file"), "rename");
}

static void rename_in_linked_directory(void)
{
	make(OUT "/file", "evil\n");
	must(symlink(KEPT, OUT "/folder"), "symlink");
	must(chdir(OUT "/folder"), "chdir");
	must(rename(OUT "/file", "file"), "rename");
}

static void rename_behind_dots(void)
{
	make(OUT "/file", "evil\n");
	must(mkdir(KEPT "/below", 0700), "mkdir");
	must(symlink(KEPT "/below", OUT "/folder"), "symlink");
	must(chdir(OUT "/folder"), "chdir");
	must(chdir(".."), "chdir");
	must(rename(OUT "/file", "file"), "rename");
}

static void rename_through_proc_fd(void)
{
	char path[64];

	make(OUT "/file", "evil\n");
	snprintf(path, sizeof(path), "/proc/self/fd/%ld/file", must(open(KEPT, O_PATH), "open"));
	must(rename(OUT "/file", path), "rename");
}

static void rename_through_proc_root(void)
{
	make(OUT "/file", "evil\n");
	must(rename(OUT "/file", "/proc/self/root" KEPT "/file"), "rename");
}

static void rename_in_chroot(void)
{
	make(OUT "/file", "evil\n");
	can(chroot(FOLDER), "chroot");
	must(chdir("/"), "chdir");
	must(rename("/out/file", "/kept/file"), "rename");
}

static void unlink_in_chroot(void)
{
	make(KEPT "/file", "good\n");
	can(chroot(KEPT), "chroot");
	must(chdir("/"), "chdir");
	must(unlink("/file"), "unlink");
}

static void unlink_through_link(void)
{
	make(KEPT "/file", "good\n");
	must(symlink(KEPT, OUT "/folder"), "symlink");
	must(unlink(OUT "/folder/file"), "unlink");
}

static void truncate_through_link(void)
{
	make(KEPT "/file", "good\n");
	must(symlink(KEPT "/file", OUT "/link"), "symlink");
	must(truncate(OUT "/link", 0), "truncate");
}

static void chmod_through_link(void)
{
	make(KEPT "/file", "good\n");
	must(symlink(KEPT "/file", OUT "/link"), "symlink");
	must(chmod(OUT "/link", 0777), "chmod");
}

/* The path is in the file that is truncated. */
static void truncate_own_path(void)
{
	int file = must(open(KEPT "/file", O_RDWR | O_CREAT, 0600), "open");

	must(ftruncate(file, 8192), "ftruncate");
	char *mapped = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	must(truncate(strcpy(mapped + 4096, KEPT "/file"), 0), "truncate");
}

static void link_into(void)
{
	make(OUT "/file", "evil\n");
	must(link(OUT "/file", KEPT "/file"), "link");
}

static void link_of_nameless_file(void)
{
	int file = can(open(OUT, O_TMPFILE | O_RDWR, 0600), "O_TMPFILE");

	must(linkat(file, "", AT_FDCWD, KEPT "/file", AT_EMPTY_PATH), "linkat");
}

static void symlink_into(void) { must(symlink("/etc/passwd", KEPT "/file"), "symlink"); }

static void make_folder(void) { must(mkdir(KEPT "/folder", 0700), "mkdir"); }

static void make_node(void) { must(mknod(KEPT "/file", S_IFREG | 0600, 0), "mknod"); }

static void unlink_file(void)
{
	make(KEPT "/file", "good\n");
	must(unlink(KEPT "/file"), "unlink");
}

static void change_mode(void)
{
	make(KEPT "/file", "good\n");
	must(chmod(KEPT "/file", 0777), "chmod");
}

static void change_mode_2(void)
{
	make(KEPT "/file", "good\n");
	can(syscall(452 /* fchmodat2 */, AT_FDCWD, KEPT "/file", 0777, 0), "fchmodat2");
}

static void set_attribute(void)
{
	make(KEPT "/file", "good\n");
	can(setxattr(KEPT "/file", "trusted.x", "1", 1, 0), "setxattr");
}

static int kept_file(void) { return must(open(KEPT "/file", O_CREAT | O_RDONLY, 0600), "open"); }

static void change_mode_of_descriptor(void) { must(fchmod(kept_file(), 0777), "fchmod"); }

static void change_mode_of_empty_path(void)
{
	can(syscall(452 /* fchmodat2 */, kept_file(), "", 0777, AT_EMPTY_PATH), "fchmodat2");
}

static void change_owner_of_descriptor(void) { must(fchown(kept_file(), 0, 0), "fchown"); }

static void change_owner_of_empty_path(void) { must(fchownat(kept_file(), "", 0, 0, AT_EMPTY_PATH), "fchownat"); }

static void set_attribute_of_descriptor(void) { can(fsetxattr(kept_file(), "trusted.x", "1", 1, 0), "fsetxattr"); }

static void set_attribute_at(void)
{
	struct {
		uint64_t value;
		uint32_t size, flags;
	} args = {(uintptr_t) "1", 1, 0};

	can(syscall(463 /* setxattrat */, kept_file(), "", AT_EMPTY_PATH, "trusted.x", &args, sizeof(args)),
	    "setxattrat");
}

static void remove_attribute_at(void)
{
	int file = kept_file();

	can(fsetxattr(file, "trusted.x", "1", 1, 0), "fsetxattr");
	can(syscall(466 /* removexattrat */, AT_FDCWD, KEPT "/file", 0, "trusted.x"), "removexattrat");
}

static void set_file_attributes(void)
{
	uint64_t attributes[3] = {0};

	kept_file();
	/* that the file system may refuse it does not matter */
	syscall(469 /* file_setattr */, AT_FDCWD, KEPT "/file", attributes, sizeof(attributes), 0);
	if (errno == ENOSYS)
		end(CANNOT, "file_setattr");
}

static void set_times(void)
{
	kept_file();
	must(utimensat(AT_FDCWD, KEPT "/file", NULL, 0), "utimensat");
}

static void truncate_descriptor(void)
{
	must(ftruncate(must(open(KEPT "/file", O_CREAT | O_RDWR, 0600), "open"), 0), "ftruncate");
}

static void in_folder_descriptor(void)
{
	int folder = must(open(KEPT, O_PATH), "open");

	must(mkdirat(folder, "a", 0700), "mkdirat");
	must(unlinkat(folder, "a", AT_REMOVEDIR), "unlinkat");
}

static void mount_over(void)
{
	make(OUT "/file", "evil\n");
	make(KEPT "/file", "good\n");
	own_mounts();
	can(mount(OUT "/file", KEPT "/file", NULL, MS_BIND, NULL), "mount");
}

static void move_mount_over(void)
{
	make(OUT "/file", "evil\n");
	make(KEPT "/file", "good\n");
	own_mounts();
	int tree = can(syscall(SYS_open_tree, AT_FDCWD, OUT "/file", 1 /* OPEN_TREE_CLONE */), "open_tree");
	can(syscall(SYS_move_mount, tree, "", AT_FDCWD, KEPT "/file", 4 /* MOVE_MOUNT_F_EMPTY_PATH */), "move_mount");
}

static int go_to_kept(void *unused)
{
	(void)unused;
	return chdir(KEPT);
}

/* Another process changes the directory of both. */
static void shared_directory(void)
{
	static char stack[65536];

	make(OUT "/file", "evil\n");
	wait_for(clone(go_to_kept, stack + sizeof(stack), CLONE_FS | SIGCHLD, NULL));
	must(rename(OUT "/file", "file"), "rename");
}

/* setns(2) makes the root of the namespace the working directory. */
static void directory_by_setns(void)
{
	can(unshare(CLONE_NEWNS), "unshare");
	make(OUT "/file", "evil\n");
	must(chdir(OUT), "chdir");
	can(setns(must(open("/proc/self/ns/mnt", O_RDONLY), "open"), 0), "setns");
	must(rename(&(OUT "/file")[1], &(KEPT "/file")[1]), "rename");
}

static void torn_rename(void)
{
	make(OUT "/file", "evil\n");
	must(rename(OUT "/file", torn(KEPT "/file")), "rename");
}

static void torn_unlink(void)
{
	make(KEPT "/file", "good\n");
	must(unlink(torn(KEPT "/file")), "unlink");
}

static void torn_chmod(void)
{
	make(KEPT "/file", "good\n");
	must(chmod(torn(KEPT "/file"), 0777), "chmod");
}

static void torn_link(void)
{
	make(OUT "/file", "evil\n");
	must(link(OUT "/file", torn(KEPT "/file")), "link");
}

static void torn_chdir(void)
{
	make(OUT "/file", "evil\n");
	must(chdir(torn(KEPT)), "chdir");
	must(rename(OUT "/file", "file"), "rename");
}

static void other_data(void *data) { *(char *)data = 'x'; }

/* The first letter of what is written changes while the kernel waits for the rest. */
static void torn_write(void)
{
	char *pages = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char *data = memset(pages + 4096 - 64, '.', 64);
	int file = must(open(KEPT "/file", O_CREAT | O_WRONLY, 0600), "open");

	memcpy(data, "EVIL-DATA", 9);
	late_page(pages + 4096, "rest", other_data, data);
	must(write(file, data, 68), "write");
}

static void descend(const char *folder, int times)
{
	must(chdir(KEPT), "chdir");
	while (times--) {
		must(mkdir(folder, 0755), "mkdir");
		must(chdir(folder), "chdir");
	}
}

static void deep_path(void)
{
	descend("d", 130);
	must(open("leaf", O_CREAT | O_WRONLY, 0600), "open");
}

static void long_path(void)
{
	char folder[241];

	memset(folder, 'L', 240);
	folder[240] = 0;
	descend(folder, 20);
	must(open("leaf", O_CREAT | O_WRONLY, 0600), "open");
}

static void int80_unlink(void)
{
	make(KEPT "/file", "good\n");
	must(int80(10, (long)strcpy(low_memory(), KEPT "/file"), 0, 0, 0, 0), "unlink");
}

/* Calls that only 32-bit programs have. */
static void int80_truncate64(void)
{
	make(KEPT "/file", "good\n");
	must(int80(193, (long)strcpy(low_memory(), KEPT "/file"), 0, 0, 0, 0), "truncate64");
}

static void int80_chown32(void)
{
	make(KEPT "/file", "good\n");
	must(int80(212, (long)strcpy(low_memory(), KEPT "/file"), 0, 0, 0, 0), "chown32");
}

static void int80_setuid32(void) { must(int80(213, 0, 0, 0, 0, 0), "setuid32"); }

const struct way CHANGING[] = {
    {"rename-over", rename_over},
    {"exchange", exchange},
    {"rename-descriptor", rename_with_descriptor},
    {"rename-passed", rename_with_passed_descriptor},
    {"rename-link", rename_through_link},
    {"rename-linked-directory", rename_in_linked_directory},
    {"rename-dots", rename_behind_dots},
    {"rename-proc-fd", rename_through_proc_fd},
    {"rename-proc-root", rename_through_proc_root},
    {"rename-chroot", rename_in_chroot},
    {"unlink-chroot", unlink_in_chroot},
    {"unlink-link", unlink_through_link},
    {"truncate-link", truncate_through_link},
    {"chmod-link", chmod_through_link},
    {"truncate-own-path", truncate_own_path},
    {"link-into", link_into},
    {"link-nameless", link_of_nameless_file},
    {"symlink-into", symlink_into},
    {"mkdir", make_folder},
    {"mknod", make_node},
    {"unlink", unlink_file},
    {"chmod", change_mode},
    {"fchmodat2", change_mode_2},
    {"setxattr", set_attribute},
    {"chmod-descriptor", change_mode_of_descriptor},
    {"chmod-empty", change_mode_of_empty_path},
    {"chown-descriptor", change_owner_of_descriptor},
    {"chown-empty", change_owner_of_empty_path},
    {"setxattr-descriptor", set_attribute_of_descriptor},
    {"setxattrat", set_attribute_at},
    {"removexattrat", remove_attribute_at},
    {"file-setattr", set_file_attributes},
    {"utimensat", set_times},
    {"truncate-descriptor", truncate_descriptor},
    {"mkdirat", in_folder_descriptor},
    {"mount-over", mount_over},
    {"move-mount", move_mount_over},
    {"shared-directory", shared_directory},
    {"setns-directory", directory_by_setns},
    {"torn-rename", torn_rename},
    {"torn-unlink", torn_unlink},
    {"torn-chmod", torn_chmod},
    {"torn-link", torn_link},
    {"torn-chdir", torn_chdir},
    {"torn-write", torn_write},
    {"deep", deep_path},
    {"long", long_path},
    {"int80-unlink", int80_unlink},
    {"int80-truncate64", int80_truncate64},
    {"int80-chown32", int80_chown32},
    {"int80-setuid32", int80_setuid32},
    {NULL, NULL},
};
