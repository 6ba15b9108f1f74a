/* What the scenarios do that no ordinary tool does. Linked statically, so that it runs in any container. The
 * name it is called by is what it looks like to rules: httpd, ssh, login. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static int failed(const char *what)
{
	perror(what);
	return 1;
}

static int run(char **argv)
{
	pid_t child = fork();

	if (child == 0) {
		execvp(argv[0], argv);
		_exit(127);
	}
	int status = 0;
	if (child < 0 || waitpid(child, &status, 0) < 0)
		return failed("fork");
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

/* Opens a file, after this many seconds. */
static int look(const char *path, int seconds)
{
	char byte;

	sleep(seconds);
	int fd = open(path, O_RDONLY);
	if (fd < 0 || read(fd, &byte, 1) < 0)
		return failed(path);
	return close(fd);
}

static int from_memory(void)
{
	char *argv[] = {"secret", "nothing", NULL};
	struct stat stat;
	int self = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	int fd = memfd_create("secret", MFD_CLOEXEC);

	if (self < 0 || fd < 0 || fstat(self, &stat) < 0)
		return failed("memfd_create");
	if (sendfile(fd, self, NULL, stat.st_size) != stat.st_size)
		return failed("sendfile");
	fexecve(fd, argv, environ);
	return failed("fexecve");
}

/* A tracer of ours makes these two fail, and they are tried all the same. */
static int be_traced(void)
{
	ptrace(PTRACE_TRACEME, 0, NULL, NULL);
	return 0;
}

static int attach(void)
{
	pid_t child = fork();

	if (child == 0) {
		pause();
		_exit(0);
	}
	if (child < 0)
		return failed("fork");
	if (ptrace(PTRACE_ATTACH, child, NULL, NULL) == 0) {
		waitpid(child, NULL, __WALL);
		ptrace(PTRACE_DETACH, child, NULL, NULL);
	}
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	return 0;
}

/* A connected pair of TCP sockets at an address of our own; 0 on success. */
static int connected(const char *ip, int port, int sockets[2], int flags)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
	socklen_t length = sizeof(address);
	int listener = socket(AF_INET, SOCK_STREAM, 0);

	inet_pton(AF_INET, ip, &address.sin_addr);
	if (bind(listener, (struct sockaddr *)&address, length) < 0 || listen(listener, 1) < 0 ||
	    getsockname(listener, (struct sockaddr *)&address, &length) < 0)
		return failed("listen");
	sockets[0] = socket(AF_INET, SOCK_STREAM | flags, 0);
	if (connect(sockets[0], (struct sockaddr *)&address, length) < 0 && errno != EINPROGRESS)
		return failed("connect");
	sockets[1] = accept(listener, NULL, NULL);
	return sockets[1] < 0 ? failed("accept") : 0;
}

/* Connects to a port of another host, which is an address of a network of our own. */
static int call_home(int port)
{
	struct ifreq request = {.ifr_name = "lo"};
	struct sockaddr_in *address = (struct sockaddr_in *)&request.ifr_addr;
	int sockets[2];

	if (unshare(CLONE_NEWNET) < 0)
		return failed("unshare");
	int control = socket(AF_INET, SOCK_DGRAM, 0);
	address->sin_family = AF_INET;
	inet_pton(AF_INET, "192.0.2.1", &address->sin_addr);
	if (ioctl(control, SIOCSIFADDR, &request) < 0)
		return failed("SIOCSIFADDR");
	request.ifr_flags = IFF_UP | IFF_LOOPBACK;
	if (ioctl(control, SIOCSIFFLAGS, &request) < 0)
		return failed("SIOCSIFFLAGS");
	return connected("192.0.2.1", port, sockets, SOCK_NONBLOCK);
}

/* Standard output becomes a connection, as a reverse shell does it. */
static int redirect(void)
{
	int sockets[2];

	if (connected("127.0.0.1", 0, sockets, 0))
		return 1;
	return dup2(sockets[0], 1) < 0 ? failed("dup2") : 0;
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "nothing";

	if (!strcmp(what, "run") && argc > 2)
		return run(argv + 2);
	if (!strcmp(what, "look") && argc > 3)
		return look(argv[2], atoi(argv[3]));
	if (!strcmp(what, "from-memory"))
		return from_memory();
	if (!strcmp(what, "be-traced"))
		return be_traced();
	if (!strcmp(what, "attach"))
		return attach();
	if (!strcmp(what, "call-home") && argc > 2)
		return call_home(atoi(argv[2]));
	if (!strcmp(what, "packet"))
		return socket(AF_PACKET, SOCK_RAW, htons(ETH_P_ALL)) < 0 ? failed("socket") : 0;
	if (!strcmp(what, "redirect"))
		return redirect();
	if (!strcmp(what, "linger"))
		sleep(1);
	return 0;
}
