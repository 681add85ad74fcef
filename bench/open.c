/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * How long it takes from opening to the first message, each time in a process that was just started (fork and exec of
 * this program) and has not touched the library before:
 *
 *   both        a publisher and a subscriber of a new topic are opened, one message is published and taken
 *   join        a publisher with a message is there, in another process; a subscriber is opened and takes it
 *   apart       as both, in two processes that begin at one moment, each on a CPU of its own
 *
 * in a process with one thread; with four (where registering for membarrier costs milliseconds, so the library leaves
 * it out); and with four after tarn_process_register, whose own time is told apart. The child measures itself and
 * prints two numbers, nanoseconds of registering and of opening to the first message.
 *
 * --topics and --subscribers: so many other topics with a publisher each, and so many subscribers in the topic that is
 * joined, are there already, in the parent.
 */
#define _GNU_SOURCE
#include "common.h"

#include "tarn.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define RUNS_MAX 10000
#define THREADS 4
#define PATIENCE_NS (10LL * 1000 * 1000 * 1000)
#define MARK_NS 300e3

struct kind {
    const char *name, *words;
    bool join, threads, register_process, apart;
};
static const struct kind kinds[] = {
    {.name = "both", .words = "publisher and subscriber, one thread"},
    {.name = "join", .words = "subscriber joins a publisher, one thread", .join = true},
    {.name = "apart", .words = "two processes at one moment, one thread", .apart = true},
    {.name = "both-threads", .words = "publisher and subscriber, 4 threads", .threads = true},
    {.name = "join-threads", .words = "subscriber joins a publisher, 4 threads", .join = true, .threads = true},
    {.name = "both-registered",
     .words = "the same as both, 4 threads, registered",
     .threads = true,
     .register_process = true},
};

enum role { BOTH, PUBLISHES, SUBSCRIBES };

/* ---- the child ------------------------------------------------------------------------------------------------ */

static void *sleep_for_ever(void *nothing) {
    (void)nothing;
    while (pause() != 0) { /* it never returns 0 */
    }
    return NULL;
}

static void start_threads(void) {
    pthread_t thread;
    for (int i = 1; i < THREADS; i++) {
        if (pthread_create(&thread, NULL, sleep_for_ever, NULL) != 0) {
            bench_fail("cannot start a thread");
        }
    }
    usleep(1000);
}

static void publish_one(tarn_publisher **ret, const char *topic) {
    bench_expect(tarn_publisher_open(ret, topic, NULL), 0, "cannot open the publisher");
    bench_expect(tarn_publisher_publish(*ret, "hello", 5), 1, "cannot publish");
}

/* With what was published before it joined. */
static void take_one(const char *topic, tarn_publisher *publisher) {
    tarn_subscriber *subscriber;
    tarn_message message;
    tarn_subscriber_options how = {.struct_bytes = sizeof(how), .history = 1};
    bench_expect(tarn_subscriber_open(&subscriber, topic, &how), 0, "cannot open the subscriber");
    if (publisher != NULL) {
        bench_expect(tarn_publisher_publish(publisher, "hello", 5), 1, "cannot publish");
    }
    bench_expect(tarn_subscriber_receive(subscriber, &message, PATIENCE_NS), 1, "no message within 10 s");
    if (message.bytes != 5 || memcmp(message.data, "hello", 5) != 0) {
        bench_fail("another message came than was sent");
    }
}

/* Ends with its handles open: closing is not what is measured. begin_ns: when both roles begin; 0: at once. */
static int child(const struct kind *kind, const char *topic, enum role role, int64_t begin_ns) {
    tarn_publisher *publisher = NULL;
    if (kind->threads) {
        start_threads();
    }
    if (role != BOTH) {
        struct bench_cpus cpus = bench_cpus_choose(NULL);
        bench_pin(role == PUBLISHES ? cpus.here : cpus.there);
    }
    int64_t start_ns;
    while ((start_ns = bench_now_ns()) < begin_ns) {
        bench_relax();
    }
    if (kind->register_process) {
        tarn_process_register();
    }
    int64_t open_ns = bench_now_ns();
    if (role == PUBLISHES) {
        publish_one(&publisher, topic);
        pause(); /* until the parent has what it waits for */
    }
    if (role == BOTH && !kind->join) {
        bench_expect(tarn_publisher_open(&publisher, topic, NULL), 0, "cannot open the publisher");
    }
    take_one(topic, publisher);
    printf("%lld %lld\n", (long long)(open_ns - start_ns), (long long)(bench_now_ns() - open_ns));
    return 0;
}

/* ---- the parent ----------------------------------------------------------------------------------------------- */

#define UNTIL_BOTH_ARE_READY_NS (4LL * 1000 * 1000)

static pid_t start_child(const struct kind *kind, const char *topic, enum role role, int64_t begin_ns, int answer) {
    char number[2], time[32];
    snprintf(number, sizeof(number), "%d", (int)role);
    snprintf(time, sizeof(time), "%lld", (long long)begin_ns);
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        dup2(answer, STDOUT_FILENO);
        execl("/proc/self/exe", "bench_open", "--child", kind->name, topic, number, time, (char *)NULL);
        _exit(127);
    }
    return pid;
}

static void run_child(const struct kind *kind, const char *topic, int64_t *ret_register_ns, int64_t *ret_open_ns) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) {
        bench_fail("cannot make a pipe: %s", strerror(errno));
    }
    int64_t begin_ns = kind->apart ? bench_now_ns() + UNTIL_BOTH_ARE_READY_NS : 0;
    pid_t other = kind->apart ? start_child(kind, topic, PUBLISHES, begin_ns, ends[1]) : 0;
    pid_t pid = start_child(kind, topic, kind->apart ? SUBSCRIBES : BOTH, begin_ns, ends[1]);
    close(ends[1]);
    FILE *answer = fdopen(ends[0], "r");
    long long register_ns, open_ns;
    int numbers = answer != NULL ? fscanf(answer, "%lld %lld", &register_ns, &open_ns) : 0;
    if (other > 0) {
        kill(other, SIGKILL);
        waitpid(other, NULL, 0);
    }
    if (answer != NULL) {
        fclose(answer);
    }
    int status;
    if (pid < 0 || waitpid(pid, &status, 0) != pid || status != 0 || numbers != 2) {
        bench_fail("a process that opens \"%s\" failed", topic);
    }
    *ret_register_ns = register_ns;
    *ret_open_ns = open_ns;
}

static void measure(const struct kind *kind, size_t runs, struct bench_report *report) {
    static struct bench_samples registering, opening;
    if (opening.values == NULL) {
        bench_samples_open(&registering, RUNS_MAX);
        bench_samples_open(&opening, RUNS_MAX);
        registering.in_ns = opening.in_ns = true;
    }
    registering.count = opening.count = 0;
    tarn_publisher *publisher = NULL;
    if (kind->join) {
        bench_expect(tarn_publisher_open(&publisher, "bench/join", NULL), 0, "cannot open the publisher");
        bench_expect(tarn_publisher_publish(publisher, "hello", 5), 1, "cannot publish");
    }
    for (size_t i = 0; i <= runs; i++) {
        char topic[64];
        int64_t register_ns, open_ns;
        snprintf(topic, sizeof(topic), "bench/%s-%zu", kind->name, i);
        run_child(kind, kind->join ? "bench/join" : topic, &register_ns, &open_ns);
        if (i > 0) { /* the first one makes directories and fills caches */
            bench_samples_add(&registering, (uint64_t)register_ns);
            bench_samples_add(&opening, (uint64_t)open_ns);
        }
    }
    tarn_publisher_close(publisher);
    char p50[32], p99[32], max[32], registered[32];
    struct bench_summary times = bench_samples_summary(&opening, 1);
    double register_ns = bench_samples_summary(&registering, 1).p50;
    printf("%-42s %10s %10s %10s", kind->words, bench_format_ns(p50, sizeof(p50), times.p50),
           bench_format_ns(p99, sizeof(p99), times.p99), bench_format_ns(max, sizeof(max), times.max));
    if (kind->register_process) {
        printf("   after registering in %s", bench_format_ns(registered, sizeof(registered), register_ns));
    }
    printf("\n");
    fflush(stdout);
    bench_report_row(report, kind->name, "p50_ns", times.p50, "p99_ns", times.p99, "max_ns", times.max, "register_ns",
                     register_ns, NULL);
    if (!kind->threads) {
        bench_report_mark(report,
                          kind->join    ? "join to first message"
                          : kind->apart ? "open to first message, two processes"
                                        : "open to first message",
                          times.p50 / 1000, true, MARK_NS / 1000, "us");
    }
}

/* Stays as it is until this process ends. */
static void populate(size_t topics, size_t subscribers) {
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    for (size_t i = 0; i < topics; i++) {
        char topic[64];
        tarn_publisher *publisher;
        snprintf(topic, sizeof(topic), "bench/other-%zu", i);
        bench_expect(tarn_publisher_open(&publisher, topic, NULL), 0, "cannot open one more topic");
    }
    for (size_t i = 0; i < subscribers; i++) {
        tarn_subscriber *subscriber;
        bench_expect(tarn_subscriber_open(&subscriber, "bench/join", NULL), 0, "cannot open one more subscriber");
    }
}

int main(int argc, char **argv) {
    if (argc == 6 && strcmp(argv[1], "--child") == 0) {
        for (size_t i = 0; i < BENCH_COUNT(kinds); i++) {
            if (strcmp(argv[2], kinds[i].name) == 0) {
                return child(&kinds[i], argv[3], (enum role)atoi(argv[4]), atoll(argv[5]));
            }
        }
        return 1;
    }
    const char *runs_text = "200", *topics = "0", *subscribers = "0", *json = NULL, *marks = NULL;
    const struct bench_option options[] = {
        {"--runs", "COUNT", "processes per kind (200)", &runs_text},
        {"--topics", "COUNT", "other topics that are there already (0)", &topics},
        {"--subscribers", "COUNT", "subscribers that are in the topic which is joined (0)", &subscribers},
        {"--json", "FILE", "write the results to FILE", &json},
        {"--marks", "FILE", "append the marks to FILE", &marks},
    };
    bench_options_parse(argc, argv, "time from opening to the first message, in fresh processes", options,
                        BENCH_COUNT(options));
    size_t runs = (size_t)bench_parse_number(runs_text);
    if (runs < 1 || runs > RUNS_MAX) {
        bench_fail("--runs is 1 to %d", RUNS_MAX);
    }
    bench_place_open();
    populate((size_t)bench_parse_number(topics), (size_t)bench_parse_number(subscribers));
    struct bench_report *report = bench_report_open("open", json, marks);
    printf(
        "From opening to the first message, each time in a fresh process; %zu of each kind.\n\n%-42s %10s %10s %10s\n",
        runs, "", "p50", "p99", "max");
    for (size_t i = 0; i < BENCH_COUNT(kinds); i++) {
        measure(&kinds[i], runs, report);
    }
    bench_report_close(report);
    return 0;
}
