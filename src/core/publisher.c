/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* What a publisher sends, loans, the policy when full, waking. The log itself is in shm/writer.c. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/os.h"
#include "base/status.h"
#include "core/handle.h"
#include "core/publisher.h"
#include "core/reaper.h"
#include "core/topic.h"
#include "shm/log.h"
#include "shm/space.h"
#include "shm/writer.h"

/* ---- waking --------------------------------------------------------------------------------------------------- */

int publisher_wake_sleepers(struct tarn_publisher *publisher) {
    if (publisher->readers.only)
        topic_wake_subscriber(publisher->topic, peer_slot(publisher->readers.only));
    else
        topic_wake(publisher->topic);
    return 1;
}

/* ---- when there is no space ----------------------------------------------------------------------------------- */

/* Nobody is waited for, and no memory is added for anybody, without asking the kernel whether he is alive. */
void publisher_bury_dead(struct tarn_publisher *publisher) {
    reap_blocking(publisher->topic, &publisher->readers, &publisher->writer.extents, &publisher->buried_ns);
}

struct blame {
    char text[160];
    uint32_t count;
};

static bool name_reader(void *context, const struct reader *reader) {
    struct blame *blame = context;
    if (blame->count++ > 0)
        return false;
    struct identity who = reader->subscriber->who;
    snprintf(blame->text, sizeof(blame->text), "%s subscriber %.15s (%s)", reader->reliable ? "reliable" : "holding",
             who.command, process_pid_text(who.pid, who.namespaces).text);
    return false;
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

int publisher_say_reserve_failed(struct tarn_publisher *publisher, int error) {
    if (error == -EAGAIN)
        return say_full(publisher);
    return fail_memory(-error, "topic \"%s\": cannot add memory for messages", publisher->topic->name);
}

/*
 * Whether waiting is of use: somebody keeps, or may keep, what is in the way. Else it is depth and open loans alone,
 * which are ours. In doubt it is: with loans that were sent late, whose extents are no part of the log, readers are not
 * asked.
 */
static bool may_get_space(struct tarn_publisher *publisher) {
    struct extents *extents = &publisher->writer.extents;
    uint64_t generation, sequence;
    struct blame blame = {{0}, 0};
    extents_blockage(extents, &generation, &sequence);
    uint64_t youngest = extents_youngest_retired(extents);
    if (youngest > generation)
        generation = youngest;
    readers_blocking(&publisher->readers, generation, sequence, name_reader, &blame);
    return blame.count > 0 || extents->detached.head || !publisher->readers.known;
}

int publisher_try_until(struct tarn_publisher *publisher, try_again *try, const void *context, int64_t deadline_ns) {
    for (bool in_time = true, hopeless = false;;) {
        bool barrier, was_hopeless = hopeless;
        uint32_t value = space_arm(publisher->slot, extents_wanted(&publisher->writer.extents), &barrier);
        int error = try(publisher, context, EFFORT_ALL);
        if (error != -EAGAIN || !in_time)
            return error;
        hopeless = !may_get_space(publisher);
        if (hopeless && was_hopeless) /* before this try and behind it: it was not let go in between */
            return error;
        if (hopeless)
            continue;
        int64_t now = os_now_ns();
        in_time = now < deadline_ns;
        if (in_time)
            space_sleep(publisher->slot, value, barrier, deadline_ns - now);
        else
            publisher->buried_ns = 0; /* nobody is blamed who has died since the last look */
        publisher_bury_dead(publisher);
    }
}

/*
 * Waits until try succeeds, as the options say. 1: it did; 0: the message is dropped; or a status.
 */
static int wait_for_space(struct tarn_publisher *publisher, try_again *try, const void *context, bool may_drop) {
    if (!publisher->realtime) /* else not before it has to sleep anyway */
        publisher_bury_dead(publisher);
    int error = try(publisher, context, EFFORT_ALL);
    if (error == 0)
        return 1;
    if (error != -EAGAIN)
        return publisher_say_reserve_failed(publisher, error);
    if (publisher->when_full == TARN_FULL_DROP && may_drop) {
        writer_drop(&publisher->writer);
        return 0;
    }
    if (publisher->when_full != TARN_FULL_WAIT)
        return say_full(publisher);
    error = publisher_try_until(publisher, try, context, os_deadline_ns(publisher->full_timeout_ns));
    return error ? publisher_say_reserve_failed(publisher, error) : 1;
}

/* Who keeps messages attaches what was added, lest it goes with us. */
static void tell_growth(struct tarn_publisher *publisher) {
    uint32_t segments = publisher->writer.extents.segment_count;
    if (likely(segments == publisher->segments_told))
        return;
    publisher->segments_told = segments;
    topic_ring_keepers(publisher->topic);
}

static int find_space(struct tarn_publisher *publisher, try_again *try, const void *context, bool may_drop) {
    int result = wait_for_space(publisher, try, context, may_drop);
    tell_growth(publisher);
    return result;
}

/* ---- sending -------------------------------------------------------------------------------------------------- */

/* The loan at the head may have been overtaken. */
void publisher_note_overtaken(struct tarn_publisher *publisher) {
    if (!publisher->head_ticket || publisher->writer.loan)
        return;
    publisher->spare->ticket = publisher->head_ticket;
    publisher->head_ticket = 0;
    publisher->spare = NULL;
}

static int try_reserve(struct tarn_publisher *publisher, const void *context, enum extents_effort effort) {
    const uint64_t *bytes = context;
    int error = writer_reserve(&publisher->writer, *bytes, effort);
    publisher_note_overtaken(publisher);
    return error;
}

void publisher_bound_payload(struct tarn_publisher *publisher, uint64_t limit_bytes) {
    publisher->payload_bytes_max = publisher->type_bytes < limit_bytes ? publisher->type_bytes : limit_bytes;
    publisher->packed_bytes_max =
        publisher->type_bytes < PACKED_PAYLOAD_BYTES ? publisher->type_bytes : PACKED_PAYLOAD_BYTES;
    publisher->short_bytes_max =
        publisher->type_bytes < SHORT_PAYLOAD_BYTES ? publisher->type_bytes : SHORT_PAYLOAD_BYTES;
    bool word_alone = publisher->lead_bytes == sizeof(uint64_t) && publisher->packed_bytes_max >= sizeof(uint64_t);
    publisher->packed_led_bytes = word_alone ? publisher->packed_bytes_max - sizeof(uint64_t) + 1 : 0;
}

static int say_too_big(const struct tarn_publisher *publisher, uint64_t bytes) {
    return fail(TARN_ERROR_TOO_BIG,
                "topic \"%s\": a message of %" PRIu64 " bytes is larger than %" PRIu64
                ", which its payload type or the memory limit allows",
                publisher->topic->name, bytes - publisher->lead_bytes,
                publisher->payload_bytes_max - publisher->lead_bytes);
}

/* 1: reserved; 0: dropped; or a status. */
static int reserve(struct tarn_publisher *publisher, uint64_t bytes) {
    if (bytes > publisher->payload_bytes_max) {
        publisher_bound_payload(publisher, extents_limit(&publisher->writer.extents));
        if (bytes > publisher->payload_bytes_max)
            return say_too_big(publisher, bytes);
    }
    if (try_reserve(publisher, &bytes, EFFORT_RECLAIM) == 0) {
        tell_growth(publisher);
        return 1;
    }
    return find_space(publisher, try_reserve, &bytes, true);
}

SHORT_HALF bool reserve_easily(struct tarn_publisher *publisher, uint64_t bytes) {
    return likely(bytes <= publisher->payload_bytes_max) && writer_reserve_easily(&publisher->writer, bytes);
}

SHORT_HALF void clear_loan(tarn_loan *loan) {
    loan->data = NULL; /* one by one: memset of so little costs more than all the rest */
    loan->bytes = 0;
    loan->loaned_by = loan->place = NULL;
    loan->ticket = loan->identity = 0;
}

SHORT_HALF void end_head_loan(struct tarn_publisher *publisher, tarn_loan *loan) {
    publisher->head_ticket = 0;
    clear_loan(loan);
}

LONG_HALF int settle(struct tarn_publisher *publisher) {
    wake(publisher);
    writer_settle(&publisher->writer);
    tell_growth(publisher);
    if (unlikely(publisher->writer.extents.is_held_long))
        reap_holding(publisher->topic, &publisher->readers, &publisher->writer.extents);
    return 1;
}

/* Sends what was reserved, and ends the loan, if it is one. Returns 1. */
SHORT_HALF int commit(struct tarn_publisher *publisher, tarn_loan *loan) {
    if (unlikely(publisher->timestamps))
        writer_stamp(&publisher->writer, os_now_ns());
    bool settled = writer_commit(&publisher->writer);
    if (loan)
        end_head_loan(publisher, loan);
    return likely(settled) ? wake(publisher) : settle(publisher);
}

LONG_HALF int publish(struct tarn_publisher *publisher, const void *data, uint64_t bytes) {
    int status = handle_check((const struct handle *)publisher, HANDLE_PUBLISHER);
    if (status)
        return status;
    if (!data && bytes)
        return fail(TARN_ERROR_ARGUMENT, "data is NULL, but bytes is %" PRIu64, bytes);
    status = reserve_easily(publisher, bytes) ? 1 : reserve(publisher, bytes);
    if (status != 1)
        return status;
    if (bytes)
        memcpy(writer_payload(&publisher->writer), data, bytes);
    return commit(publisher, NULL);
}

/* Of any size but those below: it calls memcpy(), for which it has to save registers. */
LONG_HALF int publish_any(struct tarn_publisher *publisher, const void *data, size_t bytes) {
    if (bytes <= publisher->packed_bytes_max && writer_send_packed(&publisher->writer, data, bytes))
        return wake(publisher);
    if (bytes <= publisher->short_bytes_max && writer_send_short(&publisher->writer, data, bytes))
        return wake(publisher);
    return publish(publisher, data, bytes);
}

int tarn_publisher_publish(tarn_publisher *publisher, const void *data, size_t bytes) {
    if (unlikely(!handle_is((const struct handle *)publisher, HANDLE_PUBLISHER) || !data))
        return publish(publisher, data, bytes);
    if (bytes == 8 && bytes <= publisher->packed_bytes_max && writer_send_packed(&publisher->writer, data, 8))
        return wake(publisher);
    if (bytes == CACHE_LINE_BYTES && bytes <= publisher->short_bytes_max &&
        writer_send_short(&publisher->writer, data, CACHE_LINE_BYTES))
        return wake(publisher);
    return publish_any(publisher, data, bytes);
}

int publisher_publish_led_slowly(struct tarn_publisher *publisher, uint64_t word, const void *data, uint64_t bytes) {
    uint64_t all_bytes = publisher->lead_bytes + bytes;
    int status = all_bytes < bytes                      ? say_too_big(publisher, all_bytes)
                 : reserve_easily(publisher, all_bytes) ? 1
                                                        : reserve(publisher, all_bytes);
    if (status != 1)
        return status;
    char *lead = writer_payload(&publisher->writer);
    memcpy(lead, &word, sizeof(word));
    if (bytes)
        memcpy(lead + publisher->lead_bytes, data, bytes);
    return commit(publisher, NULL);
}

int publisher_publish_led_now(struct tarn_publisher *publisher, uint64_t word, const void *data, uint64_t bytes) {
    uint32_t when_full = publisher->when_full;
    publisher->when_full = TARN_FULL_FAIL;
    int status = publisher_publish_led(publisher, word, data, bytes);
    publisher->when_full = when_full;
    return status;
}

/* ---- loans ---------------------------------------------------------------------------------------------------- */

static void free_loan(struct tarn_publisher *publisher, struct open_loan *open) {
    open->ticket = 0; /* no ticket given out matches it any more */
    open->next_free = publisher->free_loans;
    publisher->free_loans = open;
}

/* Has a spare loan ready. False: no memory for it. */
static bool ready_spare(struct tarn_publisher *publisher) {
    if (publisher->spare)
        return true;
    struct open_loan *loan = publisher->free_loans;
    if (loan) {
        publisher->free_loans = loan->next_free;
    } else if ((loan = malloc(sizeof(*loan)))) {
        loan->ticket = 0;
        loan->next = publisher->loans;
        publisher->loans = loan;
    }
    publisher->spare = loan;
    return loan;
}

/* Lends out what was reserved. Returns 1. */
SHORT_HALF int begin_loan(struct tarn_publisher *publisher, uint64_t bytes, tarn_loan *ret) {
    struct open_loan *spare = publisher->spare;
    uint64_t ticket = publisher->tickets + 2;
    publisher->tickets = publisher->head_ticket = ticket;
    publisher->writer.loan = &spare->place;
    ret->data = writer_payload(&publisher->writer);
    ret->bytes = bytes;
    ret->loaned_by = publisher;
    ret->place = spare;
    ret->ticket = ticket;
    ret->identity = publisher->identity;
    return 1;
}

LONG_HALF int lend(struct tarn_publisher *publisher, uint64_t bytes, tarn_loan *ret) {
    int status = handle_check((const struct handle *)publisher, HANDLE_PUBLISHER);
    if (status)
        return status;
    if (!ret)
        return fail(TARN_ERROR_ARGUMENT, "the loan is NULL");
    status = reserve(publisher, bytes);
    if (status != 1)
        return status;
    if (!ready_spare(publisher)) {
        writer_unreserve(&publisher->writer);
        return fail(TARN_ERROR_NO_MEMORY, "topic \"%s\": no memory for another loan", publisher->topic->name);
    }
    return begin_loan(publisher, bytes, ret);
}

int tarn_publisher_loan(tarn_publisher *publisher, size_t bytes, tarn_loan *ret) {
    if (likely(handle_is((const struct handle *)publisher, HANDLE_PUBLISHER)) && ret && publisher->spare &&
        reserve_easily(publisher, bytes))
        return begin_loan(publisher, bytes, ret);
    return lend(publisher, bytes, ret);
}

/* Why there is no open loan that the user's struct stands for. */
static int explain_loan(const tarn_loan *loan) {
    if (!loan)
        return fail(TARN_ERROR_ARGUMENT, "the loan is NULL");
    if (!loan->loaned_by)
        return fail(TARN_ERROR_RELEASED, "the loan was sent or dropped before");
    const struct tarn_publisher *publisher = loan->loaned_by;
    uint32_t mark = load_relaxed(&publisher->handle.mark);
    int status = handle_check(&publisher->handle, mark == HANDLE_PRODUCER ? mark : HANDLE_PUBLISHER);
    if (status)
        return status;
    return fail(TARN_ERROR_RELEASED, "topic \"%s\": the loan was sent or dropped before", publisher->topic->name);
}

/* How it is sent and dropped, if it is lent by another handle than a publisher; else NULL. */
static const struct loan_calls *other_loan(const tarn_loan *loan) {
    const struct handle *handle = loan ? loan->loaned_by : NULL;
    uint32_t mark = handle ? load_relaxed(&handle->mark) : HANDLE_CLOSED;
    return mark == HANDLE_PUBLISHER || mark == HANDLE_CLOSED ? NULL : handle->loans;
}

/* Whether the user's struct stands for the loan at the log's head. */
SHORT_HALF bool is_head_loan(const tarn_loan *loan) {
    const struct tarn_publisher *publisher = loan ? loan->loaned_by : NULL;
    return publisher && handle_is(&publisher->handle, HANDLE_PUBLISHER) && loan->ticket == publisher->head_ticket &&
           loan->ticket;
}

/* The overtaken loan that the user's struct stands for, or NULL. */
static struct open_loan *find_overtaken(const tarn_loan *loan) {
    const struct tarn_publisher *publisher = loan ? loan->loaned_by : NULL;
    if (!publisher || !handle_is(&publisher->handle, HANDLE_PUBLISHER) || loan->identity != publisher->identity)
        return NULL; /* with another identity another publisher is where the loan's was, and its loans have gone */
    struct open_loan *open = loan->place;
    return open->ticket == loan->ticket ? open : NULL;
}

struct referral {
    const struct place *place;
    uint64_t bytes;
    int64_t sent_ns;
};

static int try_refer(struct tarn_publisher *publisher, const void *context, enum extents_effort effort) {
    const struct referral *referral = context;
    int error = writer_refer(&publisher->writer, referral->place, referral->bytes, referral->sent_ns, effort);
    publisher_note_overtaken(publisher);
    return error;
}

/* Something else was sent since: the message enters the log as a reference to where it lies. */
static int send_overtaken(struct tarn_publisher *publisher, const struct place *place, uint64_t bytes) {
    struct referral referral = {place, bytes, publisher->timestamps ? os_now_ns() : 0};
    if (try_refer(publisher, &referral, EFFORT_RECLAIM) != 0) {
        int status = find_space(publisher, try_refer, &referral, false);
        if (status != 1)
            return status;
    }
    return settle(publisher);
}

static int say_raised(const tarn_loan *loan, uint64_t reserved) {
    const struct tarn_publisher *publisher = loan->loaned_by;
    return fail(TARN_ERROR_ARGUMENT, "topic \"%s\": the loan was of %" PRIu64 " bytes, and cannot be sent with %zu",
                publisher->topic->name, reserved, loan->bytes);
}

LONG_HALF int send_loan(tarn_loan *loan) {
    struct open_loan *open = NULL;
    bool at_head = is_head_loan(loan);
    const struct loan_calls *other = other_loan(loan);
    if (other)
        return other->send(loan);
    if (!at_head && !(open = find_overtaken(loan)))
        return explain_loan(loan);
    struct tarn_publisher *publisher = loan->loaned_by;
    uint64_t reserved = at_head ? publisher->writer.reserved : open->place.bytes;
    if (loan->bytes > reserved)
        return say_raised(loan, reserved);
    if (at_head) {
        if (loan->bytes < reserved)
            writer_shrink(&publisher->writer, loan->bytes);
        return commit(publisher, loan);
    }
    int status = send_overtaken(publisher, &open->place, loan->bytes);
    if (status != 1)
        return status;
    free_loan(publisher, open);
    clear_loan(loan);
    return 1;
}

int tarn_loan_send(tarn_loan *loan) {
    if (likely(is_head_loan(loan))) {
        struct tarn_publisher *publisher = loan->loaned_by;
        if (likely(loan->bytes == publisher->writer.reserved)) {
            return commit(publisher, loan);
        }
    }
    return send_loan(loan);
}

int tarn_loan_drop(tarn_loan *loan) {
    struct open_loan *open = NULL;
    bool at_head = is_head_loan(loan);
    const struct loan_calls *other = other_loan(loan);
    if (other)
        return other->drop(loan);
    if (!at_head && !(open = find_overtaken(loan)))
        return explain_loan(loan);
    struct tarn_publisher *publisher = loan->loaned_by;
    if (at_head) {
        writer_unreserve(&publisher->writer);
        end_head_loan(publisher, loan);
        return 0;
    }
    open->place.extent->pins--;
    free_loan(publisher, open);
    clear_loan(loan);
    return 0;
}
