/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * Producers of a work queue: the public calls, back-pressure, lingering until others have the messages. The cells are
 * in shm/queue.h, the memory in shm/arena.h.
 *
 * What is over is found by looking at the cells, from the first on: now and then while pushing, as each look may fetch
 * a line that a worker has just written, and always before anybody is waited for.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/compiler.h"
#include "base/os.h"
#include "base/status.h"
#include "core/handle.h"
#include "core/reaper.h"
#include "core/topic.h"
#include "core/type.h"
#include "shm/arena.h"
#include "shm/queue.h"
#include "shm/space.h"

#define DEFAULT_CAPACITY 1024u
#define DEFAULT_FULL_TIMEOUT_NS NS_PER_SECOND
#define SWEEP_MESSAGES 64u /* small ones that may be over before that is looked after */
#define SWEEP_BYTES 4096u  /* from this size on memory is worth a look at each push */

struct open_loan {
    struct place place;
    uint64_t ticket; /* 0: not open */
    struct open_loan *next_free;
    struct open_loan *next; /* of all ever made */
};

struct tarn_producer {
    struct handle handle;
    _Atomic uint32_t *bell; /* the topic's */
    struct queue_ring ring;
    uint64_t next;           /* message, counted from 0 */
    uint64_t first;          /* that is not over */
    struct extent **kept_in; /* per cell: what its message keeps; NULL: it is over */
    uint64_t rejected;
    struct arena arena;
    uint64_t payload_bytes_max, type_bytes;
    uint32_t when_full;
    int64_t full_timeout_ns, linger_ns;
    int64_t buried_ns; /* when we last looked after the dead */
    uint64_t identity, tickets;
    struct topic *topic;
    struct publisher_slot *slot;
    uint32_t slot_number;
    struct readers readers;
    struct open_loan *loans, *free_loans;
};

static struct closed_handles closed_producers;

static int check(const struct tarn_producer *producer) {
    return handle_check((const struct handle *)producer, HANDLE_PRODUCER);
}

/* After a put. B1: where the process is registered, the sleeper's barrier stands in for our fence. */
static void wake(struct tarn_producer *producer) {
    light_fence();
    POINT(put_not_rung);
    if (unlikely(load_relaxed(producer->bell) & 1))
        topic_wake(producer->topic);
}

/* ---- what is over --------------------------------------------------------------------------------------------- */

static struct extent **kept_in(struct tarn_producer *producer, uint64_t number) {
    return &producer->kept_in[number & (producer->ring.capacity - 1)];
}

/* Whether that message is over; lets go of its memory the first time that is seen. */
static bool settle(struct tarn_producer *producer, uint64_t number) {
    struct extent **extent = kept_in(producer, number);
    bool rejected;
    if (!*extent)
        return true;
    if (!queue_is_over(&producer->ring, number, &rejected))
        return false;
    producer->rejected += rejected;
    arena_unpin(*extent);
    *extent = NULL;
    return true;
}

static void advance(struct tarn_producer *producer) {
    uint64_t first = producer->first;
    while (first != producer->next && settle(producer, first))
        first++;
    if (first == producer->first)
        return;
    producer->first = first;
    store_release(&producer->slot->queue.first, first); /* before any of these cells is used again */
    POINT(first_told);
}

/* Also behind one that is not over. Returns how many are not. */
static uint64_t settle_all(struct tarn_producer *producer) {
    uint64_t left = 0;
    advance(producer);
    for (uint64_t number = producer->first; number != producer->next; number++)
        left += !settle(producer, number);
    return left;
}

/* ---- those who have left -------------------------------------------------------------------------------------- */

/*
 * Nobody is waited for without asking the kernel whether he is alive; what the dead had not acknowledged is free then.
 */
static void bury_dead(struct tarn_producer *producer) {
    int64_t now = os_now_ns();
    if (now - producer->buried_ns < SLICE_NS / 2)
        return;
    producer->buried_ns = now;
    process_lock();
    for (uint32_t slot = 0, slots = roster_subscriber_slots(&producer->topic->roster); slot < slots; slot++)
        slot_reap(producer->topic, SUBSCRIBER, slot, true);
    process_unlock();
}

static bool is_dead_keeper(void *context, const struct reader *reader) {
    struct tarn_producer *producer = context;
    return slot_is_dead(producer->topic, SUBSCRIBER, reader->slot, true);
}

/* Whether somebody else alive has all of our memory. */
static bool has_keeper(struct tarn_producer *producer) {
    if (!readers_refresh(&producer->readers))
        return false;
    process_lock();
    uint32_t keepers =
        readers_attached(&producer->readers, producer->arena.extents.segment_count, is_dead_keeper, producer);
    process_unlock();
    return keepers > 0;
}

/* ---- when there is no space ----------------------------------------------------------------------------------- */

/*
 * The number behind the last message of the first quarter that is not over: who has acknowledged that one wakes us.
 * Waking for each would take longer than the rest.
 */
static uint64_t wanted(struct tarn_producer *producer, uint64_t count) {
    uint64_t number = producer->next - producer->first < count ? producer->next : producer->first + count;
    while (number != producer->first && !*kept_in(producer, number - 1))
        number--;
    return number;
}

static int say_full(struct tarn_producer *producer) {
    int workers = tarn_producer_workers(producer);
    if (producer->next - producer->first == producer->ring.capacity)
        return fail(
            TARN_ERROR_FULL,
            "topic \"%s\": as many messages as the capacity of %" PRIu64
            " allows are not acknowledged (workers: %d); start more workers, raise the capacity, or wait longer",
            producer->topic->name, producer->ring.capacity, workers);
    return fail(TARN_ERROR_FULL,
                "topic \"%s\": no space: the memory limit of %" PRIu64
                " KiB is in use by messages that are not acknowledged and by open loans (workers: %d); start more "
                "workers, raise the limit, or wait longer",
                producer->topic->name, extents_limit(&producer->arena.extents) / 1024, workers);
}

static int say_no_space(struct tarn_producer *producer, int error) {
    if (error == -EAGAIN)
        return say_full(producer);
    return fail_memory(-error, "topic \"%s\": cannot add memory for messages", producer->topic->name);
}

static bool has_cell(const struct tarn_producer *producer) {
    return producer->next - producer->first < producer->ring.capacity;
}

/* What a message needs: a cell, unless it is lent only, and memory, unless it has a place already. */
struct need {
    bool cell;
    struct place *place; /* receives it; NULL: none is needed */
    uint64_t bytes;
};

static int try_once(struct tarn_producer *producer, const struct need *need, enum extents_effort effort) {
    uint64_t unsettled = producer->next - producer->first;
    if (unsettled >= SWEEP_MESSAGES || need->bytes >= SWEEP_BYTES)
        advance(producer);
    if (need->cell && !has_cell(producer))
        return -EAGAIN;
    return need->place ? arena_reserve(&producer->arena, need->bytes, effort, need->place) : 0;
}

/* At whatever cost. */
static int try_hard(struct tarn_producer *producer, const struct need *need) {
    settle_all(producer);
    return try_once(producer, need, EFFORT_ALL);
}

static int wait_for_space(struct tarn_producer *producer, const struct need *need) {
    bury_dead(producer);
    int error = try_hard(producer, need);
    if (error != -EAGAIN || producer->when_full != TARN_FULL_WAIT)
        return error ? say_no_space(producer, error) : 0;
    int64_t deadline_ns = os_deadline_ns(producer->full_timeout_ns);
    for (bool in_time = true;;) {
        bool barrier;
        uint64_t until = has_cell(producer) ? 0 : wanted(producer, (producer->ring.capacity + 3) / 4);
        uint32_t value = space_arm(producer->slot, until, &barrier); /* S1 */
        error = try_hard(producer, need);
        if (error == 0)
            return 0;
        if (error != -EAGAIN || !in_time)
            return say_no_space(producer, error);
        int64_t now = os_now_ns();
        in_time = now < deadline_ns;
        if (in_time)
            space_sleep(producer->slot, value, barrier, deadline_ns - now);
        else
            producer->buried_ns = 0;
        bury_dead(producer);
    }
}

/* The same, and keepers attach what was added, lest it goes with us. */
static int find_space(struct tarn_producer *producer, const struct need *need) {
    uint32_t segments = producer->arena.extents.segment_count;
    int status = wait_for_space(producer, need);
    if (producer->arena.extents.segment_count != segments)
        topic_ring_keepers(producer->topic);
    return status;
}

static void bound_payload(struct tarn_producer *producer, uint64_t limit_bytes) {
    producer->payload_bytes_max = producer->type_bytes < limit_bytes ? producer->type_bytes : limit_bytes;
}

/* 0, or a status. */
static int reserve(struct tarn_producer *producer, uint64_t bytes, bool cell, struct place *ret) {
    if (unlikely(bytes > producer->payload_bytes_max)) {
        bound_payload(producer, extents_limit(&producer->arena.extents));
        if (bytes > producer->payload_bytes_max)
            return fail(TARN_ERROR_TOO_BIG,
                        "topic \"%s\": a message of %" PRIu64 " bytes is larger than %" PRIu64
                        ", which its payload type or the memory limit allows",
                        producer->topic->name, bytes, producer->payload_bytes_max);
    }
    struct need need = {cell, ret, bytes};
    return likely(try_once(producer, &need, EFFORT_RECLAIM) == 0) ? 0 : find_space(producer, &need);
}

/* ---- pushing -------------------------------------------------------------------------------------------------- */

/* There is a cell. */
static int put(struct tarn_producer *producer, struct place *place, uint64_t bytes) {
    uint64_t number = producer->next;
    uint64_t word = arena_finish(place, bytes, number + 1);
    *kept_in(producer, number) = place->extent;
    queue_put(&producer->ring, number, word); /* Q1 */
    producer->next = number + 1;
    store_relaxed(&extents_header(&producer->arena.extents)->sent, producer->next); /* for tools */
    wake(producer);
    return 1;
}

int tarn_producer_push(tarn_producer *producer, const void *data, size_t bytes) {
    int status = check(producer);
    if (status)
        return status;
    if (!data && bytes)
        return fail(TARN_ERROR_ARGUMENT, "data is NULL, but bytes is %zu", bytes);
    struct place place;
    status = reserve(producer, bytes, true, &place);
    if (status)
        return status;
    if (bytes)
        memcpy(place.payload, data, bytes);
    return put(producer, &place, bytes);
}

/* ---- loans ---------------------------------------------------------------------------------------------------- */

static struct open_loan *take_loan(struct tarn_producer *producer) {
    struct open_loan *loan = producer->free_loans;
    if (loan) {
        producer->free_loans = loan->next_free;
    } else if ((loan = malloc(sizeof(*loan)))) {
        loan->next = producer->loans;
        producer->loans = loan;
    }
    if (loan)
        loan->ticket = producer->tickets += 2;
    return loan;
}

static void end_loan(struct tarn_producer *producer, struct open_loan *open, tarn_loan *loan) {
    open->ticket = 0; /* no ticket given out matches it any more */
    open->next_free = producer->free_loans;
    producer->free_loans = open;
    *loan = (tarn_loan){0};
}

int tarn_producer_loan(tarn_producer *producer, size_t bytes, tarn_loan *ret) {
    int status = check(producer);
    if (status)
        return status;
    if (!ret)
        return fail(TARN_ERROR_ARGUMENT, "the loan is NULL");
    struct place place;
    status = reserve(producer, bytes, false, &place);
    if (status)
        return status;
    struct open_loan *open = take_loan(producer);
    if (!open) {
        arena_unpin(place.extent);
        return fail(TARN_ERROR_NO_MEMORY, "topic \"%s\": no memory for another loan", producer->topic->name);
    }
    open->place = place;
    *ret = (tarn_loan){place.payload, bytes, producer, open, open->ticket, producer->identity};
    return 1;
}

/* NULL, with ret_status why: sent, or dropped, before; or inherited by a child. */
static struct open_loan *find_loan(const tarn_loan *loan, int *ret_status) {
    const struct tarn_producer *producer = loan->loaned_by;
    struct open_loan *open = loan->place;
    *ret_status = check(producer);
    if (*ret_status)
        return NULL;
    if (loan->identity == producer->identity && open->ticket == loan->ticket && loan->ticket)
        return open;
    *ret_status = fail(TARN_ERROR_RELEASED, "topic \"%s\": the loan was sent or dropped before", producer->topic->name);
    return NULL;
}

static int send_loan(tarn_loan *loan) {
    struct tarn_producer *producer = loan->loaned_by;
    int status;
    struct open_loan *open = find_loan(loan, &status);
    if (!open)
        return status;
    if (loan->bytes > open->place.bytes)
        return fail(TARN_ERROR_ARGUMENT, "topic \"%s\": the loan was of %" PRIu64 " bytes, and cannot be sent with %zu",
                    producer->topic->name, open->place.bytes, loan->bytes);
    struct need need = {true, NULL, 0};
    if (try_once(producer, &need, EFFORT_QUICK) != 0 && (status = find_space(producer, &need)) != 0)
        return status;
    put(producer, &open->place, loan->bytes);
    end_loan(producer, open, loan);
    return 1;
}

static int drop_loan(tarn_loan *loan) {
    int status;
    struct open_loan *open = find_loan(loan, &status);
    if (!open)
        return status;
    arena_unpin(open->place.extent);
    end_loan(loan->loaned_by, open, loan);
    return 0;
}

static const struct loan_calls loan_calls = {send_loan, drop_loan};

/* ---- opening -------------------------------------------------------------------------------------------------- */

static int check_options(const tarn_producer_options *options, tarn_producer_options *ret) {
    int status = options_copy(ret, sizeof(*ret), options, "tarn_producer_options");
    if (status || !options)
        return status;
    if (ret->when_full > TARN_FULL_FAIL)
        return fail(TARN_ERROR_ARGUMENT, "when_full is %" PRIu32 ": producers wait or fail, and drop nothing",
                    ret->when_full);
    if (ret->capacity > QUEUE_CAPACITY_MAX || ret->capacity & (ret->capacity - 1))
        return fail(TARN_ERROR_ARGUMENT, "capacity is %" PRIu32 ": not a power of two up to %u", ret->capacity,
                    QUEUE_CAPACITY_MAX);
    if (ret->attempts_max >= QUEUE_ATTEMPTS_MAX)
        return fail(TARN_ERROR_ARGUMENT, "attempts_max is %" PRIu32 ": the most is %u", ret->attempts_max,
                    QUEUE_ATTEMPTS_MAX - 1);
    if (ret->alignment & (ret->alignment - 1) || ret->alignment > 4096)
        return fail(TARN_ERROR_ARGUMENT, "alignment is %" PRIu32 ": not a power of two up to 4096", ret->alignment);
    if (ret->memory_limit_bytes && ret->memory_limit_bytes < MEMORY_LIMIT_MIN)
        return fail(TARN_ERROR_ARGUMENT, "memory_limit_bytes is %" PRIu64 ": the least is %u", ret->memory_limit_bytes,
                    MEMORY_LIMIT_MIN);
    if (ret->full_timeout_ns < TARN_IMMEDIATELY || ret->linger_ns < TARN_IMMEDIATELY || ret->claim_limit_ns < 0)
        return fail(TARN_ERROR_ARGUMENT,
                    "full_timeout_ns, linger_ns or claim_limit_ns is negative, and not TARN_IMMEDIATELY");
    return type_check(ret->type);
}

static int open_memory(struct tarn_producer *producer, const tarn_producer_options *options, uint16_t incarnation) {
    uint64_t limit = options->memory_limit_bytes;
    struct extents_options memory = {
        .access = producer->topic->directory.access,
        .limit_bytes = limit < MEMORY_LIMIT_MAX ? limit : MEMORY_LIMIT_MAX,
        .slack_bytes = LIMIT_SLACK_BYTES,
    };
    producer->type_bytes = options->type && options->type->bytes ? options->type->bytes : UINT64_MAX;
    bound_payload(producer, limit ? memory.limit_bytes : MEMORY_LIMIT_MIN);
    int error = arena_open(&producer->arena, &memory, producer->slot, &producer->readers, incarnation,
                           type_alignment(options->type, options->alignment));
    return error ? say_no_space(producer, error) : 0;
}

static int open_queue(struct tarn_producer *producer, const tarn_producer_options *options,
                      const struct roster_taker *taker) {
    uint32_t capacity = options->capacity ? options->capacity : DEFAULT_CAPACITY;
    struct queue_words *words = &producer->slot->queue;
    if (!(producer->kept_in = calloc(capacity, sizeof(struct extent *))))
        return fail(TARN_ERROR_NO_MEMORY, "no memory for a producer");
    store_relaxed(&words->claim_limit_ns, (uint64_t)options->claim_limit_ns);
    store_relaxed(&words->attempts_max, options->attempts_max);
    int error = queue_make(&producer->ring, &producer->topic->roster, producer->slot, capacity, taker);
    if (error)
        return fail_memory(-error, "topic \"%s\": cannot make a queue of %" PRIu32 " messages", producer->topic->name,
                           capacity);
    return 0;
}

static int open_in_slot(struct tarn_producer *producer, const tarn_producer_options *options) {
    uint16_t incarnation = incarnation_of(&producer->slot->incarnation);
    struct roster_taker taker = {true, producer->slot_number, incarnation, &producer->slot->pending_key};
    int status = type_settle(producer->topic, options->type, &taker);
    if (status)
        return status;
    readers_init(&producer->readers, &producer->topic->roster, producer->slot, incarnation);
    if ((status = open_queue(producer, options, &taker)) != 0)
        return status;
    if ((status = open_memory(producer, options, incarnation)) != 0)
        return status;
    store_relaxed(&producer->slot->when_full, producer->when_full);
    store_relaxed(&producer->slot->full_timeout_ns, producer->full_timeout_ns);
    store_release(&producer->slot->state, SLOT_LIVE); /* R1 */
    POINT(producer_live);
    topic_ring(producer->topic);
    return 0;
}

/* The slot says by now what it is to say. Under process_lock(). */
static void leave(struct tarn_producer *producer) {
    topic_leave(producer->topic, PUBLISHER, producer->slot_number);
    readers_free(&producer->readers);
    for (struct open_loan *loan = producer->loans, *next; loan; loan = next) {
        next = loan->next;
        free(loan);
    }
    free(producer->kept_in);
    handle_free(&closed_producers, &producer->handle);
}

static int open_locked(tarn_producer **ret, const char *topic, const tarn_producer_options *options) {
    struct tarn_producer *producer = handle_allocate(&closed_producers, sizeof(*producer), HANDLE_PRODUCER);
    if (!producer)
        return fail(TARN_ERROR_NO_MEMORY, "no memory for a producer");
    int status = topic_join(&producer->topic, &producer->slot_number, topic, options->directory, options->domain,
                            PUBLISHER, PATTERN_QUEUE);
    if (status) {
        handle_free(&closed_producers, &producer->handle);
        return status;
    }
    producer->slot = roster_publisher(&producer->topic->roster, producer->slot_number);
    if (!producer->slot) {
        status = topic_say_damaged(producer->topic);
        leave(producer);
        return status;
    }
    producer->handle.loans = &loan_calls;
    producer->bell = &producer->topic->roster.header->bell;
    producer->identity = producer->slot->who.number;
    producer->tickets = os_random() | 1;
    producer->when_full = options->when_full;
    producer->full_timeout_ns = options_time_ns(options->full_timeout_ns, DEFAULT_FULL_TIMEOUT_NS);
    producer->linger_ns = options_time_ns(options->linger_ns, TARN_FOREVER);
    status = open_in_slot(producer, options);
    if (status) {
        publisher_slot_clear(producer->topic, producer->slot_number, false);
        leave(producer);
    } else {
        *ret = producer;
    }
    return status;
}

int tarn_producer_open(tarn_producer **ret, const char *topic, const tarn_producer_options *options) {
    tarn_producer_options checked;
    if (!ret)
        return fail(TARN_ERROR_ARGUMENT, "the place for the producer is NULL");
    int status = check_options(options, &checked);
    if (!status)
        status = process_enter();
    if (status)
        return status;
    process_lock();
    status = open_locked(ret, topic, &checked);
    process_unlock();
    return status;
}

/* ---- the rest of a life --------------------------------------------------------------------------------------- */

/* How many messages are not yet as they should be: not over or, if that is enough, without a keeper. */
static uint64_t count_open(struct tarn_producer *producer, bool keeper_will_do) {
    uint64_t left = settle_all(producer);
    return left && keeper_will_do && has_keeper(producer) ? 0 : left;
}

/* Waits until there are none; returns how many there are when the time is over. */
static uint64_t wait_for(struct tarn_producer *producer, bool keeper_will_do, int64_t timeout_ns) {
    uint64_t left = count_open(producer, keeper_will_do);
    if (left == 0 || timeout_ns <= 0)
        return left;
    for (int64_t deadline_ns = os_deadline_ns(timeout_ns);;) {
        bool barrier;
        bury_dead(producer);
        uint64_t until = keeper_will_do ? 0 : wanted(producer, producer->ring.capacity);
        uint32_t value = space_arm(producer->slot, until, &barrier); /* S1 */
        left = count_open(producer, keeper_will_do);
        int64_t now = left ? os_now_ns() : 0;
        if (left == 0 || now >= deadline_ns)
            return left;
        space_sleep(producer->slot, value, barrier, deadline_ns - now);
    }
}

int tarn_producer_flush(tarn_producer *producer, int64_t timeout_ns) {
    int status = check(producer);
    return status ? status : wait_for(producer, false, timeout_ns) == 0;
}

int tarn_producer_kept(tarn_producer *producer, int64_t timeout_ns) {
    int status = check(producer);
    return status ? status : wait_for(producer, true, timeout_ns) == 0;
}

uint64_t tarn_producer_unacknowledged(tarn_producer *producer) {
    return check(producer) ? 0 : settle_all(producer);
}

uint64_t tarn_producer_rejected(tarn_producer *producer) {
    if (check(producer))
        return 0;
    settle_all(producer);
    return producer->rejected;
}

int tarn_producer_workers(tarn_producer *producer) {
    int status = check(producer);
    if (status)
        return status;
    int count = 0;
    process_lock();
    struct roster *roster = &producer->topic->roster;
    for (uint32_t slot = 0, slots = roster_subscriber_slots(roster); slot < slots; slot++) {
        struct subscriber_slot *subscriber = roster_subscriber(roster, slot);
        count += subscriber && load_acquire(&subscriber->state) == SLOT_LIVE &&
                 load_relaxed(&subscriber->role) == ROLE_WORKER &&
                 !slot_is_dead(producer->topic, SUBSCRIBER, slot, true);
    }
    process_unlock();
    return count;
}

uint64_t tarn_producer_identity(const tarn_producer *producer) {
    return check(producer) ? 0 : producer->identity;
}

int tarn_producer_close(tarn_producer *producer) {
    if (!producer)
        return 0;
    int status = check(producer);
    if (status)
        return status;
    uint64_t lost = wait_for(producer, true, producer->linger_ns);
    process_lock();
    struct arena arena =
        producer->arena; /* its memory goes after the slot said that we left, and before its lock does */
    if (settle_all(producer) == 0)
        publisher_slot_clear(producer->topic, producer->slot_number, false);
    else /* killed here: the same for who looks at what is left, but that we died */
        store_release(&producer->slot->state, SLOT_LEAVING);
    POINT(producer_left);
    arena_close(&arena);
    leave(producer);
    process_unlock();
    return lost > INT32_MAX ? INT32_MAX : (int)lost;
}
