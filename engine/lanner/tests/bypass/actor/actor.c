/* Runs ways: `actor play WAY...` runs each in a process of its own and in a fresh folder, behind a marker that rules
 * see. `actor WAY` is one way. */
#include "actor.h"

_Noreturn void end(int status, const char *what)
{
	fprintf(stderr, "%s: %s\n", what, strerror(errno));
	exit(status);
}

long must(long result, const char *what)
{
	if (result < 0)
		end(1, what);
	return result;
}

long can(long result, const char *what)
{
	if (result < 0)
		end(CANNOT, what);
	return result;
}

void look(int fd)
{
	char text[16];

	must(fd, "open");
	must(read(fd, text, sizeof(text)), "read");
}

void make(const char *path, const char *text)
{
	int fd = must(open(path, O_CREAT | O_WRONLY | O_TRUNC, 0755), path);

	must(write(fd, text, strlen(text)), path);
	close(fd);
}

void copy(const char *from, int to)
{
	struct stat stat;
	int fd = must(open(from, O_RDONLY | O_CLOEXEC), from);

	must(fstat(fd, &stat), from);
	if (must(sendfile(to, fd, NULL, stat.st_size), "sendfile") != stat.st_size)
		end(1, "sendfile");
	close(fd);
}

void send_fd(int socket, int fd)
{
	char byte = 'x', control[CMSG_SPACE(sizeof(int))] = {0};
	struct iovec data = {&byte, 1};
	struct msghdr message = {
	    .msg_iov = &data, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)};
	struct cmsghdr *header = CMSG_FIRSTHDR(&message);

	header->cmsg_level = SOL_SOCKET;
	header->cmsg_type = SCM_RIGHTS;
	header->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(header), &fd, sizeof(int));
	must(sendmsg(socket, &message, 0), "sendmsg");
}

int receive_fd(int socket)
{
	char byte, control[CMSG_SPACE(sizeof(int))] = {0};
	struct iovec data = {&byte, 1};
	struct msghdr message = {
	    .msg_iov = &data, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)};
	int fd = -1;

	must(recvmsg(socket, &message, 0), "recvmsg");
	memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof(int));
	return fd;
}

void wait_for(pid_t child)
{
	int status = 0;

	must(child, "fork");
	must(waitpid(child, &status, __WALL), "waitpid");
	if (WIFEXITED(status) && WEXITSTATUS(status))
		exit(WEXITSTATUS(status));
}

void own_mounts(void)
{
	can(unshare(CLONE_NEWNS), "unshare");
	can(mount("", "/", NULL, MS_REC | MS_PRIVATE, NULL), "mount");
}

void own_file_system(const char *at)
{
	own_mounts();
	can(mount("tmpfs", at, "tmpfs", 0, NULL), at);
}

void run_and_wait(char **words)
{
	pid_t child = must(fork(), "fork");

	if (!child) {
		dup2(open("/dev/null", O_WRONLY), 1);
		execv(words[0], words);
		end(errno == ENOENT ? CANNOT : 1, words[0]);
	}
	must(waitpid(child, NULL, 0), "waitpid");
}

pid_t start_traced(void (*go)(void))
{
	int status;
	pid_t child = must(fork(), "fork");

	if (!child) {
		if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) < 0)
			_exit(REFUSED);
		raise(SIGSTOP);
		go();
		_exit(0);
	}
	must(waitpid(child, &status, 0), "waitpid");
	if (WIFEXITED(status))
		exit(WEXITSTATUS(status));
	return child;
}

void to_next_stop(pid_t child)
{
	must(ptrace(PTRACE_SYSCALL, child, NULL, NULL), "ptrace");
	must(waitpid(child, NULL, 0), "waitpid");
}

pid_t lanner(void)
{
	pid_t pid = getppid();

	while (pid > 1) {
		char path[64], name[32] = "";
		snprintf(path, sizeof(path), "/proc/%d/stat", pid);
		FILE *stat = fopen(path, "r");
		int parent = 0;
		if (!stat || fscanf(stat, "%*d (%31[^)]) %*c %d", name, &parent) != 2)
			end(1, path);
		fclose(stat);
		if (!strcmp(name, "lanner"))
			return pid;
		pid = parent;
	}
	end(CANNOT, "lanner is not an ancestor");
}

char *low_memory(void)
{
	void *memory =
	    mmap((void *)0x10000000, 16384, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);

	if (memory == MAP_FAILED)
		end(1, "mmap");
	return memory;
}

long int80(long number, long a, long b, long c, long d, long e)
{
#ifdef __x86_64__
	long result;

	asm volatile("int $0x80"
		     : "=a"(result)
		     : "a"(number), "b"(a), "c"(b), "d"(c), "S"(d), "D"(e)
		     : "memory", "r8", "r9", "r10", "r11");
	if ((int)result == -ENOSYS) {
		errno = ENOSYS;
		end(CANNOT, "int 0x80");
	}
	if ((int)result < 0) {
		errno = -(int)result;
		return -1;
	}
	return (int)result;
#else
	errno = ENOSYS;
	end(CANNOT, "int 0x80");
#endif
}

static struct {
	int fd;
	char *page;
	const char *text;
	void (*change)(void *);
	void *with;
} late;

static void *fill(void *unused)
{
	static char filled[4096] __attribute__((aligned(4096)));
	struct uffd_msg message;
	struct uffdio_copy copied = {.dst = (uintptr_t)late.page, .src = (uintptr_t)filled, .len = 4096};

	if (read(late.fd, &message, sizeof(message)) != sizeof(message))
		return unused;
	strcpy(filled, late.text);
	if (late.change)
		late.change(late.with);
	ioctl(late.fd, UFFDIO_COPY, &copied);
	return unused;
}

char *late_page(char *page, const char *text, void (*change)(void *), void *with)
{
	struct uffdio_api api = {.api = UFFD_API};
	pthread_t thread;

	if (!page)
		page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	late.fd = can(syscall(SYS_userfaultfd, O_CLOEXEC), "userfaultfd");
	can(ioctl(late.fd, UFFDIO_API, &api), "UFFDIO_API");
	struct uffdio_register range = {.range = {(uintptr_t)page, 4096}, .mode = UFFDIO_REGISTER_MODE_MISSING};
	can(ioctl(late.fd, UFFDIO_REGISTER, &range), "UFFDIO_REGISTER");
	late.page = page;
	late.text = text;
	late.change = change;
	late.with = with;
	pthread_create(&thread, NULL, fill, NULL);
	return page;
}

static void forge(void *letter) { *(char *)letter = 'x'; }

char *torn(const char *path)
{
	char *pages = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	size_t split = sizeof(FOLDER) - 1;
	char *first = pages + 4096 - split;

	memcpy(first, path, split);
	late_page(pages + 4096, path + split, forge, first + 1);
	return first;
}

static const struct way *const ALL[] = {READING, CHANGING, RUNNING, CONNECTING, RINGS,	  AROUND,   DEFAULTS, HIDDEN,
					MOUNTS,	 TWINS,	   OTHERS,  SCRIPTS,	ATTEMPTS, VARIANTS, THROUGH,  FURTHER};

static void (*find(const char *name))(void)
{
	for (size_t list = 0; list < sizeof(ALL) / sizeof(*ALL); list++)
		for (const struct way *way = ALL[list]; way->name; way++)
			if (!strcmp(way->name, name))
				return way->go;
	fprintf(stderr, "there is no way `%s`\n", name);
	exit(2);
}

static void fresh_folder(void)
{
	if (system("cd " FOLDER " && rm -rf kept out bin && mkdir kept out bin && cp canary bin/canary"))
		end(1, "the folder");
	make(SECRET, "the secret\n");
	make(INNOCENT, "nothing\n");
}

/* A way is between the marker with its name and the one without a name. */
static void mark(const char *name)
{
	char path[512];

	snprintf(path, sizeof(path), FOLDER "/mark-%s", name);
	close(must(open(path, O_CREAT | O_WRONLY, 0600), path));
}

/* The exit status of each way goes into a file, as does a signal that ended it. */
static void play(const char *name, int results)
{
	int status = 0;

	fresh_folder();
	mark(name);
	pid_t child = must(fork(), "fork");
	if (!child) {
		alarm(60);
		close(results);
		execl(FOLDER "/actor", "actor", name, NULL);
		end(1, "exec");
	}
	must(waitpid(child, &status, __WALL), "waitpid");
	mark("");
	dprintf(results, "%s %d\n", name, WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
}

int main(int argc, char **argv)
{
	if (argc == 2) {
		umask(0);
		find(argv[1])();
		return 0;
	}
	if (argc < 3 || strcmp(argv[1], "play"))
		return 2;
	int results = must(open(FOLDER "/results", O_CREAT | O_WRONLY | O_TRUNC | O_CLOEXEC, 0600), "results");
	for (int i = 2; i < argc; i++)
		play(argv[i], results);
	return 0;
}
