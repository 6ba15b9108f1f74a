/* Memory that comes late, or never: its pages are those of a file system that is a process. */
#include "scenes.h"

#include <fcntl.h>
#include <linux/fuse.h>
#include <pthread.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/uio.h>

/*
 * A file system of this process's own, on a folder (fuse(4)): it has one file, `page`, whose content never comes.
 */
static void answer(int device, uint64_t unique, int error, const void *data, size_t len)
{
	struct fuse_out_header header = {sizeof header + len, -error, unique};
	struct iovec parts[] = {{&header, sizeof header}, {(void *)data, len}};
	writev(device, parts, 2);
}

static void serve(int device)
{
	static char request[1 << 17];
	struct fuse_in_header *in = (void *)request;

	while (read(device, request, sizeof request) > 0) {
		struct fuse_init_out init = {.major = FUSE_KERNEL_VERSION, .minor = 31, .max_write = 4096};
		struct fuse_entry_out entry = {.nodeid = 2, .attr = {.ino = 2, .size = 4096, .mode = S_IFREG | 0755}};
		struct fuse_attr_out attr = {.attr = {.ino = in->nodeid, .size = 4096, .mode = S_IFREG | 0755}};
		struct fuse_open_out open = {0};

		entry.attr.nlink = attr.attr.nlink = 1;
		if (in->nodeid == FUSE_ROOT_ID)
			attr.attr.mode = S_IFDIR | 0755;
		switch (in->opcode) {
		case FUSE_INIT:
			answer(device, in->unique, 0, &init, sizeof init);
			break;
		case FUSE_LOOKUP:
			answer(device, in->unique, 0, &entry, sizeof entry);
			break;
		case FUSE_GETATTR:
			answer(device, in->unique, 0, &attr, sizeof attr);
			break;
		case FUSE_OPEN:
			answer(device, in->unique, 0, &open, sizeof open);
			break;
		case FUSE_READ:
			break;
		case FUSE_FORGET:
		case FUSE_BATCH_FORGET:
			break;
		default:
			answer(device, in->unique, ENOSYS, NULL, 0);
		}
	}
}

/* Mounts such a file system, and maps its file. Exit code 63: this user may not. `*server` is the process that ends it.
 */
static char *page_that_never_comes(pid_t *server)
{
	char folder[] = "/tmp/lanner-fuse-XXXXXX", path[64], options[128];
	int device = open("/dev/fuse", O_RDWR);

	if (device < 0 || unshare(CLONE_NEWNS) || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL))
		exit(63);
	CHECK(mkdtemp(folder));
	snprintf(options, sizeof options, "fd=%d,rootmode=40000,user_id=0,group_id=0", device);
	if (mount("late", folder, "fuse.late", MS_NOSUID, options)) {
		rmdir(folder);
		exit(63);
	}
	*server = fork();
	if (!*server) {
		serve(device);
		_exit(0);
	}
	close(device);
	snprintf(path, sizeof path, "%s/page", folder);
	int file = open(path, O_RDONLY);
	CHECK(file >= 0);
	char *page = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, file, 0);
	CHECK(page != MAP_FAILED);
	CHECK(!umount2(folder, MNT_DETACH) && !rmdir(folder));
	return page;
}

/* Gives the kernel a page of a file system that never brings it. */
void late_memory(int count)
{
	pid_t server;
	char *page = page_that_never_comes(&server);

	/* this descriptor is none: the kernel does not look at the page */
	CHECK(write(-1, page, 16) == -1 && errno == EBADF);
	/* another process has nothing to do with it */
	pid_t child = fork();
	if (!child) {
		char *words[] = {"true", NULL};
		execv("/bin/true", words);
		_exit(1);
	}
	CHECK(status_of(child) == 0);
	kill(server, SIGKILL);
	status_of(server);
}

static void *reads_itself(void *page)
{
	char byte;
	int memory = open("/proc/self/mem", O_RDONLY);

	/* holds the lock of this process's memory while it waits for the page */
	pread(memory, &byte, 1, (off_t)(uintptr_t)page);
	return NULL;
}

static volatile int is_locked;

static void *wants_memory(void *unused)
{
	while (!is_locked)
		nap(10);
	mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	return unused;
}

/* Nobody can read this process's memory while two threads of it wait, each for something that does not come. */
void locked_memory(int count)
{
	static char data[16] = "any data";
	pthread_t threads[2];
	pid_t server;
	char *page = page_that_never_comes(&server);

	/* a new thread needs memory, so this one comes first */
	CHECK(!pthread_create(&threads[1], NULL, wants_memory, NULL));
	CHECK(!pthread_create(&threads[0], NULL, reads_itself, page));
	nap(300);
	is_locked = 1;
	nap(300);
	CHECK(syscall(SYS_write, -1, data, 16) == -1 && errno == EBADF);
	kill(server, SIGKILL);
	status_of(server);
}
