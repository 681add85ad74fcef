/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * Following the messages of a topic, for the verbs that do: sub, echo and latency. It opens the subscriber, waits,
 * tells of losses, and knows when it is over; what becomes of a message is the verb's.
 */
#ifndef TARN_CLI_FOLLOW_H
#define TARN_CLI_FOLLOW_H

#include "cli/cli.h"
#include "tarn.h"

enum { OPTION_COUNT = OPTION_FIRST, OPTION_FOR, OPTION_HISTORY, OPTION_EOF, OPTION_FOLLOW_LAST };

#define FOLLOW_OPTIONS                                                                                                 \
    {"count", required_argument, NULL, OPTION_COUNT}, {"for", required_argument, NULL, OPTION_FOR},                    \
        {"history", required_argument, NULL, OPTION_HISTORY}, {                                                        \
        "eof", no_argument, NULL, OPTION_EOF                                                                           \
    }
#define FOLLOW_HELP_HISTORY                                                                                            \
    "  --history N         also the last N that each publisher has sent before, as far as it keeps them\n"
#define FOLLOW_HELP_ENDS                                                                                               \
    "  --for SECONDS       after so long; with --count or --eof it is a time-out, exit code 3\n"                       \
    "  --eof               when the last publisher has left or died, and all it sent is read, as a pipe does; waits "  \
    "for\n"                                                                                                            \
    "                      the first publisher if there was none\n"                                                    \
    "  Also on SIGINT and SIGTERM (exit codes 130, 143) and when the reader of its output goes away (141).\n"

/* Losses not yet reported: at most one line a second, or a flood of losses would flood stderr. */
struct losses {
    uint64_t publisher; /* 0: several */
    uint64_t count;
    int64_t said_ns;
};

struct follow {
    const char *topic;
    struct place place;
    uint64_t count, history; /* count 0: no limit */
    int64_t for_ns;
    bool end_at_eof, reliable, spin;
    uint32_t max_held; /* 0: the library's default */

    void *context;
    /* The message is the verb's to release. Whether it counts for --count. */
    bool (*take)(void *context, tarn_message *message);
    /*
     * May be NULL. Called before each wait, and now and then where there is none; returns when it wants to be called
     * again, INT64_MAX if need not be.
     */
    int64_t (*idle)(void *context);
    /* May be NULL. Called before something is said on stderr: it takes away what is drawn on the terminal. */
    void (*clear)(void *context);

    /* follow.c's */
    tarn_subscriber *subscriber;
    int64_t deadline_ns, looked_ns;
    uint64_t taken, counted, lost; /* lost: known when it is closed */
    bool seen_publisher, ended;
    int end_code;
    struct losses losses;
};

#define FOLLOW_START                                                                                                   \
    {                                                                                                                  \
        .for_ns = TARN_FOREVER, .losses = {.said_ns = -NS_PER_S }                                                      \
    }

/* The options that all who follow have; of arguments_parse's set. Others are none of its business: false. */
bool follow_set(struct follow *follow, int option, const char *argument);

/* Opens the subscriber. EXIT_OK, or an exit code, and why was said. */
int follow_open(struct follow *follow);
/* Until it is over; then closes it. Returns the exit code. */
int follow_run(struct follow *follow);
/* For take and idle: this was the last message. The reason was said, if it is a failure. */
void follow_end(struct follow *follow, int code);

#endif
