/* Plays the scene that the first argument names; the second argument is its count. */
#include "scenes.h"

#include <sys/time.h>
#include <time.h>

char *program;

long now_ms(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

void nap(long ms)
{
	struct timespec left = {ms / 1000, ms % 1000 * 1000000};
	while (nanosleep(&left, &left))
		;
}

void on(int signal, void (*handler)(int), int flags)
{
	struct sigaction action = {.sa_handler = handler, .sa_flags = flags};
	CHECK(!sigaction(signal, &action, NULL));
}

int status_of(pid_t child)
{
	int status;
	CHECK(waitpid(child, &status, __WALL) == child);
	return status;
}

void *shared_page(void)
{
	void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	CHECK(page != MAP_FAILED);
	return page;
}

volatile sig_atomic_t hits;

void hit(int signal)
{
	(void)signal;
	hits++;
}

siginfo_t kept[64];
volatile sig_atomic_t kept_count;

void keep(int signal, siginfo_t *info, void *context)
{
	(void)signal;
	(void)context;
	kept[kept_count++] = *info;
}

void tick(int every_ms)
{
	struct itimerval timer = {{0, every_ms * 1000}, {0, every_ms * 1000}};
	hits = 0;
	setitimer(ITIMER_REAL, &timer, NULL);
}

static const struct scene {
	const char *name;
	void (*play)(int count);
} scenes[] = {
    {"real-time-signals", real_time_signals},
    {"interrupted-calls", interrupted_calls},
    {"restarted-calls", restarted_calls},
    {"ignored-signals", ignored_signals},
    {"blocked-calls", blocked_calls},
    {"group-stops", group_stops},
    {"faults", faults},
    {"every-state", every_state},
    {"births", births},
    {"exec-again", exec_again},
    {"crowd", crowd},
    {"quick-children", quick_children},
    {"own-filters", own_filters},
    {"own-listener", own_listener},
    {"own-tracer", own_tracer},
    {"killed-in-a-call", killed_in_a_call},
    {"hidden-by-filters", hidden_by_filters},
    {"closed-memory", closed_memory},
    {"by-another-number", by_another_number},
    {"stopped-calls", stopped_calls},
    {"unfailing-calls", unfailing_calls},
    {"storm", storm},
    {"withheld-memory", withheld_memory},
    {"late-memory", late_memory},
    {"locked-memory", locked_memory},
};

int main(int argc, char **argv)
{
	const char *name = argc > 1 ? argv[1] : "";
	int count = argc > 2 ? atoi(argv[2]) : 0;

	program = argv[0];
	for (size_t i = 0; i < sizeof scenes / sizeof *scenes; i++)
		if (!strcmp(name, scenes[i].name)) {
			scenes[i].play(count);
			return 0;
		}
	return 99;
}
