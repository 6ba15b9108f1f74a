/* The default rules' examples by the calls of 32-bit x86. */
#include "actor.h"

static char *low;

/* Puts a text where a 32-bit call can point to. */
static long at(const char *text)
{
	static size_t used;

	if (!low)
		low = low_memory();
	char *place = strcpy(low + used, text);
	used += (strlen(text) + 16) & ~7UL;
	return (long)place;
}

static long bytes(const void *data, size_t length)
{
	long place = at("................................................................");

	memcpy((char *)place, data, length);
	return place;
}

static void creat_kept(void) { must(int80(8, at(KEPT "/file"), 0600, 0, 0, 0), "creat"); }

static void rename_kept(void)
{
	make(OUT "/file", "evil\n");
	must(int80(38, at(OUT "/file"), at(KEPT "/file"), 0, 0, 0), "rename");
}

static void renameat2_kept(void)
{
	make(OUT "/file", "evil\n");
	must(int80(353, AT_FDCWD, at(OUT "/file"), AT_FDCWD, at(KEPT "/file"), 0), "renameat2");
}

static void link_secret(void) { must(int80(9, at(SECRET), at(OUT "/link"), 0, 0, 0), "link"); }

static void relative(void)
{
	must(int80(12, at(FOLDER), 0, 0, 0, 0), "chdir");
	look(int80(5, at("secret"), O_RDONLY, 0, 0, 0));
}

static void chmod_setid(void)
{
	make(OUT "/file", "");
	must(int80(15, at(OUT "/file"), 04755, 0, 0, 0), "chmod");
}

static void fchmod_setid(void)
{
	int file = must(open(OUT "/file", O_CREAT | O_WRONLY, 0600), "open");

	must(int80(94, file, 04755, 0, 0, 0), "fchmod");
}

static void fchmodat_setid(void)
{
	make(OUT "/file", "");
	must(int80(306, AT_FDCWD, at(OUT "/file"), 04755, 0, 0), "fchmodat");
}

static void open_setid(void) { must(int80(5, at(OUT "/file"), O_CREAT | O_WRONLY, 04755, 0, 0), "open"); }

static void setxattr_capability(void)
{
	uint32_t capabilities[5] = {0x02000001, 1 << 7};

	make(OUT "/file", "");
	must(int80(226, at(OUT "/file"), at("security.capability"), bytes(capabilities, 20), 20, 0), "setxattr");
}

static void log_emptied(void)
{
	own_file_system("/var/log");
	must(mknod("/var/log/auth.log", S_IFREG | 0644, 0), "mknod");
	must(int80(92, at("/var/log/auth.log"), 0, 0, 0, 0), "truncate");
}

static void log_emptied_64(void)
{
	own_file_system("/var/log");
	int file = must(open("/var/log/auth.log", O_CREAT | O_WRONLY, 0600), "open");
	must(int80(194, file, 0, 0, 0, 0), "ftruncate64");
}

static void log_unlinked(void)
{
	own_file_system("/var/log");
	must(mknod("/var/log/auth.log", S_IFREG | 0644, 0), "mknod");
	must(int80(10, at("/var/log/auth.log"), 0, 0, 0, 0), "unlink");
}

static void unshared(void) { must(int80(310, CLONE_NEWNS, 0, 0, 0, 0), "unshare"); }

static void cloned(void)
{
	long child = int80(120, CLONE_NEWNS | SIGCHLD, 0, 0, 0, 0);

	if (!child)
		_exit(0);
	wait_for(child);
}

static void cloned_3(void)
{
	struct clone_args args = {.flags = CLONE_NEWUTS, .exit_signal = SIGCHLD};
	long child = int80(435, bytes(&args, 64), 64, 0, 0, 0);

	if (!child)
		_exit(0);
	wait_for(child);
}

static void entered(void)
{
	int space = must(open("/proc/self/ns/uts", O_RDONLY), "open");

	must(int80(346, space, 0, 0, 0, 0), "setns");
}

static void mounted(void)
{
	own_mounts();
	must(int80(21, at("tmpfs"), at("/etc"), at("tmpfs"), 0, 0), "mount");
}

static void memory_written(void)
{
	uint32_t from[2], to[2];

	from[0] = to[0] = at("text");
	from[1] = to[1] = 4;
	/* the sixth argument is whatever is in ebp, so the call may fail: the attempt counts */
	int80(348, getpid(), bytes(from, 8), 1, bytes(to, 8), 1);
}

static void bpf_called(void) { int80(357, 11, bytes("", 1), 64, 0, 0); }

static void ring_made(void)
{
	static char set[120];
	long place = at("");

	at("..........................................................................................................."
	   ".............");
	memcpy((char *)place, set, sizeof(set));
	can(int80(425, 1, place, 0, 0, 0), "io_uring_setup");
}

static void tree_cloned(void) { can(int80(428, AT_FDCWD, at(OUT), 1, 0, 0), "open_tree"); }

static void memory_file(void)
{
	int fd = must(int80(356, at(""), 0, 0, 0, 0), "memfd_create");

	copy(CANARY, fd);
	char path[64];
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	execl(path, "x", NULL);
	end(1, path);
}

static void run_at(void)
{
	uint32_t words[2] = {at("canary"), 0};
	int folder = must(open(FOLDER "/bin", O_PATH), "open");

	must(int80(358, folder, at("canary"), bytes(words, 8), 0, 0), "execveat");
}

static long socket_call(int call, long a, long b, long c, long d, long e)
{
	uint32_t words[6] = {a, b, c, d, e, call == 11 ? sizeof(struct sockaddr_in) : 0};

	return must(int80(102, call, bytes(words, 24), 0, 0, 0), "socketcall");
}

static long listener(void)
{
	struct sockaddr_in address = {
	    .sin_family = AF_INET, .sin_port = htons(PORT), .sin_addr = {htonl(INADDR_LOOPBACK)}};

	return bytes(&address, sizeof(address));
}

static void socketcall_sendto(void)
{
	long fd = socket_call(1, AF_INET, SOCK_DGRAM, 0, 0, 0);

	socket_call(11, fd, at("hi"), 2, 0, listener());
}

static long message(void)
{
	uint32_t data[2] = {at("hi"), 2};
	uint32_t head[7] = {listener(), sizeof(struct sockaddr_in), bytes(data, 8), 1};

	return bytes(head, 28);
}

static void socketcall_sendmsg(void)
{
	long fd = socket_call(1, AF_INET, SOCK_DGRAM, 0, 0, 0);

	socket_call(16, fd, message(), 0, 0, 0);
}

static void plain_sendto(void)
{
	long fd = must(int80(359, AF_INET, SOCK_DGRAM, 0, 0, 0), "socket");
	long address = listener(), result;

	/* the sixth argument is in ebp */
	asm volatile("push %%rbp\n\tmov %6, %%ebp\n\tint $0x80\n\tpop %%rbp"
		     : "=a"(result)
		     : "a"(369L), "b"(fd), "c"(at("hi")), "d"(2L), "S"(0L), "r"((int)sizeof(struct sockaddr_in)),
		       "D"(address)
		     : "memory", "r8", "r9", "r10", "r11");
	if ((int)result != 2)
		end(1, "sendto");
}

static void plain_sendmmsg(void)
{
	uint32_t words[8] = {0};
	long fd = must(int80(359, AF_INET, SOCK_DGRAM, 0, 0, 0), "socket");

	memcpy(words, (void *)message(), 28);
	must(int80(345, fd, bytes(words, 32), 1, 0, 0), "sendmmsg");
}

static void fast_open(void)
{
	long fd = socket_call(1, AF_INET, SOCK_STREAM, 0, 0, 0);

	socket_call(16, fd, message(), MSG_FASTOPEN, 0, 0);
}

const struct way TWINS[] = {
    {"int80-creat", creat_kept},
    {"int80-rename", rename_kept},
    {"int80-renameat2", renameat2_kept},
    {"int80-link", link_secret},
    {"int80-relative", relative},
    {"int80-setid-chmod", chmod_setid},
    {"int80-setid-fchmod", fchmod_setid},
    {"int80-setid-fchmodat", fchmodat_setid},
    {"int80-setid-open", open_setid},
    {"int80-capabilities", setxattr_capability},
    {"int80-log-truncate", log_emptied},
    {"int80-log-ftruncate64", log_emptied_64},
    {"int80-log-unlink", log_unlinked},
    {"int80-unshare", unshared},
    {"int80-clone", cloned},
    {"int80-clone3", cloned_3},
    {"int80-setns", entered},
    {"int80-mount", mounted},
    {"int80-memory", memory_written},
    {"int80-bpf", bpf_called},
    {"int80-ring", ring_made},
    {"int80-tree", tree_cloned},
    {"int80-memfd", memory_file},
    {"int80-execveat", run_at},
    {"int80-socketcall-sendto", socketcall_sendto},
    {"int80-socketcall-sendmsg", socketcall_sendmsg},
    {"int80-sendto", plain_sendto},
    {"int80-sendmmsg", plain_sendmmsg},
    {"int80-fast-open", fast_open},
    {NULL, NULL},
};
