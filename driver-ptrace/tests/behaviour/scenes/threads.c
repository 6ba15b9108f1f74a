/* Processes with many threads. */
#include "scenes.h"

#include <pthread.h>

volatile unsigned long *counters;

void *counting(void *at)
{
	for (;;) {
		counters[(intptr_t)at]++;
		if (counters[(intptr_t)at] % 1024 == 0)
			syscall(SYS_getppid);
	}
	return NULL;
}

unsigned long counted(void)
{
	unsigned long sum = 0;
	for (int i = 0; i < 4; i++)
		sum += counters[i];
	return sum;
}

static char *turns;

static void *execute(void *unused)
{
	nap(2);
	execl(program, program, "exec-again", turns, NULL);
	return unused;
}

void *forking(void *unused)
{
	for (;;) {
		pid_t child = fork();
		if (!child)
			_exit(0);
		waitpid(child, NULL, 0);
	}
	return unused;
}

/* A thread that is not the first executes the program again, while others sleep, run, fork, come and go. */
void exec_again(int left)
{
	pthread_t thread;
	static char text[12];
	static pid_t pid;
	char *known = getenv("SCENE_PID");
	pid = getpid();
	if (known)
		CHECK(atoi(known) == pid && syscall(SYS_gettid) == pid);
	if (!left)
		return;
	char mine[12];
	snprintf(mine, sizeof mine, "%d", pid);
	setenv("SCENE_PID", mine, 1);
	snprintf(text, sizeof text, "%d", left - 1);
	turns = text;
	counters = shared_page();
	pthread_create(&thread, NULL, forking, NULL);
	pthread_create(&thread, NULL, counting, NULL);
	pthread_create(&thread, NULL, execute, NULL);
	if (left % 2)
		/* the first thread is gone already when the other one takes its id */
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

/* `count` threads at once, which end with the whole process. */
void crowd(int count)
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
