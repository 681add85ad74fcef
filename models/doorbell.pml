/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * The descriptor (src/core/doorbell.h, found_nothing and ready_for_waitset in src/core/subscriber.c): two publishers
 * send one and two messages; an event loop takes one message whenever the descriptor is readable. Another subscriber
 * sets the bell's bit now and then.
 *
 * Checked: when all has come to rest, everything was taken (lost wake-up); takes that find nothing come to an end.
 *
 * Broken variants: each step of found_nothing left out: NO_DRAIN, NO_ARM, NO_BIT, NO_BARRIER, NO_LOOK, NO_RING_SELF; or
 * moved: DRAIN_LATE (behind the look), ARM_LATE (behind the bit); RINGER_DISARMS: who rings makes the doorbell quiet.
 */
#define PUBLISHERS 2
#define MESSAGES(p) ((p) + 1)
#define BELL 0
#define ARMED 1
#define LOG(p) (2 + (p))
#define WORDS (2 + PUBLISHERS)
#define SUBSCRIBER PUBLISHERS
#define PROCESSORS (PUBLISHERS + 1)
#define DEPTH 3
#include "tso.pml"

#define RINGS_MAX 6
byte rings; /* bytes in the FIFO */

proctype publisher(byte me)
{
    byte value, sent;
    bool won;
    do
    :: sent == MESSAGES(me) -> break
    :: else ->
        atomic { sent++; STORE(me, LOG(me), sent) }
        value = memory[BELL]; /* B1 */
        do
        :: value & 1 -> /* bell_win */
            atomic {
                FENCE(me);
                if
                :: memory[BELL] == value -> memory[BELL] = value + 1; won = true; break
                :: else -> value = memory[BELL]
                fi
            }
        :: else -> break
        od;
        if
        :: won -> /* ring_doorbells */
            won = false;
            if
            :: memory[ARMED] ->
                rings++;
                assert(rings <= RINGS_MAX)
#ifdef RINGER_DISARMS
                ; STORE(me, ARMED, 0)
#endif
            :: else
            fi
        :: else
        fi;
        value = 0
    od
}

inline look() /* ready */
{
    p = 0;
    do
    :: p < PUBLISHERS && memory[LOG(p)] == taken[p] -> p++
    :: else -> break
    od
}

inline take_any() /* p: whose message it was; PUBLISHERS: none */
{
    look();
    if
    :: p < PUBLISHERS -> taken[p]++
    :: else
    fi
}

inline drain_rings()
{
    rings = 0
}

inline arm()
{
#ifdef NO_ARM
    skip
#else
    STORE(SUBSCRIBER, ARMED, 1)
#endif
}

byte taken[PUBLISHERS];

proctype event_loop()
{
    byte p, in_vain;
    rings = 1; /* tarn_subscriber_fd */
    do
    :: rings > 0 -> /* readable: tarn_subscriber_take */
        take_any();
        if
        :: p < PUBLISHERS -> in_vain = 0
        :: else -> /* found_nothing */
            in_vain++;
            assert(in_vain < 6); /* else: readable for ever */
#if !defined(NO_DRAIN) && !defined(DRAIN_LATE)
            drain_rings(); /* doorbell_drain */
#endif
#ifndef ARM_LATE
            arm(); /* doorbell_arm */
#endif
#ifndef NO_BIT
            atomic { FENCE(SUBSCRIBER); memory[BELL] = memory[BELL] | 1 }
#endif
#ifdef ARM_LATE
            arm();
            FENCE(SUBSCRIBER);
#endif
#ifndef NO_BARRIER
            FENCE(SUBSCRIBER);
            p = 0;
            do
            :: p < PUBLISHERS -> atomic { BARRIER(p); p++ }
            :: else -> break
            od;
#endif
#ifndef NO_LOOK
            look();
#endif
#ifdef DRAIN_LATE
            drain_rings();
#endif
#ifndef NO_LOOK
            if
            :: p < PUBLISHERS ->
#ifndef NO_RING_SELF
                rings++; /* doorbell_ring_self */
#endif
                in_vain = 0;
                take_any()
            :: else
            fi
#endif
        fi;
        p = 0
    :: rings == 0 && timeout -> /* at rest */
        do
        :: p < PUBLISHERS -> assert(taken[p] == MESSAGES(p)); p++
        :: else -> break
        od;
        break
    od
}

/* Another subscriber, about to sleep. */
proctype neighbour()
{
    atomic { memory[BELL] = memory[BELL] | 1 }
}

init {
    atomic {
        run publisher(0);
        run publisher(1);
        run event_loop();
        run neighbour();
        run drain(0);
        run drain(1);
        run drain(2)
    }
}
