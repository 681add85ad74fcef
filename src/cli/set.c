/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * tarn set: sets a key of a blackboard, and keeps the value. A value lives as long as its writer, or a reader that has
 * read it; so the verb stays, until it is told to end or, with --once, a reader has had the value.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
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

enum { LOOK_MS = 50 };

struct set {
    struct place place;
    tarn_writer *writer;
    const char *topic, *name;
    int key;
    bool lines, once, quiet;
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

static int set_value(struct set *set, const void *data, size_t bytes) {
    return tarn_writer_set(set->writer, set->key, data, bytes) < 0 ? say_error() : EXIT_OK;
}

/* ---- the value ------------------------------------------------------------------------------------------------ */

static int say_unread(void) {
    if (stop_status() != EXIT_OK)
        return stop_status();
    say("cannot read standard input: %s", strerror(errno));
    return EXIT_FAILED;
}

/* All of standard input. */
static int set_input(struct set *set) {
    size_t bytes = 0, room = 64 * 1024;
    char *data = malloc(room);
    ssize_t got = data ? 1 : -1;
    while (data && (got = read(STDIN_FILENO, data + bytes, room - bytes)) > 0) {
        bytes += (size_t)got;
        char *more = bytes < room ? data : realloc(data, room *= 2);
        if (!more)
            free(data);
        data = more;
    }
    int code = EXIT_FAILED;
    if (!data)
        say("no memory for what is on standard input");
    else
        code = got < 0 ? say_unread() : set_value(set, data, bytes);
    free(data);
    return code;
}

/* Each line of standard input, as it comes. */
static int set_lines(struct set *set) {
    char *line = NULL;
    size_t room = 0;
    int code = EXIT_OK;
    ssize_t bytes;
    errno = 0;
    while (code == EXIT_OK && stop_status() == EXIT_OK && (bytes = getline(&line, &room, stdin)) >= 0)
        code = set_value(set, line, (size_t)bytes - (bytes > 0 && line[bytes - 1] == '\n'));
    free(line);
    return code != EXIT_OK || !ferror(stdin) ? code : say_unread();
}

static int set_first(struct set *set, const char *data) {
    if (set->lines)
        return set_lines(set);
    return data && strcmp(data, "-") != 0 ? set_value(set, data, strlen(data)) : set_input(set);
}

/* ---- staying -------------------------------------------------------------------------------------------------- */

static bool is_over(const struct set *set) {
    return stop_status() != EXIT_OK || (set->deadline_ns != INT64_MAX && clock_ns() >= set->deadline_ns);
}

/* Until it is told to end, or, with --once, a reader has had the value. */
static int stay(struct set *set) {
    if (!set->quiet && !is_over(set))
        say("set key '%s' of topic '%s'; the value stays %s", set->name, set->topic,
            set->once ? "until it was read, and then while that reader has it (Ctrl-C ends it before)"
                      : "while this runs (Ctrl-C ends it), or a reader has it");
    while (!is_over(set)) {
        uint64_t read = 0;
        if (set->once && tarn_writer_readers(set->writer, &read) < 0)
            return say_error();
        if (read)
            return EXIT_OK;
        int64_t look = clock_deadline_ns(LOOK_MS * NS_PER_MS);
        clock_sleep_until(look < set->deadline_ns ? look : set->deadline_ns);
    }
    return set->once ? EXIT_TIMEOUT : EXIT_OK;
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
    "  --lines             each line of standard input is a value, as it comes, without its newline\n"
    "\n"
    "when it ends\n"
    "  --once              as soon as it was read; it then stays as long as that reader has it\n"
    "  --for SECONDS       after so long; with --once it is a time-out, exit code 3\n"
    "  Also on SIGINT and SIGTERM (exit codes 130, 143).\n"
    "\n"
    "also\n"
    "  --quiet             does not say how long the value stays\n" COMMON_HELP "\n"
    "More in 'tarn help'.\n",
    options,
    run,
};
