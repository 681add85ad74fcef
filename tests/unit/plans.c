/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * A writer has many ways to the same log: one message after the other where each is easy, the way of packed ones, a
 * plan made ahead for one like the last, such a plan moved on from extent to extent, and the long way. A reader must
 * not be able to tell which was taken. So a publisher changes between them at random, at the places where that goes
 * wrong if anything does, and its users write all over their loans before they shrink or drop them; a reliable and a
 * best-effort subscriber take it all, and compare it with a model of what was sent.
 */
#include <stdlib.h>
#include <time.h>

#include "common.h"
#include "core/publisher.h"
#include "shm/layout.h"
#include "shm/log.h"

#define RUNS 24
#define STEPS 120
#define MESSAGES_MOST 8200
#define LOANS 6
#define HELD 5
#define DROPPED UINT32_MAX

static struct {
    tarn_publisher *handle;
    uint64_t identity, limit, depth;
    bool timed, drops;
    uint64_t sent;    /* the last message's number */
    uint64_t pending; /* drops since: they have the next numbers */
    uint32_t bytes[MESSAGES_MOST + 1];
    int64_t earliest_ns[MESSAGES_MOST + 1]; /* when it was sent at the earliest */
    tarn_loan loans[LOANS];
    const char *at;     /* behind the last loan */
    const char *extent; /* where its extent begins, most probably */
} model;

static struct joined {
    tarn_subscriber *handle;
    bool reliable;
    uint64_t next, lost;
    int64_t sent_ns;
    tarn_message held[HELD];
    uint32_t held_count;
} reliable, best_effort;

static struct random chance;
static char *buffer;

static uint64_t between(uint64_t least, uint64_t most) {
    return random_between(&chance, least, most);
}

static bool one_in(uint64_t n) {
    return random_one_in(&chance, n);
}

static int64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

/* ---- what is sent --------------------------------------------------------------------------------------------- */

static uint64_t next_number(void) {
    return model.sent + model.pending + 1;
}

static bool has_room(uint64_t messages) {
    return next_number() + messages <= MESSAGES_MOST;
}

/* Before a message gets its number. */
static void fill(void *data, size_t bytes) {
    fill_pattern(data, bytes, pattern_of(model.identity, next_number()));
    model.earliest_ns[next_number()] = model.timed ? now_ns() : 0;
}

/* Notes how a call ended: returns whether a message of so many bytes was sent. */
static bool note(int result, size_t bytes) {
    CHECK(result == 1 || (result == 0 && model.drops) || result == TARN_ERROR_FULL);
    model.pending += result == 0;
    if (result != 1)
        return false;
    for (; model.pending; model.pending--)
        model.bytes[++model.sent] = DROPPED;
    model.bytes[++model.sent] = (uint32_t)bytes;
    return true;
}

/* ---- what is taken -------------------------------------------------------------------------------------------- */

static void check_taken(struct joined *reader, const tarn_message *message) {
    CHECK_INT(message->publisher, ==, model.identity);
    CHECK_INT(message->sequence, ==, reader->next + message->lost);
    CHECK_INT(message->sequence, <=, model.sent);
    CHECK(model.bytes[message->sequence] != DROPPED);
    for (; reader->next < message->sequence; reader->next++)
        CHECK(!reader->reliable || model.bytes[reader->next] == DROPPED);
    check_contents(message, model.bytes[message->sequence]);
    CHECK(model.timed || message->sent_ns == 0);
    CHECK_INT(message->sent_ns, >=, model.earliest_ns[message->sequence]);
    CHECK_INT(message->sent_ns, >=, reader->sent_ns);
    reader->sent_ns = message->sent_ns;
    reader->lost += message->lost;
    reader->next = message->sequence + 1;
}

static void release_one(struct joined *reader) {
    tarn_message *message = &reader->held[between(0, reader->held_count - 1)];
    check_contents(message, model.bytes[message->sequence]);
    release(message);
    *message = reader->held[--reader->held_count];
}

/* Takes one, and holds it for a while; whether there was one. */
static bool take_next(struct joined *reader) {
    tarn_message message;
    int result = tarn_subscriber_take(reader->handle, &message);
    if (result == 0)
        return false;
    CHECK_STATUS(result, 1);
    check_taken(reader, &message);
    reader->held[reader->held_count++] = message;
    while (reader->held_count == HELD || (reader->held_count && !one_in(3)))
        release_one(reader);
    return true;
}

static void take_some(struct joined *reader) {
    for (uint64_t i = between(1, 30); i > 0 && take_next(reader); i--)
        ;
}

/* To the end; behind it there is nothing, whatever lay there before. Where memory is short, the last messages may have been
   given up for those not sent after them, which a best-effort subscriber is told with the next one. */
static void take_all(struct joined *reader) {
    while (take_next(reader))
        ;
    for (uint64_t i = reader->next; reader->reliable && i <= model.sent; i++)
        CHECK(model.bytes[i] == DROPPED);
}

static void take_now_and_then(void) {
    if (!one_in(3))
        take_all(&reliable);
    else if (one_in(3))
        take_some(&reliable);
    if (one_in(2))
        take_some(&best_effort);
}

/* ---- sizes and places ----------------------------------------------------------------------------------------- */

static void note_place(const tarn_loan *loan) {
    const char *data = loan->data;
    if (data < model.at || data >= model.extent + EXTENT_BYTES_MIN)
        model.extent = data - 8 - ((uintptr_t)data - 8) % EXTENT_GRAIN; /* the first one in its extent */
    model.at = data + loan->bytes;
}

/* A payload that ends about where the extent does. */
static size_t what_still_fits(void) {
    int64_t left = model.extent + EXTENT_BYTES_MIN - model.at - (int64_t)between(0, 220);
    return left > 0 && left <= EXTENT_BYTES_MIN ? (size_t)left : between(0, 8);
}

static size_t around(uint64_t bytes, uint64_t more_or_less) {
    uint64_t most = bytes + more_or_less;
    return between(bytes > more_or_less ? bytes - more_or_less : 0, most);
}

static size_t random_large(void) {
    static const uint64_t sizes[] = {16 * KIB, 64 * KIB - 1, 64 * KIB, 64 * KIB + 1, 100 * KIB, 100 * KIB, MIB};
    size_t bytes = sizes[between(0, one_in(4) ? 6 : 5)];
    return bytes > model.limit / 3 ? model.limit / 6 : bytes;
}

static size_t random_size(void) {
    switch (between(0, 9)) {
    case 0:
    case 1:
    case 2:
        return between(0, 64);
    case 3:
        return around(PACKED_RECORD_BYTES, 17);
    case 4:
        return around(between(1, 8) * CACHE_LINE_BYTES, 17);
    case 5:
    case 6:
        return what_still_fits();
    case 7:
        return between(0, 2000);
    case 8:
        return around(EXTENT_BYTES_MIN, one_in(2) ? 200 : 2);
    default:
        return random_large();
    }
}

/* ---- ways of sending ------------------------------------------------------------------------------------------ */

static bool publish(size_t bytes) {
    fill(buffer, bytes);
    return note(tarn_publisher_publish(model.handle, buffer, bytes), bytes);
}

/* What a record that is taken for one by mistake may look like. */
static void scribble(void *data, size_t bytes) {
    static const uint64_t words[] = {(uint64_t)RECORD_MESSAGE << RECORD_KIND_SHIFT | 8,
                                     (uint64_t)RECORD_HOLE << RECORD_KIND_SHIFT,
                                     (uint64_t)RECORD_JUMP << RECORD_KIND_SHIFT};
    uint64_t word = one_in(2) ? UINT64_MAX : words[between(0, 2)];
    for (size_t i = 0; i < bytes; i += 8)
        memcpy((char *)data + i, &word, bytes - i < 8 ? bytes - i : 8);
}

/* All of it is written by its user. */
static bool lend(size_t bytes, tarn_loan *ret) {
    int result = tarn_publisher_loan(model.handle, bytes, ret);
    if (result != 1)
        return note(result, 0);
    CHECK_INT(ret->bytes, ==, bytes);
    note_place(ret);
    scribble(ret->data, bytes);
    return true;
}

/* As many of its bytes as that, or fewer. If there is no space for the reference to it, it stays open. */
static bool send(tarn_loan *loan, size_t bytes) {
    tarn_loan before = *loan;
    loan->bytes = bytes;
    fill(loan->data, bytes);
    if (note(tarn_loan_send(loan), bytes))
        return true;
    scribble(before.data, before.bytes);
    *loan = before;
    return false;
}

static void drop(tarn_loan *loan) {
    CHECK_STATUS(tarn_loan_drop(loan), 0);
}

static size_t shrunk(size_t bytes) {
    return one_in(3) ? between(0, bytes < 64 ? bytes : 64) : between(0, bytes);
}

static bool send_either_way(size_t bytes) {
    tarn_loan loan;
    if (one_in(2))
        return publish(bytes);
    return lend(bytes, &loan) && send(&loan, bytes);
}

/* ---- steps ---------------------------------------------------------------------------------------------------- */

static void send_many(void) {
    size_t bytes = between(0, one_in(2) ? 64 : 300);
    for (uint64_t i = between(1, 150); i > 0 && has_room(1); i--)
        publish(one_in(8) ? between(0, 64) : bytes);
}

static void send_mixed(void) {
    for (uint64_t i = between(1, 12); i > 0 && has_room(1); i--) {
        send_either_way(random_size());
        if (one_in(3))
            take_now_and_then();
    }
}

static void send_shrunk(void) {
    tarn_loan loan;
    size_t bytes = random_size();
    if (lend(bytes, &loan))
        send(&loan, shrunk(bytes));
}

/* What is sent next lies where the dropped one was. */
static void drop_and_send(void) {
    tarn_loan loan;
    size_t bytes = random_size();
    if (!lend(bytes, &loan))
        return;
    drop(&loan);
    if (one_in(4)) /* it is larger, most probably */
        send_either_way(random_size());
    else
        send_either_way(one_in(2) ? bytes : shrunk(bytes));
}

static void open_loan(void) {
    tarn_loan *loan = &model.loans[between(0, LOANS - 1)];
    if (!loan->loaned_by)
        lend(random_size(), loan);
}

static void end_loan(void) {
    tarn_loan *loan = &model.loans[between(0, LOANS - 1)];
    if (!loan->loaned_by)
        return;
    if (one_in(4))
        drop(loan);
    else
        send(loan, one_in(2) ? loan->bytes : shrunk(loan->bytes));
}

/*
 * Between two of the same size: a loan of that size that comes to nothing or to less, or is overtaken, or small ones.
 */
static void send_in_between(size_t bytes) {
    tarn_loan loan;
    uint64_t way = between(0, 5);
    for (uint64_t i = way == 0 ? between(1, 3) : 0; i > 0; i--)
        send_either_way(between(0, 64));
    if (way == 0 || way > 3 || !lend(bytes, &loan))
        return;
    if (way == 1)
        send(&loan, shrunk(bytes));
    if (way == 2)
        send_either_way(bytes);
    if (loan.loaned_by && (way == 3 || !send(&loan, bytes)))
        drop(&loan);
}

/* The same large size in a row, and in the end something else. */
static void send_alike(void) {
    size_t bytes = one_in(3) ? between(EXTENT_BYTES_MIN / 2, 3 * EXTENT_BYTES_MIN) : random_large();
    for (uint64_t i = between(3, 14); i > 0 && has_room(6); i--) {
        if (one_in(2))
            send_in_between(bytes);
        send_either_way(bytes);
        if (!one_in(4))
            take_all(&reliable);
    }
    if (has_room(1))
        send_either_way(random_size());
}

/* Until there is no space for one of another size; then there is for one more like those before, or there is not. */
static void send_until_full(void) {
    size_t bytes = random_large(), other = random_large();
    bool was_sent = true;
    while (was_sent && has_room(3)) {
        send_either_way(bytes);
        was_sent = send_either_way(other);
    }
    if (one_in(2))
        take_some(&reliable);
    send_either_way(bytes);
}

static void flush(void) {
    CHECK_INT(tarn_publisher_flush(model.handle, 0), >=, 0);
}

static void step(void) {
    static void (*const ways[])(void) = {send_many, send_mixed, send_shrunk, drop_and_send,   open_loan,
                                         end_loan,  send_alike, flush,       send_until_full, drop_and_send};
    ways[between(0, sizeof ways / sizeof ways[0] - 1)]();
    take_now_and_then();
}

/* ---- runs ----------------------------------------------------------------------------------------------------- */

static struct joined join(bool is_reliable) {
    return (struct joined){.reliable = is_reliable, .next = 1, .handle = subscriber_with(.reliable = is_reliable)};
}

static void settle(struct joined *reader) {
    take_all(reader);
    while (reader->held_count)
        release_one(reader);
    CHECK_INT(tarn_subscriber_lost(reader->handle), ==, reader->lost);
}

static void leave(struct joined *reader, bool has_just_sent) {
    settle(reader);
    if (has_just_sent)
        CHECK_INT(reader->next, ==, model.sent + 1);
    CHECK_STATUS(tarn_subscriber_close(reader->handle), 0);
}

static void open_all(uint64_t limit, uint64_t depth, uint32_t alignment, bool timed) {
    memset(&model, 0, sizeof model);
    model.timed = timed;
    model.drops = one_in(2);
    model.limit = limit;
    model.depth = depth;
    model.handle = publisher_with(.memory_limit_bytes = limit, .depth = depth, .timestamps = timed,
                                  .alignment = alignment, .rotation_bytes = one_in(2) ? 0 : 256 * KIB,
                                  .when_full = model.drops ? TARN_FULL_DROP : TARN_FULL_FAIL);
    if (one_in(2)) { /* large messages share extents */
        model.handle->writer.extents.is_sparse = true;
        model.handle->writer.extents.sparse_ns = INT64_MAX;
    }
    model.identity = tarn_publisher_identity(model.handle);
    reliable = join(true);
    best_effort = join(false);
}

/*
 * No subscriber keeps anything, so there is space for one that tells of the last drops, unless an explicit depth takes
 * it.
 */
static void close_all(void) {
    settle(&reliable);
    settle(&best_effort);
    for (int i = 0; i < LOANS; i++)
        if (model.loans[i].loaned_by)
            drop(&model.loans[i]);
    bool sent = publish(8);
    CHECK(sent || model.depth > 1);
    leave(&reliable, sent);
    leave(&best_effort, sent);
    CHECK_STATUS(tarn_publisher_close(model.handle), 0);
}

TEST(no_way_of_sending_can_be_told_from_another) {
    static const uint64_t depths[] = {0, 0, 1, 2, 5};
    chance = random_start(1);
    buffer = malloc(MIB);
    for (int i = 0; i < RUNS; i++) {
        open_all(512 * KIB << between(0, 3), depths[between(0, 4)], one_in(3) ? 1u << between(0, 12) : 0, one_in(4));
        for (int k = 0; k < STEPS && has_room(400); k++)
            step();
        close_all();
    }
    free(buffer);
}

/* ---- one by one ----------------------------------------------------------------------------------------------- */

/* So that the next record starts this far before the extent's end, about. */
static void fill_extent(size_t left) {
    tarn_loan loan;
    do { /* to the beginning of an extent */
        CHECK(lend(60000, &loan) && send(&loan, 60000));
        take_all(&reliable);
        CHECK(lend(8, &loan) && send(&loan, 8));
    } while (model.at - model.extent > 5000);
    size_t bytes = (size_t)(model.extent + EXTENT_BYTES_MIN - model.at) - left;
    CHECK(lend(bytes, &loan) && send(&loan, bytes));
    take_all(&reliable);
}

/* Messages of that size, the first of which starts at some distance before the extent's end, up to the next extent. Where one
   is lent out, nothing is to be seen yet. */
static void send_over_the_end(size_t bytes, size_t left, uint64_t lent_one_in) {
    fill_extent(left);
    for (size_t i = left / (8 + bytes) + 3; i > 0; i--) {
        tarn_loan loan;
        if (one_in(lent_one_in)) {
            CHECK(lend(bytes, &loan));
            take_all(&reliable);
            CHECK(send(&loan, bytes));
        } else
            CHECK(publish(bytes));
        take_all(&reliable);
    }
}

static void send_at_the_end(uint32_t alignment, bool timed) {
    static const size_t sizes[] = {0, 8, 20, 24, 25, 56, 57, 100};
    size_t grain = alignment <= 64 ? 64 : alignment;
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        open_all(4 * MIB, 0, alignment, timed);
        for (size_t left = 16; left < 4 * grain && has_room(4 * grain / 8); left += grain / 8)
            send_over_the_end(sizes[i], left, between(1, 8));
        close_all();
    }
}

/* Small ones through a publisher's first extent, up to some before its end; the second one lies right behind it. */
static void send_packed(size_t bytes, uint64_t fewer) {
    tarn_loan loan;
    open_all(MIB, 0, 0, false);
    for (uint64_t i = EXTENT_BYTES_MIN / (RECORD_HEADER_BYTES + bytes) - fewer; i > 0; i--)
        CHECK(publish(bytes));
    CHECK(lend(bytes, &loan));
    take_all(&reliable);
    CHECK(send(&loan, bytes));
    close_all();
}

TEST(packed_messages_end_with_their_extent) {
    chance = random_start(5);
    buffer = malloc(MIB);
    static const size_t sizes[] = {0, 8, 16, 24, 64};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        for (uint64_t fewer = 0; fewer <= 240 / (RECORD_HEADER_BYTES + sizes[i]); fewer++)
            send_packed(sizes[i], fewer);
    free(buffer);
}

TEST(all_ways_end_with_their_extent) {
    chance = random_start(2);
    buffer = malloc(MIB);
    send_at_the_end(0, false);
    send_at_the_end(0, false);
    send_at_the_end(0, true);
    for (uint32_t alignment = 16; alignment <= 4096; alignment *= 4)
        send_at_the_end(alignment, one_in(2));
    free(buffer);
}

/* The dropped one was written by its user all over; what comes there then is of any other size. */
TEST(dropped_loans_leave_nothing_behind) {
    static const size_t sizes[] = {0, 1, 8, 24, 25, 56, 57, 64, 200, 5000, 65000, 66000, 100000, 200000};
    enum { SIZES = sizeof sizes / sizeof sizes[0] };
    chance = random_start(3);
    buffer = malloc(MIB);
    for (uint32_t timed = 0; timed <= 1; timed++) {
        open_all(4 * MIB, 0, 0, timed);
        for (int i = 0; i < SIZES * SIZES; i++) {
            tarn_loan loan;
            for (int k = one_in(2) ? 3 : 1; k > 0; k--) { /* the plan is for its like */
                CHECK(publish(sizes[i / SIZES]));
                take_all(&reliable);
            }
            CHECK(lend(sizes[i / SIZES], &loan));
            drop(&loan);
            take_all(&reliable);
            for (int k = 0; k < 2; k++) {
                CHECK(send_either_way(sizes[i % SIZES]));
                take_all(&reliable);
            }
        }
        close_all();
    }
    free(buffer);
}

static void send_in_a_row(size_t bytes, uint64_t count) {
    for (; count > 0; count--) {
        send_either_way(bytes);
        take_all(&reliable);
    }
}

/*
 * A plan that moves on from extent to extent is for a record at the beginning of each. Those of messages before were
 * larger, or of the least size, and both are used in turn, so that something else fits before one of the row.
 */
TEST(something_else_between_messages_alike) {
    chance = random_start(4);
    buffer = malloc(MIB);
    for (int i = 0; i < 16; i++) {
        size_t larger = between(80000, 150000), bytes = between(40000, 65000);
        open_all(4 * MIB, 1, i % 4 == 3 ? 1u << between(0, 12) : 0, i % 4 == 2);
        send_in_a_row(larger, 2 * MIB / larger + 4); /* more than half of the limit is not used for a rotation */
        for (uint64_t count = 1; count <= 12; count++) {
            send_in_a_row(bytes, count);
            send_in_a_row(one_in(4) ? between(larger / 7, larger / 6) : between(0, 24), between(1, 3));
        }
        close_all();
    }
    free(buffer);
}

/*
 * A loan from the log's oldest extent, sent after some others, which fill the memory but for what the depth keeps: it
 * is kept, but nothing else with it.
 */
TEST(loans_sent_late_leave_space) {
    chance = random_start(6);
    buffer = malloc(MIB);
    for (uint64_t before = 1; before <= 4; before++) {
        tarn_loan late;
        open_all(512 * KIB, 3, 0, false);
        CHECK(lend(100, &late));
        send_in_a_row(100000, before);
        CHECK(send(&late, 100));
        for (int i = 0; i < 8; i++) {
            CHECK(publish(100000));
            take_all(&reliable);
        }
        close_all();
    }
    free(buffer);
}
