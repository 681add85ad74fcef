/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* tarn hz, tarn bw: how much goes through topics, a line per interval, from their counters. Only looks. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/look.h"
#include "tarn.h"

enum { OPTION_JSON = OPTION_FIRST, OPTION_INTERVAL, OPTION_FOR, OPTION_ONCE, OPTION_EACH };

static const struct option options[] = {
    {"json", no_argument, NULL, OPTION_JSON},     {"interval", required_argument, NULL, OPTION_INTERVAL},
    {"for", required_argument, NULL, OPTION_FOR}, {"once", no_argument, NULL, OPTION_ONCE},
    {"each", no_argument, NULL, OPTION_EACH},     COMMON_OPTIONS,
};

enum { SLICE_MS = 100, LABEL_BYTES = 128, INTERVAL_LEAST_MS = 10 };

/* What gets a line of its own: a topic's messages; or with --each one of its senders, events, keys. */
struct row {
    const char *what; /* NULL: the topic is not there */
    uint64_t id;
    char label[LABEL_BYTES];
    bool is_there;
    struct amount amount;
    bool is_unsized;                     /* in some interval nothing told how large messages were */
    double least, most, messages, bytes; /* over all intervals: rates, sums */
    int64_t ns;
};

struct subject {
    const char *name;
    struct inspect_watch *watch;
    struct meter meter;
    int64_t looked_ns, interval_ns;
    struct row *rows;
    uint32_t count;
    const char *problem;
};

struct rates {
    bool json, once, each, in_bytes;
    int64_t interval_ns, for_ns, deadline_ns;
    struct subject *subjects;
    uint32_t count;
};

static bool set(int option, const char *argument, void *context) {
    struct rates *rates = context;
    switch (option) {
    case OPTION_JSON:
        return rates->json = true;
    case OPTION_ONCE:
        return rates->once = true;
    case OPTION_EACH:
        return rates->each = true;
    case OPTION_FOR:
        return argument_seconds("for", argument, &rates->for_ns);
    case OPTION_INTERVAL:
        if (!argument_seconds("interval", argument, &rates->interval_ns))
            return false;
        if (rates->interval_ns >= INTERVAL_LEAST_MS * NS_PER_MS && rates->interval_ns != TARN_FOREVER)
            return true;
        say("--interval: '%s' is too short or too long: at least 0.01 seconds", argument);
        return false;
    default:
        return false;
    }
}

/* ---- rows ----------------------------------------------------------------------------------------------------- */

static bool is_same(const char *what, const char *other) {
    return what && other ? strcmp(what, other) == 0 : what == other;
}

static struct row *find_row(struct subject *subject, const char *what, uint64_t id) {
    for (uint32_t i = 0; i < subject->count; i++)
        if (subject->rows[i].id == id && is_same(what, subject->rows[i].what))
            return &subject->rows[i];
    struct row *rows = realloc(subject->rows, (subject->count + 1) * sizeof(*rows));
    if (!rows)
        return NULL;
    subject->rows = rows;
    rows[subject->count] = (struct row){.what = what, .id = id, .least = -1};
    return &rows[subject->count++];
}

static void describe_row(struct row *row, const struct inspect_topic *topic, const struct inspect_flow *flow,
                         bool each) {
    char who[WHO_BYTES];
    const struct inspect_participant *sender =
        flow->participant == INSPECT_NOBODY ? NULL : &topic->participants[flow->participant];
    if (sender && sender->owner != INSPECT_NOBODY)
        sender = &topic->participants[sender->owner];
    if (!each)
        snprintf(row->label, sizeof(row->label), "%s", flow->what);
    else if (flow->name[0])
        plain_text(row->label, sizeof(row->label), flow->name);
    else if (sender)
        snprintf(row->label, sizeof(row->label), "%s of %s", flow->what, who_text(who, sender));
    else
        snprintf(row->label, sizeof(row->label), "event %" PRIu64, flow->id);
}

static bool add_flow(struct subject *subject, const struct inspect_topic *topic, uint32_t index,
                     const struct amount *amount, bool each) {
    const struct inspect_flow *flow = &topic->flows[index];
    struct row *row = find_row(subject, flow->what, each ? flow->id : 0);
    if (!row)
        return false;
    if (!row->is_there)
        row->amount = (struct amount){.is_sized = true};
    if (!row->label[0])
        describe_row(row, topic, flow, each);
    row->is_there = true;
    amount_add(&row->amount, amount);
    return true;
}

/* A topic without counters has a line that says so. */
static bool add_empty(struct subject *subject, const char *why) {
    struct row *row = find_row(subject, NULL, 0);
    if (!row)
        return false;
    row->is_there = true;
    snprintf(row->label, sizeof(row->label), "%s", why);
    return true;
}

static void note_interval(struct row *row, int64_t ns, bool in_bytes) {
    if (!row->is_there || !row->what || ns <= 0)
        return;
    double rate = (in_bytes ? row->amount.bytes : (double)row->amount.messages) * 1e9 / (double)ns;
    row->least = row->least < 0 || rate < row->least ? rate : row->least;
    row->most = rate > row->most ? rate : row->most;
    row->messages += (double)row->amount.messages;
    row->bytes += row->amount.bytes;
    row->is_unsized |= !row->amount.is_sized;
    row->ns += ns;
}

static const char *why_empty(const struct inspect_topic *topic) {
    if (topic && topic->problem)
        return topic->problem;
    return topic && topic->in_use ? "(nothing was sent)" : "(no such topic now)";
}

/* False: it failed, and was said. */
static bool look(struct subject *subject, const struct rates *rates) {
    struct inspect_topic *topic = NULL;
    int status = inspect_watch_look(subject->watch, &topic);
    int64_t now = clock_ns();
    if (status < 0)
        return say_error() == EXIT_OK;
    uint32_t flows = topic ? topic->flow_count : 0;
    struct amount *amounts = calloc(flows + 1, sizeof(*amounts));
    bool done = amounts && meter_update(&subject->meter, topic, amounts);
    for (uint32_t i = 0; i < subject->count; i++)
        subject->rows[i].is_there = false;
    for (uint32_t i = 0; done && i < flows; i++)
        done = add_flow(subject, topic, i, &amounts[i], rates->each);
    if (done && flows == 0)
        done = add_empty(subject, why_empty(topic));
    subject->interval_ns = subject->looked_ns ? now - subject->looked_ns : 0;
    subject->looked_ns = now;
    for (uint32_t i = 0; i < subject->count; i++)
        note_interval(&subject->rows[i], subject->interval_ns, rates->in_bytes);
    free(amounts);
    inspect_topic_free(topic);
    if (!done)
        say("no memory for the counters of topic \"%s\"", subject->name);
    return done;
}

/* ---- output --------------------------------------------------------------------------------------------------- */

static void bytes_text(char ret[static 32], double bytes) {
    snprintf(ret, 32, "%s/s", human_bytes((uint64_t)bytes));
}

static void print_head(const struct rates *rates) {
    if (!rates->json && rates->in_bytes)
        output_print("%14s  %12s  %12s  %s\n", "BYTES", "MESSAGES", "AVERAGE", "TOPIC");
    else if (!rates->json)
        output_print("%12s  %14s  %s\n", "RATE", "SINCE", "TOPIC");
}

static void print_text(const struct rates *rates, const struct subject *subject, const struct row *row) {
    char bytes[32] = "?", rate[32] = "-", average[32] = "-";
    double seconds = (double)subject->interval_ns / 1e9;
    if (row->what)
        snprintf(rate, sizeof(rate), "%s /s", human_count((double)row->amount.messages / seconds));
    if (row->what && row->amount.is_sized)
        bytes_text(bytes, row->amount.bytes / seconds);
    if (row->amount.messages && row->amount.is_sized)
        snprintf(average, sizeof(average), "%s",
                 human_bytes((uint64_t)(row->amount.bytes / (double)row->amount.messages)));
    if (rates->in_bytes)
        output_print("%14s  %12s  %12s  %s  %s\n", row->what ? bytes : "-", rate, average, subject->name, row->label);
    else
        output_print("%12s  %14.0f  %s  %s\n", rate, row->messages, subject->name, row->label);
}

static void json_number(const char *name, double value, bool is_known) {
    output_print(is_known ? ", \"%s\": %.3f" : ", \"%s\": null", name, value);
}

static void json_row(const struct rates *rates, const struct subject *subject, const struct row *row) {
    output_print("{\"topic\": \"%s\", \"what\": ", subject->name);
    output_print(row->what ? "\"%s\", \"label\": " : "null, \"label\": ", row->what);
    format_json_string(row->label);
    if (!rates->each || !row->what)
        return;
    bool by_number = is_same(row->what, "events") || is_same(row->what, "values");
    output_print(by_number ? ", \"id\": %" PRIu64 : ", \"id\": \"%016" PRIx64 "\"", row->id);
}

static void print_json(const struct rates *rates, const struct subject *subject, const struct row *row) {
    double seconds = (double)subject->interval_ns / 1e9;
    json_row(rates, subject, row);
    output_print(", \"time_ns\": %" PRId64 ", \"interval_ns\": %" PRId64 ", \"messages\": %" PRIu64, subject->looked_ns,
                 subject->interval_ns, row->what ? row->amount.messages : 0);
    json_number("messages_per_s", (double)row->amount.messages / seconds, row->what);
    json_number("bytes_per_s", row->amount.bytes / seconds, row->what && row->amount.is_sized);
    output_print("}\n");
}

static void print_interval(const struct rates *rates) {
    for (uint32_t i = 0; i < rates->count; i++) {
        const struct subject *subject = &rates->subjects[i];
        for (uint32_t j = 0; j < subject->count; j++)
            if (!subject->rows[j].is_there)
                continue;
            else if (rates->json)
                print_json(rates, subject, &subject->rows[j]);
            else
                print_text(rates, subject, &subject->rows[j]);
    }
    output_flush();
}

static void rate_text(char ret[static 32], const struct rates *rates, double rate) {
    if (rates->in_bytes)
        bytes_text(ret, rate);
    else
        snprintf(ret, 32, "%s /s", human_count(rate));
}

static void print_summary(const struct rates *rates, const struct subject *subject, const struct row *row) {
    double seconds = (double)row->ns / 1e9;
    double mean = (rates->in_bytes ? row->bytes : row->messages) / seconds;
    bool is_known = !rates->in_bytes || !row->is_unsized;
    if (rates->json) {
        json_row(rates, subject, row);
        output_print(", \"summary\": true, \"seconds\": %.3f", seconds);
        json_number("least", row->least, is_known);
        json_number("mean", mean, is_known);
        json_number("most", row->most, is_known);
        output_print("}\n");
        return;
    }
    char least[32] = "?", middle[32] = "?", most[32] = "?";
    if (is_known) {
        rate_text(least, rates, row->least);
        rate_text(middle, rates, mean);
        rate_text(most, rates, row->most);
    }
    output_print("%s  %s: min %s, mean %s, max %s, in %.1f s\n", subject->name, row->label, least, middle, most,
                 seconds);
}

static void print_summaries(const struct rates *rates) {
    const char *before = rates->json ? "" : "\n";
    for (uint32_t i = 0; i < rates->count; i++)
        for (uint32_t j = 0; j < rates->subjects[i].count; j++)
            if (rates->subjects[i].rows[j].ns > 0) {
                output_print("%s", before);
                print_summary(rates, &rates->subjects[i], &rates->subjects[i].rows[j]);
                before = "";
            }
}

/* ---- the verbs ------------------------------------------------------------------------------------------------ */

static bool is_over(const struct rates *rates, int64_t now) {
    return stop_status() != EXIT_OK || output_status() != EXIT_OK || now >= rates->deadline_ns;
}

/* Until then, or the end. */
static void pause_until(const struct rates *rates, int64_t until_ns) {
    for (int64_t now = clock_ns(); now < until_ns && !is_over(rates, now); now = clock_ns()) {
        int64_t next = now + SLICE_MS * NS_PER_MS;
        next = until_ns < next ? until_ns : next;
        clock_sleep_until(rates->deadline_ns < next ? rates->deadline_ns : next);
        output_look();
    }
}

static bool look_at_all(struct rates *rates) {
    for (uint32_t i = 0; i < rates->count; i++)
        if (!look(&rates->subjects[i], rates))
            return false;
    return true;
}

/* Whether what is left after the last interval is worth a line. */
static bool is_worth_it(const struct rates *rates, uint64_t intervals, int64_t since_ns) {
    return intervals == 0 || clock_ns() - since_ns >= rates->interval_ns / 2;
}

/*
 * When the interval that was just looked at ended, and so when the next one begins. They keep to the beat; but after a
 * stop or a stall there is one long interval, as its rate is right, and none behind it that is over already.
 */
static int64_t end_of_interval(const struct rates *rates, int64_t begin_ns) {
    int64_t now = clock_ns(), end_ns = begin_ns + rates->interval_ns;
    return now - end_ns > rates->interval_ns / 2 ? now : end_ns;
}

static int follow(struct rates *rates) {
    rates->deadline_ns = clock_deadline_ns(rates->for_ns);
    if (!look_at_all(rates))
        return EXIT_FAILED;
    print_head(rates);
    output_flush();
    int64_t last_ns = clock_ns();
    for (uint64_t intervals = 0; !is_over(rates, clock_ns()); intervals++) {
        pause_until(rates, last_ns + rates->interval_ns);
        if (stop_status() != EXIT_OK || !is_worth_it(rates, intervals, last_ns))
            break;
        if (!look_at_all(rates))
            return EXIT_FAILED;
        print_interval(rates);
        if (rates->once)
            return EXIT_OK;
        last_ns = end_of_interval(rates, last_ns);
    }
    print_summaries(rates);
    return EXIT_OK;
}

static int open_and_follow(struct rates *rates, char **topics, const struct place *place) {
    for (uint32_t i = 0; topics[i]; i++, rates->count++) {
        rates->subjects[i].name = topics[i];
        if (inspect_watch_open(&rates->subjects[i].watch, topics[i], place->directory, place->domain) < 0)
            return say_error();
    }
    stop_on_signals(NULL);
    int code = follow(rates);
    output_flush();
    if (stop_status() != EXIT_OK)
        return stop_status();
    return output_status() != EXIT_OK ? output_status() : code;
}

static int run(const struct verb *verb, int argc, char **argv, bool in_bytes) {
    struct place place;
    struct rates rates = {.interval_ns = NS_PER_S, .for_ns = TARN_FOREVER, .in_bytes = in_bytes};
    int code = arguments_parse(verb, argc, argv, &place, set, &rates);
    if (code >= 0)
        return code;
    if (optind == argc)
        return usage_error(verb, "a topic is missing");
    rates.subjects = calloc((size_t)(argc - optind), sizeof(*rates.subjects));
    if (!rates.subjects) {
        say("no memory");
        return EXIT_FAILED;
    }
    code = open_and_follow(&rates, argv + optind, &place);
    for (int i = 0; i < argc - optind; i++) {
        inspect_watch_close(rates.subjects[i].watch);
        meter_free(&rates.subjects[i].meter);
        free(rates.subjects[i].rows);
    }
    free(rates.subjects);
    return code;
}

static int run_hz(int argc, char **argv) {
    return run(&verb_hz, argc, argv, false);
}

static int run_bw(int argc, char **argv) {
    return run(&verb_bw, argc, argv, true);
}

/* What the pages of both say. */
#define RATES_HELP                                                                                                     \
    "  What a sender that came or went between two looks has sent may be missing.\n"                                   \
    "\n"                                                                                                               \
    "options\n"                                                                                                        \
    "  --interval SECONDS  between lines (default: 1; at least 0.01)\n"                                                \
    "  --each              a line per sender, event or key\n"                                                          \
    "  --once              one interval, and no summary\n"                                                             \
    "  --json              an object a line: topic, what (null: there is nothing; messages, requests, responses, "     \
    "events,\n"                                                                                                        \
    "                      values, jobs), label, id (with --each: the sender's identity, or a number), time_ns\n"      \
    "                      (CLOCK_MONOTONIC), interval_ns, messages, messages_per_s, bytes_per_s (null: not known); "  \
    "at\n"                                                                                                             \
    "                      the end: topic, what, label, id, summary, seconds, least, mean, most (null: as above)\n"    \
    "\n"                                                                                                               \
    "when it ends\n"                                                                                                   \
    "  --for SECONDS       after so long\n"                                                                            \
    "  Also on SIGINT and SIGTERM (exit codes 130, 143) and when the reader of its output goes away (141). A topic\n"  \
    "  that is not there is waited for.\n"                                                                             \
    "\n"

const struct verb verb_hz = {
    "hz",
    "tells how often something is sent to topics",
    "usage: tarn hz TOPIC... [OPTION...]\n"
    "\n"
    "Tells how often something is sent to topics: a line per topic and interval, then the least, the mean and the "
    "most.\n"
    "It reads counters that are there anyway: nothing is subscribed to, no message is copied, nobody is slower for "
    "it.\n"
    "\n"
    "examples\n"
    "  tarn hz camera/front\n"
    "  tarn hz camera/front lidar/top --interval 0.5\n"
    "  tarn hz robot --each                     each sender by itself; of events each event, of a blackboard each key\n"
    "  tarn hz camera/front --once --json | jq .messages_per_s\n"
    "  tarn hz camera/front --for 60 | tail -1  min, mean and max of a minute\n"
    "\n"
    "columns\n"
    "  RATE                since the last line: messages, requests and responses, events, settings of values, or jobs\n"
    "  SINCE               how many since this was started\n" RATES_HELP "also\n" COMMON_HELP "\n"
    "See also 'tarn bw' and 'tarn info'. More in 'tarn help'.\n",
    options,
    run_hz,
};

const struct verb verb_bw = {
    "bw",
    "tells how many bytes per second go to topics",
    "usage: tarn bw TOPIC... [OPTION...]\n"
    "\n"
    "Tells how many bytes per second go to topics: a line per topic and interval, then the least, the mean and the "
    "most.\n"
    "It reads counters that are there anyway: nothing is subscribed to, no message is copied, nobody is slower for "
    "it.\n"
    "\n"
    "examples\n"
    "  tarn bw camera/front\n"
    "  tarn bw camera/front lidar/top --each    each sender by itself; of a blackboard each key\n"
    "  tarn bw camera/front --once --json | jq .bytes_per_s\n"
    "  tarn bw camera/front --for 60 | tail -1  min, mean and max of a minute\n"
    "\n"
    "columns\n"
    "  BYTES               per second, since the last line: of payload, as sent (receivers copy nothing)\n"
    "  MESSAGES            per second\n"
    "  AVERAGE             of the newest messages. How large each one was is counted nowhere, as that would cost who\n"
    "                      sends: sizes are looked at, of what lies in memory yet, and multiplied by the count, which\n"
    "                      is exact. '?': nothing could be looked at; the summary says it, too, where one line "
    "does.\n"
    "                      Requests and responses count with the 8 bytes (or the alignment) that say which request it "
    "is;\n"
    "                      events have no bytes\n" RATES_HELP "also\n" COMMON_HELP "\n"
    "See also 'tarn hz' and 'tarn info'. More in 'tarn help'.\n",
    options,
    run_bw,
};
