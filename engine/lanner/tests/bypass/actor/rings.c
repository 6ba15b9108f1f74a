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

const struct way RINGS[] = {
    {"ring-read", ring_read},	    {"ring-poll", ring_poll},	    {"ring-direct", ring_direct},
    {"ring-stale", ring_stale},	    {"ring-write", ring_write},	    {"ring-rename", ring_rename},
    {"ring-mkdir", ring_mkdir},	    {"ring-unlink", ring_unlink},   {"ring-link", ring_link},
    {"ring-symlink", ring_symlink}, {"ring-connect", ring_connect}, {NULL, NULL},
};
