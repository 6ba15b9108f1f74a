/* Group-stops, faults, and a process that can be killed in any state. */
#include "scenes.h"

#include <poll.h>
#include <pthread.h>

/* All threads of a process stop and go on together, again and again, and die while they are stopped. */
void group_stops(int count)
{
	int status;
	siginfo_t info;
	counters = shared_page();
	pid_t child = fork();
	if (!child) {
		pthread_t thread;
		signal(SIGTSTP, SIG_DFL);
		for (intptr_t i = 0; i < 3; i++)
			pthread_create(&thread, NULL, counting, (void *)i);
		counting((void *)3);
	}
	int with[] = {SIGSTOP, SIGTSTP, SIGSTOP, SIGTSTP, SIGSTOP};
	setpgid(child, child);
	for (int i = 0; i < 5; i++) {
		unsigned long before = counted();
		while (counted() == before)
			nap(1);
		/* an orphaned process group would ignore SIGTSTP; this one has a parent in the same session */
		kill(child, with[i]);
		CHECK(waitpid(child, &status, WUNTRACED) == child && WIFSTOPPED(status) && WSTOPSIG(status) == with[i]);
		before = counted();
		nap(20);
		CHECK(counted() == before);
		CHECK(waitpid(child, &status, WNOHANG | WUNTRACED) == 0);
		/* a second stop changes nothing */
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

static volatile uintptr_t fault_at;

static void on_fault(int signal, siginfo_t *info, void *context)
{
	(void)context;
	fault_at = (uintptr_t)info->si_addr;
	hits = signal;
	if (signal == SIGSEGV)
		mprotect((void *)fault_at, 4096, PROT_READ | PROT_WRITE);
}

/* Faults, breakpoints of the program's own, and the contents of SIGCHLD. */
void faults(int count)
{
	struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO};
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
	CHECK(kept_count == 1 && kept[0].si_pid == child && kept[0].si_code == CLD_EXITED && kept[0].si_status == 33);
	/* an end by a signal without a handler */
	signal(SIGCHLD, SIG_DFL);
	child = fork();
	if (!child) {
		signal(SIGSEGV, SIG_DFL);
		*(volatile char *)8 = 1;
	}
	int status = status_of(child);
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
}

/* Goes through every state in which a process can be killed, for ever. */
void every_state(int count)
{
	pthread_t thread;
	counters = shared_page();
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
