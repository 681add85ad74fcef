/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* See service.h. */
#include "core/service.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/process.h"
#include "base/status.h"
#include "core/handle.h"
#include "core/reaper.h"
#include "core/type.h"
#include "core/waitables.h"
#include "shm/bell.h"
#include "shm/extents.h"

#define OPEN_MAX 65536u
#define ASKS_PER_THOROUGH 10u /* of those for a peer's lock, for each for its process */

/* ---- peers ---------------------------------------------------------------------------------------------------- */

/*
 * acquire, A2: with the release that raises the incarnation, or says that it leaves; all that it sent before is in its
 * logs then. The state first: behind a successor's, the incarnation is another.
 */
static bool is_over(const struct peer *peer) {
    uint32_t state = load_acquire(&peer->slot->state);
    if (state == SLOT_LEAVING || state == SLOT_FREE)
        return true; /* it, or one that came after it; FREE: also where a peer names a slot that nobody is in */
    return incarnation_of(&peer->slot->incarnation) != peer_incarnation(peer->word);
}

void service_look_who_is_gone(struct service *service) {
    service->changes = load_acquire(service->changes_now); /* before looking: what comes later is seen later */
    for (uint32_t i = 0; i < service->peer_count; i++)
        service->peers[i]->gone = service->peers[i]->gone || is_over(service->peers[i]);
}

bool service_ask(struct service *service, struct peer *peer, int64_t now) {
    if (peer->gone || now - peer->asked_ns < PATIENCE_NS)
        return peer->gone;
    bool heard = peer->heard;
    peer->asked_ns = now;
    peer->heard = false;
    if (!heard) {
        process_lock();
        slot_reap(service->topic, SUBSCRIBER, peer_slot(peer->word), peer->asks++ % ASKS_PER_THOROUGH == 0);
        process_unlock();
    }
    peer->gone = is_over(peer);
    return peer->gone;
}

int service_connect(struct service *service, struct peer *peer) {
    if (peer->publisher)
        return 0;
    struct publisher_address address = {peer->word, service->self, service->lead_bytes};
    int status = publisher_open_addressed(&peer->publisher, service->topic, &service->sending, &address);
    if (status)
        peer->failed_ns = os_now_ns();
    return status;
}

/*
 * For who only looks who is there. A try that fails takes a slot and gives it up again, which is a change: all look
 * again, and we ourselves. So who cannot be connected with is not tried with each look.
 */
static void connect_at_times(struct service *service, struct peer *peer) {
    if (!peer->gone && !peer->publisher && (!peer->failed_ns || os_now_ns() - peer->failed_ns >= SLICE_NS))
        service_connect(service, peer); /* or later: who needs it says why it cannot be opened */
}

static int say_no_memory(const struct service *service) {
    return fail(TARN_ERROR_NO_MEMORY, "topic \"%s\": no memory for another %s", service->topic->name,
                service->peers_are == ROLE_CLIENT ? "client" : "server");
}

static int make_peer(struct service *service, uint64_t word, struct peer **ret) {
    struct subscriber_slot *slot = roster_subscriber(&service->topic->roster, peer_slot(word));
    if (!slot || load_relaxed(&slot->role) != service->peers_are)
        return 0; /* or its successor's role, when it is gone */
    if (service->peer_count == service->peer_capacity) {
        uint32_t capacity = service->peer_capacity ? 2 * service->peer_capacity : 4;
        struct peer **peers = realloc(service->peers, capacity * sizeof(struct peer *));
        if (!peers)
            return say_no_memory(service);
        service->peers = peers;
        service->peer_capacity = capacity;
    }
    struct peer *peer = malloc(sizeof(*peer));
    if (!peer)
        return say_no_memory(service);
    struct identity who = slot->who;
    *peer = (struct peer){
        .word = word,
        .slot = slot,
        .oldest = KEPT_NONE,
        .newest = KEPT_NONE,
        .identity = who.number,
        .pid = who.pid,
        .namespaces = who.namespaces,
    };
    memcpy(peer->command, who.command, sizeof(peer->command));
    peer->command[sizeof(peer->command) - 1] = 0;
    peer->gone = is_over(peer); /* then who it was is another's, and nobody asks */
    *ret = service->peers[service->peer_count++] = peer;
    return 0;
}

int service_find_peer(struct service *service, uint64_t word, struct peer **ret) {
    struct peer *peer = NULL;
    for (uint32_t i = 0; i < service->peer_count && !peer; i++)
        if (service->peers[i]->word == word)
            peer = service->peers[i];
    int status = peer ? 0 : make_peer(service, word, &peer);
    if (peer)
        connect_at_times(service, peer);
    *ret = peer;
    return status;
}

static bool is_read_from(struct service *service, const struct peer *peer) {
    for (uint32_t i = 0; i < service->inbox->reader_count; i++)
        if (service->inbox->readers[i]->peer == peer)
            return true;
    return false;
}

static void free_peer(struct peer *peer) {
    tarn_publisher_close(peer->publisher);
    free(peer);
}

void service_drop_peers(struct service *service) {
    for (uint32_t i = 0; i < service->peer_count;) {
        struct peer *peer = service->peers[i];
        if (!peer->gone || peer->open || is_read_from(service, peer)) {
            i++;
            continue;
        }
        service->peers[i] = service->peers[--service->peer_count];
        free_peer(peer);
    }
}

void service_heed_looks(struct service *service) {
    const struct waiter *waiter = service->waiter;
    if (likely(service->looks == waiter->looks))
        return;
    service->looks = waiter->looks;
    if (service->inbox->retry || waiter->thorough)
        service->inbox->changes--;
}

int service_count(struct service *service, enum slot_role role) {
    int count = 0;
    process_lock();
    struct roster *roster = &service->topic->roster;
    for (uint32_t slot = 0, slots = roster_subscriber_slots(roster); slot < slots; slot++) {
        struct subscriber_slot *subscriber = roster_subscriber(roster, slot);
        count += subscriber && load_acquire(&subscriber->state) == SLOT_LIVE &&
                 load_relaxed(&subscriber->role) == role && !slot_is_dead(service->topic, SUBSCRIBER, slot, true);
    }
    process_unlock();
    return count;
}

/* How its life ended, as far as that is still to be seen. */
static const char *end_of(const struct peer *peer) {
    uint64_t ended = load_acquire(&peer->slot->ended);
    return stamp_of(ended) != peer_incarnation(peer->word) ? "died or left"
           : ended_by_death(ended, 0)                      ? "died"
                                                           : "left";
}

int service_say_gone(const struct service *service, const struct peer *peer, const char *what) {
    return fail(TARN_ERROR_PEER_DIED, "topic \"%s\": %.15s (%s) %s%s", service->topic->name, peer->command,
                process_pid_text(peer->pid, peer->namespaces).text, end_of(peer), what);
}

/* ---- kept messages -------------------------------------------------------------------------------------------- */

void service_keep(struct service *service, const tarn_message *message) {
    struct kept_messages *kept = &service->kept;
    kept->ring[(kept->first + kept->count++) % kept->capacity] = *message;
}

void service_take_kept(struct service *service, tarn_message *ret) {
    struct kept_messages *kept = &service->kept;
    *ret = kept->ring[kept->first];
    kept->first = (kept->first + 1) % kept->capacity;
    kept->count--;
}

void service_sift_kept(struct service *service, service_wanted *is_wanted, const void *context) {
    struct kept_messages *kept = &service->kept;
    uint32_t count = kept->count;
    kept->count = 0;
    for (uint32_t i = 0; i < count; i++) {
        tarn_message *message = &kept->ring[(kept->first + i) % kept->capacity];
        if (!is_wanted(context, message))
            tarn_message_release(message);
        else if (i == kept->count)
            kept->count++; /* where it was */
        else
            service_keep(service, message);
    }
}

void service_ring_self(struct service *service) {
    if (service->kept.count && service->waiter->doorbell.open)
        doorbell_ring_self(&service->waiter->doorbell);
}

int service_sift_on(struct service *service, int64_t left_ns, uint32_t *late) {
    if (left_ns <= 0)
        return ++*late < SIFTED_AT_ONCE;
    return waiter_was_interrupted(service->waiter) ? waiter_say_interrupted(service->waiter) : 1;
}

static int seek_one(struct service *service, tarn_message *ret, bool looks) {
    struct tarn_subscriber *inbox = service->inbox;
    int status = looks ? subscriber_waitable.look(inbox) : subscriber_waitable.ready(inbox);
    if (status != 1)
        return status;
    status = subscriber_take_what_is_there(inbox, ret);
    return status || looks ? status
                           : tarn_subscriber_take(inbox, ret); /* it is not ready yet: the descriptor is quiet */
}

int service_seek(struct service *service, service_accept *accept, void *owner, bool looks) {
    for (uint32_t i = 0; i < SIFTED_AT_ONCE && !service_keeps(service); i++) {
        tarn_message message;
        int status = seek_one(service, &message, looks);
        if (status != 1)
            return status;
        if (accept(owner, &message))
            service_keep(service, &message);
    }
    if (!looks)
        service_ring_self(service);
    return 1;
}

/* ---- loans ---------------------------------------------------------------------------------------------------- */

static struct service_loan *new_loan(struct service *service) {
    struct service_loan *loan = service->free_loans;
    if (loan) {
        service->free_loans = loan->next_free;
    } else if ((loan = calloc(1, sizeof(*loan)))) {
        loan->next = service->loans;
        service->loans = loan;
    }
    return loan;
}

static void free_loan(struct service *service, struct service_loan *loan) {
    loan->ticket = 0; /* no ticket given out matches it any more */
    loan->peer->open--;
    loan->next_free = service->free_loans;
    service->free_loans = loan;
}

int service_lend(struct service *service, struct peer *peer, void *loaned_by, uint64_t bytes, tarn_loan *ret) {
    struct service_loan *open = new_loan(service);
    if (!open)
        return fail(TARN_ERROR_NO_MEMORY, "topic \"%s\": no memory for another loan", service->topic->name);
    open->peer = peer;
    peer->open++;
    int status =
        bytes > UINT64_MAX - service->lead_bytes
            ? fail(TARN_ERROR_TOO_BIG, "topic \"%s\": no memory has %" PRIu64 " bytes", service->topic->name, bytes)
            : tarn_publisher_loan(peer->publisher, bytes + service->lead_bytes, &open->inner);
    if (status != 1) {
        free_loan(service, open);
        return status;
    }
    open->ticket = service_ticket(service);
    *ret = (tarn_loan){(char *)open->inner.data + service->lead_bytes, bytes, loaned_by, open, open->ticket, 0};
    return 1;
}

struct service_loan *service_find_loan(const tarn_loan *loan, uint32_t mark) {
    const struct handle *handle = loan ? loan->loaned_by : NULL;
    struct service_loan *open = handle && handle_is(handle, mark) ? loan->place : NULL;
    return open && open->ticket == loan->ticket ? open : NULL;
}

int service_explain_loan(const tarn_loan *loan, uint32_t mark) {
    if (!loan)
        return fail(TARN_ERROR_ARGUMENT, "the loan is NULL");
    int status = loan->loaned_by ? handle_check(loan->loaned_by, mark) : 0;
    return status ? status : fail(TARN_ERROR_RELEASED, "the loan was sent or dropped before");
}

static void clear_loan(struct service *service, tarn_loan *loan, struct service_loan *open) {
    *loan = (tarn_loan){0};
    free_loan(service, open);
}

int service_send_loan(struct service *service, tarn_loan *loan, struct service_loan *open, enum service_kind kind) {
    uint64_t word = service_word(kind, open->number, service->lead_shift), lead = service->lead_bytes;
    uint64_t lent = open->inner.bytes;
    if (loan->bytes > lent - lead)
        return fail(TARN_ERROR_ARGUMENT, "topic \"%s\": the loan was of %" PRIu64 " bytes, and cannot be sent with %zu",
                    service->topic->name, lent - lead, loan->bytes);
    memcpy(open->inner.data, &word, sizeof(word));
    open->inner.bytes = loan->bytes + lead;
    int status = tarn_loan_send(&open->inner);
    if (status == 1)
        clear_loan(service, loan, open);
    else
        open->inner.bytes = lent;
    return status;
}

int service_drop_loan(struct service *service, tarn_loan *loan, struct service_loan *open) {
    int status = tarn_loan_drop(&open->inner);
    clear_loan(service, loan, open);
    return status;
}

/* ---- opening and closing -------------------------------------------------------------------------------------- */

int service_check_options(const struct service_options *options, const char *open_name, uint32_t max_open) {
    if (max_open > OPEN_MAX)
        return fail(TARN_ERROR_ARGUMENT, "%s is %" PRIu32 ": the most is %u", open_name, max_open, OPEN_MAX);
    if (options->when_full > TARN_FULL_FAIL)
        return fail(TARN_ERROR_ARGUMENT, "when_full is %" PRIu32 ": TARN_FULL_WAIT or TARN_FULL_FAIL",
                    options->when_full);
    if (options->memory_limit_bytes && options->memory_limit_bytes < MEMORY_LIMIT_MIN)
        return fail(TARN_ERROR_ARGUMENT, "memory_limit_bytes is %" PRIu64 ": the least is %u",
                    options->memory_limit_bytes, MEMORY_LIMIT_MIN);
    if (options->full_timeout_ns < TARN_IMMEDIATELY)
        return fail(TARN_ERROR_ARGUMENT, "full_timeout_ns is negative, and not TARN_IMMEDIATELY");
    int status = waiter_check_options(options->wait_strategy, options->spin_ns);
    if (!status)
        status = type_check(options->request_type);
    return status ? status : type_check(options->response_type);
}

/* How publishers to peers are opened. Nobody joins late, so nothing is kept for such. */
static void plan_sending(struct service *service, const struct service_options *options) {
    const tarn_type *type = options->role == ROLE_CLIENT ? options->request_type : options->response_type;
    if (type) {
        memcpy(&service->sent_type, type, sizeof(service->sent_type)); /* its name is not looked at any more */
        service->sent_type.name = service->sent_type.encoding = NULL;
        service->sent_type.schema = NULL;
    }
    service->lead_bytes = type_alignment(type, 0);
    service->lead_shift = (uint32_t)__builtin_ctzll(service->lead_bytes);
    service->sending = (tarn_publisher_options){
        .struct_bytes = sizeof(service->sending),
        .type = type ? &service->sent_type : NULL,
        .depth = 1,
        .memory_limit_bytes = options->memory_limit_bytes,
        .when_full = options->when_full,
        .full_timeout_ns = options->full_timeout_ns,
        .linger_ns = TARN_IMMEDIATELY,
    };
}

int service_open(struct service *service, const char *topic, const struct service_options *options,
                 void (*changed)(void *context), void *context) {
    tarn_subscriber_options receiving = {
        .struct_bytes = sizeof(receiving),
        .directory = options->directory,
        .domain = options->domain,
        .type = options->request_type,
        .reliable = 1,
        .max_held = options->max_held,
        .wait_strategy = options->wait_strategy,
        .spin_ns = options->spin_ns,
    };
    struct inbox_options inbox = {options->role, options->response_type};
    service->kept.capacity = options->kept_max;
    service->kept.ring = malloc(options->kept_max * sizeof(*service->kept.ring));
    int status = service->kept.ring ? subscriber_open_inbox(&service->inbox, topic, &receiving, &inbox)
                                    : fail(TARN_ERROR_NO_MEMORY, "no memory for a client or a server");
    if (status) {
        free(service->kept.ring);
        return status;
    }
    plan_sending(service, options);
    service->waiter = &service->inbox->waiter;
    service->topic = service->waiter->topic;
    service->changes_now = &service->topic->roster.header->changes;
    service->self = peer_word(service->waiter->slot_number, incarnation_of(&service->waiter->slot->incarnation));
    service->peers_are = options->role == ROLE_CLIENT ? ROLE_SERVER : ROLE_CLIENT;
    service->tickets = os_random() | 1;
    subscriber_on_change(service->inbox, changed, context);
    changed(context);
    return 0;
}

/* Whether we have sent it something, and it has not attached where that lies, nor does in that time. */
static bool is_behind(const struct peer *peer, int64_t timeout_ns) {
    struct tarn_publisher *publisher = peer->publisher;
    return publisher && publisher->writer.sequence > 1 && !publisher_is_attached(publisher, timeout_ns);
}

int service_close(struct service *service, int64_t linger_ns) {
    int64_t deadline_ns = os_deadline_ns(linger_ns);
    int behind = 0;
    subscriber_on_change(service->inbox, NULL, NULL);
    for (; service->kept.count; service->kept.count--, service->kept.first++)
        tarn_message_release(&service->kept.ring[service->kept.first % service->kept.capacity]);
    for (uint32_t i = 0; i < service->peer_count; i++) {
        struct peer *peer = service->peers[i];
        int64_t left_ns = linger_ns > 0 ? deadline_ns - os_now_ns() : 0;
        behind += linger_ns >= 0 && is_behind(peer, left_ns > 0 ? left_ns : 0);
        free_peer(peer);
    }
    tarn_subscriber_close(service->inbox); /* last: see service.h */
    for (struct service_loan *loan = service->loans, *next; loan; loan = next) {
        next = loan->next;
        free(loan);
    }
    free(service->peers);
    free(service->kept.ring);
    return behind;
}
