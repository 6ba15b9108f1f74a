/*
 * The loads of lanner's benchmark.
 *
 *     load CPU RESULT KIND N [COMMAND...]
 *
 * CPU: the only CPU to run on, or -1 for any. RESULT: the file that "ITERATIONS NANOSECONDS PARENT" is written to. Only
 * the loop is timed, not the start of this program or of a tracer. The loop makes N iterations, or fewer if they take
 * more than ENOUGH seconds. PARENT: the nanoseconds of CPU time that the parent of this program, which may be a tracer,
 * has used meanwhile.
 *
 *     getpid    N calls
 *     open      N times open and close
 *     rw        N times one byte read and one byte written
 *     forkexec  N times fork, exec of /bin/true, wait
 *     run       N times COMMAND
 *     storm     getpid for N seconds, at most COMMAND[0] a second (0: as many as possible)
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SECOND 1000000000LL
#define ENOUGH 1
/* The iterations are divided into this many parts. The clock is read after each. */
#define PARTS 100
/* A storm that is ahead of its rate sleeps until the next tick. */
#define TICK (SECOND / 1000)

static long long now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * SECOND + t.tv_nsec;
}

static void sleep_until(long long when)
{
	struct timespec t = {.tv_sec = when / SECOND, .tv_nsec = when % SECOND};
	clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL);
}

/* Runs a program to its end. Returns 0 if it succeeded. */
static int run(char **argv, char **envp)
{
	int status;
	pid_t pid = fork();
	if (pid == 0) {
		execve(argv[0], argv, envp);
		_exit(127);
	}
	return pid < 0 || waitpid(pid, &status, 0) != pid || status;
}

/* The CPU time that the parent has used so far; 0 if the kernel does not say. */
static long long parent_cpu(void)
{
	clockid_t clock;
	struct timespec t;
	if (clock_getcpuclockid(getppid(), &clock) || clock_gettime(clock, &t))
		return 0;
	return t.tv_sec * SECOND + t.tv_nsec;
}

/* Returns the number of calls. */
static long storm(long long seconds, long rate)
{
	long long begin = now(), end = begin + seconds * SECOND, at;
	long calls = 0;
	while ((at = now()) < end) {
		long long tick = (at - begin) / TICK + 1;
		if (rate && calls >= tick * (rate / 1000)) {
			sleep_until(begin + tick * TICK);
			continue;
		}
		for (int i = 0; i < 100; i++)
			syscall(SYS_getpid);
		calls += 100;
	}
	return calls;
}

static int work(const char *kind, long n, char **command, int in, int out)
{
	char *nothing[] = {"/bin/true", NULL}, *empty[] = {NULL}, c;
	if (!strcmp(kind, "getpid")) {
		for (long i = 0; i < n; i++)
			syscall(SYS_getpid);
	} else if (!strcmp(kind, "open")) {
		for (long i = 0; i < n; i++) {
			int fd = open("/etc/passwd", O_RDONLY);
			if (fd < 0)
				return 3;
			close(fd);
		}
	} else if (!strcmp(kind, "rw")) {
		for (long i = 0; i < n; i++)
			if (read(in, &c, 1) != 1 || write(out, &c, 1) != 1)
				return 3;
	} else if (!strcmp(kind, "forkexec")) {
		for (long i = 0; i < n; i++)
			if (run(nothing, empty))
				return 3;
	} else if (!strcmp(kind, "run")) {
		for (long i = 0; i < n; i++)
			if (run(command, environ))
				return 3;
	} else {
		return 2;
	}
	return 0;
}

int main(int argc, char **argv)
{
	if (argc < 5)
		return 2;
	int cpu = atoi(argv[1]);
	const char *kind = argv[3];
	long n = atol(argv[4]), part = (n + PARTS - 1) / PARTS, done = 0;
	int in = open("/dev/zero", O_RDONLY | O_CLOEXEC), out = open("/dev/null", O_WRONLY | O_CLOEXEC);
	if (cpu >= 0) {
		cpu_set_t set;
		CPU_ZERO(&set);
		CPU_SET(cpu, &set);
		if (sched_setaffinity(0, sizeof set, &set))
			return 4;
	}
	FILE *result = fopen(argv[2], "we");
	if (!result || in < 0 || out < 0)
		return 5;
	long long parent = parent_cpu(), begin = now();
	if (!strcmp(kind, "storm")) {
		done = storm(n, argc > 5 ? atol(argv[5]) : 0);
	} else {
		while (done < n && now() < begin + ENOUGH * SECOND) {
			int failed = work(kind, part, argv + 5, in, out);
			if (failed)
				return failed;
			done += part;
		}
	}
	long long took = now() - begin;
	fprintf(result, "%ld %lld %lld\n", done, took, parent_cpu() - parent);
	return fclose(result) ? 5 : 0;
}
