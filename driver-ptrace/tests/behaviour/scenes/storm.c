/* Many processes, threads and signals at once, and calls that never fail. */
#include "scenes.h"

#include <fcntl.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sys/resource.h>
#include <sys/time.h>

/* Signals without SA_RESTART come all the time: calls that cannot fail do not. */
void unfailing_calls(int count)
{
	struct itimerval often = {{0, 300}, {0, 300}}, never = {{0, 0}, {0, 0}};
	uint32_t word = 0;
	on(SIGALRM, hit, 0);
	CHECK(!setitimer(ITIMER_REAL, &often, NULL));
	for (int i = 0; i < count; i++) {
		sigset_t set;
		struct rusage usage;
		CHECK(syscall(SYS_getppid) > 0 && syscall(SYS_gettid) > 0 && syscall(SYS_getuid) >= 0);
		char *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		CHECK(page != MAP_FAILED && !mprotect(page, 4096, PROT_READ) && !madvise(page, 4096, MADV_DONTNEED));
		CHECK(!munmap(page, 4096) && syscall(SYS_brk, 0) > 0);
		CHECK(!syscall(SYS_rt_sigprocmask, SIG_SETMASK, NULL, &set, 8));
		CHECK(!syscall(SYS_rt_sigaction, SIGUSR2, NULL, NULL, 8) && !sigaltstack(NULL, NULL));
		CHECK(syscall(SYS_futex, &word, FUTEX_WAKE, 1, NULL, NULL, 0) == 0);
		CHECK(!sched_yield() && !getrusage(RUSAGE_SELF, &usage) && !getitimer(ITIMER_REAL, &often));
		int fd = open("/dev/null", O_RDONLY);
		CHECK(fd >= 0 || errno == EINTR);
		CHECK(fd < 0 || !close(fd));
	}
	CHECK(!setitimer(ITIMER_REAL, &never, NULL));
	CHECK(hits > 0);
}

static void *reading(void *ends)
{
	char byte;
	while (read(((int *)ends)[0], &byte, 1) == 1 || errno == EINTR)
		errno = 0;
	return NULL;
}

/* Waits for a child, whatever interrupts that. */
static int patient_status_of(pid_t child)
{
	int status;
	pid_t got;
	while ((got = waitpid(child, &status, 0)) < 0 && errno == EINTR)
		;
	CHECK(got == child);
	return status;
}

/* One process of the storm: threads that read, a child that ends, pipes, and a timer. */
static void member(int rounds)
{
	struct itimerval often = {{0, 700}, {0, 700}};
	int ends[2];
	pthread_t threads[3];
	on(SIGALRM, hit, 0);
	on(SIGCHLD, hit, 0);
	CHECK(!setitimer(ITIMER_REAL, &often, NULL));
	CHECK(!pipe(ends));
	for (int i = 0; i < 3; i++)
		CHECK(!pthread_create(&threads[i], NULL, reading, ends));
	for (int i = 0; i < rounds; i++) {
		pid_t child = fork();
		CHECK(child >= 0);
		if (!child)
			_exit(i & 0x7f);
		int status = patient_status_of(child);
		CHECK(WIFEXITED(status) && WEXITSTATUS(status) == (i & 0x7f));
		while (write(ends[1], "x", 1) != 1)
			CHECK(errno == EINTR);
	}
	CHECK(!close(ends[1]));
	for (int i = 0; i < 3; i++)
		CHECK(!pthread_join(threads[i], NULL));
	_exit(0);
}

void storm(int count)
{
	pid_t members[6];
	for (int i = 0; i < 6; i++) {
		members[i] = fork();
		CHECK(members[i] >= 0);
		if (!members[i])
			member(count);
	}
	for (int i = 0; i < 6; i++)
		CHECK(patient_status_of(members[i]) == 0);
}
