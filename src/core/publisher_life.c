/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* The life of a publisher, but for what it sends: opening, flushing, counts, closing. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "base/os.h"
#include "base/status.h"
#include "core/handle.h"
#include "core/publisher.h"
#include "core/reaper.h"
#include "core/remains.h"
#include "core/topic.h"
#include "core/type.h"
#include "shm/space.h"
#include "shm/writer.h"

#define DEFAULT_FULL_TIMEOUT_NS NS_PER_SECOND
#define DEFAULT_LINGER_NS NS_PER_SECOND
#define KEEPERS_TIMEOUT_NS NS_PER_SECOND
#define REALTIME_MEMORY_BYTES (UINT64_C(1) << 20)

static struct closed_handles closed_publishers;
static _Atomic uint32_t nobody_sleeps; /* the bell of those who never wake anyone */

/* ---- opening -------------------------------------------------------------------------------------------------- */

static int check_options(const tarn_publisher_options *options, tarn_publisher_options *ret) {
    int status = options_copy(ret, sizeof(*ret), options, "tarn_publisher_options");
    if (status || !options)
        return status;
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

static int say_reliable(const struct tarn_publisher *publisher, const struct identity *who) {
    return fail(TARN_ERROR_REFUSED, "topic \"%s\" has a reliable subscriber (%s), and this publisher refuses such",
                publisher->topic->name, process_pid_text(who->pid, who->namespaces).text);
}

/* Reliable subscribers, now that ours is visible: R1 on both sides, so at least one of the two notices. */
static int refuse_reliable(struct tarn_publisher *publisher) {
    if (!readers_refresh(&publisher->readers))
        return fail(TARN_ERROR_NO_MEMORY,
                    "topic \"%s\": no memory to look for reliable subscribers, or a peer damaged their list",
                    publisher->topic->name);
    for (uint32_t i = 0; i < publisher->readers.count; i++)
        if (publisher->readers.list[i].reliable &&
            !slot_is_dead(publisher->topic, SUBSCRIBER, publisher->readers.list[i].slot, true))
            return say_reliable(publisher, &publisher->readers.list[i].subscriber->who);
    return 0;
}

static int open_log(struct tarn_publisher *publisher, const tarn_publisher_options *options, uint16_t incarnation) {
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
    publisher->type_bytes =
        options->type && options->type->bytes ? options->type->bytes + publisher->lead_bytes : UINT64_MAX;
    publisher_bound_payload(publisher, limit ? memory.limit_bytes : MEMORY_LIMIT_MIN);
    int error = writer_open(&publisher->writer, &memory, publisher->slot, &publisher->readers, incarnation,
                            type_alignment(options->type, options->alignment), options->timestamps);
    publisher->segments_told = publisher->writer.extents.segment_count;
    return error ? publisher_say_reserve_failed(publisher, error) : 0;
}

/*
 * Before the slot is LIVE: who looks then knows whether it is for him. killed here, or behind: OPENING, as any other.
 */
static void write_address(struct tarn_publisher *publisher, const struct publisher_address *address) {
    publisher->readers.only = address->addressee;
    /* release, A1: who finds a successor's words finds the incarnation raised */
    store_release(&publisher->slot->pattern_words[SERVICE_ADDRESSEE], address->addressee);
    store_release(&publisher->slot->pattern_words[SERVICE_SPEAKER], address->speaker);
    POINT(address_written);
}

static int open_in_slot(struct tarn_publisher *publisher, const tarn_publisher_options *options,
                        const struct publisher_address *address) {
    uint16_t incarnation = incarnation_of(&publisher->slot->incarnation);
    int status = 0;
    if (!address)
        status = type_settle(
            publisher->topic, options->type,
            &(struct roster_taker){true, publisher->slot_number, incarnation, &publisher->slot->pending_key});
    if (status)
        return status;
    readers_init(&publisher->readers, &publisher->topic->roster, publisher->slot, incarnation);
    if (address)
        write_address(publisher, address);
    status = open_log(publisher, options, incarnation);
    if (status)
        return status;
    store_relaxed(&publisher->slot->refuses_reliable, options->refuse_reliable != 0);
    store_relaxed(&publisher->slot->when_full, publisher->when_full);
    store_relaxed(&publisher->slot->full_timeout_ns, publisher->full_timeout_ns);
    store_release(&publisher->slot->state, SLOT_LIVE); /* R1 */
    POINT(publisher_live);
    if (address) /* hundreds of clients that connect would wake each other all the time */
        topic_ring_for(publisher->topic, peer_slot(address->addressee));
    else
        topic_ring(publisher->topic);
    if (options->refuse_reliable && (status = refuse_reliable(publisher)) != 0)
        writer_close(&publisher->writer);
    return status;
}

/*
 * Under process_lock(). kept: what was sent stays, as somebody keeps it, and with it the slot, by which others find it.
 */
static void leave(struct tarn_publisher *publisher, bool kept) {
    if (kept) /* killed behind it: the slot's byte is free, and who looks at it looks whether it is kept yet */
        publisher_slot_keep(publisher->topic, publisher->slot_number, false);
    else
        publisher_slot_clear(publisher->topic, publisher->slot_number, false);
    topic_leave(publisher->topic, PUBLISHER, publisher->slot_number);
    readers_free(&publisher->readers);
    for (struct open_loan *loan = publisher->loans, *next; loan; loan = next) {
        next = loan->next;
        free(loan);
    }
    handle_free(&closed_publishers, &publisher->handle);
}

/* Whom it wakes. NULL: a peer damaged the list of subscribers. */
static _Atomic uint32_t *bell_of(struct tarn_publisher *publisher, const tarn_publisher_options *options,
                                 const struct publisher_address *address) {
    if (options->wake == TARN_WAKE_NEVER)
        return &nobody_sleeps;
    if (!address)
        return &publisher->topic->roster.header->bell;
    struct subscriber_slot *addressee = roster_subscriber(&publisher->topic->roster, peer_slot(address->addressee));
    return addressee ? &addressee->bell : NULL;
}

/* In a slot of publisher->topic; leaves it on failure. address: NULL for what all subscribers read. */
static int open_joined(struct tarn_publisher *publisher, const tarn_publisher_options *options,
                       const struct publisher_address *address) {
    int status;
    publisher->slot = roster_publisher(&publisher->topic->roster, publisher->slot_number);
    publisher->bell = publisher->slot ? bell_of(publisher, options, address) : NULL;
    if (!publisher->bell) {
        status = topic_say_damaged(publisher->topic);
        leave(publisher, false);
        return status;
    }
    publisher->lead_bytes = address ? address->lead_bytes : 0;
    publisher->identity = publisher->slot->who.number;
    publisher->tickets = os_random() | 1;
    publisher->wake = options->wake;
    publisher->when_full = options->when_full;
    publisher->timestamps = options->timestamps;
    publisher->realtime = options->realtime;
    publisher->full_timeout_ns = options_time_ns(options->full_timeout_ns, DEFAULT_FULL_TIMEOUT_NS);
    publisher->linger_ns = options_time_ns(options->linger_ns, DEFAULT_LINGER_NS);
    status = open_in_slot(publisher, options, address);
    if (status)
        leave(publisher, false);
    return status;
}

static int open_locked(tarn_publisher **ret, const char *topic, const tarn_publisher_options *options) {
    struct tarn_publisher *publisher = handle_allocate(&closed_publishers, sizeof(*publisher), HANDLE_PUBLISHER);
    if (!publisher)
        return fail(TARN_ERROR_NO_MEMORY, "no memory for a publisher");
    int status = topic_join(&publisher->topic, &publisher->slot_number, topic, options->directory, options->domain,
                            PUBLISHER, PATTERN_MESSAGES);
    if (status) {
        handle_free(&closed_publishers, &publisher->handle);
        return status;
    }
    status = open_joined(publisher, options, NULL);
    if (!status)
        *ret = publisher;
    return status;
}

static int open_addressed_locked(struct tarn_publisher **ret, struct topic *topic,
                                 const tarn_publisher_options *options, const struct publisher_address *address) {
    struct tarn_publisher *publisher = handle_allocate(&closed_publishers, sizeof(*publisher), HANDLE_PUBLISHER);
    if (!publisher)
        return fail(TARN_ERROR_NO_MEMORY, "topic \"%s\": no memory to reach another of its participants", topic->name);
    publisher->topic = topic;
    int status = topic_join_again(topic, &publisher->slot_number, PUBLISHER);
    if (status) {
        handle_free(&closed_publishers, &publisher->handle);
        return status;
    }
    status = open_joined(publisher, options, address);
    if (!status)
        *ret = publisher;
    return status;
}

int publisher_open_addressed(struct tarn_publisher **ret, struct topic *topic, const tarn_publisher_options *options,
                             const struct publisher_address *address) {
    process_lock();
    int status = open_addressed_locked(ret, topic, options, address);
    process_unlock();
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

/* ---- flushing, counts, closing --------------------------------------------------------------------------------- */

/* Those who are behind, but for the dead among them, who are buried. */
static uint32_t count_behind(struct tarn_publisher *publisher, uint64_t sequence, bool with_keepers) {
    if (!readers_refresh(&publisher->readers))
        return UINT32_MAX;
    process_lock();
    struct writer *writer = &publisher->writer;
    uint32_t segments = extents_segments_needed(&writer->extents, writer->head, writer->sequence);
    uint32_t behind =
        readers_behind(&publisher->readers, segments, sequence, with_keepers, reap_reader, publisher->topic);
    process_unlock();
    return behind;
}

/*
 * Waits until nobody is behind that sequence; returns how many are when the time is over. Keepers are waited for as
 * well, but no longer than KEEPERS_TIMEOUT_NS: one may be stopped, or not be able to attach our memory, and nobody is
 * held up by keepers.
 */
static uint32_t wait_for_readers(struct tarn_publisher *publisher, uint64_t sequence, int64_t timeout_ns) {
    if (count_behind(publisher, sequence, true) == 0)
        return 0; /* whoever joins from here on need not be waited for */
    if (timeout_ns <= 0)
        return count_behind(publisher, sequence, false);
    int64_t deadline_ns = os_deadline_ns(timeout_ns), keepers_until_ns = os_deadline_ns(KEEPERS_TIMEOUT_NS);
    for (;;) {
        bool barrier;
        uint32_t value = space_arm(publisher->slot, sequence, &barrier);
        int64_t now = os_now_ns();
        if (count_behind(publisher, sequence, now < keepers_until_ns) == 0)
            return 0;
        if (now >= deadline_ns)
            return count_behind(publisher, sequence, false);
        space_sleep(publisher->slot, value, barrier, deadline_ns - now);
    }
}

static bool report_drops(struct tarn_publisher *publisher) {
    if (!publisher->writer.dropped)
        return true;
    bool reported = writer_report_drops(&publisher->writer);
    publisher_note_overtaken(publisher);
    if (reported)
        wake(publisher);
    return reported;
}

static int try_to_report(struct tarn_publisher *publisher, const void *context, enum extents_effort effort) {
    (void)context, (void)effort;
    return report_drops(publisher) ? 0 : -EAGAIN;
}

/* As report_drops(), waiting for the space that it takes. */
static bool report_drops_in_time(struct tarn_publisher *publisher, int64_t deadline_ns) {
    publisher->buried_ns = 0;
    publisher_bury_dead(publisher);
    return publisher_try_until(publisher, try_to_report, NULL, deadline_ns) == 0;
}

/* How many subscribers have not got all, be it the news of the last drops. */
static uint32_t flush(struct tarn_publisher *publisher, int64_t timeout_ns) {
    int64_t deadline_ns = os_deadline_ns(timeout_ns);
    bool reported = report_drops(publisher);
    uint32_t behind = wait_for_readers(publisher, publisher->writer.sequence, timeout_ns);
    if (reported || behind)
        return behind;
    if (!report_drops_in_time(publisher, deadline_ns)) /* though nobody is behind any more */
        return (uint32_t)tarn_publisher_subscribers(publisher);
    int64_t now = os_now_ns();
    return wait_for_readers(publisher, publisher->writer.sequence, now < deadline_ns ? deadline_ns - now : 0);
}

bool publisher_is_attached(struct tarn_publisher *publisher, int64_t timeout_ns) {
    return wait_for_readers(publisher, 0, timeout_ns) == 0;
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
                 load_relaxed(&subscriber->role) != ROLE_KEEPER &&
                 !slot_is_dead(publisher->topic, SUBSCRIBER, slot, true);
    }
    process_unlock();
    return count;
}

uint64_t tarn_publisher_identity(const tarn_publisher *publisher) {
    return handle_check((const struct handle *)publisher, HANDLE_PUBLISHER) ? 0 : publisher->identity;
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
    bool kept = sent && remains_are_needed(publisher->topic, publisher->slot_number, true);
    if (kept)
        extents_give_back(&publisher->writer.extents);
    struct writer writer = publisher->writer; /* its memory goes after the slot said that we left */
    leave(publisher, kept);
    writer_close(&writer);
    process_unlock();
    return behind > INT32_MAX ? INT32_MAX : (int)behind;
}
