/*
 * Scenes that judge themselves: what a program may expect of the kernel, alone or traced. Exit code 0: it got
 * it; 1: it did not, and standard error says where. No scene depends on how fast the machine is.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/futex.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/sem.h>
#include <sys/socket.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define CHECK(what) \
	do { \
		if (!(what)) { \
			fprintf(stderr, "nature.c:%d: not so: %s (errno %d)\n", __LINE__, #what, errno); \
			_exit(1); \
		} \
	} while (0)

static long now_ms(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void nap(long ms)
{
	struct timespec left = { ms / 1000, ms % 1000 * 1000000 };
	while (nanosleep(&left, &left))
		;
}

static void on(int signal, void (*handler)(int), int flags)
{
	struct sigaction action = { .sa_handler = handler, .sa_flags = flags };
	CHECK(!sigaction(signal, &action, NULL));
}

static int status_of(pid_t child)
{
	int status;
	CHECK(waitpid(child, &status, __WALL) == child);
	return status;
}

static volatile sig_atomic_t hits;

static void hit(int signal)
{
	(void)signal;
	hits++;
}

/* What queued signals brought, in the order in which they came. */
static siginfo_t got[64];
static volatile sig_atomic_t gotten;

static void keep(int signal, siginfo_t *info, void *context)
{
	(void)signal;
	(void)context;
	got[gotten++] = *info;
}

static void real_time_signals(void)
{
	struct sigaction action = { .sa_sigaction = keep, .sa_flags = SA_SIGINFO };
	sigset_t two;
	int low = SIGRTMIN + 2, high = SIGRTMIN + 5;
	sigemptyset(&two);
	sigaddset(&two, low);
	sigaddset(&two, high);
	/* a handler must not be interrupted by the next */
	action.sa_mask = two;
	CHECK(!sigaction(low, &action, NULL) && !sigaction(high, &action, NULL));
	sigprocmask(SIG_BLOCK, &two, NULL);
	for (int i = 0; i < 10; i++) {
		CHECK(!sigqueue(getpid(), high, (union sigval){ .sival_int = 100 + i }));
		CHECK(!sigqueue(getpid(), low, (union sigval){ .sival_int = i }));
	}
	sigprocmask(SIG_UNBLOCK, &two, NULL);
	CHECK(gotten == 20);
	for (int i = 0; i < 20; i++) {
		/* the lower number first, and each in the order in which it was sent (signal(7)) */
		CHECK(got[i].si_signo == (i < 10 ? low : high));
		CHECK(got[i].si_value.sival_int == (i < 10 ? i : 100 + i - 10));
		CHECK(got[i].si_code == SI_QUEUE && got[i].si_pid == getpid());
	}
	/* the same from another process, taken by waiting and by descriptor */
	sigprocmask(SIG_BLOCK, &two, NULL);
	int fd = signalfd(-1, &two, 0);
	pid_t child = fork();
	if (!child) {
		for (int i = 0; i < 4; i++)
			sigqueue(getppid(), low, (union sigval){ .sival_int = 7 + i });
		_exit(0);
	}
	CHECK(status_of(child) == 0);
	siginfo_t info;
	for (int i = 0; i < 2; i++)
		CHECK(sigwaitinfo(&two, &info) == low && info.si_value.sival_int == 7 + i && info.si_pid == child);
	struct signalfd_siginfo read_of[2];
	CHECK(read(fd, read_of, sizeof read_of) == sizeof read_of);
	CHECK(read_of[0].ssi_int == 9 && read_of[1].ssi_int == 10 && read_of[1].ssi_pid == child);
}

static int word = 1;

static long futex_wait(long ms)
{
	struct timespec limit = { ms / 1000, ms % 1000 * 1000000 };
	return syscall(SYS_futex, &word, FUTEX_WAIT, 1, ms ? &limit : NULL, NULL, 0);
}

/* A signal every 20 ms until the call is seen to end. */
static void tick(int every_ms)
{
	struct itimerval timer = { { 0, every_ms * 1000 }, { 0, every_ms * 1000 } };
	hits = 0;
	setitimer(ITIMER_REAL, &timer, NULL);
}

static void interrupted_calls(void)
{
	int ends[2], epoll = epoll_create1(0);
	char byte;
	struct epoll_event event;
	struct timespec left = { 0, 0 }, hour = { 3600, 0 };
	sigset_t none;
	sigemptyset(&none);
	CHECK(!pipe(ends));
	/* with a handler that restarts and with one that does not: these end in either case */
	for (int flags = 0; flags <= SA_RESTART; flags += SA_RESTART) {
		on(SIGALRM, hit, flags);
		tick(20);
		CHECK(nanosleep(&hour, &left) == -1 && errno == EINTR && left.tv_sec >= 3500);
		CHECK(clock_nanosleep(CLOCK_MONOTONIC, 0, &hour, &left) == EINTR && left.tv_sec >= 3500);
		CHECK(poll(NULL, 0, 3600000) == -1 && errno == EINTR);
		CHECK(ppoll(NULL, 0, &hour, &none) == -1 && errno == EINTR);
		CHECK(select(0, NULL, NULL, NULL, NULL) == -1 && errno == EINTR);
		CHECK(epoll_wait(epoll, &event, 1, 3600000) == -1 && errno == EINTR);
		CHECK(futex_wait(3600000) == -1 && errno == EINTR);
		CHECK(pause() == -1 && errno == EINTR);
		CHECK(sigsuspend(&none) == -1 && errno == EINTR);
		CHECK(hits >= 9);
	}
	/* these end by the one, and go on after the other */
	on(SIGALRM, hit, 0);
	CHECK(read(ends[0], &byte, 1) == -1 && errno == EINTR);
	CHECK(futex_wait(0) == -1 && errno == EINTR);
	on(SIGALRM, hit, SA_RESTART);
	pid_t child = fork();
	if (!child) {
		/* timers are not inherited */
		nap(100);
		CHECK(write(ends[1], "x", 1) == 1);
		_exit(0);
	}
	CHECK(read(ends[0], &byte, 1) == 1 && byte == 'x');
	int status;
	CHECK(waitpid(child, &status, 0) == child && status == 0);
}

/* Stops and continues its parent for as long as it is asked to, then does the last thing. */
static pid_t disturber(int rounds, int (*last)(void))
{
	pid_t parent = getpid(), child = fork();
	if (child)
		return child;
	for (int i = 0; i < rounds; i++) {
		nap(15);
		kill(parent, SIGSTOP);
		nap(10);
		kill(parent, SIGCONT);
	}
	_exit(last ? last() : 0);
}

static int ends[2];
static int *shared;

static int write_one(void)
{
	return write(ends[1], "y", 1) != 1;
}

static int wake_up(void)
{
	/* until somebody was asleep */
	while (syscall(SYS_futex, shared, FUTEX_WAKE, 1, NULL, NULL, 0) == 0)
		nap(5);
	return 0;
}

static void restarted_calls(void)
{
	char byte;
	struct timespec some = { 0, 300000000 };
	long begin = now_ms();
	pid_t child = disturber(6, NULL);
	CHECK(nanosleep(&some, NULL) == 0 && now_ms() - begin >= 300);
	status_of(child);
	begin = now_ms();
	child = disturber(6, NULL);
	CHECK(poll(NULL, 0, 300) == 0 && now_ms() - begin >= 300);
	status_of(child);
	begin = now_ms();
	child = disturber(6, NULL);
	CHECK(futex_wait(300) == -1 && errno == ETIMEDOUT && now_ms() - begin >= 300);
	status_of(child);
	begin = now_ms();
	child = disturber(6, NULL);
	CHECK(clock_nanosleep(CLOCK_MONOTONIC, 0, &some, NULL) == 0 && now_ms() - begin >= 300);
	status_of(child);
	CHECK(!pipe(ends));
	child = disturber(6, write_one);
	CHECK(read(ends[0], &byte, 1) == 1 && byte == 'y');
	status_of(child);
	child = disturber(6, write_one);
	struct pollfd one = { .fd = ends[0], .events = POLLIN };
	CHECK(poll(&one, 1, -1) == 1 && read(ends[0], &byte, 1) == 1);
	status_of(child);
	shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	*shared = 1;
	child = disturber(6, wake_up);
	CHECK(syscall(SYS_futex, shared, FUTEX_WAIT, 1, NULL, NULL, 0) == 0);
	status_of(child);
	child = disturber(6, NULL);
	int status;
	CHECK(waitpid(child, &status, 0) == child && status == 0);
}

static volatile unsigned long *counters;

static void *counting(void *at)
{
	for (;;) {
		counters[(intptr_t)at]++;
		if (counters[(intptr_t)at] % 1024 == 0)
			syscall(SYS_getppid);
	}
	return NULL;
}

static unsigned long counted(void)
{
	unsigned long sum = 0;
	for (int i = 0; i < 4; i++)
		sum += counters[i];
	return sum;
}

/* All threads of a process stop and go on together, as often as they are told, and die while they stand. */
static void group_stops(void)
{
	int status;
	siginfo_t info;
	counters = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pid_t child = fork();
	if (!child) {
		pthread_t thread;
		signal(SIGTSTP, SIG_DFL);
		for (intptr_t i = 0; i < 3; i++)
			pthread_create(&thread, NULL, counting, (void *)i);
		counting((void *)3);
	}
	int with[] = { SIGSTOP, SIGTSTP, SIGSTOP, SIGTSTP, SIGSTOP };
	setpgid(child, child);
	for (int i = 0; i < 5; i++) {
		unsigned long before = counted();
		while (counted() == before)
			nap(1);
		/* an orphaned process group would ignore SIGTSTP: ours is its parent's session's */
		kill(child, with[i]);
		CHECK(waitpid(child, &status, WUNTRACED) == child && WIFSTOPPED(status) && WSTOPSIG(status) == with[i]);
		before = counted();
		nap(20);
		CHECK(counted() == before);
		CHECK(waitpid(child, &status, WNOHANG | WUNTRACED) == 0);
		/* a signal waits until it goes on; another stop changes nothing */
		kill(child, SIGSTOP);
		nap(5);
		CHECK(waitpid(child, &status, WNOHANG | WUNTRACED) == 0 && counted() == before);
		kill(child, SIGCONT);
		CHECK(waitid(P_PID, child, &info, WCONTINUED) == 0 && info.si_code == CLD_CONTINUED);
	}
	kill(child, SIGSTOP);
	CHECK(waitpid(child, &status, WUNTRACED) == child && WIFSTOPPED(status));
	kill(child, SIGTERM);
	CHECK(waitpid(child, &status, WNOHANG) == 0);
	kill(child, SIGKILL);
	CHECK(waitpid(child, &status, 0) == child && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	/* a handler of SIGCONT runs, and SIGSTOP can be sent to oneself */
	child = fork();
	if (!child) {
		on(SIGCONT, hit, 0);
		raise(SIGSTOP);
		_exit(hits == 1 ? 0 : 1);
	}
	CHECK(waitpid(child, &status, WUNTRACED) == child && WIFSTOPPED(status));
	kill(child, SIGCONT);
	CHECK(status_of(child) == 0);
}

static long clone3_with(uint64_t flags, uint64_t exit_signal, int *pidfd)
{
	struct clone_args args = { .flags = flags, .exit_signal = exit_signal };
	args.pidfd = (uintptr_t)pidfd;
	return syscall(SYS_clone3, &args, sizeof args);
}

static void births(void)
{
	int status, pidfd = -1;
	long child = clone3_with(0, SIGCHLD, NULL);
	if (child == -1 && errno == ENOSYS)
		fprintf(stderr, "no clone3 here\n");
	else {
		if (!child)
			_exit(7);
		CHECK(waitpid(child, &status, 0) == child && WEXITSTATUS(status) == 7);
		/* the parent waits for the end of a child of vfork's kind */
		shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
		child = clone3_with(CLONE_VFORK, SIGCHLD, NULL);
		if (!child) {
			nap(30);
			*shared = 1;
			_exit(8);
		}
		CHECK(*shared == 1 && waitpid(child, &status, 0) == child && WEXITSTATUS(status) == 8);
		child = clone3_with(CLONE_PIDFD, 0, &pidfd);
		if (!child)
			_exit(9);
		/* a child that sends no signal when it ends is waited for with __WALL or __WCLONE alone */
		CHECK(waitpid(child, &status, 0) == -1 && errno == ECHILD);
		CHECK(waitpid(child, &status, __WCLONE) == child && WEXITSTATUS(status) == 9);
		CHECK(pidfd >= 0 && !close(pidfd));
		/* a brother, who is the child of our parent */
		child = fork();
		if (!child) {
			long brother = clone3_with(CLONE_PARENT, 0, NULL);
			if (!brother)
				_exit(10);
			_exit(brother < 0);
		}
		CHECK(status_of(child) == 0);
		CHECK(waitpid(-1, &status, __WALL) > 0 && WEXITSTATUS(status) == 10);
	}
	for (int i = 0; i < 20; i++) {
		pid_t born = vfork();
		if (!born) {
			if (i % 2)
				execl("/bin/true", "true", NULL);
			_exit(i);
		}
		/* it is over, or another program: either way it has not kept us */
		CHECK(born > 0 && waitpid(born, &status, 0) == born);
		CHECK(WEXITSTATUS(status) == (i % 2 ? 0 : i));
	}
	pid_t killed = vfork();
	if (!killed)
		kill(getpid(), SIGKILL);
	CHECK(waitpid(killed, &status, 0) == killed && WTERMSIG(status) == SIGKILL);
	/* an orphan becomes the child of whoever asked for orphans, and is its to wait for */
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	pid_t child2 = fork();
	if (!child2) {
		if (!fork())
			nap(20), _exit(getppid() == 1 ? 99 : 11);
		_exit(0);
	}
	CHECK(status_of(child2) == 0);
	CHECK(waitpid(-1, &status, 0) > 0 && WEXITSTATUS(status) == 11);
	/* a process learns of its parent's end, if it asks to */
	int tell[2];
	CHECK(!pipe(tell));
	child2 = fork();
	if (!child2) {
		if (!fork()) {
			sigset_t usr1;
			int signal;
			sigemptyset(&usr1);
			sigaddset(&usr1, SIGUSR1);
			sigprocmask(SIG_BLOCK, &usr1, NULL);
			prctl(PR_SET_PDEATHSIG, SIGUSR1);
			CHECK(write(tell[1], "r", 1) == 1);
			sigwait(&usr1, &signal);
			_exit(signal == SIGUSR1 ? 12 : 98);
		}
		char ready;
		_exit(read(tell[0], &ready, 1) != 1);
	}
	CHECK(status_of(child2) == 0);
	CHECK(waitpid(-1, &status, 0) > 0 && WEXITSTATUS(status) == 12);
}

static char *self;
static char *turns;

static void *exec_again(void *unused)
{
	nap(2);
	execl(self, self, "exec-again", turns, NULL);
	return unused;
}

static void *forking(void *unused)
{
	for (;;) {
		pid_t child = fork();
		if (!child)
			_exit(0);
		waitpid(child, NULL, 0);
	}
	return unused;
}

/* A thread that is not the first executes a program, while others sleep, run, fork and come and go. */
static void exec_again_from_a_thread(int left)
{
	pthread_t thread;
	static char text[12];
	static pid_t pid;
	char *known = getenv("NATURE_PID");
	pid = getpid();
	if (known)
		CHECK(atoi(known) == pid && syscall(SYS_gettid) == pid);
	if (!left)
		return;
	char mine[12];
	snprintf(mine, sizeof mine, "%d", pid);
	setenv("NATURE_PID", mine, 1);
	snprintf(text, sizeof text, "%d", left - 1);
	turns = text;
	counters = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pthread_create(&thread, NULL, forking, NULL);
	pthread_create(&thread, NULL, counting, NULL);
	pthread_create(&thread, NULL, exec_again, NULL);
	if (left % 2)
		/* the leader is gone already when the thread takes its id */
		pthread_exit(NULL);
	for (;;)
		pause();
}

static pthread_barrier_t barrier;

static void *at_barrier(void *unused)
{
	syscall(SYS_gettid);
	pthread_barrier_wait(&barrier);
	return unused;
}

/* So many threads at once; then gone, by the end of the whole process. */
static void crowd(int count)
{
	pthread_attr_t small;
	pthread_t thread;
	pthread_attr_init(&small);
	pthread_attr_setstacksize(&small, 32768);
	pthread_barrier_init(&barrier, NULL, count + 1);
	for (int i = 0; i < count; i++) {
		int error = pthread_create(&thread, &small, at_barrier, NULL);
		errno = error;
		CHECK(error == 0);
		pthread_detach(thread);
	}
	pthread_barrier_wait(&barrier);
}

static void quick_children(int count)
{
	for (int i = 0; i < count; i++) {
		pid_t child = i % 3 ? fork() : vfork();
		if (!child)
			_exit(i & 0x7f);
		CHECK(child > 0 && WEXITSTATUS(status_of(child)) == (i & 0x7f));
	}
}

static volatile uintptr_t fault_at;

static void on_fault(int signal, siginfo_t *info, void *context)
{
	(void)context;
	fault_at = (uintptr_t)info->si_addr;
	hits = signal;
	if (signal == SIGSEGV)
		mprotect((void *)fault_at, 4096, PROT_READ | PROT_WRITE);
}

/* Faults, breakpoints of the program itself, and what SIGCHLD says. */
static void faults(void)
{
	struct sigaction action = { .sa_sigaction = on_fault, .sa_flags = SA_SIGINFO };
	sigaction(SIGSEGV, &action, NULL);
	sigaction(SIGTRAP, &action, NULL);
	char *page = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	*(volatile char *)page = 1;
	CHECK(hits == SIGSEGV && fault_at == (uintptr_t)page && *page == 1);
	hits = 0;
	raise(SIGTRAP);
	CHECK(hits == SIGTRAP);
#if defined(__x86_64__)
	hits = 0;
	__asm__ volatile("int3");
	CHECK(hits == SIGTRAP);
#endif
	action.sa_sigaction = keep;
	sigaction(SIGCHLD, &action, NULL);
	sigset_t chld, before;
	sigemptyset(&chld);
	sigaddset(&chld, SIGCHLD);
	sigprocmask(SIG_BLOCK, &chld, &before);
	pid_t child = fork();
	if (!child)
		_exit(33);
	CHECK(status_of(child) >> 8 == 33);
	sigprocmask(SIG_SETMASK, &before, NULL);
	CHECK(gotten == 1 && got[0].si_pid == child && got[0].si_code == CLD_EXITED && got[0].si_status == 33);
	/* an end by a signal that nobody caught */
	signal(SIGCHLD, SIG_DFL);
	child = fork();
	if (!child) {
		signal(SIGSEGV, SIG_DFL);
		*(volatile char *)8 = 1;
	}
	int status = status_of(child);
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
}

static int filter_for(int nr, unsigned action, unsigned flags)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, nr, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, action),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { sizeof code / sizeof *code, code };
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program);
}

static volatile int trapped_nr;

static void on_sys(int signal, siginfo_t *info, void *context)
{
	(void)signal;
	(void)context;
	trapped_nr = info->si_syscall;
	hits = info->si_code;
}

/* A program's own filters answer as they would alone. */
static void own_filters(void)
{
	struct sigaction action = { .sa_sigaction = on_sys, .sa_flags = SA_SIGINFO };
	pid_t child = fork();
	if (!child) {
		CHECK(filter_for(SYS_getppid, SECCOMP_RET_ERRNO | ENOTTY, 0) == 0);
		CHECK(syscall(SYS_getppid) == -1 && errno == ENOTTY);
		/* one more filter on top, for another call: both hold */
		CHECK(filter_for(SYS_getuid, SECCOMP_RET_ERRNO | EXDEV, 0) == 0);
		CHECK(syscall(SYS_getuid) == -1 && errno == EXDEV && syscall(SYS_getppid) == -1);
		CHECK(prctl(PR_GET_SECCOMP) == 2);
		_exit(0);
	}
	CHECK(status_of(child) == 0);
	child = fork();
	if (!child) {
		sigaction(SIGSYS, &action, NULL);
		CHECK(filter_for(SYS_getppid, SECCOMP_RET_TRAP | 5, 0) == 0);
		syscall(SYS_getppid);
		CHECK(trapped_nr == SYS_getppid && hits == 1 /* SYS_SECCOMP */);
		_exit(0);
	}
	CHECK(status_of(child) == 0);
	child = fork();
	if (!child) {
		CHECK(filter_for(SYS_getppid, SECCOMP_RET_KILL_PROCESS, 0) == 0);
		syscall(SYS_getppid);
		_exit(1);
	}
	int status = status_of(child);
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS);
	child = fork();
	if (!child) {
		/* nobody traces this program, as far as it knows */
		CHECK(filter_for(SYS_getppid, SECCOMP_RET_TRACE | 1, 0) == 0);
		CHECK(syscall(SYS_getppid) == -1 && errno == ENOSYS);
		CHECK(syscall(SYS_getpid) == getpid());
		_exit(0);
	}
	CHECK(status_of(child) == 0);
	child = fork();
	if (!child) {
		prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT);
		syscall(SYS_exit, 0);
	}
	CHECK(status_of(child) == 0);
}

/* A program with a listener of its own: one process answers the calls of another. */
static void own_listener(void)
{
	struct seccomp_notif_sizes sizes;
	CHECK(syscall(SYS_seccomp, SECCOMP_GET_NOTIF_SIZES, 0, &sizes) == 0);
	struct seccomp_notif *asked = calloc(1, sizes.seccomp_notif);
	struct seccomp_notif_resp *answer = calloc(1, sizes.seccomp_notif_resp);
	int pipe_of[2];
	CHECK(!pipe(pipe_of));
	/* the listener's descriptor is shared with a child that has the same table */
	pid_t child = syscall(SYS_clone, CLONE_FILES | SIGCHLD, 0, 0, 0, 0);
	if (!child) {
		int fd = filter_for(SYS_getppid, SECCOMP_RET_USER_NOTIF, SECCOMP_FILTER_FLAG_NEW_LISTENER);
		CHECK(fd >= 0);
		CHECK(write(pipe_of[1], &fd, sizeof fd) == sizeof fd);
		for (int i = 0; i < 50; i++)
			CHECK(syscall(SYS_getppid) == 4000 + i);
		_exit(0);
	}
	int fd;
	CHECK(read(pipe_of[0], &fd, sizeof fd) == sizeof fd);
	for (int i = 0; i < 50; i++) {
		memset(asked, 0, sizes.seccomp_notif);
		CHECK(ioctl(fd, SECCOMP_IOCTL_NOTIF_RECV, asked) == 0 && asked->data.nr == SYS_getppid);
		memset(answer, 0, sizes.seccomp_notif_resp);
		answer->id = asked->id;
		answer->val = 4000 + i;
		CHECK(ioctl(fd, SECCOMP_IOCTL_NOTIF_SEND, answer) == 0);
	}
	CHECK(status_of(child) == 0);
}

/* A process traces its child: alone it may. Prints which it was. */
static void own_tracer(void)
{
	pid_t child = fork();
	if (!child) {
		if (ptrace(PTRACE_TRACEME, 0, 0, 0))
			_exit(errno);
		raise(SIGSTOP);
		_exit(0);
	}
	int status = status_of(child);
	if (WIFSTOPPED(status)) {
		ptrace(PTRACE_CONT, child, 0, 0);
		CHECK(status_of(child) == 0);
		exit(50);
	}
	/* refused, and nothing worse */
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == EPERM);
	child = fork();
	if (!child)
		for (;;)
			pause();
	CHECK(ptrace(PTRACE_SEIZE, child, 0, 0) == -1 && errno == EPERM);
	kill(child, SIGKILL);
	CHECK(WTERMSIG(status_of(child)) == SIGKILL);
	exit(51);
}

/* Lives for ever in every state that a process can be killed in. */
static void every_state(void)
{
	pthread_t thread;
	counters = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	on(SIGALRM, hit, 0);
	on(SIGUSR1, hit, SA_RESTART);
	tick(1);
	pthread_create(&thread, NULL, forking, NULL);
	pthread_create(&thread, NULL, counting, NULL);
	for (;;) {
		pid_t child = vfork();
		if (!child) {
			execl("/bin/true", "true", NULL);
			_exit(1);
		}
		kill(getpid(), SIGUSR1);
		poll(NULL, 0, 1);
		while (waitpid(child, NULL, 0) != child && errno == EINTR)
			;
		child = fork();
		if (!child) {
			raise(SIGSTOP);
			_exit(0);
		}
		int status;
		while (waitpid(child, &status, WUNTRACED) != child && errno == EINTR)
			;
		kill(child, SIGCONT);
		while (waitpid(child, &status, 0) != child && errno == EINTR)
			;
	}
}

/* Calls that wait, each in a thread of its own, until main has read a byte. */
static int byte_pipe[2], timed[2], semaphores;
static int events[2], done_pipe[2];

static void *in_read(void *unused)
{
	char byte;
	CHECK(read(byte_pipe[0], &byte, 1) == 1);
	return unused;
}

static void *in_poll(void *unused)
{
	struct pollfd one = { .fd = done_pipe[0], .events = POLLIN };
	CHECK(poll(&one, 1, 3600000) == 1);
	return unused;
}

static void *in_epoll(void *unused)
{
	struct epoll_event event = { .events = EPOLLIN };
	int epoll = epoll_create1(0);
	CHECK(!epoll_ctl(epoll, EPOLL_CTL_ADD, done_pipe[0], &event));
	CHECK(epoll_wait(epoll, &event, 1, -1) == 1);
	return unused;
}

static void *in_timed_epoll(void *unused)
{
	struct epoll_event event = { .events = EPOLLIN };
	int epoll = epoll_create1(0);
	CHECK(!epoll_ctl(epoll, EPOLL_CTL_ADD, done_pipe[0], &event));
	CHECK(epoll_pwait(epoll, &event, 1, 3600000, NULL) == 1);
	return unused;
}

static void *in_futex(void *unused)
{
	CHECK(syscall(SYS_futex, shared, FUTEX_WAIT, 1, NULL, NULL, 0) == 0 || errno == EAGAIN);
	return unused;
}

static void *in_semop(void *unused)
{
	struct sembuf down = { 0, -1, 0 };
	CHECK(semop(semaphores, &down, 1) == 0);
	return unused;
}

static void *in_recv(void *unused)
{
	struct timeval hour = { 3600, 0 };
	char byte;
	setsockopt(timed[0], SOL_SOCKET, SO_RCVTIMEO, &hour, sizeof hour);
	CHECK(recv(timed[0], &byte, 1, 0) == 1);
	return unused;
}

static void *in_sigwait(void *unused)
{
	sigset_t usr2;
	siginfo_t info;
	struct timespec hour = { 3600, 0 };
	sigemptyset(&usr2);
	sigaddset(&usr2, SIGUSR2);
	CHECK(sigtimedwait(&usr2, &info, &hour) == SIGUSR2);
	return unused;
}

static void *in_sleep(void *unused)
{
	long begin = now_ms();
	struct timespec some = { 0, 400000000 };
	CHECK(nanosleep(&some, NULL) == 0 && now_ms() - begin >= 400);
	return unused;
}

static void *in_wait(void *child)
{
	CHECK(waitpid((pid_t)(intptr_t)child, NULL, 0) == (pid_t)(intptr_t)child);
	return NULL;
}

/* Those that a stop by SIGSTOP ends with EINTR (signal(7)) are `weak`. */
static void blocked_calls(int no_weak)
{
	pthread_t threads[11];
	sigset_t usr2;
	char byte;
	int n = 0;
	sigemptyset(&usr2);
	sigaddset(&usr2, SIGUSR2);
	sigprocmask(SIG_BLOCK, &usr2, NULL);
	CHECK(!pipe(byte_pipe) && !pipe(done_pipe) && !pipe(events));
	CHECK(!socketpair(AF_UNIX, SOCK_STREAM, 0, timed));
	CHECK((semaphores = semget(IPC_PRIVATE, 1, 0600)) >= 0);
	shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	*shared = 1;
	pid_t child = fork();
	if (!child) {
		/* until its parent closes the other end, or ends */
		close(events[1]);
		_exit(read(events[0], &byte, 1));
	}
	pthread_create(&threads[n++], NULL, in_read, NULL);
	pthread_create(&threads[n++], NULL, in_poll, NULL);
	pthread_create(&threads[n++], NULL, in_futex, NULL);
	if (!no_weak) {
		pthread_create(&threads[n++], NULL, in_epoll, NULL);
		pthread_create(&threads[n++], NULL, in_timed_epoll, NULL);
		pthread_create(&threads[n++], NULL, in_semop, NULL);
		pthread_create(&threads[n++], NULL, in_recv, NULL);
		pthread_create(&threads[n++], NULL, in_sigwait, NULL);
	}
	pthread_create(&threads[n++], NULL, in_sleep, NULL);
	pthread_create(&threads[n++], NULL, in_wait, (void *)(intptr_t)child);
	CHECK(write(1, "ready\n", 6) == 6);
	/* the test says when it is enough */
	CHECK(read(0, &byte, 1) == 1);
	CHECK(write(byte_pipe[1], "x", 1) == 1 && write(done_pipe[1], "x", 1) == 1);
	*shared = 0;
	syscall(SYS_futex, shared, FUTEX_WAKE, 1, NULL, NULL, 0);
	struct sembuf up = { 0, 1, 0 };
	CHECK(!semop(semaphores, &up, 1));
	CHECK(send(timed[1], "x", 1, 0) == 1);
	kill(getpid(), SIGUSR2);
	close(events[1]);
	for (int i = 0; i < n; i++)
		pthread_join(threads[i], NULL);
	semctl(semaphores, 0, IPC_RMID);
}

/* Signals that a process ignores, by its own wish or by default, do not disturb its calls. */
static void ignored_signals(void)
{
	struct epoll_event event = { .events = EPOLLIN };
	int epoll = epoll_create1(0), status;
	pid_t parent = getpid();
	signal(SIGUSR1, SIG_IGN);
	CHECK(!pipe(ends) && !epoll_ctl(epoll, EPOLL_CTL_ADD, ends[0], &event));
	pid_t child = fork();
	if (!child) {
		for (int i = 0; i < 10; i++) {
			kill(parent, SIGUSR1);
			nap(5);
			kill(parent, SIGWINCH);
			kill(parent, SIGCHLD);
			nap(5);
		}
		CHECK(write(ends[1], "x", 1) == 1);
		_exit(0);
	}
	CHECK(epoll_wait(epoll, &event, 1, -1) == 1);
	CHECK(status_of(child) == 0);
	long begin = now_ms();
	child = fork();
	if (!child) {
		for (int i = 0; i < 5; i++) {
			kill(parent, SIGUSR1);
			nap(10);
		}
		_exit(0);
	}
	CHECK(poll(NULL, 0, 200) == 0 && now_ms() - begin >= 200);
	CHECK(waitpid(child, &status, 0) == child && status == 0);
}

int main(int argc, char **argv)
{
	const char *scene = argc > 1 ? argv[1] : "";
	int count = argc > 2 ? atoi(argv[2]) : 0;
	self = argv[0];
	if (!strcmp(scene, "real-time-signals"))
		real_time_signals();
	else if (!strcmp(scene, "interrupted-calls"))
		interrupted_calls();
	else if (!strcmp(scene, "restarted-calls"))
		restarted_calls();
	else if (!strcmp(scene, "group-stops"))
		group_stops();
	else if (!strcmp(scene, "births"))
		births();
	else if (!strcmp(scene, "exec-again"))
		exec_again_from_a_thread(count);
	else if (!strcmp(scene, "crowd"))
		crowd(count);
	else if (!strcmp(scene, "quick-children"))
		quick_children(count);
	else if (!strcmp(scene, "faults"))
		faults();
	else if (!strcmp(scene, "own-filters"))
		own_filters();
	else if (!strcmp(scene, "own-listener"))
		own_listener();
	else if (!strcmp(scene, "own-tracer"))
		own_tracer();
	else if (!strcmp(scene, "blocked-calls"))
		blocked_calls(count);
	else if (!strcmp(scene, "ignored-signals"))
		ignored_signals();
	else if (!strcmp(scene, "every-state"))
		every_state();
	else
		return 99;
	return 0;
}
