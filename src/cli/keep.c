/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* tarn keep: has the messages of work queues attached, so that producers may come and go. */
#include <poll.h>
#include <stdlib.h>

#include "cli/cli.h"
#include "tarn.h"

enum { OPTION_FOR = OPTION_FIRST, SLICE_MS = 100 };

static const struct option options[] = {{"for", required_argument, NULL, OPTION_FOR}, COMMON_OPTIONS};

struct keep {
    struct place place;
    int64_t for_ns;
    int count;
    tarn_worker **keepers;
    struct pollfd *polled;
};

static bool set(int option, const char *argument, void *context) {
    struct keep *keep = context;
    return option == OPTION_FOR && argument_seconds("for", argument, &keep->for_ns);
}

static int open_all(struct keep *keep, char **topics) {
    tarn_worker_options how = {
        .struct_bytes = sizeof(how),
        .directory = keep->place.directory,
        .domain = keep->place.domain,
        .keep_only = 1,
    };
    for (; *topics; topics++) {
        tarn_worker **keeper = &keep->keepers[keep->count];
        if (tarn_worker_open(keeper, *topics, &how) < 0)
            return say_error();
        int fd = tarn_worker_fd(*keeper);
        keep->polled[keep->count++] = (struct pollfd){.fd = fd, .events = POLLIN};
        if (fd < 0)
            return say_error();
    }
    return EXIT_OK;
}

/* What a deleted topic file ends for newcomers ends nothing for those who are there: that is said, and it goes on. */
static int look_at(tarn_worker *keeper) {
    int status = tarn_worker_wait(keeper, 0);
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
                code = look_at(keep->keepers[i]);
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
    keep.keepers = calloc((size_t)(argc - optind), sizeof(*keep.keepers));
    keep.polled = calloc((size_t)(argc - optind), sizeof(*keep.polled));
    if (!keep.keepers || !keep.polled) {
        say("no memory for %d topics", argc - optind);
        return EXIT_FAILED;
    }
    stop_on_signals(NULL);
    code = open_all(&keep, argv + optind);
    if (code == EXIT_OK)
        code = keep_on(&keep);
    for (int i = 0; i < argc - optind; i++)
        tarn_worker_close(keep.keepers[i]);
    free(keep.keepers);
    free(keep.polled);
    return code;
}

const struct verb verb_keep = {
    "keep",
    "holds work queues for producers that come and go",
    "usage: tarn keep TOPIC... [OPTION...]\n"
    "\n"
    "Has all messages of the topics' work queues attached, so that they outlive the processes that pushed them, "
    "killed\n"
    "ones too, until a worker comes. It takes none itself. Messages that nobody else has are lost when it ends.\n"
    "\n"
    "examples\n"
    "  tarn keep thumbnails &\n"
    "  tarn push thumbnails photo1.jpg\n"
    "  tarn work thumbnails -- sh -c 'convert \"$(cat)\" -resize 200 small.jpg'\n"
    "\n"
    "options\n"
    "  --for SECONDS       ends after so long (default: forever)\n" COMMON_HELP "\n"
    "SIGINT and SIGTERM end it, with exit code 130 or 143. More in 'tarn help'.\n",
    options,
    run,
};
