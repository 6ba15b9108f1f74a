/* Ways to reach the listener at 127.0.0.1, port PORT, and that of FOLDER/socket. */
#include "actor.h"

static struct sockaddr_in at(const char *ip)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(PORT)};

	inet_pton(AF_INET, ip, &address.sin_addr);
	return address;
}

static int made(int family, int type, int protocol) { return can(socket(family, type, protocol), "socket"); }

static void connect_to(int socket, const void *address, socklen_t length)
{
	if (connect(socket, address, length) < 0 && errno != EINPROGRESS)
		end(1, "connect");
}

static void tcp(int socket)
{
	struct sockaddr_in address = at("127.0.0.1");

	connect_to(socket, &address, sizeof(address));
}

static void plain(void) { tcp(made(AF_INET, SOCK_STREAM, 0)); }

static void without_waiting(void) { tcp(made(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0)); }

static void mapped(void)
{
	struct sockaddr_in6 address = {.sin6_family = AF_INET6, .sin6_port = htons(PORT)};

	inet_pton(AF_INET6, "::ffff:127.0.0.1", &address.sin6_addr);
	connect_to(made(AF_INET6, SOCK_STREAM, 0), &address, sizeof(address));
}

static void any_address(void)
{
	struct sockaddr_in address = at("0.0.0.0");

	connect_to(made(AF_INET, SOCK_STREAM, 0), &address, sizeof(address));
}

static void on_passed_socket(void)
{
	int sockets[2], socket = made(AF_INET, SOCK_STREAM, 0);

	must(socketpair(AF_UNIX, SOCK_STREAM, 0, sockets), "socketpair");
	pid_t child = fork();
	if (!child) {
		tcp(receive_fd(sockets[0]));
		_exit(0);
	}
	send_fd(sockets[1], socket);
	wait_for(child);
}

static void fast_open_connect(void)
{
	int one = 1, socket = made(AF_INET, SOCK_STREAM, 0);

	can(setsockopt(socket, IPPROTO_TCP, TCP_FASTOPEN_CONNECT, &one, sizeof(one)), "TCP_FASTOPEN_CONNECT");
	tcp(socket);
	must(write(socket, "hi\n", 3), "write");
}

static void send_message(int socket, const char *ip, int flags)
{
	struct sockaddr_in address = at(ip);
	struct iovec data = {"hi\n", 3};
	struct msghdr message = {
	    .msg_name = &address, .msg_namelen = sizeof(address), .msg_iov = &data, .msg_iovlen = 1};

	must(sendmsg(socket, &message, flags), "sendmsg");
}

static void send_plainly(int socket, const char *ip, int flags)
{
	struct sockaddr_in address = at(ip);

	must(sendto(socket, "hi\n", 3, flags, (void *)&address, sizeof(address)), "sendto");
}

static void fast_open_sendto(void) { send_plainly(made(AF_INET, SOCK_STREAM, 0), "127.0.0.1", MSG_FASTOPEN); }

static void fast_open_sendmsg(void) { send_message(made(AF_INET, SOCK_STREAM, 0), "127.0.0.1", MSG_FASTOPEN); }

static void multipath(void) { tcp(made(AF_INET, SOCK_STREAM, 262 /* IPPROTO_MPTCP */)); }

static void datagram_sendto(void) { send_plainly(made(AF_INET, SOCK_DGRAM, 0), "127.0.0.1", 0); }

static void datagram_sendmsg(void) { send_message(made(AF_INET, SOCK_DGRAM, 0), "127.0.0.1", 0); }

/* The second of two messages is the one that matters. */
static void datagrams(void)
{
	struct sockaddr_in other = at("127.9.9.9"), address = at("127.0.0.1");
	struct iovec data = {"hi\n", 3};
	struct mmsghdr messages[2] = {
	    {.msg_hdr = {.msg_name = &other, .msg_namelen = sizeof(other), .msg_iov = &data, .msg_iovlen = 1}},
	    {.msg_hdr = {.msg_name = &address, .msg_namelen = sizeof(address), .msg_iov = &data, .msg_iovlen = 1}}};

	if (must(sendmmsg(made(AF_INET, SOCK_DGRAM, 0), messages, 2, 0), "sendmmsg") != 2)
		end(1, "sendmmsg");
}

static void datagram_elsewhere(void)
{
	struct sockaddr_in other = at("127.9.9.9");
	int socket = made(AF_INET, SOCK_DGRAM, 0);

	connect_to(socket, &other, sizeof(other));
	send_plainly(socket, "127.0.0.1", 0);
}

static void other_host(void *address) { ((struct sockaddr_in *)address)->sin_addr.s_addr = htonl(0x7f090909); }

/* The address has been read when the data's page comes. */
static void torn_sendto(void)
{
	static struct sockaddr_in address;
	char *data = late_page(NULL, "torn\n", other_host, &address);

	address = at("127.0.0.1");
	must(sendto(made(AF_INET, SOCK_DGRAM, 0), data, 5, 0, (void *)&address, sizeof(address)), "sendto");
}

static void unix_at(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	strcpy(address.sun_path, path);
	connect_to(made(AF_UNIX, SOCK_STREAM, 0), &address, sizeof(address));
}

static void unix_socket(void) { unix_at(FOLDER "/socket"); }

static void unix_relative(void)
{
	must(chdir(FOLDER), "chdir");
	unix_at("socket");
}

static void unix_in_chroot(void)
{
	can(chroot(FOLDER), "chroot");
	must(chdir("/"), "chdir");
	unix_at("/socket");
}

/* Neither end has the whole path. */
static void unix_bound_relatively(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "socket-2"};
	int listener = made(AF_UNIX, SOCK_STREAM, 0);

	must(chdir(OUT), "chdir");
	must(bind(listener, (void *)&address, sizeof(address)), "bind");
	must(listen(listener, 1), "listen");
	unix_at("socket-2");
}

static void unix_datagram(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = OUT "/socket-2"};
	int receiver = made(AF_UNIX, SOCK_DGRAM, 0);

	must(bind(receiver, (void *)&address, sizeof(address)), "bind");
	must(sendto(made(AF_UNIX, SOCK_DGRAM, 0), "hi\n", 3, 0, (void *)&address, sizeof(address)), "sendto");
}

static void fast_open_sendmmsg(void)
{
	struct sockaddr_in address = at("127.0.0.1");
	struct iovec data = {"hi\n", 3};
	struct mmsghdr message = {
	    .msg_hdr = {.msg_name = &address, .msg_namelen = sizeof(address), .msg_iov = &data, .msg_iovlen = 1}};

	must(sendmmsg(made(AF_INET, SOCK_STREAM, 0), &message, 1, MSG_FASTOPEN), "sendmmsg");
}

/* A socket that is connected elsewhere first. */
static void connect_again(void)
{
	struct sockaddr_in other = at("127.9.9.9"), none = {.sin_family = AF_UNSPEC};
	int socket = made(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);

	connect(socket, (void *)&other, sizeof(other));
	must(connect(socket, (void *)&none, sizeof(none)), "disconnect");
	tcp(socket);
}

/* Asks as `netlink` does, by sendmsg(2). */
static void netlink_message(void)
{
	struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
	struct {
		struct nlmsghdr head;
		struct ifinfomsg body;
	} ask = {
	    .head = {.nlmsg_len = sizeof(ask), .nlmsg_type = RTM_GETLINK, .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP}};
	struct iovec data = {&ask, sizeof(ask)};
	struct msghdr message = {.msg_name = &kernel, .msg_namelen = sizeof(kernel), .msg_iov = &data, .msg_iovlen = 1};

	must(sendmsg(made(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE), &message, 0), "sendmsg");
}

static void unix_by_link(void)
{
	must(symlink(FOLDER "/socket", OUT "/link"), "symlink");
	unix_at(OUT "/link");
}

static void unix_by_proc_fd(void)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fd/%ld", must(open(FOLDER "/socket", O_PATH), "open"));
	unix_at(path);
}

static void vsock(void)
{
	struct sockaddr_vm address = {.svm_family = AF_VSOCK, .svm_port = 1234, .svm_cid = 1};

	/* nobody listens */
	connect(made(AF_VSOCK, SOCK_STREAM | SOCK_NONBLOCK, 0), (void *)&address, sizeof(address));
}

/* Asks the kernel for all network interfaces. */
static void netlink(void)
{
	struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
	struct {
		struct nlmsghdr head;
		struct ifinfomsg body;
	} ask = {
	    .head = {.nlmsg_len = sizeof(ask), .nlmsg_type = RTM_GETLINK, .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP}};

	must(sendto(made(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE), &ask, sizeof(ask), 0, (void *)&kernel, sizeof(kernel)),
	     "sendto");
}

static void packet_socket(void) { made(AF_PACKET, SOCK_RAW, htons(3)); }

/* All but the last of many parts are empty. */
static void many_parts(void)
{
	struct iovec parts[40] = {{NULL, 0}};
	struct sockaddr_in address = at("127.0.0.1");
	int socket = made(AF_INET, SOCK_DGRAM, 0);

	parts[39] = (struct iovec){"HIDDEN", 6};
	connect_to(socket, &address, sizeof(address));
	must(writev(socket, parts, 40), "writev");
}

static void int80_connect(void)
{
	char *low = low_memory();
	struct sockaddr_in address = at("127.0.0.1");
	long socket = must(int80(359, AF_INET, SOCK_STREAM, 0, 0, 0), "socket");

	memcpy(low, &address, sizeof(address));
	must(int80(362, socket, (long)low, sizeof(address), 0, 0), "connect");
}

/* As the C library of Debian's 32-bit programs does it. */
static void int80_socketcall(void)
{
	uint32_t *low = (uint32_t *)low_memory();
	struct sockaddr_in address = at("127.0.0.1");

	low[0] = AF_INET;
	low[1] = SOCK_STREAM;
	low[2] = 0;
	low[0] = must(int80(102, 1, (long)low, 0, 0, 0), "socketcall");
	low[1] = (uint32_t)(uintptr_t)memcpy(low + 100, &address, sizeof(address));
	low[2] = sizeof(address);
	must(int80(102, 3, (long)low, 0, 0, 0), "socketcall");
}

const struct way CONNECTING[] = {
    {"connect", plain},
    {"connect-nonblocking", without_waiting},
    {"connect-mapped", mapped},
    {"connect-any", any_address},
    {"connect-passed", on_passed_socket},
    {"connect-fast-open", fast_open_connect},
    {"fast-open-sendto", fast_open_sendto},
    {"fast-open-sendmsg", fast_open_sendmsg},
    {"multipath", multipath},
    {"sendto", datagram_sendto},
    {"sendmsg", datagram_sendmsg},
    {"sendmmsg", datagrams},
    {"sendto-elsewhere", datagram_elsewhere},
    {"torn-sendto", torn_sendto},
    {"unix", unix_socket},
    {"unix-relative", unix_relative},
    {"unix-chroot", unix_in_chroot},
    {"unix-bound-relative", unix_bound_relatively},
    {"unix-datagram", unix_datagram},
    {"fast-open-sendmmsg", fast_open_sendmmsg},
    {"connect-again", connect_again},
    {"netlink-message", netlink_message},
    {"unix-link", unix_by_link},
    {"unix-proc-fd", unix_by_proc_fd},
    {"vsock", vsock},
    {"netlink", netlink},
    {"packet", packet_socket},
    {"many-parts", many_parts},
    {"int80-connect", int80_connect},
    {"int80-socketcall", int80_socketcall},
    {NULL, NULL},
};
