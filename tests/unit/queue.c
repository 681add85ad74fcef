/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* Work queues in one process: who gets what, how jobs end, limits, back-pressure, loans, sizes, mistakes. */
#include <poll.h>
#include <stdio.h>

#include "base/os.h"
#include "base/process.h"
#include "common.h"
#include "core/reaper.h"
#include "core/waitables.h"
#include "shm/queue.h"

#define PRODUCER_OPTIONS(...) (&(tarn_producer_options){.struct_bytes = sizeof(tarn_producer_options), __VA_ARGS__})
#define WORKER_OPTIONS(...) (&(tarn_worker_options){.struct_bytes = sizeof(tarn_worker_options), __VA_ARGS__})
#define producer_with(...) open_producer(PRODUCER_OPTIONS(.linger_ns = TARN_IMMEDIATELY, __VA_ARGS__))
#define worker_with(...) open_worker(WORKER_OPTIONS(__VA_ARGS__))
#define SOON (5 * NS_PER_SECOND)

static tarn_producer *open_producer(const tarn_producer_options *options) {
    tarn_producer *producer = NULL;
    CHECK_STATUS(tarn_producer_open(&producer, TOPIC, options), 0);
    return producer;
}

static tarn_worker *open_worker(const tarn_worker_options *options) {
    tarn_worker *worker = NULL;
    CHECK_STATUS(tarn_worker_open(&worker, TOPIC, options), 0);
    return worker;
}

static void push_word(tarn_producer *producer, uint64_t word) {
    CHECK_STATUS(tarn_producer_push(producer, &word, sizeof(word)), 1);
}

static uint64_t word_of(const tarn_job *job) {
    uint64_t word;
    CHECK_INT(job->bytes, ==, sizeof(word));
    memcpy(&word, job->data, sizeof(word));
    return word;
}

static tarn_job take_word(tarn_worker *worker, uint64_t word) {
    tarn_job job;
    CHECK_STATUS(tarn_worker_take(worker, &job), 1);
    CHECK_INT(word_of(&job), ==, word);
    return job;
}

static void work_on(tarn_worker *worker, uint64_t word) {
    tarn_job job = take_word(worker, word);
    CHECK_STATUS(tarn_job_acknowledge(&job), 0);
}

static void takes_nothing(tarn_worker *worker) {
    tarn_job job;
    CHECK_STATUS(tarn_worker_take(worker, &job), 0);
}

TEST(a_worker_gets_what_was_pushed_before_and_after) {
    tarn_producer *producer = producer_with(.capacity = 16);
    push_word(producer, 1);
    tarn_worker *worker = worker_with(0);
    CHECK_INT(tarn_producer_unacknowledged(producer), ==, 1);
    tarn_job job = take_word(worker, 1);
    CHECK_INT(job.number, ==, 1);
    CHECK_INT(job.attempts, ==, 1);
    CHECK_INT(job.producer, ==, tarn_producer_identity(producer));
    CHECK_STATUS(tarn_producer_flush(producer, 0), 0);
    CHECK_STATUS(tarn_job_acknowledge(&job), 0);
    CHECK_STATUS(tarn_job_acknowledge(&job), TARN_ERROR_RELEASED);
    CHECK_STATUS(tarn_producer_flush(producer, 0), 1);
    for (uint64_t i = 2; i < 1000; i++) { /* many rounds of the ring */
        push_word(producer, i);
        work_on(worker, i);
    }
    takes_nothing(worker);
    CHECK_INT(tarn_producer_unacknowledged(producer), ==, 0);
    CHECK_INT(tarn_producer_workers(producer), ==, 1);
    CHECK_INT(tarn_producer_close(producer), ==, 0);
    takes_nothing(worker);
    CHECK_INT(tarn_worker_close(worker), ==, 0);
}

TEST(each_message_goes_to_one) {
    tarn_producer *producer = producer_with(.capacity = 64);
    tarn_worker *a = worker_with(.prefetch = 64), *b = worker_with(.prefetch = 64);
    tarn_job jobs[64];
    for (uint64_t i = 0; i < 64; i++)
        push_word(producer, i);
    for (int i = 0; i < 64; i++) {
        jobs[i] = take_word(i % 2 ? a : b, (uint64_t)i);
        CHECK_INT(jobs[i].attempts, ==, 1);
    }
    takes_nothing(a);
    takes_nothing(b);
    CHECK_INT(tarn_producer_unacknowledged(producer), ==, 64);
    for (int i = 63; i >= 0; i--)
        CHECK_STATUS(tarn_job_acknowledge(&jobs[i]), 0);
    CHECK_INT(tarn_producer_unacknowledged(producer), ==, 0);
    tarn_worker_close(a);
    tarn_worker_close(b);
    CHECK_INT(tarn_producer_close(producer), ==, 0);
}

TEST(what_is_given_back_goes_to_another) {
    tarn_producer *producer = producer_with(0);
    tarn_worker *a = worker_with(.prefetch = 4), *b = worker_with(.prefetch = 4);
    for (uint64_t i = 1; i <= 4; i++)
        push_word(producer, i);
    tarn_job first = take_word(a, 1), second = take_word(b, 2);
    work_on(b, 3);
    CHECK_STATUS(tarn_job_give_back(&first), 0);
    tarn_job again = take_word(b, 1);
    CHECK_INT(again.attempts, ==, 2);
    CHECK_STATUS(tarn_job_acknowledge(&again), 0);
    work_on(a, 4);
    CHECK_STATUS(tarn_job_acknowledge(&second), 0);
    CHECK_STATUS(tarn_producer_flush(producer, 0), 1);
    tarn_worker_close(a);
    tarn_worker_close(b);
    tarn_producer_close(producer);
}

TEST(a_closed_worker_gives_back_what_it_has) {
    tarn_producer *producer = producer_with(0);
    tarn_worker *a = worker_with(.prefetch = 4), *b = worker_with(0);
    push_word(producer, 1);
    push_word(producer, 2);
    tarn_job first = take_word(a, 1), second = take_word(a, 2);
    takes_nothing(b);
    CHECK_INT(tarn_worker_close(a), ==, 0);
    CHECK_STATUS(tarn_job_acknowledge(&first), TARN_ERROR_CLOSED);
    CHECK_STATUS(tarn_job_give_back(&second), TARN_ERROR_CLOSED);
    tarn_job again = take_word(b, 1);
    CHECK_INT(again.attempts, ==, 2);
    CHECK_STATUS(tarn_job_acknowledge(&again), 0);
    work_on(b, 2);
    CHECK_STATUS(tarn_producer_flush(producer, 0), 1);
    tarn_worker_close(b);
    tarn_producer_close(producer);
}

static int (*const ends[])(tarn_job *job) = {tarn_job_acknowledge, tarn_job_give_back, tarn_job_reject};

static void nothing_ends(const tarn_job *job, int status) {
    for (size_t i = 0; i < sizeof(ends) / sizeof(*ends); i++) {
        tarn_job copy = *job;
        CHECK_STATUS(ends[i](&copy), status);
    }
}

TEST(a_job_ends_once_whatever_copies_there_are) {
    tarn_producer *producer = producer_with(0);
    tarn_worker *worker = worker_with(0);
    for (size_t i = 0; i < sizeof(ends) / sizeof(*ends); i++) {
        push_word(producer, i);
        tarn_job job = take_word(worker, i), copy = job;
        CHECK_STATUS(ends[i](&job), 0);
        nothing_ends(&copy, TARN_ERROR_RELEASED);
        if (ends[i] == tarn_job_give_back) { /* to the same worker: another job */
            job = take_word(worker, i);
            nothing_ends(&copy, TARN_ERROR_RELEASED);
            CHECK_STATUS(tarn_job_acknowledge(&job), 0);
        }
    }
    CHECK_STATUS(tarn_producer_flush(producer, 0), 1);
    CHECK_INT(tarn_producer_rejected(producer), ==, 1);
    push_word(producer, 3);
    tarn_job last = take_word(worker, 3);
    CHECK_STATUS(tarn_worker_take(worker, &(tarn_job){0}), TARN_ERROR_HOLDING);
    CHECK_STATUS(tarn_job_acknowledge(&last), 0);
    tarn_worker_close(worker);
    tarn_producer_close(producer);
}

TEST(a_copy_may_outlive_the_producer_and_the_worker) {
    tarn_producer *producer = producer_with(0), *next;
    tarn_worker *worker = worker_with(0);
    push_word(producer, 1);
    tarn_job job = take_word(worker, 1), copy = job;
    tarn_producer_close(producer);
    CHECK_STATUS(tarn_job_acknowledge(&job), 0);
    next = producer_with(0); /* in its slot: nothing of the first one is kept once the worker has looked */
    push_word(next, 2);
    work_on(worker, 2);
    nothing_ends(&copy, TARN_ERROR_RELEASED);
    push_word(next, 3);
    work_on(worker, 3);
    tarn_worker_close(worker);
    nothing_ends(&copy, TARN_ERROR_CLOSED);
    tarn_producer_close(next);
}

/* In its memory, and with the same slot and incarnation, as on another topic. */
TEST(a_copy_is_not_taken_for_a_job_of_a_later_worker) {
    tarn_worker *worker = worker_with(0), *later = NULL;
    tarn_producer *producer = producer_with(0);
    push_word(producer, 1);
    tarn_job job = take_word(worker, 1);
    tarn_worker_close(worker);
    for (int i = 0; i < 64 && later != worker; i++) {
        char topic[32];
        snprintf(topic, sizeof(topic), TOPIC "-%d", i);
        CHECK_STATUS(tarn_worker_open(&later, topic, NULL), 0);
        if (later != worker)
            tarn_worker_close(later);
    }
    CHECK(later == worker);
    nothing_ends(&job, TARN_ERROR_CLOSED);
    tarn_worker_close(later);
    tarn_producer_close(producer);
}

TEST(prefetch_bounds_what_a_worker_has) {
    tarn_producer *producer = producer_with(0);
    tarn_worker *one = worker_with(0), *three = worker_with(.prefetch = 3);
    tarn_job jobs[4];
    for (uint64_t i = 0; i < 8; i++)
        push_word(producer, i);
    for (int i = 0; i < 3; i++)
        CHECK_STATUS(tarn_worker_take(three, &jobs[i]), 1);
    CHECK_STATUS(tarn_worker_take(three, &jobs[3]), TARN_ERROR_HOLDING);
    CHECK_STATUS(tarn_worker_receive(three, &jobs[3], SOON), TARN_ERROR_HOLDING);
    CHECK_STATUS(tarn_job_acknowledge(&jobs[1]), 0);
    jobs[1] = take_word(three, 3);
    jobs[3] = take_word(one, 4);
    tarn_job more;
    CHECK_STATUS(tarn_worker_take(one, &more), TARN_ERROR_HOLDING);
    for (int i = 0; i < 4; i++)
        CHECK_STATUS(tarn_job_acknowledge(&jobs[i]), 0);
    tarn_worker_close(one);
    tarn_worker_close(three);
    tarn_producer_close(producer);
}

TEST(rejected_messages_are_counted_and_never_seen_again) {
    tarn_producer *producer = producer_with(.attempts_max = 3);
    tarn_worker *worker = worker_with(0);
    push_word(producer, 1);
    push_word(producer, 2);
    tarn_job job = take_word(worker, 1);
    CHECK_STATUS(tarn_job_reject(&job), 0);
    for (uint32_t i = 1; i <= 3; i++) {
        job = take_word(worker, 2);
        CHECK_INT(job.attempts, ==, i);
        CHECK_STATUS(tarn_job_give_back(&job), 0);
    }
    CHECK_INT(tarn_producer_rejected(producer), ==, 1);
    takes_nothing(worker);
    CHECK_INT(tarn_producer_rejected(producer), ==, 2);
    CHECK_STATUS(tarn_producer_flush(producer, 0), 1);
    tarn_worker_close(worker);
    tarn_producer_close(producer);
}

TEST(a_full_queue_says_so_or_waits) {
    tarn_producer *failing = producer_with(.capacity = 2, .when_full = TARN_FULL_FAIL);
    tarn_worker *worker = worker_with(.prefetch = 2);
    push_word(failing, 1);
    push_word(failing, 2);
    uint64_t word = 3;
    CHECK_STATUS(tarn_producer_push(failing, &word, 8), TARN_ERROR_FULL);
    CHECK(strstr(tarn_error(), "capacity") != NULL);
    tarn_job first = take_word(worker, 1);
    work_on(worker, 2);
    CHECK_STATUS(tarn_producer_push(failing, &word, 8), TARN_ERROR_FULL); /* the first one's cell comes next */
    CHECK_STATUS(tarn_job_acknowledge(&first), 0);
    push_word(failing, 3);
    work_on(worker, 3);
    tarn_producer_close(failing);

    tarn_producer *waiting = producer_with(.capacity = 1, .full_timeout_ns = 20 * NS_PER_MS);
    push_word(waiting, 1);
    int64_t start = os_now_ns();
    CHECK_STATUS(tarn_producer_push(waiting, &word, 8), TARN_ERROR_FULL);
    CHECK_INT(os_now_ns() - start, >=, 20 * NS_PER_MS);
    CHECK_INT(tarn_producer_close(waiting), ==, 1); /* the worker has not looked: nobody has it */
    tarn_worker_close(worker);
}

TEST(memory_behind_a_stuck_message_is_used_again) {
    enum { BYTES = 100000, LIMIT = 1024 * 1024 };
    static char data[BYTES];
    tarn_producer *producer = producer_with(.memory_limit_bytes = LIMIT, .when_full = TARN_FULL_FAIL, .capacity = 1024);
    tarn_worker *worker = worker_with(.prefetch = 2);
    tarn_job stuck, job;
    CHECK_STATUS(tarn_producer_push(producer, data, BYTES), 1);
    CHECK_STATUS(tarn_worker_take(worker, &stuck), 1);
    for (int i = 0; i < 200; i++) {
        CHECK_STATUS(tarn_producer_push(producer, data, BYTES), 1);
        CHECK_STATUS(tarn_worker_take(worker, &job), 1);
        CHECK_STATUS(tarn_job_acknowledge(&job), 0);
    }
    int pushed = 0, status;
    while ((status = tarn_producer_push(producer, data, BYTES)) == 1)
        pushed++;
    CHECK_INT(status, ==, TARN_ERROR_FULL);
    CHECK_INT(pushed, >=, 7);
    CHECK_INT(pushed, <=, 12);
    CHECK(strstr(tarn_error(), "memory limit") != NULL);
    CHECK_STATUS(tarn_job_acknowledge(&stuck), 0);
    tarn_worker_close(worker);
    tarn_producer_close(producer);
}

TEST(messages_of_all_sizes_arrive_whole) {
    static const size_t sizes[] = {0, 1, 8, 24, 100, 4096, 65536, 100000, 3u << 20};
    enum { SIZES = sizeof(sizes) / sizeof(sizes[0]), ROUNDS = 30 };
    tarn_producer *producer = producer_with(.alignment = 64);
    tarn_worker *worker = worker_with(.prefetch = SIZES);
    static char data[3u << 20];
    for (uint64_t round = 0; round < ROUNDS; round++) {
        tarn_job jobs[SIZES];
        for (uint64_t i = 0; i < SIZES; i++) {
            fill_pattern(data, sizes[i], round * SIZES + i);
            CHECK_STATUS(tarn_producer_push(producer, data, sizes[i]), 1);
        }
        for (uint64_t i = 0; i < SIZES; i++) {
            CHECK_STATUS(tarn_worker_take(worker, &jobs[i]), 1);
            CHECK_INT(jobs[i].bytes, ==, sizes[i]);
            CHECK_INT((uintptr_t)jobs[i].data % 64, ==, 0);
        }
        for (uint64_t i = 0; i < SIZES; i++) {
            CHECK(check_pattern(jobs[i].data, sizes[i], round * SIZES + i));
            CHECK_STATUS(tarn_job_acknowledge(&jobs[i]), 0);
        }
    }
    tarn_worker_close(worker);
    tarn_producer_close(producer);
}

TEST(loans_are_sent_in_any_order) {
    tarn_producer *producer = producer_with(.capacity = 4, .when_full = TARN_FULL_FAIL);
    tarn_worker *worker = worker_with(0);
    tarn_loan loans[6], copy;
    for (uint64_t i = 0; i < 6; i++) {
        CHECK_STATUS(tarn_producer_loan(producer, 100, &loans[i]), 1);
        memcpy(loans[i].data, &i, sizeof(i));
        loans[i].bytes = 8;
    }
    copy = loans[5];
    CHECK_STATUS(tarn_loan_send(&loans[5]), 1);
    CHECK_STATUS(tarn_loan_send(&copy), TARN_ERROR_RELEASED);
    CHECK_STATUS(tarn_loan_send(&loans[5]), TARN_ERROR_RELEASED);
    CHECK_STATUS(tarn_loan_drop(&loans[4]), 0);
    loans[3].bytes = 101;
    CHECK_STATUS(tarn_loan_send(&loans[3]), TARN_ERROR_ARGUMENT);
    loans[3].bytes = 8;
    for (int i = 3; i > 0; i--)
        CHECK_STATUS(tarn_loan_send(&loans[i]), 1);
    CHECK_STATUS(tarn_loan_send(&loans[0]), TARN_ERROR_FULL);
    work_on(worker, 5);
    CHECK_STATUS(tarn_loan_send(&loans[0]), 1);
    for (int i = 3; i >= 0; i--)
        work_on(worker, (uint64_t)i);
    copy = (tarn_loan){0};
    CHECK_STATUS(tarn_producer_loan(producer, 8, &copy), 1);
    CHECK_INT(tarn_producer_close(producer), ==, 0);
    CHECK_STATUS(tarn_loan_send(&copy), TARN_ERROR_CLOSED);
    tarn_worker_close(worker);
}

TEST(producers_take_turns) {
    tarn_producer *a = producer_with(0), *b = producer_with(0);
    tarn_worker *worker = worker_with(0);
    for (uint64_t i = 0; i < 10; i++) {
        push_word(a, i);
        push_word(b, 100 + i);
    }
    uint64_t next_a = 0, next_b = 100;
    for (int i = 0; i < 20; i++) {
        tarn_job job;
        CHECK_STATUS(tarn_worker_take(worker, &job), 1);
        uint64_t *next = job.producer == tarn_producer_identity(a) ? &next_a : &next_b;
        CHECK_INT(word_of(&job), ==, (*next)++);
        CHECK_INT(next_a > next_b - 100 ? next_a - (next_b - 100) : next_b - 100 - next_a, <=, 1);
        CHECK_STATUS(tarn_job_acknowledge(&job), 0);
    }
    tarn_worker_close(worker);
    tarn_producer_close(a);
    tarn_producer_close(b);
}

TEST(a_closed_producers_messages_stay_with_who_has_them) {
    tarn_worker *worker = worker_with(0);
    tarn_producer *producer = open_producer(PRODUCER_OPTIONS(.linger_ns = 50 * NS_PER_MS));
    takes_nothing(worker); /* attaches */
    for (uint64_t i = 0; i < 10; i++)
        push_word(producer, i);
    CHECK_STATUS(tarn_producer_kept(producer, 0), 1);
    CHECK_INT(tarn_producer_close(producer), ==, 0);
    for (uint64_t i = 0; i < 5; i++)
        work_on(worker, i);
    tarn_worker *other = worker_with(0);
    for (uint64_t i = 5; i < 10; i++)
        work_on(i % 2 ? worker : other, i);
    CHECK_STATUS(tarn_worker_wait(worker, 150 * NS_PER_MS), 0); /* what is drained is cleared */
    takes_nothing(worker);
    tarn_worker_close(worker);
    tarn_worker_close(other);
}

TEST(a_keeper_gets_no_jobs) {
    tarn_keeper *keeper;
    CHECK_STATUS(tarn_keeper_open(&keeper, TOPIC, NULL), 0);
    tarn_producer *producer = producer_with(0);
    push_word(producer, 1);
    CHECK_STATUS(tarn_producer_kept(producer, 0), 0);
    CHECK_STATUS(tarn_keeper_wait(keeper, 0), 0);
    CHECK_STATUS(tarn_producer_kept(producer, 0), 1);
    CHECK_INT(tarn_producer_workers(producer), ==, 0);
    CHECK_INT(tarn_producer_close(producer), ==, 0);
    tarn_worker *worker = worker_with(0);
    work_on(worker, 1);
    tarn_worker_close(worker);
    CHECK_STATUS(tarn_keeper_close(keeper), 0);
}

TEST(an_overdue_claim_is_taken_over) {
    tarn_producer *producer = producer_with(.claim_limit_ns = 60 * NS_PER_MS);
    tarn_worker *slow = worker_with(.prefetch = 2), *other = worker_with(0);
    push_word(producer, 1);
    tarn_job job = take_word(slow, 1), again, more;
    int64_t start = os_now_ns();
    CHECK_STATUS(tarn_worker_take(slow, &more), 0); /* never one's own */
    CHECK_STATUS(tarn_worker_receive(other, &again, SOON), 1);
    CHECK_INT(os_now_ns() - start, >=, 55 * NS_PER_MS);
    CHECK_INT(again.attempts, ==, 2);
    CHECK_INT(word_of(&job), ==, 1); /* still there */
    CHECK_STATUS(tarn_job_acknowledge(&job), TARN_ERROR_TAKEN);
    CHECK_STATUS(tarn_job_acknowledge(&again), 0);
    CHECK_STATUS(tarn_producer_flush(producer, 0), 1);
    tarn_worker_close(slow);
    tarn_worker_close(other);
    tarn_producer_close(producer);
}

TEST(a_job_taken_over_and_done_keeps_its_memory_for_its_first_worker) {
    enum { BYTES = 200000 };
    static char data[BYTES];
    tarn_producer *producer = producer_with(.claim_limit_ns = NS_PER_MS, .capacity = 8, .memory_limit_bytes = 1 << 20);
    tarn_worker *slow = worker_with(0), *other = worker_with(0);
    tarn_job job, again;
    fill_pattern(data, BYTES, 7);
    CHECK_STATUS(tarn_producer_push(producer, data, BYTES), 1);
    CHECK_STATUS(tarn_worker_take(slow, &job), 1);
    CHECK_STATUS(tarn_worker_receive(other, &again, SOON), 1);
    CHECK_STATUS(tarn_job_acknowledge(&again), 0);
    fill_pattern(data, BYTES, 8);
    for (int i = 0; i < 100; i++) {
        CHECK_STATUS(tarn_producer_push(producer, data, BYTES), 1);
        CHECK_STATUS(tarn_worker_take(other, &again), 1);
        CHECK_STATUS(tarn_job_acknowledge(&again), 0);
    }
    CHECK(check_pattern(job.data, BYTES, 7));
    CHECK_STATUS(tarn_job_give_back(&job), TARN_ERROR_TAKEN);
    tarn_worker_close(slow);
    tarn_worker_close(other);
    tarn_producer_close(producer);
}

TEST(a_wait_can_be_interrupted_and_polled) {
    tarn_producer *producer = producer_with(0);
    tarn_worker *worker = worker_with(0);
    tarn_job job;
    CHECK_STATUS(tarn_worker_interrupt(worker), 0);
    CHECK_STATUS(tarn_worker_receive(worker, &job, SOON), TARN_ERROR_INTERRUPTED);
    CHECK_STATUS(tarn_worker_wait(worker, NS_PER_MS), 0);
    CHECK_INT(tarn_worker_fd(worker), >=, 0);
    takes_nothing(worker);
    push_word(producer, 1);
    CHECK_STATUS(tarn_worker_wait(worker, SOON), 1);
    work_on(worker, 1);
    tarn_worker_close(worker);
    tarn_producer_close(producer);
}

static bool is_readable(int fd, int timeout_ms) {
    struct pollfd polled = {.fd = fd, .events = POLLIN};
    return poll(&polled, 1, timeout_ms) == 1;
}

/* The descriptor also becomes readable ten times a second, for the look at the peers. */
static void make_quiet(int fd, tarn_worker *worker) {
    do
        takes_nothing(worker);
    while (is_readable(fd, 0));
}

TEST(a_descriptor_is_readable_until_nothing_is_left) {
    tarn_producer *producer = producer_with(0);
    tarn_worker *worker = worker_with(0);
    int fd = tarn_worker_fd(worker);
    CHECK(is_readable(fd, 0));
    make_quiet(fd, worker);
    push_word(producer, 1);
    push_word(producer, 2);
    CHECK(is_readable(fd, 0));
    work_on(worker, 1);
    CHECK(is_readable(fd, 0));
    work_on(worker, 2);
    make_quiet(fd, worker);
    push_word(producer, 3);
    CHECK(is_readable(fd, 0));
    tarn_job job = take_word(worker, 3);
    CHECK_STATUS(tarn_worker_take(worker, &(tarn_job){0}), TARN_ERROR_HOLDING);
    CHECK_STATUS(tarn_job_give_back(&job), 0);
    CHECK(is_readable(fd, 0));
    CHECK_INT(worker_waitable.fd(worker), ==, fd);
    CHECK_INT(worker_waitable.ready(worker), ==, 1);
    work_on(worker, 3);
    CHECK_INT(worker_waitable.ready(worker), ==, 0);
    tarn_worker_close(worker);
    tarn_producer_close(producer);
}

TEST(types_are_compared) {
    tarn_type image = {.struct_bytes = sizeof(image), .name = "image", .bytes = 16},
              other = {.struct_bytes = sizeof(other), .name = "other"};
    tarn_producer *producer = producer_with(.type = &image);
    tarn_worker *worker = worker_with(.type = &image), *refused = NULL;
    CHECK_STATUS(tarn_worker_open(&refused, TOPIC, WORKER_OPTIONS(.type = &other)), TARN_ERROR_TYPE);
    CHECK_STATUS(tarn_producer_push(producer, "0123456789abcdefg", 17), TARN_ERROR_TOO_BIG);
    push_word(producer, 1);
    work_on(worker, 1);
    tarn_worker_close(worker);
    tarn_producer_close(producer);
}

TEST(deliveries_are_counted_to_255) {
    tarn_producer *producer = producer_with(0);
    tarn_worker *worker = worker_with(0);
    push_word(producer, 1);
    for (uint32_t i = 1; i < 300; i++) {
        tarn_job job = take_word(worker, 1);
        CHECK_INT(job.attempts, ==, i < 255 ? i : 255);
        CHECK_STATUS(tarn_job_give_back(&job), 0);
    }
    work_on(worker, 1);
    tarn_worker_close(worker);
    tarn_producer_close(producer);
}

TEST(mistakes_are_named) {
    tarn_producer *producer = NULL;
    tarn_worker *worker = NULL;
    tarn_publisher *publisher = NULL;
    tarn_job job = {0};
    CHECK_STATUS(tarn_producer_open(NULL, TOPIC, NULL), TARN_ERROR_ARGUMENT);
    CHECK_STATUS(tarn_worker_open(NULL, TOPIC, NULL), TARN_ERROR_ARGUMENT);
    CHECK_STATUS(tarn_producer_open(&producer, TOPIC, PRODUCER_OPTIONS(.capacity = 3)), TARN_ERROR_ARGUMENT);
    CHECK_STATUS(tarn_producer_open(&producer, TOPIC, PRODUCER_OPTIONS(.capacity = 131072)), TARN_ERROR_ARGUMENT);
    CHECK_STATUS(tarn_producer_open(&producer, TOPIC, PRODUCER_OPTIONS(.when_full = TARN_FULL_DROP)),
                 TARN_ERROR_ARGUMENT);
    CHECK_STATUS(tarn_producer_open(&producer, TOPIC, PRODUCER_OPTIONS(.attempts_max = 255)), TARN_ERROR_ARGUMENT);
    CHECK_STATUS(tarn_worker_open(&worker, TOPIC, WORKER_OPTIONS(.prefetch = 65537)), TARN_ERROR_ARGUMENT);
    CHECK_STATUS(tarn_producer_push(NULL, "", 0), TARN_ERROR_ARGUMENT);
    CHECK_STATUS(tarn_worker_take(NULL, &job), TARN_ERROR_ARGUMENT);
    CHECK_STATUS(tarn_job_acknowledge(NULL), TARN_ERROR_ARGUMENT);
    CHECK_STATUS(tarn_job_acknowledge(&job), TARN_ERROR_RELEASED);
    CHECK_STATUS(tarn_producer_loan(NULL, 1, &(tarn_loan){0}), TARN_ERROR_ARGUMENT);
    CHECK_STATUS(tarn_producer_flush(NULL, 0), TARN_ERROR_ARGUMENT);
    CHECK_STATUS(tarn_producer_kept(NULL, 0), TARN_ERROR_ARGUMENT);
    CHECK_STATUS(tarn_producer_workers(NULL), TARN_ERROR_ARGUMENT);
    CHECK_INT(tarn_producer_identity(NULL) + tarn_producer_unacknowledged(NULL) + tarn_producer_rejected(NULL), ==, 0);
    CHECK_STATUS(tarn_worker_receive(NULL, &job, 0), TARN_ERROR_ARGUMENT);
    CHECK_STATUS(tarn_worker_wait(NULL, 0), TARN_ERROR_ARGUMENT);
    CHECK_STATUS(tarn_worker_fd(NULL), TARN_ERROR_ARGUMENT);
    CHECK_STATUS(tarn_worker_interrupt(NULL), TARN_ERROR_ARGUMENT);
    CHECK_STATUS(tarn_job_give_back(&job), TARN_ERROR_RELEASED);
    CHECK_STATUS(tarn_job_reject(&job), TARN_ERROR_RELEASED);
    CHECK_STATUS(tarn_producer_open(&producer, TOPIC, &(tarn_producer_options){.struct_bytes = 3}),
                 TARN_ERROR_ARGUMENT);
    CHECK_STATUS(tarn_worker_open(&worker, TOPIC, WORKER_OPTIONS(.wait_strategy = 9)), TARN_ERROR_ARGUMENT);
    CHECK(!producer && !worker);
    CHECK_INT(tarn_producer_close(NULL), ==, 0);
    CHECK_INT(tarn_worker_close(NULL), ==, 0);
    producer = producer_with(0);
    worker = worker_with(0);
    CHECK_STATUS(tarn_publisher_open(&publisher, TOPIC, NULL), TARN_ERROR_PATTERN);
    CHECK_STATUS(tarn_worker_take(worker, NULL), TARN_ERROR_ARGUMENT);
    CHECK_STATUS(tarn_producer_push(producer, NULL, 1), TARN_ERROR_ARGUMENT);
    CHECK_STATUS(tarn_worker_take((tarn_worker *)producer, &job), TARN_ERROR_CLOSED);
    CHECK_STATUS(tarn_producer_push((tarn_producer *)worker, "", 0), TARN_ERROR_CLOSED);
    tarn_producer_close(producer);
    tarn_worker_close(worker);
    CHECK_STATUS(tarn_producer_push(producer, "", 0), TARN_ERROR_CLOSED);
    CHECK_STATUS(tarn_worker_take(worker, &job), TARN_ERROR_CLOSED);
    CHECK_STATUS(tarn_producer_loan(producer, 1, &(tarn_loan){0}), TARN_ERROR_CLOSED);
    CHECK_STATUS(tarn_producer_flush(producer, 0), TARN_ERROR_CLOSED);
    CHECK_STATUS(tarn_producer_kept(producer, 0), TARN_ERROR_CLOSED);
    CHECK_STATUS(tarn_producer_workers(producer), TARN_ERROR_CLOSED);
    CHECK_STATUS(tarn_producer_close(producer), TARN_ERROR_CLOSED);
    CHECK_STATUS(tarn_worker_receive(worker, &job, 0), TARN_ERROR_CLOSED);
    CHECK_STATUS(tarn_worker_wait(worker, 0), TARN_ERROR_CLOSED);
    CHECK_STATUS(tarn_worker_fd(worker), TARN_ERROR_CLOSED);
    CHECK_STATUS(tarn_worker_interrupt(worker), TARN_ERROR_CLOSED);
    CHECK_STATUS(tarn_worker_close(worker), TARN_ERROR_CLOSED);
}

/* ---- a peer that writes nonsense ------------------------------------------------------------------------------- */

/* A limit so short that each look starts again at the first message, which lies where nobody can attach it. */
TEST_LIMIT(a_wait_for_what_cannot_be_had_ends, 20) {
    tarn_producer *producer = producer_with(.capacity = 16, .claim_limit_ns = 1);
    struct topic *topic;
    uint32_t slot;
    push_word(producer, 1);
    process_lock();
    CHECK_STATUS(topic_join(&topic, &slot, TOPIC, NULL, NULL, SUBSCRIBER, PATTERN_QUEUE), 0);
    process_unlock();
    struct queue_ring ring;
    CHECK(queue_find(&ring, &topic->roster, roster_publisher(&topic->roster, 0)));
    atomic_store(&queue_cell_of(&ring, 0)->place, place_word(extent_ref_make(30, 0), 64));
    tarn_worker *worker = worker_with(0);
    CHECK_STATUS(tarn_worker_wait(worker, NS_PER_MS), 0);
    takes_nothing(worker);
    CHECK_STATUS(tarn_worker_close(worker), 0);
    process_lock();
    subscriber_slot_clear(topic, slot, false);
    topic_leave(topic, SUBSCRIBER, slot);
    process_unlock();
    CHECK_STATUS(tarn_producer_close(producer), 1);
}
