/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* tarn gc: sweeps what the dead left behind. Safe at any time, beside anything. */
#include <inttypes.h>

#include "cli/cli.h"
#include "core/inspect.h"

enum { OPTION_JSON = OPTION_FIRST };

static const struct option options[] = {{"json", no_argument, NULL, OPTION_JSON}, COMMON_OPTIONS};

static bool set(int option, const char *argument, void *context) {
    (void)argument;
    return *(bool *)context = option == OPTION_JSON;
}

static bool print_count(uint32_t count, const char *one, const char *many) {
    if (count)
        output_print("%" PRIu32 " %s\n", count, count == 1 ? one : many);
    return count;
}

static void print_text(const struct inspect_sweep *sweep) {
    bool some = false;
    some |= print_count(sweep->topics_removed, "topic removed that nobody was in", "topics removed that nobody was in");
    some |= print_count(sweep->doorbells_removed, "doorbell removed", "doorbells removed");
    some |= print_count(sweep->slots_repaired, "place of a dead participant repaired",
                        "places of dead participants repaired");
    some |= print_count(sweep->topics_busy, "topic left alone: another process works on its file",
                        "topics left alone: other processes work on their files");
    some |= print_count(sweep->topics_failed, "topic left alone: see stderr",
                        "topics left alone: see stderr for the last one's reason");
    if (!some)
        output_print("nothing to sweep\n");
}

static void print_json(const struct inspect_sweep *sweep) {
    output_print("{\"topics_removed\": %" PRIu32 ", \"doorbells_removed\": %" PRIu32 ", \"slots_repaired\": %" PRIu32,
                 sweep->topics_removed, sweep->doorbells_removed, sweep->slots_repaired);
    output_print(", \"topics_busy\": %" PRIu32 ", \"topics_failed\": %" PRIu32 "}\n", sweep->topics_busy,
                 sweep->topics_failed);
}

static int run(int argc, char **argv) {
    struct place place;
    struct inspect_sweep sweep;
    bool json = false;
    int code = arguments_parse(&verb_gc, argc, argv, &place, set, &json);
    if (code >= 0)
        return code;
    if (optind < argc)
        return usage_error(&verb_gc, "it takes no topic: '%s' is one word too many", argv[optind]);
    if (inspect_sweep(&sweep, place.directory, place.domain) < 0)
        return say_error();
    (json ? print_json : print_text)(&sweep);
    return sweep.topics_failed ? say_error() : EXIT_OK;
}

const struct verb verb_gc = {
    "gc",
    "sweeps what killed processes left",
    "usage: tarn gc [OPTION...]\n"
    "\n"
    "Removes the files of topics that nobody is in, and repairs the places of participants that were killed. Safe at "
    "any\n"
    "time: what is in use is left alone. It is rarely needed, as whoever uses a topic next does the same for it.\n"
    "\n"
    "examples\n"
    "  tarn gc\n"
    "  tarn gc --json | jq .topics_removed\n"
    "\n"
    "options\n"
    "  --json              as JSON: topics_removed, doorbells_removed, slots_repaired, topics_busy, "
    "topics_failed\n" COMMON_HELP "\n"
    "The exit code is 1 if a topic could not be swept. More in 'tarn help'.\n",
    options,
    run,
};
