/* Changes below FOLDER/kept through the links of /proc to what another process has, and by calls without a path. */
#include "actor.h"

static pid_t other;

/* Another process, which is in FOLDER/kept and has it open as number 7. Its links in /proc. */
static const char *of_other(const char *format, const char *rest)
{
	static char path[256];
	char byte;
	int ready[2];

	if (!other) {
		must(pipe(ready), "pipe");
		other = must(fork(), "fork");
		if (!other) {
			must(dup2(must(open(KEPT, O_PATH), "open"), 7), "dup2");
			must(chdir(KEPT), "chdir");
			write(ready[1], "x", 1);
			alarm(60);
			for (;;)
				pause();
		}
		must(read(ready[0], &byte, 1), "read");
	}
	snprintf(path, sizeof(path), format, other, other);
	strcat(path, rest);
	return path;
}

static void end_other(void)
{
	kill(other, SIGKILL);
	waitpid(other, NULL, 0);
}

static void mkdir_through(const char *format, const char *rest)
{
	must(mkdir(of_other(format, rest), 0700), "mkdir");
	end_other();
}

static void mkdir_directory(void) { mkdir_through("/proc/%d/cwd", "/file"); }
static void mkdir_root(void) { mkdir_through("/proc/%d/root", KEPT "/file"); }
static void mkdir_descriptor(void) { mkdir_through("/proc/%d/fd/7", "/file"); }
static void mkdir_task_directory(void) { mkdir_through("/proc/%d/task/%d/cwd", "/file"); }
static void mkdir_task_descriptor(void) { mkdir_through("/proc/%d/task/%d/fd/7", "/file"); }
static void mkdir_twice(void) { mkdir_through("/proc/self/root/proc/%d/cwd", "/file"); }
static void mkdir_dots(void) { mkdir_through("/proc/%d/cwd", "/../kept/file"); }

static void mkdir_linked(void)
{
	must(symlink(of_other("/proc/%d/cwd", ""), OUT "/folder"), "symlink");
	must(mkdir(OUT "/folder/file", 0700), "mkdir");
	end_other();
}

static void mkdir_below_descriptor(void)
{
	must(mkdirat(must(open(of_other("/proc/%d", ""), O_PATH), "open"), "cwd/file", 0700), "mkdirat");
	end_other();
}

static void mkdir_proc_elsewhere(void)
{
	own_mounts();
	must(mount("/proc", OUT, NULL, MS_BIND, NULL), "mount");
	mkdir_through(OUT "/%d/cwd", "/file");
}

static void mkdir_proc_elsewhere_self(void)
{
	own_mounts();
	must(mount("/proc", OUT, NULL, MS_BIND, NULL), "mount");
	must(chdir(KEPT), "chdir");
	must(mkdir(OUT "/self/cwd/file", 0700), "mkdir");
}

static void mkdir_process_elsewhere(void)
{
	own_mounts();
	can(mount(of_other("/proc/%d", ""), OUT, NULL, MS_BIND, NULL), "mount");
	must(mkdir(OUT "/cwd/file", 0700), "mkdir");
	end_other();
}

static void mkdir_own_ids(void)
{
	own_mounts();
	can(unshare(CLONE_NEWPID), "unshare");
	pid_t first = must(fork(), "fork");
	if (!first) {
		must(mount("proc", "/proc", "proc", 0, NULL), "mount");
		mkdir_directory();
		_exit(0);
	}
	wait_for(first);
}

static void rename_directory(void)
{
	make(OUT "/file", "evil\n");
	must(rename(OUT "/file", of_other("/proc/%d/cwd", "/file")), "rename");
	end_other();
}

static void link_directory(void)
{
	make(OUT "/file", "evil\n");
	must(link(OUT "/file", of_other("/proc/%d/cwd", "/file")), "link");
	end_other();
}

static void symlink_directory(void)
{
	must(symlink("/x", of_other("/proc/%d/cwd", "/file")), "symlink");
	end_other();
}

static void mknod_directory(void)
{
	must(mknod(of_other("/proc/%d/cwd", "/file"), S_IFREG | 0600, 0), "mknod");
	end_other();
}

static const char *file_of_other(void)
{
	make(KEPT "/file", "good\n");
	return of_other("/proc/%d/cwd", "/file");
}

static void unlink_directory(void)
{
	must(unlink(file_of_other()), "unlink");
	end_other();
}

static void chmod_directory(void)
{
	must(chmod(file_of_other(), 0777), "chmod");
	end_other();
}

static void chown_directory(void)
{
	must(chown(file_of_other(), 1, 1), "chown");
	end_other();
}

static void truncate_directory(void)
{
	must(truncate(file_of_other(), 0), "truncate");
	end_other();
}

static void setxattr_directory(void)
{
	can(setxattr(file_of_other(), "trusted.x", "", 0, 0), "setxattr");
	end_other();
}

static void utimensat_directory(void)
{
	must(utimensat(AT_FDCWD, file_of_other(), NULL, 0), "utimensat");
	end_other();
}

static void written_directory(void)
{
	/* which the rule does not see */
	must(mknod(KEPT "/file", S_IFREG | 0600, 0), "mknod");
	close(must(open(of_other("/proc/%d/cwd", "/file"), O_WRONLY), "open"));
	end_other();
}

/* A file that is open in another process */
static void chmod_file_of_other(void)
{
	make(KEPT "/file", "good\n");
	int file = must(open(KEPT "/file", O_PATH), "open");
	must(dup2(file, 8), "dup2");
	const char *path = of_other("/proc/%d/fd/8", "");
	close(8);
	close(file);
	must(chmod(path, 0777), "chmod");
	end_other();
}

/* Calls without a path */

static int kept_file(void) { return must(open(KEPT "/file", O_CREAT | O_RDWR, 0600), "open"); }

static void utimensat_null(void) { must(syscall(SYS_utimensat, kept_file(), NULL, NULL, 0), "utimensat"); }

static void futimesat_null(void)
{
#ifdef SYS_futimesat
	must(syscall(SYS_futimesat, kept_file(), NULL, NULL), "futimesat");
#else
	end(CANNOT, "futimesat");
#endif
}

static void int80_utimensat_null(void) { must(int80(320, kept_file(), 0, 0, 0, 0), "utimensat"); }

static void setxattrat_null(void)
{
	struct {
		uint64_t value;
		uint32_t size, flags;
	} args = {0};

	can(syscall(463 /* setxattrat */, kept_file(), NULL, AT_EMPTY_PATH, "trusted.x", &args, sizeof(args)),
	    "setxattrat");
}

static void removexattrat_null(void)
{
	int file = kept_file();

	can(fsetxattr(file, "trusted.x", "", 0, 0), "fsetxattr");
	can(syscall(466 /* removexattrat */, file, NULL, AT_EMPTY_PATH, "trusted.x"), "removexattrat");
}

static void file_setattr_null(void)
{
	uint64_t attributes[4] = {0};

	can(syscall(469 /* file_setattr */, kept_file(), NULL, attributes, sizeof(attributes), AT_EMPTY_PATH),
	    "file_setattr");
}

static void statx_null(void)
{
	char found[256];

	can(syscall(SYS_statx, must(open(SECRET, O_PATH), "open"), NULL, AT_EMPTY_PATH, 0x7ff, found), "statx");
}

static void statx_empty(void)
{
	char found[256];

	must(syscall(SYS_statx, must(open(SECRET, O_PATH), "open"), "", AT_EMPTY_PATH, 0x7ff, found), "statx");
}

static void handle_empty(void)
{
	struct {
		unsigned size;
		int type;
		char bytes[128];
	} handle = {128};
	int mount;

	can(syscall(SYS_name_to_handle_at, must(open(SECRET, O_RDONLY), "open"), "", &handle, &mount, AT_EMPTY_PATH),
	    "name_to_handle_at");
}

const struct way THROUGH[] = {
    {"mkdir-other-directory", mkdir_directory},
    {"mkdir-other-root", mkdir_root},
    {"mkdir-other-descriptor", mkdir_descriptor},
    {"mkdir-other-task-directory", mkdir_task_directory},
    {"mkdir-other-task-descriptor", mkdir_task_descriptor},
    {"mkdir-other-twice", mkdir_twice},
    {"mkdir-other-dots", mkdir_dots},
    {"mkdir-other-linked", mkdir_linked},
    {"mkdir-other-below-descriptor", mkdir_below_descriptor},
    {"mkdir-proc-elsewhere", mkdir_proc_elsewhere},
    {"mkdir-proc-elsewhere-self", mkdir_proc_elsewhere_self},
    {"mkdir-process-elsewhere", mkdir_process_elsewhere},
    {"mkdir-other-own-ids", mkdir_own_ids},
    {"rename-other-directory", rename_directory},
    {"link-other-directory", link_directory},
    {"symlink-other-directory", symlink_directory},
    {"mknod-other-directory", mknod_directory},
    {"unlink-other-directory", unlink_directory},
    {"chmod-other-directory", chmod_directory},
    {"chown-other-directory", chown_directory},
    {"truncate-other-directory", truncate_directory},
    {"setxattr-other-directory", setxattr_directory},
    {"utimensat-other-directory", utimensat_directory},
    {"written-other-directory", written_directory},
    {"chmod-other-file", chmod_file_of_other},
    {"utimensat-null", utimensat_null},
    {"futimesat-null", futimesat_null},
    {"int80-utimensat-null", int80_utimensat_null},
    {"setxattrat-null", setxattrat_null},
    {"removexattrat-null", removexattrat_null},
    {"file-setattr-null", file_setattr_null},
    {"statx-null", statx_null},
    {"statx-empty", statx_empty},
    {"handle-empty", handle_empty},
    {NULL, NULL},
};
