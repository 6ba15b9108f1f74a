/* Calls that wait. */
#include "scenes.h"

#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/sem.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>

/* What the calls wait for. */
static int byte_pipe[2], timed[2], semaphores;
static int end_pipe[2], done_pipe[2];
static int *shared;

static void *in_read(void *unused)
{
	char byte;
	CHECK(read(byte_pipe[0], &byte, 1) == 1);
	return unused;
}

static void *in_poll(void *unused)
{
	struct pollfd one = {.fd = done_pipe[0], .events = POLLIN};
	CHECK(poll(&one, 1, 3600000) == 1);
	return unused;
}

static void *in_epoll(void *unused)
{
	struct epoll_event event = {.events = EPOLLIN};
	int epoll = epoll_create1(0);
	CHECK(!epoll_ctl(epoll, EPOLL_CTL_ADD, done_pipe[0], &event));
	CHECK(epoll_wait(epoll, &event, 1, -1) == 1);
	return unused;
}

static void *in_timed_epoll(void *unused)
{
	struct epoll_event event = {.events = EPOLLIN};
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
	struct sembuf down = {0, -1, 0};
	CHECK(semop(semaphores, &down, 1) == 0);
	return unused;
}

static void *in_recv(void *unused)
{
	struct timeval hour = {3600, 0};
	char byte;
	setsockopt(timed[0], SOL_SOCKET, SO_RCVTIMEO, &hour, sizeof hour);
	CHECK(recv(timed[0], &byte, 1, 0) == 1);
	return unused;
}

static void *in_sigwait(void *unused)
{
	sigset_t usr2;
	siginfo_t info;
	struct timespec hour = {3600, 0};
	sigemptyset(&usr2);
	sigaddset(&usr2, SIGUSR2);
	CHECK(sigtimedwait(&usr2, &info, &hour) == SIGUSR2);
	return unused;
}

static void *in_sleep(void *unused)
{
	long begin = now_ms();
	struct timespec some = {0, 400000000};
	CHECK(nanosleep(&some, NULL) == 0 && now_ms() - begin >= 400);
	return unused;
}

static void *in_wait(void *child)
{
	CHECK(waitpid((pid_t)(intptr_t)child, NULL, 0) == (pid_t)(intptr_t)child);
	return NULL;
}

/*
 * Each call waits in a thread of its own until a byte comes from standard input. A stop ends some of them with EINTR
 * (signal(7)): with `no_weak`, these are left out.
 */
void blocked_calls(int no_weak)
{
	pthread_t threads[11];
	sigset_t usr2;
	char byte;
	int n = 0;
	sigemptyset(&usr2);
	sigaddset(&usr2, SIGUSR2);
	sigprocmask(SIG_BLOCK, &usr2, NULL);
	CHECK(!pipe(byte_pipe) && !pipe(done_pipe) && !pipe(end_pipe));
	CHECK(!socketpair(AF_UNIX, SOCK_STREAM, 0, timed));
	CHECK((semaphores = semget(IPC_PRIVATE, 1, 0600)) >= 0);
	shared = shared_page();
	*shared = 1;
	pid_t child = fork();
	if (!child) {
		/* waits until the parent closes the other end, or ends */
		close(end_pipe[1]);
		_exit(read(end_pipe[0], &byte, 1));
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
	/* the test sends it when the calls have waited long enough */
	CHECK(read(0, &byte, 1) == 1);
	CHECK(write(byte_pipe[1], "x", 1) == 1 && write(done_pipe[1], "x", 1) == 1);
	*shared = 0;
	syscall(SYS_futex, shared, FUTEX_WAKE, 1, NULL, NULL, 0);
	struct sembuf up = {0, 1, 0};
	CHECK(!semop(semaphores, &up, 1));
	CHECK(send(timed[1], "x", 1, 0) == 1);
	kill(getpid(), SIGUSR2);
	close(end_pipe[1]);
	for (int i = 0; i < n; i++)
		pthread_join(threads[i], NULL);
	semctl(semaphores, 0, IPC_RMID);
}
