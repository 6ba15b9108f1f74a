/* A rule plugin for tests: one rule, which every new file in the folder `watched` of its folder matches, until it is told
 * to misbehave. */
#include "lanner_plugin.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* While the file `hangs` is in the folder, a call does not return; `panics`: it says that it panicked; `lies`: it names
 * rules that it does not have, and fails for a reason that leads nowhere; `open-hangs`: it does not open. */
struct gate {
	int folder;
	uint32_t name;
	char watched[4096];
};

static int there(struct gate *gate, const char *name) { return faccessat(gate->folder, name, F_OK, 0) == 0; }

#define STR(s)                                                                                                         \
	{                                                                                                              \
		(const uint8_t *)(s), sizeof(s) - 1                                                                    \
	}

static LannerStatus gate_open(const LannerHost *host, const LannerRuleRequest *request, void **state,
			      const LannerText *error)
{
	static const char key[] = "\"folder\":\"";
	const LannerStr name = STR("fd.name"), none = {NULL, 0};
	const LannerResolver *resolver = request->resolver;
	struct gate *gate = calloc(1, sizeof *gate);
	LannerField field;
	(void)host;
	if (request->settings.len >= sizeof gate->watched - sizeof "/watched/")
		return LANNER_ERROR;
	char text[4096];
	memcpy(text, request->settings.ptr, request->settings.len);
	text[request->settings.len] = 0;
	char *from = strstr(text, key);
	char *to = from ? strchr(from + sizeof key - 1, '"') : NULL;
	if (!to || resolver->field(resolver->ctx, name, none, &field, error) != LANNER_OK)
		return LANNER_ERROR;
	*to = 0;
	gate->name = field.id;
	gate->folder = open(from + sizeof key - 1, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	strcpy(gate->watched, from + sizeof key - 1);
	strcat(gate->watched, "/watched/");
	while (there(gate, "open-hangs"))
		usleep(1000);
	*state = gate;
	return gate->folder >= 0 ? LANNER_OK : LANNER_ERROR;
}

static LannerStatus gate_rules(void *state, const LannerRuleSink *sink, const LannerText *error)
{
	const LannerRule rule = {.size = sizeof rule,
				 .name = STR("Theirs"),
				 .description = STR("d"),
				 .priority = 5,
				 .source = STR("syscall"),
				 .output = STR("Theirs %fd.name by %proc.name"),
				 .enabled = 1};
	(void)state;
	(void)error;
	sink->put(sink->ctx, &rule);
	return LANNER_OK;
}

static LannerStatus gate_types(void *state, const LannerText *sink, const LannerText *error)
{
	const LannerStr openat = STR("openat");
	(void)state;
	(void)error;
	sink->put(sink->ctx, openat);
	return LANNER_OK;
}

static LannerStatus gate_on_event(void *state, const LannerEvent *event, const LannerMatches *matches,
				  const LannerText *error)
{
	struct gate *gate = state;
	LannerValue value;
	size_t len = strlen(gate->watched);
	event->get(event->ctx, gate->name, &value);
	if (value.tag != LANNER_STRING || value.data.bytes.len < len ||
	    memcmp(value.data.bytes.ptr, gate->watched, len) != 0)
		return LANNER_OK;
	while (there(gate, "hangs"))
		usleep(1000);
	if (there(gate, "panics"))
		return LANNER_PANIC;
	if (there(gate, "lies")) {
		matches->put(matches->ctx, 0xffffffff);
		error->put(error->ctx, (LannerStr){(const uint8_t *)16, (size_t)-1});
		return LANNER_ERROR;
	}
	matches->put(matches->ctx, 0);
	return LANNER_OK;
}

static void gate_close(void *state)
{
	struct gate *gate = state;
	close(gate->folder);
	free(gate);
}

static const LannerRulePlugin rules = {
    .size = sizeof rules,
    .open = gate_open,
    .rules = gate_rules,
    .event_types = gate_types,
    .on_event = gate_on_event,
    .close = gate_close,
};

static const LannerPlugin plugin = {
    LANNER_ABI_MAJOR, LANNER_ABI_MINOR, sizeof plugin, STR("rules-gate"), STR("1"), STR("A gate."), &rules, NULL,
};

const LannerPlugin *lanner_plugin(void) { return &plugin; }
