/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * Scenes for one process, the actor, that does one operation, and survivors, which are in the same topic and have to go on
 * whatever happens to it. The programs of this folder put scenes on the stage:
 *
 *   kills      the actor is killed at every point of every operation
 *   stops      it is stopped at every point, and goes on later
 *   failures   each of its system calls and allocations fails, with each error that it can give
 *
 * A point is any store to shared memory and any system call: see support/tracer.h. The operations are in operations.c.
 *
 *     points_kills                     a sample of the points, by $TARN_SEED
 *     TARN_POINTS=all points_kills     all of them
 *     TARN_POINTS=n points_kills       n of each operation
 */
#ifndef TARN_TESTS_POINTS_SCENE_H
#define TARN_TESTS_POINTS_SCENE_H

#include "../multi/common.h"
#include "tracer.h"

#define TOPIC "points"

/* ---- who took what ---------------------------------------------------------------------------------------------- */

/* Of one publisher: what comes next, and how many were lost so far. */
struct account {
    uint64_t publisher, next, lost;
};

struct follower {
    tarn_subscriber *subscriber;
    bool from_first; /* it was there before any publisher sent */
    struct account accounts[16];
    unsigned count;
};

/* Takes all there is and lets go of it. */
void follow(struct follower *follower);
/* A message that was taken: it must be whole, and the next of its publisher but for those that it says were lost. */
void account_for(struct follower *follower, const tarn_message *message);
/* The account of a publisher, or one with nothing in it. */
struct account account_of(const struct follower *follower, uint64_t publisher);

/* ---- a scene ------------------------------------------------------------------------------------------------------ */

/* On a page that the actor and the survivors share. */
struct ledger {
    _Atomic uint64_t identity;    /* of the actor's publisher */
    _Atomic uint64_t begun, sent; /* its last message that it began to send; that was sent */
    _Atomic uint64_t dropped;     /* since then, as memory was full: their numbers are used, too */
    _Atomic uint64_t expected;    /* the survivors' last message, for the actor to take in the end */
    _Atomic uint64_t witness;     /* the survivors' publisher */
    _Atomic uint64_t last;        /* the same, for a process that sleeps */
    _Atomic uint64_t woken;       /* how many of the actor's messages a sleeping process took */
    _Atomic bool may_fail;        /* the operation, as one of its calls fails on purpose */
    _Atomic int result;           /* of the operation */
};

enum { HELD_MAX = 256 };

/* What the actor has. */
struct actor {
    struct ledger *ledger;
    const struct operation *operation;
    tarn_publisher *publisher;
    tarn_subscriber *subscriber;
    tarn_loan loan;
    tarn_message held[HELD_MAX];
    unsigned held_count;
    struct follower follower;
    int descriptors, attached; /* when it began */
};

/* All others: this process, with handles of its own. */
struct survivors {
    tarn_publisher *witness;
    uint64_t sent;
    struct follower reliable, loose;
    int fd;        /* of loose, armed; -1: none */
    pid_t sleeper; /* a process that sleeps until something comes; 0: none */
    struct ledger *ledger;
};

struct operation {
    const char *name;
    void (*prepare)(struct actor *);    /* before the points are counted; NULL: nothing */
    void (*before)(struct survivors *); /* what the survivors do after that; NULL: nothing */
    int (*operate)(struct actor *);     /* a negative status if it failed, and may be done again */
    bool alone;                         /* the survivors come later */
    bool holds_back; /* the actor is a reliable subscriber, for which publishers wait while it lives */
    bool repairs;    /* somebody else has died before */
    bool lets_lose;  /* messages may lie in memory that no survivor has attached yet */
};

extern const struct operation operations[];
extern const unsigned operation_count;

/* Of the actor: sends its next message, by publish (sizes below 4 KiB) or by a loan of which it writes the ends. */
int send_next(struct actor *actor, size_t bytes);
/* For a loan of the actor: its next message is written to it; it is sent. */
void write_loan(struct actor *actor);
int send_loan(struct actor *actor);
/* Of the survivors: a process that sleeps in the topic from now on. */
void begin_sleeper(struct survivors *survivors);
/* Of the survivors: so many messages of that size, read on the way by those who have to. */
void send_some(struct survivors *survivors, unsigned count, size_t bytes);

/* ---- playing it --------------------------------------------------------------------------------------------------- */

struct scene {
    const struct operation *operation;
    struct ledger *ledger;
    struct traced traced;
    struct survivors survivors;
    int descriptors, attached;
};

/* Registers a test for each operation, which calls play for it. */
void add_scenes(void (*play)(const struct operation *operation), int limit_s);

/* Up to the first mark. */
void begin_scene(struct scene *scene, const struct operation *operation);

/*
 * The survivors send, take, count, and are joined by a newcomer. If the actor lives, it may be in the topic, and keep those
 * who join from it by its lock on the topic's file, which they must say: then false is returned.
 */
bool check_survivors(struct scene *scene, bool actor_lives);

/*
 * The actor is gone, whatever became of it: a sweep finds all that it left, and what was taken of it is what it sent, give or
 * take the message in the making.
 */
void check_gone(struct scene *scene);

/* They leave: nothing is left. */
void end_scene(struct scene *scene);

/* From the second mark on, the actor tries again if it failed, takes what is there, leaves, and finds nothing left. */
void let_actor_end(struct scene *scene);

/*
 * Plays the operation to its end, then calls visit for as many of its points that are wanted (NULL: all) as $TARN_POINTS
 * says, and prints what there was. Returns how many are wanted.
 */
unsigned visit_points(const struct operation *operation, bool (*wanted)(const struct traced *traced), unsigned usual,
                      void (*visit)(const struct operation *operation, unsigned point));

/* Whether all that can be visited is to be. */
bool visits_all(void);

/*
 * Begins the scene, and follows the actor up to that point. False: the operation was over before, as the way through it may
 * be some points shorter another time: by what is found where it was left, or by random numbers.
 */
bool go_to_point(struct scene *scene, unsigned point);

/* Another process does the operation, too, up to that point, or to its end, and is killed. */
void kill_another_at(const struct operation *operation, unsigned point);

/* In the actor's process: its operation is under way. */
extern bool scene_is_operating;

#endif
