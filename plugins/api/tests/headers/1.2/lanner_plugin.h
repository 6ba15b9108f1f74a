/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lanner_plugin.h - the border between lanner and its plugins. Made from plugins/api/src/abi.rs by make header.
 *
 * A plugin is a shared library that exports one function, lanner_plugin(). This header is all
 * that is needed to write one in C, C++, or any language that can speak C.
 *
 * Rules that hold everywhere:
 *
 *  1. Versions. The host refuses a plugin whose abi_major differs from its own. abi_minor may
 *     differ: structs that begin with size may be longer or shorter than this header has them.
 *     Set size to sizeof the struct when you fill one in; before you read a field that came
 *     with a later minor version than 0 (Since 1.1), see that size reaches beyond it. Structs
 *     without size never change.
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
 *  6. Pointers to sinks (LannerText, LannerRuleSink, LannerMatches, ...) are valid until the call that
 *     passed them returns, on the thread of that call. They are never NULL.
 *  7. Blocking. Each function says whether it may block; those that say nothing may not.
 *  8. The library is never unloaded.
 *
 * Priorities are syslog's: 0 Emergency, 1 Alert, 2 Critical, 3 Error, 4 Warning, 5 Notice,
 * 6 Informational, 7 Debug.
 */

#ifndef LANNER_PLUGIN_H
#define LANNER_PLUGIN_H

#include <stddef.h>
#include <stdint.h>

/* The version of the border that must be the same in host and plugin. */
#define LANNER_ABI_MAJOR 1

/* The version that tells what was appended; host and plugin may differ in it. */
#define LANNER_ABI_MINOR 2

/* Log level: something does not work. */
#define LANNER_LEVEL_ERROR 1

/* Log level: something is odd, and somebody should look. */
#define LANNER_LEVEL_WARN 2

/* Log level: something happened that is worth a line. */
#define LANNER_LEVEL_INFO 3

/* Log level: for whoever looks for a fault. */
#define LANNER_LEVEL_DEBUG 4

/* Log level: everything. */
#define LANNER_LEVEL_TRACE 5

/* LannerMetric.kind: only grows, by metric_add. */
#define LANNER_METRIC_COUNTER 1

/* LannerMetric.kind: goes up and down, by metric_set. */
#define LANNER_METRIC_GAUGE 2

/* LannerDiagnostic.severity: the rules cannot be used as they are. */
#define LANNER_SEVERITY_ERROR 1

/* LannerDiagnostic.severity: probably a mistake. */
#define LANNER_SEVERITY_WARNING 2

/* LannerDiagnostic.severity: worth knowing. */
#define LANNER_SEVERITY_NOTE 3

/* LannerValue.tag, LannerField.kind: there is no value. Take a tag that you do not know for this. */
#define LANNER_NONE 0

/* data.boolean: 0 or 1. */
#define LANNER_BOOL 1

/* data.i64. */
#define LANNER_I64 2

/* data.u64. */
#define LANNER_U64 3

/* data.f64. */
#define LANNER_F64 4

/* data.bytes: text as the kernel gave it, mostly UTF-8, never sure to be. */
#define LANNER_STRING 5

/* data.bytes: a buffer. */
#define LANNER_BYTES 6

/* data.ip[0..4], network byte order. */
#define LANNER_IPV4 7

/* data.ip[0..16], network byte order. */
#define LANNER_IPV6 8

/* data.list. */
#define LANNER_LIST 9

/* Kind only: the value's tag differs from event to event. */
#define LANNER_ANY 15

/* LannerField.flags: a list: in asks for all elements, intersects for one. */
#define LANNER_FIELD_LIST 1

/* LannerField.flags: candidates (all ancestors): a comparison holds if it does for any. */
#define LANNER_FIELD_ANY 2

/* LannerField.flags: with LANNER_FIELD_ANY, the two ends of a connection: != holds only if it
 * does for both. */
#define LANNER_FIELD_EITHER 4

/* How a call went: one of the constants that follow. */
typedef int32_t LannerStatus;

/* Bytes that belong to somebody else. ptr may be NULL only if len is 0. */
typedef struct LannerStr {
    /* First byte. */
    const uint8_t *ptr;
    /* Number of bytes; no terminating NUL is counted or needed. */
    size_t len;
} LannerStr;

/* A list of values; its elements are never lists themselves. */
typedef struct LannerList {
    /* First element; may be NULL only if len is 0. */
    const struct LannerValue *ptr;
    /* Number of elements. */
    size_t len;
} LannerList;

/* What a value holds. */
typedef union LannerValueData {
    /* 0 or 1. */
    uint8_t boolean;
    /* Signed. */
    int64_t i64;
    /* Unsigned. */
    uint64_t u64;
    /* Floating. */
    double f64;
    /* String or buffer. */
    struct LannerStr bytes;
    /* Address, network byte order; IPv4 uses the first four. */
    uint8_t ip[16];
    /* Elements. */
    struct LannerList list;
} LannerValueData;

/* A typed value; the tag says which member of data holds it. */
typedef struct LannerValue {
    /* LANNER_BOOL and so on. */
    uint32_t tag;
    /* 0. */
    uint32_t reserved;
    /* The value. */
    union LannerValueData data;
} LannerValue;

/* Takes a text that somebody hands back, such as an error message. Never NULL where the host passes it. */
typedef struct LannerText {
    /* Pass it to put. */
    void *ctx;
    /* Copies the text. As an error sink: a further call replaces what an earlier one said. Only during the
     * call that got the sink, on its thread. Does not block. */
    void (*put)(void *ctx, struct LannerStr text);
} LannerText;

/* The name and the value of one label of a metric. Never changes. */
typedef struct LannerLabel {
    /* Letters, digits and _; does not begin with a digit. */
    struct LannerStr name;
    /* UTF-8. */
    struct LannerStr value;
} LannerLabel;

/* A metric that a plugin wants to have. Since 1.2. Needed during the call of metric only. */
typedef struct LannerMetric {
    /* Bytes in this struct. */
    size_t size;
    /* Letters, digits and _; does not begin with a digit. bytes_sent_total of the plugin output-x is
     * published as lanner_output_x_bytes_sent_total. */
    struct LannerStr name;
    /* One sentence on what it counts, with its unit. */
    struct LannerStr help;
    /* Labels; may be NULL if there are none. */
    const struct LannerLabel *labels;
    /* Number of labels. */
    size_t label_count;
    /* LANNER_METRIC_COUNTER or LANNER_METRIC_GAUGE. */
    uint32_t kind;
    /* 0. */
    uint32_t reserved;
} LannerMetric;

/* What the host lends to a plugin. Valid until the process ends. */
typedef struct LannerHost {
    /* Bytes in this struct. */
    size_t size;
    /* The host's LANNER_ABI_MAJOR. */
    uint32_t abi_major;
    /* The host's LANNER_ABI_MINOR. */
    uint32_t abi_minor;
    /* Pass it to the functions below. */
    const void *ctx;
    /* Writes a line to lanner's log; lanner puts the plugin's name before it. Any thread, any time. May block
     * for as long as a write to standard error takes. */
    void (*log)(const void *ctx, uint32_t level, struct LannerStr message);
    /* Since 1.2. Registers a metric, which lanner publishes with its own, and returns a handle that is valid
     * until the process ends; NULL if the name or the kind makes no sense (the log says why). The same name
     * and labels once more give the same handle. Any thread, any time; does not block for long. */
    const void *(*metric)(const void *ctx, const struct LannerMetric *metric);
    /* Since 1.2. Adds to a counter; of a gauge or NULL nothing becomes. Any thread, any time, never blocks. */
    void (*metric_add)(const void *metric, uint64_t by);
    /* Since 1.2. Sets a gauge; of a counter or NULL nothing becomes. Any thread, any time, never blocks. */
    void (*metric_set)(const void *metric, double to);
} LannerHost;

/* A field that was found. */
typedef struct LannerField {
    /* Pass it to LannerEvent.get. */
    uint32_t id;
    /* LANNER_BOOL .. LANNER_ANY: what the value is; of a list, what the elements are. LANNER_IPV6 stands
     * for addresses of both versions. */
    uint32_t kind;
    /* LANNER_FIELD_LIST and so on, or-ed. */
    uint32_t flags;
    /* 0. */
    uint32_t reserved;
} LannerField;

/* Looks up names. Valid while open or check runs, on its thread. Neither function blocks. */
typedef struct LannerResolver {
    /* Bytes in this struct. */
    size_t size;
    /* Pass it to the functions below. */
    const void *ctx;
    /* Finds a field: name proc.aname, arg 2. arg.ptr is NULL if there is no argument. On LANNER_OK,
     * *field is set; on LANNER_ERROR, error has the reason (it may be NULL). */
    LannerStatus (*field)(const void *ctx,
                          struct LannerStr name,
                          struct LannerStr arg,
                          struct LannerField *field,
                          const struct LannerText *error);
    /* Finds the number of an event type such as openat, as LannerEvent.event_type has it. Numbers are
     * small and dense, fit to be indices. */
    LannerStatus (*event_type)(const void *ctx,
                               struct LannerStr name,
                               uint32_t *event_type,
                               const struct LannerText *error);
} LannerResolver;

/* A rule file that the host has read. */
typedef struct LannerRuleFile {
    /* Its name, for messages. */
    struct LannerStr name;
    /* What it holds. */
    struct LannerStr text;
} LannerRuleFile;

/* What a rule plugin is opened with. Valid while open or check runs. */
typedef struct LannerRuleRequest {
    /* Bytes in this struct. */
    size_t size;
    /* Looks up fields and event types. */
    const struct LannerResolver *resolver;
    /* Rule files, in the order in which they were given. */
    const struct LannerRuleFile *files;
    /* Number of files. */
    size_t file_count;
    /* A JSON text; empty if there are no settings. */
    struct LannerStr settings;
} LannerRuleRequest;

/* A rule, as a plugin describes it. */
typedef struct LannerRule {
    /* Bytes in this struct. */
    size_t size;
    /* Unique. */
    struct LannerStr name;
    /* What it finds and why that matters. */
    struct LannerStr description;
    /* Where its events come from, such as syscall. */
    struct LannerStr source;
    /* Template of the alert's text: %field, %field[arg], %tolower(field). */
    struct LannerStr output;
    /* Tags. */
    const struct LannerStr *tags;
    /* Number of tags. */
    size_t tag_count;
    /* 0 (Emergency) to 7 (Debug), as in syslog. */
    uint32_t priority;
    /* 0: never matches. */
    uint32_t enabled;
} LannerRule;

/* Takes the plugin's rules, one call for each, in the order of their indices. */
typedef struct LannerRuleSink {
    /* Pass it to put. */
    void *ctx;
    /* Copies the rule. */
    void (*put)(void *ctx, const struct LannerRule *rule);
} LannerRuleSink;

/* An event. It, and every value that get stored, is valid until on_event returns. */
typedef struct LannerEvent {
    /* Bytes in this struct. */
    size_t size;
    /* Pass it to get. */
    const void *ctx;
    /* Stores the value of a field: LANNER_NONE if the event does not have it or the id was never given out.
     * Does not block. Keep what you need twice. */
    void (*get)(const void *ctx, uint32_t field, struct LannerValue *value);
    /* What sort of event it is, as LannerResolver.event_type numbers them. */
    uint32_t event_type;
    /* 0. */
    uint32_t reserved;
} LannerEvent;

/* Takes the indices of rules that match. The host makes one alert for each, in this order. */
typedef struct LannerMatches {
    /* Pass it to put. */
    void *ctx;
    /* Notes that a rule matches. Does not block. */
    void (*put)(void *ctx, uint32_t rule);
} LannerMatches;

/* Something to say about rule files. Since 1.1. */
typedef struct LannerDiagnostic {
    /* Bytes in this struct. */
    size_t size;
    /* A short and stable name of what it is, for programs. */
    struct LannerStr code;
    /* As LannerRuleFile.name; empty if it is about no file. */
    struct LannerStr file;
    /* What is wrong. */
    struct LannerStr message;
    /* What would be right; may be empty. */
    struct LannerStr help;
    /* What of the line is worth showing; may be empty. */
    struct LannerStr snippet;
    /* The rule, macro or list that it is about; may be empty. */
    struct LannerStr item;
    /* The field or event type that the host lacks, where that is the reason. */
    struct LannerStr missing;
    /* LANNER_SEVERITY_ERROR and so on. */
    uint32_t severity;
    /* From 1; 0 where there is no place. */
    uint32_t line;
    /* In characters, from 1. */
    uint32_t column;
    /* The character of snippet that column means, from 0. */
    uint32_t caret;
} LannerDiagnostic;

/* Takes diagnostics, one call for each. Since 1.1. */
typedef struct LannerDiagnosticSink {
    /* Pass it to put. */
    void *ctx;
    /* Copies the diagnostic. */
    void (*put)(void *ctx, const struct LannerDiagnostic *diagnostic);
} LannerDiagnosticSink;

/* What a rule comes down to. Since 1.1. */
typedef struct LannerExplanation {
    /* Bytes in this struct. */
    size_t size;
    /* The condition with everything filled in that it names. */
    struct LannerStr condition;
    /* The event types that it can match; meaningless if all_event_types is set. */
    const struct LannerStr *event_types;
    /* Number of event types. */
    size_t event_type_count;
    /* The fields that it looks at. */
    const struct LannerStr *fields;
    /* Number of fields. */
    size_t field_count;
    /* The named parts (macros, lists) that it is made from. */
    const struct LannerStr *parts;
    /* Number of parts. */
    size_t part_count;
    /* 1: it can match events of every type. */
    uint32_t all_event_types;
    /* 0. */
    uint32_t reserved;
} LannerExplanation;

/* Takes an explanation. Since 1.1. */
typedef struct LannerExplanationSink {
    /* Pass it to put. */
    void *ctx;
    /* Copies the explanation. */
    void (*put)(void *ctx, const struct LannerExplanation *explanation);
} LannerExplanationSink;

/* The capability to decide which events break a rule. All functions up to close must be there. */
typedef struct LannerRulePlugin {
    /* Bytes in this struct. */
    size_t size;
    /* Loads rules and stores a state in *state, which lanner passes to the other functions. One state for each
     * shard, all opened with the same request, from several threads perhaps; also for trying out rules that
     * are then thrown away. May block and take its time. On failure: nothing is stored, LANNER_ERROR, and
     * error gets a text for the user: file:line:column, what is wrong, what would be right. */
    LannerStatus (*open)(const struct LannerHost *host,
                         const struct LannerRuleRequest *request,
                         void **state,
                         const struct LannerText *error);
    /* Describes all rules, also disabled ones: one put for each, in the order of their indices, which start
     * at 0. The same answer each time. */
    LannerStatus (*rules)(void *state,
                          const struct LannerRuleSink *sink,
                          const struct LannerText *error);
    /* Names the event types that the rules want: one put for each, or a single put of all. Drivers capture
     * no others, and on_event may get no others. The same answer each time. */
    LannerStatus (*event_types)(void *state,
                                const struct LannerText *sink,
                                const struct LannerText *error);
    /* Looks at one event. On the way of every event: must not block, should not allocate. After LANNER_ERROR
     * the host counts and reports, and goes on calling. */
    LannerStatus (*on_event)(void *state,
                             const struct LannerEvent *event,
                             const struct LannerMatches *matches,
                             const struct LannerText *error);
    /* Frees the state. Called once, also after LANNER_PANIC. */
    void (*close)(void *state);
    /* Since 1.1, may be NULL. Reads rule files as open does and says everything that there is to say about
     * them: one put for each thing. LANNER_OK also if that is bad; LANNER_ERROR only if it could not be
     * found out. Without it, lanner calls open, and shows what that says. */
    LannerStatus (*check)(const struct LannerHost *host,
                          const struct LannerRuleRequest *request,
                          const struct LannerDiagnosticSink *sink,
                          const struct LannerText *error);
    /* Since 1.1, may be NULL. Says what a rule comes down to: one put. */
    LannerStatus (*explain)(void *state,
                            uint32_t rule,
                            const struct LannerExplanationSink *sink,
                            const struct LannerText *error);
    /* Since 1.2, may be NULL. Hands over the JSON schema (draft 2020-12) of the settings: one put. Lanner checks
     * settings against it before it calls open. The same answer each time; must not block. */
    LannerStatus (*schema)(const struct LannerText *sink, const struct LannerText *error);
} LannerRulePlugin;

/* A field of an alert. */
typedef struct LannerAlertField {
    /* As in the rule's template, such as proc.aname[2]. */
    struct LannerStr name;
    /* LANNER_NONE if the event did not have it. */
    struct LannerValue value;
} LannerAlertField;

/* An alert. Valid until emit returns. The host has made text and json once, for all outputs. */
typedef struct LannerAlert {
    /* Bytes in this struct. */
    size_t size;
    /* Nanoseconds since the epoch. */
    uint64_t time_ns;
    /* Name of the rule. */
    struct LannerStr rule;
    /* Where the event came from, such as syscall. */
    struct LannerStr source;
    /* Name of the host. */
    struct LannerStr hostname;
    /* HH:MM:SS.nnnnnnnnn: Priority text, UTF-8, no line break. */
    struct LannerStr text;
    /* Falco's JSON object, one line, no line break. */
    struct LannerStr json;
    /* Tags of the rule. */
    const struct LannerStr *tags;
    /* Number of tags. */
    size_t tag_count;
    /* Fields of the rule's template. */
    const struct LannerAlertField *fields;
    /* Number of fields. */
    size_t field_count;
    /* 0 (Emergency) to 7 (Debug), as in syslog. */
    uint32_t priority;
    /* 0. */
    uint32_t reserved;
} LannerAlert;

/* Alerts to deliver, oldest first. Valid until emit returns. */
typedef struct LannerBatch {
    /* Bytes in this struct. */
    size_t size;
    /* An array of pointers, as an alert may grow. */
    const struct LannerAlert *const *alerts;
    /* Number of alerts. */
    size_t count;
} LannerBatch;

/* The capability to deliver alerts. All functions up to close must be there. */
typedef struct LannerOutputPlugin {
    /* Bytes in this struct. */
    size_t size;
    /* Takes settings (a JSON text, empty if there are none) and stores a state in *state. One state for each
     * configured output. May block for a short time; a receiver that is away at the moment is no failure. On
     * failure: nothing is stored, LANNER_ERROR, reason to error. */
    LannerStatus (*open)(const struct LannerHost *host,
                         struct LannerStr settings,
                         void **state,
                         const struct LannerText *error);
    /* Delivers alerts in their order, and stores in *delivered how many, counted from the front of the batch
     * (*delivered is 0 before). May block, for some seconds at most: the output's own thread waits, nobody
     * else. What it answers:
     *
     * - LANNER_OK: all were delivered; *delivered is ignored
     * - LANNER_TRY_AGAIN: the host waits, and offers the undelivered ones again, perhaps with more behind them
     * - LANNER_GIVE_UP: the host counts the undelivered ones as lost
     * - LANNER_ERROR: as LANNER_TRY_AGAIN, and reported as a fault of the plugin
     *
     * For the last three, error gets the reason. */
    LannerStatus (*emit)(void *state,
                         const struct LannerBatch *batch,
                         size_t *delivered,
                         const struct LannerText *error);
    /* Pushes out what the plugin holds back. When the queue runs empty, and before close. May block as emit
     * may. */
    LannerStatus (*flush)(void *state, const struct LannerText *error);
    /* Opens files and connections anew, after log rotation. May block as emit may. */
    LannerStatus (*reopen)(void *state, const struct LannerText *error);
    /* Frees the state. Called once, also after LANNER_PANIC. */
    void (*close)(void *state);
    /* Since 1.2, may be NULL. Hands over the JSON schema (draft 2020-12) of the settings: one put. Lanner checks
     * settings against it before it calls open. The same answer each time; must not block. */
    LannerStatus (*schema)(const struct LannerText *sink, const struct LannerText *error);
} LannerOutputPlugin;

/* What the exported function returns. Constant, and valid until the process ends. */
typedef struct LannerPlugin {
    /* LANNER_ABI_MAJOR. These first three stay for ever. */
    uint32_t abi_major;
    /* LANNER_ABI_MINOR. */
    uint32_t abi_minor;
    /* Bytes in this struct. */
    size_t size;
    /* Lower-case letters, digits, -; not empty. */
    struct LannerStr name;
    /* Version of the plugin, in whatever form. */
    struct LannerStr version;
    /* One sentence. */
    struct LannerStr description;
    /* The capability to decide on events, or NULL. */
    const struct LannerRulePlugin *rules;
    /* The capability to deliver alerts, or NULL; not both NULL. */
    const struct LannerOutputPlugin *output;
} LannerPlugin;

/* The type of the exported function. Any thread, perhaps several times; must not block. */
typedef const struct LannerPlugin *(*LannerPluginFn)(void);

/* Well; for emit: everything was delivered. */
#define LANNER_OK 0

/* Failed, and the error sink got the reason. */
#define LANNER_ERROR 1

/* The plugin panicked (or caught its language's equivalent): the state is broken, and is only closed. */
#define LANNER_PANIC 2

/* emit only: not now; offer the undelivered alerts again later. */
#define LANNER_TRY_AGAIN 3

/* emit only: the undelivered alerts of this batch will never be delivered. */
#define LANNER_GIVE_UP 4

#endif  /* LANNER_PLUGIN_H */

#if defined(__GNUC__)
#define LANNER_EXPORT __attribute__((visibility("default")))
#else
#define LANNER_EXPORT
#endif

/* The one function that a plugin exports. Any thread, perhaps several times; must not block. */
#ifdef __cplusplus
extern "C"
#endif
LANNER_EXPORT const LannerPlugin *lanner_plugin(void);
