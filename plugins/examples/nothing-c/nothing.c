/*
 * A plugin that does nothing, as an output and for rules: what a call to it costs is what calls cost
 * (`lanner plugins check libnothing.so --cost`).
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
    sizeof output, open_output, emit, push, push, close_state, NULL,
};

static const LannerRulePlugin rules = {
    sizeof rules, open_rules, list_rules, event_types, on_event, close_state, NULL, NULL, NULL,
};

static const LannerPlugin plugin = {
    LANNER_ABI_MAJOR, LANNER_ABI_MINOR, sizeof plugin, STR("nothing"), STR("0.1.0"),
    STR("Does nothing."), &rules, &output,
};

const LannerPlugin *lanner_plugin(void) { return &plugin; }
