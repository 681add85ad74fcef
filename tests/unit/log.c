/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * The log as a publisher writes it and a subscriber reads it, in one thread: where records lie, every size, loans in
 * any order, what is kept, what is dropped, what is lost. Addresses of payloads tell where records lie, as mappings
 * start at pages.
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "common.h"
#include "base/machine.h"
#include "base/os.h"
#include "core/inspect.h"
#include "core/publisher.h"
#include "shm/writer.h"

static int64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

/* Sends messages first to last, all of that size. */
static void send_range(tarn_publisher *publisher, size_t bytes, uint64_t first, uint64_t last) {
    for (uint64_t i = first; i <= last; i++)
        CHECK_STATUS(send_pattern(publisher, bytes, i), 1);
}

/* Takes, checks and releases message number sequence. */
static void expect(tarn_subscriber *subscriber, size_t bytes, uint64_t sequence, uint64_t lost) {
    tarn_message message;
    take_one(subscriber, &message);
    CHECK_INT(message.sequence, ==, sequence);
    CHECK_INT(message.lost, ==, lost);
    check_contents(&message, bytes);
    release(&message);
}

static void expect_nothing(tarn_subscriber *subscriber) {
    tarn_message message;
    CHECK_STATUS(tarn_subscriber_take(subscriber, &message), 0);
}

static void close_both(tarn_publisher *publisher, tarn_subscriber *subscriber) {
    CHECK_STATUS(tarn_subscriber_close(subscriber), 0);
    CHECK_STATUS(tarn_publisher_close(publisher), 0);
}

/* ---- where records lie ---------------------------------------------------------------------------------------- */

static int publish_pattern(tarn_publisher *publisher, size_t bytes, uint64_t sequence) {
    char data[SHORT_PAYLOAD_BYTES];
    fill_pattern(data, bytes, pattern_of(tarn_publisher_identity(publisher), sequence));
    return tarn_publisher_publish(publisher, data, bytes);
}

/* Distance between the payloads of two messages of that size that follow each other. */
static ptrdiff_t stride(size_t bytes, uint32_t timestamps, int (*send)(tarn_publisher *, size_t, uint64_t)) {
    tarn_publisher *publisher = publisher_with(.timestamps = timestamps);
    tarn_subscriber *subscriber = subscriber_with();
    tarn_message message;
    const char *place[3];
    for (int i = 0; i < 3; i++) {
        CHECK_STATUS(send(publisher, bytes, (uint64_t)i + 1), 1);
        take_one(subscriber, &message);
        check_contents(&message, bytes);
        place[i] = message.data;
        release(&message);
    }
    close_both(publisher, subscriber);
    return place[2] - place[1];
}

static ptrdiff_t stride_of(size_t bytes, uint32_t timestamps) {
    return stride(bytes, timestamps, send_pattern);
}

TEST(small_records_are_packed_others_start_lines) {
    CHECK_INT(stride_of(0, 0), ==, 8);
    CHECK_INT(stride_of(1, 0), ==, 16);
    CHECK_INT(stride_of(8, 0), ==, 16);
    CHECK_INT(stride_of(24, 0), ==, 32);
    CHECK_INT(stride_of(25, 0), ==, 64);
    CHECK_INT(stride_of(56, 0), ==, 64);
    CHECK_INT(stride_of(57, 0), ==, 128);
    CHECK_INT(stride_of(1000, 0), ==, 1024);
    CHECK_INT(stride_of(0, 1), ==, 16);
    CHECK_INT(stride_of(16, 1), ==, 32);
    CHECK_INT(stride_of(17, 1), ==, 64);
}

TEST(published_ones_of_a_line_and_a_word_share_lines) {
    static const struct {
        size_t bytes;
        ptrdiff_t stride, timed;
    } sizes[] = {{8, 16, 24},   {24, 32, 64},   {25, 64, 64},    {56, 64, 128},   {57, 72, 128},
                 {64, 72, 128}, {65, 128, 128}, {128, 192, 192}, {184, 192, 256}, {256, 320, 320}};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        CHECK_INT(stride(sizes[i].bytes, 0, publish_pattern), ==, sizes[i].stride);
        CHECK_INT(stride(sizes[i].bytes, 1, publish_pattern), ==, sizes[i].timed);
    }
}

TEST(larger_records_start_at_a_line) {
    tarn_publisher *publisher = publisher_with();
    tarn_subscriber *subscriber = subscriber_with();
    tarn_message message;
    for (uint64_t i = 1; i <= 2000; i++) {
        CHECK_STATUS(send_pattern(publisher, 100, i), 1);
        take_one(subscriber, &message);
        CHECK_INT((uintptr_t)message.data % 64, ==, 8);
        release(&message);
    }
    close_both(publisher, subscriber);
}

/* Loans and messages of one publisher: sizes from 0 to beyond an extent, in a row and mixed, sent and overtaken. */
static void check_alignment(uint32_t alignment, uint32_t timestamps, struct random *random) {
    tarn_publisher *publisher = publisher_with(.alignment = alignment, .timestamps = timestamps);
    tarn_subscriber *subscriber = subscriber_with(.reliable = 1);
    tarn_message message;
    tarn_loan loan, overtaken = {0};
    uint32_t expected = alignment < 8 ? 8 : alignment;
    for (uint64_t i = 1; i <= 300; i++) {
        size_t bytes = random_one_in(random, 20) ? random_between(random, 0, 200000) : random_between(random, 0, 600);
        CHECK_STATUS(tarn_publisher_loan(publisher, bytes, &loan), 1);
        CHECK_INT((uintptr_t)loan.data % expected, ==, 0);
        if (overtaken.loaned_by) {
            tarn_loan newer = loan;
            loan = overtaken;
            overtaken = newer;
        } else if (random_one_in(random, 4)) {
            overtaken = loan;
            i--;
            continue;
        }
        bytes = loan.bytes;
        fill_pattern(loan.data, bytes, pattern_of(tarn_publisher_identity(publisher), i));
        CHECK_STATUS(tarn_loan_send(&loan), 1);
        take_one(subscriber, &message);
        CHECK_INT((uintptr_t)message.data % expected, ==, 0);
        check_contents(&message, bytes);
        release(&message);
    }
    close_both(publisher, subscriber);
}

TEST(payloads_are_aligned_as_asked_for) {
    struct random random = random_start(1);
    for (uint32_t alignment = 1; alignment <= 4096; alignment *= 2)
        for (uint32_t timestamps = 0; timestamps <= 1; timestamps++)
            check_alignment(alignment, timestamps, &random);
}

TEST(alignment_of_the_type_is_the_default) {
    tarn_type type = {.struct_bytes = sizeof type, .name = "aligned", .alignment = 256};
    tarn_publisher *publisher = publisher_with(.type = &type);
    tarn_loan loan;
    for (int i = 0; i < 10; i++) {
        CHECK_STATUS(tarn_publisher_loan(publisher, 40, &loan), 1);
        CHECK_INT((uintptr_t)loan.data % 256, ==, 0);
        CHECK_STATUS(tarn_loan_send(&loan), 1);
    }
    CHECK_STATUS(tarn_publisher_close(publisher), 0);
}

/* ---- sizes ---------------------------------------------------------------------------------------------------- */

static const size_t mixed_sizes[] = {0, 1, 8, 64 * KIB - 1, 64 * KIB, 64 * KIB + 1, 3 * MIB, 64 * MIB};
#define MIXED_COUNT (sizeof mixed_sizes / sizeof mixed_sizes[0])

/* Up and down the sizes, so that each follows larger and smaller ones. */
TEST(all_sizes_mix_in_one_topic) {
    tarn_publisher *publisher = publisher_with(.memory_limit_bytes = 512 * MIB);
    tarn_subscriber *subscriber = subscriber_with(.reliable = 1);
    for (uint64_t i = 0; i < 2 * MIXED_COUNT; i++) {
        size_t bytes = mixed_sizes[i < MIXED_COUNT ? i : 2 * MIXED_COUNT - 1 - i];
        CHECK_STATUS(send_pattern(publisher, bytes, i + 1), 1);
        expect(subscriber, bytes, i + 1, 0);
    }
    close_both(publisher, subscriber);
}

TEST(all_sizes_are_kept_together) {
    tarn_publisher *publisher = publisher_with(.memory_limit_bytes = 512 * MIB);
    tarn_subscriber *subscriber = subscriber_with(.reliable = 1);
    for (uint64_t i = 0; i < MIXED_COUNT; i++)
        CHECK_STATUS(send_pattern(publisher, mixed_sizes[MIXED_COUNT - 1 - i], i + 1), 1);
    for (uint64_t i = 0; i < MIXED_COUNT; i++)
        expect(subscriber, mixed_sizes[MIXED_COUNT - 1 - i], i + 1, 0);
    close_both(publisher, subscriber);
}

/* Every size around what decides between packing, lines, and the size of an extent. */
TEST(sizes_around_bounds) {
    tarn_publisher *publisher = publisher_with();
    tarn_subscriber *subscriber = subscriber_with(.reliable = 1);
    uint64_t sequence = 0;
    for (size_t bytes = 0; bytes <= 300; bytes++) {
        CHECK_STATUS(send_pattern(publisher, bytes, ++sequence), 1);
        expect(subscriber, bytes, sequence, 0);
    }
    for (size_t bytes = 64 * KIB - 300; bytes <= 64 * KIB + 80; bytes++) {
        CHECK_STATUS(send_pattern(publisher, bytes, ++sequence), 1);
        expect(subscriber, bytes, sequence, 0);
    }
    close_both(publisher, subscriber);
}

TEST_LIMIT(a_gigabyte, 60) {
    if (harness_memory_bytes() < 1600 * MIB)
        SKIP("less than 1.6 GB of memory are free");
    tarn_publisher *publisher = publisher_with(.memory_limit_bytes = 1200 * MIB);
    tarn_subscriber *subscriber = subscriber_with(.reliable = 1);
    CHECK_STATUS(send_pattern(publisher, 8, 1), 1);
    CHECK_STATUS(send_pattern(publisher, 1024 * MIB, 2), 1);
    CHECK_STATUS(send_pattern(publisher, 1, 3), 1);
    expect(subscriber, 8, 1, 0);
    expect(subscriber, 1024 * MIB, 2, 0);
    expect(subscriber, 1, 3, 0);
    close_both(publisher, subscriber);
}

/* ---- the memory limit ----------------------------------------------------------------------------------------- */

static void check_limit(uint64_t limit, uint32_t alignment, uint32_t timestamps) {
    tarn_publisher *publisher =
        publisher_with(.memory_limit_bytes = limit, .alignment = alignment, .timestamps = timestamps);
    tarn_subscriber *subscriber = subscriber_with(.reliable = 1);
    tarn_loan loan;
    CHECK_STATUS(tarn_publisher_loan(publisher, limit + 1, &loan), TARN_ERROR_TOO_BIG);
    CHECK_STATUS(tarn_publisher_loan(publisher, SIZE_MAX, &loan), TARN_ERROR_TOO_BIG);
    CHECK_STATUS(tarn_publisher_publish(publisher, &loan, SIZE_MAX - 7), TARN_ERROR_TOO_BIG);
    CHECK_STATUS(send_pattern(publisher, limit, 1), 1);
    expect(subscriber, limit, 1, 0);
    close_both(publisher, subscriber);
}

TEST(a_message_may_be_as_large_as_the_limit) {
    const uint64_t limits[] = {512 * KIB, 512 * KIB + 1, MIB, 3 * MIB + 4095, 20 * MIB};
    for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++) {
        check_limit(limits[i], 0, 0);
        check_limit(limits[i], 4096, 1);
    }
}

/* Nobody holds anything, and the default depth gives way: so each must be sent, without a wait. */
static void check_many_large(uint64_t limit, uint64_t bytes) {
    tarn_publisher *publisher = publisher_with(.memory_limit_bytes = limit, .when_full = TARN_FULL_FAIL);
    tarn_subscriber *subscriber = subscriber_with(.reliable = 1);
    for (uint64_t i = 1; i <= 4; i++) {
        CHECK_STATUS(send_pattern(publisher, bytes, i), 1);
        expect(subscriber, bytes, i, 0);
        expect_nothing(subscriber);
    }
    CHECK_STATUS(tarn_subscriber_close(subscriber), 0);
    for (uint64_t i = 5; i <= 8; i++)
        CHECK_STATUS(send_pattern(publisher, bytes, i), 1);
    CHECK_STATUS(tarn_publisher_close(publisher), 0);
}

TEST(messages_of_a_third_of_the_limit_follow_each_other) {
    check_many_large(3 * MIB, MIB - 64 * KIB);
}

TEST(messages_as_large_as_the_limit_follow_each_other) {
    check_many_large(MIB, MIB);
}

static uint64_t bytes_held(void) {
    struct inspect_domain *domain;
    CHECK_STATUS(inspect_domain_open(&domain, NULL, NULL), 0);
    CHECK_INT(domain->topic_count, ==, 1);
    CHECK(domain->topics[0].participants[0].publisher);
    uint64_t bytes = domain->topics[0].participants[0].bytes_held;
    inspect_domain_close(domain);
    return bytes;
}

TEST(memory_stays_within_the_limit) {
    struct random random = random_start(1);
    uint64_t limit = 2 * MIB;
    tarn_publisher *publisher = publisher_with(.memory_limit_bytes = limit, .when_full = TARN_FULL_FAIL);
    tarn_subscriber *subscriber = subscriber_with(.reliable = 1);
    uint64_t most = 0, full = 0;
    for (int i = 0; i < 3000; i++) {
        size_t bytes = random_between(&random, 0, 1u << random_between(&random, 0, 18));
        int result = send_pattern(publisher, bytes, 0);
        if (result != 1)
            CHECK_STATUS(result, TARN_ERROR_FULL);
        full += result != 1;
        tarn_message message;
        while (result != 1 && tarn_subscriber_take(subscriber, &message) == 1)
            release(&message);
        if (i % 16 == 0 && bytes_held() > most)
            most = bytes_held();
    }
    CHECK_INT(full, >, 0);
    CHECK_INT(most, >=, limit / 2);
    /* Beyond it: what surrounds a message as large as the limit, and an extent in which the subscriber is. */
    CHECK_INT(most, <=, limit + 3 * 64 * KIB + 384 * KIB);
    close_both(publisher, subscriber);
}

TEST(types_bound_their_messages) {
    tarn_type type = {.struct_bytes = sizeof type, .name = "fixed", .bytes = 100};
    tarn_publisher *publisher = publisher_with(.type = &type);
    tarn_loan loan;
    CHECK_STATUS(tarn_publisher_loan(publisher, 101, &loan), TARN_ERROR_TOO_BIG);
    CHECK_STATUS(send_pattern(publisher, 100, 1), 1);
    CHECK_STATUS(send_pattern(publisher, 99, 2), 1);
    CHECK_STATUS(tarn_publisher_close(publisher), 0);
}

TEST(realtime_publisher_lives_in_what_it_has) {
    tarn_publisher *publisher = publisher_with(.realtime = 1, .when_full = TARN_FULL_FAIL);
    tarn_subscriber *subscriber = subscriber_with(.reliable = 1, .realtime = 1);
    tarn_loan loan;
    CHECK_STATUS(tarn_publisher_loan(publisher, MIB + 1, &loan), TARN_ERROR_TOO_BIG);
    for (uint64_t i = 1; i <= 3000; i++) {
        size_t bytes = i % 7 * 20000;
        CHECK_STATUS(send_pattern(publisher, bytes, i), 1);
        CHECK_INT(tarn_subscriber_wait(subscriber, 0), ==, 1);
        expect(subscriber, bytes, i, 0);
    }
    CHECK_INT(bytes_held(), <=, MIB + 3 * 64 * KIB);
    close_both(publisher, subscriber);
}

/* Sends so many bytes in all; pause_ns: after each extent, about. */
static void check_memory_used(size_t bytes, uint64_t total, int64_t pause_ns, uint32_t realtime, uint64_t most) {
    tarn_publisher *publisher = publisher_with(.realtime = realtime, .memory_limit_bytes = realtime ? 32 * MIB : 0);
    tarn_subscriber *subscriber = subscriber_with(.reliable = 1);
    for (uint64_t i = 1; i <= total / (8 + bytes); i++) {
        CHECK_STATUS(send_pattern(publisher, bytes, i), 1);
        expect(subscriber, bytes, i, 0);
        if (i % (64 * KIB / (8 + bytes)) == 0)
            nanosleep(&(struct timespec){0, pause_ns}, NULL);
    }
    CHECK_INT(bytes_held(), <=, most);
    close_both(publisher, subscriber);
}

/* Though more is at hand: few lines go round. */
TEST(small_messages_stay_in_memory_that_was_used) {
    for (uint32_t realtime = 0; realtime <= 1; realtime++) {
        check_memory_used(8, MIB, 12000000, realtime, 256 * KIB + 3 * 64 * KIB);
        check_memory_used(1000, MIB, 12000000, realtime, 256 * KIB + 3 * 64 * KIB);
        check_memory_used(30000, MIB, 12000000, realtime, 256 * KIB + 3 * 64 * KIB);
    }
}

/* Where there is that much: here since the reader fell behind once. */
TEST(streams_rotate_through_more_than_a_cache_holds) {
    enum { BLOCKS_MAX = 4096, BYTES = 1000 };
    static uintptr_t blocks[BLOCKS_MAX];
    uint64_t rotation = machine_rotation_bytes(), count = 2 * rotation / (8 + BYTES), used = 0;
    tarn_publisher *publisher = publisher_with(.memory_limit_bytes = 4 * rotation);
    tarn_subscriber *subscriber = subscriber_with(.reliable = 1);
    send_range(publisher, BYTES, 1, count);
    for (uint64_t i = 1; i <= count; i++)
        expect(subscriber, BYTES, i, 0);
    for (uint64_t i = 1, at; i <= count; i++) {
        tarn_message message;
        send_range(publisher, BYTES, count + i, count + i);
        take_one(subscriber, &message);
        uintptr_t block = (uintptr_t)message.data / EXTENT_BYTES_MIN;
        for (at = 0; at < used && blocks[at] != block; at++)
            ;
        if (at == used && used < BLOCKS_MAX)
            blocks[used++] = block;
        CHECK_STATUS(tarn_message_release(&message), 0);
    }
    CHECK_INT(used * EXTENT_BYTES_MIN, >=, rotation / 2);
    close_both(publisher, subscriber);
}

/* Memory held after so many messages that so many subscribers have taken, each at once. */
static uint64_t held_with_readers(size_t bytes, int count, uint32_t subscribers) {
    enum { MOST = 64 };
    tarn_subscriber *opened[MOST];
    tarn_publisher *publisher = publisher_with();
    for (uint32_t i = 0; i < subscribers; i++)
        opened[i] = subscriber_with();
    for (uint64_t i = 1; i <= (uint64_t)count; i++) {
        CHECK_STATUS(send_pattern(publisher, bytes, i), 1);
        for (uint32_t k = 0; k < subscribers; k++)
            expect(opened[k], bytes, i, 0);
    }
    uint64_t held = bytes_held();
    for (uint32_t i = 0; i < subscribers; i++)
        CHECK_STATUS(tarn_subscriber_close(opened[i]), 0);
    CHECK_INT(tarn_publisher_close(publisher), >=, 0);
    return held;
}

/* Looking at them more often costs less than writing where caches have not got the memory. */
TEST(large_messages_to_many_readers_go_round_in_no_more_memory) {
    CHECK_INT(held_with_readers(100 * KIB, 100, 64), ==, held_with_readers(100 * KIB, 100, 1));
}

/* In how many places messages of 256 KiB lie, one after the other. */
static int places_with_rotation(uint64_t rotation_bytes) {
    enum { COUNT = 100 };
    const void *places[COUNT];
    int used = 0, at;
    tarn_publisher *publisher = publisher_with(.depth = 1, .rotation_bytes = rotation_bytes);
    tarn_subscriber *subscriber = subscriber_with();
    for (int i = 0; i < COUNT; i++) {
        tarn_message message;
        CHECK_STATUS(send_pattern(publisher, 256 * KIB, (uint64_t)i), 1);
        take_one(subscriber, &message);
        for (at = 0; at < used && places[at] != message.data; at++)
            ;
        if (at == used)
            places[used++] = message.data;
        release(&message);
    }
    close_both(publisher, subscriber);
    return used;
}

/* One is kept, one read, and one is ready for the next; what is asked for is not exceeded to retire several at once. */
TEST(large_messages_go_round_in_as_little_as_is_asked_for) {
    CHECK_INT(places_with_rotation(1), ==, 3);
    CHECK_INT(places_with_rotation(64 * MIB), >, 3);
}

/* The reader's next extent was retired long ago, and lay in a segment that it had not attached. */
TEST(what_is_kept_is_read_though_the_way_there_has_gone) {
    enum { SMALL = 2000 };
    tarn_publisher *publisher = publisher_with();
    tarn_subscriber *subscriber = subscriber_with();
    send_range(publisher, KIB, 1, 3);
    expect(subscriber, KIB, 1, 0);
    CHECK_STATUS(send_pattern(publisher, MIB, 4), 1);
    send_range(publisher, KIB, 5, 4 + SMALL);
    CHECK_STATUS(tarn_publisher_close(publisher), 1); /* one is behind, and nobody waits for it */
    uint64_t taken = 1, last = 1, lost = 0;
    tarn_message message;
    for (; tarn_subscriber_take(subscriber, &message) == 1; taken++) {
        lost += message.lost;
        CHECK_INT(message.sequence, ==, last + 1 + message.lost);
        last = message.sequence;
        check_contents(&message, KIB);
        release(&message);
    }
    CHECK_INT(last, ==, 4 + SMALL);
    CHECK_INT(taken + lost, ==, 4 + SMALL);
    CHECK_INT(taken, >=, 3 + 8);
    CHECK_INT(tarn_subscriber_lost(subscriber), ==, lost);
    CHECK_STATUS(tarn_subscriber_close(subscriber), 0);
}

/* The log goes through a segment that the reader has not attached, with a message or without, and back. */
TEST(what_lies_behind_a_segment_that_has_gone_is_read) {
    for (uint64_t large = 0; large <= 1; large++) {
        tarn_publisher *publisher = publisher_with();
        tarn_subscriber *subscriber = subscriber_with();
        tarn_loan loan;
        send_range(publisher, 8, 1, 3);
        CHECK_STATUS(tarn_publisher_loan(publisher, MIB, &loan), 1);
        if (large) {
            fill_pattern(loan.data, MIB, pattern_of(tarn_publisher_identity(publisher), 4));
            CHECK_STATUS(tarn_loan_send(&loan), 1);
        } else
            CHECK_STATUS(tarn_loan_drop(&loan), 0);
        send_range(publisher, 8, 4 + large, 6 + large);
        CHECK_STATUS(tarn_publisher_flush(publisher, 0), 0); /* there is something that one cannot get to */
        CHECK_STATUS(tarn_publisher_close(publisher), 1);
        for (uint64_t i = 1; i <= 3; i++)
            expect(subscriber, 8, i, 0);
        expect(subscriber, 8, 4 + large, large);
        expect(subscriber, 8, 5 + large, 0);
        expect(subscriber, 8, 6 + large, 0);
        expect_nothing(subscriber);
        CHECK_INT(tarn_subscriber_lost(subscriber), ==, large);
        CHECK_STATUS(tarn_subscriber_close(subscriber), 0);
    }
}

/* A realtime subscriber attaches what was added only when it has to: to take what lies there. */
TEST(who_closes_does_not_wait_for_memory_to_be_attached_that_is_not_used_yet) {
    enum { SUBSCRIBERS = 8 };
    for (uint64_t count = 1; count <= 24; count++) {
        tarn_publisher *publisher = publisher_with();
        tarn_subscriber *subscribers[SUBSCRIBERS];
        for (int k = 0; k < SUBSCRIBERS; k++)
            subscribers[k] = subscriber_with(.realtime = 1);
        for (uint64_t i = 1; i <= count; i++) {
            CHECK_STATUS(send_pattern(publisher, 100 * KIB, i), 1);
            tarn_message message;
            bool there = tarn_subscriber_take(subscribers[0], &message) == 1;
            for (int k = 0; k < SUBSCRIBERS; k++) {
                if (!there)
                    CHECK_STATUS(tarn_subscriber_wait(subscribers[k], 0), 1);
                if (!there || k > 0)
                    take_one(subscribers[k], &message);
                release(&message);
            }
        }
        CHECK_STATUS(tarn_publisher_close(publisher), 0);
        for (int k = 0; k < SUBSCRIBERS; k++)
            CHECK_STATUS(tarn_subscriber_close(subscribers[k]), 0);
    }
}

static void lend_in_a_row(tarn_publisher *publisher, size_t bytes, int count) {
    for (int i = 0; i < count; i++) {
        tarn_loan loan;
        CHECK_STATUS(tarn_publisher_loan(publisher, bytes, &loan), 1);
        *(uint64_t *)loan.data = (uint64_t)i;
        CHECK_STATUS(tarn_loan_send(&loan), 1);
    }
}

/* As if all so far had been six seconds ago. */
static void age(struct extents *extents) {
    extents->sparse_ns -= INT64_C(6000000000);
    for (struct extent *extent = extents->free_large.head; extent; extent = extent->next)
        extent->freed_ns -= INT64_C(6000000000);
    extents->trimmed_ns = 0;
}

/* Their extents have hardly any memory, so several share one, and more are retired at once; not for good. */
TEST(large_messages_of_which_little_is_written_go_round_in_more) {
    size_t bytes = 16 * MIB;
    tarn_publisher *publisher = publisher_with(.depth = 1);
    struct extents *extents = &publisher->writer.extents;
    for (uint64_t i = 1; i <= 10; i++)
        CHECK_STATUS(send_pattern(publisher, bytes, i), 1);
    uint64_t written = bytes_held();
    CHECK_INT(written, <=, 4 * (bytes + bytes / 8));
    lend_in_a_row(publisher, bytes, 1000);
    CHECK_INT(bytes_held(), >=, written + 3 * bytes);
    for (uint64_t i = 1; i <= 80; i++) {
        if (i % 20 == 0)
            age(extents);
        CHECK_STATUS(send_pattern(publisher, bytes, i), 1);
    }
    CHECK_INT(bytes_held(), <=, written + bytes + bytes / 8);
    CHECK_INT(tarn_publisher_close(publisher), >=, 0);
}

/* How many extents were used for so many of them. */
static uint64_t extents_for(tarn_publisher *publisher, size_t bytes, int count) {
    uint64_t before = publisher->writer.extents.generation;
    lend_in_a_row(publisher, bytes, count);
    return publisher->writer.extents.generation - before;
}

/* As many as 64 MB have room for, but four at least, and 64 at most. */
TEST(of_large_messages_of_which_little_is_written_the_smaller_share_an_extent_with_more) {
    static const struct {
        size_t bytes;
        int messages, extents;
    } shared[] = {{64 * KIB, 640, 10}, {MIB, 630, 10}, {4 * MIB, 150, 10}, {16 * MIB, 40, 10}};
    for (size_t i = 0; i < sizeof shared / sizeof shared[0]; i++) {
        tarn_publisher *publisher = publisher_with(.depth = 1, .memory_limit_bytes = 4096 * MIB);
        lend_in_a_row(publisher, shared[i].bytes, 1000);
        CHECK_INT(extents_for(publisher, shared[i].bytes, shared[i].messages), >=, (uint64_t)shared[i].extents - 1);
        CHECK_INT(extents_for(publisher, shared[i].bytes, shared[i].messages), <=, (uint64_t)shared[i].extents + 1);
        CHECK_INT(tarn_publisher_close(publisher), >=, 0);
    }
}

static uint64_t address_space_bytes(void) {
    unsigned long long pages = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    CHECK(file && fscanf(file, "%llu", &pages) == 1);
    fclose(file);
    return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

/* Of which segments are made. */
static uint64_t memory_left = UINT64_MAX;

int shmget(key_t key, size_t bytes, int flags) {
    if (flags & IPC_CREAT && bytes > memory_left) {
        errno = ENOMEM;
        return -1;
    }
    int id = (int)syscall(SYS_shmget, key, bytes, flags);
    if (flags & IPC_CREAT && id >= 0)
        memory_left -= bytes;
    return id;
}

/* What is free does for others, though in pieces of another size. */
TEST(what_is_free_is_cut_anew_where_no_memory_can_be_added) {
    for (uint64_t left = 12 * MIB; left <= 80 * MIB; left += 4 * MIB) {
        memory_left = left;
        tarn_publisher *publisher = publisher_with();
        lend_in_a_row(publisher, 512 * KIB, 4000);
        lend_in_a_row(publisher, 2 * MIB, 1000);
        memory_left = UINT64_MAX;
        CHECK_INT(tarn_publisher_close(publisher), >=, 0);
    }
}

/* No message that is kept is given up for an extent that several are to share. */
TEST(nothing_kept_is_lost_where_there_is_no_memory_to_share) {
    for (uint64_t left = 12 * MIB; left <= 80 * MIB; left += 4 * MIB) {
        enum { BEHIND = 6, MESSAGES = 400 };
        tarn_publisher *publisher = publisher_with();
        tarn_subscriber *subscriber = subscriber_with();
        memory_left = left;
        for (uint64_t i = 1; i <= MESSAGES; i++) {
            lend_in_a_row(publisher, 512 * KIB, 1);
            if (i <= BEHIND)
                continue;
            tarn_message message;
            take_one(subscriber, &message);
            CHECK_INT(message.sequence, ==, i - BEHIND);
            release(&message);
        }
        memory_left = UINT64_MAX;
        close_both(publisher, subscriber);
    }
}

/* Where there is no memory for an extent that they share, each has its own. */
TEST(large_messages_go_on_where_there_is_no_memory_to_share) {
    for (uint64_t spare = 8 * MIB; spare <= 96 * MIB; spare += 4 * MIB) {
        tarn_publisher *publisher = publisher_with(.depth = 1);
        CHECK_STATUS(send_pattern(publisher, 2 * MIB, 1), 1);
        struct rlimit limit, old;
        CHECK_INT(getrlimit(RLIMIT_AS, &old), ==, 0);
        limit = (struct rlimit){address_space_bytes() + spare, old.rlim_max};
        CHECK_INT(setrlimit(RLIMIT_AS, &limit), ==, 0);
        lend_in_a_row(publisher, 2 * MIB, 1000);
        CHECK_INT(setrlimit(RLIMIT_AS, &old), ==, 0);
        CHECK_INT(tarn_publisher_close(publisher), >=, 0);
    }
}

/* What is kept keeps all of its extent. */
TEST(sharing_extents_makes_no_publisher_full) {
    tarn_publisher *publisher = publisher_with(.depth = 31, .memory_limit_bytes = 37000 * KIB);
    lend_in_a_row(publisher, MIB, 300);
    CHECK(publisher->writer.extents.is_sparse);
    CHECK_INT(tarn_publisher_close(publisher), >=, 0);
}

/* It would be pinned by them, and written all over. */
TEST(small_messages_do_not_go_where_large_ones_share_an_extent) {
    tarn_publisher *publisher = publisher_with();
    tarn_subscriber *subscriber = subscriber_with();
    lend_in_a_row(publisher, MIB, 200);
    while (publisher->writer.at - publisher->writer.head->base != MIB + CACHE_LINE_BYTES)
        lend_in_a_row(publisher, MIB, 1);
    CHECK_INT(publisher->writer.head->bytes, >=, 4 * MIB);
    CHECK_STATUS(send_pattern(publisher, 100, 1), 1);
    CHECK_INT(publisher->writer.head->bytes, ==, EXTENT_BYTES_MIN);
    int small = 0;
    for (tarn_message message; tarn_subscriber_take(subscriber, &message) == 1; release(&message))
        small += message.bytes == 100;
    CHECK_INT(small, ==, 1);
    close_both(publisher, subscriber);
}

/*
 * Sends messages of all sizes, some of which are held for a while, so that memory ends up in pieces; then all are let
 * go.
 */
static void fragment(tarn_publisher *publisher, tarn_subscriber *subscriber, struct random *random) {
    enum { HELD = 6 };
    tarn_message held[HELD] = {{0}}, message;
    for (int i = 0; i < 20; i++) {
        size_t bytes = random_one_in(random, 3) ? MIB : random_between(random, 1, 900) * KIB;
        int result = send_pattern(publisher, bytes, 0);
        CHECK(result == 1 || result == TARN_ERROR_FULL);
        CHECK_INT(tarn_subscriber_wait(subscriber, 0), >=, 0);
        while (tarn_subscriber_take(subscriber, &message) == 1) {
            tarn_message *place = &held[random_between(random, 0, HELD - 1)];
            if (place->held_by)
                release(place);
            *place = message;
            if (!random_one_in(random, 3))
                release(place);
        }
    }
    for (int i = 0; i < HELD; i++)
        if (held[i].held_by)
            release(&held[i]);
}

/*
 * Where a subscriber keeps the memory that it is in until it looks again: in so many tries, after each of which it
 * looks.
 */
static void send_within(tarn_publisher *publisher, tarn_subscriber *subscriber, size_t bytes, int tries) {
    int result = send_pattern(publisher, bytes, 0);
    for (int i = 1; i < tries && result == TARN_ERROR_FULL; i++) {
        CHECK_STATUS(tarn_subscriber_wait(subscriber, 0), 0);
        expect_nothing(subscriber);
        result = send_pattern(publisher, bytes, 0);
    }
    CHECK_STATUS(result, 1);
}

TEST(realtime_publisher_puts_its_fragments_together) {
    struct random random = random_start(1);
    for (int i = 0; i < 100; i++) {
        tarn_publisher *publisher = publisher_with(.realtime = 1, .when_full = TARN_FULL_FAIL);
        tarn_subscriber *subscriber = subscriber_with(.reliable = 1);
        fragment(publisher, subscriber, &random);
        send_within(publisher, subscriber, random_between(&random, 100, 1024) * KIB, 4);
        close_both(publisher, subscriber);
    }
}

/* Nobody holds anything, and the default depth gives way: so each must be sent, whatever came before. */
static void send_any_sizes(uint64_t limit, uint32_t realtime, int tries, struct random *random) {
    tarn_publisher *publisher =
        publisher_with(.memory_limit_bytes = limit, .realtime = realtime, .when_full = TARN_FULL_FAIL);
    tarn_subscriber *subscriber = subscriber_with(.reliable = 1);
    tarn_message message;
    for (int i = 0; i < 20; i++) {
        send_within(publisher, subscriber, random_between(random, 0, limit), tries);
        CHECK_STATUS(tarn_subscriber_wait(subscriber, 0), 1);
        take_one(subscriber, &message);
        release(&message);
        expect_nothing(subscriber);
    }
    close_both(publisher, subscriber);
}

TEST(messages_of_any_size_up_to_the_limit_follow_each_other) {
    struct random random = random_start(1);
    for (int i = 0; i < 10; i++) {
        send_any_sizes(512 * KIB, 0, 1, &random);
        send_any_sizes(2 * MIB, 0, 1, &random);
        send_any_sizes(MIB, 1, 4, &random);
    }
}

/* ---- loans ---------------------------------------------------------------------------------------------------- */

#define LOANS 24

/* Opens, shrinks, sends and drops loans in any order among other messages; what is sent arrives so, in that order. */
static void shuffle_loans(struct random *random, uint64_t limit, size_t bytes_most) {
    tarn_publisher *publisher = publisher_with(.memory_limit_bytes = limit, .when_full = TARN_FULL_FAIL);
    tarn_subscriber *subscriber = subscriber_with(.reliable = 1);
    uint64_t identity = tarn_publisher_identity(publisher), sequence = 0;
    tarn_loan loans[LOANS] = {{0}};
    for (int step = 0; step < 1500; step++) {
        tarn_loan *loan = &loans[random_between(random, 0, LOANS - 1)];
        if (!loan->loaned_by) {
            if (tarn_publisher_loan(publisher, random_between(random, 0, bytes_most), loan) == 1)
                memset(loan->data, 0xee, loan->bytes);
            continue;
        }
        if (random_one_in(random, 4)) {
            CHECK_STATUS(tarn_loan_drop(loan), 0);
            continue;
        }
        loan->bytes = random_one_in(random, 2) ? loan->bytes : random_between(random, 0, loan->bytes);
        size_t bytes = loan->bytes;
        fill_pattern(loan->data, bytes, pattern_of(identity, sequence + 1));
        int result = tarn_loan_send(loan);
        if (result == TARN_ERROR_FULL)
            continue; /* it stays ours */
        CHECK_STATUS(result, 1);
        expect(subscriber, bytes, ++sequence, 0);
    }
    CHECK_INT(sequence, >, 300);
    close_both(publisher, subscriber); /* drops those still open */
}

TEST(loans_in_any_order) {
    struct random random = random_start(1);
    for (int i = 0; i < 10; i++) {
        shuffle_loans(&random, 64 * MIB, 1000);
        shuffle_loans(&random, 8 * MIB, 100000);
        shuffle_loans(&random, 2 * MIB, 40000);
    }
}

/* A loan stays open while its extent is retired and all around it is used again; then it is sent, twice over. */
static void send_after_retirement(size_t bytes) {
    tarn_publisher *publisher = publisher_with(.memory_limit_bytes = 4 * MIB, .when_full = TARN_FULL_FAIL);
    tarn_subscriber *subscriber = subscriber_with(.reliable = 1);
    uint64_t identity = tarn_publisher_identity(publisher), sequence = 0;
    tarn_loan first, second;
    tarn_message held[2];
    CHECK_STATUS(tarn_publisher_loan(publisher, bytes, &first), 1);
    CHECK_STATUS(tarn_publisher_loan(publisher, bytes, &second), 1);
    fill_pattern(first.data, bytes, 77);
    for (int i = 0; i < 300; i++) {
        CHECK_STATUS(send_pattern(publisher, 50000, ++sequence), 1);
        expect(subscriber, 50000, sequence, 0);
    }
    CHECK(check_pattern(first.data, bytes, 77));
    fill_pattern(second.data, bytes, pattern_of(identity, ++sequence));
    CHECK_STATUS(tarn_loan_send(&second), 1);
    fill_pattern(first.data, bytes, pattern_of(identity, ++sequence));
    CHECK_STATUS(tarn_loan_send(&first), 1);
    for (int i = 0; i < 2; i++) {
        take_one(subscriber, &held[i]);
        CHECK_INT(held[i].sequence, ==, sequence - 1 + (uint64_t)i);
    }
    for (int i = 0; i < 300; i++) {
        CHECK_STATUS(send_pattern(publisher, 50000, ++sequence), 1);
        expect(subscriber, 50000, sequence, 0);
    }
    for (int i = 0; i < 2; i++) {
        check_contents(&held[i], bytes);
        release(&held[i]);
    }
    close_both(publisher, subscriber);
}

TEST(loans_outlive_their_extents_retirement) {
    send_after_retirement(0);
    send_after_retirement(100);
    send_after_retirement(30000);
    send_after_retirement(500000);
}

/* Extents that were given a new generation for a late loan are retired again, not leaked. */
TEST(late_loans_leak_no_memory) {
    tarn_publisher *publisher = publisher_with(.memory_limit_bytes = 2 * MIB, .when_full = TARN_FULL_FAIL);
    tarn_loan loan;
    for (int round = 0; round < 200; round++) {
        CHECK_STATUS(tarn_publisher_loan(publisher, 60000, &loan), 1);
        for (uint64_t i = 0; i < 20; i++)
            CHECK_STATUS(send_pattern(publisher, 60000, 0), 1);
        CHECK_STATUS(round % 3 ? tarn_loan_send(&loan) : tarn_loan_drop(&loan), round % 3 ? 1 : 0);
    }
    CHECK_STATUS(tarn_publisher_close(publisher), 0);
}

/* Many small loans overtaken by each other: each keeps its extent, none its neighbours' messages. */
TEST(many_open_loans) {
    static tarn_loan loans[5000];
    tarn_publisher *publisher = publisher_with();
    tarn_subscriber *subscriber = subscriber_with(.reliable = 1);
    uint64_t identity = tarn_publisher_identity(publisher);
    for (size_t i = 0; i < 5000; i++)
        CHECK_STATUS(tarn_publisher_loan(publisher, i % 300, &loans[i]), 1);
    for (size_t i = 0; i < 5000; i++) {
        tarn_loan *loan = &loans[(i * 1237) % 5000];
        size_t bytes = loan->bytes;
        fill_pattern(loan->data, bytes, pattern_of(identity, i + 1));
        CHECK_STATUS(tarn_loan_send(loan), 1);
        expect(subscriber, bytes, i + 1, 0);
    }
    close_both(publisher, subscriber);
}

/* ---- damaged logs --------------------------------------------------------------------------------------------- */

/* Where its next message would begin. */
static _Atomic uint64_t *next_word(tarn_publisher *publisher) {
    return word_at(publisher->writer.at, 0);
}

/* What a publisher wrote behind its first message is damage. Puts the log in order again, so that it can be closed. */
static void check_is_damage(tarn_publisher *publisher, uint64_t word) {
    tarn_subscriber *subscriber = subscriber_with(.history = 1);
    tarn_message message;
    take_one(subscriber, &message);
    release(&message);
    store_release(next_word(publisher), word);
    CHECK_STATUS(tarn_subscriber_take(subscriber, &message), TARN_ERROR_DAMAGED);
    CHECK_STATUS(tarn_subscriber_take(subscriber, &message), 0);
    store_release(next_word(publisher), 0);
    CHECK_STATUS(tarn_subscriber_close(subscriber), 0);
}

TEST(what_reaches_beyond_its_extent_is_damage) {
    tarn_publisher *publisher = publisher_with();
    CHECK_STATUS(tarn_publisher_publish(publisher, "12345678", 8), 1);
    uint64_t left = EXTENT_BYTES_MIN - (uint64_t)((char *)next_word(publisher) - publisher->writer.head->base);
    check_is_damage(publisher, record_word(RECORD_MESSAGE, left - RECORD_HEADER_BYTES - RECORD_JUMP_BYTES + 8, 0, 0));
    check_is_damage(publisher, record_word(RECORD_MESSAGE, UINT32_MAX, 0, 0));
    check_is_damage(publisher, record_word(RECORD_HOLE, left, 0, 0));
    CHECK_STATUS(tarn_publisher_close(publisher), 0);
}

/* One that leads to where it is itself, before any message, has all that a jump must have but this. */
TEST(jumps_lead_ahead) {
    tarn_publisher *publisher = publisher_with();
    tarn_subscriber *subscriber = subscriber_with();
    tarn_message message;
    struct record_jump *jump = (struct record_jump *)(void *)(publisher->writer.at + RECORD_HEADER_BYTES);
    jump->extent = publisher->writer.head->ref;
    jump->generation = publisher->writer.head->generation;
    store_release(next_word(publisher), record_word(RECORD_JUMP, 0, 0, 0));
    CHECK_STATUS(tarn_subscriber_take(subscriber, &message), TARN_ERROR_DAMAGED);
    store_release(next_word(publisher), 0);
    close_both(publisher, subscriber);
}

/* Damage that was met behind messages of another publisher is told, though there is always something to take. */
TEST(many_at_once_do_not_hide_damage) {
    tarn_publisher *damaged = publisher_with(), *other = publisher_with();
    tarn_subscriber *subscriber = subscriber_with(.reliable = 1);
    tarn_message messages[32];
    uint64_t taken = 0;
    int told = 0;
    CHECK_STATUS(tarn_publisher_publish(damaged, "12345678", 8), 1);
    store_release(next_word(damaged), UINT64_MAX);
    for (uint64_t round = 0; round < 10; round++) {
        for (uint64_t i = 1; i <= 3; i++)
            CHECK_STATUS(send_pattern(other, 8, 3 * round + i), 1);
        int result = tarn_subscriber_take_many(subscriber, messages, 32);
        told += result == TARN_ERROR_DAMAGED;
        CHECK(result > 0 || result == TARN_ERROR_DAMAGED);
        for (int i = 0; i < result; i++, taken++)
            release(&messages[i]);
    }
    CHECK_INT(told, ==, 1);
    CHECK_INT(taken, >=, 28);
    CHECK_STATUS(tarn_subscriber_close(subscriber), 0);
    CHECK_STATUS(tarn_publisher_close(other), 0);
    store_release(next_word(damaged), 0);
    CHECK_STATUS(tarn_publisher_close(damaged), 0);
}

/*
 * More drops than there are sequence numbers: whoever believed them would count anew, with more credit than there is.
 */
TEST(sequence_numbers_do_not_go_round) {
    tarn_publisher *publisher = publisher_with();
    tarn_subscriber *subscriber = subscriber_with(.reliable = 1);
    tarn_message message;
    CHECK_STATUS(tarn_publisher_publish(publisher, "12345678", 8), 1);
    take_one(subscriber, &message);
    release(&message);
    store_release(next_word(publisher), record_word(RECORD_DROPPED, RECORD_SIZE_MASK - 1, 0, 0));
    CHECK_STATUS(tarn_subscriber_take(subscriber, &message), TARN_ERROR_DAMAGED);
    CHECK_STATUS(tarn_subscriber_take(subscriber, &message), 0);
    store_release(next_word(publisher), 0);
    close_both(publisher, subscriber);
}

/* ---- when full ------------------------------------------------------------------------------------------------ */

TEST(drops_are_counted_as_lost_exactly) {
    tarn_publisher *publisher = publisher_with(.memory_limit_bytes = 512 * KIB, .when_full = TARN_FULL_DROP);
    tarn_subscriber *reliable = subscriber_with(.reliable = 1), *other = subscriber_with();
    static const char data[1000];
    tarn_message message;
    uint64_t sent = 0, dropped = 0, taken = 0, lost = 0;
    for (int round = 0; round < 5; round++) {
        for (int i = 0; i < 3000; i++) {
            int result = tarn_publisher_publish(publisher, data, sizeof data);
            CHECK(result == 0 || result == 1);
            *(result ? &sent : &dropped) += 1;
        }
        for (; tarn_subscriber_take(reliable, &message) == 1; taken++) {
            lost += message.lost;
            CHECK_INT(message.sequence, ==, taken + lost + 1);
            release(&message);
        }
    }
    CHECK_INT(dropped, >, 5000);
    CHECK_INT(taken, ==, sent);
    CHECK_STATUS(tarn_publisher_publish(publisher, data, 8), 1); /* tells of the last drops */
    take_one(reliable, &message);
    CHECK_INT(lost + message.lost, ==, dropped);
    CHECK_INT(message.sequence, ==, sent + dropped + 1);
    CHECK_INT(tarn_subscriber_lost(reliable), ==, dropped);
    release(&message);
    for (taken = 0; tarn_subscriber_take(other, &message) == 1; taken++)
        release(&message);
    CHECK_INT(taken + tarn_subscriber_lost(other), ==, sent + dropped + 1);
    CHECK_STATUS(tarn_subscriber_close(other), 0);
    close_both(publisher, reliable);
}

/* Though what tells of the drops was read by a look, and the next messages are like those before. */
TEST(drops_are_told_once_whoever_came_to_them) {
    tarn_publisher *publisher = publisher_with(.memory_limit_bytes = 512 * KIB, .when_full = TARN_FULL_DROP);
    tarn_subscriber *subscriber = subscriber_with(.reliable = 1, .max_held = 2);
    static const char data[8]; /* packed, so that all records are the same */
    tarn_message message, held[2];
    uint64_t lost = 0;
    for (int round = 0; round < 20; round++) {
        while (tarn_publisher_publish(publisher, data, sizeof(data)) == 1)
            ;
        while (tarn_subscriber_take(subscriber, &message) == 1)
            release(&message);
        for (int i = 0; i < 4; i++)
            CHECK_STATUS(tarn_publisher_publish(publisher, data, sizeof(data)), 1);
        if (round % 2)
            CHECK_STATUS(tarn_subscriber_wait(subscriber, 0), 1);
        for (int i = 0; i < 2; i++) {
            take_one(subscriber, &held[i]);
            CHECK_INT(held[i].lost, ==, i == 0);
        }
        CHECK_STATUS(tarn_subscriber_take(subscriber, &message), TARN_ERROR_HOLDING);
        CHECK_INT(tarn_subscriber_lost(subscriber), ==, ++lost);
        for (int i = 0; i < 2; i++) {
            release(&held[i]);
            take_one(subscriber, &message);
            CHECK_INT(message.lost, ==, 0);
            release(&message);
        }
    }
    close_both(publisher, subscriber);
}

static int drop_five(tarn_publisher *publisher) {
    int sent = 0;
    while (tarn_publisher_publish(publisher, "a number", 8) == 1) /* packed: then there is no place for the report */
        sent++;
    for (int i = 1; i < 5; i++)
        CHECK_STATUS(tarn_publisher_publish(publisher, "a number", 8), 0);
    return sent;
}

static void *close_in_time(void *publisher) {
    return (void *)(intptr_t)tarn_publisher_close(publisher);
}

/* Where all is kept by who is to be told, there is space for that as soon as he has taken it. */
TEST(drops_before_closing_are_told) {
    tarn_subscriber *subscriber = subscriber_with(.reliable = 1);
    tarn_publisher *publisher =
        open_publisher(TOPIC, PUBLISHER_OPTIONS(.memory_limit_bytes = 512 * KIB, .when_full = TARN_FULL_DROP,
                                                .linger_ns = TARN_FOREVER));
    tarn_message message;
    int sent = drop_five(publisher), taken = 0;
    pthread_t closer;
    void *behind;
    CHECK_INT(pthread_create(&closer, NULL, close_in_time, publisher), ==, 0);
    usleep(20000); /* so that it finds no space at first */
    for (int i = 0; i < 1000 && tarn_subscriber_lost(subscriber) == 0; i++)
        for (; tarn_subscriber_receive(subscriber, &message, INT64_C(1000000)) == 1; taken++)
            release(&message);
    CHECK_INT(pthread_join(closer, &behind), ==, 0);
    CHECK_STATUS(tarn_subscriber_take(subscriber, &message), 0);
    CHECK_INT(taken, ==, sent);
    CHECK_INT(tarn_subscriber_lost(subscriber), ==, 5);
    CHECK_INT((intptr_t)behind, ==, 0);
    CHECK_STATUS(tarn_subscriber_close(subscriber), 0);
}

/* So is what is held, where that counts: it is waited for as long as closing lingers. */
TEST(drops_before_closing_are_told_when_what_is_held_is_released) {
    enum { HELD = 200, OF_EACH_EXTENT = 2000 };
    static tarn_message held[HELD];
    tarn_subscriber *subscriber = subscriber_with(.max_held = HELD);
    tarn_publisher *publisher =
        open_publisher(TOPIC, PUBLISHER_OPTIONS(.memory_limit_bytes = 512 * KIB, .when_full = TARN_FULL_DROP,
                                                .realtime = 1, .depth = 1, .linger_ns = TARN_FOREVER));
    tarn_message message;
    int taken = 0;
    for (int i = 0; tarn_publisher_publish(publisher, "a number", 8) == 1; i++) { /* packed: see drop_five() */
        take_one(subscriber, &held[taken]);
        if (i % OF_EACH_EXTENT == 0)
            taken++;
        else
            release(&held[taken]);
    }
    pthread_t closer;
    void *behind;
    CHECK_INT(pthread_create(&closer, NULL, close_in_time, publisher), ==, 0);
    usleep(20000); /* so that it finds no space at first */
    for (int i = 0; i < taken; i++)
        release(&held[i]);
    CHECK_INT(pthread_join(closer, &behind), ==, 0);
    CHECK_INT((intptr_t)behind, ==, 0);
    CHECK_STATUS(tarn_subscriber_take(subscriber, &message), 0);
    CHECK_INT(tarn_subscriber_lost(subscriber), ==, 1);
    CHECK_STATUS(tarn_subscriber_close(subscriber), 0);
}

/* Where depth keeps all, they cannot be told; then flushing and closing say so. */
TEST(drops_that_cannot_be_told_are_not_kept_from_who_closes) {
    tarn_subscriber *subscriber = subscriber_with();
    tarn_publisher *publisher =
        publisher_with(.memory_limit_bytes = 512 * KIB, .when_full = TARN_FULL_DROP, .depth = 1000000);
    tarn_message message;
    drop_five(publisher);
    while (tarn_subscriber_take(subscriber, &message) == 1)
        release(&message);
    CHECK_STATUS(tarn_publisher_flush(publisher, 0), 0);
    CHECK_STATUS(tarn_publisher_close(publisher), 1);
    CHECK_STATUS(tarn_subscriber_close(subscriber), 0);
}

/* Who sleeps is woken for it, rather than to find it at the next look. */
TEST(a_report_of_drops_wakes) {
    tarn_subscriber *subscriber = subscriber_with(.reliable = 1);
    tarn_publisher *publisher = publisher_with(.memory_limit_bytes = 512 * KIB, .when_full = TARN_FULL_DROP);
    struct pollfd descriptor = {.fd = tarn_subscriber_fd(subscriber), .events = POLLIN};
    tarn_message message;
    for (int round = 0; round < 20; round++) {
        drop_five(publisher);
        do {
            while (tarn_subscriber_take(subscriber, &message) == 1)
                release(&message);
        } while (poll(&descriptor, 1, 0) != 0); /* be it for its look at the peers */
        CHECK_STATUS(tarn_publisher_flush(publisher, 0), 0);
        CHECK_INT(poll(&descriptor, 1, 0), ==, 1);
    }
    close_both(publisher, subscriber);
}

/* Until something was dropped; then all of it is taken. Returns the number of the next message. */
static uint64_t drop_some(tarn_publisher *publisher, tarn_subscriber *subscriber, uint64_t next,
                          uint64_t *ret_dropped) {
    tarn_message message;
    uint64_t sent = next;
    while (send_pattern(publisher, 60000, sent) == 1)
        sent++;
    *ret_dropped = 1;
    for (; tarn_subscriber_take(subscriber, &message) == 1; next++) {
        CHECK_INT(message.sequence, ==, next);
        release(&message);
    }
    CHECK_INT(next, ==, sent);
    return sent + *ret_dropped;
}

/*
 * What is larger than an extent comes in a new one, behind a report of drops, which takes an aligned place of its own.
 */
static void send_behind_drops(uint32_t alignment, uint32_t timestamps) {
    tarn_publisher *publisher = publisher_with(.memory_limit_bytes = 512 * KIB, .when_full = TARN_FULL_DROP,
                                               .alignment = alignment, .timestamps = timestamps);
    tarn_subscriber *subscriber = subscriber_with(.reliable = 1);
    uint64_t next = 1, dropped;
    for (size_t bytes = 66000; bytes < 83000; bytes += 500) { /* two sizes of extents and more */
        next = drop_some(publisher, subscriber, next, &dropped);
        CHECK_STATUS(send_pattern(publisher, bytes, next), 1);
        expect(subscriber, bytes, next++, dropped);
        CHECK_STATUS(send_pattern(publisher, bytes, next), 1);
        expect(subscriber, bytes, next++, 0);
        expect_nothing(subscriber);
    }
    close_both(publisher, subscriber);
}

TEST(aligned_messages_fit_behind_a_report_of_drops) {
    for (uint32_t alignment = 8; alignment <= 4096; alignment *= 2)
        for (uint32_t timestamps = 0; timestamps <= 1; timestamps++)
            send_behind_drops(alignment, timestamps);
}

TEST(full_fails_at_once_or_in_time_and_uses_no_sequence_number) {
    for (uint32_t when_full = TARN_FULL_WAIT; when_full <= TARN_FULL_FAIL; when_full++) {
        int64_t timeout_ns = (when_full == TARN_FULL_WAIT ? 50 : 5000) * INT64_C(1000000);
        tarn_publisher *publisher =
            publisher_with(.memory_limit_bytes = 512 * KIB, .when_full = when_full, .full_timeout_ns = timeout_ns);
        tarn_subscriber *subscriber = subscriber_with(.reliable = 1);
        uint64_t sent = 0;
        int64_t start = 0;
        int result;
        do
            start = now_ns();
        while ((result = send_pattern(publisher, 1000, sent + 1)) == 1 && ++sent);
        int64_t took_ns = now_ns() - start;
        CHECK_STATUS(result, TARN_ERROR_FULL);
        if (when_full == TARN_FULL_WAIT)
            CHECK_INT(took_ns, >=, timeout_ns);
        else
            CHECK_INT(took_ns, <, timeout_ns / 2);
        for (uint64_t i = 1; i <= sent; i++)
            expect(subscriber, 1000, i, 0);
        expect_nothing(subscriber);
        CHECK_STATUS(send_pattern(publisher, 1000, sent + 1), 1);
        expect(subscriber, 1000, sent + 1, 0);
        close_both(publisher, subscriber);
    }
}

/* Explicit depth never gives way: then it is the publisher itself who keeps the memory. */
static char large_data[700000];

/* What depth keeps, and two messages do not fit: nobody can make space, so there is nothing to wait for. */
TEST(nobody_waits_for_himself) {
    tarn_publisher *publisher = publisher_with(.depth = 1, .memory_limit_bytes = MIB, .full_timeout_ns = TARN_FOREVER);
    tarn_subscriber *subscriber = subscriber_with(.reliable = 1);
    tarn_message message;
    CHECK_STATUS(send_pattern(publisher, 700000, 1), 1);
    take_one(subscriber, &message);
    release(&message);
    CHECK_STATUS(tarn_subscriber_take(subscriber, &message), 0);
    for (int i = 0; i < 3; i++) {
        CHECK_ERROR(tarn_publisher_publish(publisher, large_data, 700000), TARN_ERROR_FULL, "depth");
        CHECK_STATUS(tarn_subscriber_take(subscriber, &message), 0); /* goes where the log goes on */
    }
    CHECK_STATUS(tarn_publisher_publish(publisher, large_data, 1000), 1);
    take_one(subscriber, &message);
    release(&message);
    close_both(publisher, subscriber);
}

/* A reliable subscriber has yet to read what was sent late, in an extent that is no part of the log any more. */
TEST(late_loans_are_waited_for) {
    tarn_publisher *publisher = publisher_with(.memory_limit_bytes = 3 * MIB / 2, .full_timeout_ns = 100000000);
    tarn_subscriber *subscriber = subscriber_with(.reliable = 1);
    tarn_loan first, second, third;
    tarn_message message;
    CHECK_STATUS(tarn_publisher_loan(publisher, sizeof(large_data), &first), 1);
    CHECK_STATUS(tarn_publisher_loan(publisher, sizeof(large_data), &second), 1);
    CHECK_STATUS(tarn_publisher_publish(publisher, "small", 5), 1);
    take_one(subscriber, &message);
    release(&message);
    CHECK_STATUS(tarn_loan_send(&second), 1);
    int64_t start_ns = os_now_ns();
    CHECK_ERROR(tarn_publisher_loan(publisher, sizeof(large_data), &third), TARN_ERROR_FULL, "no space");
    CHECK_INT(os_now_ns() - start_ns, >=, 100000000);
    take_one(subscriber, &message);
    release(&message);
    CHECK_STATUS(tarn_publisher_loan(publisher, sizeof(large_data), &third), 1);
    CHECK_STATUS(tarn_loan_drop(&third), 0);
    CHECK_STATUS(tarn_loan_drop(&first), 0);
    close_both(publisher, subscriber);
}

TEST(explicit_depth_is_kept_at_the_limit) {
    tarn_publisher *publisher =
        publisher_with(.memory_limit_bytes = MIB, .when_full = TARN_FULL_FAIL, .depth = 1000000);
    uint64_t sent = 0;
    int result;
    while ((result = send_pattern(publisher, 10000, sent + 1)) == 1)
        sent++;
    CHECK_STATUS(result, TARN_ERROR_FULL);
    CHECK(strstr(tarn_error(), "depth"));
    tarn_subscriber *subscriber = subscriber_with(.history = 1000000);
    for (uint64_t i = 1; i <= sent; i++)
        expect(subscriber, 10000, i, 0);
    close_both(publisher, subscriber);
}

/* ---- history and retention ------------------------------------------------------------------------------------ */

static void check_history(uint64_t sent, uint64_t history, uint64_t expected) {
    tarn_publisher *publisher = publisher_with();
    send_range(publisher, 50, 1, sent);
    tarn_subscriber *subscriber = subscriber_with(.history = history);
    for (uint64_t i = sent - expected + 1; i <= sent; i++)
        expect(subscriber, 50, i, 0);
    expect_nothing(subscriber);
    send_range(publisher, 50, sent + 1, sent + 3);
    for (uint64_t i = sent + 1; i <= sent + 3; i++)
        expect(subscriber, 50, i, 0);
    CHECK_INT(tarn_subscriber_lost(subscriber), ==, 0);
    close_both(publisher, subscriber);
}

TEST(history_is_as_asked_for) {
    check_history(0, 0, 0);
    check_history(0, 10, 0);
    check_history(1, 1, 1);
    check_history(20, 0, 0);
    check_history(20, 1, 1);
    check_history(20, 7, 7);
    check_history(20, 20, 20);
    check_history(20, 21, 20);
    check_history(20, UINT64_MAX, 20);
    check_history(1500, 1400, 1400);
    check_history(3000, 1, 1);
}

/* A joiner asks for everything: how many messages of that size it gets, which are the last ones, without a gap. */
static uint64_t count_kept(uint64_t depth, size_t bytes, uint64_t sent, uint64_t history) {
    tarn_publisher *publisher = publisher_with(.depth = depth, .memory_limit_bytes = 256 * MIB);
    send_range(publisher, bytes, 1, sent);
    tarn_subscriber *subscriber = subscriber_with(.history = history);
    tarn_message message;
    uint64_t count = 0, last = 0;
    for (; tarn_subscriber_take(subscriber, &message) == 1; count++) {
        CHECK_INT(message.lost, ==, 0);
        CHECK(last == 0 || message.sequence == last + 1);
        check_contents(&message, bytes);
        last = message.sequence;
        release(&message);
    }
    CHECK_INT(last, ==, sent);
    close_both(publisher, subscriber);
    return count;
}

TEST(default_keeps_eight_messages_of_any_size) {
    CHECK_INT(count_kept(0, MIB, 40, 1000), >=, 8);
    CHECK_INT(count_kept(0, 60000, 200, 1000), >=, 8);
    CHECK_INT(count_kept(0, MIB, 40, 1000), <=, 20); /* and not everything: memory is used again */
}

TEST(default_keeps_small_messages_of_256_kib) {
    CHECK_INT(count_kept(0, 56, 50000, 1000000), >=, 256 * KIB / 64 - 8);
    CHECK_INT(count_kept(0, 8, 100000, 1000000), >=, 256 * KIB / 16 - 32);
    CHECK_INT(count_kept(0, 1016, 5000, 1000000), >=, 256 - 8);
}

TEST(explicit_depth_keeps_that_many) {
    CHECK_INT(count_kept(1, MIB, 30, 1000), >=, 1);
    CHECK_INT(count_kept(1, MIB, 30, 1000), <, 8);
    CHECK_INT(count_kept(20, MIB, 60, 1000), >=, 20);
    CHECK_INT(count_kept(20, MIB, 60, 5), ==, 5);
    CHECK_INT(count_kept(5000, 1000, 20000, 5000), ==, 5000);
}

/* Whatever mix was sent, the last eight are there. */
TEST(last_eight_are_readable_after_any_mix) {
    struct random random = random_start(1);
    for (int round = 0; round < 60; round++) {
        tarn_publisher *publisher = publisher_with();
        size_t sizes[200];
        uint64_t sent = random_between(&random, 8, 200);
        for (uint64_t i = 0; i < sent; i++) {
            sizes[i] = random_between(&random, 0, 1u << random_between(&random, 0, 20));
            CHECK_STATUS(send_pattern(publisher, sizes[i], i + 1), 1);
        }
        tarn_subscriber *subscriber = subscriber_with(.history = 8);
        for (uint64_t i = sent - 8; i < sent; i++)
            expect(subscriber, sizes[i], i + 1, 0);
        expect_nothing(subscriber);
        close_both(publisher, subscriber);
    }
}

/* Several subscribers join at different times: each gets its own history, and then everything. */
TEST(joiners_do_not_disturb_each_other) {
    tarn_publisher *publisher = publisher_with();
    tarn_subscriber *subscribers[10];
    for (uint64_t i = 0; i < 10; i++) {
        subscribers[i] = subscriber_with(.history = i);
        send_range(publisher, 40, i + 1, i + 1);
    }
    for (uint64_t i = 0; i < 10; i++) {
        for (uint64_t k = 1; k <= 10; k++)
            expect(subscribers[i], 40, k, 0);
        expect_nothing(subscribers[i]);
        CHECK_STATUS(tarn_subscriber_close(subscribers[i]), 0);
    }
    CHECK_STATUS(tarn_publisher_close(publisher), 0);
}

/* What a late loan left behind is not part of the log any more: who joins with more history than is kept must not start
   there. */
TEST(late_loans_do_not_mislead_joiners) {
    tarn_publisher *publisher = publisher_with(.depth = 8, .memory_limit_bytes = 4 * MIB);
    tarn_message message;
    tarn_loan loan;
    CHECK_STATUS(send_pattern(publisher, 100, 1), 1);
    CHECK_STATUS(tarn_publisher_loan(publisher, 100, &loan), 1);
    send_range(publisher, 50000, 2, 100);
    fill_pattern(loan.data, 100, pattern_of(tarn_publisher_identity(publisher), 101));
    CHECK_STATUS(tarn_loan_send(&loan), 1);
    send_range(publisher, 50000, 102, 105);
    tarn_subscriber *subscriber = subscriber_with(.history = 1000);
    uint64_t next = 0;
    for (; tarn_subscriber_take(subscriber, &message) == 1; next = message.sequence + 1) {
        tarn_message copy = message;
        CHECK_INT(message.lost, ==, 0);
        CHECK(next == 0 || message.sequence == next);
        check_contents(&message, message.sequence == 101 ? 100 : 50000);
        release(&copy);
    }
    CHECK_INT(next, ==, 106);
    CHECK_STATUS(send_pattern(publisher, 50000, 106), 1);
    expect(subscriber, 50000, 106, 0);
    close_both(publisher, subscriber);
}

/* ---- losses --------------------------------------------------------------------------------------------------- */

/* Bursts that overrun a subscriber which takes a little in between. */
static void overrun(struct random *random, uint64_t depth, int size_bits) {
    tarn_publisher *publisher = publisher_with(.depth = depth, .memory_limit_bytes = 16 * MIB);
    tarn_subscriber *subscriber = subscriber_with();
    static size_t sizes[20000];
    uint64_t sent = 0, taken = 0, lost = 0;
    tarn_message message;
    for (int round = 0; round < 40; round++) {
        for (uint64_t i = random_between(random, 0, 400); i > 0; i--) {
            sizes[sent] = random_between(random, 0, 1u << random_between(random, 0, (uint64_t)size_bits));
            CHECK_STATUS(send_pattern(publisher, sizes[sent], sent + 1), 1);
            sent++;
        }
        uint64_t most = round == 39 ? UINT64_MAX : random_between(random, 0, 50);
        for (uint64_t i = 0; i < most && tarn_subscriber_take(subscriber, &message) == 1; i++) {
            taken++;
            lost += message.lost;
            CHECK_INT(message.sequence, ==, taken + lost);
            check_contents(&message, sizes[message.sequence - 1]);
            release(&message);
        }
    }
    CHECK_INT(taken + lost, ==, sent);
    CHECK_INT(tarn_subscriber_lost(subscriber), ==, lost);
    close_both(publisher, subscriber);
}

TEST(overrun_subscribers_know_exactly_what_they_lost) {
    struct random random = random_start(1);
    for (int i = 0; i < 12; i++) {
        overrun(&random, 1, 16);
        overrun(&random, 0, 10);
        overrun(&random, 3, 18);
    }
}

/* A best-effort subscriber that falls far behind goes on with what is kept, and loses nothing more than need be. */
TEST(overrun_subscribers_go_on_with_the_oldest_kept) {
    tarn_publisher *publisher = publisher_with(.depth = 10);
    tarn_subscriber *subscriber = subscriber_with();
    send_range(publisher, 200000, 1, 100);
    tarn_message message;
    take_one(subscriber, &message);
    CHECK_INT(message.sequence, ==, message.lost + 1);
    CHECK_INT(message.sequence, <=, 91);
    CHECK_INT(message.sequence, >, 1);
    uint64_t next = message.sequence + 1;
    release(&message);
    for (; next <= 100; next++)
        expect(subscriber, 200000, next, 0);
    expect_nothing(subscriber);
    close_both(publisher, subscriber);
}

TEST(reliable_subscribers_lose_nothing) {
    struct random random = random_start(1);
    tarn_publisher *publisher = publisher_with(.depth = 1, .memory_limit_bytes = MIB, .when_full = TARN_FULL_FAIL);
    tarn_subscriber *fast = subscriber_with(.reliable = 1), *slow = subscriber_with(.reliable = 1);
    static size_t sizes[20000];
    uint64_t sent = 0, fast_next = 1, slow_next = 1;
    while (sent < 20000) {
        sizes[sent] = random_between(&random, 0, 1u << random_between(&random, 0, 16));
        int result = send_pattern(publisher, sizes[sent], sent + 1);
        sent += result == 1;
        if (result == TARN_ERROR_FULL)
            for (uint64_t i = random_between(&random, 1, 200); i > 0 && slow_next <= sent; i--, slow_next++)
                expect(slow, sizes[slow_next - 1], slow_next, 0);
        for (; fast_next <= sent; fast_next++)
            expect(fast, sizes[fast_next - 1], fast_next, 0);
        expect_nothing(fast);
    }
    for (; slow_next <= sent; slow_next++)
        expect(slow, sizes[slow_next - 1], slow_next, 0);
    CHECK_STATUS(tarn_subscriber_close(fast), 0);
    close_both(publisher, slow);
}

/* ---- what messages tell --------------------------------------------------------------------------------------- */

TEST(who_spins_for_ever_is_not_put_to_sleep_nor_kept) {
    tarn_publisher *publisher = publisher_with();
    tarn_subscriber *subscriber = subscriber_with(.spin_ns = TARN_FOREVER);
    tarn_message message;
    CHECK_STATUS(tarn_subscriber_receive(subscriber, &message, 1000000), 0);
    close_both(publisher, subscriber);
}

TEST(timestamps_are_the_time_of_sending) {
    tarn_publisher *publisher = publisher_with(.timestamps = 1);
    tarn_subscriber *subscriber = subscriber_with();
    tarn_message message;
    tarn_loan loan;
    for (int i = 0; i < 2000; i++) {
        CHECK_STATUS(tarn_publisher_loan(publisher, 33, &loan), 1);
        if (i % 3 == 0) { /* overtaken: then the reference has the time */
            CHECK_STATUS(tarn_publisher_publish(publisher, "x", 1), 1);
            take_one(subscriber, &message);
            release(&message);
        }
        int64_t before = now_ns();
        CHECK_STATUS(tarn_loan_send(&loan), 1);
        int64_t after = now_ns();
        take_one(subscriber, &message);
        CHECK_INT(message.sent_ns, >=, before);
        CHECK_INT(message.sent_ns, <=, after);
        release(&message);
    }
    close_both(publisher, subscriber);
}

TEST(no_time_unless_asked_for) {
    tarn_publisher *publisher = publisher_with();
    tarn_subscriber *subscriber = subscriber_with();
    tarn_message message;
    tarn_loan loan;
    CHECK_STATUS(tarn_publisher_loan(publisher, 8, &loan), 1);
    CHECK_STATUS(tarn_publisher_publish(publisher, "x", 1), 1);
    CHECK_STATUS(tarn_loan_send(&loan), 1);
    for (int i = 0; i < 2; i++) {
        take_one(subscriber, &message);
        CHECK_INT(message.sent_ns, ==, 0);
        release(&message);
    }
    close_both(publisher, subscriber);
}

/* Sequence numbers count per publisher; identities tell publishers apart, also those that follow each other. */
TEST(sequences_and_identities) {
    tarn_subscriber *subscriber = subscriber_with();
    uint64_t previous = 0;
    tarn_message message;
    for (int round = 0; round < 20; round++) {
        tarn_publisher *a = publisher_with(), *b = publisher_with();
        uint64_t identity[2] = {tarn_publisher_identity(a), tarn_publisher_identity(b)}, next[2] = {1, 1};
        CHECK(identity[0] && identity[1] && identity[0] != identity[1] && identity[0] != previous);
        previous = identity[1];
        for (int i = 0; i < 10; i++)
            CHECK_STATUS(tarn_publisher_publish(i % 3 ? a : b, "x", 1), 1);
        for (int i = 0; i < 10; i++) {
            take_one(subscriber, &message);
            int from = message.publisher == identity[1];
            CHECK(message.publisher == identity[from]);
            CHECK_INT(message.sequence, ==, next[from]++);
            release(&message);
        }
        CHECK_STATUS(tarn_publisher_close(a), 0);
        CHECK_STATUS(tarn_publisher_close(b), 0);
    }
    CHECK_STATUS(tarn_subscriber_close(subscriber), 0);
}

/* Publishers take turns: a busy one does not keep another's message from being taken. */
TEST(publishers_take_turns) {
    tarn_publisher *busy = publisher_with(), *quiet = publisher_with();
    tarn_subscriber *subscriber = subscriber_with();
    tarn_message message;
    for (int i = 0; i < 100; i++)
        CHECK_STATUS(tarn_publisher_publish(busy, "busy", 4), 1);
    CHECK_STATUS(tarn_publisher_publish(quiet, "quiet", 5), 1);
    bool found = false;
    for (int i = 0; i < 4 && !found; i++) {
        take_one(subscriber, &message);
        found = message.publisher == tarn_publisher_identity(quiet);
        release(&message);
    }
    CHECK(found);
    CHECK_STATUS(tarn_publisher_close(quiet), 0);
    close_both(busy, subscriber);
}

/* What was sent is there when the publisher has gone. */
TEST(messages_outlive_their_publisher) {
    tarn_publisher *publisher = publisher_with();
    tarn_subscriber *subscriber = subscriber_with();
    send_range(publisher, 3000, 1, 50);
    CHECK_STATUS(tarn_publisher_close(publisher), 0);
    for (uint64_t i = 1; i <= 50; i++)
        expect(subscriber, 3000, i, 0);
    expect_nothing(subscriber);
    CHECK_STATUS(tarn_subscriber_publishers(subscriber), 0);
    CHECK_STATUS(tarn_subscriber_close(subscriber), 0);
}

/* Memory that a publisher added, and took along when it left: not even a realtime subscriber, whose take attaches nothing,
   waits for it for ever. */
static void leave_with_added_memory(uint32_t realtime) {
    tarn_publisher *publisher = publisher_with();
    tarn_subscriber *subscriber = subscriber_with(.realtime = realtime);
    CHECK_STATUS(send_pattern(publisher, 8, 1), 1);
    expect(subscriber, 8, 1, 0);
    send_range(publisher, 8 * MIB, 2, 4);
    CHECK_INT(tarn_publisher_close(publisher), ==, 1);
    CHECK_STATUS(tarn_subscriber_wait(subscriber, 0), 0);
    expect_nothing(subscriber);
    publisher = publisher_with();
    CHECK_STATUS(tarn_subscriber_wait(subscriber, 0), 0);
    send_range(publisher, 8, 1, 3);
    for (uint64_t i = 1; i <= 3; i++)
        expect(subscriber, 8, i, 0);
    expect_nothing(subscriber);
    CHECK_STATUS(tarn_publisher_close(publisher), 0);
    CHECK_STATUS(tarn_subscriber_wait(subscriber, 1000000), 0);
    CHECK_INT(tarn_subscriber_lost(subscriber), ==, 3);
    CHECK_STATUS(tarn_subscriber_close(subscriber), 0);
}

TEST(nobody_waits_for_memory_that_has_gone) {
    leave_with_added_memory(0);
    leave_with_added_memory(1);
}

/* Their memory goes when all is read; with a realtime subscriber, in wait, for which a timeout of 0 suffices. */
static void let_go(uint32_t realtime, int64_t timeout_ns) {
    tarn_subscriber *subscriber = subscriber_with(.realtime = realtime);
    for (int i = 0; i < 20; i++) {
        tarn_publisher *publisher = publisher_with();
        CHECK_STATUS(tarn_subscriber_wait(subscriber, timeout_ns), 0);
        CHECK_STATUS(send_pattern(publisher, 100, 1), 1);
        expect(subscriber, 100, 1, 0);
        CHECK_STATUS(tarn_publisher_close(publisher), 0);
        CHECK_STATUS(tarn_subscriber_wait(subscriber, timeout_ns), 0);
        expect_nothing(subscriber);
        CHECK_INT(count_attached(), <=, 2); /* the roster, and perhaps one that was not looked at again */
    }
    CHECK_STATUS(tarn_subscriber_close(subscriber), 0);
}

TEST(publishers_that_left_are_let_go) {
    let_go(0, 0);
    let_go(0, 1000000);
    let_go(1, 1000000);
    let_go(1, 0);
}
