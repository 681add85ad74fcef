/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* tarn top: all topics as they live, on the whole terminal; or once, as a table. Only looks. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/top.h"
#include "tarn.h"

enum { OPTION_JSON = OPTION_FIRST, OPTION_INTERVAL, OPTION_ONCE, OPTION_SORT, OPTION_FILTER };

static const struct option options[] = {
    {"json", no_argument, NULL, OPTION_JSON},           {"interval", required_argument, NULL, OPTION_INTERVAL},
    {"once", no_argument, NULL, OPTION_ONCE},           {"sort", required_argument, NULL, OPTION_SORT},
    {"filter", required_argument, NULL, OPTION_FILTER}, COMMON_OPTIONS,
};

enum { INTERVAL_LEAST_MS = 100 };

struct top {
    struct top_model model;
    bool json, once;
    int64_t interval_ns;
};

static bool set_sort(struct top *top, const char *argument) {
    unsigned sort;
    if (!argument_word("sort", argument, top_sort_names, &sort))
        return false;
    top->model.sort = (enum top_sort)sort;
    return true;
}

static bool set_filter(struct top *top, const char *argument) {
    if (strlen(argument) < sizeof(top->model.filter)) {
        strcpy(top->model.filter, argument);
        return true;
    }
    say("--filter: '%s' is longer than %d characters", argument, TOP_FILTER_BYTES - 1);
    return false;
}

static bool set(int option, const char *argument, void *context) {
    struct top *top = context;
    switch (option) {
    case OPTION_JSON:
        return top->json = true;
    case OPTION_ONCE:
        return top->once = true;
    case OPTION_SORT:
        return set_sort(top, argument);
    case OPTION_FILTER:
        return set_filter(top, argument);
    case OPTION_INTERVAL:
        if (!argument_seconds("interval", argument, &top->interval_ns))
            return false;
        if (top->interval_ns >= INTERVAL_LEAST_MS * NS_PER_MS && top->interval_ns != TARN_FOREVER)
            return true;
        say("--interval: '%s' is too short or too long: at least 0.1 seconds", argument);
        return false;
    default:
        return false;
    }
}

/* ---- once ----------------------------------------------------------------------------------------------------- */

static void print_row(const struct top_row *row) {
    char rate[16], bytes[32] = "?", memory[32];
    snprintf(rate, sizeof(rate), "%s", human_count(row->messages));
    if (row->is_sized)
        snprintf(bytes, sizeof(bytes), "%s", human_bytes((uint64_t)row->bytes));
    snprintf(memory, sizeof(memory), "%s", human_bytes(row->memory));
    output_print("%8s %11s %8" PRIu64 " %8" PRIu64 " %10s %5" PRIu32 " %-10s %s %s\n", rate, bytes, row->behind,
                 row->lost, memory, row->members, row->topic->pattern ? row->topic->pattern : "-",
                 row->problems ? "!" : " ", row->name);
}

static void print_table(const struct top_model *model) {
    output_print("%8s %11s %8s %8s %10s %5s %-10s   %s\n", "RATE", "BYTES", "LAG", "LOST", "MEMORY", "WHO", "PATTERN",
                 "TOPIC");
    for (uint32_t i = 0; i < model->shown; i++)
        print_row(&model->rows[model->order[i]]);
}

static void print_json_row(const struct top_row *row) {
    output_print("\n  {\"name\": \"%s\", \"in_use\": %s, \"problem\": ", row->name,
                 row->topic->in_use ? "true" : "false");
    if (row->topic->problem)
        format_json_string(row->topic->problem);
    else
        output_print("null");
    output_print(row->topic->pattern ? ", \"pattern\": \"%s\"" : ", \"pattern\": null", row->topic->pattern);
    output_print(", \"participants\": %" PRIu32 ", \"messages_per_s\": %.3f", row->members, row->messages);
    output_print(row->is_sized ? ", \"bytes_per_s\": %.3f" : ", \"bytes_per_s\": null", row->bytes);
    output_print(", \"behind\": %" PRIu64 ", \"lost\": %" PRIu64 ", \"bytes_held\": %" PRIu64 ", \"problems\": %zu}",
                 row->behind, row->lost, row->memory, row->problems);
}

static void print_json(const struct top_model *model) {
    output_print("{\"directory\": ");
    format_json_string(model->domain->path);
    output_print(", \"interval_ns\": %" PRId64 ", \"topics\": [", model->interval_ns);
    for (uint32_t i = 0; i < model->shown; i++) {
        output_print(i ? "," : "");
        print_json_row(&model->rows[model->order[i]]);
    }
    output_print("]}\n");
}

static int show_once(struct top *top) {
    stop_on_signals(NULL);
    if (!top_model_look(&top->model))
        return say_error();
    int64_t end_ns = clock_deadline_ns(top->interval_ns);
    while (clock_ns() < end_ns && stop_status() == EXIT_OK)
        clock_sleep_until(end_ns);
    if (stop_status() != EXIT_OK)
        return stop_status();
    if (!top_model_look(&top->model))
        return say_error();
    (top->json ? print_json : print_table)(&top->model);
    return EXIT_OK;
}

/* ---- the verb ------------------------------------------------------------------------------------------------- */

static int show(struct top *top) {
    if (top->once)
        return show_once(top);
#if TARN_NCURSES
    return top_screen_run(&top->model, top->interval_ns);
#else
    say("this tarn was built without ncurses (Debian: libncurses-dev), which the full screen needs; 'tarn top --once' "
        "works");
    return EXIT_FAILED;
#endif
}

static int run(int argc, char **argv) {
    struct top top = {.interval_ns = NS_PER_S};
    int code = arguments_parse(&verb_top, argc, argv, &top.model.place, set, &top);
    if (code >= 0)
        return code;
    if (optind != argc)
        return usage_error(&verb_top, "'%s' is no option; --filter '%s' shows only some topics", argv[optind],
                           argv[optind]);
    if (top.json && !top.once)
        return usage_error(&verb_top, "--json needs --once");
    code = show(&top);
    top_model_close(&top.model);
    return code;
}

const struct verb verb_top = {
    "top",
    "shows all topics live: rates, lag, losses, memory",
    "usage: tarn top [OPTION...]\n"
    "\n"
    "Shows on the whole terminal what goes on in all topics: how much goes through them, who is behind, what was "
    "lost,\n"
    "what is wrong. Disturbs nobody: it takes no place in any topic, and subscribes to nothing.\n"
    "\n"
    "examples\n"
    "  tarn top\n"
    "  tarn top --sort lag --filter camera\n"
    "  tarn top --once                                        a table of one second, for scripts\n"
    "  tarn top --once --json | jq '.topics[] | select(.problems > 0) | .name'\n"
    "\n"
    "keys\n"
    "  up, down, PageUp, PageDown, Home, End                  another topic\n"
    "  Enter                                                  all about it: who is in it, what is wrong; Esc: back\n"
    "  left, right                                            sorts by another column; r: the other way round\n"
    "  n m b l o M                                            sorts by name, messages, bytes, lag, lost, memory\n"
    "  /                                                      only topics whose name contains what is typed\n"
    "  p                                                      holds the picture; again: goes on\n"
    "  + -                                                    looks more often, less often\n"
    "  ?                                                      the keys; q: the end\n"
    "\n"
    "columns\n"
    "  RATE                messages per second; of services requests and responses, of events how often they are "
    "raised\n"
    "  BYTES               per second, by the size of the newest messages: see 'tarn help bw'; '?': not known\n"
    "  LAG                 messages that the subscriber that is furthest behind has not read, at least; jobs that "
    "wait\n"
    "  LOST                by subscribers that are there, since they opened\n"
    "  MEMORY              of messages, and kept ready for the next\n"
    "  WHO                 how many take part\n"
    "  !                   something is wrong: Enter, or 'tarn info TOPIC', tells what\n"
    "\n"
    "options\n"
    "  --interval SECONDS  between looks (default: 1; at least 0.1)\n"
    "  --sort name|rate|bytes|lag|lost|memory  by that column (default: name)\n"
    "  --filter TEXT       only topics whose name contains it, or matches it, if it has *, ? or [\n"
    "  --once              one interval, as a table, without a terminal\n"
    "  --json              with --once: directory, interval_ns, topics: [name, in_use, problem (null, or why it cannot "
    "be\n"
    "                      looked into), pattern, participants, messages_per_s, bytes_per_s (null: not known), "
    "behind,\n"
    "                      lost, bytes_held, problems (how many; 'tarn info --json' has them)]\n" COMMON_HELP "\n"
    "environment\n"
    "  NO_COLOR            no colours, if it is set and not empty\n"
    "\n"
    "q ends it with exit code 0, Ctrl-C with 130. More in 'tarn help'.\n",
    options,
    run,
};
