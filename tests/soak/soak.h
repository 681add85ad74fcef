/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * The storm: publishers and subscribers of all kinds come, go, are killed, stopped, and lag, and every message is
 * accounted for.
 *
 *   plan.c     what a life is like; all of it follows from the seed, the spell and the life's number
 *   sender.c   a publisher that writes into the ledger what it does
 *   taker.c    a subscriber that compares what it gets with the ledger
 *   watch.c    segments, files, descriptors and memory against bounds
 *   storm.c    starts, kills, stops and ends lives
 *   patterns.c a storm of its own, of all other patterns
 *
 * The ledger is memory that all processes of a spell share. A message's size and bytes follow from its publisher's
 * entry and its number, so whoever takes it knows what it has to be without having been told.
 */
#ifndef TARN_TESTS_SOAK_H
#define TARN_TESTS_SOAK_H

#include <limits.h>

#include "../multi/common.h"

/* ---- the ledger ------------------------------------------------------------------------------------------------- */

enum {
    ENTRIES = 1 << 16,   /* publishers of a spell */
    LIVES = 1 << 16,     /* processes of a spell */
    TOPICS = 6,          /* see plan.c */
    BYTES_MAX = 4 << 20, /* of a message */
    LOANS_MAX = 4,       /* that a publisher keeps open */
    HELD_MAX = 256,      /* messages that a subscriber holds */
    VISITS_MAX = 3,      /* of topics, that one process makes */
};

/* Sizes of a publisher's messages: between least and most, but one in so many up to rare. */
struct sizes {
    uint32_t least, most, rare, one_in;
};

struct entry {
    /* before it sends anything */
    _Atomic uint64_t identity; /* last; 0: it has not opened */
    uint64_t seed;
    uint32_t topic, life, alignment;
    bool timestamps, drops, late, realtime;
    struct sizes sizes;
    int64_t opening_ns; /* before it opened */
    /* as it goes on */
    _Atomic uint64_t begun;        /* no higher number can have been sent */
    _Atomic uint64_t sent;         /* the highest that was sent, and not dropped */
    _Atomic int64_t sent_begun_ns; /* when the call that sent it began */
    _Atomic uint64_t flushed;      /* flush said so about this number */
    _Atomic int64_t flushed_ns;    /* stored after that: when the call that sent it began */
    _Atomic bool leaving;          /* it is about to close, or to exit */
    _Atomic bool complete;         /* it has closed, and close said that everybody had everything */
    _Atomic bool closed;           /* stored after that */
};

struct stage {
    _Atomic bool over; /* end, one after the other */
    _Atomic unsigned ready;
    _Atomic uint32_t entry_count;
    _Atomic bool killed[LIVES]; /* processes that are about to be killed, or were */
    _Atomic bool ended[LIVES];  /* processes that are no more, whatever became of them */
    struct tally {
        _Atomic uint64_t publishers, subscribers, refusals;
        _Atomic uint64_t sent, taken, bytes, lost, dropped, full, held_long, settled, checked_at_end, gone;
    } tally;
    struct entry entries[ENTRIES];
};

extern struct stage *stage;

/* $TARN_SOAK_SECONDS, or two minutes, are divided: one storm has that part of it. */
static inline int64_t soak_seconds(int64_t part, int64_t of) {
    const char *asked_for = getenv("TARN_SOAK_SECONDS");
    return (asked_for ? atoll(asked_for) : 120) * part / of;
}

static inline uint64_t mixed(uint64_t a, uint64_t b) {
    struct random random = {a ^ (b + 1) * UINT64_C(0x9e3779b97f4a7c15)};
    return random_next(&random);
}

/* Of message number n. */
static inline size_t bytes_of(const struct entry *entry, uint64_t number) {
    const struct sizes *sizes = &entry->sizes;
    struct random random = {mixed(entry->seed, number)};
    bool rare = sizes->one_in && random_one_in(&random, sizes->one_in);
    return random_between(&random, sizes->least, rare ? sizes->rare : sizes->most);
}

/* A publisher that drops says, in a message's first 8 bytes, how many numbers it has dropped before. */
static inline uint64_t pattern_seed(const struct entry *entry, uint64_t number, uint64_t dropped) {
    return mixed(mixed(entry->seed, ~number), dropped);
}

/* ---- plans ------------------------------------------------------------------------------------------------------ */

struct topic_plan {
    const char *name, *domain;
    bool residents; /* who are there as long as the spell lasts */
    bool refusable; /* publishers may refuse reliable subscribers: no resident is one */
    bool typed;
};

extern const struct topic_plan topic_plans[TOPICS];
extern const tarn_type right_type, wrong_type;

struct publisher_plan {
    uint32_t topic;
    tarn_publisher_options options;
    struct sizes sizes;
    unsigned burst;   /* messages between naps */
    int64_t nap_ns;   /* at most */
    unsigned late;    /* loans open at a time, sent late */
    bool leaves_open; /* exits without closing */
};

enum way { WAY_TAKE, WAY_RECEIVE, WAY_WAIT, WAY_EPOLL, WAYS };
enum ending { END_RELEASE_FIRST, END_CLOSE_FIRST, END_EXIT, ENDINGS };

struct subscriber_plan {
    uint32_t topic;
    tarn_subscriber_options options;
    enum way way;
    enum ending ending;
    unsigned held_most;  /* messages it keeps for a while */
    unsigned lag_one_in; /* steps before which it naps; 0: never */
    int64_t lag_ns;      /* at most */
    bool helper;         /* a thread that releases and interrupts */
    bool helper_before;  /* it runs before the first handle is opened */
};

/* What a process does: some visits, one after the other, of at most a publisher and a subscriber each. */
struct life_plan {
    unsigned visits;
    int64_t visit_ns;
    bool forever; /* a resident: as long as the spell lasts */
};

/* What is done to it. Times count from its start; 0: never. */
struct fate {
    int64_t killed_ns, stopped_ns, stopped_for_ns;
};

struct life_plan plan_life(struct random *random);
struct fate plan_fate(struct random *random, const struct life_plan *life);
struct publisher_plan plan_publisher(struct random *random, uint32_t topic);
struct subscriber_plan plan_subscriber(struct random *random, uint32_t topic);

/* ---- senders ---------------------------------------------------------------------------------------------------- */

struct sender {
    struct publisher_plan plan;
    struct random *random;
    tarn_publisher *publisher;
    struct entry *entry;
    uint64_t number; /* of the next message */
    uint64_t dropped;
    tarn_loan loans[LOANS_MAX];
    unsigned loan_count;
    bool full;      /* the last call said so */
    uint64_t bytes; /* sent in this step */
};

/* Whether opening may end like that on that topic, with that type. */
bool is_refused(int status, uint32_t topic, const tarn_type *type);

/* False: refused. */
bool sender_open(struct sender *sender, const struct publisher_plan *plan, struct random *random, uint32_t life);
void sender_step(struct sender *sender);
void sender_close(struct sender *sender);

/* ---- takers ----------------------------------------------------------------------------------------------------- */

struct taker;

/* NULL: refused. */
struct taker *taker_open(const struct subscriber_plan *plan, struct random *random);
void taker_step(struct taker *taker, int64_t wait_ns);
void taker_close(struct taker *taker);

/* ---- bounds ----------------------------------------------------------------------------------------------------- */

struct reading {
    unsigned segments, orphans; /* orphans: made, and neither filled nor marked for removal */
    uint64_t bytes, resident;
};

struct reading read_segments(void);
unsigned count_domain_files(void);

/* Fails when more lies around than so many processes may have. Remembers the most that was seen. */
void watch(unsigned processes, const pid_t *residents, unsigned resident_count);

extern struct peaks {
    unsigned segments, files, descriptors, attached;
    uint64_t bytes, resident, private_bytes;
} peaks;

#endif
