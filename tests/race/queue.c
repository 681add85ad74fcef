/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * Producers, workers and those who end the workers' jobs, each in a thread of its own: every message is acknowledged
 * once, and is whole when it is. Small rings and little memory, so that cells and memory are used again all the time.
 */
#include <sched.h>

#include "common.h"

enum { PRODUCERS = 2, WORKERS = 2, HELD = 4, MESSAGES = 8000, MOST = 3000 };

static uint64_t messages;
static _Atomic uint32_t acknowledged[PRODUCERS][MESSAGES + 1];
static _Atomic uint64_t over;
static uint64_t identities[PRODUCERS];

/* A worker's jobs on their way to the thread that ends them. */
struct desk {
    tarn_worker *worker;
    _Atomic int full[HELD];
    tarn_job jobs[HELD];
};

static void *produce(void *arg) {
    tarn_producer *producer = arg;
    uint64_t identity = tarn_producer_identity(producer);
    for (uint64_t i = 1; i <= messages; i++) {
        tarn_loan loan;
        CHECK_STATUS(tarn_producer_loan(producer, bytes_of(identity, i, MOST), &loan), 1);
        fill_pattern(loan.data, loan.bytes, seed_of(identity, i));
        CHECK_STATUS(tarn_loan_send(&loan), 1);
    }
    CHECK_STATUS(tarn_producer_flush(producer, TARN_FOREVER), 1);
    return NULL;
}

static bool all_over(void) {
    return over == messages * PRODUCERS;
}

static void *work(void *arg) {
    struct desk *desk = arg;
    for (int i = 0; !all_over(); i = (i + 1) % HELD) {
        if (desk->full[i])
            continue;
        int result = tarn_worker_receive(desk->worker, &desk->jobs[i], 1000000);
        CHECK(result >= 0 || result == TARN_ERROR_HOLDING);
        if (result == 1)
            desk->full[i] = 1;
        else
            sched_yield();
    }
    return NULL;
}

static void *end_jobs(void *arg) {
    struct desk *desk = arg;
    for (uint64_t i = 0; !all_over(); i++) {
        tarn_job *job = &desk->jobs[i % HELD];
        if (!desk->full[i % HELD]) {
            sched_yield();
            continue;
        }
        uint64_t number = job->number, producer = job->producer;
        CHECK_INT(job->bytes, ==, bytes_of(producer, number, MOST));
        CHECK(check_pattern(job->data, job->bytes, seed_of(producer, number)));
        if (i % 7 == 0 && job->attempts < 3) {
            CHECK_STATUS(tarn_job_give_back(job), 0);
        } else {
            CHECK_STATUS(tarn_job_acknowledge(job), 0);
            acknowledged[producer == identities[1]][number]++;
            over++;
        }
        desk->full[i % HELD] = 0;
    }
    return NULL;
}

TEST_LIMIT(jobs_in_many_threads, 120) {
    static struct desk desks[WORKERS];
    tarn_producer *producers[PRODUCERS];
    pthread_t threads[PRODUCERS + 2 * WORKERS];
    messages = ROUNDS(MESSAGES);
    for (int i = 0; i < PRODUCERS; i++) {
        tarn_producer_options options = {.struct_bytes = sizeof options,
                                         .capacity = i ? 4 : 64,
                                         .memory_limit_bytes = 512 * 1024,
                                         .full_timeout_ns = TARN_FOREVER};
        CHECK_STATUS(tarn_producer_open(&producers[i], TOPIC, &options), 0);
        identities[i] = tarn_producer_identity(producers[i]);
    }
    for (int i = 0; i < WORKERS; i++)
        CHECK_STATUS(
            tarn_worker_open(&desks[i].worker, TOPIC,
                             &(tarn_worker_options){.struct_bytes = sizeof(tarn_worker_options), .prefetch = HELD}),
            0);
    for (int i = 0; i < PRODUCERS; i++)
        threads[i] = start(produce, producers[i]);
    for (int i = 0; i < WORKERS; i++) {
        threads[PRODUCERS + 2 * i] = start(work, &desks[i]);
        threads[PRODUCERS + 2 * i + 1] = start(end_jobs, &desks[i]);
    }
    for (int i = 0; i < PRODUCERS + 2 * WORKERS; i++)
        join(threads[i]);
    for (int p = 0; p < PRODUCERS; p++)
        for (uint64_t i = 1; i <= messages; i++)
            CHECK_INT(acknowledged[p][i], ==, 1);
    for (int i = 0; i < WORKERS; i++)
        CHECK_STATUS(tarn_worker_close(desks[i].worker), 0);
    for (int i = 0; i < PRODUCERS; i++)
        CHECK_INT(tarn_producer_close(producers[i]), ==, 0);
}

enum { COPIES = 2 };

static struct {
    tarn_job job;
    _Atomic uint64_t round;
    _Atomic uint32_t done, ended;
} shared;

/* Spins, so that all go on within one another's few instructions. */
static void *end_a_copy(void *arg) {
    (void)arg;
    for (uint64_t i = 1; i <= messages; i++) {
        for (uint32_t spins = 1; shared.round < i; spins++)
            if (spins % 1024 == 0)
                sched_yield();
        tarn_job copy = shared.job;
        int status = tarn_job_acknowledge(&copy);
        CHECK(status == 0 || status == TARN_ERROR_RELEASED);
        shared.ended += status == 0;
        shared.done++;
    }
    return NULL;
}

TEST_LIMIT(one_of_many_copies_ends_a_job, 120) {
    tarn_producer *producer;
    tarn_worker *worker;
    pthread_t threads[COPIES];
    messages = ROUNDS(MESSAGES);
    CHECK_STATUS(tarn_producer_open(&producer, TOPIC, NULL), 0);
    CHECK_STATUS(tarn_worker_open(&worker, TOPIC, NULL), 0);
    for (int i = 0; i < COPIES; i++)
        threads[i] = start(end_a_copy, NULL);
    for (uint64_t i = 1; i <= messages; i++) {
        CHECK_STATUS(tarn_producer_push(producer, "", 0), 1);
        CHECK_STATUS(tarn_worker_take(worker, &shared.job), 1);
        shared.done = shared.ended = 0;
        shared.round = i;
        while (shared.done < COPIES)
            sched_yield();
        CHECK_INT(shared.ended, ==, 1);
    }
    for (int i = 0; i < COPIES; i++)
        join(threads[i]);
    CHECK_STATUS(tarn_worker_close(worker), 0);
    CHECK_INT(tarn_producer_close(producer), ==, 0);
}
