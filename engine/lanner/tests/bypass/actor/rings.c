/* The same through io_uring, by raw calls. */
#include "actor.h"

static struct {
	int fd, polled;
	unsigned *tail, *mask, *array, *flags, *done_head, *done_tail, *done_mask;
	struct io_uring_sqe *requests;
	struct io_uring_cqe *results;
} ring;

static char *map(size_t length, off_t offset)
{
	void *memory = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, ring.fd, offset);

	if (memory == MAP_FAILED)
		end(1, "mmap");
	return memory;
}

static void make_ring(unsigned flags)
{
	struct io_uring_params set = {.flags = flags, .sq_thread_idle = 2000};

	ring.fd = can(syscall(SYS_io_uring_setup, 8, &set), "io_uring_setup");
	ring.polled = flags & IORING_SETUP_SQPOLL;
	char *submit = map(set.sq_off.array + set.sq_entries * sizeof(unsigned), IORING_OFF_SQ_RING);
	char *done = map(set.cq_off.cqes + set.cq_entries * sizeof(struct io_uring_cqe), IORING_OFF_CQ_RING);
	ring.requests = (void *)map(set.sq_entries * sizeof(struct io_uring_sqe), IORING_OFF_SQES);
	ring.tail = (void *)(submit + set.sq_off.tail);
	ring.mask = (void *)(submit + set.sq_off.ring_mask);
	ring.array = (void *)(submit + set.sq_off.array);
	ring.flags = (void *)(submit + set.sq_off.flags);
	ring.done_head = (void *)(done + set.cq_off.head);
	ring.done_tail = (void *)(done + set.cq_off.tail);
	ring.done_mask = (void *)(done + set.cq_off.ring_mask);
	ring.results = (void *)(done + set.cq_off.cqes);
}

static int result_of(struct io_uring_sqe request)
{
	if (!ring.fd)
		make_ring(0);
	unsigned index = *ring.tail & *ring.mask;
	ring.requests[index] = request;
	ring.array[index] = index;
	__atomic_store_n(ring.tail, *ring.tail + 1, __ATOMIC_RELEASE);
	if (!ring.polled)
		must(syscall(SYS_io_uring_enter, ring.fd, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0), "io_uring_enter");
	while (__atomic_load_n(ring.done_tail, __ATOMIC_ACQUIRE) == *ring.done_head) {
		if (__atomic_load_n(ring.flags, __ATOMIC_ACQUIRE) & IORING_SQ_NEED_WAKEUP)
			syscall(SYS_io_uring_enter, ring.fd, 1, 0, IORING_ENTER_SQ_WAKEUP, NULL, 0);
		usleep(100);
	}
	int result = ring.results[*ring.done_head & *ring.done_mask].res;
	__atomic_store_n(ring.done_head, *ring.done_head + 1, __ATOMIC_RELEASE);
	return result;
}

static int done(struct io_uring_sqe request, const char *what)
{
	int result = result_of(request);

	if (result < 0) {
		errno = -result;
		end(result == -EINVAL ? CANNOT : 1, what);
	}
	return result;
}

#define REQUEST(...) ((struct io_uring_sqe){__VA_ARGS__})
#define ADDRESS(pointer) ((uintptr_t)(pointer))

static int opened(const char *path, int flags, int mode)
{
	return done(REQUEST(.opcode = IORING_OP_OPENAT, .fd = AT_FDCWD, .addr = ADDRESS(path), .len = mode,
			    .open_flags = flags),
		    "openat");
}

static void ring_read(void)
{
	static char text[16];
	int fd = opened(SECRET, O_RDONLY, 0);

	done(REQUEST(.opcode = IORING_OP_READ, .fd = fd, .addr = ADDRESS(text), .len = 16), "read");
}

static void ring_poll(void)
{
	make_ring(IORING_SETUP_SQPOLL);
	ring_read();
}

static void ring_direct(void)
{
	int files[4] = {-1, -1, -1, -1};

	make_ring(0);
	can(syscall(SYS_io_uring_register, ring.fd, IORING_REGISTER_FILES, files, 4), "io_uring_register");
	done(REQUEST(.opcode = IORING_OP_OPENAT, .fd = AT_FDCWD, .addr = ADDRESS(SECRET), .file_index = 1), "openat");
}

/* The number of a file that is known is closed and opened again behind the state's back. */
static void ring_stale(void)
{
	int fd = must(open(INNOCENT, O_RDONLY), "open");

	make_ring(0);
	done(REQUEST(.opcode = IORING_OP_CLOSE, .fd = fd), "close");
	if (opened(SECRET, O_RDONLY, 0) != fd)
		end(1, "the number");
	look(fd);
}

static void ring_write(void)
{
	int fd = opened(KEPT "/file", O_WRONLY | O_CREAT, 0600);

	done(REQUEST(.opcode = IORING_OP_WRITE, .fd = fd, .addr = ADDRESS("evil\n"), .len = 5), "write");
}

static void ring_rename(void)
{
	make(OUT "/file", "evil\n");
	done(REQUEST(.opcode = IORING_OP_RENAMEAT, .fd = AT_FDCWD, .addr = ADDRESS(OUT "/file"), .len = AT_FDCWD,
		     .off = ADDRESS(KEPT "/file")),
	     "renameat");
}

static void ring_mkdir(void)
{
	done(REQUEST(.opcode = IORING_OP_MKDIRAT, .fd = AT_FDCWD, .addr = ADDRESS(KEPT "/folder"), .len = 0700),
	     "mkdirat");
}

static void ring_unlink(void)
{
	make(KEPT "/file", "good\n");
	done(REQUEST(.opcode = IORING_OP_UNLINKAT, .fd = AT_FDCWD, .addr = ADDRESS(KEPT "/file")), "unlinkat");
}

static void ring_link(void)
{
	done(REQUEST(.opcode = IORING_OP_LINKAT, .fd = AT_FDCWD, .addr = ADDRESS(SECRET), .len = AT_FDCWD,
		     .off = ADDRESS(KEPT "/file")),
	     "linkat");
}

static void ring_symlink(void)
{
	done(REQUEST(.opcode = IORING_OP_SYMLINKAT, .fd = AT_FDCWD, .addr = ADDRESS(SECRET),
		     .off = ADDRESS(KEPT "/file")),
	     "symlinkat");
}

static void ring_connect(void)
{
	struct sockaddr_in address = {
	    .sin_family = AF_INET, .sin_port = htons(PORT), .sin_addr = {htonl(INADDR_LOOPBACK)}};
	int fd = can(socket(AF_INET, SOCK_STREAM, 0), "socket");

	done(REQUEST(.opcode = IORING_OP_CONNECT, .fd = fd, .addr = ADDRESS(&address), .off = sizeof(address)),
	     "connect");
}

/* Puts requests into the ring at once. The result is that of the last one. */
static int done_all(struct io_uring_sqe *requests, int count)
{
	int result = 0;

	if (!ring.fd)
		make_ring(0);
	for (int i = 0; i < count; i++) {
		unsigned index = *ring.tail & *ring.mask;
		ring.requests[index] = requests[i];
		ring.array[index] = index;
		__atomic_store_n(ring.tail, *ring.tail + 1, __ATOMIC_RELEASE);
	}
	must(syscall(SYS_io_uring_enter, ring.fd, count, count, IORING_ENTER_GETEVENTS, NULL, 0), "io_uring_enter");
	for (int i = 0; i < count; i++) {
		result = ring.results[*ring.done_head & *ring.done_mask].res;
		__atomic_store_n(ring.done_head, *ring.done_head + 1, __ATOMIC_RELEASE);
	}
	return result;
}

static void ring_linked(void)
{
	struct io_uring_sqe requests[2] = {
	    {.opcode = IORING_OP_NOP, .flags = IOSQE_IO_LINK},
	    {.opcode = IORING_OP_OPENAT, .fd = AT_FDCWD, .addr = ADDRESS(SECRET), .flags = IOSQE_ASYNC}};

	must(done_all(requests, 2), "openat");
}

static void ring_async(void)
{
	done(REQUEST(.opcode = IORING_OP_OPENAT, .fd = AT_FDCWD, .addr = ADDRESS(SECRET), .flags = IOSQE_ASYNC),
	     "openat");
}

static void ring_drained(void)
{
	struct io_uring_sqe requests[2] = {
	    {.opcode = IORING_OP_NOP},
	    {.opcode = IORING_OP_OPENAT, .fd = AT_FDCWD, .addr = ADDRESS(SECRET), .flags = IOSQE_IO_DRAIN}};

	must(done_all(requests, 2), "openat");
}

static void ring_openat2(void)
{
	struct open_how how = {.flags = O_RDONLY};

	done(REQUEST(.opcode = IORING_OP_OPENAT2, .fd = AT_FDCWD, .addr = ADDRESS(SECRET), .len = sizeof(how),
		     .off = ADDRESS(&how)),
	     "openat2");
}

/* Requests of 128 bytes, and a ring without an array of indices. */
static void ring_of_other_form(unsigned flags, int size)
{
	struct io_uring_params set = {.flags = flags};

	ring.fd = can(syscall(SYS_io_uring_setup, 8, &set), "io_uring_setup");
	char *submit = map(set.cq_off.cqes + set.cq_entries * sizeof(struct io_uring_cqe), IORING_OFF_SQ_RING);
	struct io_uring_sqe *request = (void *)map(set.sq_entries * size, IORING_OFF_SQES);
	*request = REQUEST(.opcode = IORING_OP_OPENAT, .fd = AT_FDCWD, .addr = ADDRESS(SECRET));
	__atomic_store_n((unsigned *)(submit + set.sq_off.tail), 1, __ATOMIC_RELEASE);
	must(syscall(SYS_io_uring_enter, ring.fd, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0), "io_uring_enter");
}

static void ring_wide(void) { ring_of_other_form(1U << 10 /* SQE128 */, 128); }

static void ring_without_array(void) { ring_of_other_form(1U << 16 /* NO_SQARRAY */, 64); }

static void ring_of_parent(void)
{
	make_ring(0);
	pid_t child = must(fork(), "fork");
	if (!child) {
		opened(SECRET, O_RDONLY, 0);
		_exit(0);
	}
	wait_for(child);
}

static void ring_relative(void)
{
	int folder = must(open(FOLDER, O_PATH), "open");

	done(REQUEST(.opcode = IORING_OP_OPENAT, .fd = folder, .addr = ADDRESS("secret")), "openat");
}

static void ring_working_directory(void)
{
	must(chdir(FOLDER), "chdir");
	opened("secret", O_RDONLY, 0);
}

static void ring_deferred(void)
{
	make_ring(IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN);
	opened(SECRET, O_RDONLY, 0);
}

static void ring_registered(void)
{
	struct io_uring_rsrc_update update = {.offset = -1U};

	make_ring(0);
	update.data = ring.fd;
	can(syscall(SYS_io_uring_register, ring.fd, 20 /* IORING_REGISTER_RING_FDS */, &update, 1),
	    "io_uring_register");
	unsigned index = *ring.tail & *ring.mask;
	ring.requests[index] = REQUEST(.opcode = IORING_OP_OPENAT, .fd = AT_FDCWD, .addr = ADDRESS(SECRET));
	ring.array[index] = index;
	__atomic_store_n(ring.tail, *ring.tail + 1, __ATOMIC_RELEASE);
	must(syscall(SYS_io_uring_enter, update.offset, 1, 1, IORING_ENTER_GETEVENTS | 16 /* REGISTERED_RING */, NULL,
		     0),
	     "io_uring_enter");
}

static void ring_installed(void)
{
	int files[4] = {-1, -1, -1, -1};

	make_ring(0);
	can(syscall(SYS_io_uring_register, ring.fd, IORING_REGISTER_FILES, files, 4), "io_uring_register");
	done(REQUEST(.opcode = IORING_OP_OPENAT, .fd = AT_FDCWD, .addr = ADDRESS(SECRET), .file_index = 1), "openat");
	look(done(REQUEST(.opcode = 54 /* FIXED_FD_INSTALL */, .fd = 0, .flags = IOSQE_FIXED_FILE), "install"));
}

static void ring_setxattr(void)
{
	uint32_t capabilities[5] = {0x02000001, 1 << 7};

	make(OUT "/file", "");
	done(REQUEST(.opcode = IORING_OP_SETXATTR, .addr3 = ADDRESS(OUT "/file"),
		     .addr = ADDRESS("security.capability"), .off = ADDRESS(capabilities), .len = 20),
	     "setxattr");
}

static void ring_fsetxattr(void)
{
	uint32_t capabilities[5] = {0x02000001, 1 << 7};
	int file = must(open(OUT "/file", O_CREAT | O_WRONLY, 0600), "open");

	done(REQUEST(.opcode = IORING_OP_FSETXATTR, .fd = file, .addr = ADDRESS("security.capability"),
		     .off = ADDRESS(capabilities), .len = 20),
	     "fsetxattr");
}

static void ring_setid(void) { opened(OUT "/file", O_WRONLY | O_CREAT, 04755); }

static void ring_memory(void) { opened("/proc/self/mem", O_RDWR, 0); }

static void ring_comm(void) { opened("/proc/self/comm", O_WRONLY, 0); }

static void own_log(void)
{
	own_mounts();
	can(mount("tmpfs", "/var/log", "tmpfs", 0, NULL), "mount");
	must(mknod("/var/log/auth.log", S_IFREG | 0644, 0), "mknod");
}

static void ring_log_truncated(void)
{
	own_log();
	int file = must(open("/var/log/auth.log", O_WRONLY), "open");
	done(REQUEST(.opcode = 55 /* FTRUNCATE */, .fd = file), "ftruncate");
}

static void ring_log_opened(void)
{
	own_log();
	opened("/var/log/auth.log", O_WRONLY | O_TRUNC, 0);
}

static void ring_log_removed(void)
{
	own_log();
	done(REQUEST(.opcode = IORING_OP_UNLINKAT, .fd = AT_FDCWD, .addr = ADDRESS("/var/log/auth.log")), "unlinkat");
}

static void ring_connect_direct(void)
{
	struct sockaddr_in address = {
	    .sin_family = AF_INET, .sin_port = htons(PORT), .sin_addr = {htonl(INADDR_LOOPBACK)}};
	int files[4] = {-1, -1, -1, -1};

	make_ring(0);
	can(syscall(SYS_io_uring_register, ring.fd, IORING_REGISTER_FILES, files, 4), "io_uring_register");
	done(REQUEST(.opcode = IORING_OP_SOCKET, .fd = AF_INET, .off = SOCK_STREAM, .file_index = 1), "socket");
	done(REQUEST(.opcode = IORING_OP_CONNECT, .fd = 0, .flags = IOSQE_FIXED_FILE, .addr = ADDRESS(&address),
		     .off = sizeof(address)),
	     "connect");
}

static void ring_sendmsg(void)
{
	struct sockaddr_in address = {
	    .sin_family = AF_INET, .sin_port = htons(PORT), .sin_addr = {htonl(INADDR_LOOPBACK)}};
	struct iovec data = {"hi\n", 3};
	struct msghdr message = {
	    .msg_name = &address, .msg_namelen = sizeof(address), .msg_iov = &data, .msg_iovlen = 1};
	int fd = can(socket(AF_INET, SOCK_DGRAM, 0), "socket");

	done(REQUEST(.opcode = IORING_OP_SENDMSG, .fd = fd, .addr = ADDRESS(&message)), "sendmsg");
}

static void ring_send(void)
{
	struct sockaddr_in address = {
	    .sin_family = AF_INET, .sin_port = htons(PORT), .sin_addr = {htonl(INADDR_LOOPBACK)}};
	int fd = can(socket(AF_INET, SOCK_DGRAM, 0), "socket");

	done(REQUEST(.opcode = IORING_OP_SEND, .fd = fd, .addr = ADDRESS("hi\n"), .len = 3, .off = ADDRESS(&address),
		     .addr_len = sizeof(address)),
	     "send");
}

/* Makes the ring with a call of 32-bit x86. */
static void ring_int80(void)
{
	char *low = low_memory();
	struct io_uring_params *set = (void *)memset(low, 0, 256);

	ring.fd = can(int80(425, 8, (long)set, 0, 0, 0), "io_uring_setup");
	char *submit = map(set->sq_off.array + set->sq_entries * sizeof(unsigned), IORING_OFF_SQ_RING);
	struct io_uring_sqe *requests = (void *)map(set->sq_entries * sizeof(*requests), IORING_OFF_SQES);
	requests[0] = REQUEST(.opcode = IORING_OP_OPENAT, .fd = AT_FDCWD, .addr = ADDRESS(SECRET));
	*(unsigned *)(submit + set->sq_off.array) = 0;
	__atomic_store_n((unsigned *)(submit + set->sq_off.tail), 1, __ATOMIC_RELEASE);
	must(int80(426, ring.fd, 1, 1, IORING_ENTER_GETEVENTS, 0), "io_uring_enter");
}

const struct way RINGS[] = {
    {"ring-linked", ring_linked},
    {"ring-async", ring_async},
    {"ring-drained", ring_drained},
    {"ring-openat2", ring_openat2},
    {"ring-wide", ring_wide},
    {"ring-without-array", ring_without_array},
    {"ring-of-parent", ring_of_parent},
    {"ring-relative", ring_relative},
    {"ring-working-directory", ring_working_directory},
    {"ring-deferred", ring_deferred},
    {"ring-registered", ring_registered},
    {"ring-installed", ring_installed},
    {"ring-setxattr", ring_setxattr},
    {"ring-fsetxattr", ring_fsetxattr},
    {"ring-setid", ring_setid},
    {"ring-memory", ring_memory},
    {"ring-comm", ring_comm},
    {"ring-log-truncated", ring_log_truncated},
    {"ring-log-opened", ring_log_opened},
    {"ring-log-removed", ring_log_removed},
    {"ring-connect-direct", ring_connect_direct},
    {"ring-sendmsg", ring_sendmsg},
    {"ring-send", ring_send},
    {"ring-int80", ring_int80},
    {"ring-read", ring_read},
    {"ring-poll", ring_poll},
    {"ring-direct", ring_direct},
    {"ring-stale", ring_stale},
    {"ring-write", ring_write},
    {"ring-rename", ring_rename},
    {"ring-mkdir", ring_mkdir},
    {"ring-unlink", ring_unlink},
    {"ring-link", ring_link},
    {"ring-symlink", ring_symlink},
    {"ring-connect", ring_connect},
    {NULL, NULL},
};
