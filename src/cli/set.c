/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * tarn set: sets a key of a blackboard, and keeps the value. A value lives as long as its writer, or a reader that has
 * read it; so the verb stays, until it is told to end or, with --once, a reader has had the value.
 */
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "tarn.h"

enum { OPTION_LINES = OPTION_FIRST, OPTION_ONCE, OPTION_FOR, OPTION_QUIET };

static const struct option options[] = {
    {"lines", no_argument, NULL, OPTION_LINES},
    {"once", no_argument, NULL, OPTION_ONCE},
    {"for", required_argument, NULL, OPTION_FOR},
    {"quiet", no_argument, NULL, OPTION_QUIET},
    COMMON_OPTIONS,
};

enum { LOOK_MS = 50 }; /* between looks at the deadline and at readers, while it reads, too */

struct set {
    struct place place;
    tarn_writer *writer;
    const char *topic, *name;
    int key;
    bool lines, once, quiet;
    bool is_set, was_read; /* was_read: with --once */
    int64_t for_ns, deadline_ns;
};

static bool set_option(int option, const char *argument, void *context) {
    struct set *set = context;
    switch (option) {
    case OPTION_LINES:
        return set->lines = true;
    case OPTION_ONCE:
        return set->once = true;
    case OPTION_FOR:
        return argument_seconds("for", argument, &set->for_ns);
    case OPTION_QUIET:
        return set->quiet = true;
    default:
        return false;
    }
}

static bool is_over(const struct set *set) {
    return stop_status() != EXIT_OK || set->was_read ||
           (set->deadline_ns != INT64_MAX && clock_ns() >= set->deadline_ns);
}

/* With --once: whether a reader has had the value, which ends it. */
static int look(struct set *set) {
    uint64_t readers = 0;
    if (set->once && tarn_writer_readers(set->writer, &readers) < 0)
        return say_error();
    set->was_read = readers > 0;
    return EXIT_OK;
}

/* ---- input ---------------------------------------------------------------------------------------------------- */

/* What was read of standard input, and is not set yet. */
struct input {
    char *data;
    size_t bytes, room;
    size_t searched; /* so many bytes have no newline */
    bool ended, is_idle;
};

/* Makes room to read into. */
static int make_room(struct input *input) {
    if (input->bytes < input->room)
        return EXIT_OK;
    size_t room = input->room ? 2 * input->room : 64 * 1024;
    char *data = realloc(input->data, room);
    if (!data) {
        say("no memory for what is on standard input");
        return EXIT_FAILED;
    }
    input->data = data;
    input->room = room;
    return EXIT_OK;
}

/* Waits for input, but not longer than a look may wait, and reads what is there. */
static int fill(struct input *input) {
    struct pollfd in = {.fd = STDIN_FILENO, .events = POLLIN};
    size_t got = 0;
    input->is_idle = poll(&in, 1, LOOK_MS) <= 0;
    int code = input->is_idle ? EXIT_OK : make_room(input);
    if (code != EXIT_OK || input->is_idle)
        return code;
    code = input_read(STDIN_FILENO, "standard input", input->data + input->bytes, input->room - input->bytes, &got);
    input->bytes += got;
    input->ended = code == EXIT_OK && got == 0;
    return code;
}

/* ---- the value ------------------------------------------------------------------------------------------------ */

static int set_value(struct set *set, const void *data, size_t bytes) {
    set->is_set = true;
    return tarn_writer_set(set->writer, set->key, data, bytes) < 0 ? say_error() : EXIT_OK;
}

/* All of standard input. Input that comes without a pause may take longer than --for. */
static int set_input(struct set *set, struct input *input) {
    int code = EXIT_OK;
    while (code == EXIT_OK && !input->ended && !(input->is_idle && is_over(set)))
        code = fill(input);
    if (code != EXIT_OK || stop_status() != EXIT_OK)
        return code;
    if (input->ended)
        return set_value(set, input->data, input->bytes);
    say("standard input did not end in time: key '%s' of topic '%s' is not set", set->name, set->topic);
    return EXIT_TIMEOUT;
}

/* Sets the complete lines, one after the other, and keeps the rest; at the end of the input that is a line, too. */
static int set_complete_lines(struct set *set, struct input *input) {
    char *line = input->data, *from = line + input->searched, *end = line + input->bytes, *newline;
    int code = EXIT_OK;
    while (code == EXIT_OK && (newline = memchr(from, '\n', (size_t)(end - from)))) {
        code = set_value(set, line, (size_t)(newline - line));
        line = from = newline + 1;
    }
    if (code == EXIT_OK && input->ended && line < end) {
        code = set_value(set, line, (size_t)(end - line));
        line = end;
    }
    input->bytes = input->searched = (size_t)(end - line);
    memmove(input->data, line, input->bytes);
    return code;
}

/* Each line of standard input, as it comes. */
static int set_lines(struct set *set, struct input *input) {
    int code = EXIT_OK;
    for (bool over = false; code == EXIT_OK && !input->ended && !over; over = is_over(set)) {
        code = fill(input);
        if (code == EXIT_OK && !input->is_idle)
            code = set_complete_lines(set, input);
        if (code == EXIT_OK)
            code = look(set);
    }
    if (code != EXIT_OK || set->is_set || !input->ended)
        return code;
    say("nothing was read from standard input: key '%s' of topic '%s' is not set", set->name, set->topic);
    return EXIT_FAILED;
}

static int set_first(struct set *set, const char *data) {
    struct input input = {.data = NULL};
    if (data && strcmp(data, "-") != 0)
        return set_value(set, data, strlen(data));
    int code = set->lines ? set_lines(set, &input) : set_input(set, &input);
    free(input.data);
    return code;
}

/* ---- staying -------------------------------------------------------------------------------------------------- */

/* Until it is told to end, or, with --once, a reader has had the value. */
static int stay(struct set *set) {
    if (!set->quiet && !is_over(set))
        say("set key '%s' of topic '%s'; the value stays %s", set->name, set->topic,
            set->once ? "until it was read, and then while that reader has it (Ctrl-C ends it before)"
                      : "while this runs (Ctrl-C ends it), or a reader has it");
    while (!is_over(set)) {
        int code = look(set);
        if (code != EXIT_OK || set->was_read)
            return code;
        int64_t next_ns = clock_deadline_ns(LOOK_MS * NS_PER_MS);
        clock_sleep_until(next_ns < set->deadline_ns ? next_ns : set->deadline_ns);
    }
    return set->once && !set->was_read ? EXIT_TIMEOUT : EXIT_OK;
}

static int run(int argc, char **argv) {
    struct set set = {.for_ns = TARN_FOREVER};
    int code = arguments_parse(&verb_set, argc, argv, &set.place, set_option, &set);
    if (code >= 0)
        return code;
    int operands = argc - optind;
    if (operands < 2 || operands > 3)
        return usage_error(&verb_set, operands < 1   ? "a topic and a key are missing"
                                      : operands < 2 ? "a key is missing"
                                                     : "one value at a time (quote it if it has spaces)");
    if (set.lines && operands == 3)
        return usage_error(&verb_set, "--lines reads standard input: there is no place for '%s'", argv[optind + 2]);
    set.topic = argv[optind];
    set.name = argv[optind + 1];
    tarn_writer_options how = {
        .struct_bytes = sizeof(how), .directory = set.place.directory, .domain = set.place.domain};
    if (tarn_writer_open(&set.writer, set.topic, &how) < 0)
        return say_error();
    stop_on_signals(NULL);
    set.deadline_ns = clock_deadline_ns(set.for_ns);
    set.key = tarn_writer_key(set.writer, set.name);
    code = set.key < 0 ? say_error() : set_first(&set, operands == 3 ? argv[optind + 2] : NULL);
    if (code == EXIT_OK)
        code = stay(&set);
    tarn_writer_close(set.writer);
    return stop_status() != EXIT_OK ? stop_status() : code;
}

const struct verb verb_set = {
    "set",
    "sets a key of a blackboard, and keeps it",
    "usage: tarn set TOPIC KEY [DATA|-] [OPTION...]\n"
    "\n"
    "Sets the key to DATA, or to all of standard input. A key has one writer at a time: this one, until it ends.\n"
    "The value is in memory only: it stays while this runs, or while a reader has it, so this stays until it is told\n"
    "to end.\n"
    "\n"
    "examples\n"
    "  tarn set robot speed 1.5\n"
    "  tarn set robot map <map.bin --once\n"
    "  sensor | tarn set robot temperature --lines\n"
    "\n"
    "options\n"
    "  --lines             each line of standard input is a value, as it comes, without its newline; none: exit code "
    "1\n"
    "\n"
    "when it ends\n"
    "  --once              as soon as it was read; it then stays as long as that reader has it\n"
    "  --for SECONDS       after so long; with --once it is a time-out, exit code 3\n"
    "  With --lines both are looked at while it reads, too; without, input that has not ended in time is a time-out.\n"
    "  Also on SIGINT and SIGTERM (exit codes 130, 143).\n"
    "\n"
    "also\n"
    "  --quiet             does not say how long the value stays\n" COMMON_HELP "\n"
    "More in 'tarn help'.\n",
    options,
    run,
};
