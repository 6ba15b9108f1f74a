/* An output for tests: appends the text of each alert to a file. Files in its folder make it refuse or hang. */
#include "lanner_plugin.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef GATE_MAJOR
#define GATE_MAJOR LANNER_ABI_MAJOR
#endif

/* Files in one folder: `out` is written; while `away` exists it asks to be tried again, while `hangs`
 * exists it does not return, while `gives-up` exists it gives up, while `panics` exists it says that it panicked, while
 * `lies` exists it has delivered more than it got, for a reason that leads nowhere; while `slow` exists it takes 20 ms
 * for each alert; if `crashes`, `aborts`, `exits`, `quick-exits`, `leaves`, `thread-leaves`, `thread-crashes` or
 * `thread-ends` exists it does that; if `forks` exists, a process that it starts leaves in each of these ways; while `idles`
 * exists it says that a part is done, and nothing is; while `refuses` exists it
 * refuses alerts whose text ends in 7. `open-hangs` and `flush-hangs` do what they say. Each `reopen` leaves a line in
 * `reopened`. */
struct gate {
	int folder;
};

static LannerStatus gate_open(const LannerHost *host, LannerStr settings, void **state, const LannerText *error)
{
	static const char key[] = "\"folder\":\"";
	char text[4096];
	(void)host;
	if (settings.len >= sizeof text)
		return LANNER_ERROR;
	memcpy(text, settings.ptr, settings.len);
	text[settings.len] = 0;
	char *from = strstr(text, key);
	char *to = from ? strchr(from + sizeof key - 1, '"') : NULL;
	struct gate *gate = to ? malloc(sizeof *gate) : NULL;
	if (gate) {
		*to = 0;
		gate->folder = open(from + sizeof key - 1, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		*state = gate;
		while (gate->folder >= 0 && faccessat(gate->folder, "open-hangs", F_OK, 0) == 0)
			usleep(1000);
		if (gate->folder >= 0)
			return LANNER_OK;
	}
	static const char reason[] = "set `folder` to a folder";
	error->put(error->ctx, (LannerStr){(const uint8_t *)reason, sizeof reason - 1});
	return LANNER_ERROR;
}

static int there(struct gate *gate, const char *name) { return faccessat(gate->folder, name, F_OK, 0) == 0; }

static int append(struct gate *gate, const char *name, const char *text, size_t len)
{
	int fd = openat(gate->folder, name, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
	int whole = write(fd, text, len) == (ssize_t)len;
	close(fd);
	return whole;
}

/* GATE_LOAD is what happens when the library is loaded: 1: it hangs, 2: it exits, 3: it crashes, 4: it starts a process
 * that makes the file GATE_ALIVE and goes on until somebody removes that, 5: it prints what lanner's own process would
 * answer, and ends. */
#ifdef GATE_LOAD
__attribute__((constructor)) static void loaded(void)
{
	while (GATE_LOAD == 1)
		pause();
	if (GATE_LOAD == 2)
		exit(0);
	if (GATE_LOAD == 5) {
		static const char answer[] = "good\n{\"name\":\"output-forged\",\"path\":\"x\"}\nit is good\n";
		if (write(STDOUT_FILENO, answer, sizeof answer - 1) > 0)
			_exit(0);
	}
	if (GATE_LOAD == 3)
		*(volatile int *)16 = 1;
	const char *alive = getenv("GATE_ALIVE");
	if (!alive)
		return;
	pid_t left_behind = fork();
	if (left_behind == 0)
		close(open(alive, O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
	while (access(alive, F_OK) != 0)
		usleep(10000);
	if (left_behind)
		return;
	for (int i = 0; i < 12000 && access(alive, F_OK) == 0; i++)
		usleep(10000);
	_exit(0);
}
#endif

static void *crash(void *unused)
{
	*(volatile int *)16 = 1;
	return unused;
}

static void *leave(void *unused)
{
	_exit(0);
	return unused;
}

/* Children of a plugin may end as they like. */
static void fork_and_leave(struct gate *gate)
{
	int status;
	for (int way = 0; way < 4; way++) {
		pid_t child = fork();
		if (child == 0 && way == 0)
			exit(7);
		if (child == 0 && way == 1)
			quick_exit(7);
		if (child == 0 && way == 2)
			_Exit(7);
		if (child == 0)
			_exit(7);
		if (waitpid(child, &status, 0) != child || !WIFEXITED(status) || WEXITSTATUS(status) != 7)
			abort();
	}
	unlinkat(gate->folder, "forks", 0);
}

static void misbehave(struct gate *gate)
{
	pthread_t thread;
	if (there(gate, "quick-exits"))
		quick_exit(0);
	if (there(gate, "leaves"))
		leave(NULL);
	if (there(gate, "thread-leaves") && pthread_create(&thread, NULL, leave, NULL) == 0)
		pthread_join(thread, NULL);
	if (there(gate, "forks"))
		fork_and_leave(gate);
	if (there(gate, "crashes"))
		crash(NULL);
	if (there(gate, "aborts"))
		abort();
	if (there(gate, "exits"))
		exit(0);
	if (there(gate, "thread-ends"))
		pthread_exit(NULL);
	if (there(gate, "thread-crashes") && pthread_create(&thread, NULL, crash, NULL) == 0)
		pthread_join(thread, NULL);
}

static LannerStatus gate_emit(void *state, const LannerBatch *batch, size_t *delivered, const LannerText *error)
{
	struct gate *gate = state;
	misbehave(gate);
	while (there(gate, "hangs"))
		usleep(1000);
	if (there(gate, "panics"))
		return LANNER_PANIC;
	if (there(gate, "lies")) {
		error->put(error->ctx, (LannerStr){(const uint8_t *)16, (size_t)-1});
		*delivered = batch->count + 1000;
		return LANNER_TRY_AGAIN;
	}
	*delivered = 0;
	if (there(gate, "away"))
		return LANNER_TRY_AGAIN;
	if (there(gate, "gives-up"))
		return LANNER_GIVE_UP;
#ifdef LANNER_GO_ON
	if (there(gate, "idles"))
		return LANNER_GO_ON;
#endif
	size_t count = batch->count;
#ifdef LANNER_GO_ON
	size_t first = 0;
	while (first < count) {
		LannerStr text = batch->alerts[first]->text;
		if (text.len > 0 && text.ptr[text.len - 1] == '7')
			break;
		first++;
	}
	if (there(gate, "refuses"))
		count = first;
#endif
	size_t len = 0;
	for (size_t i = 0; i < count; i++)
		len += batch->alerts[i]->text.len + 1;
	char *lines = malloc(len + 1);
	size_t at = 0;
	for (size_t i = 0; i < count; i++) {
		if (there(gate, "slow"))
			usleep(20000);
		LannerStr text = batch->alerts[i]->text;
		memcpy(lines + at, text.ptr, text.len);
		at += text.len;
		lines[at++] = '\n';
	}
	int whole = append(gate, "out", lines, at);
	free(lines);
#ifdef LANNER_GO_ON
	if (whole && count < batch->count && LANNER_HAS(batch, refused)) {
		static const char reason[] = "it ends in 7";
		error->put(error->ctx, (LannerStr){(const uint8_t *)reason, sizeof reason - 1});
		*delivered = count;
		*batch->refused = 1;
		return LANNER_GO_ON;
	}
#endif
	return whole ? LANNER_OK : LANNER_GIVE_UP;
}

static LannerStatus gate_flush(void *state, const LannerText *error)
{
	(void)error;
	while (there(state, "flush-hangs"))
		usleep(1000);
	return LANNER_OK;
}

static LannerStatus gate_reopen(void *state, const LannerText *error)
{
	(void)error;
	return append(state, "reopened", "again\n", 6) ? LANNER_OK : LANNER_ERROR;
}

static void gate_close(void *state)
{
	struct gate *gate = state;
	close(gate->folder);
	free(gate);
}

#define STR(s)                                                                                                         \
	{                                                                                                              \
		(const uint8_t *)(s), sizeof(s) - 1                                                                    \
	}

static const LannerOutputPlugin output = {
    .size = sizeof output,
    .open = gate_open,
    .emit = gate_emit,
    .flush = gate_flush,
    .reopen = gate_reopen,
    .close = gate_close,
};

/* Pointers for tests that lead nowhere. */
#ifndef GATE_TABLE
#define GATE_TABLE &output
#endif
#ifndef GATE_PLUGIN
#define GATE_PLUGIN &plugin
#endif

static const LannerPlugin plugin = {
    GATE_MAJOR, LANNER_ABI_MINOR, sizeof plugin, STR("output-gate"), STR("1"), STR("A gate."), NULL, GATE_TABLE,
};

const LannerPlugin *lanner_plugin(void) { return GATE_PLUGIN; }
