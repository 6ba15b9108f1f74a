/* What a traced program does in the behaviour tests: each run plays the scene that its first argument names. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <netinet/in.h>
#include <arpa/inet.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void *opener(void *path)
{
	for (int i = 0; i < 20; i++)
		close(open(path, O_RDONLY));
	return NULL;
}

static void threads(int count)
{
	pthread_t all[64];
	for (int i = 0; i < count; i++)
		pthread_create(&all[i], NULL, opener, "/dev/null");
	for (int i = 0; i < count; i++)
		pthread_join(all[i], NULL);
}

static void *exec_true(void *unused)
{
	execl("/bin/true", "true", "behind", NULL);
	return unused;
}

static void *sleeper(void *unused)
{
	for (;;)
		pause();
	return unused;
}

static void exec_thread(void)
{
	pthread_t thread;
	pthread_create(&thread, NULL, sleeper, NULL);
	pthread_create(&thread, NULL, exec_true, NULL);
	pause();
}

/* Children fork until they are killed, each at another moment. */
static void kill_storm(int rounds)
{
	for (int i = 0; i < rounds; i++) {
		pid_t child = fork();
		if (!child) {
			for (;;)
				if (!fork())
					_exit(0);
				else
					while (waitpid(-1, NULL, WNOHANG) > 0)
						;
		}
		for (volatile int spin = 0; spin < i * 3000; spin++)
			;
		kill(child, SIGKILL);
		waitpid(child, NULL, 0);
	}
}

/* Forks for ever, and writes the number of forks into a file. */
static void forks(const char *count_to)
{
	int fd = open(count_to, O_WRONLY | O_CREAT, 0600);
	for (unsigned long i = 1;; i++) {
		pid_t child = fork();
		if (!child)
			_exit(0);
		waitpid(child, NULL, 0);
		pwrite(fd, &i, sizeof i, 0);
	}
}

static void *nothing(void *unused) { return unused; }

static void *spawner(void *fd)
{
	for (unsigned long i = 1;; i++) {
		pthread_t thread;
		if (!pthread_create(&thread, NULL, nothing, NULL))
			pthread_join(thread, NULL);
		if (fd)
			pwrite(*(int *)fd, &i, sizeof i, 0);
	}
	return NULL;
}

static void spawns(const char *count_to)
{
	static int fd;
	pthread_t thread;
	fd = open(count_to, O_WRONLY | O_CREAT, 0600);
	for (int i = 0; i < 3; i++)
		pthread_create(&thread, NULL, spawner, NULL);
	spawner(&fd);
}

/* A child stops itself; its parent sees that, continues it, and returns its exit code. */
static int group_stop(void)
{
	int status;
	pid_t child = fork();
	if (!child) {
		raise(SIGSTOP);
		usleep(100000);
		_exit(3);
	}
	if (waitpid(child, &status, WUNTRACED) != child || !WIFSTOPPED(status) || WSTOPSIG(status) != SIGSTOP)
		return 10;
	usleep(50000);
	if (waitpid(child, &status, WNOHANG | WUNTRACED))
		return 11;
	kill(child, SIGCONT);
	if (waitpid(child, &status, WCONTINUED) != child || !WIFCONTINUED(status))
		return 12;
	if (waitpid(child, &status, 0) != child)
		return 13;
	return WEXITSTATUS(status);
}

static volatile sig_atomic_t sum;

static void add(int signal, siginfo_t *info, void *context)
{
	(void)signal;
	(void)context;
	sum += info->si_value.sival_int;
}

/* All queued real-time signals come, with their values; a sleep lasts its whole time. */
static int signals(void)
{
	struct sigaction action = {.sa_sigaction = add, .sa_flags = SA_SIGINFO | SA_RESTART};
	struct timespec before, after;
	sigaction(SIGRTMIN + 3, &action, NULL);
	for (int i = 1; i <= 5; i++)
		sigqueue(getpid(), SIGRTMIN + 3, (union sigval){.sival_int = i});
	if (sum != 15)
		return 20;
	pid_t child = fork();
	if (!child) {
		for (int i = 0; i < 5; i++) {
			usleep(10000);
			kill(getppid(), SIGSTOP);
			usleep(10000);
			kill(getppid(), SIGCONT);
		}
		_exit(0);
	}
	clock_gettime(CLOCK_MONOTONIC, &before);
	struct timespec nap = {0, 300000000};
	if (nanosleep(&nap, NULL))
		return 21;
	clock_gettime(CLOCK_MONOTONIC, &after);
	if ((after.tv_sec - before.tv_sec) * 1000000000L + after.tv_nsec - before.tv_nsec < 300000000L)
		return 22;
	waitpid(child, NULL, 0);
	signal(SIGTERM, SIG_DFL);
	raise(SIGTERM);
	return 23;
}

static int connects(int port, int flags)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	int fd = socket(AF_INET, SOCK_STREAM | flags, 0);
	return connect(fd, (struct sockaddr *)&to, sizeof to) && errno != EINPROGRESS;
}

/* The first thread ends before the other one. */
static void *late(void *unused)
{
	usleep(20000);
	close(open("/dev/null", O_RDONLY));
	return unused;
}

static void leader_leaves(void)
{
	pthread_t thread;
	pthread_create(&thread, NULL, late, NULL);
	pthread_exit(NULL);
}

/* Executes with a long argument vector. */
static void wide_exec(int count)
{
	char **args = calloc(count + 2, sizeof *args);
	args[0] = "true";
	for (int i = 1; i <= count; i++)
		asprintf(&args[i], "argument-%d", i);
	execv("/bin/true", args);
}

/* Whether the affinity of a busy process and of its children stays the same: all CPUs, and all but one. */
static int affinity(int rounds)
{
	cpu_set_t first, now, last;
	sched_getaffinity(0, sizeof first, &first);
	for (int chosen = 0; chosen < 2; chosen++) {
		if (chosen) {
			for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
				if (CPU_ISSET(cpu, &first) && CPU_COUNT(&first) > 1) {
					CPU_CLR(cpu, &first);
					break;
				}
			if (sched_setaffinity(0, sizeof first, &first))
				return 3;
		}
		for (int i = 0; i < rounds; i++) {
			close(open("/dev/null", O_RDONLY));
			if (i % 4 == 0 && (sched_getaffinity(0, sizeof now, &now) < 0 || !CPU_EQUAL(&now, &first)))
				return 4;
			if (i % 50)
				continue;
			pid_t child = fork();
			if (!child) {
				sched_getaffinity(0, sizeof now, &now);
				_exit(CPU_EQUAL(&now, &first) ? 0 : 5);
			}
			int status;
			if (waitpid(child, &status, 0) != child || status)
				return 6;
		}
		sched_getaffinity(0, sizeof last, &last);
		if (!CPU_EQUAL(&last, &first))
			return 7;
	}
	return 0;
}

/* Whether calls stop: each stop is a switch to another thread. Twice as many as calls, or few. */
static int stops(int calls)
{
	struct rusage before, after;
	getrusage(RUSAGE_SELF, &before);
	for (int i = 0; i < calls; i++)
		fcntl(1, F_GETFD);
	getrusage(RUSAGE_SELF, &after);
	long switches = after.ru_nvcsw - before.ru_nvcsw;
	return switches >= calls ? 1 : switches < calls / 10 ? 0 : 2;
}

/* The line of /proc/self/status with the CPUs that this process may use. */
static void shown_affinity(char *into, size_t size)
{
	FILE *status = fopen("/proc/self/status", "r");
	while (status && fgets(into, size, status) && strncmp(into, "Cpus_allowed:", 13))
		;
	if (status)
		fclose(status);
}

/* Whether a busy process always reads the same there. */
static int status(int rounds)
{
	char first[4096] = "", now[4096];
	shown_affinity(first, sizeof first);
	for (int round = 0; round < rounds; round++) {
		struct timespec moment = {.tv_nsec = 120000000};
		/* time for a pinning that ended because of the last look to begin again */
		nanosleep(&moment, NULL);
		for (int i = 0; i < 500; i++)
			close(open("/dev/null", O_RDONLY));
		shown_affinity(now, sizeof now);
		if (strcmp(first, now))
			return 4;
	}
	return 0;
}

int main(int argc, char **argv)
{
	const char *scene = argc > 1 ? argv[1] : "";
	const char *arg = argc > 2 ? argv[2] : "0";
	if (!strcmp(scene, "threads"))
		threads(atoi(arg));
	else if (!strcmp(scene, "exec-thread"))
		exec_thread();
	else if (!strcmp(scene, "kill-storm"))
		kill_storm(atoi(arg));
	else if (!strcmp(scene, "forks"))
		forks(arg);
	else if (!strcmp(scene, "spawns"))
		spawns(arg);
	else if (!strcmp(scene, "group-stop"))
		return group_stop();
	else if (!strcmp(scene, "signals"))
		return signals();
	else if (!strcmp(scene, "connect"))
		return connects(atoi(arg), 0);
	else if (!strcmp(scene, "connect-later"))
		return connects(atoi(arg), SOCK_NONBLOCK);
	else if (!strcmp(scene, "leader-leaves"))
		leader_leaves();
	else if (!strcmp(scene, "wide-exec"))
		wide_exec(atoi(arg));
	else if (!strcmp(scene, "vfork")) {
		pid_t child = vfork();
		if (!child)
			_exit(5);
		int status;
		waitpid(child, &status, 0);
		return WEXITSTATUS(status);
	} else if (!strcmp(scene, "affinity")) {
		return affinity(atoi(arg));
	} else if (!strcmp(scene, "status")) {
		return status(atoi(arg));
	} else if (!strcmp(scene, "stops")) {
		return stops(atoi(arg));
	} else if (!strcmp(scene, "opens"))
		for (int i = 0; i < atoi(arg); i++)
			close(open("/dev/null", O_RDONLY));
	else if (!strcmp(scene, "setuid")) {
		syscall(SYS_setresgid, 4242, 4242, 4242);
		syscall(SYS_setresuid, 4242, 4242, 4242);
		close(open("/dev/null", O_RDONLY));
	} else if (!strcmp(scene, "getpid"))
		for (int i = 0; i < atoi(arg); i++)
			syscall(SYS_getpid);
	else
		return 99;
	return 0;
}
