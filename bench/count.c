/* The smallest possible output plugin: it counts alerts and discards them. */
#include "lanner_plugin.h"

static uint64_t alerts;

static LannerStatus count_open(const LannerHost *host, LannerStr settings, void **state, const LannerText *error)
{
	(void)host;
	(void)settings;
	(void)error;
	*state = &alerts;
	return LANNER_OK;
}

static LannerStatus count_emit(void *state, const LannerBatch *batch, size_t *delivered, const LannerText *error)
{
	(void)delivered;
	(void)error;
	*(uint64_t *)state += batch->count;
	return LANNER_OK;
}

static LannerStatus count_nothing(void *state, const LannerText *error)
{
	(void)state;
	(void)error;
	return LANNER_OK;
}

static void count_close(void *state) { (void)state; }

#define STR(s)                                                                                                         \
	{                                                                                                              \
		(const uint8_t *)(s), sizeof(s) - 1                                                                    \
	}

static const LannerOutputPlugin output = {
    sizeof output, count_open, count_emit, count_nothing, count_nothing, count_close,
};

static const LannerPlugin plugin = {
    LANNER_ABI_MAJOR, LANNER_ABI_MINOR, sizeof plugin, STR("output-count"), STR("1"), STR("Counts."), NULL, &output,
};

const LannerPlugin *lanner_plugin(void) { return &plugin; }
