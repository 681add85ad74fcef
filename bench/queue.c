/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * A work queue's messages per second: pushed one by one, taken one by one, each acknowledged before the next is taken.
 * Producers and workers are processes, those of a kind spread over the CPUs there are; with more processes than CPUs it
 * shows what it is like when they have to sleep and wake each other.
 */
#include "common.h"

#include <sched.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tarn.h"

#define TOPIC "queue"
#define LIST_MAX 16
#define PROCESSES_MAX 64
#define PATIENCE_NS 10000000000LL
#define MARK_PER_SECOND 1e6 /* ten times what a RabbitMQ does here, without acknowledgements */

struct shared {
    _Atomic bool stop;
    _Atomic uint64_t counts[PROCESSES_MAX][BENCH_LINE_BYTES / 8]; /* a line for each */
};

static struct shared *shared;
static struct bench_cpus cpus;

static void push_on(size_t bytes) {
    tarn_producer_options options = {.struct_bytes = sizeof(options), .full_timeout_ns = PATIENCE_NS};
    tarn_producer *producer;
    bench_expect(tarn_producer_open(&producer, TOPIC, &options), 0, "cannot open a producer");
    static char data[1 << 20];
    while (!atomic_load_explicit(&shared->stop, memory_order_relaxed)) {
        bench_expect(tarn_producer_push(producer, data, bytes), 1, "cannot push");
    }
    tarn_producer_close(producer);
}

static void work_on(size_t number) {
    tarn_worker *worker;
    tarn_job job;
    uint64_t count = 0;
    int got = 0;
    bench_expect(tarn_worker_open(&worker, TOPIC, NULL), 0, "cannot open a worker");
    do {
        while ((got = tarn_worker_receive(worker, &job, 100000000)) == 1) {
            bench_expect(tarn_job_acknowledge(&job), 0, "cannot acknowledge");
            atomic_store_explicit(&shared->counts[number][0], ++count, memory_order_relaxed);
        }
    } while (got == 0 && !shared->stop); /* with what is left, the producers can close */
    tarn_worker_close(worker);
}

static pid_t start(size_t number, size_t producers, size_t bytes) {
    pid_t pid = fork();
    if (pid != 0) {
        return pid;
    }
    bool produces = number < producers;
    bench_pin((number + (produces ? 0 : producers + 1)) % 2 ? cpus.there : cpus.here);
    produces ? push_on(bytes) : work_on(number);
    _exit(0);
}

static uint64_t count_all(size_t processes) {
    uint64_t count = 0;
    for (size_t i = 0; i < processes; i++) {
        count += shared->counts[i][0];
    }
    return count;
}

static double now_s(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static double measure(size_t producers, size_t workers, size_t bytes, double seconds) {
    pid_t pids[PROCESSES_MAX];
    size_t processes = producers + workers;
    *shared = (struct shared){0};
    for (size_t i = 0; i < processes; i++) {
        pids[i] = start(i, producers, bytes);
    }
    usleep(100000);
    double from = now_s();
    uint64_t before = count_all(processes);
    usleep((unsigned)(seconds * 1e6));
    double rate = (double)(count_all(processes) - before) / (now_s() - from);
    shared->stop = true;
    for (size_t i = 0; i < processes; i++) {
        int how;
        if (waitpid(pids[i], &how, 0) != pids[i] || how != 0) {
            bench_fail("process %zu ended with %#x", i, (unsigned)how);
        }
    }
    return rate;
}

int main(int argc, char **argv) {
    const char *sizes = "8,64,1K", *counts = "1,2", *seconds = "1", *two = NULL, *json = NULL, *marks = NULL;
    const struct bench_option options[] = {
        {"--sizes", "LIST", "bytes per message (8,64,1K)", &sizes},
        {"--counts", "LIST", "so many producers, and as many workers (1,2)", &counts},
        {"--seconds", "SECONDS", "for each (1)", &seconds},
        {"--cpus", "A,B", "the two CPUs to run on", &two},
        {"--json", "FILE", "write the results to FILE", &json},
        {"--marks", "FILE", "append the mark to FILE", &marks},
    };
    bench_options_parse(argc, argv, "messages per second of a work queue", options, BENCH_COUNT(options));
    uint64_t size_list[LIST_MAX], count_list[LIST_MAX];
    size_t size_count = bench_parse_list(sizes, size_list, LIST_MAX);
    size_t count_count = bench_parse_list(counts, count_list, LIST_MAX);
    cpus = bench_cpus_choose(two);
    bench_place_open();
    shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED) {
        bench_fail("no memory");
    }
    struct bench_report *report = bench_report_open("queue", json, marks);
    printf("%10s %10s %10s %12s\n", "producers", "workers", "bytes", "M jobs/s");
    for (size_t k = 0; k < count_count; k++) {
        for (size_t i = 0; i < size_count; i++) {
            size_t count = (size_t)count_list[k], bytes = (size_t)size_list[i];
            if (count < 1 || 2 * count > PROCESSES_MAX || bytes > 1 << 20) {
                bench_fail("--counts are 1 to %d, --sizes up to 1M", PROCESSES_MAX / 2);
            }
            double rate = measure(count, count, bytes, bench_parse_number(seconds));
            printf("%10zu %10zu %10zu %12.2f\n", count, count, bytes, rate / 1e6);
            fflush(stdout);
            bench_report_row(report, "queue", "producers", (double)count, "workers", (double)count, "bytes",
                             (double)bytes, "per_second", rate, NULL);
            if (count == 1 && bytes == 64) {
                bench_report_mark(report, "work queue, 64 B, acknowledged", rate / 1e6, false, MARK_PER_SECOND / 1e6,
                                  "M jobs/s");
            }
        }
    }
    bench_report_close(report);
    return 0;
}
