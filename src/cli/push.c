/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* tarn push: feeds a work queue, and stays until somebody has what it pushed. */
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "cli/feed.h"

enum {
    OPTION_CHUNK = OPTION_FIRST,
    OPTION_WHOLE,
    OPTION_RATE,
    OPTION_NO_WAIT,
    OPTION_DONE,
    OPTION_CAPACITY,
    OPTION_ATTEMPTS,
    OPTION_LIMIT,
    OPTION_MEMORY,
    OPTION_QUIET,
};

static const struct option options[] = {
    {"chunk", required_argument, NULL, OPTION_CHUNK},
    {"whole", no_argument, NULL, OPTION_WHOLE},
    {"rate", required_argument, NULL, OPTION_RATE},
    {"no-wait", no_argument, NULL, OPTION_NO_WAIT},
    {"done", no_argument, NULL, OPTION_DONE},
    {"capacity", required_argument, NULL, OPTION_CAPACITY},
    {"attempts", required_argument, NULL, OPTION_ATTEMPTS},
    {"limit", required_argument, NULL, OPTION_LIMIT},
    {"memory", required_argument, NULL, OPTION_MEMORY},
    {"quiet", no_argument, NULL, OPTION_QUIET},
    COMMON_OPTIONS,
};

/* With --no-wait: what a worker that is there, and asleep, may need to attach. */
#define NO_WAIT_NS (250 * NS_PER_MS)

struct push {
    struct feed feed;
    struct place place;
    const char *topic;
    uint64_t capacity, attempts, memory;
    int64_t limit_ns;
    bool whole, no_wait, until_done;
};

/* To the library 0 is no limit, the opposite of what it says here. */
static bool set_limit(struct push *push, const char *argument) {
    if (!argument_seconds("limit", argument, &push->limit_ns))
        return false;
    if (push->limit_ns > 0)
        return true;
    say("--limit: '%s' leaves a worker no time: a number of seconds above 0, or forever", argument);
    return false;
}

static bool set(int option, const char *argument, void *context) {
    struct push *push = context;
    double rate;
    switch (option) {
    case OPTION_CHUNK:
        return argument_bytes("chunk", argument, &push->feed.chunk_bytes);
    case OPTION_WHOLE:
        return push->whole = true;
    case OPTION_RATE:
        if (!argument_number("rate", argument, &rate))
            return false;
        push->feed.period_ns = rate < 1e9 ? (int64_t)(1e9 / rate) : 1;
        return true;
    case OPTION_NO_WAIT:
        return push->no_wait = true;
    case OPTION_DONE:
        return push->until_done = true;
    case OPTION_CAPACITY:
        return argument_count("capacity", argument, 1, 65536, &push->capacity);
    case OPTION_ATTEMPTS:
        return argument_count("attempts", argument, 1, 254, &push->attempts);
    case OPTION_LIMIT:
        return set_limit(push, argument);
    case OPTION_MEMORY:
        return argument_bytes("memory", argument, &push->memory);
    case OPTION_QUIET:
        return push->feed.quiet = true;
    default:
        return false;
    }
}

/* What the library takes: the next power of two. */
static uint32_t capacity_of(uint64_t wanted) {
    uint32_t capacity = wanted ? 1 : 0;
    while (capacity && capacity < wanted)
        capacity *= 2;
    return capacity;
}

static int open_producer(struct push *push) {
    tarn_producer_options how = {
        .struct_bytes = sizeof(how),
        .directory = push->place.directory,
        .domain = push->place.domain,
        .memory_limit_bytes = push->memory,
        .capacity = capacity_of(push->capacity),
        .attempts_max = (uint32_t)push->attempts,
        .when_full = TARN_FULL_WAIT, /* in slices, without limit: see feed.c */
        .full_timeout_ns = FEED_SLICE_NS,
        .linger_ns = TARN_IMMEDIATELY, /* in slices too: see finish() */
        .claim_limit_ns = push->limit_ns == TARN_FOREVER ? 0 : push->limit_ns,
    };
    return tarn_producer_open(&push->feed.producer, push->topic, &how) < 0 ? say_error() : EXIT_OK;
}

static int push_all(struct push *push, char **messages) {
    int code = EXIT_OK;
    if (!*messages)
        return feed_file(&push->feed, STDIN_FILENO, "standard input");
    for (; *messages && code == EXIT_OK; messages++)
        code = feed_message(&push->feed, *messages, strlen(*messages));
    return code;
}

static void say_waiting(struct push *push) {
    uint64_t left = tarn_producer_unacknowledged(push->feed.producer);
    progress_clear(&push->feed.progress);
    if (push->until_done)
        say("waiting: %" PRIu64 " message%s of '%s' %s not done yet", left, left == 1 ? "" : "s", push->topic,
            left == 1 ? "is" : "are");
    else
        say("waiting for a worker or keeper of '%s' to have %" PRIu64 " message%s", push->topic, left,
            left == 1 ? "" : "s");
}

/* Waits until nothing depends on us any more. Returns whether that is so. */
static bool wait_until_safe(struct push *push) {
    int64_t say_at = push->feed.quiet ? INT64_MAX : clock_ns() + NS_PER_S;
    int64_t deadline = push->no_wait ? clock_ns() + NO_WAIT_NS : INT64_MAX;
    while (stop_status() == EXIT_OK) {
        int64_t left = deadline - clock_ns(), slice = left < FEED_SLICE_NS ? left : FEED_SLICE_NS;
        if ((push->until_done ? tarn_producer_flush : tarn_producer_kept)(push->feed.producer, slice > 0 ? slice : 0))
            return true;
        if (left <= 0)
            return false;
        if (clock_ns() >= say_at) {
            say_waiting(push);
            say_at = INT64_MAX;
        }
        progress_tick(&push->feed.progress);
    }
    return false;
}

static int finish(struct push *push, int code) {
    bool safe = wait_until_safe(push);
    uint64_t rejected = tarn_producer_rejected(push->feed.producer);
    int lost = tarn_producer_close(push->feed.producer);
    progress_clear(&push->feed.progress);
    if (rejected)
        say("%" PRIu64 " message%s of '%s' %s rejected", rejected, rejected == 1 ? "" : "s", push->topic,
            rejected == 1 ? "was" : "were");
    if (lost > 0)
        say("nobody has the messages of '%s': %d %s lost", push->topic, lost, lost == 1 ? "is" : "are");
    if (code == EXIT_OK)
        code = stop_status();
    if (code == EXIT_OK && (!safe || lost > 0 || (rejected && push->until_done)))
        code = EXIT_FAILED;
    return code;
}

static int run(int argc, char **argv) {
    struct push push = {.limit_ns = 0};
    int code = arguments_parse(&verb_push, argc, argv, &push.place, set, &push);
    if (code >= 0)
        return code;
    if (optind == argc)
        return usage_error(&verb_push, "a topic is missing");
    if (push.whole && push.feed.chunk_bytes)
        return usage_error(&verb_push, "--whole and --chunk exclude each other");
    if (push.no_wait && push.until_done)
        return usage_error(&verb_push, "--no-wait and --done exclude each other");
    push.topic = argv[optind];
    push.feed.split = push.whole ? FEED_WHOLE : push.feed.chunk_bytes ? FEED_CHUNKS : FEED_LINES;
    if ((code = open_producer(&push)) != EXIT_OK)
        return code;
    stop_on_signals(NULL);
    progress_start(&push.feed.progress, push.feed.quiet);
    return finish(&push, push_all(&push, argv + optind + 1));
}

const struct verb verb_push = {
    "push",
    "puts messages into a work queue",
    "usage: tarn push TOPIC [DATA...] [OPTION...]\n"
    "\n"
    "Puts each DATA, or what it reads from standard input, into the topic's work queue: each message goes to one "
    "worker\n"
    "(tarn work). A message of the input is a line, without its newline. Messages are in this process' memory, so it\n"
    "stays until a worker or a keeper (tarn keep) has them attached, and says so if that takes long.\n"
    "\n"
    "examples\n"
    "  tarn push thumbnails photo1.jpg photo2.jpg\n"
    "  find . -name '*.jpg' | tarn push thumbnails --done\n"
    "  tar c . | tarn push parts --chunk 1M --attempts 3\n"
    "\n"
    "what a message is\n"
    "  --chunk BYTES       so many bytes of the input, the last one fewer (suffixes K, M, G: times 1024)\n"
    "  --whole             all of the input\n"
    "  --rate HZ           so many messages per second, e.g. 30 or 0.5\n"
    "\n"
    "when it ends\n"
    "  --done              when all messages are acknowledged; exit code 1 if some were rejected\n"
    "  --no-wait           at once: if nobody has the messages, they are lost, which is said; exit code 1\n"
    "\n"
    "what becomes of a message\n"
    "  --attempts N        it is rejected after N deliveries without success, up to 254 (default: any number)\n"
    "  --limit SECONDS     a worker that has it for longer, above 0, loses it to another (default: forever)\n"
    "  --capacity N        waits while N messages are not acknowledged, up to 65536, rounded up to a power of two\n"
    "                      (default: 1024)\n"
    "  --memory BYTES      waits while they take more than that (default: a quarter of the machine's)\n"
    "\n"
    "also\n"
    "  --quiet             no progress line, no notes on waiting\n" COMMON_HELP "\n"
    "SIGINT and SIGTERM end it without waiting, with exit code 130 or 143. More in 'tarn help'.\n",
    options,
    run,
};
