/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * Work queues between processes: a message goes to one worker and is acknowledged once, whoever is killed or stopped;
 * what becomes of the messages of producers that close, die, or fork.
 */
#include "common.h"

#define TOPIC "queue"

#define PRODUCER(...) producer_of(&(tarn_producer_options){.struct_bytes = sizeof(tarn_producer_options), __VA_ARGS__})
#define WORKER(...) worker_of(&(tarn_worker_options){.struct_bytes = sizeof(tarn_worker_options), __VA_ARGS__})

static tarn_producer *producer_of(const tarn_producer_options *options) {
    tarn_producer *producer = NULL;
    CHECK_STATUS(tarn_producer_open(&producer, TOPIC, options), 0);
    return producer;
}

static tarn_worker *worker_of(const tarn_worker_options *options) {
    tarn_worker *worker = NULL;
    CHECK_STATUS(tarn_worker_open(&worker, TOPIC, options), 0);
    return worker;
}

static void push(tarn_producer *producer, uint64_t word) {
    CHECK_STATUS(tarn_producer_push(producer, &word, sizeof word), 1);
}

static tarn_job receive(tarn_worker *worker, uint64_t word, uint32_t attempts) {
    tarn_job job;
    CHECK_STATUS(tarn_worker_receive(worker, &job, GENEROUS), 1);
    CHECK_INT(job.bytes, ==, sizeof word);
    CHECK(memcmp(job.data, &word, sizeof word) == 0);
    CHECK_INT(job.attempts, ==, attempts);
    return job;
}

static void work_on(tarn_worker *worker, uint64_t word, uint32_t attempts) {
    tarn_job job = receive(worker, word, attempts);
    CHECK_STATUS(tarn_job_acknowledge(&job), 0);
}

struct stage {
    _Atomic int at; /* how far a child has come */
};

static struct stage *stage;

static void make_stage(void) {
    stage = shared_page(sizeof *stage);
}

/* ---- one death, one stop --------------------------------------------------------------------------------------- */

static void take_and_stay(void *arg) {
    tarn_worker *worker = WORKER(.prefetch = 8);
    tarn_job job;
    for (uintptr_t i = 0; i < (uintptr_t)arg; i++)
        CHECK_STATUS(tarn_worker_receive(worker, &job, GENEROUS), 1);
    stage->at = 1;
    sleep_until_killed();
}

TEST(what_a_killed_worker_had_goes_to_another_at_once) {
    make_stage();
    pid_t child = spawn(take_and_stay, (void *)3);
    tarn_producer *producer = PRODUCER(0);
    for (uint64_t i = 0; i < 3; i++)
        push(producer, i);
    AWAIT(stage->at == 1);
    tarn_worker *worker = WORKER(.prefetch = 4);
    tarn_job job;
    CHECK_STATUS(tarn_worker_take(worker, &job), 0);
    int64_t start = now_ns();
    kill_child(child);
    for (uint64_t i = 0; i < 3; i++)
        work_on(worker, i, 2);
    CHECK_INT(now_ns() - start, <, SECOND);
    CHECK_STATUS(tarn_producer_flush(producer, 0), 1);
    CHECK_INT(tarn_producer_close(producer), ==, 0);
    tarn_worker_close(worker);
}

/* Whose producer is never waiting either: it is the worker who finds out. */
TEST(a_worker_that_is_never_out_of_jobs_looks_after_the_others) {
    make_stage();
    pid_t child = spawn(take_and_stay, (void *)1);
    tarn_producer *producer = PRODUCER(.capacity = 65536);
    uint64_t number = 0;
    push(producer, number++);
    AWAIT(stage->at == 1);
    tarn_worker *worker = WORKER(0);
    push(producer, number++);
    kill_child(child);
    int64_t start = now_ns();
    for (tarn_job job = {0}; job.attempts != 2;) {
        push(producer, number++);
        if (job.taken_by)
            CHECK_STATUS(tarn_job_acknowledge(&job), 0);
        CHECK_STATUS(tarn_worker_take(worker, &job), 1);
        nap_ns(MS / 20);
        CHECK_INT(now_ns() - start, <, 2 * SECOND);
    }
    CHECK_INT(tarn_producer_close(producer), ==, 0); /* with what is left in the worker's hands */
    tarn_worker_close(worker);
}

static void take_one_and_acknowledge_later(void *expected) {
    tarn_worker *worker = WORKER(0);
    tarn_job job;
    CHECK_STATUS(tarn_worker_receive(worker, &job, GENEROUS), 1);
    uint64_t word = *(const uint64_t *)job.data;
    stage->at = 1;
    while (stage->at != 2)
        nap_ns(MS);
    CHECK_INT(*(const uint64_t *)job.data, ==, word);
    CHECK_STATUS(tarn_job_acknowledge(&job), (int)(intptr_t)expected);
    tarn_worker_close(worker);
}

TEST(a_stopped_worker_keeps_its_job_where_there_is_no_limit) {
    make_stage();
    pid_t child = spawn(take_one_and_acknowledge_later, 0);
    tarn_producer *producer = PRODUCER(0);
    tarn_worker *worker = WORKER(0);
    AWAIT(tarn_producer_workers(producer) == 2);
    push(producer, 7);
    AWAIT(stage->at == 1);
    stop_process(child);
    tarn_job job;
    CHECK_STATUS(tarn_worker_receive(worker, &job, 500 * MS), 0);
    stage->at = 2;
    continue_process(child);
    CHECK_INT(wait_child(child, LIMIT_S), ==, 0);
    CHECK_STATUS(tarn_producer_flush(producer, GENEROUS), 1);
    tarn_worker_close(worker);
    CHECK_INT(tarn_producer_close(producer), ==, 0);
}

TEST(a_stopped_worker_loses_its_job_where_there_is_a_limit) {
    make_stage();
    pid_t child = spawn(take_one_and_acknowledge_later, (void *)(intptr_t)TARN_ERROR_TAKEN);
    tarn_producer *producer = PRODUCER(.claim_limit_ns = 100 * MS);
    tarn_worker *worker = WORKER(0);
    push(producer, 7);
    AWAIT(stage->at == 1);
    stop_process(child);
    work_on(worker, 7, 2);
    for (uint64_t i = 0; i < 5000; i++) { /* rounds later it is another message's cell */
        push(producer, i);
        work_on(worker, i, 1);
    }
    stage->at = 2;
    continue_process(child);
    CHECK_INT(wait_child(child, LIMIT_S), ==, 0);
    tarn_worker_close(worker);
    CHECK_INT(tarn_producer_close(producer), ==, 0);
}

/* ---- producers that go ----------------------------------------------------------------------------------------- */

static void push_and_be_killed(void *count) {
    tarn_producer *producer = PRODUCER(0);
    for (uint64_t i = 0; i < (uintptr_t)count; i++)
        push(producer, i);
    if (stage->at == 1)
        CHECK_STATUS(tarn_producer_kept(producer, GENEROUS), 1);
    stage->at = 2;
    sleep_until_killed();
}

TEST(messages_of_a_killed_producer_are_delivered_if_anyone_had_them) {
    make_stage();
    stage->at = 1;
    pid_t child = spawn(push_and_be_killed, (void *)100);
    tarn_worker *worker = WORKER(.prefetch = 2);
    AWAIT(tarn_worker_wait(worker, MS) >= 0 && stage->at == 2);
    kill_child(child);
    run_tarn("gc"); /* looks whether it is needed yet */
    tarn_worker *second = WORKER(0);
    for (uint64_t i = 0; i < 100; i++)
        work_on(i % 2 ? worker : second, i, 1);
    tarn_job job;
    CHECK_STATUS(tarn_worker_receive(worker, &job, 250 * MS), 0);
    CHECK_STATUS(tarn_worker_receive(second, &job, 250 * MS), 0);
    tarn_worker_close(worker);
    tarn_worker_close(second);
    CHECK_INT(count_segments(), ==, 0);
}

TEST(messages_of_a_killed_producer_that_nobody_had_are_gone) {
    make_stage();
    pid_t child = spawn(push_and_be_killed, (void *)10);
    AWAIT(stage->at == 2);
    kill_child(child);
    tarn_worker *worker = WORKER(0);
    tarn_job job;
    CHECK_STATUS(tarn_worker_receive(worker, &job, 250 * MS), 0);
    tarn_worker_close(worker);
    CHECK_INT(count_segments(), ==, 0);
}

static void push_beyond_what_is_attached(void *arg) {
    static char data[200000];
    (void)arg;
    tarn_producer *producer = PRODUCER(0);
    push(producer, 0);
    CHECK_STATUS(tarn_producer_kept(producer, GENEROUS), 1);
    stage->at = 1;
    AWAIT(stage->at == 2);
    for (uint64_t i = 1; i <= 10; i++) {
        memcpy(data, &i, sizeof i);
        CHECK_STATUS(tarn_producer_push(producer, data, sizeof data), 1);
    }
    stage->at = 3;
    sleep_until_killed();
}

static tarn_keeper *open_keeper(void) {
    tarn_keeper *keeper = NULL;
    CHECK_STATUS(tarn_keeper_open(&keeper, TOPIC, NULL), 0);
    return keeper;
}

/* Its memory is gone in part: what is left is there for those who come later, too. */
TEST(messages_of_a_killed_producer_that_somebody_had_in_part) {
    make_stage();
    pid_t child = spawn(push_beyond_what_is_attached, NULL);
    tarn_keeper *first = open_keeper();
    tarn_worker *second;
    AWAIT(tarn_keeper_wait(first, MS) == 0 && stage->at == 1);
    stage->at = 2;
    AWAIT(stage->at == 3);
    kill_child(child);
    run_tarn("gc");
    second = WORKER(0);
    uint64_t next = 0;
    tarn_job job;
    while (tarn_worker_receive(second, &job, 250 * MS) == 1) {
        CHECK_INT(*(const uint64_t *)job.data, ==, next++);
        CHECK_STATUS(tarn_job_acknowledge(&job), 0);
    }
    CHECK_INT(next, >, 0);
    CHECK_INT(next, <, 11);
    tarn_worker_close(second);
    tarn_keeper_close(first);
    CHECK_INT(count_segments(), ==, 0);
}

static void keep(void *arg) {
    (void)arg;
    tarn_keeper *keeper = open_keeper();
    stage->at = 1;
    while (stage->at != 9)
        CHECK_STATUS(tarn_keeper_wait(keeper, 20 * MS), 0);
    tarn_keeper_close(keeper);
}

static void push_large_and_close(void *count) {
    static char data[200000];
    tarn_producer *producer = PRODUCER(0);
    for (uint64_t i = 0; i < (uintptr_t)count; i++) {
        memcpy(data, &i, sizeof i);
        CHECK_STATUS(tarn_producer_push(producer, data, sizeof data), 1);
    }
    CHECK_INT(tarn_producer_close(producer), ==, 0);
}

TEST(a_keeper_keeps_for_producers_that_come_and_go) {
    enum { PRODUCERS = 3, MESSAGES = 20 };
    make_stage();
    pid_t keeper = spawn(keep, NULL);
    AWAIT(stage->at == 1);
    for (int i = 0; i < PRODUCERS; i++)
        CHECK_INT(wait_child(spawn(push_large_and_close, (void *)MESSAGES), LIMIT_S), ==, 0);
    tarn_worker *worker = WORKER(0);
    uint64_t next[PRODUCERS] = {0}, producers[PRODUCERS] = {0};
    for (int i = 0; i < PRODUCERS * MESSAGES; i++) {
        tarn_job job;
        CHECK_STATUS(tarn_worker_receive(worker, &job, GENEROUS), 1);
        int p = 0;
        while (producers[p] && producers[p] != job.producer)
            p++;
        producers[p] = job.producer;
        CHECK_INT(*(const uint64_t *)job.data, ==, next[p]++);
        CHECK_STATUS(tarn_job_acknowledge(&job), 0);
    }
    tarn_job job;
    CHECK_STATUS(tarn_worker_receive(worker, &job, 250 * MS), 0);
    tarn_worker_close(worker);
    stage->at = 9;
    CHECK_INT(wait_child(keeper, LIMIT_S), ==, 0);
    CHECK_INT(count_segments(), ==, 0);
}

TEST(a_dead_keeper_keeps_nothing) {
    make_stage();
    pid_t keeper = spawn(keep, NULL);
    AWAIT(stage->at == 1);
    tarn_producer *producer = PRODUCER(.linger_ns = TARN_IMMEDIATELY);
    push(producer, 1);
    CHECK_STATUS(tarn_producer_kept(producer, GENEROUS), 1);
    kill_child(keeper);
    CHECK_STATUS(tarn_producer_kept(producer, 0), 0);
    CHECK_INT(tarn_producer_close(producer), ==, 1);
    CHECK_INT(count_segments(), ==, 0);
}

static void push_two_and_close(void *arg) {
    (void)arg;
    tarn_producer *producer = PRODUCER(0);
    push(producer, 1);
    push(producer, 2);
    stage->at = 1;
    CHECK_INT(tarn_producer_close(producer), ==, 0);
    stage->at = 2;
}

TEST(a_producer_lingers_until_its_messages_have_a_keeper) {
    make_stage();
    pid_t child = spawn(push_two_and_close, NULL);
    AWAIT(stage->at == 1);
    nap_ns(300 * MS);
    CHECK_INT(stage->at, ==, 1);
    tarn_worker *worker = WORKER(.prefetch = 2);
    tarn_job first = receive(worker, 1, 1);
    int64_t start = now_ns();
    CHECK_INT(wait_child(child, LIMIT_S), ==, 0);
    CHECK_INT(now_ns() - start, <, SECOND);
    work_on(worker, 2, 1);
    CHECK_STATUS(tarn_job_acknowledge(&first), 0);
    tarn_worker_close(worker);
}

/* ---- back-pressure --------------------------------------------------------------------------------------------- */

static void push_many(void *count) {
    tarn_producer *producer = PRODUCER(.capacity = 16, .full_timeout_ns = GENEROUS);
    for (uint64_t i = 0; i < (uintptr_t)count; i++) {
        push(producer, i);
        stage->at = (int)i + 1;
    }
    CHECK_STATUS(tarn_producer_flush(producer, GENEROUS), 1);
    CHECK_INT(tarn_producer_close(producer), ==, 0);
}

TEST(producers_wait_for_workers) {
    enum { MESSAGES = 2000 };
    make_stage();
    tarn_worker *worker = WORKER(.prefetch = 16);
    pid_t child = spawn(push_many, (void *)MESSAGES);
    AWAIT(stage->at == 16);
    nap_ns(50 * MS);
    CHECK_INT(stage->at, ==, 16);
    int64_t start = now_ns();
    for (uint64_t i = 0; i < MESSAGES; i++)
        work_on(worker, i, 1);
    CHECK_INT(wait_child(child, LIMIT_S), ==, 0);
    CHECK_INT(now_ns() - start, <, 4 * SECOND); /* 500 times full: woken, not found a slice later */
    tarn_worker_close(worker);
}

/* ---- forks ----------------------------------------------------------------------------------------------------- */

struct inherited {
    tarn_producer *producer;
    tarn_worker *worker;
    tarn_job job;
    tarn_loan loan;
};

static void use_inherited(void *arg) {
    struct inherited *all = arg;
    tarn_job job;
    tarn_loan loan;
    CHECK_STATUS(tarn_producer_push(all->producer, "", 0), TARN_ERROR_FORKED);
    CHECK_STATUS(tarn_producer_loan(all->producer, 8, &loan), TARN_ERROR_FORKED);
    CHECK_STATUS(tarn_loan_send(&all->loan), TARN_ERROR_FORKED);
    CHECK_STATUS(tarn_loan_drop(&all->loan), TARN_ERROR_FORKED);
    CHECK_STATUS(tarn_producer_flush(all->producer, 0), TARN_ERROR_FORKED);
    CHECK_STATUS(tarn_producer_kept(all->producer, 0), TARN_ERROR_FORKED);
    CHECK_STATUS(tarn_producer_workers(all->producer), TARN_ERROR_FORKED);
    CHECK_STATUS(tarn_worker_take(all->worker, &job), TARN_ERROR_FORKED);
    CHECK_STATUS(tarn_worker_receive(all->worker, &job, 0), TARN_ERROR_FORKED);
    CHECK_STATUS(tarn_worker_wait(all->worker, 0), TARN_ERROR_FORKED);
    CHECK_STATUS(tarn_worker_fd(all->worker), TARN_ERROR_FORKED);
    CHECK_STATUS(tarn_worker_interrupt(all->worker), TARN_ERROR_FORKED);
    CHECK_STATUS(tarn_job_acknowledge(&all->job), TARN_ERROR_FORKED);
    CHECK_STATUS(tarn_job_give_back(&all->job), TARN_ERROR_FORKED);
    CHECK_STATUS(tarn_producer_close(all->producer), TARN_ERROR_FORKED);
    CHECK_STATUS(tarn_worker_close(all->worker), TARN_ERROR_FORKED);
    tarn_worker *own = WORKER(0);
    work_on(own, 2, 1);
    tarn_worker_close(own);
}

TEST(a_child_opens_its_own) {
    struct inherited all = {PRODUCER(0), WORKER(.prefetch = 2), {0}, {0}};
    push(all.producer, 1);
    push(all.producer, 2);
    CHECK_STATUS(tarn_producer_loan(all.producer, 8, &all.loan), 1);
    all.job = receive(all.worker, 1, 1);
    CHECK_INT(wait_child(spawn(use_inherited, &all), LIMIT_S), ==, 0);
    CHECK_STATUS(tarn_job_acknowledge(&all.job), 0);
    CHECK_STATUS(tarn_loan_drop(&all.loan), 0);
    CHECK_STATUS(tarn_producer_flush(all.producer, 0), 1);
    CHECK_INT(tarn_producer_close(all.producer), ==, 0);
    CHECK_INT(tarn_worker_close(all.worker), ==, 0);
}

/* ---- many of both, killed all the time -------------------------------------------------------------------------- */

/*
 * A message is (life of a producer, number). The ledger says how often it was acknowledged; what a worker is about to
 * acknowledge stands in its note, so that what became of that one is not held against it when it is killed there.
 */
enum { LIVES_MAX = 400, MESSAGES_MAX = 20000, PRODUCERS = 3, WORKERS = 4 };

struct message {
    uint32_t life, number;
};

struct life {
    _Atomic uint32_t pushed; /* known to be in the queue */
    _Atomic uint8_t kept;    /* and at least the first to have a keeper */
    _Atomic uint8_t acknowledged[MESSAGES_MAX], unsure[MESSAGES_MAX];
};

struct ledger {
    _Atomic bool stop_producing, stop_working, keeping;
    _Atomic uint32_t lives;
    struct note {
        _Atomic bool busy;
        struct message message;
    } notes[WORKERS];
    _Atomic uint64_t redelivered, given_back;
    struct life life[LIVES_MAX];
};

static struct ledger *ledger;

static void produce(void *arg) {
    (void)arg;
    uint32_t number = atomic_fetch_add(&ledger->lives, 1);
    struct life *life = &ledger->life[number];
    CHECK_INT(number, <, LIVES_MAX);
    tarn_producer *producer = PRODUCER(.capacity = 256, .full_timeout_ns = GENEROUS);
    for (struct message message = {number, 0}; message.number < MESSAGES_MAX && !ledger->stop_producing;
         message.number++) {
        CHECK_STATUS(tarn_producer_push(producer, &message, sizeof message), 1);
        life->pushed = message.number + 1;
        if (!life->kept) {
            CHECK_STATUS(tarn_producer_kept(producer, GENEROUS), 1);
            life->kept = 1;
        }
        if (message.number % 64 == 0)
            nap_ns(MS);
    }
    CHECK_INT(tarn_producer_close(producer), ==, 0);
    for (;;) /* to be killed, or told to end */
        if (ledger->stop_producing)
            return;
        else
            nap_ns(MS);
}

static void acknowledge(tarn_job *job, struct note *note) {
    memcpy(&note->message, job->data, sizeof note->message);
    struct message message = note->message;
    note->busy = true;
    CHECK_STATUS(tarn_job_acknowledge(job), 0);
    ledger->life[message.life].acknowledged[message.number]++;
    note->busy = false;
}

static void check_order(const tarn_job *job, uint32_t *last) {
    struct message message;
    memcpy(&message, job->data, sizeof message);
    CHECK_INT(message.number + 1, ==, job->number);
    if (job->attempts > 1) {
        ledger->redelivered++;
        return;
    }
    CHECK_INT(job->number, >, last[message.life]);
    last[message.life] = (uint32_t)job->number;
}

static void work(void *arg) {
    enum { HELD = 4 };
    static uint32_t last[LIVES_MAX];
    struct note *note = &ledger->notes[(uintptr_t)arg];
    struct random random = random_start((uint64_t)getpid());
    tarn_worker *worker = WORKER(.prefetch = HELD);
    tarn_job jobs[HELD];
    for (int held = 0; !ledger->stop_working || held;) {
        int result = held < HELD ? tarn_worker_receive(worker, &jobs[held], 10 * MS) : 0;
        CHECK_INT(result, >=, 0);
        if (result)
            check_order(&jobs[held++], last);
        if (held == 0 || (result && held < HELD && random_one_in(&random, 2)))
            continue;
        tarn_job *job = &jobs[random_between(&random, 0, (uint64_t)held - 1)];
        if (random_one_in(&random, 10) && !ledger->stop_working) {
            CHECK_STATUS(tarn_job_give_back(job), 0);
            ledger->given_back++;
        } else {
            acknowledge(job, note);
        }
        *job = jobs[--held];
    }
    tarn_worker_close(worker);
}

static void keep_all(void *arg) {
    (void)arg;
    tarn_keeper *keeper = open_keeper();
    ledger->keeping = true;
    while (!ledger->stop_working)
        CHECK_STATUS(tarn_keeper_wait(keeper, 10 * MS), 0);
    tarn_keeper_close(keeper);
}

static void kill_worker(pid_t *pid, uintptr_t number) {
    struct note *note = &ledger->notes[number];
    kill_child(*pid);
    if (note->busy)
        ledger->life[note->message.life].unsure[note->message.number]++;
    note->busy = false;
    *pid = spawn(work, (void *)number);
}

/* Messages known to be in the queue that nobody has acknowledged, as far as can be told. */
static uint64_t count_missing(void) {
    uint64_t missing = 0;
    for (uint32_t l = 0; l < ledger->lives; l++) {
        struct life *life = &ledger->life[l];
        for (uint32_t i = 0; life->kept && i < life->pushed; i++)
            missing += !life->acknowledged[i] && !life->unsure[i];
    }
    return missing;
}

TEST_LIMIT(each_message_is_acknowledged_once_whoever_is_killed, 60) {
    pid_t producers[PRODUCERS], workers[WORKERS];
    ledger = shared_page(sizeof *ledger);
    struct random random = random_start(1);
    pid_t keeper = spawn(keep_all, NULL);
    AWAIT(ledger->keeping);
    for (uintptr_t i = 0; i < PRODUCERS; i++)
        producers[i] = spawn(produce, NULL);
    for (uintptr_t i = 0; i < WORKERS; i++)
        workers[i] = spawn(work, (void *)i);
    for (int64_t end = now_ns() + 4 * SECOND; now_ns() < end;) {
        nap_ns((int64_t)random_between(&random, 0, 30) * MS);
        uintptr_t i = random_between(&random, 0, WORKERS + PRODUCERS - 1);
        if (i < WORKERS) {
            kill_worker(&workers[i], i);
        } else {
            kill_child(producers[i - WORKERS]);
            producers[i - WORKERS] = spawn(produce, NULL);
        }
    }
    ledger->stop_producing = true;
    for (int i = 0; i < PRODUCERS; i++)
        CHECK_INT(wait_child(producers[i], LIMIT_S), ==, 0);
    AWAIT(count_missing() == 0);
    nap_ns(50 * MS);
    ledger->stop_working = true;
    for (int i = 0; i < WORKERS; i++)
        CHECK_INT(wait_child(workers[i], LIMIT_S), ==, 0);
    CHECK_INT(wait_child(keeper, LIMIT_S), ==, 0);
    uint64_t messages = 0;
    for (uint32_t l = 0; l < ledger->lives; l++)
        for (uint32_t i = 0; i < MESSAGES_MAX; i++) {
            CHECK_INT(ledger->life[l].acknowledged[i] + 0, <=, 1);
            messages += ledger->life[l].acknowledged[i];
        }
    CHECK_INT(messages, >, 1000);
    CHECK_INT(ledger->redelivered, >, 0);
    printf("%u lives, %llu messages, %llu given back, %llu redelivered\n", ledger->lives, (unsigned long long)messages,
           (unsigned long long)ledger->given_back, (unsigned long long)ledger->redelivered);
    run_tarn("gc");
}
