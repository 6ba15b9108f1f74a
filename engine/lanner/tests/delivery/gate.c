/* An output for tests: appends the text of each alert to a file. Files in its folder make it refuse or hang. */
#include "lanner_plugin.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifndef GATE_MAJOR
#define GATE_MAJOR LANNER_ABI_MAJOR
#endif

/* Files in one folder: `out` is written; while `away` exists it asks to be tried again, while `hangs`
 * exists it does not return, while `gives-up` exists it gives up, while `panics` exists it says that it panicked, while
 * `lies` exists it has delivered more than it got, for a reason that leads nowhere. `open-hangs` and `flush-hangs` do
 * what they say. Each `reopen` leaves a line in `reopened`. */
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

static LannerStatus gate_emit(void *state, const LannerBatch *batch, size_t *delivered, const LannerText *error)
{
	struct gate *gate = state;
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
	size_t len = 0;
	for (size_t i = 0; i < batch->count; i++)
		len += batch->alerts[i]->text.len + 1;
	char *lines = malloc(len);
	size_t at = 0;
	for (size_t i = 0; i < batch->count; i++) {
		LannerStr text = batch->alerts[i]->text;
		memcpy(lines + at, text.ptr, text.len);
		at += text.len;
		lines[at++] = '\n';
	}
	int whole = append(gate, "out", lines, at);
	free(lines);
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

static const LannerPlugin plugin = {
    GATE_MAJOR, LANNER_ABI_MINOR, sizeof plugin, STR("output-gate"), STR("1"), STR("A gate."), NULL, &output,
};

const LannerPlugin *lanner_plugin(void) { return &plugin; }
