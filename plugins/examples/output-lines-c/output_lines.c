/*
 * Output plugin in C: writes alerts as lines to a file. It needs only lanner_plugin.h of lanner.
 *
 * Settings: {"path": "/var/log/alerts"}
 */
#include "lanner_plugin.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STR(s) { (const uint8_t *)(s), sizeof(s) - 1 }

/* One for each configured output. */
typedef struct State {
    char *path;
    FILE *file;
} State;

/* Hands a text to lanner, which shows it to the user. */
static void say(const LannerText *error, const char *text) {
    LannerStr str = { (const uint8_t *)text, strlen(text) };
    error->put(error->ctx, str);
}

/* The value of "path". Lanner has checked the settings against our schema, so they contain nothing else. A plugin with
 * more settings should use a JSON library. */
static char *path_of(LannerStr settings) {
    char *text = malloc(settings.len + 1);
    if (!text) return NULL;
    if (settings.len) memcpy(text, settings.ptr, settings.len);
    text[settings.len] = 0;
    char *value = strstr(text, "\"path\"");
    char *begin = value ? strchr(value + 6, '"') : NULL;
    char *end = begin ? strchr(begin + 1, '"') : NULL;
    if (!end || memchr(begin, '\\', (size_t)(end - begin))) {
        free(text);
        return NULL;
    }
    *end = 0;
    memmove(text, begin + 1, (size_t)(end - begin));
    return text;
}

static LannerStatus open_file(State *state, const LannerText *error) {
    state->file = fopen(state->path, "a");
    if (state->file) return LANNER_OK;
    say(error, strerror(errno));
    return LANNER_ERROR;
}

static void close_output(void *pointer) {
    State *state = pointer;
    if (state->file) fclose(state->file);
    free(state->path);
    free(state);
}

static LannerStatus open_output(const LannerHost *host, LannerStr settings, void **state,
                                const LannerText *error) {
    (void)host;
    State *new_state = calloc(1, sizeof *new_state);
    if (!new_state) return LANNER_ERROR;
    new_state->path = path_of(settings);
    if (!new_state->path) {
        say(error, "`path` is needed, a text without a backslash");
        close_output(new_state);
        return LANNER_ERROR;
    }
    if (open_file(new_state, error) != LANNER_OK) {
        close_output(new_state);
        return LANNER_ERROR;
    }
    *state = new_state;
    return LANNER_OK;
}

static LannerStatus emit(void *pointer, const LannerBatch *batch, size_t *delivered,
                         const LannerText *error) {
    State *state = pointer;
    if (!state->file && open_file(state, error) != LANNER_OK) return LANNER_TRY_AGAIN;
    for (size_t i = 0; i < batch->count; i++) {
        LannerStr text = batch->alerts[i]->text;
        if ((text.len && fwrite(text.ptr, text.len, 1, state->file) != 1)
            || fputc('\n', state->file) == EOF || fflush(state->file) == EOF) {
            say(error, strerror(errno));
            return LANNER_TRY_AGAIN;
        }
        *delivered = i + 1;
    }
    return LANNER_OK;
}

static LannerStatus flush(void *pointer, const LannerText *error) {
    State *state = pointer;
    if (!state->file || fflush(state->file) != EOF) return LANNER_OK;
    say(error, strerror(errno));
    return LANNER_ERROR;
}

static LannerStatus reopen(void *pointer, const LannerText *error) {
    State *state = pointer;
    if (state->file) fclose(state->file);
    return open_file(state, error);
}

static LannerStatus schema(const LannerText *sink, const LannerText *error) {
    (void)error;
    say(sink, "{\"type\": \"object\", \"required\": [\"path\"], \"additionalProperties\": false,"
              " \"properties\": {\"path\": {\"type\": \"string\", \"description\": \"The file.\"}}}");
    return LANNER_OK;
}

static const LannerOutputPlugin output = {
    .size = sizeof output,
    .open = open_output,
    .emit = emit,
    .flush = flush,
    .reopen = reopen,
    .close = close_output,
    .schema = schema,
};

static const LannerPlugin plugin = {
    LANNER_ABI_MAJOR, LANNER_ABI_MINOR, sizeof plugin, STR("output-lines"),
    STR("0.1.0"),     STR("Alerts as lines in a file."), NULL, &output,
};

const LannerPlugin *lanner_plugin(void) { return &plugin; }
