/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* Scenes of publish and subscribe: what messages.c and its table share. */
#ifndef TARN_TESTS_POINTS_MESSAGES_H
#define TARN_TESTS_POINTS_MESSAGES_H

#include "scene.h"

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

/*
 * ---- the cast -----------------------------------------------------------------------------------------------------
 */

struct ledger {
    _Atomic uint64_t identity;    /* of the actor's publisher */
    _Atomic uint64_t begun, sent; /* its last message that it began to send; that was sent */
    _Atomic uint64_t dropped;     /* since then, as memory was full: their numbers are used, too */
    _Atomic uint64_t expected;    /* the survivors' last message, for the actor to take in the end */
    _Atomic uint64_t witness;     /* the survivors' publisher */
    _Atomic uint64_t last;        /* the same, for a process that sleeps */
    _Atomic uint64_t woken;       /* how many of the actor's messages a sleeping process took */
    _Atomic bool keeps, enough;   /* a keeper has begun; and is to end */
};
struct ledger *ledger(void);

enum { HELD_MAX = 256 };

struct actor {
    tarn_publisher *publisher;
    tarn_subscriber *subscriber;
    tarn_keeper *keeper;
    tarn_loan loan;
    tarn_message held[HELD_MAX];
    unsigned held_count;
    struct follower follower;
    int pipe[2];
};

struct survivors {
    tarn_publisher *witness;
    uint64_t sent;
    struct follower reliable, loose;
    int fd;        /* of loose, armed; -1: none */
    pid_t sleeper; /* a process that sleeps until something comes; 0: none */
    pid_t keeper;  /* a process that keeps what others leave; 0: none */
};

enum { MESSAGES_OPERATIONS = 77 };
extern const struct operation messages_operations[MESSAGES_OPERATIONS];

/* Of the actor: sends its next message, by publish (sizes below 4 KiB) or by a loan of which it writes the ends. */
int send_next(struct actor *actor, size_t bytes);
/* For a loan of the actor: its next message is written to it; it is sent. */
void write_loan(struct actor *actor);
int send_loan(struct actor *actor);
/* Of the survivors: a process that sleeps in the topic from now on. */
void begin_sleeper(struct survivors *survivors);
/* Of the survivors: a process that keeps from now on what others leave. */
void begin_keeper(struct survivors *survivors);
/* Of the survivors: so many messages of that size, read on the way by those who have to. */
void send_some(struct survivors *survivors, unsigned count, size_t bytes);

#endif
