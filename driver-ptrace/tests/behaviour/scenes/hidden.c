/* Ways in which a program could hide what it does: killed in a call, behind a filter, with closed memory. */
#include "scenes.h"

#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <linux/userfaultfd.h>
#include <stddef.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/ipc.h>
#include <sys/prctl.h>
#include <sys/sem.h>
#include <time.h>

/* A child is killed while it writes more than a pipe holds: a part of it has arrived. */
void killed_in_a_call(int count)
{
	static char data[1 << 20] = "the first words";
	int ends[2];
	char begin[16] = "";
	CHECK(!pipe(ends));
	pid_t child = fork();
	if (!child) {
		write(ends[1], data, sizeof data);
		_exit(1);
	}
	CHECK(read(ends[0], begin, 15) == 15 && !strcmp(begin, data));
	nap(50);
	kill(child, SIGKILL);
	CHECK(WTERMSIG(status_of(child)) == SIGKILL);
}

static int filter_for_openat(unsigned action, unsigned flags)
{
	struct sock_filter code[] = {
	    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
	    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_openat, 0, 1),
	    BPF_STMT(BPF_RET | BPF_K, action),
	    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {sizeof code / sizeof *code, code};
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	if (flags == ~0u)
		return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
	return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program);
}

/* Filters of its own answer before that of a tracer: one refuses, one asks a process that lets the call go on. */
void hidden_by_filters(int count)
{
	for (int how = 0; how < 2; how++) {
		pid_t child = fork();
		if (!child) {
			CHECK(filter_for_openat(SECCOMP_RET_ERRNO | EXDEV, how ? ~0u : 0) == 0);
			CHECK(openat(AT_FDCWD, how ? "/refused-b" : "/refused-a", O_RDONLY) == -1 && errno == EXDEV);
			_exit(0);
		}
		CHECK(status_of(child) == 0);
	}
	int pipe_of[2], fd;
	CHECK(!pipe(pipe_of));
	pid_t child = syscall(SYS_clone, 0x400 /* CLONE_FILES */ | SIGCHLD, 0, 0, 0, 0);
	if (!child) {
		fd = filter_for_openat(SECCOMP_RET_USER_NOTIF, SECCOMP_FILTER_FLAG_NEW_LISTENER);
		CHECK(fd >= 0 && write(pipe_of[1], &fd, sizeof fd) == sizeof fd);
		CHECK(openat(AT_FDCWD, "/dev/null", O_RDONLY) >= 0);
		pid_t grandchild = fork();
		if (!grandchild) {
			CHECK(openat(AT_FDCWD, "/dev/zero", O_RDONLY) >= 0);
			_exit(0);
		}
		CHECK(status_of(grandchild) == 0);
		_exit(0);
	}
	CHECK(read(pipe_of[0], &fd, sizeof fd) == sizeof fd);
	for (int i = 0; i < 2; i++) {
		struct seccomp_notif asked = {0};
		CHECK(ioctl(fd, SECCOMP_IOCTL_NOTIF_RECV, &asked) == 0);
		struct seccomp_notif_resp answer = {.id = asked.id, .flags = 1 /* CONTINUE */};
		CHECK(ioctl(fd, SECCOMP_IOCTL_NOTIF_SEND, &answer) == 0);
	}
	CHECK(status_of(child) == 0);
}

/* Forbids others to read its memory. Exit code 60: that had an effect; 61: it had none. */
void closed_memory(int count)
{
	CHECK(prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) == 0);
	CHECK(prctl(PR_SET_DUMPABLE, 7, 0, 0, 0) == -1 && errno == EINVAL);
	int dumpable = prctl(PR_GET_DUMPABLE, 0, 0, 0, 0);
	CHECK(openat(AT_FDCWD, "/dev/null", O_RDONLY) >= 0);
	exit(dumpable ? 61 : 60);
}

/* Opens a file by the number of 32-bit programs. Exit code 62: the kernel has no such numbers. */
void by_another_number(int count)
{
#ifdef __x86_64__
	char *low =
	    mmap((void *)0x10000000, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	long fd;
	CHECK(low != MAP_FAILED);
	strcpy(low, "/dev/null");
	__asm__ volatile("int $0x80"
			 : "=a"(fd)
			 : "a"(5), "b"(low), "c"(O_RDONLY), "d"(0)
			 : "memory", "r8", "r9", "r10", "r11");
	CHECK((int)fd >= 0);
	/* the same number is another call among those of 64-bit programs */
	struct stat *nowhere = NULL;
	CHECK(syscall(5, (int)fd, nowhere) == -1 && errno == EFAULT);
	exit(0);
#endif
	exit(62);
}

/* How a call that waits ends if its process is stopped and goes on. */
void stopped_calls(int count)
{
	for (int which = 0; which < 4; which++) {
		int *waits = shared_page();
		pid_t child = fork();
		if (!child) {
			struct epoll_event event;
			struct timespec limit = {2, 0};
			struct sembuf down = {0, -1, 0};
			sigset_t none;
			int result = 0, sem;
			sigemptyset(&none);
			sigaddset(&none, SIGUSR1);
			sigprocmask(SIG_BLOCK, &none, NULL);
			*waits = 1;
			switch (which) {
			case 0:
				result = epoll_wait(epoll_create1(0), &event, 1, 2000);
				break;
			case 1:
				result = epoll_wait(epoll_create1(0), &event, 1, -1);
				break;
			case 2:
				result = sigtimedwait(&none, NULL, &limit);
				break;
			case 3:
				sem = semget(IPC_PRIVATE, 1, 0600);
				result = semtimedop(sem, &down, 1, &limit);
				semctl(sem, 0, IPC_RMID);
				errno = result ? EINTR : 0;
				break;
			}
			CHECK(result == -1 && errno == EINTR);
			_exit(0);
		}
		int status;
		while (!*(volatile int *)waits)
			nap(1);
		nap(60);
		kill(child, SIGSTOP);
		CHECK(waitpid(child, &status, WUNTRACED) == child && WIFSTOPPED(status));
		nap(10);
		kill(child, SIGCONT);
		CHECK(status_of(child) == 0);
	}
}

/* Gives the kernel a page whose content the program itself would have to bring, and never does. Exit code 63: this user
 * may not have such pages. */
void withheld_memory(int count)
{
	int fault = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	if (fault < 0)
		exit(63);
	struct uffdio_api api = {.api = UFFD_API};
	CHECK(!ioctl(fault, UFFDIO_API, &api));
	char *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct uffdio_register missing = {{(uintptr_t)page, 4096}, UFFDIO_REGISTER_MODE_MISSING};
	CHECK(!ioctl(fault, UFFDIO_REGISTER, &missing));
	/* this descriptor is none: the kernel does not look at the page */
	CHECK(write(-1, page, 16) == -1 && errno == EBADF);
}
