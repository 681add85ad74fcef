/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * All operations of a work queue. The survivors are a producer and a worker. Whatever the actor had when it was killed
 * goes to that worker; each message is ended once, by one of the two; what the actor had pushed is there. So it is with
 * who died before. See scene.h.
 */
#include "scene.h"

enum { MESSAGES = 200, LARGE = 200000 };

/* Messages are numbers: the witness' are those below the actor's, and so on. */
enum { OF_ACTOR = 100, OF_DEAD = 160, OF_ANOTHER = 180 };

/* On a page that all share. */
struct ledger {
    _Atomic uint32_t pushed;                  /* by the actor, of its own */
    _Atomic uint32_t pushed_by_dead;          /* of its own */
    _Atomic uint8_t ended_by_actor[MESSAGES]; /* acknowledged or rejected */
    _Atomic uint8_t ending[MESSAGES];         /* about to be */
    _Atomic uint8_t is_exhausted[MESSAGES];   /* to be rejected, by whoever meets it */
};

struct actor {
    tarn_producer *producer;
    tarn_worker *worker;
    tarn_keeper *keeper;
    tarn_loan loan;
    tarn_job jobs[4];
    unsigned held;
};

static struct ledger *ledger(void) {
    static struct ledger another; /* nobody counts on what that pushes */
    return scene_is_another ? &another : scene_ledger;
}

/* ---- what the actor does ---------------------------------------------------------------------------------------- */

static int open_producer_with(struct actor *actor, tarn_producer_options options) {
    options.struct_bytes = sizeof options;
    options.capacity = 4;
    options.full_timeout_ns = 2 * MS;
    options.linger_ns = MS;
    return tarn_producer_open(&actor->producer, TOPIC, &options);
}

static int open_producer(struct actor *actor) {
    return open_producer_with(actor, (tarn_producer_options){0});
}

static int open_worker_with(struct actor *actor, tarn_worker_options options) {
    options.struct_bytes = sizeof options;
    return tarn_worker_open(&actor->worker, TOPIC, &options);
}

static int open_worker(struct actor *actor) {
    return open_worker_with(actor, (tarn_worker_options){.prefetch = 4});
}

static void prepare_producer(struct actor *actor) {
    CHECK_STATUS(open_producer(actor), 0);
}

static void prepare_worker(struct actor *actor) {
    CHECK_STATUS(open_worker(actor), 0);
}

static uint32_t next_number(void) {
    return (scene_is_another ? OF_ANOTHER : OF_ACTOR) + ledger()->pushed;
}

static int push_small(struct actor *actor) {
    uint32_t number = next_number();
    int result = tarn_producer_push(actor->producer, &number, sizeof number);
    ledger()->pushed += result == 1;
    return result;
}

/* Of which only the beginning is written: each store is a point. */
static int lend_and_send(struct actor *actor, size_t bytes) {
    uint32_t number = next_number();
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

static int lend_and_drop(struct actor *actor) {
    int result = tarn_producer_loan(actor->producer, 100, &actor->loan);
    return result < 0 ? result : tarn_loan_drop(&actor->loan);
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

static void prepare_sleeper(struct actor *actor) {
    CHECK_STATUS(open_worker_with(actor, (tarn_worker_options){.prefetch = 4, .wait_strategy = TARN_WAIT_SLEEP}), 0);
}

static int receive_within(struct actor *actor, int64_t timeout_ns) {
    int result = tarn_worker_receive(actor->worker, &actor->jobs[actor->held], timeout_ns);
    actor->held += result == 1;
    return result;
}

static int receive_in_vain(struct actor *actor) {
    return receive_within(actor, MS);
}

/* Long enough for a look at the peers, which are repaired if they are dead. */
static int receive_and_look(struct actor *actor) {
    return receive_within(actor, 120 * MS);
}

static int wait_in_vain(struct actor *actor) {
    return tarn_worker_wait(actor->worker, MS);
}

static int wait_and_look(struct actor *actor) {
    return tarn_worker_wait(actor->worker, 120 * MS);
}

/* From a sleep before, the bell says yet that somebody sleeps. */
static int sleep_and_interrupt(struct actor *actor) {
    int result = wait_in_vain(actor);
    if (result == 0)
        result = tarn_worker_interrupt(actor->worker);
    if (result < 0)
        return result;
    result = tarn_worker_wait(actor->worker, 0);
    return result == TARN_ERROR_INTERRUPTED ? 0 : result;
}

static int open_descriptor(struct actor *actor) {
    return tarn_worker_fd(actor->worker);
}

static void prepare_descriptor(struct actor *actor) {
    prepare_worker(actor);
    CHECK_INT(open_descriptor(actor), >=, 0);
}

/* A job of its own producer that a worker has for longer than that allows is another's. */
static void prepare_impatient(struct actor *actor) {
    prepare_worker(actor);
    CHECK_STATUS(open_producer_with(actor, (tarn_producer_options){.claim_limit_ns = 5 * MS}), 0);
    CHECK_STATUS(push_small(actor), 1);
}

/* A message of its own producer that is rejected when a worker has had it once. */
static void prepare_once(struct actor *actor) {
    prepare_worker(actor);
    CHECK_STATUS(open_producer_with(actor, (tarn_producer_options){.attempts_max = 1}), 0);
    ledger()->is_exhausted[next_number()] = true;
    CHECK_STATUS(push_small(actor), 1);
}

/* There is nothing but that message. */
static int meet_exhausted(struct actor *actor) {
    int result = take(actor);
    if (result == 0)
        CHECK_INT(tarn_producer_rejected(actor->producer), <=, 1); /* 0: its memory could not be attached */
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

static int open_keeper(struct actor *actor) {
    return tarn_keeper_open(&actor->keeper, TOPIC, NULL);
}

static void prepare_keeper(struct actor *actor) {
    CHECK_STATUS(open_keeper(actor), 0);
}

/* Attaches what came since. */
static int keep_more(struct actor *actor) {
    return tarn_keeper_wait(actor->keeper, 0);
}

/* It has messages that are kept, one's own too. */
static void prepare_keeping(struct actor *actor) {
    prepare_pushed(actor);
    prepare_keeper(actor);
}

static int close_keeper(struct actor *actor) {
    int result = tarn_keeper_close(actor->keeper);
    actor->keeper = NULL;
    return result;
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
    CHECK_STATUS(tarn_keeper_close(actor->keeper), 0);
}

/*
 * ---- the survivors ------------------------------------------------------------------------------------------------
 */

struct survivors {
    tarn_producer *producer;
    tarn_worker *worker;
    tarn_worker *slow; /* has that job for long; NULL: nobody */
    tarn_job slows;
    uint32_t pushed;
    uint8_t acknowledged[MESSAGES];
};
static struct survivors others;

static void clear(void) {
    others = (struct survivors){0};
}

static void push_some(unsigned count) {
    for (; count; count--, others.pushed++) {
        CHECK_INT(others.pushed, <, OF_ACTOR);
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

static void work_on_all(struct survivors *survivors) {
    while (work_on_one(survivors->worker, 0))
        ;
}

static void push_large_one(struct survivors *survivors) {
    static char bytes[20 * LARGE]; /* in memory of its own */
    memcpy(bytes, &survivors->pushed, sizeof survivors->pushed);
    CHECK_STATUS(tarn_producer_push(survivors->producer, bytes, sizeof bytes), 1);
    survivors->pushed++;
}

/* Has the actor's message, and does not end it. Others, which lie beside it, are done. */
static void work_slowly(struct survivors *survivors) {
    tarn_worker_options options = {.struct_bytes = sizeof options, .prefetch = 2};
    tarn_job job;
    CHECK_STATUS(tarn_worker_open(&survivors->slow, TOPIC, &options), 0);
    while (tarn_worker_take(survivors->slow, &job) == 1) {
        uint32_t number;
        memcpy(&number, job.data, sizeof number);
        if (number >= OF_ACTOR) {
            survivors->slows = job;
            continue;
        }
        survivors->acknowledged[number]++;
        CHECK_STATUS(tarn_job_acknowledge(&job), 0);
    }
    CHECK(survivors->slows.data);
}

static void close_slow(struct survivors *survivors) {
    CHECK_STATUS(tarn_worker_close(survivors->slow), 0);
    survivors->slow = NULL;
}

/* Had the actor's message once. */
static void have_once(struct survivors *survivors) {
    work_slowly(survivors);
    CHECK_STATUS(tarn_job_give_back(&survivors->slows), 0);
    close_slow(survivors);
}

/* Another has it by now; or nobody, and it is done. */
static void end_slow_work(struct survivors *survivors) {
    uint32_t number;
    if (!survivors->slow)
        return;
    memcpy(&number, survivors->slows.data, sizeof number);
    int result = tarn_job_acknowledge(&survivors->slows);
    if (result != TARN_ERROR_TAKEN)
        CHECK_STATUS(result, 0);
    survivors->acknowledged[number] += result == 0;
    close_slow(survivors);
}

/* Has all jobs there are, of others and of its own producer. */
static void be_there(void *is_ready) {
    struct actor dead = {0};
    CHECK_STATUS(open_worker_with(&dead, (tarn_worker_options){.prefetch = 16}), 0);
    CHECK_INT(open_descriptor(&dead), >=, 0);
    prepare_producer(&dead);
    for (uint32_t i = 0; i < 2; i++, ledger()->pushed_by_dead++)
        CHECK_STATUS(tarn_producer_push(dead.producer, &(uint32_t){OF_DEAD + i}, sizeof i), 1);
    CHECK_STATUS(tarn_producer_loan(dead.producer, 100, &dead.loan), 1);
    while (tarn_worker_take(dead.worker, &dead.jobs[0]) == 1)
        ;
    *(_Atomic bool *)is_ready = true;
    sleep_until_killed();
}

static void somebody_dies(struct survivors *survivors) {
    pid_t pid = somebody_comes_as(be_there);
    if (survivors->worker)
        look(survivors);
    kill_child(pid);
}

static void somebody_is_repaired(struct survivors *survivors) {
    somebody_dies(survivors);
    check_swept(-1);
}

/*
 * A living actor has two jobs at most; they go on with all others, and a newcomer with theirs. What the dead had may
 * have to wait for one who stopped while repairing them.
 */
static void check(struct scene *scene, bool actor_lives) {
    tarn_worker *worker;
    unsigned most = scene->operation->repairs ? 5 : 2;
    end_slow_work(&others);
    push_some(3);
    while (work_on_one(others.worker, 0))
        ;
    if (actor_lives)
        CHECK_INT(tarn_producer_unacknowledged(others.producer), <=, most);
    CHECK_STATUS(tarn_worker_open(&worker, TOPIC, NULL), 0);
    push_some(1);
    while (work_on_one(worker, 0))
        ;
    CHECK_STATUS(tarn_worker_close(worker), 0);
}

static void go_on(struct survivors *survivors) {
    work_on_one(survivors->worker, 0);
}

static bool is_over(uint32_t first, uint32_t count) {
    for (uint32_t i = first; i < first + count; i++)
        if (!others.acknowledged[i] && !ledger()->ended_by_actor[i] && !ledger()->is_exhausted[i])
            return false;
    return true;
}

/* Whose messages have to be ended: what the dead pushed is there, if the survivors were. */
static unsigned actors_count(const struct scene *scene) {
    return scene->operation->lets_lose ? 0 : ledger()->pushed;
}

static unsigned deads_count(const struct scene *scene) {
    return scene->operation->alone || scene->was_gone ? 0 : ledger()->pushed_by_dead;
}

static void check_messages(const struct scene *scene) {
    for (uint32_t i = 0; i < MESSAGES; i++) {
        unsigned ended = others.acknowledged[i] + ledger()->ended_by_actor[i], most = !ledger()->is_exhausted[i];
        bool must_be = i < others.pushed || (i >= OF_ACTOR && i < OF_ACTOR + actors_count(scene)) ||
                       (i >= OF_DEAD && i < OF_DEAD + deads_count(scene));
        if (ended > most || (ended < most && must_be && !ledger()->ending[i]))
            FAIL("message %u was ended %u times", i, ended);
    }
}

static void check_gone(struct scene *scene) {
    push_some(2);
    for (int64_t end = now_ns() + GENEROUS; tarn_producer_unacknowledged(others.producer) > 0 ||
                                            !is_over(OF_ACTOR, actors_count(scene)) ||
                                            !is_over(OF_DEAD, deads_count(scene));) {
        work_on_one(others.worker, 20 * MS);
        CHECK(now_ns() < end);
    }
    work_on_all(&others);
    check_messages(scene);
    for (int64_t end = now_ns() + GENEROUS; count_swept() != 2; CHECK(now_ns() < end))
        work_on_one(others.worker, 20 * MS); /* rejects what is exhausted, for which a dead producer's place is kept */
}

static void close_survivors(struct scene *scene) {
    (void)scene;
    CHECK_INT(tarn_producer_close(others.producer), ==, 0);
    CHECK_STATUS(tarn_worker_close(others.worker), 0);
}

/*
 * ---- the table ----------------------------------------------------------------------------------------------------
 */

static const struct operation operations[] = {
    {.name = "open_producer", .operate = open_producer},
    {.name = "open_worker", .operate = open_worker},
    {.name = "push", .prepare = prepare_producer, .operate = push_small},
    {.name = "push_more", .prepare = prepare_pushed, .operate = push_small},
    {.name = "push_large", .prepare = prepare_producer, .operate = push_large, .lets_lose = true},
    {.name = "push_when_full", .prepare = prepare_full, .operate = push_in_vain},
    {.name = "loan", .prepare = prepare_producer, .operate = push_by_loan},
    {.name = "lend_and_drop", .prepare = prepare_producer, .operate = lend_and_drop},
    {.name = "flush", .prepare = prepare_pushed, .operate = flush},
    {.name = "kept", .prepare = prepare_pushed, .operate = kept},
    {.name = "take", .prepare = prepare_worker, .operate = take},
    {.name = "take_another", .prepare = prepare_job, .operate = take},
    {.name = "take_from_dead", .prepare = prepare_worker, .before = somebody_is_repaired, .operate = take},
    {.name = "take_over", .prepare = prepare_impatient, .before = work_slowly, .operate = receive_and_look},
    {.name = "meet_exhausted", .prepare = prepare_once, .before = have_once, .operate = meet_exhausted},
    {.name = "receive_in_vain", .prepare = prepare_sleeper, .before = work_on_all, .operate = receive_in_vain},
    {.name = "wait_in_vain", .prepare = prepare_sleeper, .before = work_on_all, .operate = wait_in_vain},
    {.name = "interrupt", .prepare = prepare_sleeper, .before = work_on_all, .operate = sleep_and_interrupt},
    {.name = "descriptor_open", .prepare = prepare_worker, .operate = open_descriptor},
    {.name = "descriptor_arm", .prepare = prepare_descriptor, .before = work_on_all, .operate = take},
    {.name = "descriptor_take", .prepare = prepare_descriptor, .operate = take},
    {.name = "acknowledge", .prepare = prepare_job, .operate = acknowledge},
    {.name = "give_back", .prepare = prepare_job, .operate = give_back},
    {.name = "reject", .prepare = prepare_jobs, .operate = reject},
    {.name = "close_producer", .prepare = prepare_producer, .operate = close_producer},
    {.name = "close_with_messages", .prepare = prepare_pushed, .operate = close_producer},
    {.name = "close_worker", .prepare = prepare_worker, .operate = close_worker},
    {.name = "close_with_jobs", .prepare = prepare_jobs, .operate = close_worker},
    {.name = "close_with_descriptor", .prepare = prepare_descriptor, .operate = close_worker},
    {.name = "open_keeper", .operate = open_keeper},
    {.name = "keep_more", .prepare = prepare_keeping, .before = push_large_one, .operate = keep_more},
    {.name = "close_keeper", .prepare = prepare_keeping, .operate = close_keeper},
    {.name = "repair_by_opening", .before = somebody_dies, .operate = open_worker, .repairs = true},
    {.name = "repair_by_producer", .before = somebody_dies, .operate = open_producer, .repairs = true},
    {.name = "repair_by_keeper", .before = somebody_dies, .operate = open_keeper, .repairs = true},
    {.name = "repair_by_waiting",
     .prepare = prepare_worker,
     .before = somebody_dies,
     .operate = wait_and_look,
     .repairs = true},
    {.name = "repair_by_receiving",
     .prepare = prepare_sleeper,
     .before = somebody_dies,
     .operate = receive_and_look,
     .repairs = true},
    {.name = "repair_by_flushing",
     .prepare = prepare_pushed,
     .before = somebody_dies,
     .operate = flush,
     .repairs = true},
    {.name = "repair_when_full",
     .prepare = prepare_full,
     .before = somebody_dies,
     .operate = push_in_vain,
     .repairs = true},
    {.name = "repair_by_sweeping", .before = somebody_dies, .operate = sweep, .repairs = true},
    {.name = "create_after_death", .before = somebody_dies, .operate = open_producer, .alone = true, .repairs = true},
    {.name = "sweep_after_death", .before = somebody_dies, .operate = sweep, .alone = true, .repairs = true},
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
