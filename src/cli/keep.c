/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* tarn keep: has the memory of topics attached, so that those who send may come and go. */
#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>

#include "cli/cli.h"
#include "tarn.h"

enum { OPTION_FOR = OPTION_FIRST, OPTION_LEFT, OPTION_MEMORY, OPTION_QUIET, LEFT_MOST = 2048, SLICE_MS = 100 };

static const struct option options[] = {{"for", required_argument, NULL, OPTION_FOR},
                                        {"left", required_argument, NULL, OPTION_LEFT},
                                        {"memory", required_argument, NULL, OPTION_MEMORY},
                                        {"quiet", no_argument, NULL, OPTION_QUIET},
                                        COMMON_OPTIONS};

struct keep {
    struct place place;
    int64_t for_ns;
    uint64_t left, memory;
    bool quiet;
    char **topics;
    int count;
    tarn_keeper **keepers;
    uint64_t *say_from; /* so many that were let go are said next */
    struct pollfd *polled;
};

static bool set(int option, const char *argument, void *context) {
    struct keep *keep = context;
    switch (option) {
    case OPTION_FOR:
        return argument_seconds("for", argument, &keep->for_ns);
    case OPTION_LEFT:
        return argument_count("left", argument, 1, LEFT_MOST, &keep->left);
    case OPTION_MEMORY:
        return argument_bytes("memory", argument, &keep->memory);
    case OPTION_QUIET:
        return keep->quiet = true;
    default:
        return false;
    }
}

static int open_all(struct keep *keep) {
    tarn_keeper_options how = {
        .struct_bytes = sizeof(how),
        .directory = keep->place.directory,
        .domain = keep->place.domain,
        .memory_max_bytes = keep->memory,
        .left_max = (uint32_t)keep->left,
    };
    for (; keep->topics[keep->count]; keep->count++) {
        tarn_keeper **keeper = &keep->keepers[keep->count];
        if (tarn_keeper_open(keeper, keep->topics[keep->count], &how) < 0)
            return say_error();
        int fd = tarn_keeper_fd(*keeper);
        keep->polled[keep->count] = (struct pollfd){.fd = fd, .events = POLLIN};
        keep->say_from[keep->count] = 1;
        if (fd < 0)
            return say_error();
    }
    return EXIT_OK;
}

/* More and more seldom: publishers may come and go all day. */
static void say_let_go(struct keep *keep, int i) {
    uint64_t let_go = tarn_keeper_let_go(keep->keepers[i]);
    if (keep->quiet || let_go < keep->say_from[i])
        return;
    keep->say_from[i] = 2 * let_go;
    if (tarn_keeper_left(keep->keepers[i]) == 0) { /* --left is never less than 1 */
        say("let go of what the last publisher of '%s' had left: it had more memory than --memory allows for all; next "
            "said at %" PRIu64,
            keep->topics[i], keep->say_from[i]);
        return;
    }
    say("let go of what %" PRIu64
        " publisher%s of '%s' had left, who left first (--left and --memory bound it); next said "
        "at %" PRIu64,
        let_go, let_go == 1 ? "" : "s", keep->topics[i], keep->say_from[i]);
}

/* What a deleted topic file ends for newcomers ends nothing for those who are there: that is said, and it goes on. */
static int look_at(struct keep *keep, int i) {
    int status = tarn_keeper_wait(keep->keepers[i], 0);
    if (status == 1)
        say_let_go(keep, i);
    if (status >= 0)
        return EXIT_OK;
    say_error();
    return status == TARN_ERROR_TOPIC_REMOVED || status == TARN_ERROR_LIMIT || status == TARN_ERROR_PERMISSION ||
                   status == TARN_ERROR_NO_MEMORY
               ? EXIT_OK
               : EXIT_FAILED;
}

static int keep_on(struct keep *keep) {
    int code = EXIT_OK;
    int64_t deadline = clock_deadline_ns(keep->for_ns);
    while (code == EXIT_OK && (code = stop_status()) == EXIT_OK && clock_ns() < deadline) {
        poll(keep->polled, (nfds_t)keep->count, SLICE_MS);
        for (int i = 0; i < keep->count && code == EXIT_OK; i++)
            if (keep->polled[i].revents)
                code = look_at(keep, i);
    }
    return code;
}

static int run(int argc, char **argv) {
    struct keep keep = {.for_ns = TARN_FOREVER};
    int code = arguments_parse(&verb_keep, argc, argv, &keep.place, set, &keep);
    if (code >= 0)
        return code;
    if (optind == argc)
        return usage_error(&verb_keep, "a topic is missing");
    size_t count = (size_t)(argc - optind);
    keep.topics = argv + optind;
    keep.keepers = calloc(count, sizeof(*keep.keepers));
    keep.say_from = calloc(count, sizeof(*keep.say_from));
    keep.polled = calloc(count, sizeof(*keep.polled));
    if (!keep.keepers || !keep.say_from || !keep.polled) {
        say("no memory for %zu topics", count);
        return EXIT_FAILED;
    }
    stop_on_signals(NULL);
    code = open_all(&keep);
    if (code == EXIT_OK)
        code = keep_on(&keep);
    for (size_t i = 0; i < count; i++)
        tarn_keeper_close(keep.keepers[i]);
    free(keep.keepers);
    free(keep.say_from);
    free(keep.polled);
    return code;
}

const struct verb verb_keep = {
    "keep",
    "keeps messages, jobs and values for processes that come and go",
    "usage: tarn keep TOPIC... [OPTION...]\n"
    "\n"
    "Has the topics' memory attached, so that what is in it outlives the processes that sent it, killed ones too:\n"
    "of messages the last that each publisher keeps, for those who come later (sub --history); of work queues all "
    "that\n"
    "is not done, until a worker comes; of blackboards the latest value of each key.\n"
    "What a topic is for may be settled later. It takes and copies nothing; what nobody else has is lost when it "
    "ends.\n"
    "\n"
    "examples\n"
    "  tarn keep news &\n"
    "  echo 'Hello, world' | tarn pub news\n"
    "  tarn sub news --history 1 --eof\n"
    "  tarn keep thumbnails robot --for 3600\n"
    "\n"
    "what is kept of messages\n"
    "  --left N            what up to N publishers left (default: 64); those who left first are let go\n"
    "  --memory BYTES      no more than that (suffixes K, M, G: times 1024; default: a quarter of the machine's). What "
    "counts\n"
    "                      is the memory they had for messages, which is more than the payload; one that had more "
    "than\n"
    "                      this by itself is let go at once\n"
    "  --quiet             does not say that it lets go of some\n"
    "\n"
    "when it ends\n"
    "  --for SECONDS       after so long (default: never)\n"
    "  Also on SIGINT and SIGTERM (exit codes 130, 143).\n"
    "\n"
    "also\n" COMMON_HELP "\n"
    "More in 'tarn help'.\n",
    options,
    run,
};
