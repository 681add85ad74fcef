/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * The bell (src/shm/bell.h): PUBLISHERS publishers send MESSAGES messages each; a subscriber sleeps on the futex
 * (sleep_until in src/core/subscriber.c). Publishers do not fence: the sleeper's membarrier does it for them (B1).
 *
 * With INTERRUPT, another thread calls tarn_subscriber_interrupt(), and a second subscriber waits at its doorbell. With
 * KILLED, a publisher may be killed between any two steps.
 *
 * Checked: when all has come to rest, nobody sleeps who has a message to take, or was interrupted. With KILLED: the
 * look at the end of the slice finds all that was committed.
 *
 * Broken variants: NO_BARRIER, VALUE_READ_LATE, NO_SLICE (with KILLED); with INTERRUPT: INTERRUPT_TAKES_BIT,
 * WIN_TRIED_ONCE, NO_INTERRUPT_FENCE.
 */
#ifndef PUBLISHERS
#define PUBLISHERS 1
#endif
#ifndef MESSAGES
#define MESSAGES 2
#endif

#define BELL 0
#define INTERRUPTED 1
#define ARMED 2 /* the doorbell's state */
#define LOG(p) (3 + (p))
#define WORDS (3 + PUBLISHERS)
#define INTERRUPTER PUBLISHERS
#define PROCESSORS (PUBLISHERS + 1)
#include "tso.pml"

bool asleep; /* in futex_wait */
bool readable; /* the doorbell's FIFO */
byte committed[PUBLISHERS]; /* ghost */
byte taken[2 * PUBLISHERS]; /* by the sleeper, and by the one with a doorbell */
#define TAKEN(who, p) taken[(who) * PUBLISHERS + (p)]

/* ---- publishers ---- */

#ifdef KILLED
#define KILL :: true -> goto dead
#else
#define KILL
#endif
#define MAY_DIE if :: true KILL fi

proctype publisher(byte me)
{
    byte value;
    bool won;
    do
    :: committed[me] == MESSAGES -> break
    :: else ->
        MAY_DIE;
        atomic { committed[me]++; STORE(me, LOG(me), committed[me]) } /* writer_commit */
        MAY_DIE;
        value = memory[BELL]; /* wake: only the compiler keeps it behind the commit */
        if
        :: value & 1 -> /* bell_win */
            do
            :: MAY_DIE;
                atomic { /* compare_and_swap */
                    FENCE(me);
                    if
                    :: memory[BELL] == value -> memory[BELL] = value + 1; won = true
                    :: else -> value = memory[BELL]
                    fi
                }
                if
#ifdef WIN_TRIED_ONCE
                :: true -> break
#else
                :: won || !(value & 1) -> break
                :: else
#endif
                fi
            od;
            if
            :: won ->
                MAY_DIE;
                asleep = false; /* futex_wake_all */
                MAY_DIE;
                if /* ring_doorbells */
                :: memory[ARMED] -> readable = true
                :: else
                fi;
                won = false
            :: else
            fi
        :: else
        fi;
        value = 0
    od;
dead:
    skip
}

/* ---- sleepers ---- */

inline arm() /* bell_arm; the fetch_or is one instruction */
{
    atomic { value = memory[BELL] | 1; memory[BELL] = value }
#ifdef VALUE_READ_LATE
    value = memory[BELL];
#endif
#ifndef NO_BARRIER
    do
    :: p < PUBLISHERS -> atomic { BARRIER(p); p++ }
    :: else -> p = 0; break
    od
#endif
}

inline look(who) /* takes what it finds */
{
    found = false;
    do
    :: p < PUBLISHERS ->
        atomic {
            if
            :: memory[LOG(p)] != TAKEN(who, p) -> TAKEN(who, p) = memory[LOG(p)]; found = true
            :: else
            fi;
            p++
        }
    :: else -> p = 0; break
    od
}

inline check_nothing_is_left(who)
{
    do
    :: p < PUBLISHERS -> assert(TAKEN(who, p) == committed[p]); p++
    :: else -> p = 0; break
    od
}

proctype sleeper()
{
    byte value, p;
    bool found;
    do
    :: look(0);
        if /* wait_until */
        :: found -> skip
        :: else ->
#ifdef INTERRUPT
            if
            :: memory[INTERRUPTED] -> break
            :: else
            fi;
#endif
            arm(); /* sleep_until */
            look(0);
            if
            :: found || memory[INTERRUPTED] -> skip
            :: else ->
                asleep = (memory[BELL] == value); /* futex_wait */
                if
                :: !asleep -> skip
                :: timeout -> /* all else is at rest: the end of the slice */
#if defined(KILLED) && !defined(NO_SLICE)
                    look(0);
#endif
                    check_nothing_is_left(0);
                    assert(!memory[INTERRUPTED]);
                    break
                fi
            fi;
            value = 0
        fi
    od
}

#ifdef INTERRUPT
/* found_nothing, and an event loop that waits until the descriptor is readable; doorbell.pml has the details. */
proctype doorbell()
{
    byte value, p;
    bool found;
    do
    :: look(1);
        readable = false; /* doorbell_drain */
        memory[ARMED] = 1; /* doorbell_arm: the atomic instruction behind it drains it */
        arm();
        look(1);
        if
        :: found -> skip /* rings itself */
        :: else ->
            if
            :: readable -> skip
            :: timeout -> check_nothing_is_left(1); break
            fi
        fi;
        value = 0
    od
}

/* tarn_subscriber_interrupt */
proctype interrupter()
{
    byte value;
    STORE(INTERRUPTER, INTERRUPTED, 1);
#ifndef NO_INTERRUPT_FENCE
    FENCE(INTERRUPTER); /* I1 */
#endif
    value = memory[BELL];
    do
    :: value & 1 ->
        atomic {
            FENCE(INTERRUPTER);
            if
#ifdef INTERRUPT_TAKES_BIT
            :: memory[BELL] == value -> memory[BELL] = value + 1; break
#else
            :: memory[BELL] == value -> memory[BELL] = value + 2; break
#endif
            :: else -> value = memory[BELL]
            fi
        }
    :: else -> break
    od;
    if
    :: value & 1 -> asleep = false
    :: else
    fi
}
#endif

init {
    byte n;
    atomic {
        do
        :: n < PUBLISHERS -> run publisher(n); n++
        :: else -> break
        od;
        run sleeper();
#ifdef INTERRUPT
        run doorbell();
        run interrupter();
#endif
        n = 0;
        do
        :: n < PROCESSORS -> run drain(n); n++
        :: else -> break
        od
    }
}
