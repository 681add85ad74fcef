/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * A worker is stopped at each point of taking and acknowledging a job, while a producer is followed by another, whose
 * cells are where its own were: what the worker looked at before it was stopped must not let it claim a message of the
 * other's for its own's. Each message is acknowledged once.
 */
#include "../multi/common.h"
#include "tracer.h"

#define TOPIC "points"

enum { FIRST = 3, MESSAGES = 6 }; /* numbers: of the first producer, of both */

/* On a page that both share. */
static struct {
    _Atomic uint32_t number; /* + 1: of the job that the actor had */
    _Atomic int ended;       /* how its acknowledgement ended */
    _Atomic uint32_t may_go;
} * late;

static struct {
    struct traced traced;
    tarn_producer *producer;
    tarn_worker *worker;
    int acknowledged[MESSAGES];
} scene;

static void act(void *arg) {
    tarn_worker_options options = {.struct_bytes = sizeof options, .prefetch = 4};
    tarn_worker *worker;
    tarn_job job;
    uint32_t number;
    (void)arg;
    CHECK_STATUS(tarn_worker_open(&worker, TOPIC, &options), 0);
    tracer_mark();
    if (tarn_worker_take(worker, &job) == 1) {
        memcpy(&number, job.data, sizeof number);
        late->number = number + 1;
        late->ended = tarn_job_acknowledge(&job);
    }
    tracer_mark();
    while (!late->may_go) /* its worker stays open */
        nap_ns(MS);
    tarn_worker_close(worker);
}

static void open_producer(uint32_t from, uint32_t to) {
    tarn_producer_options options = {.struct_bytes = sizeof options, .capacity = 4};
    CHECK_STATUS(tarn_producer_open(&scene.producer, TOPIC, &options), 0);
    for (uint32_t number = from; number < to; number++)
        CHECK_STATUS(tarn_producer_push(scene.producer, &number, sizeof number), 1);
}

static bool work_on_one(int64_t timeout_ns) {
    tarn_job job;
    uint32_t number;
    int result = tarn_worker_receive(scene.worker, &job, timeout_ns);
    CHECK_INT(result, >=, 0);
    if (result == 0)
        return false;
    memcpy(&number, job.data, sizeof number);
    CHECK_INT(number, <, MESSAGES);
    scene.acknowledged[number]++;
    CHECK_STATUS(tarn_job_acknowledge(&job), 0);
    return true;
}

static void begin(void) {
    late = late ? late : shared_page(sizeof *late);
    memset(late, 0, sizeof *late);
    memset(&scene, 0, sizeof scene);
    tracer_spawn(&scene.traced, act, NULL);
    CHECK_STATUS(tarn_worker_open(&scene.worker, TOPIC, NULL), 0);
    open_producer(0, FIRST);
    tracer_begin(&scene.traced);
}

static void end(uint32_t messages) {
    for (int64_t end_ns = now_ns() + GENEROUS; tarn_producer_unacknowledged(scene.producer) > 0;) {
        work_on_one(20 * MS); /* also what the actor claimed by mistake, and gave back */
        CHECK(now_ns() < end_ns);
    }
    late->may_go = 1;
    CHECK_INT(wait_child(scene.traced.pid, LIMIT_S), ==, 0);
    for (uint32_t i = 0; i < messages; i++)
        CHECK_INT(scene.acknowledged[i] + (late->ended == 0 && late->number == i + 1), ==, 1);
    CHECK_INT(tarn_producer_close(scene.producer), ==, 0);
    CHECK_STATUS(tarn_worker_close(scene.worker), 0);
}

/* False: it was over before. */
static bool follow_producer_at(unsigned point, unsigned *ret_followed) {
    begin();
    bool on_its_way = true;
    for (unsigned i = 0; i <= point && on_its_way; i++)
        on_its_way = tracer_next(&scene.traced);
    while (work_on_one(0))
        ;
    bool followed = tarn_producer_unacknowledged(scene.producer) == 0;
    if (followed) { /* else the actor has one of its jobs */
        CHECK_INT(tarn_producer_close(scene.producer), ==, 0);
        open_producer(FIRST, MESSAGES);
    }
    if (on_its_way)
        tracer_finish(&scene.traced);
    tracer_let_go(&scene.traced);
    if (late->number && on_its_way && followed && !scene.acknowledged[late->number - 1]) {
        CHECK_INT(late->number, >, FIRST); /* the first producer's are over */
        CHECK_STATUS(late->ended, 0);
    }
    end(followed ? MESSAGES : FIRST);
    *ret_followed += followed;
    return on_its_way;
}

TEST_LIMIT(claims_that_come_too_late, 120) {
    unsigned followed = 0;
    if (!tracer_works())
        SKIP("processes cannot be traced here");
    for (unsigned point = 0; follow_producer_at(point, &followed); point++)
        ;
    CHECK_INT(followed, >, 0);
}
