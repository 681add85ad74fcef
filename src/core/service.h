/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * Requests and responses, as far as clients and servers are alike: each has an inbox, which is a reliable subscriber
 * that reads only what is addressed to it, and for each peer that it talks to a publisher addressed to that peer's
 * inbox.
 *
 *     client                                              server
 *     publisher to the server  -- request, abandon -->    inbox
 *     inbox                    <-- response, end --       publisher to the client
 *
 * So a message passes one log, of one writer and one reader: nobody else sees it, or pays for it. Holds, growth, being
 * full and repair are those of publish and subscribe. What is added is a word before each payload (layout.h:
 * service_word) and who belongs to whom: a publisher's slot names its reader and its owner's inbox.
 *
 * Who is gone. A peer's life is that of its inbox's slot. A process that closes its handle gives that slot up last, so
 * all that it sent is in its logs when the slot's incarnation is over; so it is with one that died. Who waits for a
 * peer asks the kernel about it every PATIENCE_NS; a server's death fails a request when what that server sent is read
 * to the end. models/requests.pml checks this.
 */
#ifndef TARN_CORE_SERVICE_H
#define TARN_CORE_SERVICE_H

#include <string.h>

#include "base/compiler.h"
#include "base/os.h"
#include "core/publisher.h"
#include "core/subscriber.h"

#define KEPT_NONE UINT32_MAX
#define SIFTED_AT_ONCE 4096u /* messages that are nobody's, in a call that does not wait, or when its time is over */

/* Another participant, and the way to it. */
struct peer {
    uint64_t word; /* peer_word() of its inbox */
    struct subscriber_slot *slot;
    struct tarn_publisher *publisher; /* NULL: could not be opened yet */
    uint32_t open;                    /* a client's: requests pending there; a server's: taken from there; and loans */
    bool gone;
    uint32_t oldest, newest; /* a client's: of those pending there, by index; KEPT_NONE */
    bool heard;              /* something of it was taken since */
    uint32_t asks;
    int64_t asked_ns;  /* when the kernel was last asked whether it lives */
    int64_t failed_ns; /* when the publisher could not be opened last; 0: never */
    uint64_t identity;
    int32_t pid;
    uint64_t namespaces;
    char command[16];
};

/*
 * Messages taken from the inbox before their time. What is kept is held, and there is room for as many as the inbox
 * lets be held, or for as many as are kept at once: so it never is full when one is to be kept. What would be more
 * stays in its log.
 */
struct kept_messages {
    tarn_message *ring; /* made with the service: where it could not be, what was taken would be lost */
    uint32_t capacity, first, count;
};

/*
 * A loan of a client or a server: around one of the publisher to a peer. Kept until the handle is closed, as those are.
 */
struct service_loan {
    tarn_loan inner;
    uint64_t ticket; /* 0: not open */
    struct peer *peer;
    uint64_t number; /* of the request */
    void *request;   /* a server's: the request; with its ticket */
    uint64_t request_ticket;
    bool last;
    struct service_loan *next_free, *next;
};

struct service {
    struct tarn_subscriber *inbox;
    struct waiter *waiter;
    struct topic *topic;
    uint64_t self; /* peer_word() */
    enum slot_role peers_are;
    _Atomic uint32_t *changes_now;
    uint32_t changes; /* of the roster, when we last looked who is gone */
    uint32_t peer_count, peer_capacity;
    struct peer **peers;
    tarn_publisher_options sending; /* of publishers to peers */
    tarn_type sent_type;
    uint64_t lead_bytes;
    uint32_t lead_shift;
    struct kept_messages kept;
    uint64_t tickets; /* of the last loan or request; by twos, so that none is 0 */
    uint32_t looks;   /* at peers, when the inbox was last made to look at the roster because of that */
    struct service_loan *loans, *free_loans;
};

struct service_options {
    const char *directory, *domain;
    const tarn_type *request_type, *response_type;
    enum slot_role role;
    uint64_t memory_limit_bytes;
    uint32_t max_held, kept_max, wait_strategy, when_full;
    int64_t full_timeout_ns, spin_ns;
};

/* Checks what clients and servers have in common. max_open: the most of what its name says. 0 or a status. */
int service_check_options(const struct service_options *options, const char *open_name, uint32_t max_open);

/*
 * changed(context) is called when participants have come or left, from the inbox's calls. 0 or a status; then it is
 * closed.
 */
int service_open(struct service *service, const char *topic, const struct service_options *options,
                 void (*changed)(void *context), void *context);
/*
 * Loans and kept messages go, then the publishers, then the inbox. linger_ns: in all. Returns how many peers are
 * behind.
 */
int service_close(struct service *service, int64_t linger_ns);

/* ---- peers ---- */

static inline bool service_has_changed(const struct service *service) {
    return load_acquire(service->changes_now) != service->changes;
}

/* Notes which peers are gone. */
void service_look_who_is_gone(struct service *service);
/*
 * Asks the kernel about one, if that was not done, nor anything heard of it, within PATIENCE_NS; repairs it if it is
 * dead. Returns peer->gone.
 */
bool service_ask(struct service *service, struct peer *peer, int64_t now);

/* The peer of that word, made known if need be; with a publisher, or, if that cannot be opened, without. NULL: there is none
   of that role, or no memory, which is returned. */
int service_find_peer(struct service *service, uint64_t word, struct peer **ret);
/* Opens the publisher, if there is none yet. 0 or a status. */
int service_connect(struct service *service, struct peer *peer);
/* Lets go of peers that are gone, to which nothing is open, and from which nothing is to be read. */
void service_drop_peers(struct service *service);

/*
 * For waits that are not the inbox's own, in each look: after a look at peers the inbox looks at the roster again, as
 * in its own waits, where it could not attach somebody's memory, or a repairer may have died before it counted a change.
 */
void service_heed_looks(struct service *service);

/* Live ones with that role, by the kernel's word. */
int service_count(struct service *service, enum slot_role role);

int service_say_gone(const struct service *service, const struct peer *peer, const char *what);

/* ---- messages ---- */

/* As tarn_subscriber_receive(); and who polls finds nothing as cheaply as by tarn_subscriber_take(). */
static inline int service_receive(struct service *service, tarn_message *ret, int64_t timeout_ns) {
    return timeout_ns > 0 ? tarn_subscriber_receive(service->inbox, ret, timeout_ns)
                          : tarn_subscriber_take(service->inbox, ret);
}

/*
 * Sets data and bytes to the payload behind the word before it, and request to the number there. Returns the kind, or 0
 * if there is no such word, and then nothing but a request of 0 is set.
 */
SHORT_HALF uint32_t service_read(tarn_message *message) {
    uint64_t word, lead_bytes = sizeof(word);
    message->request = 0;
    if (unlikely(message->bytes < sizeof(word)))
        return 0;
    memcpy(&word, message->data, sizeof(word));
    if (unlikely(word >> 56 != LEAD_SHIFT_LEAST)) {
        lead_bytes = UINT64_C(1) << (word >> 56 & 15);
        if (lead_bytes < sizeof(word) || lead_bytes > message->bytes)
            return 0;
    }
    message->data = (const char *)message->data + lead_bytes;
    message->bytes -= lead_bytes;
    message->request = word & COUNT_MASK;
    return word >> 48 & 0xff;
}

SHORT_HALF int service_send(struct service *service, struct peer *peer, enum service_kind kind, uint64_t number,
                            const void *data, uint64_t bytes) {
    return publisher_publish_led(peer->publisher, service_word(kind, number, service->lead_shift), data, bytes);
}

static inline bool service_keeps(const struct service *service) {
    return service->kept.count > 0;
}
void service_keep(struct service *service, const tarn_message *message);
static inline tarn_message *service_first_kept(const struct service *service) {
    return &service->kept.ring[service->kept.first];
}
void service_take_kept(struct service *service, tarn_message *ret);
/* Lets go of those that are not wanted any more; the others stay in their order. */
typedef bool service_wanted(const void *context, const tarn_message *message);
void service_sift_kept(struct service *service, service_wanted *is_wanted, const void *context);
/* After messages were kept: the descriptor is to be readable. */
void service_ring_self(struct service *service);

/*
 * Whether a message that was taken is somebody's. Else it is dealt with: released, or kept until it can be told whose
 * it is.
 */
typedef bool service_accept(void *owner, tarn_message *message);
/*
 * Who waits for what is somebody's, while a peer sends what is nobody's, perhaps for ever: after each such message.
 * left_ns: of the time there was; late: how many came behind that. 1: look further; 0: it was enough; or _INTERRUPTED.
 */
int service_sift_on(struct service *service, int64_t left_ns, uint32_t *late);
/*
 * For waitsets: takes until something is kept. looks: as struct waitable's look, else as its ready. 1: also where there
 * is more than is looked at in a call; 0; or a status, which the next take says as well.
 */
int service_seek(struct service *service, service_accept *accept, void *owner, bool looks);

static inline uint64_t service_ticket(struct service *service) {
    return service->tickets += 2;
}

/* Lends a place of the peer's publisher, and makes it the user's loan. 1 or a status. */
int service_lend(struct service *service, struct peer *peer, void *loaned_by, uint64_t bytes, tarn_loan *ret);
/* The loan that the user's struct stands for, or NULL: explained by tarn_error(). */
struct service_loan *service_find_loan(const tarn_loan *loan, uint32_t mark);
int service_explain_loan(const tarn_loan *loan, uint32_t mark);
/* Sends or drops it; then it is not open any more. As tarn_loan_send() and _drop(). */
int service_send_loan(struct service *service, tarn_loan *loan, struct service_loan *open, enum service_kind kind);
int service_drop_loan(struct service *service, tarn_loan *loan, struct service_loan *open);

#endif
