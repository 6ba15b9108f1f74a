/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lanner_plugin.h - the border between lanner and its plugins.
 *
 * A plugin is a shared library that exports one function, lanner_plugin(). This header is all
 * that is needed to write one in C, C++, or any language that can speak C.
 *
 * Rules that hold everywhere:
 *
 *  1. Versions. The host refuses a plugin whose abi_major differs from its own. abi_minor may
 *     differ: structs that begin with `size` may be longer or shorter than this header has them.
 *     Set `size` to sizeof the struct when you fill one in; before you read a field that came
 *     with a later minor version than 0, see that `size` reaches beyond it. Structs without
 *     `size` never change.
 *  2. Ownership. Whoever makes a text, an array or a struct keeps it and frees it. The other side
 *     may read it until the call that passed it returns, and copies what it wants to keep.
 *     Nothing that one side allocated is freed by the other.
 *  3. Texts are pointer and length, not NUL-terminated, and may hold NUL. Names and messages are
 *     UTF-8. Field values are whatever the kernel had.
 *  4. Nothing unwinds, longjmps or throws across the border, in either direction. A plugin that
 *     catches such a thing at its border returns LANNER_PANIC; its state is then closed, and not
 *     called for anything else.
 *  5. Threads. A state is used by one thread at a time, and may move from thread to thread
 *     between calls. Different states are used at the same time.
 *  6. Pointers to sinks (LannerText, LannerRuleSink, LannerMatches) are valid until the call that
 *     passed them returns, on the thread of that call. They are never NULL.
 *  7. The library is never unloaded.
 */
#ifndef LANNER_PLUGIN_H
#define LANNER_PLUGIN_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define LANNER_ABI_MAJOR 1u
#define LANNER_ABI_MINOR 0u

/* How a call went. */
typedef int32_t LannerStatus;
#define LANNER_OK 0        /* well; for emit: everything was delivered */
#define LANNER_ERROR 1     /* failed; the error sink got the reason */
#define LANNER_PANIC 2     /* the state is broken, and must only be closed */
#define LANNER_TRY_AGAIN 3 /* emit only: offer what is undelivered again later */
#define LANNER_GIVE_UP 4   /* emit only: what is undelivered never will be */

/* Log levels. */
#define LANNER_LEVEL_ERROR 1u
#define LANNER_LEVEL_WARN 2u
#define LANNER_LEVEL_INFO 3u
#define LANNER_LEVEL_DEBUG 4u
#define LANNER_LEVEL_TRACE 5u

/* Priorities are syslog's: 0 Emergency, 1 Alert, 2 Critical, 3 Error, 4 Warning, 5 Notice,
 * 6 Informational, 7 Debug. */

/* Bytes that belong to somebody else. ptr may be NULL only if len is 0. */
typedef struct LannerStr {
    const uint8_t *ptr;
    size_t len;
} LannerStr;

/* ------------------------------------------------------------------------------ values -- */

/* What a value is. Take a tag that you do not know for LANNER_NONE. */
#define LANNER_NONE 0u   /* there is no value */
#define LANNER_BOOL 1u   /* data.boolean, 0 or 1 */
#define LANNER_I64 2u    /* data.i64 */
#define LANNER_U64 3u    /* data.u64 */
#define LANNER_F64 4u    /* data.f64 */
#define LANNER_STRING 5u /* data.bytes: text, mostly UTF-8, never sure to be */
#define LANNER_BYTES 6u  /* data.bytes: a buffer */
#define LANNER_IPV4 7u   /* data.ip, first 4 bytes, network byte order */
#define LANNER_IPV6 8u   /* data.ip, 16 bytes, network byte order */
#define LANNER_LIST 9u   /* data.list; its elements are never lists */
#define LANNER_ANY 15u   /* only as LannerField.kind: differs from event to event */

struct LannerValue;

typedef struct LannerList {
    const struct LannerValue *ptr;
    size_t len;
} LannerList;

typedef union LannerValueData {
    uint8_t boolean;
    int64_t i64;
    uint64_t u64;
    double f64;
    LannerStr bytes;
    uint8_t ip[16];
    LannerList list;
} LannerValueData;

typedef struct LannerValue {
    uint32_t tag;
    uint32_t reserved; /* 0 */
    LannerValueData data;
} LannerValue;

/* ----------------------------------------------------------------------- host and sinks -- */

/* Takes a text that somebody hands back, such as an error message. */
typedef struct LannerText {
    void *ctx;
    /* Copies the text. As an error sink: a further call replaces what an earlier one said. */
    void (*put)(void *ctx, LannerStr text);
} LannerText;

/* What the host lends to a plugin. Valid until the process ends. */
typedef struct LannerHost {
    size_t size;
    uint32_t abi_major;
    uint32_t abi_minor;
    const void *ctx; /* pass it to the functions below */
    /* Writes a line to lanner's log; lanner puts the plugin's name before it. Any thread, any
     * time. May block for as long as a write to standard error takes. */
    void (*log)(const void *ctx, uint32_t level, LannerStr message);
} LannerHost;

/* --------------------------------------------------------------------------------- rules -- */

/* LannerField.flags */
#define LANNER_FIELD_LIST 1u   /* a list: `in` asks for all elements, `intersects` for one */
#define LANNER_FIELD_ANY 2u    /* candidates (all ancestors): a comparison holds if one does */
#define LANNER_FIELD_EITHER 4u /* with ANY, two ends: `!=` holds only if it does for both */

typedef struct LannerField {
    uint32_t id;    /* for LannerEvent.get */
    uint32_t kind;  /* LANNER_BOOL .. LANNER_ANY; for lists, what the elements are.
                     * LANNER_IPV6 stands for addresses of both versions. */
    uint32_t flags; /* LANNER_FIELD_ */
    uint32_t reserved;
} LannerField;

/* Looks up names. Valid while open runs, on its thread. Neither function blocks. */
typedef struct LannerResolver {
    size_t size;
    const void *ctx; /* pass it to the functions below */
    /* Finds a field: name `proc.aname`, arg `2`. arg.ptr is NULL if there is no argument. On
     * LANNER_OK, *field is set; on LANNER_ERROR, error has the reason (error may be NULL). */
    LannerStatus (*field)(const void *ctx, LannerStr name, LannerStr arg, LannerField *field,
                          const LannerText *error);
    /* Finds the number of an event type such as `openat`, as LannerEvent.event_type has it.
     * Numbers are small and dense, fit to be indices. */
    LannerStatus (*event_type)(const void *ctx, LannerStr name, uint32_t *event_type,
                               const LannerText *error);
} LannerResolver;

/* A rule file that the host has read. */
typedef struct LannerRuleFile {
    LannerStr name; /* for messages */
    LannerStr text;
} LannerRuleFile;

/* Valid while open runs. */
typedef struct LannerRuleRequest {
    size_t size;
    const LannerResolver *resolver;
    const LannerRuleFile *files; /* in the order in which they were given */
    size_t file_count;
    LannerStr settings; /* a JSON text; empty if there are none */
} LannerRuleRequest;

typedef struct LannerRule {
    size_t size;
    LannerStr name; /* unique */
    LannerStr description;
    LannerStr source; /* where its events come from: `syscall` */
    LannerStr output; /* template of the alert: `%field`, `%field[arg]` */
    const LannerStr *tags;
    size_t tag_count;
    uint32_t priority;
    uint32_t enabled; /* 0: never matches */
} LannerRule;

/* Takes rules. put copies the rule. */
typedef struct LannerRuleSink {
    void *ctx;
    void (*put)(void *ctx, const LannerRule *rule);
} LannerRuleSink;

/* An event. It, and every value that get stored, is valid until on_event returns. */
typedef struct LannerEvent {
    size_t size;
    const void *ctx; /* pass it to get */
    /* Stores the value of a field: LANNER_NONE if the event does not have it or the id was never
     * given out. Does not block. Keep what you need twice. */
    void (*get)(const void *ctx, uint32_t field, LannerValue *value);
    uint32_t event_type;
    uint32_t reserved;
} LannerEvent;

/* Takes the index of a rule that matches. The host makes one alert for each, in this order. */
typedef struct LannerMatches {
    void *ctx;
    void (*put)(void *ctx, uint32_t rule);
} LannerMatches;

/* The capability to decide which events break a rule. All functions must be there. */
typedef struct LannerRulePlugin {
    size_t size;
    /* Loads rules and stores a state in *state, which lanner passes to the other functions. One
     * state for each shard, all opened with the same request; also for trying out rules that are
     * then thrown away. May block and take its time. On failure: nothing is stored, LANNER_ERROR,
     * and error gets a text for the user: file:line:column, what is wrong, what would be right. */
    LannerStatus (*open)(const LannerHost *host, const LannerRuleRequest *request, void **state,
                         const LannerText *error);
    /* Describes all rules, also disabled ones: one put for each, in the order of their indices,
     * which start at 0. The same answer each time. */
    LannerStatus (*rules)(void *state, const LannerRuleSink *sink, const LannerText *error);
    /* Names the event types that the rules want: one put for each, or a single put of `all`.
     * Drivers capture no others, and on_event may get no others. The same answer each time. */
    LannerStatus (*event_types)(void *state, const LannerText *sink, const LannerText *error);
    /* Looks at one event. On the way of every event: must not block, should not allocate. After
     * LANNER_ERROR the host counts and reports, and goes on calling. */
    LannerStatus (*on_event)(void *state, const LannerEvent *event, const LannerMatches *matches,
                             const LannerText *error);
    /* Frees the state. Called once, also after LANNER_PANIC. */
    void (*close)(void *state);
} LannerRulePlugin;

/* ------------------------------------------------------------------------------- outputs -- */

typedef struct LannerAlertField {
    LannerStr name;    /* as in the rule's template: `proc.aname[2]` */
    LannerValue value; /* LANNER_NONE if the event did not have it */
} LannerAlertField;

/* An alert. Valid until emit returns. The host has made text and json once, for all outputs. */
typedef struct LannerAlert {
    size_t size;
    uint64_t time_ns; /* since the epoch */
    LannerStr rule;
    LannerStr source; /* where the event came from: `syscall` */
    LannerStr hostname;
    LannerStr text; /* `HH:MM:SS.nnnnnnnnn: Priority text`, UTF-8, no line break */
    LannerStr json; /* Falco's JSON object, one line, no line break */
    const LannerStr *tags;
    size_t tag_count;
    const LannerAlertField *fields;
    size_t field_count;
    uint32_t priority;
    uint32_t reserved; /* 0 */
} LannerAlert;

/* Alerts to deliver, oldest first. An array of pointers, as an alert may grow. */
typedef struct LannerBatch {
    size_t size;
    const LannerAlert *const *alerts;
    size_t count;
} LannerBatch;

/* The capability to deliver alerts. All functions must be there. */
typedef struct LannerOutputPlugin {
    size_t size;
    /* Takes settings (a JSON text, empty if there are none) and stores a state in *state. One
     * state for each configured output. May block for a short time; a receiver that is away at
     * the moment is no failure. On failure: nothing is stored, LANNER_ERROR, reason to error. */
    LannerStatus (*open)(const LannerHost *host, LannerStr settings, void **state,
                         const LannerText *error);
    /* Delivers alerts in their order, and stores in *delivered how many, counted from the front
     * of the batch (*delivered is 0 before). May block, for some seconds at most: the output's
     * own thread waits, nobody else.
     *   LANNER_OK         all were delivered; *delivered is ignored
     *   LANNER_TRY_AGAIN  the host waits, and offers the undelivered ones again, perhaps with
     *                     more behind them
     *   LANNER_GIVE_UP    the host counts the undelivered ones as lost
     *   LANNER_ERROR      as LANNER_TRY_AGAIN, and reported as a fault of the plugin
     * For the last three, error gets the reason. */
    LannerStatus (*emit)(void *state, const LannerBatch *batch, size_t *delivered,
                         const LannerText *error);
    /* Pushes out what the plugin holds back. When the queue runs empty, and before close. May
     * block as emit may. */
    LannerStatus (*flush)(void *state, const LannerText *error);
    /* Opens files and connections anew, after log rotation. May block as emit may. */
    LannerStatus (*reopen)(void *state, const LannerText *error);
    /* Frees the state. Called once, also after LANNER_PANIC. */
    void (*close)(void *state);
} LannerOutputPlugin;

/* -------------------------------------------------------------------------------- plugin -- */

/* Constant, and valid until the process ends. */
typedef struct LannerPlugin {
    uint32_t abi_major; /* LANNER_ABI_MAJOR; these first three stay for ever */
    uint32_t abi_minor; /* LANNER_ABI_MINOR */
    size_t size;        /* sizeof(LannerPlugin) */
    LannerStr name;     /* lower-case letters, digits, `-`; not empty */
    LannerStr version;
    LannerStr description;            /* one sentence */
    const LannerRulePlugin *rules;    /* or NULL */
    const LannerOutputPlugin *output; /* or NULL; not both NULL */
} LannerPlugin;

#if defined(__GNUC__)
#define LANNER_EXPORT __attribute__((visibility("default")))
#else
#define LANNER_EXPORT
#endif

/* The one function that a plugin exports. Any thread, perhaps several times; must not block. */
LANNER_EXPORT const LannerPlugin *lanner_plugin(void);

#ifdef __cplusplus
}
#endif

#endif /* LANNER_PLUGIN_H */
