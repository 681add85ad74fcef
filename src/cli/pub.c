/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* tarn pub: opens a publisher, waits for subscribers if asked to, feeds it the input, and sees that it arrived. */
#define _GNU_SOURCE /* memfd_create */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cli/feed.h"
#include "cli/record.h"

enum {
    OPTION_CHUNK = OPTION_FIRST,
    OPTION_WHOLE,
    OPTION_RATE,
    OPTION_REPEAT,
    OPTION_WAIT,
    OPTION_DEPTH,
    OPTION_RELIABLE,
    OPTION_MEMORY,
    OPTION_LINGER,
    OPTION_TIMESTAMPS,
    OPTION_TYPE,
    OPTION_ENCODING,
    OPTION_SCHEMA,
    OPTION_QUIET,
};

static const struct option options[] = {
    {"chunk", required_argument, NULL, OPTION_CHUNK},
    {"whole", no_argument, NULL, OPTION_WHOLE},
    {"rate", required_argument, NULL, OPTION_RATE},
    {"repeat", required_argument, NULL, OPTION_REPEAT},
    {"wait", required_argument, NULL, OPTION_WAIT},
    {"depth", required_argument, NULL, OPTION_DEPTH},
    {"reliable", no_argument, NULL, OPTION_RELIABLE},
    {"memory", required_argument, NULL, OPTION_MEMORY},
    {"linger", required_argument, NULL, OPTION_LINGER},
    {"timestamps", no_argument, NULL, OPTION_TIMESTAMPS},
    {"type", required_argument, NULL, OPTION_TYPE},
    {"encoding", required_argument, NULL, OPTION_ENCODING},
    {"schema", required_argument, NULL, OPTION_SCHEMA},
    {"quiet", no_argument, NULL, OPTION_QUIET},
    COMMON_OPTIONS,
};

struct pub {
    struct feed feed;
    struct place place;
    const char *topic;
    uint64_t repeat, wait, depth, memory; /* repeat 0: forever */
    int64_t linger_ns;
    off_t stdin_begin; /* with repeat: where it is read from each time */
    bool whole, reliable, wait_given, linger_given, timestamps;
    const char *type, *encoding, *schema;
};

static bool set(int option, const char *argument, void *context) {
    struct pub *pub = context;
    double rate;
    switch (option) {
    case OPTION_CHUNK:
        return argument_bytes("chunk", argument, &pub->feed.chunk_bytes);
    case OPTION_WHOLE:
        return pub->whole = true;
    case OPTION_RATE:
        if (!argument_number("rate", argument, &rate))
            return false;
        pub->feed.period_ns = rate < 1e9 ? (int64_t)(1e9 / rate) : 1;
        return true;
    case OPTION_REPEAT:
        pub->repeat = 0;
        return strcmp(argument, "forever") == 0 || argument_count("repeat", argument, 0, INT64_MAX, &pub->repeat);
    case OPTION_WAIT:
        pub->wait_given = true;
        return argument_count("wait", argument, 0, 1000000, &pub->wait);
    case OPTION_DEPTH:
        return argument_count("depth", argument, 1, INT64_MAX, &pub->depth);
    case OPTION_RELIABLE:
        return pub->reliable = true;
    case OPTION_MEMORY:
        return argument_bytes("memory", argument, &pub->memory);
    case OPTION_LINGER:
        pub->linger_given = true;
        return argument_seconds("linger", argument, &pub->linger_ns);
    case OPTION_TIMESTAMPS:
        return pub->timestamps = true;
    case OPTION_TYPE:
        return (pub->type = argument);
    case OPTION_ENCODING:
        return (pub->encoding = argument);
    case OPTION_SCHEMA:
        return (pub->schema = argument);
    case OPTION_QUIET:
        return pub->feed.quiet = true;
    default:
        return false;
    }
}

/* ---- the input ------------------------------------------------------------------------------------------------ */

static bool is_stdin(const char *name) {
    return strcmp(name, "-") == 0;
}

/* A mistyped name is found before anything is sent. */
static int check_files(char **files) {
    for (; *files; files++) {
        if (is_stdin(*files) || access(*files, R_OK) == 0)
            continue;
        say("cannot read '%s': %s", *files, strerror(errno));
        return EXIT_FAILED;
    }
    return EXIT_OK;
}

/* For sending stdin more than once: keeps it in memory, in place of the descriptor, unless it is a file. */
static int keep_stdin(struct pub *pub) {
    char piece[64 * 1024];
    size_t got = 1;
    int code = EXIT_OK;
    if ((pub->stdin_begin = lseek(STDIN_FILENO, 0, SEEK_CUR)) >= 0)
        return EXIT_OK;
    pub->stdin_begin = 0;
    int copy = memfd_create("tarn-stdin", MFD_CLOEXEC);
    bool is_kept = copy >= 0;
    while (is_kept && got && (code = input_read(STDIN_FILENO, "standard input", piece, sizeof(piece), &got)) == EXIT_OK)
        is_kept = write(copy, piece, got) == (ssize_t)got;
    if (code != EXIT_OK)
        return code;
    if (is_kept && dup2(copy, STDIN_FILENO) >= 0 && close(copy) == 0)
        return EXIT_OK;
    say("cannot keep standard input for repeating it: %s", strerror(errno));
    return EXIT_FAILED;
}

static int send_file(struct pub *pub, const char *name) {
    int fd = is_stdin(name) ? STDIN_FILENO : open(name, O_RDONLY | O_CLOEXEC);
    if (fd < 0 && stop_status() != EXIT_OK) /* while it waited for who writes to a FIFO */
        return stop_status();
    if (fd < 0) {
        say("cannot read '%s': %s", name, strerror(errno));
        return EXIT_FAILED;
    }
    if (fd == STDIN_FILENO && pub->repeat != 1)
        lseek(fd, pub->stdin_begin, SEEK_SET);
    int code = feed_file(&pub->feed, fd, fd == STDIN_FILENO ? "standard input" : name);
    if (fd != STDIN_FILENO)
        close(fd);
    return code;
}

static int send_all(struct pub *pub, char **files) {
    int code = EXIT_OK;
    bool is_kept = false;
    for (char **file = files; pub->repeat != 1 && *file && !is_kept && code == EXIT_OK; file++)
        if ((is_kept = is_stdin(*file)))
            code = keep_stdin(pub);
    for (uint64_t round = 0; code == EXIT_OK && (pub->repeat == 0 || round < pub->repeat); round++) {
        for (char **file = files; *file && code == EXIT_OK; file++)
            code = send_file(pub, *file);
        if (pub->feed.progress.messages == 0)
            break; /* nothing, forever, would be a busy loop */
    }
    return code;
}

/* ---- the publisher -------------------------------------------------------------------------------------------- */

static int open_publisher(struct pub *pub) {
    tarn_type type = {.struct_bytes = sizeof(type),
                      .name = pub->type,
                      .encoding = pub->encoding,
                      .schema = pub->schema,
                      .schema_bytes = pub->schema ? strlen(pub->schema) : 0};
    tarn_publisher_options how = {
        .struct_bytes = sizeof(how),
        .directory = pub->place.directory,
        .domain = pub->place.domain,
        .type = pub->type ? &type : NULL,
        .depth = pub->depth,
        .memory_limit_bytes = pub->memory,
        .when_full = TARN_FULL_WAIT, /* in slices, without limit: see feed.c */
        .full_timeout_ns = FEED_SLICE_NS,
        .linger_ns = TARN_IMMEDIATELY, /* in slices too: see finish() */
        .timestamps = pub->timestamps,
    };
    return tarn_publisher_open(&pub->feed.publisher, pub->topic, &how) < 0 ? say_error() : EXIT_OK;
}

static int wait_for_subscribers(struct pub *pub) {
    int64_t say_at = clock_ns() + NS_PER_S;
    int there;
    while ((there = tarn_publisher_subscribers(pub->feed.publisher)) >= 0 && (uint64_t)there < pub->wait) {
        if (!pub->feed.quiet && clock_ns() >= say_at) {
            say("waiting for subscribers of '%s': %d of %" PRIu64 " are there", pub->topic, there, pub->wait);
            say_at = INT64_MAX;
        }
        clock_sleep_until(clock_ns() + 5 * NS_PER_MS);
        if (stop_status() != EXIT_OK)
            return stop_status();
    }
    return there < 0 ? say_error() : EXIT_OK;
}

/* Waits until everybody has everything, at most for linger. Returns whether they have. */
static bool flush(struct pub *pub, int64_t linger_ns) {
    int64_t deadline = clock_deadline_ns(linger_ns), left;
    while ((left = deadline - clock_ns()) > 0 && stop_status() == EXIT_OK) {
        if (tarn_publisher_flush(pub->feed.publisher, left < FEED_SLICE_NS ? left : FEED_SLICE_NS) == 1)
            return true;
        progress_tick(&pub->feed.progress);
    }
    return false;
}

/* Closes, and says so if somebody had not everything. Returns code, or EXIT_FAILED if that breaks a promise. */
static int finish(struct pub *pub, int code) {
    bool done = flush(pub, pub->linger_ns);
    int missing = tarn_publisher_close(pub->feed.publisher);
    progress_clear(&pub->feed.progress);
    if (code == EXIT_OK) /* it may have come while this lingered */
        code = stop_status();
    if (done || missing <= 0)
        return code;
    say("%d subscriber%s of '%s' had not yet taken everything", missing, missing == 1 ? "" : "s", pub->topic);
    return code == EXIT_OK && pub->reliable ? EXIT_FAILED : code;
}

/* ---- the verb ------------------------------------------------------------------------------------------------- */

/* Another tool may know it, so it is sent as it is. */
static void check_schema(const struct pub *pub) {
    struct record_error error;
    if (!pub->schema || (pub->encoding && strcmp(pub->encoding, "raw") != 0))
        return;
    struct record *record = record_parse(pub->schema, strlen(pub->schema), &error);
    if (!record)
        record_say_error("--schema is no description of a struct, so 'tarn echo' will not decode by it", pub->schema,
                         strlen(pub->schema), &error);
    record_free(record);
}

static int check(struct pub *pub, int operands) {
    if (operands < 1)
        return usage_error(&verb_pub, "a topic is missing");
    if (pub->whole && pub->feed.chunk_bytes)
        return usage_error(&verb_pub, "--whole and --chunk exclude each other");
    if (pub->encoding && !pub->type)
        return usage_error(&verb_pub, "--encoding needs --type");
    if (pub->schema && !pub->type)
        return usage_error(&verb_pub, "--schema needs --type");
    check_schema(pub);
    pub->feed.split = pub->whole ? FEED_WHOLE : pub->feed.chunk_bytes ? FEED_CHUNKS : FEED_LINES;
    pub->feed.keeps_newlines = pub->reliable; /* so that all bytes of a pipe come out */
    if (!pub->wait_given)
        pub->wait = pub->reliable;
    if (!pub->linger_given)
        pub->linger_ns = pub->reliable ? TARN_FOREVER : NS_PER_S;
    return EXIT_OK;
}

static int run(int argc, char **argv) {
    static char dash[] = "-", *only_stdin[] = {dash, NULL};
    struct pub pub = {.repeat = 1};
    int code = arguments_parse(&verb_pub, argc, argv, &pub.place, set, &pub);
    if (code >= 0)
        return code;
    if ((code = check(&pub, argc - optind)) != EXIT_OK)
        return code;
    pub.topic = argv[optind];
    char **files = argv[optind + 1] ? argv + optind + 1 : only_stdin;
    if ((code = check_files(files)) != EXIT_OK || (code = open_publisher(&pub)) != EXIT_OK)
        return code;
    stop_on_signals(NULL);
    code = wait_for_subscribers(&pub);
    progress_start(&pub.feed.progress, pub.feed.quiet);
    if (code == EXIT_OK)
        code = send_all(&pub, files);
    return finish(&pub, code);
}

const struct verb verb_pub = {
    "pub",
    "sends what it reads as messages",
    "usage: tarn pub TOPIC [FILE...] [OPTION...]\n"
    "\n"
    "Sends what it reads, from the files or standard input (also '-'), as messages to all subscribers of the topic. A\n"
    "message is a line, as long as --memory allows; a last one that lacks its newline counts. Without --reliable the\n"
    "newline is taken off. With it, this is a pipe with many readers: 'tarn sub --raw --reliable --eof' gives out "
    "byte\n"
    "by byte what went in. What is no text is better sent with --chunk.\n"
    "\n"
    "examples\n"
    "  echo 'Hello, world' | tarn pub hello\n"
    "  tarn pub log /var/log/syslog --rate 10\n"
    "  tarn pub camera/front frame1.jpg frame2.jpg --whole --rate 30 --repeat forever\n"
    "  tar c . | tarn pub backup --reliable --chunk 1M --wait 3\n"
    "  zcat access.log.gz | tarn pub access --reliable\n"
    "\n"
    "what a message is\n"
    "  --chunk BYTES       so many bytes, the last message of a file fewer (suffixes K, M, G: times 1024)\n"
    "  --whole             a whole file\n"
    "  --timestamps        each message carries its time of sending\n"
    "  --type NAME         what the payload is, e.g. sensor_msgs/Image; subscribers of another type are refused\n"
    "  --encoding NAME     of that type, e.g. raw, cdr or json (default: raw)\n"
    "  --schema TEXT       of that type, for tools, e.g. 'u32 id; f64 xyz[3]' ('tarn echo' decodes raw structs by it)\n"
    "\n"
    "when it is sent\n"
    "  --wait N            starts when N subscribers are there (default: 0; with --reliable 1, as a pipe does)\n"
    "  --rate HZ           so many messages per second, e.g. 30 or 0.5\n"
    "  --repeat N          sends all the input N times; 0 or forever: until it is stopped\n"
    "\n"
    "whether it arrives\n"
    "  --reliable          as a pipe: starts when the first subscriber is there (--wait 3: when three are, so that no\n"
    "                      one misses the beginning), closes only when all reliable subscribers have taken everything\n"
    "                      or died, and lines keep their newline. When no subscriber is left it goes on, for who "
    "comes\n"
    "  --linger SECONDS    closes after so long at the latest (default: 1; with --reliable forever)\n"
    "  --depth N           keeps at least N messages for late joiners and slow subscribers (default: 8, and all small\n"
    "                      ones that fit in 256 KiB)\n"
    "  --memory BYTES      uses no more than that, in which --depth must fit (default: a quarter of the machine's)\n"
    "  Reliable subscribers that are slow are waited for without limit; the others may lose messages, and are told.\n"
    "  What had not arrived is said on stderr at the end; with --reliable the exit code is then 1.\n"
    "\n"
    "also\n"
    "  --quiet             no progress line, no notes on waiting\n" COMMON_HELP "\n"
    "SIGINT and SIGTERM end it without lingering, with exit code 130 or 143. More in 'tarn help'.\n",
    options,
    run,
};
