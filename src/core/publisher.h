/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * Publishers within the library: those of requests and responses, each with one subscriber that it writes for. Their
 * topic is joined already; they wake that one only, are read by that one only, and have a word of their own before each
 * payload, in what is called its lead. And what publisher.c (sending) and publisher_life.c (opening, closing) have in
 * common.
 */
#ifndef TARN_CORE_PUBLISHER_H
#define TARN_CORE_PUBLISHER_H

#include "base/compiler.h"
#include "core/handle.h"
#include "core/topic.h"
#include "shm/writer.h"
#include "tarn.h"

/*
 * A loan that something else overtook. While it lies at the log's head, all there is of it is the writer's plan and its
 * ticket. Kept until the publisher closes, so that one that was sent or dropped can be told from one that is open.
 */
struct open_loan {
    struct place place;
    uint64_t ticket; /* 0: not open */
    struct open_loan *next_free;
    struct open_loan *next; /* of all ever made */
};

struct tarn_publisher {
    struct handle handle;
    _Atomic uint32_t *bell;     /* the topic's, the addressee's, or one that nobody sets */
    uint64_t packed_bytes_max;  /* the most that is sent the shortest way */
    uint64_t short_bytes_max;   /* and that, the next shortest */
    uint64_t packed_led_bytes;  /* with a word before it, less than this */
    uint64_t payload_bytes_max; /* what type and limit allow; at first what the least limit does */
    uint32_t wake;
    bool timestamps;
    uint64_t identity;
    uint64_t tickets;        /* of the last loan; start at random and go by twos, so that none is 0 */
    uint64_t head_ticket;    /* of the loan at the log's head; 0: there is none */
    struct open_loan *spare; /* for the loan at the head, should it be overtaken */
    struct writer writer;
    uint32_t segments_told; /* how many there were when keepers were rung last */
    uint64_t type_bytes;    /* with the lead */
    uint64_t lead_bytes;    /* of an addressed one: before each payload; else 0 */
    uint32_t when_full;
    bool realtime;
    int64_t full_timeout_ns;
    int64_t linger_ns;
    int64_t buried_ns; /* when we last looked after the dead: it takes microseconds per reader */
    struct topic *topic;
    struct publisher_slot *slot;
    uint32_t slot_number;
    struct readers readers;
    struct open_loan *loans, *free_loans;
};

struct publisher_address {
    uint64_t addressee;  /* peer_word() of a subscriber that is, or was, LIVE */
    uint64_t speaker;    /* and of who it belongs to */
    uint64_t lead_bytes; /* before each payload: a power of two from 8 on, and the alignment if that is more */
};

/* The options' type says alignment and size of payloads; it is not settled. Not under process_lock(). 0 or a status. */
int publisher_open_addressed(struct tarn_publisher **ret, struct topic *topic, const tarn_publisher_options *options,
                             const struct publisher_address *address);

/* Waits until the addressee has attached all of the memory, so that it can read to the end when this is closed. */
bool publisher_is_attached(struct tarn_publisher *publisher, int64_t timeout_ns);

/* ---- publisher.c: what it sends --------------------------------------------------------------------------------- */

/* How large messages may be, and which are sent the shortest ways, with a memory limit of so much. */
void publisher_bound_payload(struct tarn_publisher *publisher, uint64_t limit_bytes);

/* The loan at the head may have been overtaken. */
void publisher_note_overtaken(struct tarn_publisher *publisher);
/* Asks the kernel about those who keep memory, but not each time. */
void publisher_bury_dead(struct tarn_publisher *publisher);
/* One more try, of what is in its caller's context. 0 or a negative errno; -EAGAIN: there is no space. */
typedef int try_again(struct tarn_publisher *publisher, const void *context, enum extents_effort effort);
/* Tries until that succeeds, or fails otherwise, or nobody may make space, or the time is over; as the last try. */
int publisher_try_until(struct tarn_publisher *publisher, try_again *try, const void *context, int64_t deadline_ns);

/* Returns the status. error: a negative errno of shm/writer.c. */
int publisher_say_reserve_failed(struct tarn_publisher *publisher, int error);

int publisher_wake_sleepers(struct tarn_publisher *publisher); /* returns 1 */

/*
 * After a commit. B1: where the process is registered, the sleeper's barrier stands in for our fence. Returns 1: sent.
 */
SHORT_HALF int wake(struct tarn_publisher *publisher) {
    if (likely(publisher->wake == TARN_WAKE_AUTO))
        light_fence();
    else if (publisher->wake == TARN_WAKE_FENCE)
        full_fence();
    POINT(bell_not_looked_at);
    return unlikely(load_relaxed(publisher->bell) & 1) ? publisher_wake_sleepers(publisher) : 1;
}

int publisher_publish_led_slowly(struct tarn_publisher *publisher, uint64_t word, const void *data, uint64_t bytes);

/*
 * As tarn_publisher_publish(), with that word, and the rest of the lead, before the payload. The handle is not checked.
 */
SHORT_HALF int publisher_publish_led(struct tarn_publisher *publisher, uint64_t word, const void *data,
                                     uint64_t bytes) {
    if (likely(bytes < publisher->packed_led_bytes) && writer_send_packed_led(&publisher->writer, word, data, bytes))
        return wake(publisher);
    return publisher_publish_led_slowly(publisher, word, data, bytes);
}

/* The same, but for when it is full: TARN_ERROR_FULL at once. */
int publisher_publish_led_now(struct tarn_publisher *publisher, uint64_t word, const void *data, uint64_t bytes);

#endif
