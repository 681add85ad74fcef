/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * All operations of a work queue. The survivors are a producer and a worker. Whatever the actor had when it was killed goes to
 * that worker; each message is ended once, by one of the two; what the actor had pushed is there. See scene.h.
 */
#include "scene.h"

enum { MESSAGES = 200, WITNESS = 100, LARGE = 200000 };

/* On a page that both share. Messages are numbers; the witness pushes those below WITNESS, the actor those above. */
struct ledger {
    _Atomic uint32_t pushed;                  /* by the actor, of its own */
    _Atomic uint8_t ended_by_actor[MESSAGES]; /* acknowledged or rejected */
    _Atomic uint8_t ending[MESSAGES];         /* about to be */
};

struct actor {
    tarn_producer *producer;
    tarn_worker *worker;
    tarn_loan loan;
    tarn_job jobs[4];
    unsigned held;
};

static struct ledger *ledger(void) {
    return scene_ledger;
}

/* ---- what the actor does ---------------------------------------------------------------------------------------- */

static int open_producer(struct actor *actor) {
    return tarn_producer_open(
        &actor->producer, TOPIC,
        &(tarn_producer_options){
            .struct_bytes = sizeof(tarn_producer_options), .capacity = 4, .full_timeout_ns = 2 * MS, .linger_ns = MS});
}

static int open_worker(struct actor *actor) {
    return tarn_worker_open(&actor->worker, TOPIC,
                            &(tarn_worker_options){.struct_bytes = sizeof(tarn_worker_options), .prefetch = 4});
}

static void prepare_producer(struct actor *actor) {
    CHECK_STATUS(open_producer(actor), 0);
}

static void prepare_worker(struct actor *actor) {
    CHECK_STATUS(open_worker(actor), 0);
}

static int push_small(struct actor *actor) {
    uint32_t number = WITNESS + ledger()->pushed;
    int result = tarn_producer_push(actor->producer, &number, sizeof number);
    ledger()->pushed += result == 1;
    return result;
}

/* Of which only the beginning is written: each store is a point. */
static int lend_and_send(struct actor *actor, size_t bytes) {
    uint32_t number = WITNESS + ledger()->pushed;
    int result = tarn_producer_loan(actor->producer, bytes, &actor->loan);
    if (result != 1)
        return result;
    memcpy(actor->loan.data, &number, sizeof number);
    result = tarn_loan_send(&actor->loan);
    ledger()->pushed += result == 1;
    if (result < 0)
        CHECK_STATUS(tarn_loan_drop(&actor->loan), 0);
    return result;
}

static int push_by_loan(struct actor *actor) {
    return lend_and_send(actor, 100);
}

static int push_large(struct actor *actor) {
    int result = 1;
    for (int i = 0; i < 3 && result == 1; i++)
        result = lend_and_send(actor, LARGE);
    return result;
}

static void prepare_pushed(struct actor *actor) {
    prepare_producer(actor);
    CHECK_STATUS(push_small(actor), 1);
}

static void prepare_full(struct actor *actor) {
    prepare_producer(actor);
    for (int i = 0; i < 4; i++)
        CHECK_STATUS(push_small(actor), 1);
}

static int push_in_vain(struct actor *actor) {
    int result = push_small(actor);
    return result == TARN_ERROR_FULL ? 0 : result;
}

static int take(struct actor *actor) {
    int result = tarn_worker_take(actor->worker, &actor->jobs[actor->held]);
    actor->held += result == 1;
    return result;
}

static void prepare_job(struct actor *actor) {
    prepare_worker(actor);
    CHECK_STATUS(take(actor), 1);
}

static void prepare_jobs(struct actor *actor) {
    prepare_job(actor);
    CHECK_STATUS(take(actor), 1);
}

static int end_job(struct actor *actor, int (*end)(tarn_job *)) {
    tarn_job *job = &actor->jobs[actor->held - 1];
    uint32_t number;
    memcpy(&number, job->data, sizeof number);
    ledger()->ending[number] = end != tarn_job_give_back;
    int result = end(job);
    if (result < 0)
        return result;
    ledger()->ended_by_actor[number] = end != tarn_job_give_back;
    actor->held--;
    return result;
}

static int acknowledge(struct actor *actor) {
    return end_job(actor, tarn_job_acknowledge);
}

static int give_back(struct actor *actor) {
    return end_job(actor, tarn_job_give_back);
}

static int reject(struct actor *actor) {
    return end_job(actor, tarn_job_reject);
}

static int flush(struct actor *actor) {
    return tarn_producer_flush(actor->producer, MS);
}

static int kept(struct actor *actor) {
    return tarn_producer_kept(actor->producer, MS);
}

static int close_producer(struct actor *actor) {
    int result = tarn_producer_close(actor->producer);
    actor->producer = NULL;
    return result;
}

static int close_worker(struct actor *actor) {
    int result = tarn_worker_close(actor->worker);
    actor->worker = NULL;
    actor->held = 0;
    return result;
}

static void leave(struct actor *actor) {
    CHECK_STATUS(tarn_worker_close(actor->worker), 0);
    CHECK_INT(tarn_producer_close(actor->producer), >=, 0); /* 1: what nobody has attached meanwhile */
}

/* ---- the survivors ------------------------------------------------------------------------------------------------ */

struct survivors {
    tarn_producer *producer;
    tarn_worker *worker;
    uint32_t pushed;
    uint8_t acknowledged[MESSAGES];
};
static struct survivors others;

static void clear(void) {
    others = (struct survivors){0};
}

static void push_some(unsigned count) {
    for (; count; count--, others.pushed++) {
        CHECK_INT(others.pushed, <, WITNESS);
        CHECK_STATUS(tarn_producer_push(others.producer, &others.pushed, sizeof others.pushed), 1);
    }
}

static bool open_survivors(struct scene *scene, bool actor_lives) {
    int status = tarn_producer_open(&others.producer, TOPIC, NULL);
    if (is_locked_out(status, scene, actor_lives))
        return false;
    CHECK_STATUS(status, 0);
    CHECK_STATUS(tarn_worker_open(&others.worker, TOPIC, NULL), 0);
    push_some(3);
    return true;
}

/* Attaches what the actor has so far. */
static void look(struct survivors *survivors) {
    CHECK_INT(tarn_worker_wait(survivors->worker, 0), >=, 0);
}

/* One job, if there is one. */
static bool work_on_one(tarn_worker *worker, int64_t timeout_ns) {
    tarn_job job;
    uint32_t number;
    int result = tarn_worker_receive(worker, &job, timeout_ns);
    CHECK_INT(result, >=, 0);
    if (result == 0)
        return false;
    memcpy(&number, job.data, sizeof number);
    CHECK_INT(number, <, MESSAGES);
    others.acknowledged[number]++;
    CHECK_STATUS(tarn_job_acknowledge(&job), 0);
    return true;
}

/* A living actor has two jobs at most; they go on with all others, and a newcomer with theirs. */
static void check(struct scene *scene, bool actor_lives) {
    tarn_worker *worker;
    (void)scene;
    push_some(3);
    while (work_on_one(others.worker, 0))
        ;
    if (actor_lives)
        CHECK_INT(tarn_producer_unacknowledged(others.producer), <=, 2);
    CHECK_STATUS(tarn_worker_open(&worker, TOPIC, NULL), 0);
    push_some(1);
    while (work_on_one(worker, 0))
        ;
    CHECK_STATUS(tarn_worker_close(worker), 0);
}

static void go_on(struct survivors *survivors) {
    work_on_one(survivors->worker, 0);
}

static bool is_actors_done(bool lets_lose) {
    for (uint32_t i = WITNESS; i < WITNESS + ledger()->pushed; i++)
        if (!others.acknowledged[i] && !ledger()->ended_by_actor[i])
            return lets_lose;
    return true;
}

static void check_messages(bool lets_lose) {
    for (uint32_t i = 0; i < MESSAGES; i++) {
        unsigned ended = others.acknowledged[i] + ledger()->ended_by_actor[i];
        bool must_be = i < others.pushed || (i >= WITNESS && i < WITNESS + ledger()->pushed && !lets_lose);
        if (ended > 1 || (ended == 0 && must_be && !ledger()->ending[i]))
            FAIL("message %u was ended %u times", i, ended);
    }
}

static void check_gone(struct scene *scene) {
    bool lets_lose = scene->operation->lets_lose;
    push_some(2);
    for (int64_t end = now_ns() + GENEROUS;
         tarn_producer_unacknowledged(others.producer) > 0 || !is_actors_done(lets_lose);) {
        work_on_one(others.worker, 20 * MS);
        CHECK(now_ns() < end);
    }
    while (work_on_one(others.worker, 0))
        ;
    check_messages(lets_lose);
    check_swept(-1);
}

static void close_survivors(struct scene *scene) {
    (void)scene;
    CHECK_INT(tarn_producer_close(others.producer), ==, 0);
    CHECK_STATUS(tarn_worker_close(others.worker), 0);
}

/* ---- the table ---------------------------------------------------------------------------------------------------- */

static const struct operation operations[] = {
    {.name = "open_producer", .operate = open_producer},
    {.name = "open_worker", .operate = open_worker},
    {.name = "push", .prepare = prepare_producer, .operate = push_small},
    {.name = "push_more", .prepare = prepare_pushed, .operate = push_small},
    {.name = "push_large", .prepare = prepare_producer, .operate = push_large, .lets_lose = true},
    {.name = "push_when_full", .prepare = prepare_full, .operate = push_in_vain},
    {.name = "loan", .prepare = prepare_producer, .operate = push_by_loan},
    {.name = "flush", .prepare = prepare_pushed, .operate = flush},
    {.name = "kept", .prepare = prepare_pushed, .operate = kept},
    {.name = "take", .prepare = prepare_worker, .operate = take},
    {.name = "take_another", .prepare = prepare_job, .operate = take},
    {.name = "acknowledge", .prepare = prepare_job, .operate = acknowledge},
    {.name = "give_back", .prepare = prepare_job, .operate = give_back},
    {.name = "reject", .prepare = prepare_jobs, .operate = reject},
    {.name = "close_producer", .prepare = prepare_producer, .operate = close_producer},
    {.name = "close_with_messages", .prepare = prepare_pushed, .operate = close_producer},
    {.name = "close_worker", .prepare = prepare_worker, .operate = close_worker},
    {.name = "close_with_jobs", .prepare = prepare_jobs, .operate = close_worker},
};

static struct actor actor;

const struct pattern pattern = {
    .operations = operations,
    .count = sizeof operations / sizeof operations[0],
    .actor = &actor,
    .survivors = &others,
    .clear = clear,
    .open = open_survivors,
    .look = look,
    .check = check,
    .go_on = go_on,
    .gone = check_gone,
    .close = close_survivors,
    .leave = leave,
};
