/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * A participant that writes nonsense to the cells of a work queue, and to what leads to them, while producers push and
 * close and workers take and end jobs: messages may be lost, done twice or be wrong, but nobody may crash or hang.
 */
#include "hostile.h"

#define TOPIC "hostile"

enum { CAPACITY = 16, ROUND_MS = 700, ROUNDS = 6 };

static struct stage {
    struct round round;
    _Atomic uint64_t damages, pushed, taken, sum;
} * stage;

/* ---- damage ----------------------------------------------------------------------------------------------------- */

static char *roster;

static void *block(uint32_t number) {
    return number && number < ROSTER_FIRST_BLOCKS ? roster + (size_t)number * BLOCK_BYTES : NULL;
}

static struct publisher_slot *slot(uint32_t number) {
    struct roster_header *header = (void *)(roster + ROSTER_HEADER_OFFSET);
    char *slots = block(header->publisher_blocks[0]);
    return slots ? (void *)(slots + number * (BLOCK_BYTES / PUBLISHERS_PER_BLOCK)) : NULL;
}

/* Mostly a cell; else a word of those that lead there. */
static _Atomic uint64_t *choose_word(struct random *random) {
    struct publisher_slot *publisher = slot((uint32_t)random_between(random, 0, 3));
    struct queue_list *list = publisher ? block(publisher->queue.list) : NULL;
    struct queue_cell *cells = list ? block(list->blocks[0]) : NULL;
    if (cells && !random_one_in(random, 8)) {
        struct queue_cell *cell = &cells[random_between(random, 0, CAPACITY - 1)];
        return random_one_in(random, 3) ? &cell->place : &cell->state;
    }
    if (list && random_one_in(random, 4))
        return (_Atomic uint64_t *)(void *)list->blocks;
    return publisher ? &publisher->pattern_words[random_between(random, 0, 3)] : NULL;
}

static uint64_t nonsense(uint64_t is, struct random *random) {
    switch (random_between(random, 0, 4)) {
    case 0:
        return random_next(random);
    case 1:
        return is ^ UINT64_C(1) << random_between(random, 0, 63);
    case 2:
        return 0;
    case 3: /* another state, or owner */
        return is ^ random_between(random, 0, 3) << 29 ^ random_between(random, 0, 3) << 16;
    default:
        return is + random_between(random, 0, 4) - 2;
    }
}

static void do_damage(void *arg) {
    struct random random = random_start((uint64_t)(uintptr_t)arg);
    size_t bytes;
    roster = map_roster_of(TOPIC, &bytes); /* all that these few need lies there */
    stage->round.ready++;
    while (!stage->round.over) {
        _Atomic uint64_t *word = choose_word(&random);
        uint64_t was = word ? *word : 0;
        if (word) {
            *word = nonsense(was, &random);
            stage->damages++;
        }
        spin_ns((int64_t)random_between(&random, 0, 20000));
        if (word && (uintptr_t)arg % 2 == 0)
            *word = was;
    }
}

/* ---- the others ------------------------------------------------------------------------------------------------- */

static void produce(struct random *random) {
    static char data[100000];
    tarn_producer *producer;
    if (!is_well(tarn_producer_open(&producer, TOPIC,
                                    &(tarn_producer_options){.struct_bytes = sizeof(tarn_producer_options),
                                                             .capacity = CAPACITY,
                                                             .full_timeout_ns = 5 * MS,
                                                             .claim_limit_ns = random_one_in(random, 2) ? 10 * MS : 0,
                                                             .attempts_max = 5,
                                                             .linger_ns = 5 * MS})))
        return;
    for (int i = 0; i < 200 && !stage->round.over; i++) {
        size_t bytes = random_one_in(random, 20) ? sizeof data : random_between(random, 0, 200);
        stage->pushed += is_well(tarn_producer_push(producer, data, bytes));
    }
    is_well(tarn_producer_flush(producer, 5 * MS));
    is_well(tarn_producer_kept(producer, 5 * MS));
    is_well(tarn_producer_close(producer));
}

static void end_job(tarn_job *job, struct random *random) {
    for (size_t at = 0; at < job->bytes; at += CACHE_LINE_BYTES)
        stage->sum += ((const unsigned char *)job->data)[at];
    stage->taken++;
    is_well(random_one_in(random, 5)    ? tarn_job_give_back(job)
            : random_one_in(random, 20) ? tarn_job_reject(job)
                                        : tarn_job_acknowledge(job));
}

static void work(struct random *random, int count) {
    tarn_worker *worker;
    tarn_job job, kept = {0};
    if (!is_well(tarn_worker_open(&worker, TOPIC,
                                  &(tarn_worker_options){.struct_bytes = sizeof(tarn_worker_options), .prefetch = 3})))
        return;
    for (int i = 0; (count == 0 || i < count) && !stage->round.over; i++) {
        int result = tarn_worker_receive(worker, &job, 2 * MS);
        if (!is_well(result) || result == 0)
            continue;
        if (!kept.taken_by)
            kept = job;
        else
            end_job(&job, random);
        if (kept.taken_by && random_one_in(random, 10))
            end_job(&kept, random);
    }
    is_well(tarn_worker_close(worker));
}

static void stay(void *arg) {
    (void)arg;
    struct random random = random_start(7);
    tarn_worker *keeper;
    CHECK_STATUS(tarn_worker_open(&keeper, TOPIC, NULL), 0);
    stage->round.ready++;
    work(&random, 0);
    is_well(tarn_worker_close(keeper));
}

static void live(void *salt) {
    struct random random = random_start((uint64_t)(uintptr_t)salt);
    if (random_one_in(&random, 3))
        work(&random, 200);
    else
        produce(&random);
}

TEST_LIMIT(nonsense_in_cells_neither_crashes_nor_hangs_anybody, 120) {
    allow_files(); /* what is kept for a message that nobody can have is found by who comes next */
    stage = shared_page(sizeof *stage);
    for (uintptr_t round = 0; round < ROUNDS; round++)
        play_round((struct round_plan){.round = &stage->round,
                                       .stay = stay,
                                       .damage = do_damage,
                                       .live = live,
                                       .lives = 3,
                                       .ns = ROUND_MS * MS},
                   round);
    printf("%llu damages, %llu pushed, %llu taken\n", (unsigned long long)stage->damages,
           (unsigned long long)stage->pushed, (unsigned long long)stage->taken);
    CHECK_INT(stage->pushed, >, 100);
    CHECK_INT(stage->taken, >, 100);
    CHECK_INT(count_segments(), ==, 0);
}
