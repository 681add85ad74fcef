/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * tarn sub: takes messages and writes them until it is told to end, or its output is closed.
 *
 * It waits in slices, between which it looks whether there is still somebody to read its output (a pipe's reader may
 * leave while no message comes) and, with --eof, somebody to send. The order of the looks matters for --eof: first
 * that no publisher is left, then that there is nothing more to take.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

#include "cli/cli.h"
#include "tarn.h"

enum {
    OPTION_RAW = OPTION_FIRST,
    OPTION_HEX,
    OPTION_JSON,
    OPTION_COUNT,
    OPTION_FOR,
    OPTION_HISTORY,
    OPTION_RELIABLE,
    OPTION_EOF,
    OPTION_HELD,
};

static const struct option options[] = {
    {"raw", no_argument, NULL, OPTION_RAW},           {"hex", no_argument, NULL, OPTION_HEX},
    {"json", no_argument, NULL, OPTION_JSON},         {"count", required_argument, NULL, OPTION_COUNT},
    {"for", required_argument, NULL, OPTION_FOR},     {"history", required_argument, NULL, OPTION_HISTORY},
    {"reliable", no_argument, NULL, OPTION_RELIABLE}, {"eof", no_argument, NULL, OPTION_EOF},
    {"held", required_argument, NULL, OPTION_HELD},   COMMON_OPTIONS,
};

enum { HELD_MAX = 65535, SLICE_MS = 100, EOF_SLICE_MS = 50 };

/* Losses not yet reported: at most one line a second, or a flood of losses would flood stderr. */
struct losses {
    uint64_t publisher; /* 0: several */
    uint64_t count;
    int64_t said_ns;
};

struct sub {
    tarn_subscriber *subscriber;
    struct place place;
    const char *topic;
    int format; /* OPTION_RAW, _HEX or _JSON; 0: text */
    bool formats_collide, is_terminal, reliable, end_at_eof, seen_publisher;
    uint64_t count, history, taken; /* count 0: no limit */
    int64_t for_ns, deadline_ns;
    struct losses losses;
    uint64_t held_count;
    tarn_message *held; /* a ring of held_count messages that are given back late */
};

static bool set_format(struct sub *sub, int format) {
    sub->formats_collide |= sub->format && sub->format != format;
    sub->format = format;
    return true;
}

static bool set(int option, const char *argument, void *context) {
    struct sub *sub = context;
    switch (option) {
    case OPTION_RAW:
    case OPTION_HEX:
    case OPTION_JSON:
        return set_format(sub, option);
    case OPTION_COUNT:
        return argument_count("count", argument, 1, INT64_MAX, &sub->count);
    case OPTION_FOR:
        return argument_seconds("for", argument, &sub->for_ns);
    case OPTION_HISTORY:
        return argument_count("history", argument, 0, INT64_MAX, &sub->history);
    case OPTION_RELIABLE:
        return sub->reliable = true;
    case OPTION_EOF:
        return sub->end_at_eof = true;
    case OPTION_HELD:
        return argument_count("held", argument, 0, HELD_MAX, &sub->held_count);
    default:
        return false;
    }
}

/* ---- one message ---------------------------------------------------------------------------------------------- */

static void print_json(const struct sub *sub, const tarn_message *message) {
    output_print("{\"topic\": ");
    format_json_string(sub->topic);
    output_print(", \"sequence\": %" PRIu64 ", \"publisher\": \"%016" PRIx64 "\", \"bytes\": %zu, \"lost\": %" PRIu64,
                 message->sequence, message->publisher, message->bytes, message->lost);
    if (message->sent_ns)
        output_print(", \"sent_ns\": %" PRId64 "}\n", message->sent_ns);
    else
        output_print(", \"sent_ns\": null}\n");
}

static void print(const struct sub *sub, const tarn_message *message) {
    if (sub->format == OPTION_JSON) {
        print_json(sub, message);
    } else if (sub->format == OPTION_HEX) {
        output_print("message %" PRIu64 " of %016" PRIx64 ", %zu bytes\n", message->sequence, message->publisher,
                     message->bytes);
        format_hex(message->data, message->bytes);
    } else if (sub->format == 0 && sub->is_terminal) {
        format_text(message->data, message->bytes);
    } else {
        output_bytes(message->data, message->bytes);
    }
    if (sub->format == 0)
        output_bytes("\n", 1);
}

static void losses_say(struct losses *losses) {
    if (losses->count && losses->publisher)
        say("lost %" PRIu64 " message%s of publisher %016" PRIx64, losses->count, losses->count == 1 ? "" : "s",
            losses->publisher);
    else if (losses->count)
        say("lost %" PRIu64 " messages of several publishers", losses->count);
    losses->count = 0;
}

static void losses_note(struct losses *losses, const tarn_message *message) {
    if (message->lost == 0)
        return;
    losses->publisher = losses->count == 0 || losses->publisher == message->publisher ? message->publisher : 0;
    losses->count += message->lost;
    int64_t now = clock_ns();
    if (now - losses->said_ns < NS_PER_S)
        return;
    losses_say(losses);
    losses->said_ns = now;
}

/* Gives the message back; with --held, the one taken so many messages ago. */
static void give_back(struct sub *sub, tarn_message *message) {
    if (sub->held_count == 0) {
        tarn_message_release(message);
        return;
    }
    tarn_message *place = &sub->held[sub->taken % sub->held_count];
    if (sub->taken >= sub->held_count)
        tarn_message_release(place);
    *place = *message;
}

static void handle(struct sub *sub, tarn_message *message) {
    losses_note(&sub->losses, message);
    print(sub, message);
    give_back(sub, message);
    sub->taken++;
    sub->seen_publisher = true;
}

/* ---- waiting -------------------------------------------------------------------------------------------------- */

/* A damaged publisher or a deleted file ends nothing for the other publishers: that is said, and it goes on. */
static bool is_warning(int status) {
    return status == TARN_ERROR_DAMAGED || status == TARN_ERROR_TOPIC_REMOVED;
}

static bool is_failure(int status) {
    return status < 0 && !is_warning(status) && status != TARN_ERROR_INTERRUPTED;
}

static bool is_over(const struct sub *sub) {
    return stop_status() != EXIT_OK || output_status() != EXIT_OK || (sub->count && sub->taken == sub->count) ||
           (sub->deadline_ns != INT64_MAX && clock_ns() >= sub->deadline_ns);
}

/* Takes and prints until there is nothing more, or it is over. Returns the last status. */
static int drain(struct sub *sub) {
    tarn_message message;
    int status = 0;
    while (!is_over(sub) && (status = tarn_subscriber_take(sub->subscriber, &message)) == 1)
        handle(sub, &message);
    return status;
}

/* Whether --eof is asked for, and there were publishers, but are no longer. */
static bool publishers_left(struct sub *sub) {
    if (!sub->end_at_eof)
        return false;
    bool some = tarn_subscriber_publishers(sub->subscriber) > 0;
    sub->seen_publisher |= some;
    return sub->seen_publisher && !some;
}

static int wait_slice(struct sub *sub) {
    int64_t slice = (sub->end_at_eof ? EOF_SLICE_MS : SLICE_MS) * NS_PER_MS;
    int64_t left = sub->deadline_ns == INT64_MAX ? INT64_MAX : sub->deadline_ns - clock_ns();
    return tarn_subscriber_wait(sub->subscriber, left < slice ? (left > 0 ? left : 0) : slice);
}

/* Until it is over. Returns the exit code that the end of the stream, a time-out or an error has. */
static int follow(struct sub *sub) {
    int status = 0;
    while (!is_over(sub) && !is_failure(status)) {
        bool left = status == 0 && publishers_left(sub);
        status = drain(sub);
        if (status == 0 && !is_over(sub)) {
            if (left)
                return EXIT_OK;
            output_flush();
            output_look();
            status = wait_slice(sub);
        }
        if (is_warning(status))
            say_error();
    }
    if (is_failure(status))
        return say_error();
    bool is_complete = sub->count ? sub->taken == sub->count : !sub->end_at_eof;
    return is_complete ? EXIT_OK : EXIT_TIMEOUT;
}

/* ---- the verb ------------------------------------------------------------------------------------------------- */

static int open_subscriber(struct sub *sub) {
    tarn_subscriber_options how = {
        .struct_bytes = sizeof(how),
        .directory = sub->place.directory,
        .domain = sub->place.domain,
        .history = sub->history,
        .reliable = sub->reliable,
        .max_held = (uint32_t)sub->held_count + 1,
    };
    if (sub->held_count && !(sub->held = calloc(sub->held_count, sizeof(*sub->held)))) {
        say("no memory to hold %" PRIu64 " messages", sub->held_count);
        return EXIT_FAILED;
    }
    return tarn_subscriber_open(&sub->subscriber, sub->topic, &how) < 0 ? say_error() : EXIT_OK;
}

static void close_subscriber(struct sub *sub) {
    uint64_t lost = tarn_subscriber_lost(sub->subscriber);
    stop_forget_subscriber();
    for (uint64_t i = 0; i < sub->held_count && i < sub->taken; i++)
        tarn_message_release(&sub->held[i]);
    free(sub->held);
    tarn_subscriber_close(sub->subscriber);
    losses_say(&sub->losses);
    if (lost)
        say("lost %" PRIu64 " message%s in all, took %" PRIu64, lost, lost == 1 ? "" : "s", sub->taken);
}

static int run(int argc, char **argv) {
    struct sub sub = {.for_ns = TARN_FOREVER, .losses = {.said_ns = -NS_PER_S}};
    int code = arguments_parse(&verb_sub, argc, argv, &sub.place, set, &sub);
    if (code >= 0)
        return code;
    if (argc - optind != 1)
        return usage_error(&verb_sub, argc == optind ? "a topic is missing" : "only one topic at a time");
    if (sub.formats_collide)
        return usage_error(&verb_sub, "--raw, --hex and --json exclude each other");
    sub.topic = argv[optind];
    if ((code = open_subscriber(&sub)) != EXIT_OK)
        return code;
    stop_on_signals(sub.subscriber);
    sub.is_terminal = isatty(STDOUT_FILENO);
    sub.deadline_ns = clock_deadline_ns(sub.for_ns);
    code = follow(&sub);
    output_flush();
    close_subscriber(&sub);
    if (stop_status() != EXIT_OK)
        return stop_status();
    return output_status() != EXIT_OK ? output_status() : code;
}

const struct verb verb_sub = {
    "sub",
    "prints the messages of a topic",
    "usage: tarn sub TOPIC [OPTION...]\n"
    "\n"
    "Prints the messages of the topic, one per line, from now on. On a terminal, what would garble it is escaped "
    "(\\x1b,\n"
    "\\n); into a file or pipe the bytes go unchanged, each message with a newline behind it.\n"
    "\n"
    "examples\n"
    "  tarn sub hello\n"
    "  tarn sub log --history 100 --for 10\n"
    "  tarn sub camera/front --raw --count 1 >frame.jpg\n"
    "  tarn sub backup --raw --reliable --eof | tar t\n"
    "  tarn sub camera/front --json | jq .bytes\n"
    "\n"
    "how messages are written\n"
    "  --raw               the bytes as they are, nothing added\n"
    "  --hex               as a hexdump, with a line before it that names message and publisher\n"
    "  --json              about each message one line: topic, sequence, publisher, bytes, lost (messages of this\n"
    "                      publisher lost just before it), sent_ns (CLOCK_MONOTONIC, or null: see pub --timestamps)\n"
    "\n"
    "which messages\n"
    "  --history N         also the last N that each publisher has sent before, as far as it keeps them\n"
    "  --reliable          loses nothing: publishers wait for this subscriber, and for what reads its output\n"
    "  Otherwise the oldest are lost where it is too slow; stderr says how many.\n"
    "\n"
    "when it ends\n"
    "  --count N           after N messages\n"
    "  --for SECONDS       after so long; with --count or --eof it is a time-out, exit code 3\n"
    "  --eof               when the last publisher has left or died, and all it sent is read, as a pipe does; waits "
    "for\n"
    "                      the first publisher if there was none\n"
    "  Also on SIGINT and SIGTERM (exit codes 130, 143) and when the reader of its output goes away (141).\n"
    "\n"
    "also\n"
    "  --held N            keeps the last N messages in shared memory for a while, as a program would that works on\n"
    "                      them (default: 0)\n" COMMON_HELP "\n"
    "More in 'tarn help'.\n",
    options,
    run,
};
