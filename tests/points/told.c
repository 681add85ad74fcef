/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * How somebody ended, as a monitor tells it, whatever goes on at each point of a look: a death once, and nothing else;
 * that he left, if he did.
 */
#include "../multi/common.h"
#include "tracer.h"

#define TOPIC "points"

/* On a page that all share. */
static struct {
    _Atomic bool is_there, may_end, may_go;
    _Atomic uint32_t kind; /* of the match that a monitor was told */
} * stage;

static tarn_monitor *monitor_of(int64_t look_ns) {
    tarn_monitor_options options = {.struct_bytes = sizeof options, .skip_present = 1, .look_ns = look_ns};
    tarn_monitor *monitor;
    CHECK_STATUS(tarn_monitor_open(&monitor, TOPIC, &options), 0);
    return monitor;
}

/*
 * ---- a death, while it is repaired --------------------------------------------------------------------------------
 */

/* The process is there yet, without its files, as each is for a moment when it ends. */
static void end_slowly(void *arg) {
    (void)arg;
    subscriber_of(TOPIC, NULL);
    stage->is_there = true;
    AWAIT(stage->may_end);
    CHECK(close_range(3, ~0u, 0) == 0);
    stage->is_there = false;
    sleep_until_killed();
}

static void repair(void *arg) {
    tarn_monitor *monitor = monitor_of(1);
    (void)arg;
    nap_ns(MS); /* it is time to look at peers */
    tracer_mark();
    CHECK_INT(tarn_monitor_wait(monitor, 0), >=, 0);
    tracer_mark();
    AWAIT(stage->may_go);
    CHECK_STATUS(tarn_monitor_close(monitor), 0);
}

/* Whether the end of that process is told. */
static bool hear(tarn_monitor *monitor, pid_t pid, const struct traced *traced) {
    tarn_match match;
    bool told = false;
    for (int status; (status = tarn_monitor_take(monitor, &match)) != 0;) {
        CHECK_STATUS(status, 1);
        if (match.pid != pid || match.kind != TARN_MATCH_DIED || told)
            FAIL("%s: match %u is told", tracer_describe(traced), match.kind);
        told = true;
    }
    return told;
}

TEST_LIMIT(a_death_is_told_as_one_wherever_its_repair_is, 60) {
    struct traced traced;
    unsigned told = 0;
    if (!tracer_works())
        SKIP("processes cannot be traced here");
    stage = shared_page(sizeof *stage);
    pid_t pid = spawn(end_slowly, NULL);
    AWAIT(stage->is_there);
    tracer_spawn(&traced, repair, NULL);
    tarn_monitor *monitor = monitor_of(100 * SECOND); /* it repairs nothing */
    tracer_begin(&traced);
    stage->may_end = true;
    AWAIT(!stage->is_there);
    while (tracer_next(&traced))
        told += hear(monitor, pid, &traced);
    told += hear(monitor, pid, &traced);
    CHECK_INT(told, ==, 1);
    tracer_let_go(&traced);
    stage->may_go = true;
    CHECK_INT(wait_child(traced.pid, LIMIT_S), ==, 0);
    kill_child(pid);
    CHECK_STATUS(tarn_monitor_close(monitor), 0);
}

/*
 * ---- leaving, while a monitor looks -------------------------------------------------------------------------------
 */

static void look(void *arg) {
    tarn_monitor *monitor = monitor_of(1);
    tarn_match match;
    (void)arg;
    nap_ns(MS); /* it is time to look at peers */
    tracer_mark();
    int status = tarn_monitor_take(monitor, &match);
    tracer_mark();
    if (status == 0)
        status = tarn_monitor_receive(monitor, &match, GENEROUS);
    CHECK_STATUS(status, 1);
    stage->kind = match.kind;
    CHECK_STATUS(tarn_monitor_close(monitor), 0);
}

/* A worker has its job yet, so that its memory is needed. False: the look was over before that point. */
static bool leave_at(unsigned point) {
    struct traced traced;
    tarn_producer *producer;
    tarn_worker *worker;
    tarn_job job;
    bool is_on_its_way = true;
    memset(stage, 0, sizeof *stage);
    tracer_spawn(&traced, look, NULL);
    CHECK_STATUS(tarn_worker_open(&worker, TOPIC, NULL), 0);
    CHECK_STATUS(tarn_producer_open(&producer, TOPIC, NULL), 0);
    CHECK_STATUS(tarn_producer_push(producer, "job", 3), 1);
    CHECK_STATUS(tarn_worker_take(worker, &job), 1);
    tracer_begin(&traced);
    for (unsigned i = 0; i <= point && is_on_its_way; i++)
        is_on_its_way = tracer_next(&traced);
    set_context("left at point %u, %s", point, is_on_its_way ? tracer_describe(&traced) : "the end");
    CHECK_INT(tarn_producer_close(producer), ==, 0);
    if (is_on_its_way)
        tracer_finish(&traced);
    tracer_let_go(&traced);
    CHECK_INT(wait_child(traced.pid, LIMIT_S), ==, 0);
    CHECK_INT(stage->kind, ==, TARN_MATCH_LEFT);
    CHECK_STATUS(tarn_job_acknowledge(&job), 0);
    CHECK_STATUS(tarn_worker_close(worker), 0);
    return is_on_its_way;
}

TEST_LIMIT(who_left_is_told_to_wherever_the_look_is, 60) {
    if (!tracer_works())
        SKIP("processes cannot be traced here");
    stage = shared_page(sizeof *stage);
    for (unsigned point = 0; leave_at(point); point++)
        ;
}
