/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * Random publishers and subscribers in one thread, against a model that knows what was sent. Each step does one random
 * thing; each message taken is compared with the model, and in the end everybody reads to the end and is settled with.
 *
 *   model of a publisher     the size of each message by sequence number, DROPPED for those it dropped
 *   model of a subscriber    per publisher, the sequence number that it expects next
 *
 * What holds at every take: numbers per publisher rise; number = expected + lost; size and contents are what was sent;
 * of a reliable subscriber's losses each is a drop. At the start: a joiner begins within the history it asked for, and
 * has at least what is promised to be kept. In the end taken + lost is what was sent since the join.
 *
 * TARN_SEED=n replays all runs of a failed test from the first; the number of the run is printed, too.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "common.h"

#define RUN_SECONDS 8
#define STEPS 400
#define PUBLISHERS 3  /* at a time */
#define SUBSCRIBERS 4 /* at a time */
#define IN_ALL 48     /* publishers of one run */
#define MESSAGES_MOST 4096
#define LOANS 4
#define HELD 12
#define DROPPED UINT32_MAX

struct model {
    tarn_publisher *handle; /* NULL: closed */
    uint64_t identity;
    uint64_t sent;    /* the next message's number less one; pending drops not counted */
    uint64_t pending; /* drops that no message has told of yet */
    uint32_t bytes[MESSAGES_MOST + 1];
    uint64_t limit;
    uint64_t depth;
    tarn_loan loans[LOANS];
};

struct expectation {
    bool known;   /* it met this publisher */
    bool started; /* next is exact; before the first message it is the last place to start from */
    uint64_t next;
    uint64_t first;  /* least number that a joiner may start at */
    uint64_t joined; /* messages from here on were sent after the join; those before may go while they wait */
};

struct reader {
    tarn_subscriber *handle;
    bool reliable;
    uint32_t max_held;
    uint64_t lost;
    struct expectation of[IN_ALL];
    struct {
        tarn_message message;
        uint32_t bytes;
    } held[HELD];
    uint32_t held_count;
};

static struct model *models; /* all of a run */
static uint32_t model_count;
static struct model *live[PUBLISHERS];
static struct reader readers[SUBSCRIBERS];
static struct random chance;
static int runs;

static uint64_t between(uint64_t least, uint64_t most) {
    return random_between(&chance, least, most);
}

/* ---- publishers ----------------------------------------------------------------------------------------------- */

static void join_publisher(struct model **place) {
    if (model_count == IN_ALL)
        return;
    static const uint64_t depths[] = {0, 0, 1, 5, 50};
    struct model *model = &models[model_count];
    memset(model, 0, sizeof *model);
    model->limit = (uint64_t)512 * KIB << between(0, 5);
    model->depth = depths[between(0, 4)];
    model->handle =
        publisher_with(.memory_limit_bytes = model->limit, .depth = model->depth,
                       .when_full = (uint32_t)between(TARN_FULL_FAIL, TARN_FULL_DROP),
                       .alignment = between(0, 3) ? 0 : 1u << between(0, 12), .timestamps = (uint32_t)between(0, 1));
    model->identity = tarn_publisher_identity(model->handle);
    for (int i = 0; i < SUBSCRIBERS; i++)
        if (readers[i].handle)
            readers[i].of[model_count] =
                (struct expectation){.known = true, .started = true, .next = 1, .first = 1, .joined = 1};
    model_count++;
    *place = model;
}

/* A message's number is known before it is sent: those dropped before it come first. */
static uint64_t next_number(const struct model *model) {
    return model->sent + model->pending + 1;
}

static void note_sent(struct model *model, uint32_t bytes) {
    for (; model->pending; model->pending--)
        model->bytes[++model->sent] = DROPPED;
    model->bytes[++model->sent] = bytes;
}

static uint32_t random_bytes(const struct model *model) {
    uint64_t most = between(0, 9) ? 2000 : between(0, 9) ? 70 * KIB : model->limit / 6;
    return (uint32_t)between(0, most);
}

/* Notes how a call ended: drops count, failures change nothing. */
static bool was_sent(struct model *model, int result) {
    CHECK(result == 1 || result == 0 || result == TARN_ERROR_FULL);
    model->pending += result == 0;
    return result == 1;
}

static void send_some(struct model *model) {
    for (uint64_t i = between(1, 30); i > 0 && next_number(model) + LOANS < MESSAGES_MOST; i--) {
        uint32_t bytes = random_bytes(model);
        if (was_sent(model, send_pattern(model->handle, bytes, next_number(model))))
            note_sent(model, bytes);
    }
}

static void use_loan(struct model *model) {
    tarn_loan *loan = &model->loans[between(0, LOANS - 1)];
    if (next_number(model) + LOANS >= MESSAGES_MOST)
        return;
    if (!loan->loaned_by) {
        was_sent(model, tarn_publisher_loan(model->handle, random_bytes(model), loan));
        return;
    }
    if (between(0, 3) == 0) {
        CHECK_STATUS(tarn_loan_drop(loan), 0);
        return;
    }
    if (between(0, 1))
        loan->bytes = between(0, loan->bytes);
    uint32_t bytes = (uint32_t)loan->bytes;
    fill_pattern(loan->data, bytes, pattern_of(model->identity, next_number(model)));
    if (was_sent(model, tarn_loan_send(loan)))
        note_sent(model, bytes);
}

/* Everybody looks first, so that all have attached its memory; it does not linger, as nobody would read meanwhile. */
static void leave_publisher(struct model **place) {
    for (int i = 0; i < SUBSCRIBERS; i++)
        if (readers[i].handle)
            CHECK_INT(tarn_subscriber_wait(readers[i].handle, 0), >=, 0);
    CHECK_INT(tarn_publisher_close((*place)->handle), >=, 0);
    (*place)->handle = NULL;
    *place = NULL;
}

/* ---- subscribers ---------------------------------------------------------------------------------------------- */

static void join_subscriber(struct reader *reader) {
    static const uint64_t histories[] = {0, 0, 1, 8, 40, 100000};
    uint64_t history = histories[between(0, 5)];
    memset(reader, 0, sizeof *reader);
    reader->reliable = between(0, 1);
    reader->max_held = (uint32_t)between(1, HELD);
    reader->handle = subscriber_with(.reliable = reader->reliable, .history = history, .max_held = reader->max_held);
    for (int i = 0; i < PUBLISHERS; i++) {
        if (!live[i])
            continue;
        uint64_t end = live[i]->sent + 1, kept = live[i]->depth < history ? live[i]->depth : history;
        struct expectation *expected = &reader->of[live[i] - models];
        *expected = (struct expectation){.known = true, .started = history == 0 && !live[i]->pending};
        expected->joined = end;
        expected->first = history < end ? end - history : 1;
        end += live[i]->pending;                      /* a loan may have told of drops, or the next message will */
        expected->next = kept < end ? end - kept : 1; /* that much is kept for certain */
    }
}

static struct model *model_of(uint64_t identity) {
    for (uint32_t i = 0; i < model_count; i++)
        if (models[i].identity == identity)
            return &models[i];
    FAIL("a message of nobody: %016" PRIx64, identity);
}

static uint64_t count_dropped(const struct model *model, uint64_t first, uint64_t end) {
    uint64_t count = 0;
    for (uint64_t i = first; i < end; i++)
        count += model->bytes[i] == DROPPED;
    return count;
}

static void check_taken(struct reader *reader, const tarn_message *message) {
    const struct model *model = model_of(message->publisher);
    struct expectation *expected = &reader->of[model - models];
    CHECK(expected->known);
    CHECK_INT(message->sequence, <=, model->sent);
    CHECK(model->bytes[message->sequence] != DROPPED);
    uint64_t from = message->sequence - message->lost;
    while (!expected->started && model->bytes[expected->next] == DROPPED && expected->next < message->sequence)
        expected->next++; /* who starts among drops starts behind them */
    if (from > expected->next || from < (expected->started ? expected->next : expected->first))
        FAIL("run %d: %s subscriber got %" PRIu64 " with %" PRIu64 " lost, but should start %s from %" PRIu64
             " to %" PRIu64 "; %" PRIu64 " are sent",
             runs, reader->reliable ? "reliable" : "best-effort", message->sequence, message->lost,
             expected->started ? "exactly" : "anywhere", expected->first, expected->next, model->sent);
    if (reader->reliable && from < expected->joined)
        from = message->sequence < expected->joined ? message->sequence : expected->joined;
    if (reader->reliable)
        CHECK_INT(message->sequence - from, ==, count_dropped(model, from, message->sequence));
    check_contents(message, model->bytes[message->sequence]);
    expected->started = true;
    expected->next = message->sequence + 1;
    reader->lost += message->lost;
}

static void release_one(struct reader *reader) {
    uint64_t k = between(0, reader->held_count - 1);
    check_contents(&reader->held[k].message, reader->held[k].bytes);
    release(&reader->held[k].message);
    reader->held[k] = reader->held[--reader->held_count];
}

/* Takes one; whether there was one. Most are kept for a while. */
static bool take_next(struct reader *reader) {
    tarn_message message;
    int result = tarn_subscriber_take(reader->handle, &message);
    if (result == TARN_ERROR_HOLDING) {
        CHECK_INT(reader->held_count, ==, reader->max_held);
        release_one(reader);
        return true;
    }
    if (result == 0)
        return false;
    CHECK_STATUS(result, 1);
    CHECK_INT(reader->held_count, <, reader->max_held);
    check_taken(reader, &message);
    reader->held[reader->held_count].message = message;
    reader->held[reader->held_count++].bytes = (uint32_t)message.bytes;
    if (between(0, 2))
        release_one(reader);
    return true;
}

/* What it never took of publishers that have left may be counted as lost by now. */
static void check_lost(const struct reader *reader) {
    uint64_t lost = tarn_subscriber_lost(reader->handle), unread = 0;
    for (uint32_t i = 0; i < model_count; i++)
        if (reader->of[i].known && !models[i].handle)
            unread += next_number(&models[i]) - (reader->of[i].started ? reader->of[i].next : reader->of[i].first);
    CHECK_INT(lost, >=, reader->lost);
    CHECK_INT(lost, <=, reader->lost + unread);
}

static void leave_subscriber(struct reader *reader) {
    bool first = between(0, 1);
    check_lost(reader);
    if (first)
        CHECK_STATUS(tarn_subscriber_close(reader->handle), 0);
    while (reader->held_count)
        release_one(reader);
    if (!first)
        CHECK_STATUS(tarn_subscriber_close(reader->handle), 0);
    reader->handle = NULL;
}

/* Reads to the end: then nothing is missing. A best-effort one has at least each publisher's last message. */
static void settle(struct reader *reader) {
    while (take_next(reader))
        ;
    for (uint32_t i = 0; i < model_count; i++)
        if (reader->of[i].known && reader->of[i].started)
            CHECK_INT(reader->of[i].next, ==, models[i].sent + 1);
}

/* ---- runs ----------------------------------------------------------------------------------------------------- */

static void step(void) {
    struct model **place = &live[between(0, PUBLISHERS - 1)];
    struct reader *reader = &readers[between(0, SUBSCRIBERS - 1)];
    uint64_t choice = between(0, 99);
    if (!*place)
        join_publisher(place);
    else if (choice < 30)
        send_some(*place);
    else if (choice < 45)
        use_loan(*place);
    else if (choice < 48)
        leave_publisher(place);
    else if (!reader->handle)
        join_subscriber(reader);
    else if (choice < 52)
        leave_subscriber(reader);
    else if (choice < 54)
        settle(reader);
    else
        for (uint64_t i = between(1, 20); i > 0 && take_next(reader); i--)
            ;
}

static void run(void) {
    model_count = 0;
    for (int i = 0; i < STEPS; i++)
        step();
    for (int i = 0; i < PUBLISHERS; i++)
        if (live[i])
            leave_publisher(&live[i]);
    for (int i = 0; i < SUBSCRIBERS; i++)
        if (readers[i].handle) {
            settle(&readers[i]);
            leave_subscriber(&readers[i]);
        }
}

static int64_t now_s(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec;
}

TEST_LIMIT(whatever_happens_it_adds_up, 30) {
    int64_t end = now_s() + RUN_SECONDS;
    models = malloc(IN_ALL * sizeof *models);
    chance = random_start(1);
    for (; runs == 0 || now_s() < end; runs++)
        run();
    free(models);
    CHECK_INT(runs, >, 0);
}
