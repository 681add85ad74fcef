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
 * prints three numbers of nanoseconds: how late it began, registering, opening to the first message.
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
#include <sys/prctl.h>
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

/* With what was published before it joined. Returns when it had the message. */
static int64_t take_one(const char *topic, tarn_publisher *publisher) {
    tarn_subscriber *subscriber;
    tarn_message message;
    tarn_subscriber_options how = {.struct_bytes = sizeof(how), .history = 1};
    bench_expect(tarn_subscriber_open(&subscriber, topic, &how), 0, "cannot open the subscriber");
    if (publisher != NULL) {
        bench_expect(tarn_publisher_publish(publisher, "hello", 5), 1, "cannot publish");
    }
    bench_expect(tarn_subscriber_receive(subscriber, &message, PATIENCE_NS), 1, "no message within 10 s");
    int64_t end_ns = bench_now_ns();
    if (message.bytes != 5 || memcmp(message.data, "hello", 5) != 0) {
        bench_fail("another message came than was sent");
    }
    tarn_message_release(&message);
    tarn_publisher_close(publisher);
    tarn_subscriber_close(subscriber);
    return end_ns;
}

/* begin_ns: when both roles begin; 0: at once. Tells how late it began, how long registering took, and opening. */
static int child(const struct kind *kind, const char *topic, enum role role, int64_t begin_ns) {
    tarn_publisher *publisher = NULL;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
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
    int64_t open_ns = bench_now_ns(), end_ns;
    if (role == PUBLISHES) {
        publish_one(&publisher, topic);
        end_ns = bench_now_ns();
    } else {
        if (!kind->join && role == BOTH) {
            bench_expect(tarn_publisher_open(&publisher, topic, NULL), 0, "cannot open the publisher");
        }
        end_ns = take_one(topic, publisher);
    }
    printf("%lld %lld %lld\n", (long long)(begin_ns ? start_ns - begin_ns : 0), (long long)(open_ns - start_ns),
           (long long)(end_ns - open_ns));
    fflush(stdout);
    if (role == PUBLISHES) {
        pause(); /* until the parent has what it waits for */
    }
    return 0;
}

/* ---- the parent ----------------------------------------------------------------------------------------------- */

#define UNTIL_BOTH_ARE_READY_NS (5LL * 1000 * 1000)
#define LATE_NS 5000

struct child {
    pid_t pid;
    FILE *answer;
    long long late_ns, register_ns, open_ns;
};

static struct child start_child(const struct kind *kind, const char *topic, enum role role, int64_t begin_ns) {
    char number[2], time[32];
    int ends[2];
    snprintf(number, sizeof(number), "%d", (int)role);
    snprintf(time, sizeof(time), "%lld", (long long)begin_ns);
    fflush(stdout);
    if (pipe2(ends, O_CLOEXEC) != 0) {
        bench_fail("cannot make a pipe: %s", strerror(errno));
    }
    struct child child = {.pid = fork(), .answer = fdopen(ends[0], "r")};
    if (child.pid == 0) {
        dup2(ends[1], STDOUT_FILENO);
        execl("/proc/self/exe", "bench_open", "--child", kind->name, topic, number, time, (char *)NULL);
        _exit(127);
    }
    close(ends[1]);
    if (child.pid < 0 || child.answer == NULL) {
        bench_fail("cannot start a process: %s", strerror(errno));
    }
    return child;
}

/* What the child tells; then it has ended. */
static void end_child(struct child *child, const char *topic, bool waits) {
    int numbers = fscanf(child->answer, "%lld %lld %lld", &child->late_ns, &child->register_ns, &child->open_ns);
    int status;
    if (waits) {
        kill(child->pid, SIGKILL);
    }
    fclose(child->answer);
    if (waitpid(child->pid, &status, 0) != child->pid || (status != 0 && !waits) || numbers != 3) {
        bench_fail("a process that opens \"%s\" failed", topic);
    }
}

/* False: of two that were to begin at one moment one was late. */
static bool run_child(const struct kind *kind, const char *topic, int64_t *ret_register_ns, int64_t *ret_open_ns) {
    int64_t begin_ns = kind->apart ? bench_now_ns() + UNTIL_BOTH_ARE_READY_NS : 0;
    struct child publisher = {0};
    if (kind->apart) {
        publisher = start_child(kind, topic, PUBLISHES, begin_ns);
    }
    struct child child = start_child(kind, topic, kind->apart ? SUBSCRIBES : BOTH, begin_ns);
    end_child(&child, topic, false);
    if (kind->apart) {
        end_child(&publisher, topic, true);
    }
    *ret_register_ns = child.register_ns;
    *ret_open_ns = child.open_ns;
    return child.late_ns < LATE_NS && publisher.late_ns < LATE_NS;
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
    size_t late = 0;
    if (kind->join) {
        bench_expect(tarn_publisher_open(&publisher, "bench/join", NULL), 0, "cannot open the publisher");
        bench_expect(tarn_publisher_publish(publisher, "hello", 5), 1, "cannot publish");
    }
    for (size_t i = 0; i <= runs; i++) {
        char topic[64];
        int64_t register_ns, open_ns;
        snprintf(topic, sizeof(topic), "bench/%s-%zu", kind->name, i);
        bool in_time = run_child(kind, kind->join ? "bench/join" : topic, &register_ns, &open_ns);
        late += !in_time;
        if (i > 0 && in_time) { /* the first one makes directories and fills caches */
            bench_samples_add(&registering, (uint64_t)register_ns);
            bench_samples_add(&opening, (uint64_t)open_ns);
        }
    }
    tarn_publisher_close(publisher);
    if (opening.count == 0) {
        printf("%-42s not measured: the two never began at one moment\n", kind->words);
        return;
    }
    char p50[32], p99[32], max[32], registered[32];
    struct bench_summary times = bench_samples_summary(&opening, 1);
    double register_ns = bench_samples_summary(&registering, 1).p50;
    printf("%-42s %10s %10s %10s", kind->words, bench_format_ns(p50, sizeof(p50), times.p50),
           bench_format_ns(p99, sizeof(p99), times.p99), bench_format_ns(max, sizeof(max), times.max));
    if (kind->register_process) {
        printf("   after registering in %s", bench_format_ns(registered, sizeof(registered), register_ns));
    }
    if (late > 0) {
        printf("   %zu not counted: one began late", late);
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
        if (!kinds[i].apart || bench_cpus_allowed() > 1) {
            measure(&kinds[i], runs, report);
        }
    }
    bench_report_close(report);
    return 0;
}
