/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * Work queues: one process, the actor, is killed at each point of each of its operations (scene.h says what points are), or
 * stopped there for a while. The survivors are this process' producer and worker, which go on. Whatever the actor had when it
 * was killed goes to that worker; each message is acknowledged once, by one of the two; what the actor had pushed is
 * there; and nothing is left in the end.
 *
 *     points_queue                     a sample of the points, by $TARN_SEED
 *     TARN_POINTS=all points_queue     all of them
 */
#include "../multi/common.h"
#include "core/inspect.h"
#include "tracer.h"

#define TOPIC "points"

enum { MESSAGES = 12, WITNESS = 6, LARGE = 200000 };

/* On a page that both share. Messages are numbers; the witness pushes those below WITNESS, the actor those above. */
struct ledger {
    _Atomic uint32_t pushed; /* by the actor, of its own */
    _Atomic int result;
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

struct operation {
    const char *name;
    void (*prepare)(struct actor *);
    int (*operate)(struct actor *);
    bool loses_large; /* what the survivors have not attached yet may go with the actor */
};

static struct ledger *ledger;

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
    uint32_t number = WITNESS + ledger->pushed;
    int result = tarn_producer_push(actor->producer, &number, sizeof number);
    ledger->pushed += result == 1;
    return result;
}

/* Of which only the beginning is written: each store is a point. */
static int lend_and_send(struct actor *actor, size_t bytes) {
    uint32_t number = WITNESS + ledger->pushed;
    int result = tarn_producer_loan(actor->producer, bytes, &actor->loan);
    if (result != 1)
        return result;
    memcpy(actor->loan.data, &number, sizeof number);
    result = tarn_loan_send(&actor->loan);
    ledger->pushed += result == 1;
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
    ledger->ending[number] = end != tarn_job_give_back;
    int result = end(job);
    ledger->ended_by_actor[number] = end != tarn_job_give_back;
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

static int wait_and_look(struct actor *actor) {
    return tarn_worker_wait(actor->worker, 0);
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

static const struct operation operations[] = {
    {"queue_open_producer", NULL, open_producer, false},
    {"queue_open_worker", NULL, open_worker, false},
    {"queue_push", prepare_producer, push_small, false},
    {"queue_push_more", prepare_pushed, push_small, false},
    {"queue_push_large", prepare_producer, push_large, true},
    {"queue_push_when_full", prepare_full, push_in_vain, false},
    {"queue_loan", prepare_producer, push_by_loan, false},
    {"queue_flush", prepare_pushed, flush, false},
    {"queue_kept", prepare_pushed, kept, false},
    {"queue_take", prepare_worker, take, false},
    {"queue_take_another", prepare_job, take, false},
    {"queue_wait", prepare_worker, wait_and_look, false},
    {"queue_acknowledge", prepare_job, acknowledge, false},
    {"queue_give_back", prepare_job, give_back, false},
    {"queue_reject", prepare_jobs, reject, false},
    {"queue_close_producer", prepare_producer, close_producer, false},
    {"queue_close_with_messages", prepare_pushed, close_producer, false},
    {"queue_close_worker", prepare_worker, close_worker, false},
    {"queue_close_with_jobs", prepare_jobs, close_worker, false},
};
enum { OPERATIONS = sizeof operations / sizeof operations[0] };

static void act(void *arg) {
    const struct operation *operation = arg;
    struct actor actor = {0};
    if (operation->prepare)
        operation->prepare(&actor);
    tracer_mark();
    ledger->result = operation->operate(&actor);
    tracer_mark();
    tarn_worker_close(actor.worker);
    tarn_producer_close(actor.producer);
}

/* ---- the survivors ---------------------------------------------------------------------------------------------- */

struct scene {
    const struct operation *operation;
    struct traced traced;
    tarn_producer *producer;
    tarn_worker *worker;
    uint8_t acknowledged[MESSAGES];
    int descriptors, attached;
};

static void push_witness(struct scene *scene, uint32_t from, uint32_t to) {
    for (uint32_t number = from; number < to; number++)
        CHECK_STATUS(tarn_producer_push(scene->producer, &number, sizeof number), 1);
}

static void begin_scene(struct scene *scene, const struct operation *operation) {
    if (!ledger)
        ledger = shared_page(sizeof *ledger);
    memset(ledger, 0, sizeof *ledger);
    *scene = (struct scene){.operation = operation};
    scene->descriptors = count_descriptors();
    scene->attached = count_attached();
    set_context("%s", operation->name);
    tracer_spawn(&scene->traced, act, (void *)operation);
    CHECK_STATUS(tarn_producer_open(&scene->producer, TOPIC, NULL), 0);
    CHECK_STATUS(tarn_worker_open(&scene->worker, TOPIC, NULL), 0);
    push_witness(scene, 0, 3);
    tracer_begin(&scene->traced);
    CHECK_INT(tarn_worker_wait(scene->worker, 0), >=, 0); /* attaches what the actor has so far */
}

/* One job, if there is one. */
static bool work_on_one(struct scene *scene, int64_t timeout_ns) {
    tarn_job job;
    uint32_t number;
    int result = tarn_worker_receive(scene->worker, &job, timeout_ns);
    CHECK_INT(result, >=, 0);
    if (result == 0)
        return false;
    memcpy(&number, job.data, sizeof number);
    CHECK_INT(number, <, MESSAGES);
    scene->acknowledged[number]++;
    CHECK_STATUS(tarn_job_acknowledge(&job), 0);
    return true;
}

static bool is_actors_done(const struct scene *scene) {
    for (uint32_t i = WITNESS; i < WITNESS + ledger->pushed; i++)
        if (!scene->acknowledged[i])
            return scene->operation->loses_large;
    return true;
}

static void check_messages(struct scene *scene) {
    for (uint32_t i = 0; i < MESSAGES; i++) {
        unsigned ended = scene->acknowledged[i] + ledger->ended_by_actor[i];
        bool must_be = i < WITNESS || (i < WITNESS + ledger->pushed && !scene->operation->loses_large);
        if (ended > 1 || (ended == 0 && must_be && !ledger->ending[i]))
            FAIL("message %u was ended %u times", i, ended);
    }
}

static void check_and_end(struct scene *scene) {
    struct inspect_sweep sweep;
    char path[512];
    push_witness(scene, 3, WITNESS);
    for (int64_t end = now_ns() + GENEROUS;
         tarn_producer_unacknowledged(scene->producer) > 0 || !is_actors_done(scene);) {
        work_on_one(scene, 20 * MS);
        CHECK(now_ns() < end);
    }
    while (work_on_one(scene, 0))
        ;
    check_messages(scene);
    CHECK_STATUS(inspect_sweep(&sweep, NULL, NULL), 0);
    CHECK_INT(sweep.topics_busy + sweep.topics_failed, ==, 0);
    CHECK_INT(tarn_producer_close(scene->producer), ==, 0);
    CHECK_STATUS(tarn_worker_close(scene->worker), 0);
    domain_path(path, NULL);
    CHECK_INT(count_files(path, 0), ==, 0);
    CHECK_INT(count_segments(), ==, 0);
    CHECK_INT(count_attached(), ==, scene->attached);
    CHECK_INT(count_descriptors(), ==, scene->descriptors);
}

/* False: it was over before. */
static bool kill_at(const struct operation *operation, unsigned point) {
    struct scene scene;
    begin_scene(&scene, operation);
    bool on_its_way = true;
    for (unsigned i = 0; i <= point && on_its_way; i++)
        on_its_way = tracer_next(&scene.traced);
    set_context("%s killed at point %u, %s", operation->name, point,
                on_its_way ? tracer_describe(&scene.traced) : "the end");
    tracer_kill(&scene.traced);
    check_and_end(&scene);
    return on_its_way;
}

/* Stopped there while the survivors go on with all that is not its own; then it ends. */
static void stop_at(const struct operation *operation, unsigned point) {
    struct scene scene;
    begin_scene(&scene, operation);
    bool on_its_way = true;
    for (unsigned i = 0; i <= point && on_its_way; i++)
        on_its_way = tracer_next(&scene.traced);
    set_context("%s stopped at point %u, %s", operation->name, point,
                on_its_way ? tracer_describe(&scene.traced) : "the end");
    while (work_on_one(&scene, 0))
        ;
    CHECK_INT(tarn_producer_unacknowledged(scene.producer), <=, 2); /* what the actor has, at most */
    if (on_its_way)
        tracer_finish(&scene.traced);
    tracer_let_go(&scene.traced);
    CHECK_INT(wait_child(scene.traced.pid, LIMIT_S), ==, 0);
    check_and_end(&scene);
}

static unsigned count_points(const struct operation *operation) {
    struct scene scene;
    unsigned count = 0;
    begin_scene(&scene, operation);
    while (tracer_next(&scene.traced))
        count++;
    CHECK_INT(ledger->result, >=, 0);
    tracer_kill(&scene.traced);
    check_and_end(&scene);
    return count;
}

static void kill_everywhere(void) {
    const char *text = getenv("TARN_POINTS");
    const struct operation *operation = operations;
    if (!tracer_works())
        SKIP("processes cannot be traced here");
    need_root(); /* for an IPC namespace in which to count segments */
    while (strcmp(operation->name, getenv("TARN_TEST")) != 0)
        operation++;
    unsigned count = count_points(operation), visited = 0;
    unsigned wanted = text && strcmp(text, "all") == 0 ? count : text ? (unsigned)strtoul(text, NULL, 10) : 8;
    struct random random = random_start(0);
    for (unsigned point = 0; point < count; point++) {
        if (visited >= wanted || random_between(&random, 1, count - point) > wanted - visited)
            continue;
        kill_at(operation, point);
        stop_at(operation, point);
        visited++;
    }
    printf("  %-28s %4u points, %4u visited\n", operation->name, count, visited);
}

/* ---- stopped while a producer is followed by another, whose cells are where its own were ------------------------ */

static struct {
    _Atomic uint32_t number; /* + 1: of the job that the actor had */
    _Atomic int ended;       /* how the actor's acknowledgement ended */
    _Atomic uint32_t may_go;
} * late;

static int take_and_end(struct actor *actor) {
    int result = take(actor);
    if (result != 1)
        return result;
    uint32_t number;
    memcpy(&number, actor->jobs[0].data, sizeof number);
    late->number = number + 1;
    late->ended = tarn_job_acknowledge(&actor->jobs[0]);
    actor->held = 0;
    return result;
}

static const struct operation late_operation = {"queue_late_claim", prepare_worker, take_and_end, false};

static void act_late(void *arg) {
    struct actor actor = {0};
    (void)arg;
    prepare_worker(&actor);
    tracer_mark();
    ledger->result = take_and_end(&actor);
    tracer_mark();
    while (!late->may_go) /* its worker stays open */
        nap_ns(MS);
    tarn_worker_close(actor.worker);
}

/* False: it was over before. */
static bool follow_producer_at(unsigned point, unsigned *ret_followed) {
    struct scene scene = {.operation = &late_operation};
    tarn_producer_options options = {.struct_bytes = sizeof options, .capacity = 4};
    late = late ? late : shared_page(sizeof *late);
    ledger = ledger ? ledger : shared_page(sizeof *ledger);
    memset(late, 0, sizeof *late);
    tracer_spawn(&scene.traced, act_late, NULL);
    CHECK_STATUS(tarn_producer_open(&scene.producer, TOPIC, &options), 0);
    CHECK_STATUS(tarn_worker_open(&scene.worker, TOPIC, NULL), 0);
    push_witness(&scene, 0, 3);
    tracer_begin(&scene.traced);
    bool on_its_way = true;
    for (unsigned i = 0; i <= point && on_its_way; i++)
        on_its_way = tracer_next(&scene.traced);
    set_context("stopped at point %u, %s", point, on_its_way ? tracer_describe(&scene.traced) : "the end");
    while (work_on_one(&scene, 0))
        ;
    bool followed = tarn_producer_unacknowledged(scene.producer) == 0;
    if (followed) { /* else the actor has one of its jobs */
        CHECK_INT(tarn_producer_close(scene.producer), ==, 0);
        CHECK_STATUS(tarn_producer_open(&scene.producer, TOPIC, &options), 0);
        push_witness(&scene, 3, 6);
    }
    if (on_its_way)
        tracer_finish(&scene.traced);
    tracer_let_go(&scene.traced);
    if (late->number && on_its_way && followed && !scene.acknowledged[late->number - 1]) {
        CHECK_INT(late->number, >, 3); /* the first producer's are over */
        CHECK_STATUS(late->ended, 0);
    }
    for (int64_t end = now_ns() + GENEROUS; tarn_producer_unacknowledged(scene.producer) > 0;) {
        work_on_one(&scene, 20 * MS); /* also what the actor claimed by mistake, and gave back */
        CHECK(now_ns() < end);
    }
    late->may_go = 1;
    CHECK_INT(wait_child(scene.traced.pid, LIMIT_S), ==, 0);
    for (unsigned i = 0; i < (followed ? 6u : 3u); i++)
        if (scene.acknowledged[i] + (late->ended == 0 && late->number == i + 1) != 1)
            FAIL("message %u was ended %u times", i,
                 scene.acknowledged[i] + (late->ended == 0 && late->number == i + 1));
    CHECK_INT(tarn_producer_close(scene.producer), ==, 0);
    CHECK_STATUS(tarn_worker_close(scene.worker), 0);
    *ret_followed += followed;
    return on_its_way;
}

TEST_LIMIT(claims_that_come_too_late, 120) {
    unsigned followed = 0;
    if (!tracer_works())
        SKIP("processes cannot be traced here");
    need_root();
    for (unsigned point = 0; follow_producer_at(point, &followed); point++)
        ;
    CHECK_INT(followed, >, 0);
}

__attribute__((constructor)) static void add_tests(void) {
    static struct test tests[OPERATIONS];
    for (unsigned i = 0; i < OPERATIONS; i++) {
        tests[i] = (struct test){operations[i].name, 600, kill_everywhere, NULL};
        harness_add_test(&tests[i]);
    }
}
