/* Ways by mounts: other paths to FOLDER/secret, and mounts over what others read. */
#include "actor.h"

#ifndef FSCONFIG_CMD_CREATE
#include <linux/mount.h>
#endif

static int new_file_system(const char *type, const char *key, const char *value)
{
	int context = can(syscall(SYS_fsopen, type, 0), "fsopen");

	if (key)
		can(syscall(SYS_fsconfig, context, FSCONFIG_SET_STRING, key, value, 0), "fsconfig");
	can(syscall(SYS_fsconfig, context, FSCONFIG_CMD_CREATE, NULL, NULL, 0), "fsconfig");
	return can(syscall(SYS_fsmount, context, 0, 0), "fsmount");
}

static void overlay(void)
{
	own_mounts();
	must(mkdir(OUT "/merged", 0755), "mkdir");
	can(mount("x", OUT "/merged", "overlay", 0, "lowerdir=" FOLDER ":/srv"), "overlay");
	look(open(OUT "/merged/secret", O_RDONLY));
}

static void overlay_of_descriptors(void)
{
	int mount = new_file_system("overlay", "lowerdir", FOLDER ":/srv");
	look(openat(mount, "secret", O_RDONLY));
}

static void cloned_with_attributes(void)
{
	static char attributes[32];
	int tree = can(syscall(467 /* open_tree_attr */, AT_FDCWD, FOLDER, 1 /* OPEN_TREE_CLONE */, attributes,
			       sizeof(attributes)),
		       "open_tree_attr");

	look(openat(tree, "secret", O_RDONLY));
}

static void bind_of_relative_path(void)
{
	own_mounts();
	make(OUT "/bound", "");
	must(chdir(FOLDER), "chdir");
	can(mount("secret", OUT "/bound", NULL, MS_BIND, NULL), "mount");
}

static void bind_in_chroot(void)
{
	own_mounts();
	make(OUT "/bound", "");
	can(chroot(FOLDER), "chroot");
	must(chdir("/"), "chdir");
	can(mount("/secret", "/out/bound", NULL, MS_BIND, NULL), "mount");
}

static void in_namespace_of_child(void)
{
	char path[512], byte;
	int ends[2];

	must(pipe(ends), "pipe");
	must(mkdir(OUT "/bound", 0755), "mkdir");
	pid_t child = must(fork(), "fork");
	if (!child) {
		own_mounts();
		can(mount(FOLDER, OUT "/bound", NULL, MS_BIND, NULL), "mount");
		must(write(ends[1], "x", 1), "write");
		pause();
	}
	must(read(ends[0], &byte, 1), "read");
	snprintf(path, sizeof(path), "/proc/%d/root%s", child, OUT "/bound/secret");
	look(open(path, O_RDONLY));
	kill(child, SIGKILL);
	wait(NULL);
}

static void after_umount(void)
{
	own_mounts();
	must(mkdir(OUT "/bound", 0755), "mkdir");
	can(mount(FOLDER, OUT "/bound", NULL, MS_BIND, NULL), "mount");
	must(chdir(OUT "/bound"), "chdir");
	must(umount2(OUT "/bound", MNT_DETACH), "umount");
	look(open("secret", O_RDONLY));
}

static void program_of_new_file_system(void)
{
	int mount = new_file_system("tmpfs", NULL, NULL);
	int program = must(openat(mount, "x", O_CREAT | O_WRONLY, 0755), "open");

	copy(CANARY, program);
	close(program);
	can(syscall(SYS_execveat, mount, "x", (char *[]){"x", NULL}, environ, 0), "execveat");
}

static void over_relative_path(void)
{
	make(OUT "/file", "evil\n");
	make(KEPT "/file", "good\n");
	own_mounts();
	must(chdir(KEPT), "chdir");
	can(mount(OUT "/file", "file", NULL, MS_BIND, NULL), "mount");
}

static int cloned(const char *path)
{
	return can(syscall(SYS_open_tree, AT_FDCWD, path, 1 /* OPEN_TREE_CLONE */), "open_tree");
}

static void move_to_descriptor(void)
{
	make(OUT "/file", "evil\n");
	make(KEPT "/file", "good\n");
	own_mounts();
	int folder = must(open(KEPT, O_PATH), "open");
	can(syscall(SYS_move_mount, cloned(OUT "/file"), "", folder, "file", 4 /* MOVE_MOUNT_F_EMPTY_PATH */),
	    "move_mount");
}

static void move_onto_descriptor(void)
{
	make(OUT "/file", "evil\n");
	make(KEPT "/file", "good\n");
	own_mounts();
	int target = must(open(KEPT "/file", O_PATH), "open");
	can(syscall(SYS_move_mount, cloned(OUT "/file"), "", target, "",
		    4 | 0x40 /* MOVE_MOUNT_F_EMPTY_PATH, MOVE_MOUNT_T_EMPTY_PATH */),
	    "move_mount");
}

static void move_of_relative_path(void)
{
	make(OUT "/file", "evil\n");
	make(KEPT "/file", "good\n");
	own_mounts();
	must(chdir(KEPT), "chdir");
	can(syscall(SYS_move_mount, cloned(OUT "/file"), "", AT_FDCWD, "file", 4), "move_mount");
}

static void moved_mount(void)
{
	own_mounts();
	must(mkdir(KEPT "/a", 0755), "mkdir");
	must(mkdir(OUT "/b", 0755), "mkdir");
	can(mount("tmpfs", OUT "/b", "tmpfs", 0, NULL), "mount");
	can(mount(OUT "/b", KEPT "/a", NULL, MS_MOVE, NULL), "mount");
}

static void over_file_of_etc(void)
{
	own_mounts();
	can(mount(INNOCENT, "/etc/passwd", NULL, MS_BIND, NULL), "mount");
}

static void over_etc_relatively(void)
{
	own_mounts();
	must(chdir("/etc"), "chdir");
	can(mount("tmpfs", ".", "tmpfs", 0, NULL), "mount");
}

static void over_etc_by_descriptor(void)
{
	own_mounts();
	int etc = must(open("/etc", O_PATH), "open");
	can(syscall(SYS_move_mount, new_file_system("tmpfs", NULL, NULL), "", etc, "", 4 | 0x40), "move_mount");
}

static void over_etc_in_folder(void)
{
	own_mounts();
	int etc = must(open("/etc", O_PATH), "open");
	can(syscall(SYS_move_mount, cloned(INNOCENT), "", etc, "passwd", 4), "move_mount");
}

static void over_etc_moved(void)
{
	own_mounts();
	can(mount("tmpfs", OUT, "tmpfs", 0, NULL), "mount");
	can(mount(OUT, "/etc", NULL, MS_MOVE, NULL), "mount");
}

const struct way MOUNTS[] = {
    {"overlay", overlay},
    {"overlay-descriptors", overlay_of_descriptors},
    {"cloned-with-attributes", cloned_with_attributes},
    {"bind-relative", bind_of_relative_path},
    {"bind-chroot", bind_in_chroot},
    {"namespace-of-child-read", in_namespace_of_child},
    {"after-umount", after_umount},
    {"run-new-file-system", program_of_new_file_system},
    {"mount-over-relative", over_relative_path},
    {"move-to-descriptor", move_to_descriptor},
    {"move-onto-descriptor", move_onto_descriptor},
    {"move-relative", move_of_relative_path},
    {"moved-mount", moved_mount},
    {"etc-file-mounted", over_file_of_etc},
    {"etc-mounted-relative", over_etc_relatively},
    {"etc-mounted-descriptor", over_etc_by_descriptor},
    {"etc-file-moved", over_etc_in_folder},
    {"etc-moved", over_etc_moved},
    {NULL, NULL},
};
