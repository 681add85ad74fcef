/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * What the verbs of the command line share. A verb is one file with one struct verb; main.c has the table.
 *
 *   main.c       picks the verb             arguments.c  numbers, sizes and seconds as users type them
 *   pub.c sub.c follow.c: messages          output.c     the only way to stdout: buffered, knows a closed reader
 *   call.c serve.c: requests                input.c      reads, of what does not block, too
 *   notify.c listen.c: events               feed.c       input files to messages
 *   set.c get.c watch.c: blackboards        format.c     one message as text, hexdump or JSON
 *   push.c work.c: work queues              json_value.c whether bytes are JSON
 *   command.c: what serve and work run      progress.c   the line on a terminal
 *   keep.c: what outlives its sender        look.h info.h top.h doctor.h bench.h: what several verbs share
 *   echo.c record*.c where.c: messages,     stop.c       SIGINT and SIGTERM, and the clock
 *     decoded and filtered
 *   latency.c histogram.c: how long messages are on their way
 *   ls.c match.c gc.c version.c help.c      bench.c machine.c verdict.c bench_json.c: see bench.h
 *   info.c info_json.c rates.c top*.c: topics as somebody sees them who takes no part; see look.h
 *   completion.c: the verbs, for shells     doctor.c doctor_*.c machine.c: see doctor.h
 *
 * The command line sees tarn.h and core/inspect.h, nothing else of the library. Sentences for the user go to stderr,
 * start with "tarn: ", and come from tarn_error() where the library knows better.
 */
#ifndef TARN_CLI_CLI_H
#define TARN_CLI_CLI_H

#include <getopt.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum exit_code {
    EXIT_OK = 0,
    EXIT_FAILED = 1,   /* a sentence on stderr says why */
    EXIT_USAGE = 2,    /* the command line was not understood; nothing was done */
    EXIT_TIMEOUT = 3,  /* --for or --timeout ran out before what it waited for came */
    EXIT_SIGNAL = 128, /* plus the signal: 130 SIGINT, 143 SIGTERM; 141: stdout was closed, as SIGPIPE would say it */
};

struct verb {
    const char *name;
    const char *summary; /* half a line for the list of verbs */
    const char *help;
    const struct option *options;      /* all that it understands; for completion, too */
    int (*run)(int argc, char **argv); /* argv[0] is "tarn"; returns an exit code */
};

extern const struct verb verb_pub, verb_sub, verb_echo, verb_latency, verb_call, verb_serve, verb_notify, verb_listen,
    verb_set, verb_get, verb_watch, verb_push, verb_work, verb_keep, verb_ls, verb_info, verb_hz, verb_bw, verb_top,
    verb_match, verb_gc, verb_bench, verb_doctor, verb_completion, verb_version, verb_help;

extern const struct verb *const verbs[]; /* NULL ends it */

/* NULL if there is none of that name. */
const struct verb *verb_find(const char *name);
/* Says that there is no such verb, and which may have been meant. Returns EXIT_USAGE. */
int verb_unknown(const char *name);

/* ---- arguments.c ---------------------------------------------------------------------------------------------- */

/* Options that all verbs about topics have; a place is where topics are looked for. NULL: the library's default. */
struct place {
    const char *directory;
    const char *domain;
};

enum {
    OPTION_DIRECTORY = 256,
    OPTION_DOMAIN,
    OPTION_HELP,
    OPTION_FIRST
}; /* a verb numbers its own from OPTION_FIRST */

/* The end of each verb's table: of one that is about topics, and of one that is not. */
#define COMMON_OPTIONS                                                                                                 \
    {"directory", required_argument, NULL, OPTION_DIRECTORY}, {"domain", required_argument, NULL, OPTION_DOMAIN},      \
        HELP_OPTION
#define HELP_OPTION                                                                                                    \
    {"help", no_argument, NULL, OPTION_HELP}, {                                                                        \
        NULL, 0, NULL, 0                                                                                               \
    }
#define COMMON_HELP                                                                                                    \
    "  --directory DIR     where topics are (default: $TARN_DIR, /run/tarn if it exists, else /tmp/tarn-<uid>)\n"      \
    "  --domain NAME       topics of other domains are not seen (default: $TARN_DOMAIN, else \"default\")\n"           \
    "  --help              this page\n"

/*
 * Parses the verb's options: set is called for each of the verb's own, and returns whether it liked the argument (it
 * has said why, if not). Returns -1 to go on, with optind at the operands, or an exit code: help was shown, or usage.
 */
int arguments_parse(const struct verb *verb, int argc, char **argv, struct place *place,
                    bool (*set)(int option, const char *argument, void *context), void *context);

/* Each says on stderr what is wrong and returns false, or stores the value. */
bool argument_count(const char *option, const char *text, uint64_t least, uint64_t most, uint64_t *ret);
bool argument_bytes(const char *option, const char *text, uint64_t *ret);     /* at least 1; K, M, G: times 1024 */
bool argument_seconds(const char *option, const char *text, int64_t *ret_ns); /* "forever": TARN_FOREVER */
bool argument_number(const char *option, const char *text, double *ret);      /* above 0 */
/* Of words, which NULL ends; its place among them. */
bool argument_word(const char *option, const char *text, const char *const *words, unsigned *ret);
bool event_number(const char *text, uint64_t *ret); /* of listen.c */

/* Says what is wrong and where help is. Returns EXIT_USAGE. */
int usage_error(const struct verb *verb, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* ---- messages to the user ------------------------------------------------------------------------------------- */

/* A line "tarn: ..." on stderr. */
void say(const char *format, ...) __attribute__((format(printf, 1, 2)));
int say_error(void); /* tarn_error() as such a line. Returns EXIT_FAILED */

/* ---- output.c ------------------------------------------------------------------------------------------------- */

void output_bytes(const void *bytes, size_t count); /* large ones go to the kernel from where they are */
void output_print(const char *format, ...) __attribute__((format(printf, 1, 2)));
void output_flush(void);
/* EXIT_OK, or why nothing can be written any more (the reason was said); all output is ignored from then on. */
int output_status(void);
/* Whether colours are welcome: stdout is a terminal that knows them, and NO_COLOR (no-color.org) is not set. */
bool output_is_coloured(void);
/* How wide the terminal is; 0: it is none, or does not say. */
int output_columns(void);
/* Looks whether the reader of stdout is gone, without writing. Then output_status() says so. */
void output_look(void);

/* ---- input.c -------------------------------------------------------------------------------------------------- */

/*
 * One read: ret receives how many bytes, more than 0 unless the file ends. Returns EXIT_OK; or another exit code, the
 * reason said, and ret is untouched.
 */
int input_read(int fd, const char *name, void *data, size_t room, size_t *ret);

/* ---- format.c ------------------------------------------------------------------------------------------------- */

void format_text(const void *bytes, size_t count); /* safe on a terminal: one line, UTF-8 passes, the rest as \xNN */
size_t format_line_bytes(const void *bytes, size_t count); /* without the newline that it may end with */
/* As a line: with one newline at its end, whether it has it or not. For a terminal as format_text does. */
void format_line(const void *bytes, size_t count, bool is_terminal);
/* The same of a string; ret has room for FORMAT_SAFE_BYTES times its bytes, and a zero. */
#define FORMAT_SAFE_BYTES 4
void format_safe(char *ret, const char *text);
/* Text that starts at that column: on a terminal broken between words, and gone on with there. */
void format_sentence(const char *text, int column);
void format_hex(const void *bytes, size_t count);
bool format_is_text(const void *bytes, size_t count); /* UTF-8 with no more control characters than a log has */
void format_json_string(const char *text);            /* quoted; what is not UTF-8 becomes U+FFFD */
void format_json_text(const void *text, size_t count);

struct tarn_message;
void format_hex_message(const struct tarn_message *message); /* a line that names it, and the hexdump */
/* What is known about it, as an object that is not closed yet. */
void format_json_message(const char *topic, const struct tarn_message *message);

/* ---- json_value.c --------------------------------------------------------------------------------------------- */

bool json_is_value(const void *bytes, size_t count); /* one value, in UTF-8, and nothing else */

/* ---- stop.c --------------------------------------------------------------------------------------------------- */

struct tarn_subscriber;
/* From now on SIGINT and SIGTERM stop the verb (a second one kills); both end waits of the subscriber, if any. */
void stop_on_signals(struct tarn_subscriber *subscriber);
void stop_forget_subscriber(void); /* before it is closed */
/* The same for another handle, by its function of that name; NULL: none any more, before it is closed. */
void stop_interrupts(int (*interrupt)(void *handle), void *handle);
/* EXIT_OK, or the exit code of the signal that came. */
int stop_status(void);

#define NS_PER_S INT64_C(1000000000)
#define NS_PER_MS INT64_C(1000000)
int64_t clock_ns(void);
int64_t clock_deadline_ns(int64_t timeout_ns); /* saturates at INT64_MAX */
void clock_sleep_until(int64_t deadline_ns);   /* or until a signal */

/* ---- command.c ------------------------------------------------------------------------------------------------ */

bool command_is_there(const char *name); /* as execvp finds it; if not, that was said */

/* ---- progress.c ----------------------------------------------------------------------------------------------- */

struct progress {
    uint64_t messages, bytes;
    int64_t next_ns, shown_ns; /* when to show next; when shown last, or when it started */
    uint64_t shown_bytes;
    bool on, visible;
};

void progress_start(struct progress *progress, bool quiet);
void progress_tick(struct progress *progress); /* cheap: at each message, and while waiting */
void progress_clear(struct progress *progress);
/* "1.5 GiB"; the result lives until the next call. */
const char *human_bytes(uint64_t bytes);

#endif
