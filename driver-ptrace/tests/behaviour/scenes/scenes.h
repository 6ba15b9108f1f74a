/*
 * Scenes that judge themselves: what a program may expect of the kernel, alone or traced. Exit code 0: it got
 * that; 1: it did not, and standard error says where. No scene depends on how fast the machine is.
 *
 * Each scene is one function; main.c finds it by its name.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHECK(what)                                                                                                    \
	do {                                                                                                           \
		if (!(what)) {                                                                                         \
			fprintf(stderr, "%s:%d: false: %s (errno %d)\n", __FILE__, __LINE__, #what, errno);            \
			_exit(1);                                                                                      \
		}                                                                                                      \
	} while (0)

/* main.c */

/* CLOCK_MONOTONIC in milliseconds. */
long now_ms(void);
/* Sleeps for the whole time, whatever interrupts it. */
void nap(long ms);
/* Installs a handler. */
void on(int signal, void (*handler)(int), int flags);
/* How this program was called. */
extern char *program;
/* Waits for a child; returns its status. */
int status_of(pid_t child);
/* A new page of zeros that children share. */
void *shared_page(void);
/* A handler that counts its signals in `hits`, and that variable. */
void hit(int signal);
extern volatile sig_atomic_t hits;
/* A handler that keeps what queued signals bring, in the order in which they come. */
void keep(int signal, siginfo_t *info, void *context);
extern siginfo_t kept[64];
extern volatile sig_atomic_t kept_count;
/* Sends SIGALRM again and again, and sets `hits` to 0. */
void tick(int every_ms);

/* threads.c */

/* Counts in its place of the page `counters`, and makes a call now and then. For ever. */
void *counting(void *place);
extern volatile unsigned long *counters;
/* The sum of the first four places. */
unsigned long counted(void);
/* Forks and waits. For ever. */
void *forking(void *unused);

/* The scenes; those that take no count ignore it. */
void real_time_signals(int count);
void interrupted_calls(int count);
void restarted_calls(int count);
void ignored_signals(int count);
void blocked_calls(int no_weak);
void group_stops(int count);
void faults(int count);
void every_state(int count);
void births(int count);
void exec_again(int left);
void crowd(int count);
void quick_children(int count);
void own_filters(int count);
void own_listener(int count);
void own_tracer(int count);
void killed_in_a_call(int count);
void hidden_by_filters(int count);
void closed_memory(int count);
void by_another_number(int count);
void stopped_calls(int count);
void unfailing_calls(int count);
void storm(int count);
void withheld_memory(int count);
void late_memory(int count);
void locked_memory(int count);
