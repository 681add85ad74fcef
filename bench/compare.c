/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * One measurement of one peer (peers/peer.h), with the floors before and after it, as one line of JSON. script/bench
 * runs this by the hundred, peers in turns, throws away where the two floors differ, and sums up. What is timed is what
 * a user does: get memory, write the payload, send; take, read the payload, be done.
 *
 *   latency       a message there and one back, by two channels; one way is half of that
 *   stream        one way, as fast as the sender can, every message checked; timed by the receiver, first to last
 *   fanin         the same from many senders of one process in turns
 *   fanout        one message at a time to many receivers of one process, none of which sleeps: the send, and the time
 *                 until all have it
 *   wakeup        one message at a time to a receiver that has gone to sleep: sent to taken, one clock
 *   open          both sides from nothing to the first message
 *   memory        what both processes, and servers, have more when open and idle, and for each further receiver
 *   call          a request and its response, by a channel of that kind or by two one-way channels
 *   notify        an event: half of there and back, or, to a sleeping listener, sent to taken, a bare futex in turns
 *   value         reading the latest value, while nobody writes it, and while the other process does all the time
 *   queue         one way through a queue, each message to one of the workers, each a process, and acknowledged by it
 *   floor         nothing but the floors
 *   instructions  nothing is timed: so many messages in one process, for a tool that counts
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "compare/run.h"

#define FLOOR_NS (15LL * 1000 * 1000)
#define CONNECT_NS (20LL * 1000 * 1000 * 1000)
#define YIELDS 1000

struct compare_run run;
struct compare_ends own;
struct bench_samples samples, more_samples;

/* ---- ends ------------------------------------------------------------------------------------------------------- */

void open_senders(const struct peer_channel *channel) {
    for (uint32_t i = 0; i < channel->senders; i++) {
        own.senders[own.sender_count++] = run.peer->open_sender(channel, i);
    }
}

static void open_receivers(const struct peer_channel *channel) {
    for (uint32_t i = 0; i < channel->receivers; i++) {
        own.receivers[own.receiver_count++] = run.peer->open_receiver(channel, i);
    }
}

static void open_receivers_there(struct bench_pair *pair, void *arguments) {
    (void)pair, (void)arguments;
    open_receivers(&run.there);
    if (run.back.name != NULL) {
        open_senders(&run.back);
    }
}

void connect_senders(void) {
    int64_t end_ns = bench_now_ns() + CONNECT_NS;
    for (uint32_t i = 0; run.peer->connected != NULL && i < own.sender_count; i++) {
        for (uint32_t looks = 0; !run.peer->connected(own.senders[i]); looks++) {
            if (bench_now_ns() > end_ns) {
                bench_fail("%s: not connected within 20 s", run.peer->name);
            }
            if (looks < YIELDS) { /* a sleep of any length takes 70 us or more; but servers need a CPU */
                sched_yield();
            } else {
                usleep(20);
            }
        }
    }
}

static void connect_there(struct bench_pair *pair, void *arguments) {
    (void)pair, (void)arguments;
    connect_senders();
}

void open_ends(struct bench_pair *pair) {
    bench_pair_begin(pair, open_receivers_there, NULL, 0);
    open_senders(&run.there);
    if (run.back.name != NULL) {
        open_receivers(&run.back);
    }
    bench_pair_finish(pair, NULL, 0);
    bench_pair_begin(pair, connect_there, NULL, 0);
    connect_senders();
    bench_pair_finish(pair, NULL, 0);
}

void close_own(void) {
    for (uint32_t i = 0; i < own.sender_count; i++) {
        run.peer->close_sender(own.senders[i]);
    }
    for (uint32_t i = 0; i < own.receiver_count; i++) {
        run.peer->close_receiver(own.receivers[i]);
    }
}

static void close_there(struct bench_pair *pair, void *arguments) {
    (void)pair, (void)arguments;
    close_own();
}

void close_ends(struct bench_pair *pair) {
    bench_pair_begin(pair, close_there, NULL, 0);
    close_own();
    bench_pair_finish(pair, NULL, 0);
}

/* ---- latency ---------------------------------------------------------------------------------------------------- */

/*
 * As who cares for time would: the memory for the next message is there before it is needed, and a message that was
 * read is let go of when the answer is on its way.
 */
static inline void send_next(uint64_t seed) {
    if (own.memory == NULL) {
        own.memory = run.peer->loan(own.senders[0]);
    }
    bench_payload_write(own.memory, run.there.bytes, run.touch, seed);
    run.peer->send(own.senders[0]);
    own.memory = NULL;
}

static inline void ready_next(void) {
    run.peer->done(own.receivers[0]);
    own.memory = run.peer->loan(own.senders[0]);
}

static void answer_there(struct bench_pair *pair, void *arguments) {
    (void)pair, (void)arguments;
    for (uint64_t seed = 1; check(take_some(own.receivers[0]), seed); seed++) {
        send_next(seed);
        ready_next();
    }
    run.peer->done(own.receivers[0]);
}

void bounce(struct bench_pair *pair, bool warm_up) {
    bench_pair_begin(pair, answer_there, NULL, 0);
    uint64_t start = bench_ticks(), last = start;
    send_next(1);
    for (uint64_t seed = 1;; seed++) {
        check(take_some(own.receivers[0]), seed);
        uint64_t now = bench_ticks();
        if (!warm_up) {
            bench_samples_add(&samples, now - last);
        }
        last = now;
        bool more = !is_over(warm_up, now - start, seed);
        send_next(more ? seed + 1 : LAST);
        ready_next();
        if (!more) {
            break;
        }
    }
    bench_pair_finish(pair, NULL, 0);
}

void print_times(const char *name, struct bench_samples *of, double parts) {
    static const double quantiles[] = {0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.995, 0.999, 0.9995, 0.9999, 1};
    struct bench_summary summary = bench_samples_summary(of, parts); /* sorts */
    printf("\"%s\": {\"count\": %zu, \"p50_ns\": %.2f, \"p99_ns\": %.2f, \"p99_9_ns\": %.2f, \"max_ns\": %.1f, "
           "\"mean_ns\": "
           "%.2f, \"quantiles_ns\": {",
           name, summary.count, summary.p50, summary.p99, summary.p999, summary.max, summary.mean);
    double unit = of->in_ns ? 1 : bench_ns_per_tick();
    for (size_t i = 0; i < BENCH_COUNT(quantiles) && of->count > 0; i++) {
        size_t at = (size_t)(quantiles[i] * (double)(of->count - 1));
        printf("%s\"%g\": %.1f", i > 0 ? ", " : "", quantiles[i], (double)of->values[at] * unit / parts);
    }
    printf("}}");
}

static void measure_latency(struct bench_pair *pair) {
    bench_samples_open(&samples, SAMPLES_MAX);
    open_ends(pair);
    bounce(pair, true);
    bounce(pair, false);
    print_times("one_way", &samples, 2);
    close_ends(pair);
}

/* ---- streams ---------------------------------------------------------------------------------------------------- */

struct stream {
    uint64_t count;
    int64_t took_ns;
};

/* Whether the peer brings the loops, in which receivers spin, and all is written and read. */
static bool has_loops(void) {
    return run.peer->send_many != NULL && !run.there.sleeps && run.touch == BENCH_TOUCH_FULL &&
           run.there.bytes <= PEER_MANY_BYTES_MAX && run.there.bytes % 8 == 0;
}

static uint64_t take_until_last(uint64_t seed) {
    uint64_t word;
    if (!has_loops()) {
        while (take_seed(own.receivers[0], seed)) {
            seed++;
        }
        return seed;
    }
    seed = run.peer->take_until(own.receivers[0], run.there.bytes, seed, &word);
    if (word != LAST) {
        fail_payload(seed, word);
    }
    return seed;
}

static void take_all(struct bench_pair *pair, void *arguments) {
    (void)pair;
    struct stream *stream = arguments;
    take_seed(own.receivers[0], 1);
    int64_t start_ns = bench_now_ns();
    uint64_t last = take_until_last(2);
    *stream = (struct stream){last - 1, bench_now_ns() - start_ns};
}

static void send_some(uint64_t seed, uint64_t count) {
    if (has_loops()) {
        run.peer->send_many(own.senders[0], run.there.bytes, seed, count);
        return;
    }
    for (uint64_t i = 0; i < count; i++) {
        send_seed(own.senders[0], seed + i);
    }
}

static struct stream send_stream(struct bench_pair *pair, bool warm_up) {
    struct stream stream = {0};
    bench_pair_begin(pair, take_all, &stream, sizeof(stream));
    uint64_t start = bench_ticks(), seed = 1;
    uint64_t per_clock = run.there.bytes < 65536 ? 65536 / run.there.bytes / 32 + 1 : 1;
    do {
        send_some(seed, per_clock);
        seed += per_clock;
    } while (!is_over(warm_up, bench_ticks() - start, seed - 1));
    send_seed(own.senders[0], LAST);
    bench_pair_finish(pair, &stream, sizeof(stream));
    return stream;
}

static void measure_stream(struct bench_pair *pair) {
    open_ends(pair);
    send_stream(pair, true);
    struct stream stream = send_stream(pair, false);
    printf("\"count\": %" PRIu64 ", \"per_second\": %.1f", stream.count,
           (double)(stream.count - 1) / (double)stream.took_ns * 1e9);
    close_ends(pair);
}

/* Several senders overtake each other on their ways to one receiver, so numbers count per sender. */
static void take_from_many(struct bench_pair *pair, void *arguments) {
    (void)pair;
    struct stream *stream = arguments;
    uint64_t *next = calloc(run.handles, sizeof(uint64_t)), count = 0;
    uint32_t ended = 0;
    int64_t start_ns = 0;
    while (ended < run.handles) {
        uint64_t word;
        memcpy(&word, take_some(own.receivers[0]), sizeof(word));
        run.peer->done(own.receivers[0]);
        if (count++ == 0) {
            start_ns = bench_now_ns();
        }
        uint64_t sender = word >> 48, number = word & ((UINT64_C(1) << 48) - 1);
        if (sender >= run.handles || (number != 0 && number != next[sender] + 1)) {
            bench_fail("%s: message %" PRIu64 " of sender %" PRIu64 " came out of order", run.peer->name, number,
                       sender);
        }
        next[sender] = number;
        ended += number == 0;
    }
    *stream = (struct stream){count, bench_now_ns() - start_ns};
    free(next);
}

static struct stream send_from_many(struct bench_pair *pair, bool warm_up) {
    struct stream stream = {0};
    bench_pair_begin(pair, take_from_many, &stream, sizeof(stream));
    uint64_t start = bench_ticks();
    for (uint64_t number = 1; !is_over(warm_up, bench_ticks() - start, number); number++) {
        for (uint64_t i = 0; i < own.sender_count; i++) {
            send_seed(own.senders[i], i << 48 | number);
        }
    }
    for (uint64_t i = 0; i < own.sender_count; i++) {
        send_seed(own.senders[i], i << 48);
    }
    bench_pair_finish(pair, &stream, sizeof(stream));
    return stream;
}

static void measure_fanin(struct bench_pair *pair) {
    open_ends(pair);
    send_from_many(pair, true);
    struct stream stream = send_from_many(pair, false);
    printf("\"handles\": %" PRIu32 ", \"count\": %" PRIu64 ", \"per_second\": %.1f", run.handles, stream.count,
           (double)(stream.count - 1) / (double)stream.took_ns * 1e9);
    close_ends(pair);
}

/* ---- fan-out ---------------------------------------------------------------------------------------------------- */

/* After each message, which all receivers have taken, the answer is a word in memory. */
static void take_by_many(struct bench_pair *pair, void *arguments) {
    (void)arguments;
    for (uint64_t seed = 1;; seed++) {
        bool more = true;
        for (uint32_t i = 0; i < own.receiver_count; i++) {
            more = take_seed(own.receivers[i], seed);
        }
        atomic_store_explicit(&pair->ring_here[0].word, more ? seed : 0, memory_order_release);
        if (!more) {
            return;
        }
    }
}

static void send_to_many(struct bench_pair *pair, bool warm_up) {
    atomic_store(&pair->ring_here[0].word, 0);
    bench_pair_begin(pair, take_by_many, NULL, 0);
    uint64_t start = bench_ticks(), begin = start;
    for (uint64_t seed = 1; !is_over(warm_up, begin - start, seed); seed++) {
        begin = bench_ticks();
        send_seed(own.senders[0], seed);
        uint64_t sent = bench_ticks();
        while (atomic_load_explicit(&pair->ring_here[0].word, memory_order_acquire) != seed) {
            bench_relax();
        }
        if (!warm_up) {
            bench_samples_add(&samples, sent - begin);
            bench_samples_add(&more_samples, bench_ticks() - begin);
        }
    }
    send_seed(own.senders[0], LAST);
    bench_pair_finish(pair, NULL, 0);
}

static void measure_fanout(struct bench_pair *pair) {
    bench_samples_open(&samples, SAMPLES_MAX);
    bench_samples_open(&more_samples, SAMPLES_MAX);
    open_ends(pair);
    send_to_many(pair, true);
    send_to_many(pair, false);
    printf("\"handles\": %" PRIu32 ", ", run.handles);
    print_times("send", &samples, 1);
    printf(", ");
    print_times("last_arrival", &more_samples, 1);
    close_ends(pair);
}

/* ---- wake-up ---------------------------------------------------------------------------------------------------- */

/* The message is its time of sending. Results go to memory that both see: count, then times. */
static void sleep_there(struct bench_pair *pair, void *arguments) {
    (void)arguments;
    uint64_t *results = (uint64_t *)(void *)pair->bulk_here, count = 0;
    for (;;) {
        uint64_t sent_ns;
        memcpy(&sent_ns, take_some(own.receivers[0]), sizeof(sent_ns));
        uint64_t now_ns = (uint64_t)bench_now_ns();
        run.peer->done(own.receivers[0]);
        if (sent_ns == LAST) {
            break;
        }
        results[1 + count++] = now_ns - sent_ns;
    }
    results[0] = count;
}

static void measure_wakeup(struct bench_pair *pair) {
    bench_samples_open(&samples, SAMPLES_MAX);
    samples.in_ns = true;
    open_ends(pair);
    bench_pair_begin(pair, sleep_there, NULL, 0);
    int64_t end_ns = bench_now_ns() + (int64_t)(run.seconds * 1e9);
    for (int64_t now_ns = 0; now_ns < end_ns;) {
        int64_t due_ns = bench_now_ns() + WAKEUP_GAP_NS;
        while ((now_ns = bench_now_ns()) < due_ns) {
            bench_relax();
        }
        send_seed(own.senders[0], (uint64_t)now_ns);
    }
    usleep(1000);
    send_seed(own.senders[0], LAST);
    bench_pair_finish(pair, NULL, 0);
    const uint64_t *results = (const uint64_t *)(const void *)pair->bulk_here;
    for (uint64_t i = results[0] / 5; i < results[0]; i++) { /* the first are a warm-up */
        bench_samples_add(&samples, results[1 + i]);
    }
    print_times("wakeup", &samples, 1);
    close_ends(pair);
}

/* ---- opening, memory, instructions ------------------------------------------------------------------------------ */

static void open_and_take_there(struct bench_pair *pair, void *arguments) {
    (void)pair, (void)arguments;
    open_receivers(&run.there);
    take_seed(own.receivers[0], 1);
}

static void measure_open(struct bench_pair *pair) {
    int64_t start_ns = bench_now_ns();
    bench_pair_begin(pair, open_and_take_there, NULL, 0);
    open_senders(&run.there);
    connect_senders();
    send_seed(own.senders[0], 1);
    bench_pair_finish(pair, NULL, 0);
    printf("\"open_ns\": %" PRId64, bench_now_ns() - start_ns);
    close_ends(pair);
}

/* Physical memory, shared pages divided by who shares them. */
static int64_t pss_bytes(int pid) {
    char path[64], line[128];
    int64_t kib = 0;
    snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", pid);
    FILE *file = fopen(path, "re");
    while (file != NULL && fgets(line, sizeof(line), file) != NULL) {
        sscanf(line, "Pss: %" SCNd64 " kB", &kib);
    }
    if (file != NULL) {
        fclose(file);
    }
    return kib * 1024;
}

static int64_t memory_of_all(struct bench_pair *pair) {
    int servers[8];
    int64_t bytes = pss_bytes(getpid()) + pss_bytes(pair->partner);
    for (uint32_t i = 0, count = run.peer->servers ? run.peer->servers(servers) : 0; i < count; i++) {
        bytes += pss_bytes(servers[i]);
    }
    return bytes;
}

static void take_one_each(struct bench_pair *pair, void *arguments) {
    (void)pair, (void)arguments;
    for (uint32_t i = 0; i < own.receiver_count; i++) {
        take_seed(own.receivers[i], 1);
    }
}

static void measure_memory(struct bench_pair *pair) {
    int64_t before = memory_of_all(pair);
    open_ends(pair);
    bench_pair_begin(pair, take_one_each, NULL, 0);
    send_seed(own.senders[0], 1);
    bench_pair_finish(pair, NULL, 0);
    usleep(300000);
    printf("\"handles\": %" PRIu32 ", \"idle_bytes\": %" PRId64, run.handles, memory_of_all(pair) - before);
    close_ends(pair);
}

static void count_instructions(void) {
    open_receivers(&run.there);
    open_senders(&run.there);
    connect_senders();
    for (uint64_t seed = 1; seed <= run.count; seed++) {
        send_seed(own.senders[0], seed);
        take_seed(own.receivers[0], seed);
    }
    close_own();
}

static void measure_nothing(struct bench_pair *pair) {
    (void)pair;
    printf("\"handles\": 0");
}

/* ---- the run ---------------------------------------------------------------------------------------------------- */

struct scenario {
    const char *name;
    void (*measure)(struct bench_pair *pair);
    bool back, many_senders, many_receivers, sleeps, streams;
    const char *table; /* the peer's own for this pattern; NULL: that of publish and subscribe */
    bool by_messages;  /* can be made of two one-way channels where there is no such table */
};

static const struct scenario scenarios[] = {
    {.name = "latency", .measure = measure_latency, .back = true},
    {.name = "stream", .measure = measure_stream, .streams = true},
    {.name = "fanin", .measure = measure_fanin, .many_senders = true, .streams = true},
    {.name = "fanout", .measure = measure_fanout, .many_receivers = true},
    {.name = "wakeup", .measure = measure_wakeup, .sleeps = true},
    {.name = "open", .measure = measure_open},
    {.name = "memory", .measure = measure_memory, .many_receivers = true},
    {.name = "call", .measure = measure_call, .back = true, .table = "peer_call", .by_messages = true},
    {.name = "notify", .measure = measure_notify, .back = true, .table = "peer_notify", .by_messages = true},
    {.name = "value", .measure = measure_value, .table = "peer_value"},
    {.name = "queue",
     .measure = measure_queue,
     .many_receivers = true,
     .sleeps = true,
     .streams = true,
     .table = "peer_queue"},
    {.name = "floor", .measure = measure_nothing},
    {.name = "instructions"},
};

static const struct scenario *find_scenario(const char *name) {
    for (size_t i = 0; i < BENCH_COUNT(scenarios); i++) {
        if (strcmp(name, scenarios[i].name) == 0) {
            return &scenarios[i];
        }
    }
    bench_fail(
        "there is no scenario \"%s\": latency, stream, fanin, fanout, wakeup, open, memory, call, notify, value, "
        "queue, instructions",
        name);
}

/* Beside this program. */
static void *load_library(const char *name) {
    char path[4096];
    ssize_t length = readlink("/proc/self/exe", path, sizeof(path) - 1);
    path[length > 0 ? length : 0] = 0;
    char *slash = strrchr(path, '/');
    size_t at = slash ? (size_t)(slash + 1 - path) : 0;
    snprintf(path + at, sizeof(path) - at, "bench_peer_%s.so", name);
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (library == NULL) {
        bench_fail("peer \"%s\" cannot be loaded: %s", name, dlerror());
    }
    return library;
}

/* One of its tables, or NULL. */
static const struct peer *find_table(void *library, const char *table) {
    const struct peer *peer = dlsym(library, table);
    if (peer != NULL && peer->interface != PEER_INTERFACE) {
        bench_fail("peer \"%s\" has another interface", peer->name);
    }
    return peer;
}

/* messages: not by a table of the scenario's own. */
static const struct peer *choose_table(void *library, const struct scenario *scenario, bool messages) {
    const struct peer *peer = scenario->table && !messages ? find_table(library, scenario->table) : NULL;
    if (peer == NULL && (scenario->table == NULL || scenario->by_messages)) {
        peer = find_table(library, "peer");
    }
    return peer;
}

/* What the peer is, and how it is used for each pattern that it has. */
static void print_description(void *library) {
    static const char *const tables[][2] = {{"peer", "messages"},
                                            {"peer_call", "call"},
                                            {"peer_notify", "events"},
                                            {"peer_value", "latest value"},
                                            {"peer_queue", "queue"}};
    const struct peer *first = NULL;
    for (size_t i = 0; i < BENCH_COUNT(tables); i++) {
        const struct peer *peer = find_table(library, tables[i][0]);
        if (peer != NULL && first == NULL) {
            first = peer;
            printf("{\"peer\": \"%s\", \"title\": \"%s\", \"version\": \"%s\", \"copies\": %s, \"how\": {", peer->name,
                   peer->title, peer->version(), peer->copies ? "true" : "false");
        }
        if (peer != NULL) {
            printf("%s\"%s\": \"%s\"", peer == first ? "" : ", ", tables[i][1], peer->how);
        }
    }
    if (first == NULL) {
        bench_fail("the peer has no table");
    }
    printf("}}\n");
}

/* A socket bound to that port of loopback (0: any), or -1. */
static int bind_port(uint32_t port, uint32_t *ret_port) {
    struct sockaddr_in name = {
        .sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}, .sin_port = htons((uint16_t)port)};
    socklen_t bytes = sizeof(name);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && bind(fd, (struct sockaddr *)&name, bytes) == 0 &&
        getsockname(fd, (struct sockaddr *)&name, &bytes) == 0) {
        *ret_port = ntohs(name.sin_port);
        return fd;
    }
    if (fd >= 0) {
        close(fd);
    }
    return -1;
}

/* The first of PORTS ports in a row that are free now. */
static uint32_t free_ports(void) {
    enum { PORTS = 8, TRIES = 100 };
    for (int i = 0; i < TRIES; i++) {
        uint32_t first = 0, other;
        int fds[PORTS] = {bind_port(0, &first)};
        bool all = fds[0] >= 0 && first <= 65536 - PORTS;
        for (uint32_t p = 1; p < PORTS; p++) {
            fds[p] = all ? bind_port(first + p, &other) : -1;
            all = fds[p] >= 0;
        }
        for (uint32_t p = 0; p < PORTS; p++) {
            if (fds[p] >= 0) {
                close(fds[p]);
            }
        }
        if (all) {
            return first;
        }
    }
    bench_fail("no %d ports in a row are free: %s", PORTS, strerror(errno));
}

static _Noreturn void skip(const char *title) {
    printf("{\"skipped\": \"%s does not do that\"}\n", title);
    exit(0);
}

static void set_up(const struct scenario *scenario, size_t bytes, bool sleeps) {
    const struct peer *peer = run.peer;
    run.warm_up_seconds = scenario->streams ? WARM_UP_STREAM_SECONDS : WARM_UP_SECONDS;
    run.there = (struct peer_channel){
        .name = "there",
        .folder = getenv("TARN_DIR"),
        .bytes = bytes,
        .senders = scenario->many_senders ? run.handles : 1,
        .receivers = scenario->many_receivers ? run.handles : 1,
        .port = free_ports(),
        .sleeps = sleeps || scenario->sleeps,
        .streams = scenario->streams,
    };
    if (bytes > peer->bytes_max || run.there.senders > peer->senders_max || run.there.receivers > peer->receivers_max ||
        (run.there.sleeps && !peer->can_sleep)) {
        skip(peer->title);
    }
    if (scenario->back && peer->serve_take == NULL) {
        run.back = run.there;
        run.back.name = "back";
        run.back.port = free_ports();
    }
    if (peer->prepare != NULL) {
        peer->prepare(&run.there);
        if (run.back.name != NULL) {
            peer->prepare(&run.back);
        }
    }
}

static void tear_down(void) {
    if (run.peer->release != NULL) {
        run.peer->release(&run.there);
        if (run.back.name != NULL) {
            run.peer->release(&run.back);
        }
    }
}

static void print_floor(const char *name, struct bench_floor floor) {
    printf("\"%s\": {\"standing_ns\": %.2f, \"walking_ns\": %.2f, \"speed_per_ns\": %.2f}, ", name, floor.standing_ns,
           floor.walking_ns, floor.speed_per_ns);
}

static void print_head(const struct scenario *scenario) {
    printf("{\"scenario\": \"%s\", \"peer\": \"%s\", \"title\": \"%s\", \"version\": \"%s\", \"copies\": %s, "
           "\"bytes\": %zu, \"touch\": \"%s\", \"wait\": \"%s\", ",
           scenario->name, run.peer->name, run.peer->title, run.peer->version(), run.peer->copies ? "true" : "false",
           run.there.bytes, run.touch == BENCH_TOUCH_LINE ? "line" : "full", run.there.sleeps ? "sleep" : "spin");
}

static void measure(const struct scenario *scenario, struct bench_cpus cpus) {
    struct bench_pair pair;
    bench_pair_start(&pair, cpus);
    struct bench_floor before = bench_floor_measure(&pair, FLOOR_NS);
    print_head(scenario);
    scenario->measure(&pair);
    printf(", ");
    print_floor("before", before);
    print_floor("after", bench_floor_measure(&pair, FLOOR_NS));
    printf("\"cpus\": [%d, %d]}\n", pair.cpus.here, pair.cpus.there);
    bench_pair_stop(&pair);
}

int main(int argc, char **argv) {
    const char *scenario_name = "latency", *peer = "tarn", *bytes = "8", *touch = "full", *sleeps = NULL,
               *seconds = "0.1", *handles = "1", *count = "1000", *cpus = NULL, *describe = NULL, *messages = NULL;
    const struct bench_option options[] = {
        {"--scenario", "NAME", "what to measure (latency); see the head of bench/compare.c", &scenario_name},
        {"--peer", "NAME", "bench_peer_NAME.so beside this program (tarn)", &peer},
        {"--describe", NULL, "print what the peer is and how it is used, and measure nothing", &describe},
        {"--messages", NULL, "call and notify: by two one-way channels, whatever else the peer has", &messages},
        {"--bytes", "BYTES", "per message, 8 or more (8)", &bytes},
        {"--touch", "WHAT", "line: first word written and read; full: everything (full)", &touch},
        {"--sleep", NULL, "receivers sleep instead of spinning", &sleeps},
        {"--seconds", "SECONDS", "to measure, a warm-up not counted (0.1)", &seconds},
        {"--handles", "COUNT", "senders of fanin, receivers of fanout and memory, workers of queue (1)", &handles},
        {"--count", "COUNT", "messages of instructions (1000)", &count},
        {"--cpus", "A,B", "the two CPUs to run on", &cpus},
    };
    bench_options_parse(argc, argv, "one measurement of one way for processes to talk, as JSON", options,
                        BENCH_COUNT(options));
    void *library = load_library(peer);
    if (describe != NULL) {
        print_description(library);
        return 0;
    }
    const struct scenario *scenario = find_scenario(scenario_name);
    run.peer = choose_table(library, scenario, messages != NULL);
    if (run.peer == NULL) {
        skip(peer);
    }
    run.touch = strcmp(touch, "line") == 0 ? BENCH_TOUCH_LINE : BENCH_TOUCH_FULL;
    run.seconds = bench_parse_number(seconds);
    run.handles = (uint32_t)bench_parse_number(handles);
    run.count = (uint64_t)bench_parse_number(count);
    sched_getaffinity(0, sizeof(run.cpus), &run.cpus);
    bench_place_open();
    set_up(scenario, (size_t)bench_parse_bytes(bytes), sleeps != NULL);
    if (scenario->measure == NULL) {
        count_instructions();
        tear_down();
        return 0;
    }
    measure(scenario, bench_cpus_choose(cpus));
    tear_down();
    return 0;
}
