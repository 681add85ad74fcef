/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * tarn watch: prints what keys of a blackboard have, and then each change. Where all keys are watched, it looks for new
 * ones ten times a second. Of changes that come faster than they are printed, the latest is what counts on a
 * blackboard.
 */
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "tarn.h"

enum { OPTION_JSON = OPTION_FIRST, OPTION_COUNT, OPTION_FOR };

static const struct option options[] = {
    {"json", no_argument, NULL, OPTION_JSON},
    {"count", required_argument, NULL, OPTION_COUNT},
    {"for", required_argument, NULL, OPTION_FOR},
    COMMON_OPTIONS,
};

struct watch {
    struct place place;
    tarn_reader *reader;
    const char *topic;
    char **names; /* NULL: all */
    int known;    /* keys below this are watched */
    bool json, is_terminal;
    uint64_t count, printed; /* count 0: no limit */
    int64_t for_ns, deadline_ns;
};

static bool set(int option, const char *argument, void *context) {
    struct watch *watch = context;
    switch (option) {
    case OPTION_JSON:
        return watch->json = true;
    case OPTION_COUNT:
        return argument_count("count", argument, 1, INT64_MAX, &watch->count);
    case OPTION_FOR:
        return argument_seconds("for", argument, &watch->for_ns);
    default:
        return false;
    }
}

/* ---- one change ----------------------------------------------------------------------------------------------- */

static void print_json(const struct watch *watch, const char *name, const tarn_message *value) {
    output_print("{\"topic\": ");
    format_json_string(watch->topic);
    output_print(", \"key\": ");
    format_json_string(name);
    output_print(", \"version\": %" PRIu64 ", \"writer\": \"%016" PRIx64 "\", \"bytes\": %zu}\n", value->sequence,
                 value->publisher, value->bytes);
}

static void print(const struct watch *watch, const char *name, const tarn_message *value) {
    if (watch->json) {
        print_json(watch, name, value);
        return;
    }
    format_text(name, strlen(name));
    output_bytes(" ", 1);
    if (watch->is_terminal)
        format_text(value->data, value->bytes);
    else
        output_bytes(value->data, value->bytes);
    output_bytes("\n", 1);
}

static bool is_over(const struct watch *watch) {
    return stop_status() != EXIT_OK || output_status() != EXIT_OK || (watch->count && watch->printed == watch->count) ||
           (watch->deadline_ns != INT64_MAX && clock_ns() >= watch->deadline_ns);
}

/* Prints all that has changed. Returns the last status: 0, or an error. */
static int drain(struct watch *watch) {
    int key, status = 0;
    while (!is_over(watch) && (status = tarn_reader_changed(watch->reader, &key)) == 1) {
        tarn_message value;
        const char *name = tarn_reader_key_name(watch->reader, key);
        status = tarn_reader_take(watch->reader, key, &value);
        if (status < 0)
            return status;
        if (status == 0)
            continue; /* it has gone with its writer just now */
        print(watch, name ? name : "?", &value);
        tarn_message_release(&value);
        watch->printed++;
    }
    return status < 0 ? status : 0;
}

/* ---- the verb ------------------------------------------------------------------------------------------------- */

/* Looks up the keys that are meant and not known yet. 0 or a status. */
static int look_up(struct watch *watch) {
    for (; watch->names && watch->names[watch->known]; watch->known++) {
        int key = tarn_reader_key(watch->reader, watch->names[watch->known]);
        if (key < 0)
            return key;
    }
    int count = watch->names ? 0 : tarn_reader_keys(watch->reader);
    while (watch->known < count) {
        const char *name = tarn_reader_key_name(watch->reader, watch->known);
        int key = name ? tarn_reader_key(watch->reader, name) : 0;
        if (key < 0)
            return key;
        watch->known++; /* one without a name: its maker died, and nobody knows it */
    }
    return 0;
}

static bool is_failure(int status) {
    return status < 0 && status != TARN_ERROR_DAMAGED && status != TARN_ERROR_TOPIC_REMOVED;
}

static int follow(struct watch *watch) {
    int status = 0;
    while (!is_over(watch) && !is_failure(status)) {
        status = look_up(watch);
        if (status == 0)
            status = drain(watch);
        if (status == 0 && !is_over(watch)) {
            output_flush();
            output_look();
            int64_t left = watch->deadline_ns == INT64_MAX ? INT64_MAX : watch->deadline_ns - clock_ns();
            status = tarn_reader_wait(watch->reader, left < 100 * NS_PER_MS ? (left > 0 ? left : 0) : 100 * NS_PER_MS);
            status = status > 0 ? 0 : status;
        }
        if (status < 0 && !is_failure(status))
            say_error(); /* that ends nothing for the other keys */
    }
    if (is_failure(status))
        return say_error();
    return watch->count && watch->printed < watch->count ? EXIT_TIMEOUT : EXIT_OK;
}

static int run(int argc, char **argv) {
    struct watch watch = {.for_ns = TARN_FOREVER};
    int code = arguments_parse(&verb_watch, argc, argv, &watch.place, set, &watch);
    if (code >= 0)
        return code;
    if (argc == optind)
        return usage_error(&verb_watch, "a topic is missing");
    watch.topic = argv[optind];
    watch.names = argc - optind > 1 ? argv + optind + 1 : NULL;
    tarn_reader_options how = {
        .struct_bytes = sizeof(how), .directory = watch.place.directory, .domain = watch.place.domain};
    if (tarn_reader_open(&watch.reader, watch.topic, &how) < 0)
        return say_error();
    stop_on_signals(NULL);
    watch.is_terminal = isatty(STDOUT_FILENO);
    watch.deadline_ns = clock_deadline_ns(watch.for_ns);
    code = follow(&watch);
    output_flush();
    tarn_reader_close(watch.reader);
    if (stop_status() != EXIT_OK)
        return stop_status();
    return output_status() != EXIT_OK ? output_status() : code;
}

const struct verb verb_watch = {
    "watch",
    "prints the keys of a blackboard as they change",
    "usage: tarn watch TOPIC [KEY...] [OPTION...]\n"
    "\n"
    "Prints the values that the keys have (all keys, if none is named), and then each change: a line with the key, a\n"
    "space and the value. On a terminal, what would garble it is escaped. Where a key changes faster than it is "
    "printed,\n"
    "the latest value is.\n"
    "\n"
    "examples\n"
    "  tarn watch robot\n"
    "  tarn watch robot speed temperature --for 10\n"
    "  tarn watch robot --json | jq .key\n"
    "\n"
    "options\n"
    "  --json              about each change one line: topic, key, version, writer, bytes\n"
    "\n"
    "when it ends\n"
    "  --count N           after N changes, the values at the start included\n"
    "  --for SECONDS       after so long; with --count it is a time-out, exit code 3\n"
    "  Also on SIGINT and SIGTERM (exit codes 130, 143) and when the reader of its output goes away (141).\n"
    "\n"
    "also\n" COMMON_HELP "\n"
    "More in 'tarn help'.\n",
    options,
    run,
};
