/*
 * A plugin that does nothing, with both capabilities. `lanner plugins check libnothing.so --cost` measures with it
 * what a call costs.
 */
#include "lanner_plugin.h"

#define STR(s) { (const uint8_t *)(s), sizeof(s) - 1 }

static int state_of_mine;

static LannerStatus open_output(const LannerHost *host, LannerStr settings, void **state,
                                const LannerText *error) {
    (void)host; (void)settings; (void)error;
    *state = &state_of_mine;
    return LANNER_OK;
}

static LannerStatus emit(void *state, const LannerBatch *batch, size_t *delivered,
                         const LannerText *error) {
    (void)state; (void)batch; (void)delivered; (void)error;
    return LANNER_OK;
}

static LannerStatus push(void *state, const LannerText *error) {
    (void)state; (void)error;
    return LANNER_OK;
}

static void close_state(void *state) { (void)state; }

static LannerStatus open_rules(const LannerHost *host, const LannerRuleRequest *request, void **state,
                               const LannerText *error) {
    (void)host; (void)request; (void)error;
    *state = &state_of_mine;
    return LANNER_OK;
}

static LannerStatus list_rules(void *state, const LannerRuleSink *sink, const LannerText *error) {
    (void)state; (void)sink; (void)error;
    return LANNER_OK;
}

static LannerStatus event_types(void *state, const LannerText *sink, const LannerText *error) {
    (void)state; (void)sink; (void)error;
    return LANNER_OK;
}

static LannerStatus on_event(void *state, const LannerEvent *event, const LannerMatches *matches,
                             const LannerText *error) {
    (void)state; (void)event; (void)matches; (void)error;
    return LANNER_OK;
}

static const LannerOutputPlugin output = {
    .size = sizeof output,
    .open = open_output,
    .emit = emit,
    .flush = push,
    .reopen = push,
    .close = close_state,
};

static const LannerRulePlugin rules = {
    .size = sizeof rules,
    .open = open_rules,
    .rules = list_rules,
    .event_types = event_types,
    .on_event = on_event,
    .close = close_state,
};

static const LannerPlugin plugin = {
    LANNER_ABI_MAJOR, LANNER_ABI_MINOR, sizeof plugin, STR("nothing"), STR("0.1.0"),
    STR("Does nothing."), &rules, &output,
};

const LannerPlugin *lanner_plugin(void) { return &plugin; }
