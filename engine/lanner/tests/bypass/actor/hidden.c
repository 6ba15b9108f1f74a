/* Ways by memory and names that a monitor cannot read well: memory that no other process may read, memory that is gone
 * when the call returns, directories that move, paths with more letters than names. */
#include "actor.h"

#define FD_SECRET 447 /* memfd_secret */

/* Whether the kernel has such memory. One that has none says the same as a driver that allows none. */
static int has_secret_memory(void)
{
	char enabled = 'N';
	int fd = open("/sys/module/secretmem/parameters/enable", O_RDONLY);

	return fd >= 0 && read(fd, &enabled, 1) == 1 && enabled == 'Y';
}

/* Memory that the kernel shows to no other process. */
static char *secret_memory(const char *text)
{
	int fd = syscall(FD_SECRET, 0);

	if (fd < 0)
		end(errno == ENOSYS && has_secret_memory() ? REFUSED : CANNOT, "memfd_secret");

	can(ftruncate(fd, 4096), "ftruncate");
	char *memory = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (memory == MAP_FAILED)
		end(CANNOT, "mmap");
	return strcpy(memory, text);
}

static void secret_open(void) { look(open(secret_memory(SECRET), O_RDONLY)); }

static void secret_unlink(void)
{
	make(KEPT "/file", "good\n");
	must(unlink(secret_memory(KEPT "/file")), "unlink");
}

static void secret_run(void)
{
	char *path = secret_memory(CANARY);

	execve(path, (char *[]){path, NULL}, environ);
	end(1, "execve");
}

static void secret_connect(void)
{
	struct sockaddr_in address = {
	    .sin_family = AF_INET, .sin_port = htons(PORT), .sin_addr = {htonl(INADDR_LOOPBACK)}};
	char *memory = memcpy(secret_memory(""), &address, sizeof(address));

	must(connect(can(socket(AF_INET, SOCK_STREAM, 0), "socket"), (void *)memory, sizeof(address)), "connect");
}

static void secret_write(void)
{
	int file = must(open(OUT "/file", O_CREAT | O_WRONLY, 0600), "open");

	must(write(file, secret_memory("EVIL-DATA"), 9), "write");
}

/* Puts bytes at the end of a page, behind which there is none. */
static char *at_edge(const void *bytes, size_t length)
{
	char *pages = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	must(munmap(pages + 4096, 4096), "munmap");
	return memcpy(pages + 4096 - length, bytes, length);
}

static void edge_open(void) { look(open(at_edge(SECRET, sizeof(SECRET)), O_RDONLY)); }

static void edge_unlink(void)
{
	make(KEPT "/file", "good\n");
	must(unlink(at_edge(KEPT "/file", sizeof(KEPT "/file"))), "unlink");
}

static void edge_run(void)
{
	char *words[] = {at_edge("canary", 7), NULL};

	execve(at_edge(CANARY, sizeof(CANARY)), (char **)at_edge(words, sizeof(words)), environ);
	end(1, "execve");
}

static void edge_connect(void)
{
	struct sockaddr_in address = {
	    .sin_family = AF_INET, .sin_port = htons(PORT), .sin_addr = {htonl(INADDR_LOOPBACK)}};

	must(connect(can(socket(AF_INET, SOCK_STREAM, 0), "socket"), (void *)at_edge(&address, sizeof(address)),
		     sizeof(address)),
	     "connect");
}

static void edge_send(void)
{
	struct sockaddr_in address = {
	    .sin_family = AF_INET, .sin_port = htons(PORT), .sin_addr = {htonl(INADDR_LOOPBACK)}};
	struct iovec data = {at_edge("hi", 2), 2};
	struct msghdr message = {.msg_name = at_edge(&address, sizeof(address)),
				 .msg_namelen = sizeof(address),
				 .msg_iov = (void *)at_edge(&data, sizeof(data)),
				 .msg_iovlen = 1};

	must(sendmsg(can(socket(AF_INET, SOCK_DGRAM, 0), "socket"), (void *)at_edge(&message, sizeof(message)), 0),
	     "sendmsg");
}

/* More is asked for than there is: the kernel refuses it, or writes a part. */
static void edge_write(void)
{
	int ends[2];

	must(pipe(ends), "pipe");
	write(ends[1], at_edge("EVIL-DATA", 9), 4096);
}

static void edge_path_is_moved(void)
{
	char *path = at_edge(SECRET, sizeof(SECRET));
	char *page = (char *)((uintptr_t)path & ~4095UL);
	char *other = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (mremap(page, 4096, 4096, MREMAP_MAYMOVE | MREMAP_FIXED, other) == MAP_FAILED)
		end(1, "mremap");
	look(open(other + (path - page), O_RDONLY));
}

static void forbid(void *page) { mprotect(page, 4096, PROT_NONE); }

/* As `torn`, but the first page cannot be read any more. The kernel reads eight bytes at once, none of them in two
 * pages. */
static char *closed(const char *path)
{
	char *pages = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	size_t split = sizeof(FOLDER) - 1, whole = (split + 7) & ~7UL;
	char *first = pages + 4096 - whole;

	memset(first, '/', whole - split);
	memcpy(first + whole - split, path, split);
	late_page(pages + 4096, path + split, forbid, pages);
	return first;
}

static void closed_open(void) { look(open(closed(SECRET), O_RDONLY)); }

static void closed_unlink(void)
{
	make(KEPT "/file", "good\n");
	must(unlink(closed(KEPT "/file")), "unlink");
}

static void closed_run(void)
{
	execve(closed(CANARY), (char *[]){"canary", NULL}, environ);
	end(1, "execve");
}

/* The working directory gets another name, and is then the one that counts. */
static void moved_directory(void)
{
	must(mkdir(OUT "/a", 0755), "mkdir");
	must(chdir(OUT "/a"), "chdir");
	make("file", "good\n");
	must(rename(OUT "/a", KEPT "/a"), "rename");
}

static void moved_open(void)
{
	moved_directory();
	must(open("file", O_WRONLY), "open");
}

static void moved_unlink(void)
{
	moved_directory();
	must(unlink("file"), "unlink");
}

static void moved_descriptor_unlink(void)
{
	must(mkdir(OUT "/a", 0755), "mkdir");
	int folder = must(open(OUT "/a", O_PATH), "open");
	make(OUT "/a/file", "good\n");
	must(rename(OUT "/a", KEPT "/a"), "rename");
	must(unlinkat(folder, "file", 0), "unlinkat");
}

/* Another process gives the directory another name. */
static void moved_by_another(void)
{
	must(mkdir(OUT "/a", 0755), "mkdir");
	must(chdir(OUT "/a"), "chdir");
	make("file", "good\n");
	pid_t child = must(fork(), "fork");
	if (!child) {
		must(rename(OUT "/a", KEPT "/a"), "rename");
		_exit(0);
	}
	wait_for(child);
	must(unlink("file"), "unlink");
}

static char *padded(const char *path)
{
	static char all[4096];
	size_t left = sizeof(all) - strlen(path) - 1;

	for (size_t i = 0; i + 2 <= left - left % 2; i += 2)
		memcpy(all + i, "/.", 2);
	strcpy(all + left - left % 2, path);
	return all;
}

static void padded_open(void) { look(open(padded(SECRET), O_RDONLY)); }

static void padded_unlink(void)
{
	make(KEPT "/file", "good\n");
	must(unlink(padded(KEPT "/file")), "unlink");
}

static void padded_run(void)
{
	execve(padded(CANARY), (char *[]){"canary", NULL}, environ);
	end(1, "execve");
}

static void strange_name(void)
{
	make(KEPT "/\xff\n\x1b[31m\xc3", "good\n");
	must(unlink(KEPT "/\xff\n\x1b[31m\xc3"), "unlink");
}

static void deep_unlink(void)
{
	must(chdir(KEPT), "chdir");
	for (int i = 0; i < 130; i++) {
		must(mkdir("d", 0755), "mkdir");
		must(chdir("d"), "chdir");
	}
	make("leaf", "good\n");
	must(unlink("leaf"), "unlink");
}

static void strange_comm(void)
{
	must(prctl(PR_SET_NAME, "s\n\x1b[2J\xff"), "prctl");
	look(open(SECRET, O_RDONLY));
}

static void thread_root(void) { look(open("/proc/thread-self/root" SECRET, O_RDONLY)); }

static void dev_fd(void)
{
	char path[64];

	snprintf(path, sizeof(path), "/dev/fd/%ld", must(open(SECRET, O_PATH), "open"));
	look(open(path, O_RDONLY));
}

static void write_again(void)
{
	char path[64];

	make(KEPT "/file", "good\n");
	snprintf(path, sizeof(path), "/proc/self/fd/%ld", must(open(KEPT "/file", O_RDONLY), "open"));
	must(open(path, O_WRONLY), "open");
}

static void vfork_open(void)
{
	pid_t child = vfork();

	if (!child) {
		int fd = open(SECRET, O_RDONLY);
		_exit(fd < 0);
	}
	wait_for(child);
}

static char stack[65536];

static int opens(void *unused)
{
	(void)unused;
	int fd = open(SECRET, O_RDONLY);
	return fd < 0;
}

static void clone_vm(void)
{
	wait_for(must(clone(opens, stack + sizeof(stack), CLONE_VM | CLONE_FILES | CLONE_FS | SIGCHLD, NULL), "clone"));
}

static void *opens_late(void *leader)
{
	pthread_join(*(pthread_t *)leader, NULL);
	look(open(SECRET, O_RDONLY));
	exit(0);
}

static void leader_gone(void)
{
	static pthread_t leader;
	pthread_t thread;

	leader = pthread_self();
	pthread_create(&thread, NULL, opens_late, &leader);
	pthread_exit(NULL);
}

static void killed_after(void)
{
	pid_t child = must(fork(), "fork");

	if (!child) {
		int fd = open(SECRET, O_RDONLY);
		syscall(SYS_kill, getpid(), SIGKILL);
		_exit(fd);
	}
	must(waitpid(child, NULL, 0), "waitpid");
}

const struct way HIDDEN[] = {
    {"secret-open", secret_open},
    {"secret-unlink", secret_unlink},
    {"secret-run", secret_run},
    {"secret-connect", secret_connect},
    {"secret-write", secret_write},
    {"edge-open", edge_open},
    {"edge-unlink", edge_unlink},
    {"edge-run", edge_run},
    {"edge-connect", edge_connect},
    {"edge-send", edge_send},
    {"edge-write", edge_write},
    {"edge-moved", edge_path_is_moved},
    {"closed-open", closed_open},
    {"closed-unlink", closed_unlink},
    {"closed-run", closed_run},
    {"moved-open", moved_open},
    {"moved-unlink", moved_unlink},
    {"moved-descriptor-unlink", moved_descriptor_unlink},
    {"moved-by-another", moved_by_another},
    {"padded-open", padded_open},
    {"padded-unlink", padded_unlink},
    {"padded-run", padded_run},
    {"strange-name", strange_name},
    {"deep-unlink", deep_unlink},
    {"strange-comm", strange_comm},
    {"thread-root", thread_root},
    {"dev-fd", dev_fd},
    {"write-again", write_again},
    {"vfork-open", vfork_open},
    {"clone-vm", clone_vm},
    {"leader-gone", leader_gone},
    {"killed-after", killed_after},
    {NULL, NULL},
};
