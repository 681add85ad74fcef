/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* tarn sub: takes messages and writes them until it is told to end, or its output is closed: see follow.h. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/follow.h"

enum {
    OPTION_RAW = OPTION_FOLLOW_LAST,
    OPTION_HEX,
    OPTION_JSON,
    OPTION_FORMAT,
    OPTION_RELIABLE,
    OPTION_HELD,
};

static const struct option options[] = {
    {"raw", no_argument, NULL, OPTION_RAW},
    {"hex", no_argument, NULL, OPTION_HEX},
    {"json", no_argument, NULL, OPTION_JSON},
    {"format", required_argument, NULL, OPTION_FORMAT},
    {"reliable", no_argument, NULL, OPTION_RELIABLE},
    {"held", required_argument, NULL, OPTION_HELD},
    FOLLOW_OPTIONS,
    COMMON_OPTIONS,
};

enum { HELD_MAX = 65535 };
enum format { FORMAT_NOT_SAID, FORMAT_TEXT, FORMAT_RAW, FORMAT_HEX, FORMAT_JSON };

struct sub {
    struct follow follow;
    enum format format;
    bool formats_collide, is_terminal;
    uint64_t taken, held_count;
    tarn_message *held; /* a ring of held_count messages that are given back late */
};

static bool set_format(struct sub *sub, enum format format) {
    sub->formats_collide |= sub->format && sub->format != format;
    sub->format = format;
    return true;
}

static bool name_format(struct sub *sub, const char *name) {
    static const char *const names[] = {"text", "raw", "hex", "json", NULL}; /* as enum format has them */
    unsigned format;
    if (argument_word("format", name, names, &format))
        return set_format(sub, FORMAT_TEXT + format);
    if (strcmp(name, "auto") == 0 || strcmp(name, "csv") == 0)
        say("'tarn echo --format %s' looks at what is in messages", name);
    return false;
}

static bool set(int option, const char *argument, void *context) {
    struct sub *sub = context;
    switch (option) {
    case OPTION_RAW:
        return set_format(sub, FORMAT_RAW);
    case OPTION_HEX:
        return set_format(sub, FORMAT_HEX);
    case OPTION_JSON:
        return set_format(sub, FORMAT_JSON);
    case OPTION_FORMAT:
        return name_format(sub, argument);
    case OPTION_RELIABLE:
        return sub->follow.reliable = true;
    case OPTION_HELD:
        return argument_count("held", argument, 0, HELD_MAX, &sub->held_count);
    default:
        return follow_set(&sub->follow, option, argument);
    }
}

/* ---- one message ---------------------------------------------------------------------------------------------- */

static void print(const struct sub *sub, const tarn_message *message) {
    if (sub->format == FORMAT_JSON) {
        format_json_message(sub->follow.topic, message);
        output_print("}\n");
    } else if (sub->format == FORMAT_HEX) {
        format_hex_message(message);
    } else if (sub->format != FORMAT_RAW) {
        format_line(message->data, message->bytes, sub->is_terminal);
    } else {
        output_bytes(message->data, message->bytes);
    }
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

static bool take(void *context, tarn_message *message) {
    struct sub *sub = context;
    print(sub, message);
    give_back(sub, message);
    sub->taken++;
    return true;
}

/* ---- the verb ------------------------------------------------------------------------------------------------- */

static int hold(struct sub *sub) {
    sub->follow.max_held = (uint32_t)sub->held_count + 1;
    if (sub->held_count == 0 || (sub->held = calloc(sub->held_count, sizeof(*sub->held))))
        return EXIT_OK;
    say("no memory to hold %" PRIu64 " messages", sub->held_count);
    return EXIT_FAILED;
}

static void give_back_all(struct sub *sub) {
    for (uint64_t i = 0; i < sub->held_count && i < sub->taken; i++)
        tarn_message_release(&sub->held[i]);
    free(sub->held);
}

static int run(int argc, char **argv) {
    struct sub sub = {.follow = FOLLOW_START};
    int code = arguments_parse(&verb_sub, argc, argv, &sub.follow.place, set, &sub);
    if (code >= 0)
        return code;
    if (argc - optind != 1)
        return usage_error(&verb_sub, argc == optind ? "a topic is missing" : "only one topic at a time");
    if (sub.formats_collide)
        return usage_error(&verb_sub, "--raw, --hex, --json and --format exclude each other");
    sub.follow.topic = argv[optind];
    sub.follow.context = &sub;
    sub.follow.take = take;
    sub.is_terminal = isatty(STDOUT_FILENO);
    if ((code = hold(&sub)) == EXIT_OK && (code = follow_open(&sub.follow)) == EXIT_OK)
        code = follow_run(&sub.follow);
    give_back_all(&sub);
    return code;
}

const struct verb verb_sub = {
    "sub",
    "prints the messages of a topic",
    "usage: tarn sub TOPIC [OPTION...]\n"
    "\n"
    "Prints the messages of the topic, one per line, from now on. On a terminal, what would garble it is escaped "
    "(\\x1b,\n"
    "\\n); into a file or pipe the bytes go unchanged, each message with a newline behind it unless it ends with one.\n"
    "\n"
    "examples\n"
    "  tarn sub hello\n"
    "  tarn sub log --history 100 --for 10\n"
    "  tarn sub camera/front --raw --count 1 >frame.jpg\n"
    "  tarn sub backup --raw --reliable --eof | tar t\n"
    "  tarn sub camera/front --json | jq .bytes\n"
    "\n"
    "how messages are written\n"
    "  --raw               the bytes as they are, nothing added, no ends of lines either, which 'tarn pub' takes off\n"
    "                      unless it has --reliable\n"
    "  --hex               as a hexdump, with a line before it that names message and publisher\n"
    "  --json              about each message one line: topic, sequence, publisher, bytes, lost (messages of this\n"
    "                      publisher lost just before it), sent_ns (CLOCK_MONOTONIC, or null: see pub --timestamps)\n"
    "  --format text|raw|hex|json  the same; text is the default\n"
    "\n"
    "which messages\n" FOLLOW_HELP_HISTORY
    "  --reliable          loses nothing: publishers wait for this subscriber, and for what reads its output\n"
    "  Otherwise the oldest are lost where it is too slow; stderr says how many.\n"
    "\n"
    "when it ends\n"
    "  --count N           after N messages\n" FOLLOW_HELP_ENDS "\n"
    "also\n"
    "  --held N            keeps the last N messages in shared memory for a while, as a program would that works on\n"
    "                      them (default: 0)\n" COMMON_HELP "\n"
    "More in 'tarn help'.\n",
    options,
    run,
};
