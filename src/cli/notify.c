/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* tarn notify: raises an event once, or some times. */
#include <inttypes.h>
#include <stdlib.h>

#include "cli/cli.h"
#include "tarn.h"

enum { OPTION_COUNT = OPTION_FIRST, OPTION_WAIT };

static const struct option options[] = {
    {"count", required_argument, NULL, OPTION_COUNT},
    {"wait", required_argument, NULL, OPTION_WAIT},
    COMMON_OPTIONS,
};

enum { POLL_MS = 5 };

struct notify {
    uint64_t count, wait;
};

static bool set(int option, const char *argument, void *context) {
    struct notify *notify = context;
    if (option == OPTION_COUNT)
        return argument_count("count", argument, 1, INT64_MAX, &notify->count);
    return argument_count("wait", argument, 0, INT32_MAX, &notify->wait);
}

static int raise_event(tarn_notifier *notifier, const struct notify *notify, uint32_t id) {
    while (stop_status() == EXIT_OK && (uint64_t)tarn_notifier_listeners(notifier) < notify->wait)
        clock_sleep_until(clock_ns() + POLL_MS * NS_PER_MS);
    if (stop_status() != EXIT_OK)
        return stop_status();
    return tarn_notifier_notify_many(notifier, id, notify->count) < 0 ? say_error() : EXIT_OK;
}

/* Closes, and says so if somebody may not be told. Returns code, or EXIT_FAILED. */
static int finish(tarn_notifier *notifier, const char *topic, int code) {
    int missing = tarn_notifier_close(notifier);
    if (missing <= 0)
        return code;
    say("%d listener%s of '%s' may miss the event: %s did not look in time", missing, missing == 1 ? "" : "s", topic,
        missing == 1 ? "it" : "they");
    return code == EXIT_OK ? EXIT_FAILED : code;
}

static int run(int argc, char **argv) {
    struct place place;
    struct notify notify = {.count = 1};
    uint64_t id;
    tarn_notifier *notifier;
    int code = arguments_parse(&verb_notify, argc, argv, &place, set, &notify);
    if (code >= 0)
        return code;
    if (argc - optind != 2)
        return usage_error(&verb_notify, "it takes a topic and an event's number");
    if (!event_number(argv[optind + 1], &id))
        return EXIT_USAGE;
    tarn_notifier_options how = {.struct_bytes = sizeof(how), .directory = place.directory, .domain = place.domain};
    if (tarn_notifier_open(&notifier, argv[optind], &how) < 0)
        return say_error();
    stop_on_signals(NULL);
    return finish(notifier, argv[optind], raise_event(notifier, &notify, (uint32_t)id));
}

const struct verb verb_notify = {
    "notify",
    "raises an event",
    "usage: tarn notify TOPIC EVENT [OPTION...]\n"
    "\n"
    "Raises the event of that number, from 0 to 65535. Who listens is told how often it was raised. Counts live as "
    "long\n"
    "as somebody is in the topic: without a listener it is raised for nobody.\n"
    "That a listener may miss it, which needs very many events in use, is said on stderr; the exit code is then 1.\n"
    "\n"
    "examples\n"
    "  tarn notify doors 3\n"
    "  tarn notify doors 3 --count 10\n"
    "  tarn notify doors 3 --wait 1\n"
    "\n"
    "options\n"
    "  --count N           raises it N times at once\n"
    "  --wait N            waits until N listeners are there\n" COMMON_HELP "\n"
    "See also 'tarn help listen'. More in 'tarn help'.\n",
    options,
    run,
};
