/* Signals, and the calls that they interrupt. */
#include "scenes.h"

#include <linux/futex.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/signalfd.h>
#include <time.h>

void real_time_signals(int count)
{
	struct sigaction action = {.sa_sigaction = keep, .sa_flags = SA_SIGINFO};
	sigset_t two;
	int low = SIGRTMIN + 2, high = SIGRTMIN + 5;
	sigemptyset(&two);
	sigaddset(&two, low);
	sigaddset(&two, high);
	/* no handler may interrupt another one */
	action.sa_mask = two;
	CHECK(!sigaction(low, &action, NULL) && !sigaction(high, &action, NULL));
	sigprocmask(SIG_BLOCK, &two, NULL);
	for (int i = 0; i < 10; i++) {
		CHECK(!sigqueue(getpid(), high, (union sigval){.sival_int = 100 + i}));
		CHECK(!sigqueue(getpid(), low, (union sigval){.sival_int = i}));
	}
	sigprocmask(SIG_UNBLOCK, &two, NULL);
	CHECK(kept_count == 20);
	for (int i = 0; i < 20; i++) {
		/* the lower number first, and each in the order in which it was sent (signal(7)) */
		CHECK(kept[i].si_signo == (i < 10 ? low : high));
		CHECK(kept[i].si_value.sival_int == (i < 10 ? i : 100 + i - 10));
		CHECK(kept[i].si_code == SI_QUEUE && kept[i].si_pid == getpid());
	}
	/* the same from another process, received by sigwaitinfo(2) and through a descriptor */
	sigprocmask(SIG_BLOCK, &two, NULL);
	int fd = signalfd(-1, &two, 0);
	pid_t child = fork();
	if (!child) {
		for (int i = 0; i < 4; i++)
			sigqueue(getppid(), low, (union sigval){.sival_int = 7 + i});
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
	struct timespec limit = {ms / 1000, ms % 1000 * 1000000};
	return syscall(SYS_futex, &word, FUTEX_WAIT, 1, ms ? &limit : NULL, NULL, 0);
}

void interrupted_calls(int count)
{
	int ends[2], epoll = epoll_create1(0);
	char byte;
	struct epoll_event event;
	struct timespec left = {0, 0}, hour = {3600, 0};
	sigset_t none;
	sigemptyset(&none);
	CHECK(!pipe(ends));
	/* these end with EINTR, whether or not the handler restarts calls */
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
	/* these end with EINTR only if the handler does not restart calls */
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

/* Forks a child that stops and continues its parent a number of times, and then calls `last`. */
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

static int write_one(void) { return write(ends[1], "y", 1) != 1; }

static int wake_up(void)
{
	/* until a thread was asleep */
	while (syscall(SYS_futex, shared, FUTEX_WAKE, 1, NULL, NULL, 0) == 0)
		nap(5);
	return 0;
}

void restarted_calls(int count)
{
	char byte;
	struct timespec some = {0, 300000000};
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
	struct pollfd one = {.fd = ends[0], .events = POLLIN};
	CHECK(poll(&one, 1, -1) == 1 && read(ends[0], &byte, 1) == 1);
	status_of(child);
	shared = shared_page();
	*shared = 1;
	child = disturber(6, wake_up);
	CHECK(syscall(SYS_futex, shared, FUTEX_WAIT, 1, NULL, NULL, 0) == 0);
	status_of(child);
	child = disturber(6, NULL);
	int status;
	CHECK(waitpid(child, &status, 0) == child && status == 0);
}

/* Signals that a process ignores, by its own wish or by default, do not disturb its calls. */
void ignored_signals(int count)
{
	struct epoll_event event = {.events = EPOLLIN};
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
