/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lanner_plugin.h - the interface between lanner and its plugins. Generated from plugins/api/src/abi by `make header`.
 *
 * A plugin is a shared library that exports one function, lanner_plugin(). This header is all that you need to write
 * one in C, C++, or any language that can call C.
 *
 * Rules that hold everywhere:
 *
 *  1. Versions. The host refuses a plugin whose abi_major differs from its own. abi_minor may differ: structs that
 *     begin with `size` may be longer or shorter than in this header. Set `size` to sizeof the struct when you fill
 *     one in. Before you read a field that came with a later minor version than 0 (`Since 1.1`), check that the struct
 *     has it: LANNER_HAS(batch, refused). Structs without `size` never change.
 *  2. Ownership. Whoever creates a text, an array or a struct keeps it and frees it. The other side may read it until
 *     the call that passed it returns, and copies what it wants to keep. Neither side frees memory of the other.
 *  3. Texts are a pointer and a length. They have no terminating NUL and may contain NUL. Names and messages are
 *     UTF-8. Field values are the kernel's bytes.
 *  4. Nothing unwinds, longjmps or throws across this interface, in either direction. A plugin that catches such a
 *     thing returns LANNER_PANIC. The host then closes the state, and calls nothing else with it.
 *  5. Threads. One thread at a time uses a state. A state may move between threads from call to call. Several threads
 *     use different states at the same time.
 *  6. Pointers to sinks (LannerText, LannerRuleSink, LannerMatches, ...) are valid until the call that passed them
 *     returns, on the thread of that call. They are never NULL.
 *  7. Blocking. Each function says whether it may block. A function that says nothing must not block.
 *  8. The host never unloads the library.
 *  9. Settings. Without settings in the configuration, the text is empty (len 0), not `null` or `{}`. Treat it as `{}`.
 *     Otherwise it is one JSON value, usually an object, that fits the schema if the plugin has one.
 * 10. Time. on_event runs for every event, often a million times a second: it should take less than a microsecond.
 *     emit runs for up to 256 alerts, and should return after about a second (LANNER_GO_ON). The host calls flush when
 *     no more alerts wait, and before close: what emit buffers must be written out there.
 * 11. Threads of your own. A plugin may start threads, which may use the host's table (log, metrics) at any time. Block
 *     all signals in them: the signals of the process are lanner's. Do not change signal handlers, the signal mask of
 *     the thread that calls you, the working directory, the umask or the environment. End your threads in close: the
 *     state is gone afterwards.
 * 12. Processes. lanner has many threads, so a child may only call functions that are safe after fork() until it calls
 *     exec: use posix_spawn() or vfork(). Open descriptors with O_CLOEXEC. Wait for your own children alone, by pid.
 *     Never call exit() or abort(), nor pthread_exit() on a thread of lanner's: they end lanner.
 * 13. Crashes. A plugin that crashes ends lanner. lanner prints the plugin's name before that, if the crash is in the
 *     plugin's code or in a call of the plugin.
 *
 * Priorities are those of syslog: 0 Emergency, 1 Alert, 2 Critical, 3 Error, 4 Warning, 5 Notice, 6 Informational,
 * 7 Debug.
 */

#ifndef LANNER_PLUGIN_H
#define LANNER_PLUGIN_H

#include <stddef.h>
#include <stdint.h>

/* The major version of this interface. Host and plugin must have the same. */
#define LANNER_ABI_MAJOR 1

/* The minor version of this interface. Host and plugin may differ: a higher one only appends fields. */
#define LANNER_ABI_MINOR 7

/* Log level: a failure. */
#define LANNER_LEVEL_ERROR 1

/* Log level: something unusual that a person should look at. */
#define LANNER_LEVEL_WARN 2

/* Log level: normal events worth a line. */
#define LANNER_LEVEL_INFO 3

/* Log level: details for finding a fault. */
#define LANNER_LEVEL_DEBUG 4

/* Log level: every detail. */
#define LANNER_LEVEL_TRACE 5

/* `LannerMetric.kind`: only grows, by `metric_add`. */
#define LANNER_METRIC_COUNTER 1

/* `LannerMetric.kind`: goes up and down, by `metric_set`. */
#define LANNER_METRIC_GAUGE 2

/* `LannerDiagnostic.severity`: the rules cannot be used as they are. */
#define LANNER_SEVERITY_ERROR 1

/* `LannerDiagnostic.severity`: probably a mistake. */
#define LANNER_SEVERITY_WARNING 2

/* `LannerDiagnostic.severity`: information. */
#define LANNER_SEVERITY_NOTE 3

/* `LannerComparison.relation`: none of the relations below. Treat an unknown relation as this one. */
#define LANNER_RELATION_OTHER 0

/* `LannerComparison.relation`: whether the value equals a constant, or an address is in a network (`=`, `!=`, `in`). */
#define LANNER_RELATION_EQUAL 1

/* `LannerComparison.relation`: whether the value is less or greater than a constant (`<`, `>=`). */
#define LANNER_RELATION_ORDER 2

/* `LannerComparison.relation`: whether the value begins with a constant. */
#define LANNER_RELATION_PREFIX 3

/* `LannerComparison.relation`: whether the value ends with a constant. */
#define LANNER_RELATION_SUFFIX 4

/* `LannerComparison.relation`: whether the value contains a constant. */
#define LANNER_RELATION_CONTAINS 5

/* `LannerComparison.relation`: whether the value fits a pattern (wildcards, a regular expression). */
#define LANNER_RELATION_PATTERN 6

/* `LannerTest.relation`: the value equals one of the constants (`=`, `in`). */
#define LANNER_TEST_EQUAL 1

/* `LannerTest.relation`: there is a value, and it equals none of the constants (`!=`). */
#define LANNER_TEST_UNEQUAL 2

/* `LannerTest.relation`: the value is less than the constant. */
#define LANNER_TEST_LESS 3

/* `LannerTest.relation`: the value is less than the constant or equal to it. */
#define LANNER_TEST_LESS_OR_EQUAL 4

/* `LannerTest.relation`: the value is greater than the constant. */
#define LANNER_TEST_GREATER 5

/* `LannerTest.relation`: the value is greater than the constant or equal to it. */
#define LANNER_TEST_GREATER_OR_EQUAL 6

/* `LannerTest.relation`: there is a value (`exists`). There are no constants. */
#define LANNER_TEST_EXISTS 7

/* `LannerField.flags`: the value is a list. `in` compares all elements, `intersects` any element. */
#define LANNER_FIELD_LIST 1

/* `LannerField.flags`: the value is a list of candidates (all ancestors, for example). A comparison holds if it
 * holds for one candidate. */
#define LANNER_FIELD_ANY 2

/* `LannerField.flags`: set together with `LANNER_FIELD_ANY` for the two ends of a connection. `!=` holds only if it
 * holds for both ends. */
#define LANNER_FIELD_EITHER 4

/* `LannerField.flags`: a comparison of the field can keep the driver from capturing an event (`needs`). Since 1.6. */
#define LANNER_FIELD_SELECTS 8

/* `LannerField.flags`: no event has a value. The name is there for rules that were written for another program. Since 1.7. */
#define LANNER_FIELD_NEVER 16

/* `LannerValue.tag`, `LannerField.kind`: there is no value. Treat an unknown tag as this one. */
#define LANNER_NONE 0

/* `data.boolean`: 0 or 1. */
#define LANNER_BOOL 1

/* `data.i64`. */
#define LANNER_I64 2

/* `data.u64`. */
#define LANNER_U64 3

/* `data.f64`. */
#define LANNER_F64 4

/* `data.bytes`: text as the kernel gave it; usually UTF-8, but not guaranteed to be. */
#define LANNER_STRING 5

/* `data.bytes`: a buffer. */
#define LANNER_BYTES 6

/* `data.ip[0..4]`, network byte order. */
#define LANNER_IPV4 7

/* `data.ip[0..16]`, network byte order. */
#define LANNER_IPV6 8

/* `data.list`. */
#define LANNER_LIST 9

/* `LannerField.kind` only: the tag of the value differs from event to event. */
#define LANNER_ANY 15

/* The result of a call: one of the constants that follow. */
typedef int32_t LannerStatus;

/* Bytes that the other side owns. `ptr` is NULL only if `len` is 0. */
typedef struct LannerStr {
    /* First byte. */
    const uint8_t *ptr;
    /* Number of bytes. There is no terminating NUL. */
    size_t len;
} LannerStr;

/* The name and the value of one label of a metric. Never changes. */
typedef struct LannerLabel {
    /* Letters, digits and `_`; does not begin with a digit. */
    struct LannerStr name;
    /* UTF-8. */
    struct LannerStr value;
} LannerLabel;

/* A metric to register. Since 1.2. Must stay valid only during the call of `metric`. */
typedef struct LannerMetric {
    /* Bytes in this struct. */
    size_t size;
    /* Letters, digits and `_`; does not begin with a digit. Lanner publishes `bytes_sent_total` of the plugin
     * `output-x` as `lanner_output_x_bytes_sent_total`. */
    struct LannerStr name;
    /* One sentence: what it counts, in which unit. */
    struct LannerStr help;
    /* Labels; may be NULL if there are none. */
    const struct LannerLabel *labels;
    /* Number of labels. */
    size_t label_count;
    /* `LANNER_METRIC_COUNTER` or `LANNER_METRIC_GAUGE`. */
    uint32_t kind;
    /* 0. */
    uint32_t reserved;
} LannerMetric;

/* What the host lends to a plugin. Valid until the process ends. */
typedef struct LannerHost {
    /* Bytes in this struct. */
    size_t size;
    /* The host's `LANNER_ABI_MAJOR`. */
    uint32_t abi_major;
    /* The host's `LANNER_ABI_MINOR`. */
    uint32_t abi_minor;
    /* Pass it to the functions below. */
    const void *ctx;
    /* Writes a line to lanner's log, after the plugin's name. Any thread, any time. May block as long as a write
     * to standard error takes. */
    void (*log)(const void *ctx, uint32_t level, struct LannerStr message);
    /* Since 1.2. Registers a metric, which lanner publishes with its own metrics. Returns a handle that is valid
     * until the process ends, or NULL if the name or the kind is invalid (the log says why). Registering the same
     * name and labels again returns the same handle. Any thread, any time; may block for a short time. */
    const void *(*metric)(const void *ctx, const struct LannerMetric *metric);
    /* Since 1.2. Adds to a counter. Ignored for a gauge or NULL. Any thread, any time; never blocks. */
    void (*metric_add)(const void *metric, uint64_t by);
    /* Since 1.2. Sets a gauge. Ignored for a counter or NULL. Any thread, any time; never blocks. */
    void (*metric_set)(const void *metric, double to);
} LannerHost;

/* A list of values. Its elements are never lists themselves. */
typedef struct LannerList {
    /* First element. NULL only if `len` is 0. */
    const struct LannerValue *ptr;
    /* Number of elements. */
    size_t len;
} LannerList;

/* The data of a value. */
typedef union LannerValueData {
    /* 0 or 1. */
    uint8_t boolean;
    /* Signed number. */
    int64_t i64;
    /* Unsigned number. */
    uint64_t u64;
    /* Floating-point number. */
    double f64;
    /* String or buffer. */
    struct LannerStr bytes;
    /* Address in network byte order. IPv4 uses the first four bytes. */
    uint8_t ip[16];
    /* Elements. */
    struct LannerList list;
} LannerValueData;

/* A typed value. The tag says which member of `data` is set. */
typedef struct LannerValue {
    /* `LANNER_BOOL` and so on. */
    uint32_t tag;
    /* 0. */
    uint32_t reserved;
    /* The value. */
    union LannerValueData data;
} LannerValue;

/* A sink for a text that the called side hands back, such as an error message. The host never passes NULL for it. */
typedef struct LannerText {
    /* Pass it to `put`. */
    void *ctx;
    /* Copies the text. An error sink keeps only the text of the last `put`. Use it only during the call that
     * passed the sink, and on the thread of that call. Does not block. */
    void (*put)(void *ctx, struct LannerStr text);
} LannerText;

/* The result of a field look-up. */
typedef struct LannerField {
    /* Pass it to `LannerEvent.get`. */
    uint32_t id;
    /* `LANNER_BOOL` .. `LANNER_ANY`: the type of the value, or of the elements of a list. `LANNER_IPV6` covers
     * addresses of both versions. */
    uint32_t kind;
    /* `LANNER_FIELD_LIST` and so on, or-ed. */
    uint32_t flags;
    /* 0. */
    uint32_t reserved;
} LannerField;

/* Looks up names. Valid while `open` or `check` runs, on its thread. Neither function blocks. */
typedef struct LannerResolver {
    /* Bytes in this struct. */
    size_t size;
    /* Pass it to the functions below. */
    const void *ctx;
    /* Finds a field: name `proc.aname`, arg `2`. `arg.ptr` is NULL if there is no argument. `LANNER_OK` sets
     * `*field`. On `LANNER_ERROR`, `error` receives the reason; `error` may be NULL. */
    LannerStatus (*field)(const void *ctx,
                          struct LannerStr name,
                          struct LannerStr arg,
                          struct LannerField *field,
                          const struct LannerText *error);
    /* Finds the number of an event type such as `openat`, as in `LannerEvent.event_type`. Numbers are small and
     * dense, so they can index an array. */
    LannerStatus (*event_type)(const void *ctx,
                               struct LannerStr name,
                               uint32_t *event_type,
                               const struct LannerText *error);
} LannerResolver;

/* A rule file that the host has read. */
typedef struct LannerRuleFile {
    /* Its name, for messages. */
    struct LannerStr name;
    /* Its contents. */
    struct LannerStr text;
} LannerRuleFile;

/* What a rule plugin is opened with. Valid while `open` or `check` runs. */
typedef struct LannerRuleRequest {
    /* Bytes in this struct. */
    size_t size;
    /* Looks up fields and event types. */
    const struct LannerResolver *resolver;
    /* Rule files, in the order in which the user gave them. */
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
    /* What it finds, and why that matters. */
    struct LannerStr description;
    /* The source of its events, such as `syscall`. */
    struct LannerStr source;
    /* Template of the alert's text: `%field`, `%field[arg]`, `%tolower(field)`. */
    struct LannerStr output;
    /* Tags. */
    const struct LannerStr *tags;
    /* Number of tags. */
    size_t tag_count;
    /* 0 (Emergency) to 7 (Debug), as in syslog. */
    uint32_t priority;
    /* 0: it never matches. */
    uint32_t enabled;
} LannerRule;

/* Takes the plugin's rules, one call for each, in the order of their indices. */
typedef struct LannerRuleSink {
    /* Pass it to `put`. */
    void *ctx;
    /* Copies the rule. */
    void (*put)(void *ctx, const struct LannerRule *rule);
} LannerRuleSink;

/* An event. The event and every value that `get` stored are valid until `on_event` returns. */
typedef struct LannerEvent {
    /* Bytes in this struct. */
    size_t size;
    /* Pass it to `get`. */
    const void *ctx;
    /* Stores the value of a field, or `LANNER_NONE` if the event does not have the field or the id is unknown.
     * Does not block. Keep a value that you need twice: the host may compute it again for each call. */
    void (*get)(const void *ctx, uint32_t field, struct LannerValue *value);
    /* The number of the event's type, as from `LannerResolver.event_type`. */
    uint32_t event_type;
    /* 0. */
    uint32_t reserved;
} LannerEvent;

/* Takes the indices of rules that match. The host creates one alert for each, in this order. */
typedef struct LannerMatches {
    /* Pass it to `put`. */
    void *ctx;
    /* Records that a rule matches. Does not block. */
    void (*put)(void *ctx, uint32_t rule);
} LannerMatches;

/* A message about rule files. Since 1.1. */
typedef struct LannerDiagnostic {
    /* Bytes in this struct. */
    size_t size;
    /* A short, stable name of the problem, for programs. */
    struct LannerStr code;
    /* The name of the file, as in `LannerRuleFile.name`; empty if the message concerns no file. */
    struct LannerStr file;
    /* What is wrong. */
    struct LannerStr message;
    /* How to fix it; may be empty. */
    struct LannerStr help;
    /* The part of the line to show; may be empty. */
    struct LannerStr snippet;
    /* The rule, macro or list concerned; may be empty. */
    struct LannerStr item;
    /* The field or event type that the host lacks, if that is the reason; else empty. */
    struct LannerStr missing;
    /* `LANNER_SEVERITY_ERROR` and so on. */
    uint32_t severity;
    /* From 1; 0 if the message has no place. */
    uint32_t line;
    /* In characters, from 1. */
    uint32_t column;
    /* The character of `snippet` that `column` points at, from 0. */
    uint32_t caret;
} LannerDiagnostic;

/* Takes diagnostics, one call for each. Since 1.1. */
typedef struct LannerDiagnosticSink {
    /* Pass it to `put`. */
    void *ctx;
    /* Copies the diagnostic. */
    void (*put)(void *ctx, const struct LannerDiagnostic *diagnostic);
} LannerDiagnosticSink;

/* A rule with all names filled in. Since 1.1. */
typedef struct LannerExplanation {
    /* Bytes in this struct. */
    size_t size;
    /* The condition, with the contents of macros and lists in place of their names. */
    struct LannerStr condition;
    /* The event types that it can match. Ignored if `all_event_types` is set. */
    const struct LannerStr *event_types;
    /* Number of event types. */
    size_t event_type_count;
    /* The fields that it reads. */
    const struct LannerStr *fields;
    /* Number of fields. */
    size_t field_count;
    /* The macros and lists that it uses. */
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
    /* Pass it to `put`. */
    void *ctx;
    /* Copies the explanation. */
    void (*put)(void *ctx, const struct LannerExplanation *explanation);
} LannerExplanationSink;

/* A field that rules compare with constants. Since 1.3. */
typedef struct LannerComparison {
    /* Bytes in this struct. */
    size_t size;
    /* The field, with its argument in brackets: `fd.sip.name`, `proc.aname[2]`. */
    struct LannerStr field;
    /* The functions that are applied to the field before it is compared, outermost first: `tolower`. May be NULL
     * if there are none. */
    const struct LannerStr *transformers;
    /* Number of transformers. */
    size_t transformer_count;
    /* The constants, as text. May be NULL if there are none. */
    const struct LannerStr *constants;
    /* Number of constants. */
    size_t constant_count;
    /* `LANNER_RELATION_EQUAL` and so on. */
    uint32_t relation;
    /* 0. */
    uint32_t reserved;
} LannerComparison;

/* Takes comparisons, one call for each. Since 1.3. */
typedef struct LannerComparisonSink {
    /* Pass it to `put`. */
    void *ctx;
    /* Copies the comparison. It reads at most 16384 constants: pass more in several calls. */
    void (*put)(void *ctx, const struct LannerComparison *comparison);
} LannerComparisonSink;

/* What a rule asks to keep in a file when it matches. Since 1.5. */
typedef struct LannerCapture {
    /* Bytes in this struct. */
    size_t size;
    /* Index of the rule. */
    uint32_t rule;
    /* 0. */
    uint32_t reserved;
    /* How long events are kept after the match, in milliseconds. 0: as the configuration says. */
    uint64_t duration_ms;
    /* How long events are kept that happened before the match, in milliseconds. `UINT64_MAX`: as the configuration
     * says. */
    uint64_t before_ms;
    /* The most events after the match. 0: any number. */
    uint64_t events;
    /* The most bytes of the file. 0: as the configuration says. */
    uint64_t bytes;
} LannerCapture;

/* Takes what rules ask to keep, one call for each rule. Since 1.5. */
typedef struct LannerCaptureSink {
    /* Pass it to `put`. */
    void *ctx;
    /* Copies it. */
    void (*put)(void *ctx, const struct LannerCapture *capture);
} LannerCaptureSink;

/* A comparison of a field with constants. Without a value, no comparison holds. Since 1.6. */
typedef struct LannerTest {
    /* The field, as the rules have it: `evt.failed`, `evt.rawarg.flags`. */
    struct LannerStr field;
    /* The constants, as text: `true`, `-1`. May be NULL if there are none. */
    const struct LannerStr *constants;
    /* Number of constants; 1 for those relations that compare with one. */
    size_t constant_count;
    /* `LANNER_TEST_EQUAL` and so on. An unknown relation always holds. */
    uint32_t relation;
    /* 1: the comparison must not hold. */
    uint32_t negated;
} LannerTest;

/* Events that rules may match: those of a type for which all tests hold. Since 1.6. */
typedef struct LannerNeed {
    /* Bytes in this struct. */
    size_t size;
    /* The event type, as from `event_types`. */
    struct LannerStr event_type;
    /* The tests. May be NULL if there are none. */
    const struct LannerTest *tests;
    /* Number of tests. */
    size_t test_count;
} LannerNeed;

/* Takes needs, one call for each. Since 1.6. */
typedef struct LannerNeedSink {
    /* Pass it to `put`. */
    void *ctx;
    /* Copies the need. */
    void (*put)(void *ctx, const struct LannerNeed *need);
} LannerNeedSink;

/* The capability to decide which events break a rule. All functions up to `close` are required. */
typedef struct LannerRulePlugin {
    /* Bytes in this struct. */
    size_t size;
    /* Loads rules and stores a state in `*state`, which lanner passes to the other functions. Several states may
     * be open at once, opened from several threads: at a reload, lanner opens one for the new rules while the one
     * before is in use. It also opens states to try out rules, and closes them unused. May block. On failure: stores
     * nothing, returns `LANNER_ERROR`, and gives `error` a text for the user: file:line:column, what is wrong, how to
     * fix it. */
    LannerStatus (*open)(const struct LannerHost *host,
                         const struct LannerRuleRequest *request,
                         void **state,
                         const struct LannerText *error);
    /* Describes all rules, disabled ones included: one `put` for each, in the order of their indices, which start
     * at 0. Gives the same answer each time. */
    LannerStatus (*rules)(void *state,
                          const struct LannerRuleSink *sink,
                          const struct LannerText *error);
    /* Names the event types that the rules need: one `put` for each, or a single `put` of `all`. Drivers capture
     * only these, and `on_event` may receive only these. Gives the same answer each time. */
    LannerStatus (*event_types)(void *state,
                                const struct LannerText *sink,
                                const struct LannerText *error);
    /* Evaluates one event. Runs for every event: must not block, should not allocate. After `LANNER_ERROR` the
     * host counts and reports the failure, and keeps calling. */
    LannerStatus (*on_event)(void *state,
                             const struct LannerEvent *event,
                             const struct LannerMatches *matches,
                             const struct LannerText *error);
    /* Frees the state. Called once, even after `LANNER_PANIC`. */
    void (*close)(void *state);
    /* Since 1.1, may be NULL. Reads rule files as `open` does and reports everything about them: one `put` for
     * each diagnostic. Returns `LANNER_OK` even if the files are wrong, and `LANNER_ERROR` only if it could not
     * check them. Without this function, lanner calls `open` and shows its error. */
    LannerStatus (*check)(const struct LannerHost *host,
                          const struct LannerRuleRequest *request,
                          const struct LannerDiagnosticSink *sink,
                          const struct LannerText *error);
    /* Since 1.1, may be NULL. Explains a rule: one `put`. */
    LannerStatus (*explain)(void *state,
                            uint32_t rule,
                            const struct LannerExplanationSink *sink,
                            const struct LannerText *error);
    /* Since 1.2, may be NULL. Hands over the JSON schema (draft 2020-12) of the settings: one `put`. Lanner checks
     * settings against it before it calls `open`. Gives the same answer each time; must not block. */
    LannerStatus (*schema)(const struct LannerText *sink, const struct LannerText *error);
    /* Since 1.3, may be NULL. Reports which fields the rules compare with which constants: one `put` for each
     * comparison in a rule that can match. Lanner prepares fields with it: it resolves only the host names that a
     * rule compares `fd.sip.name` and similar fields with. Without this function, those fields have no value for
     * the rules of this plugin. Gives the same answer each time; must not block. */
    LannerStatus (*comparisons)(void *state,
                                const struct LannerComparisonSink *sink,
                                const struct LannerText *error);
    /* Since 1.5, may be NULL. Reports which rules want the events around a match in a file: one `put` for each of these
     * rules. Without this function, none does. Gives the same answer each time; must not block. */
    LannerStatus (*captures)(void *state,
                             const struct LannerCaptureSink *sink,
                             const struct LannerText *error);
    /* Since 1.6, may be NULL. Reports which events of a type the rules can match: one `put` for each set of tests that
     * must hold together. Drivers may leave out an event of a type that has needs if none of them holds. A type without
     * needs has no such limit. More events than needed do no harm, so leave tests out rather than report many. Tests of
     * fields without `LANNER_FIELD_SELECTS` are ignored. Gives the same answer each time; must not block. */
    LannerStatus (*needs)(void *state,
                          const struct LannerNeedSink *sink,
                          const struct LannerText *error);
} LannerRulePlugin;

/* A field of an alert. */
typedef struct LannerAlertField {
    /* As in the rule's template, such as `proc.aname[2]`. */
    struct LannerStr name;
    /* `LANNER_NONE` if the event did not have the field. */
    struct LannerValue value;
} LannerAlertField;

/* An alert. Valid until `emit` returns. The host formats text and json once, for all outputs. */
typedef struct LannerAlert {
    /* Bytes in this struct. */
    size_t size;
    /* Nanoseconds since the epoch. */
    uint64_t time_ns;
    /* Name of the rule. */
    struct LannerStr rule;
    /* The source of the event, such as `syscall`. */
    struct LannerStr source;
    /* Name of the host. */
    struct LannerStr hostname;
    /* `HH:MM:SS.nnnnnnnnn: Priority text`, UTF-8, no line break. */
    struct LannerStr text;
    /* Falco's JSON object on one line, no line break. */
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

/* Alerts to deliver, oldest first. Valid until `emit` returns. */
typedef struct LannerBatch {
    /* Bytes in this struct. */
    size_t size;
    /* An array of pointers, because a later version may append to `LannerAlert`. */
    const struct LannerAlert *const *alerts;
    /* Number of alerts. */
    size_t count;
    /* Since 1.4. Where `emit` stores how many alerts can never be delivered, counted from the first one that was not
     * delivered. `*refused` is 0 before the call. The host reads it only if `emit` returns `LANNER_GO_ON`. */
    size_t *refused;
} LannerBatch;

/* The capability to deliver alerts. All functions up to `close` are required. */
typedef struct LannerOutputPlugin {
    /* Bytes in this struct. */
    size_t size;
    /* Takes settings (a JSON text, empty if there are none) and stores a state in `*state`. Lanner opens one state
     * for each configured output. May block for a short time. Must not fail because a receiver is unreachable at
     * the moment. On failure: stores nothing, returns `LANNER_ERROR`, and gives `error` the reason. */
    LannerStatus (*open)(const struct LannerHost *host,
                         struct LannerStr settings,
                         void **state,
                         const struct LannerText *error);
    /* Delivers alerts in order, and stores in `*delivered` how many, counted from the front of the batch
     * (`*delivered` is 0 before the call). May block for a few seconds: only the output's own thread waits. If the
     * alerts take longer than about a second together, return `LANNER_GO_ON` then: the host takes a call that exceeds
     * the output's `deadline` (10 s) for one that hangs. Returns:
     *
     * - `LANNER_OK`: all were delivered; `*delivered` is ignored
     * - `LANNER_TRY_AGAIN`: the host waits, then offers the undelivered alerts again, possibly with more after them
     * - `LANNER_GIVE_UP`: the host counts the undelivered alerts as lost
     * - `LANNER_ERROR`: as `LANNER_TRY_AGAIN`, and the host reports a fault of the plugin
     * - `LANNER_GO_ON`: the first `*delivered` alerts were delivered. The receiver will never take the `*refused` alerts
     * after them: the host counts these as lost. It offers the rest at once. At least one of the numbers is not 0
     *
     * `error` receives the reason if alerts were not delivered. */
    LannerStatus (*emit)(void *state,
                         const struct LannerBatch *batch,
                         size_t *delivered,
                         const struct LannerText *error);
    /* Writes out alerts that the plugin still buffers. Called when the queue becomes empty and before `close`. May
     * block as `emit` may. */
    LannerStatus (*flush)(void *state, const struct LannerText *error);
    /* Opens files and connections again, after log rotation. May block as `emit` may. */
    LannerStatus (*reopen)(void *state, const struct LannerText *error);
    /* Frees the state. Called once, even after `LANNER_PANIC`. */
    void (*close)(void *state);
    /* Since 1.2, may be NULL. Hands over the JSON schema (draft 2020-12) of the settings: one `put`. Lanner checks
     * settings against it before it calls `open`. Gives the same answer each time; must not block. */
    LannerStatus (*schema)(const struct LannerText *sink, const struct LannerText *error);
    /* Since 1.5, may be NULL. Checks settings as far as that is possible without a trace: it may read files
     * (certificates, tokens), but must not create, connect, listen, look up names or start anything. Returns
     * `LANNER_ERROR` and gives `error` the reason for settings that `open` would refuse, and `LANNER_OK` for all others:
     * there, `open` can still fail. Lanner calls it before `open`, for all outputs before it opens the first one, and
     * without `open` for `lanner config check`. It stores nothing. May block for a short time. */
    LannerStatus (*check)(const struct LannerHost *host,
                          struct LannerStr settings,
                          const struct LannerText *error);
} LannerOutputPlugin;

/* What the exported function returns. Constant, and valid until the process ends. */
typedef struct LannerPlugin {
    /* `LANNER_ABI_MAJOR`. The first three fields never change. */
    uint32_t abi_major;
    /* `LANNER_ABI_MINOR`. */
    uint32_t abi_minor;
    /* Bytes in this struct. */
    size_t size;
    /* Lower-case letters, digits, `-`; not empty. */
    struct LannerStr name;
    /* Version of the plugin, in any form. */
    struct LannerStr version;
    /* One sentence. */
    struct LannerStr description;
    /* The rules capability, or NULL. */
    const struct LannerRulePlugin *rules;
    /* The output capability, or NULL. A plugin has at least one of the two. */
    const struct LannerOutputPlugin *output;
} LannerPlugin;

/* The type of the exported function. Called from any thread, possibly several times; must not block. */
typedef const struct LannerPlugin *(*LannerPluginFn)(void);

/* Success. From `emit`: all alerts were delivered. */
#define LANNER_OK 0

/* Failure. The error sink received the reason. */
#define LANNER_ERROR 1

/* The plugin panicked (or caught its language's equivalent). The host only closes the state after this. */
#define LANNER_PANIC 2

/* From `emit` only: offer the undelivered alerts again later. */
#define LANNER_TRY_AGAIN 3

/* From `emit` only: the undelivered alerts of this batch can never be delivered. */
#define LANNER_GIVE_UP 4

/* Since 1.4. From `emit` only, and only if the batch has `refused`: a part of the batch is done. The host offers the rest
 * at once. */
#define LANNER_GO_ON 5

/* Whether the struct that `pointer` points to has a field: its `size` covers the whole of it. */
#define LANNER_HAS(pointer, field) \
    ((pointer)->size >= (size_t)((const char *)(&(pointer)->field + 1) - (const char *)(pointer)))

#if defined(__GNUC__)
#define LANNER_EXPORT __attribute__((visibility("default")))
#else
#define LANNER_EXPORT
#endif

/* The one function that a plugin exports. Called from any thread, possibly several times; must not block. */
#ifdef __cplusplus
extern "C"
#endif
LANNER_EXPORT const LannerPlugin *lanner_plugin(void);

#endif /* LANNER_PLUGIN_H */
