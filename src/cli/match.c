/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* tarn match: prints who joins a topic, who leaves and who dies, until it is told to end. */
#include <inttypes.h>
#include <string.h>

#include "cli/cli.h"
#include "tarn.h"

enum { OPTION_JSON = OPTION_FIRST, OPTION_COUNT, OPTION_FOR, OPTION_SKIP };

static const struct option options[] = {
    {"json", no_argument, NULL, OPTION_JSON},
    {"count", required_argument, NULL, OPTION_COUNT},
    {"for", required_argument, NULL, OPTION_FOR},
    {"skip-present", no_argument, NULL, OPTION_SKIP},
    COMMON_OPTIONS,
};

enum { SLICE_MS = 100 };

struct watch {
    const char *topic;
    bool json, skip_present;
    uint64_t count, taken; /* count 0: no limit */
    int64_t for_ns, deadline_ns;
    tarn_monitor *monitor;
};

static bool set(int option, const char *argument, void *context) {
    struct watch *watch = context;
    switch (option) {
    case OPTION_JSON:
        return watch->json = true;
    case OPTION_SKIP:
        return watch->skip_present = true;
    case OPTION_COUNT:
        return argument_count("count", argument, 1, INT64_MAX, &watch->count);
    case OPTION_FOR:
        return argument_seconds("for", argument, &watch->for_ns);
    default:
        return false;
    }
}

static const char *kind_text(uint32_t kind) {
    return kind == TARN_MATCH_JOINED ? "joined"
           : kind == TARN_MATCH_LEFT ? "left"
           : kind == TARN_MATCH_DIED ? "died"
                                     : "missed";
}

static void print_text(const tarn_match *match) {
    if (match->missed)
        output_print("missed  %" PRIu64 " that came and went\n", match->missed);
    if (match->kind == TARN_MATCH_MISSED)
        return;
    output_print("%-6s  %-10s  %8" PRId32 "  ", kind_text(match->kind), tarn_role_text(match->role), match->pid);
    format_text(match->command, strlen(match->command));
    output_print(match->foreign_pid ? "  (pid of another container)\n" : "\n");
}

static void print_json(const tarn_match *match) {
    output_print("{\"match\": \"%s\", \"missed\": %" PRIu64, kind_text(match->kind), match->missed);
    if (match->kind != TARN_MATCH_MISSED) {
        output_print(", \"role\": \"%s\", \"identity\": \"%016" PRIx64 "\", \"pid\": %" PRId32
                     ", \"same_pid_namespace\": %s, \"uid\": %" PRIu32 ", \"command\": ",
                     tarn_role_text(match->role), match->identity, match->pid, match->foreign_pid ? "false" : "true",
                     match->uid);
        format_json_string(match->command);
        output_print(", \"opened_ns\": %" PRId64, match->opened_ns);
    }
    output_print("}\n");
}

static bool is_over(const struct watch *watch) {
    return stop_status() != EXIT_OK || output_status() != EXIT_OK || (watch->count && watch->taken == watch->count) ||
           (watch->deadline_ns != INT64_MAX && clock_ns() >= watch->deadline_ns);
}

static int64_t slice_of(const struct watch *watch) {
    int64_t left = watch->deadline_ns == INT64_MAX ? INT64_MAX : watch->deadline_ns - clock_ns();
    return left > SLICE_MS * NS_PER_MS ? SLICE_MS * NS_PER_MS : left > 0 ? left : 0;
}

static int follow(struct watch *watch) {
    while (!is_over(watch)) {
        tarn_match match;
        int status = tarn_monitor_take(watch->monitor, &match);
        if (status == 1) {
            (watch->json ? print_json : print_text)(&match);
            watch->taken++;
            continue;
        }
        output_flush();
        output_look();
        if (status == 0 && !is_over(watch))
            status = tarn_monitor_wait(watch->monitor, slice_of(watch));
        if (status == TARN_ERROR_TOPIC_REMOVED)
            say_error();
        else if (status < 0 && status != TARN_ERROR_INTERRUPTED)
            return say_error();
    }
    return watch->count && watch->taken < watch->count ? EXIT_TIMEOUT : EXIT_OK;
}

static int run(int argc, char **argv) {
    struct place place;
    struct watch watch = {.for_ns = TARN_FOREVER};
    int code = arguments_parse(&verb_match, argc, argv, &place, set, &watch);
    if (code >= 0)
        return code;
    if (optind + 1 != argc)
        return usage_error(&verb_match, argc == optind ? "a topic is missing" : "only one topic at a time");
    watch.topic = argv[optind];
    tarn_monitor_options how = {
        .struct_bytes = sizeof(how),
        .directory = place.directory,
        .domain = place.domain,
        .skip_present = watch.skip_present,
    };
    if (tarn_monitor_open(&watch.monitor, watch.topic, &how) < 0)
        return say_error();
    stop_on_signals(NULL);
    watch.deadline_ns = clock_deadline_ns(watch.for_ns);
    code = follow(&watch);
    output_flush();
    tarn_monitor_close(watch.monitor);
    if (stop_status() != EXIT_OK)
        return stop_status();
    return output_status() != EXIT_OK ? output_status() : code;
}

const struct verb verb_match = {
    "match",
    "prints who joins a topic, leaves, and dies",
    "usage: tarn match TOPIC [OPTION...]\n"
    "\n"
    "Prints a line for each participant of the topic that joins, leaves, or dies, beginning with those that are "
    "there.\n"
    "\n"
    "examples\n"
    "  tarn match camera/front\n"
    "  tarn match camera/front --json | jq -c 'select(.match == \"died\")'\n"
    "\n"
    "options\n"
    "  --skip-present      those that are there are not printed as joined\n"
    "  --json              one object a line: match (joined, left, died, missed), missed (how many came and went\n"
    "                      unseen before that), role, identity, pid, same_pid_namespace, uid, command, opened_ns\n"
    "\n"
    "when it ends\n"
    "  --count N           after N matches\n"
    "  --for SECONDS       after so long; with --count it is a time-out, exit code 3\n"
    "  Also on SIGINT and SIGTERM (exit codes 130, 143) and when the reader of its output goes away (141).\n"
    "\n"
    "also\n" COMMON_HELP "\n"
    "More in 'tarn help'.\n",
    options,
    run,
};
