/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* Publishers and loans: the public calls, the policy when full, waking. The log itself is in shm/writer.c. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/os.h"
#include "base/status.h"
#include "core/handle.h"
#include "base/machine.h"
#include "core/reaper.h"
#include "core/topic.h"
#include "core/type.h"
#include "shm/bell.h"
#include "shm/holds.h"
#include "shm/log.h"
#include "shm/writer.h"

#define DEFAULT_FULL_TIMEOUT_NS NS_PER_SECOND
#define DEFAULT_LINGER_NS NS_PER_SECOND
#define REALTIME_MEMORY_BYTES (UINT64_C(1) << 20)

struct open_loan {
    struct place place;
    uint64_t ticket; /* 0: not open */
    struct open_loan *next_free;
};

struct tarn_publisher {
    struct handle handle;
    struct writer writer;
    _Atomic uint32_t *bell;
    uint64_t payload_bytes_max; /* what type and limit allow; at first what the least limit does */
    uint64_t type_bytes;
    uint32_t wake;
    uint32_t when_full;
    bool timestamps;
    bool realtime;
    int64_t full_timeout_ns;
    int64_t linger_ns;
    int64_t buried_ns; /* when we last looked after the dead: it takes microseconds per reader */
    struct topic *topic;
    struct publisher_slot *slot;
    uint32_t slot_number;
    struct readers readers;
    uint64_t tickets;
    struct open_loan **loans; /* all ever made; a ticket's low bits index it */
    uint32_t loan_count;
    struct open_loan *free_loans;
};

#define MEMORY_LIMIT_MAX (UINT64_C(1) << 46)
#define TICKET_INDEX_BITS 24

/* Beyond the limit: the extent where the log ends and what surrounds a message, so that one as large as the limit fits. */
#define LIMIT_SLACK_BYTES (3 * EXTENT_BYTES_MIN)

static struct closed_handles closed_publishers;

/* ---- waking --------------------------------------------------------------------------------------------------- */

/* After a commit. B1: where the process is registered, the sleeper's barrier stands in for our fence. */
static inline void wake(struct tarn_publisher *publisher) {
    if (publisher->wake == TARN_WAKE_NEVER)
        return;
    if (publisher->wake == TARN_WAKE_AUTO && process_is_registered())
        compiler_barrier();
    else
        full_fence();
    if (__builtin_expect(load_relaxed(publisher->bell) & 1, 0))
        topic_wake(publisher->topic);
}

/* ---- when there is no space ----------------------------------------------------------------------------------- */

static void reap_reader(void *context, const struct reader *reader) {
    struct tarn_publisher *publisher = context;
    slot_reap(publisher->topic, SUBSCRIBER, reader->slot, true);
}

/* Nobody is waited for, and no memory is added for anybody, without asking the kernel whether he is alive. */
static void bury_dead(struct tarn_publisher *publisher) {
    uint64_t generation, sequence;
    int64_t now = os_now_ns();
    if (publisher->realtime || now - publisher->buried_ns < SLICE_NS / 2 || !readers_refresh(&publisher->readers))
        return;
    publisher->buried_ns = now;
    extents_blockage(&publisher->writer.extents, &generation, &sequence);
    process_lock();
    readers_blocking(&publisher->readers, generation, sequence, reap_reader, publisher);
    process_unlock();
}

struct blame {
    char text[160];
    uint32_t count;
};

static void name_reader(void *context, const struct reader *reader) {
    struct blame *blame = context;
    if (blame->count++ > 0)
        return;
    struct identity who = reader->subscriber->who;
    snprintf(blame->text, sizeof(blame->text), "%s subscriber %.15s (pid %" PRId32 ")",
             reader->reliable ? "reliable" : "holding", who.command, who.pid);
}

static int say_full(struct tarn_publisher *publisher) {
    struct extents *extents = &publisher->writer.extents;
    uint64_t generation, sequence;
    struct blame blame = {{0}, 0};
    extents_blockage(extents, &generation, &sequence);
    readers_blocking(&publisher->readers, generation, sequence, name_reader, &blame);
    char others[48] = "";
    if (blame.count > 1)
        snprintf(others, sizeof(others), " and %" PRIu32 " more", blame.count - 1);
    return fail(TARN_ERROR_FULL,
                "topic \"%s\": no space: the memory limit of %" PRIu64
                " KiB is in use, kept by %s%s; raise the limit, or let "
                "the publisher drop or wait longer",
                publisher->topic->name, extents_limit(extents) / 1024,
                blame.count ? blame.text : "the publisher's depth and open loans", others);
}

static int say_reserve_failed(struct tarn_publisher *publisher, int error) {
    if (error == -EAGAIN)
        return say_full(publisher);
    if (error == -ENOSPC)
        return fail(
            TARN_ERROR_LIMIT,
            "topic \"%s\": no shared memory segment for more messages is left (kernel.shmmni allows 4096 by default, "
            "kernel.shmall bounds their memory)",
            publisher->topic->name);
    return fail_system(status_of_errno(-error), -error, "topic \"%s\": cannot add memory for messages",
                       publisher->topic->name);
}

/* One more try, at whatever cost: what a send needs is in context of the caller. */
typedef int try_again(struct tarn_publisher *publisher, void *context, enum extents_effort effort);

/*
 * Waits until try succeeds, as the options say. 1: it did; 0: the message is dropped; or a status.
 * The sleeper's half of S1: announce (with a fence), look again, sleep. Readers change the word after they let go.
 */
static int find_space(struct tarn_publisher *publisher, try_again *try, void *context, bool may_drop) {
    bury_dead(publisher);
    int error = try(publisher, context, EFFORT_ALL);
    if (error == 0)
        return 1;
    if (error != -EAGAIN)
        return say_reserve_failed(publisher, error);
    if (publisher->when_full == TARN_FULL_DROP && may_drop) {
        publisher->writer.dropped++;
        return 0;
    }
    int64_t deadline_ns =
        publisher->when_full == TARN_FULL_WAIT ? os_deadline_ns(publisher->full_timeout_ns) : INT64_MIN;
    for (;;) {
        uint32_t value = atomic_fetch_or_explicit(&publisher->slot->space, 1, memory_order_seq_cst) | 1;
        /* killed here, or asleep: the bit stays, and costs the readers one needless wake each */
        full_fence(); /* S1 */
        error = try(publisher, context, EFFORT_ALL);
        if (error == 0)
            return 1;
        int64_t now = os_now_ns();
        if (error != -EAGAIN || now >= deadline_ns)
            return say_reserve_failed(publisher, error);
        os_futex_wait(&publisher->slot->space, value, deadline_ns - now < SLICE_NS ? deadline_ns - now : SLICE_NS);
        bury_dead(publisher);
    }
}

/* ---- sending -------------------------------------------------------------------------------------------------- */

struct reservation {
    uint64_t bytes;
    struct place place;
};

static int try_reserve(struct tarn_publisher *publisher, void *context, enum extents_effort effort) {
    struct reservation *reservation = context;
    return writer_reserve(&publisher->writer, reservation->bytes, effort, &reservation->place);
}

static void bound_payload(struct tarn_publisher *publisher, uint64_t limit_bytes) {
    publisher->payload_bytes_max = publisher->type_bytes < limit_bytes ? publisher->type_bytes : limit_bytes;
}

static int say_too_big(const struct tarn_publisher *publisher, uint64_t bytes) {
    return fail(TARN_ERROR_TOO_BIG,
                "topic \"%s\": a message of %" PRIu64 " bytes is larger than %" PRIu64
                ", which its payload type or the memory limit allows",
                publisher->topic->name, bytes, publisher->payload_bytes_max);
}

/* 1: reserved; 0: dropped; or a status. */
static inline int reserve(struct tarn_publisher *publisher, uint64_t bytes, struct place *ret) {
    if (__builtin_expect(bytes > publisher->payload_bytes_max, 0)) {
        bound_payload(publisher, extents_limit(&publisher->writer.extents));
        if (bytes > publisher->payload_bytes_max)
            return say_too_big(publisher, bytes);
    }
    if (__builtin_expect(writer_reserve(&publisher->writer, bytes, EFFORT_RECLAIM, ret) == 0, 1))
        return 1;
    struct reservation reservation = {.bytes = bytes};
    int result = find_space(publisher, try_reserve, &reservation, true);
    if (result == 1)
        *ret = reservation.place;
    return result;
}

static inline void commit(struct tarn_publisher *publisher, const struct place *place, uint64_t bytes) {
    writer_commit(&publisher->writer, place, bytes, publisher->timestamps ? os_now_ns() : 0);
    wake(publisher);
    writer_look_ahead(&publisher->writer, bytes);
}

int tarn_publisher_publish(tarn_publisher *publisher, const void *data, size_t bytes) {
    int status = handle_check((const struct handle *)publisher, HANDLE_PUBLISHER);
    if (status)
        return status;
    if (!data && bytes)
        return fail(TARN_ERROR_ARGUMENT, "data is NULL, but bytes is %zu", bytes);
    struct place place;
    if (bytes <= PACKED_RECORD_BYTES - RECORD_HEADER_BYTES && bytes <= publisher->payload_bytes_max &&
        writer_send_packed(&publisher->writer, data, bytes)) {
        wake(publisher);
        return 1;
    }
    status = reserve(publisher, bytes, &place);
    if (status != 1)
        return status;
    if (bytes)
        memcpy(place.extent->base + place.offset, data, bytes);
    commit(publisher, &place, bytes);
    return 1;
}

/* ---- loans ---------------------------------------------------------------------------------------------------- */

static struct open_loan *new_loan(struct tarn_publisher *publisher) {
    struct open_loan *loan = publisher->free_loans;
    if (loan) {
        publisher->free_loans = loan->next_free;
        uint64_t index = loan->ticket & ((1u << TICKET_INDEX_BITS) - 1);
        loan->ticket = ++publisher->tickets << TICKET_INDEX_BITS | index;
        return loan;
    }
    if (publisher->loan_count >= 1u << TICKET_INDEX_BITS)
        return NULL;
    if ((publisher->loan_count & (publisher->loan_count + 1)) == 0) { /* 0, 1, 3, 7: the next power of two less one */
        size_t capacity = 2 * (size_t)publisher->loan_count + 1;
        struct open_loan **loans = realloc(publisher->loans, capacity * sizeof(struct open_loan *));
        if (!loans)
            return NULL;
        publisher->loans = loans;
    }
    loan = malloc(sizeof(*loan));
    if (!loan)
        return NULL;
    loan->ticket = ++publisher->tickets << TICKET_INDEX_BITS | publisher->loan_count;
    publisher->loans[publisher->loan_count++] = loan;
    return loan;
}

static void end_loan(struct tarn_publisher *publisher, struct open_loan *open, tarn_loan *loan) {
    open->ticket &= (1u << TICKET_INDEX_BITS) - 1; /* no ticket given out matches it any more */
    open->next_free = publisher->free_loans;
    publisher->free_loans = open;
    loan->data = NULL; /* one by one: memset of so little costs more than all the rest */
    loan->bytes = 0;
    loan->loaned_by = NULL;
    loan->ticket = 0;
}

int tarn_publisher_loan(tarn_publisher *publisher, size_t bytes, tarn_loan *ret) {
    int status = handle_check((const struct handle *)publisher, HANDLE_PUBLISHER);
    if (status)
        return status;
    if (!ret)
        return fail(TARN_ERROR_ARGUMENT, "the loan is NULL");
    struct open_loan *open = new_loan(publisher);
    if (!open)
        return fail(TARN_ERROR_NO_MEMORY, "topic \"%s\": no memory for another loan", publisher->topic->name);
    status = reserve(publisher, bytes, &open->place);
    if (status != 1) {
        tarn_loan unused;
        end_loan(publisher, open, &unused);
        return status;
    }
    publisher->writer.head_loan = &open->place;
    *ret = (tarn_loan){open->place.extent->base + open->place.offset, bytes, publisher, open->ticket, {0}};
    return 1;
}

/* The open loan that the user's struct stands for, or a status. */
static int find_loan(const tarn_loan *loan, struct tarn_publisher **ret_publisher, struct open_loan **ret_open) {
    if (!loan)
        return fail(TARN_ERROR_ARGUMENT, "the loan is NULL");
    if (!loan->loaned_by)
        return fail(TARN_ERROR_RELEASED, "the loan was sent or dropped before");
    struct tarn_publisher *publisher = loan->loaned_by;
    int status = handle_check(&publisher->handle, HANDLE_PUBLISHER);
    if (status)
        return status;
    uint64_t index = loan->ticket & ((1u << TICKET_INDEX_BITS) - 1);
    if (index >= publisher->loan_count || publisher->loans[index]->ticket != loan->ticket)
        return fail(TARN_ERROR_RELEASED, "topic \"%s\": the loan was sent or dropped before", publisher->topic->name);
    *ret_publisher = publisher;
    *ret_open = publisher->loans[index];
    return 0;
}

struct referral {
    const struct place *place;
    uint64_t bytes;
    int64_t sent_ns;
};

static int try_refer(struct tarn_publisher *publisher, void *context, enum extents_effort effort) {
    struct referral *referral = context;
    return writer_refer(&publisher->writer, referral->place, referral->bytes, referral->sent_ns, effort);
}

/* Something else was sent since: the message enters the log as a reference to where it lies. */
static int send_overtaken(struct tarn_publisher *publisher, const struct place *place, uint64_t bytes) {
    struct referral referral = {place, bytes, publisher->timestamps ? os_now_ns() : 0};
    if (try_refer(publisher, &referral, EFFORT_RECLAIM) != 0) {
        int status = find_space(publisher, try_refer, &referral, false);
        if (status != 1)
            return status;
    }
    wake(publisher);
    writer_look_ahead(&publisher->writer, RECORD_REFERENCE_BYTES);
    return 1;
}

int tarn_loan_send(tarn_loan *loan) {
    struct tarn_publisher *publisher;
    struct open_loan *open;
    int status = find_loan(loan, &publisher, &open);
    if (status)
        return status;
    if (loan->bytes > open->place.bytes)
        return fail(TARN_ERROR_ARGUMENT, "topic \"%s\": the loan was of %" PRIu64 " bytes, and cannot be sent with %zu",
                    publisher->topic->name, open->place.bytes, loan->bytes);
    if (publisher->writer.head_loan == &open->place)
        commit(publisher, &open->place, loan->bytes);
    else if ((status = send_overtaken(publisher, &open->place, loan->bytes)) != 1)
        return status;
    end_loan(publisher, open, loan);
    return 1;
}

static void drop_loan(struct tarn_publisher *publisher, struct open_loan *open) {
    if (publisher->writer.head_loan == &open->place)
        publisher->writer.head_loan = NULL;
    else
        open->place.extent->pins--;
}

int tarn_loan_drop(tarn_loan *loan) {
    struct tarn_publisher *publisher;
    struct open_loan *open;
    int status = find_loan(loan, &publisher, &open);
    if (status)
        return status;
    drop_loan(publisher, open);
    end_loan(publisher, open, loan);
    return 0;
}

/* ---- opening -------------------------------------------------------------------------------------------------- */

static int check_options(const tarn_publisher_options *options, tarn_publisher_options *ret) {
    memset(ret, 0, sizeof(*ret));
    if (!options)
        return 0;
    int status = options_check(options, options->struct_bytes, sizeof(*ret), "tarn_publisher_options");
    if (status)
        return status;
    memcpy(ret, options, options->struct_bytes < sizeof(*ret) ? options->struct_bytes : sizeof(*ret));
    if (ret->when_full > TARN_FULL_DROP || ret->wake > TARN_WAKE_NEVER)
        return fail(TARN_ERROR_ARGUMENT, "when_full is %" PRIu32 " and wake is %" PRIu32 ": see their enums in tarn.h",
                    ret->when_full, ret->wake);
    if (ret->alignment & (ret->alignment - 1) || ret->alignment > 4096)
        return fail(TARN_ERROR_ARGUMENT, "alignment is %" PRIu32 ": not a power of two up to 4096", ret->alignment);
    if (ret->memory_limit_bytes && ret->memory_limit_bytes < MEMORY_LIMIT_MIN)
        return fail(TARN_ERROR_ARGUMENT, "memory_limit_bytes is %" PRIu64 ": the least is %u", ret->memory_limit_bytes,
                    MEMORY_LIMIT_MIN);
    if (ret->full_timeout_ns < TARN_IMMEDIATELY || ret->linger_ns < TARN_IMMEDIATELY)
        return fail(TARN_ERROR_ARGUMENT, "full_timeout_ns or linger_ns is negative, and not TARN_IMMEDIATELY");
    return type_check(ret->type);
}

static int64_t time_option(int64_t value, int64_t default_ns) {
    return value == 0 ? default_ns : value == TARN_IMMEDIATELY ? 0 : value;
}

/* Reliable subscribers, now that ours is visible: R1 on both sides, so at least one of the two notices. */
static int refuse_reliable(struct tarn_publisher *publisher) {
    readers_refresh(&publisher->readers);
    for (uint32_t i = 0; i < publisher->readers.count; i++)
        if (publisher->readers.list[i].reliable &&
            !slot_is_dead(publisher->topic, SUBSCRIBER, publisher->readers.list[i].slot, true))
            return fail(TARN_ERROR_REFUSED,
                        "topic \"%s\" has a reliable subscriber (pid %" PRId32 "), and this publisher refuses such",
                        publisher->topic->name, publisher->readers.list[i].subscriber->who.pid);
    return 0;
}

static int open_log(struct tarn_publisher *publisher, const tarn_publisher_options *options, uint16_t incarnation) {
    uint64_t alignment = options->alignment ? options->alignment : options->type ? options->type->alignment : 0;
    uint64_t limit = options->memory_limit_bytes ? options->memory_limit_bytes
                     : options->realtime         ? REALTIME_MEMORY_BYTES
                                                 : 0;
    struct extents_options memory = {
        .access = publisher->topic->directory.access,
        .depth = options->depth,
        .limit_bytes = limit < MEMORY_LIMIT_MAX ? limit : MEMORY_LIMIT_MAX,
        .slack_bytes = LIMIT_SLACK_BYTES,
        .rotation_bytes = options->rotation_bytes,
        .realtime = options->realtime,
    };
    publisher->type_bytes = options->type && options->type->bytes ? options->type->bytes : UINT64_MAX;
    bound_payload(publisher, limit ? memory.limit_bytes : MEMORY_LIMIT_MIN);
    int error = writer_open(&publisher->writer, &memory, publisher->slot, &publisher->readers, incarnation,
                            alignment < 8 ? 8 : alignment, options->timestamps);
    return error ? say_reserve_failed(publisher, error) : 0;
}

static int open_in_slot(struct tarn_publisher *publisher, const tarn_publisher_options *options) {
    uint16_t incarnation = incarnation_of(&publisher->slot->incarnation);
    int status =
        type_settle(publisher->topic, options->type,
                    &(struct roster_taker){true, publisher->slot_number, incarnation, &publisher->slot->pending_key});
    if (status)
        return status;
    readers_init(&publisher->readers, &publisher->topic->roster, publisher->slot, incarnation);
    status = open_log(publisher, options, incarnation);
    if (status)
        return status;
    store_relaxed(&publisher->slot->refuses_reliable, options->refuse_reliable != 0);
    publisher->slot->who.opened_ns = os_now_ns(); /* so that it is younger than any joiner that did not see it LIVE */
    store_release(&publisher->slot->state, SLOT_LIVE); /* R1 */
    topic_ring(publisher->topic);
    if (options->refuse_reliable && (status = refuse_reliable(publisher)) != 0)
        writer_close(&publisher->writer);
    return status;
}

/* Under process_lock(). */
static void leave(struct tarn_publisher *publisher) {
    publisher_slot_clear(publisher->topic, publisher->slot_number);
    topic_leave(publisher->topic, PUBLISHER, publisher->slot_number);
    readers_free(&publisher->readers);
    for (uint32_t i = 0; i < publisher->loan_count; i++)
        free(publisher->loans[i]);
    free(publisher->loans);
    handle_free(&closed_publishers, &publisher->handle);
}

static int open_locked(tarn_publisher **ret, const char *topic, const tarn_publisher_options *options) {
    struct tarn_publisher *publisher = handle_allocate(&closed_publishers, sizeof(*publisher), HANDLE_PUBLISHER);
    if (!publisher)
        return fail(TARN_ERROR_NO_MEMORY, "no memory for a publisher");
    int status =
        topic_join(&publisher->topic, &publisher->slot_number, topic, options->directory, options->domain, PUBLISHER);
    if (status) {
        handle_free(&closed_publishers, &publisher->handle);
        return status;
    }
    publisher->slot = roster_publisher(&publisher->topic->roster, publisher->slot_number);
    publisher->bell = &publisher->topic->roster.header->bell;
    publisher->wake = options->wake;
    publisher->when_full = options->when_full;
    publisher->timestamps = options->timestamps;
    publisher->realtime = options->realtime;
    publisher->full_timeout_ns = time_option(options->full_timeout_ns, DEFAULT_FULL_TIMEOUT_NS);
    publisher->linger_ns = time_option(options->linger_ns, DEFAULT_LINGER_NS);
    status = open_in_slot(publisher, options);
    if (status)
        leave(publisher);
    else
        *ret = publisher;
    return status;
}

int tarn_publisher_open(tarn_publisher **ret, const char *topic, const tarn_publisher_options *options) {
    tarn_publisher_options checked;
    if (!ret)
        return fail(TARN_ERROR_ARGUMENT, "the place for the publisher is NULL");
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

static void leave_alone(void *context, const struct reader *reader) {
    (void)context;
    (void)reader;
}

/* Those who are behind, after the dead among them were buried. */
static uint32_t count_behind(struct tarn_publisher *publisher, uint64_t sequence) {
    if (!readers_refresh(&publisher->readers))
        return UINT32_MAX;
    process_lock();
    uint32_t segments = publisher->writer.extents.segment_count;
    uint32_t behind = readers_behind(&publisher->readers, segments, sequence, reap_reader, publisher);
    if (behind && readers_refresh(&publisher->readers))
        behind = readers_behind(&publisher->readers, segments, sequence, leave_alone, NULL);
    process_unlock();
    return behind;
}

/* Waits until nobody is behind; returns how many are when the time is over. */
static uint32_t flush(struct tarn_publisher *publisher, int64_t timeout_ns) {
    int64_t deadline_ns = os_deadline_ns(timeout_ns);
    writer_report_drops(&publisher->writer);
    uint64_t sequence = publisher->writer.sequence;
    for (;;) {
        uint32_t value = atomic_fetch_or_explicit(&publisher->slot->space, 1, memory_order_seq_cst) | 1;
        full_fence(); /* S1 */
        uint32_t behind = count_behind(publisher, sequence);
        int64_t now = behind ? os_now_ns() : 0;
        if (behind == 0 || now >= deadline_ns)
            return behind;
        os_futex_wait(&publisher->slot->space, value, deadline_ns - now < SLICE_NS ? deadline_ns - now : SLICE_NS);
    }
}

int tarn_publisher_flush(tarn_publisher *publisher, int64_t timeout_ns) {
    int status = handle_check((const struct handle *)publisher, HANDLE_PUBLISHER);
    return status ? status : flush(publisher, timeout_ns) == 0;
}

int tarn_publisher_subscribers(tarn_publisher *publisher) {
    int status = handle_check((const struct handle *)publisher, HANDLE_PUBLISHER);
    if (status)
        return status;
    int count = 0;
    process_lock();
    struct roster *roster = &publisher->topic->roster;
    for (uint32_t slot = 0, slots = roster_subscriber_slots(roster); slot < slots; slot++) {
        struct subscriber_slot *subscriber = roster_subscriber(roster, slot);
        count += subscriber && load_acquire(&subscriber->state) == SLOT_LIVE &&
                 !slot_is_dead(publisher->topic, SUBSCRIBER, slot, true);
    }
    process_unlock();
    return count;
}

uint64_t tarn_publisher_identity(const tarn_publisher *publisher) {
    return handle_check((const struct handle *)publisher, HANDLE_PUBLISHER) ? 0 : publisher->slot->who.number;
}

int tarn_publisher_close(tarn_publisher *publisher) {
    if (!publisher)
        return 0;
    int status = handle_check(&publisher->handle, HANDLE_PUBLISHER);
    if (status)
        return status;
    bool sent = publisher->writer.sequence > 1 || publisher->writer.dropped;
    uint32_t behind = sent ? flush(publisher, publisher->linger_ns) : 0;
    process_lock();
    struct writer writer = publisher->writer; /* its memory goes after the slot said that we left */
    leave(publisher);
    writer_close(&writer);
    process_unlock();
    return behind > INT32_MAX ? INT32_MAX : (int)behind;
}
