/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * tarn latency: how long messages are on their way, from the time of sending that they carry to their arrival here.
 * Best effort, so it slows nobody down. On a terminal that has the place for it the histogram is drawn anew five times
 * a second.
 */
#include <inttypes.h>
#include <langinfo.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "cli/follow.h"
#include "cli/histogram.h"

enum { OPTION_JSON = OPTION_FOLLOW_LAST, OPTION_SPIN };

static const struct option options[] = {
    {"json", no_argument, NULL, OPTION_JSON},
    {"spin", no_argument, NULL, OPTION_SPIN},
    FOLLOW_OPTIONS,
    COMMON_OPTIONS,
};

enum { DRAW_MS = 200, COLUMNS_LEAST = 80, TITLE_BYTES = 512 };

struct latency {
    struct follow follow;
    bool json, is_live, utf8;
    struct histogram histogram;
    uint64_t without_time, ahead; /* ahead: sent later than they came, by this clock */
    int64_t start_ns, first_without_ns, next_draw_ns;
    unsigned lines; /* drawn, to be drawn over */
};

static bool set(int option, const char *argument, void *context) {
    struct latency *latency = context;
    switch (option) {
    case OPTION_JSON:
        return latency->json = true;
    case OPTION_SPIN:
        return latency->follow.spin = true;
    default:
        return follow_set(&latency->follow, option, argument);
    }
}

/* ---- the result ----------------------------------------------------------------------------------------------- */

static const struct {
    double percent;
    const char *name, *key;
} percentiles[] = {{50, "p50", "p50_ns"}, {90, "p90", "p90_ns"}, {99, "p99", "p99_ns"}, {99.9, "p99.9", "p99_9_ns"}};

enum { PERCENTILES = sizeof(percentiles) / sizeof(percentiles[0]) };

static double seconds_since(int64_t start_ns) {
    return (double)(clock_ns() - start_ns) / 1e9;
}

static void print_json(const struct latency *latency) {
    const struct histogram *histogram = &latency->histogram;
    output_print("{\"topic\": ");
    format_json_string(latency->follow.topic);
    output_print(", \"seconds\": %.3f, \"messages\": %" PRIu64 ", \"lost\": %" PRIu64 ", \"without_time\": %" PRIu64
                 ", \"ahead\": %" PRIu64 ", \"spin\": %s",
                 seconds_since(latency->start_ns), histogram->count, latency->follow.lost, latency->without_time,
                 latency->ahead, latency->follow.spin ? "true" : "false");
    if (histogram->count)
        output_print(", \"min_ns\": %" PRIu64, histogram->least_ns);
    for (int i = 0; i < PERCENTILES && histogram->count; i++)
        output_print(", \"%s\": %" PRIu64, percentiles[i].key, histogram_percentile(histogram, percentiles[i].percent));
    if (histogram->count)
        output_print(", \"max_ns\": %" PRIu64, histogram->most_ns);
    output_print(", \"histogram\": [");
    const char *comma = "";
    for (unsigned row = 0; row < HISTOGRAM_ROWS; row++) {
        if (histogram->rows[row] == 0)
            continue;
        output_print("%s{\"from_ns\": %" PRIu64 ", \"messages\": %" PRIu64 "}", comma, histogram_row_start(row),
                     histogram->rows[row]);
        comma = ", ";
    }
    output_print("]}\n");
}

/* Zeros where it does not say. */
static struct winsize terminal_size(void) {
    struct winsize size;
    return ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 ? size : (struct winsize){0};
}

static unsigned terminal_width(void) {
    unsigned width = terminal_size().ws_col;
    return width ? width : 80;
}

/* How many characters it has. */
static size_t write_title(const struct latency *latency, char ret[static TITLE_BYTES]) {
    snprintf(ret, TITLE_BYTES, "%s: %" PRIu64 " message%s in %.1f s, %s", latency->follow.topic,
             latency->histogram.count, latency->histogram.count == 1 ? "" : "s", seconds_since(latency->start_ns),
             latency->follow.spin ? "spinning" : "sleeping between them");
    return strlen(ret);
}

/* How many lines that were. */
static unsigned print_text(const struct latency *latency) {
    const struct histogram *histogram = &latency->histogram;
    char title[TITLE_BYTES];
    write_title(latency, title);
    output_print("%s\n", title);
    if (histogram->count == 0)
        return 1;
    unsigned lines = histogram_print(histogram, terminal_width(), latency->utf8);
    output_print("min %s", human_ns(histogram->least_ns));
    for (int i = 0; i < PERCENTILES; i++)
        output_print("  %s %s", percentiles[i].name, human_ns(histogram_percentile(histogram, percentiles[i].percent)));
    output_print("  max %s\n", human_ns(histogram->most_ns));
    return lines + 2;
}

/* Whether what is drawn now can be drawn over: no line is folded, and none is above the screen. */
static bool fits(const struct latency *latency) {
    char title[TITLE_BYTES];
    struct winsize size = terminal_size();
    return size.ws_col >= COLUMNS_LEAST && size.ws_col >= write_title(latency, title) &&
           size.ws_row > histogram_lines(&latency->histogram) + 2;
}

/* Takes away what is drawn, if it can be; what is printed next comes in its place. */
static void erase(struct latency *latency) {
    if (latency->lines && fits(latency))
        output_print("\033[%uA\033[J", latency->lines);
    latency->lines = 0;
}

static void draw_over(struct latency *latency) {
    erase(latency);
    latency->lines = print_text(latency);
}

/* Before a line on stderr: drawing anew would not know of it, and leave a title behind. */
static void clear(void *context) {
    erase(context);
    output_flush();
}

/* In place of what was drawn before. */
static void draw(struct latency *latency) {
    if (fits(latency))
        draw_over(latency);
    latency->next_draw_ns = clock_ns() + DRAW_MS * NS_PER_MS;
}

static bool knows_terminal(void) {
    const char *kind = getenv("TERM");
    return isatty(STDOUT_FILENO) && kind && kind[0] && strcmp(kind, "dumb") != 0;
}

/* ---- following ------------------------------------------------------------------------------------------------ */

/* Said with the first one; a second later, if none has come that has a time, it is over. */
static void note_without_time(struct latency *latency, const tarn_message *message, int64_t now) {
    if (latency->without_time++ == 0) {
        latency->first_without_ns = now;
        clear(latency);
        say("topic \"%s\": the messages of publisher %016" PRIx64 " carry no time of sending: start publishers with "
            "timestamps, by 'tarn pub --timestamps' or .timestamps = 1 in tarn_publisher_options",
            latency->follow.topic, message->publisher);
    }
}

static void end_without_time(struct latency *latency, int64_t now) {
    if (latency->without_time && latency->histogram.count == 0 && now - latency->first_without_ns >= NS_PER_S)
        follow_end(&latency->follow, EXIT_FAILED);
}

static bool take(void *context, tarn_message *message) {
    struct latency *latency = context;
    int64_t now = clock_ns(), sent_ns = message->sent_ns;
    if (sent_ns == 0)
        note_without_time(latency, message, now);
    else if (sent_ns > now)
        latency->ahead++;
    else
        histogram_add(&latency->histogram, (uint64_t)now - (uint64_t)sent_ns);
    tarn_message_release(message);
    end_without_time(latency, now);
    if (latency->is_live && now >= latency->next_draw_ns) {
        draw(latency);
        output_flush();
    }
    return sent_ns > 0 && sent_ns <= now;
}

static int64_t idle(void *context) {
    struct latency *latency = context;
    int64_t now = clock_ns();
    end_without_time(latency, now);
    if (latency->is_live && now >= latency->next_draw_ns)
        draw(latency);
    return latency->is_live ? latency->next_draw_ns : INT64_MAX;
}

/* ---- the verb ------------------------------------------------------------------------------------------------- */

static int finish(struct latency *latency, int code) {
    if (latency->json)
        print_json(latency);
    else if (latency->is_live && fits(latency))
        draw_over(latency);
    else
        print_text(latency);
    if (latency->ahead)
        say("%" PRIu64 " message%s sent later than %s came: the sender's clock is of another time namespace",
            latency->ahead, latency->ahead == 1 ? " was" : "s were", latency->ahead == 1 ? "it" : "they");
    bool is_empty = latency->histogram.count == 0 && latency->without_time + latency->ahead > 0;
    return code == EXIT_OK && is_empty ? EXIT_FAILED : code;
}

static int run(int argc, char **argv) {
    static struct latency latency = {.follow = FOLLOW_START};
    latency.follow.context = &latency;
    latency.follow.take = take;
    latency.follow.idle = idle;
    latency.follow.clear = clear;
    int code = arguments_parse(&verb_latency, argc, argv, &latency.follow.place, set, &latency);
    if (code >= 0)
        return code;
    if (argc - optind != 1)
        return usage_error(&verb_latency, argc == optind ? "a topic is missing" : "only one topic at a time");
    latency.follow.topic = argv[optind];
    latency.is_live = !latency.json && knows_terminal();
    setlocale(LC_CTYPE, "");
    latency.utf8 = strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
    if ((code = follow_open(&latency.follow)) != EXIT_OK)
        return code;
    latency.start_ns = clock_ns();
    return finish(&latency, follow_run(&latency.follow));
}

const struct verb verb_latency = {
    "latency",
    "shows how long messages are on their way",
    "usage: tarn latency TOPIC [OPTION...]\n"
    "\n"
    "Shows how long the messages of the topic were on their way: a histogram, on a terminal while it goes on, and how "
    "long\n"
    "50, 90, 99 and 99.9 of 100 messages took at most (within 3 %). It slows nobody down. Publishers must say when "
    "they\n"
    "send: 'tarn pub --timestamps', or .timestamps = 1 in tarn_publisher_options.\n"
    "\n"
    "The time is from a publisher's send to the moment this process has the message: it includes the kernel's waking "
    "of\n"
    "this process, where it slept, and the messages before it, where they come in a burst. It says what a subscriber "
    "sees\n"
    "that does nothing else; yours has its own wake-up. With --spin nobody has to be woken.\n"
    "\n"
    "examples\n"
    "  tarn latency camera/front\n"
    "  tarn latency camera/front --spin --for 10\n"
    "  tarn latency camera/front --count 10000 --json | jq .p99_ns\n"
    "\n"
    "  in another terminal: yes | tarn pub camera/front --timestamps --rate 1000\n"
    "\n"
    "options\n"
    "  --spin              waits without sleeping: one core is busy\n"
    "  --json              at the end one object: topic, seconds, spin, messages, min_ns, p50_ns, p90_ns, p99_ns,\n"
    "                      p99_9_ns, max_ns, histogram (from_ns, messages), lost, without_time (carried none), ahead\n"
    "                      (sent later than they came, so by another clock)\n" FOLLOW_HELP_HISTORY "\n"
    "when it ends, and prints what it has\n"
    "  --count N           after N messages that carried a time\n" FOLLOW_HELP_ENDS
    "  After a second in which no message carried a time, with exit code 1.\n"
    "\n"
    "also\n" COMMON_HELP "\n"
    "More in 'tarn help'.\n",
    options,
    run,
};
