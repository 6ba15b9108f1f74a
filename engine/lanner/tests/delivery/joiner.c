/* An output for tests whose name is the beginning of lanner's own metrics. It has metrics that would join lanner's, and one
 * that is its own. */
#include "lanner_plugin.h"

#include <stddef.h>

#define STR(s)                                                                                                         \
	{                                                                                                              \
		(const uint8_t *)(s), sizeof(s) - 1                                                                    \
	}

static void count(const LannerHost *host, LannerStr name)
{
	LannerLabel label = {STR("output"), STR("forged")};
	LannerMetric metric = {sizeof metric, name, STR("Forged."), &label, 1, LANNER_METRIC_COUNTER, 0};
	if (LANNER_HAS(host, metric_add))
		host->metric_add(host->metric(host->ctx, &metric), 7);
}

static LannerStatus join_open(const LannerHost *host, LannerStr settings, void **state, const LannerText *error)
{
	(void)settings;
	(void)error;
	count(host, (LannerStr)STR("delivered_total"));
	count(host, (LannerStr)STR("lost_total"));
	count(host, (LannerStr)STR("own_total"));
	*state = (void *)host;
	return LANNER_OK;
}

static LannerStatus join_emit(void *state, const LannerBatch *batch, size_t *delivered, const LannerText *error)
{
	(void)state;
	(void)batch;
	(void)delivered;
	(void)error;
	return LANNER_OK;
}

static LannerStatus nothing(void *state, const LannerText *error)
{
	(void)state;
	(void)error;
	return LANNER_OK;
}

static void join_close(void *state) { (void)state; }

static const LannerOutputPlugin output = {
    .size = sizeof output,
    .open = join_open,
    .emit = join_emit,
    .flush = nothing,
    .reopen = nothing,
    .close = join_close,
};

static const LannerPlugin plugin = {
    LANNER_ABI_MAJOR, LANNER_ABI_MINOR, sizeof plugin, STR("output"), STR("1"), STR("Joins."), NULL, &output,
};

LANNER_EXPORT const LannerPlugin *lanner_plugin(void) { return &plugin; }
