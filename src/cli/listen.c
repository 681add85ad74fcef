/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* tarn listen: prints the events of a topic as they are raised, until it is told to end. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "tarn.h"

enum { OPTION_JSON = OPTION_FIRST, OPTION_COUNT, OPTION_FOR, OPTION_HISTORY };

static const struct option options[] = {
    {"json", no_argument, NULL, OPTION_JSON},
    {"count", required_argument, NULL, OPTION_COUNT},
    {"for", required_argument, NULL, OPTION_FOR},
    {"history", no_argument, NULL, OPTION_HISTORY},
    COMMON_OPTIONS,
};

enum { SLICE_MS = 100, EVENTS = 65536 };

struct listen {
    const char *topic;
    bool json, history;
    uint64_t count, taken; /* count 0: no limit */
    int64_t for_ns, deadline_ns;
    uint32_t *ids, ids_count;
    tarn_listener *listener;
};

bool event_number(const char *text, uint64_t *ret) {
    size_t digits = strspn(text, "0123456789");
    *ret = digits > 0 && digits < 10 && !text[digits] ? strtoull(text, NULL, 10) : UINT64_MAX;
    if (*ret <= TARN_EVENT_ID_MAX)
        return true;
    say("'%s' is no event: these are numbers from 0 to %u", text, TARN_EVENT_ID_MAX);
    return false;
}

static bool set(int option, const char *argument, void *context) {
    struct listen *listen = context;
    switch (option) {
    case OPTION_JSON:
        return listen->json = true;
    case OPTION_HISTORY:
        return listen->history = true;
    case OPTION_COUNT:
        return argument_count("count", argument, 1, INT64_MAX, &listen->count);
    case OPTION_FOR:
        return argument_seconds("for", argument, &listen->for_ns);
    default:
        return false;
    }
}

static void print(const struct listen *listen, const tarn_event *event) {
    if (!listen->json) {
        output_print("%" PRIu32 " %" PRIu64 "\n", event->id, event->count);
        return;
    }
    output_print("{\"topic\": ");
    format_json_string(listen->topic);
    output_print(", \"event\": %" PRIu32 ", \"count\": %" PRIu64 ", \"total\": %" PRIu64 "}\n", event->id, event->count,
                 event->total);
}

static bool is_over(const struct listen *listen) {
    return stop_status() != EXIT_OK || output_status() != EXIT_OK ||
           (listen->count && listen->taken == listen->count) ||
           (listen->deadline_ns != INT64_MAX && clock_ns() >= listen->deadline_ns);
}

static int64_t slice_of(const struct listen *listen) {
    int64_t left = listen->deadline_ns == INT64_MAX ? INT64_MAX : listen->deadline_ns - clock_ns();
    return left > SLICE_MS * NS_PER_MS ? SLICE_MS * NS_PER_MS : left > 0 ? left : 0;
}

static int follow(struct listen *listen) {
    while (!is_over(listen)) {
        tarn_event event;
        int status = tarn_listener_take(listen->listener, &event);
        if (status == 1) {
            print(listen, &event);
            listen->taken++;
            continue;
        }
        output_flush();
        output_look();
        if (status == 0 && !is_over(listen))
            status = tarn_listener_wait(listen->listener, slice_of(listen));
        if (status == TARN_ERROR_TOPIC_REMOVED)
            say_error();
        else if (status < 0 && status != TARN_ERROR_INTERRUPTED)
            return say_error();
    }
    return listen->count && listen->taken < listen->count ? EXIT_TIMEOUT : EXIT_OK;
}

static bool set_ids(struct listen *listen, char **texts, int count) {
    if (count > EVENTS)
        count = EVENTS;
    listen->ids = calloc((size_t)count + 1, sizeof(uint32_t));
    for (int i = 0; listen->ids && i < count; i++) {
        uint64_t id;
        if (!event_number(texts[i], &id))
            return false;
        listen->ids[listen->ids_count++] = (uint32_t)id;
    }
    return listen->ids;
}

static int open_and_follow(struct listen *listen, const struct place *place) {
    tarn_listener_options how = {
        .struct_bytes = sizeof(how),
        .directory = place->directory,
        .domain = place->domain,
        .ids = listen->ids_count ? listen->ids : NULL,
        .ids_count = listen->ids_count,
        .history = listen->history,
    };
    if (tarn_listener_open(&listen->listener, listen->topic, &how) < 0)
        return say_error();
    stop_on_signals(NULL);
    listen->deadline_ns = clock_deadline_ns(listen->for_ns);
    int code = follow(listen);
    output_flush();
    tarn_listener_close(listen->listener);
    if (stop_status() != EXIT_OK)
        return stop_status();
    return output_status() != EXIT_OK ? output_status() : code;
}

static int run(int argc, char **argv) {
    struct place place;
    struct listen listen = {.for_ns = TARN_FOREVER};
    int code = arguments_parse(&verb_listen, argc, argv, &place, set, &listen);
    if (code >= 0)
        return code;
    if (optind == argc)
        return usage_error(&verb_listen, "a topic is missing");
    listen.topic = argv[optind];
    code = set_ids(&listen, argv + optind + 1, argc - optind - 1) ? open_and_follow(&listen, &place) : EXIT_USAGE;
    free(listen.ids);
    return code;
}

const struct verb verb_listen = {
    "listen",
    "prints events as they are raised",
    "usage: tarn listen TOPIC [EVENT...] [OPTION...]\n"
    "\n"
    "Prints a line for each event that is raised: its number, and how often it was raised since the last line about "
    "it,\n"
    "or since the start. With numbers behind the topic: these events only.\n"
    "\n"
    "examples\n"
    "  tarn listen doors\n"
    "  tarn listen doors 3 4 --count 1\n"
    "  tarn listen doors --json | jq .total\n"
    "\n"
    "options\n"
    "  --history           also what was raised before, since the topic began\n"
    "  --json              one object a line: topic, event, count, total (since the topic began)\n"
    "\n"
    "when it ends\n"
    "  --count N           after N lines\n"
    "  --for SECONDS       after so long; with --count it is a time-out, exit code 3\n"
    "  Also on SIGINT and SIGTERM (exit codes 130, 143) and when the reader of its output goes away (141).\n"
    "\n"
    "also\n" COMMON_HELP "\n"
    "See also 'tarn help notify'. More in 'tarn help'.\n",
    options,
    run,
};
