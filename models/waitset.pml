/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * Waiting for many, and what makes a handle's descriptor quiet (src/core/waitset.c; waiter_make_quiet and
 * waiter_interrupt in waiter.c; service_seek in service.c): two handles, each of which sleeps on a bell of its own and
 * has one publisher, in an epoll descriptor that is level-triggered. The publishers send one and two messages (with
 * KEEPS one each, with INTERRUPTED one and none); with KILLED, the second one may be killed between its commit and its
 * ring. A descriptor is readable while its FIFO has bytes, or its timer has run out.
 *
 * The user waits; of what is reported he takes one message, or all until a take finds nothing, or he looks at it
 * another time. Handles are looked at in memory before the kernel is asked, or, with NO_LOOKS, as where there are more
 * than 64, are not. Once in a while all that are readable are asked (tend). With KEEPS, a message that is found is kept
 * by its handle for the take, as clients and servers do. With INTERRUPTED, somebody interrupts the wait twice.
 *
 * Checked: when all has come to rest, the waitset does not sleep while a handle has something, or an interruption was
 * not told (lost wake-up); what is reported is there; what the kernel reports in vain comes to an end.
 *
 * Broken variants: NO_ARM, NO_BIT, NO_BARRIER, DRAIN_LATE (behind the last look), LOOK_DRAINS (without arming), EDGE
 * (what was reported is not reported again); with NO_LOOKS: NO_LOOK_BEHIND (the arming), NO_RING_SELF; with KILLED:
 * NO_TIMER; with INTERRUPTED: FLAG_LATE (stored behind the write), DRAINED_LATE (and the flag cleared once more). Where
 * handles are looked at in memory, the first two of those with NO_LOOKS do no harm.
 */
#define HANDLES 2
#ifdef INTERRUPTED
#define MESSAGES(h) (1 - (h))
#elif defined(KEEPS)
#define MESSAGES(h) 1
#else
#define MESSAGES(h) ((h) + 1)
#endif
#define BELL(h) (h)
#define ARMED(h) (HANDLES + (h))
#define LOG(h) (2 * HANDLES + (h))
#define WORDS (3 * HANDLES)
#define WAITER HANDLES
#define PROCESSORS (HANDLES + 1)
#define DEPTH 2
#include "tso.pml"

#define IN_VAIN_MAX 8

bool rung[HANDLES];  /* its FIFO has bytes */
bool timers[HANDLES]; /* has run out */
bool told[HANDLES];  /* EDGE: the kernel has reported it since it became readable */
byte taken[HANDLES];
byte kept[HANDLES];  /* of those taken from the log, not given to the user yet */
bool flag, event;    /* interrupted; the eventfd is readable */
bool killed;         /* ghost */
byte interruptions, answered; /* ghost: flags stored, and told */

/* ---- the others ---- */

inline ring(h)
{
    atomic {
        rung[h] = true;
        told[h] = false
    }
}

proctype publisher(byte me)
{
    byte value, sent;
    bool won;
    do
    :: sent == MESSAGES(me) -> break
    :: else ->
        atomic { sent++; STORE(me, LOG(me), sent) }
#ifdef KILLED
        if
        :: me == 1 && sent == MESSAGES(me) -> killed = true; break
        :: true
        fi;
#endif
        value = memory[BELL(me)]; /* B1 */
        if
        :: value & 1 ->
            atomic { /* bell_win: nobody else changes it */
                FENCE(me);
                won = memory[BELL(me)] == value;
                memory[BELL(me)] = (won -> value + 1 : memory[BELL(me)])
            }
            if
            :: won && memory[ARMED(me)] -> ring(me)
            :: else
            fi
        :: else
        fi;
        atomic { value = 0; won = false }
    od
}

#ifdef INTERRUPTED
/* tarn_waitset_interrupt: its write is a system call */
proctype interrupter()
{
    byte times;
    do
    :: times < 2 ->
#ifdef FLAG_LATE
        event = true;
        atomic { flag = true; interruptions++; times++ }
#else
        atomic { flag = true; interruptions++; times++ }
        event = true
#endif
    :: else -> break
    od
}
#endif

/* ---- a handle ---- */

#define HAS(h) (kept[h] || memory[LOG(h)] != taken[h])
#ifdef NO_TIMER
#define IS_READABLE(h) (rung[h])
#else
#define IS_READABLE(h) (rung[h] || timers[h])
#endif
#ifdef EDGE
#define IS_REPORTED(h) (IS_READABLE(h) && !told[h])
#else
#define IS_REPORTED(h) IS_READABLE(h)
#endif

inline drain_doorbell(h)
{
    atomic { rung[h] = false; timers[h] = false; told[h] = false }
}

/* waiter_make_quiet; found says what the look behind it has found */
inline make_quiet(h)
{
    found = false;
#ifndef DRAIN_LATE
    drain_doorbell(h);
#endif
#ifndef NO_ARM
    STORE(WAITER, ARMED(h), 1);
#endif
#ifndef NO_BIT
    atomic { FENCE(WAITER); memory[BELL(h)] = memory[BELL(h)] | 1 }
#endif
#ifndef NO_BARRIER
    FENCE(WAITER);
    BARRIER(h);
#endif
#ifndef NO_LOOK_BEHIND
    found = HAS(h);
#endif
#ifdef DRAIN_LATE
    drain_doorbell(h);
#endif
#ifndef NO_RING_SELF
    if
    :: found -> ring(h)
    :: else
    fi
#endif
}

/*
 * What was found is kept for the take, as service_seek does. That rings, too, where it is ready: not needed for this.
 */
inline keep(h)
{
#ifdef KEEPS
    if
    :: found && !kept[h] -> kept[h] = true; taken[h]++
    :: else
    fi
#else
    skip
#endif
}

/* waitable.look */
inline look(h)
{
    found = HAS(h);
#ifdef LOOK_DRAINS
    if
    :: !found -> drain_doorbell(h)
    :: else
    fi;
#endif
    keep(h)
}

/* waitable.ready */
inline ready(h)
{
    found = HAS(h);
    if
    :: !found -> make_quiet(h)
    :: else
    fi;
    keep(h)
}

/* the take of each handle's kind */
inline take(h)
{
    if
    :: kept[h] -> kept[h] = false; found = true
    :: !kept[h] && memory[LOG(h)] != taken[h] -> taken[h]++; found = true
    :: else ->
        make_quiet(h);
        if
        :: found -> taken[h]++
        :: else
        fi
    fi
}

/* ---- the waitset, and its user ---- */

/* What was reported may be looked at another time. */
inline use(h)
{
    assert(HAS(h));
    if
    :: true
    :: true -> take(h)
    :: true -> do
        :: true ->
            take(h);
            if
            :: !found -> break
            :: else
            fi
        od
    fi;
    found = false
}

#define ALL_TAKEN (taken[0] == MESSAGES(0) && taken[1] == MESSAGES(1) && !kept[0] && !kept[1])

proctype waiting()
{
    byte h, in_vain;
    bool found, interrupted;
    atomic { rung[0] = true; rung[1] = true } /* waiter_fd */
wait:
    do
    ::
#ifdef INTERRUPTED
        if /* was_interrupted */
        :: flag ->
#ifdef DRAINED_LATE
            flag = false;
            answered = interruptions;
            flag = false;
            event = false;
#else
            atomic { flag = false; answered = interruptions }
            event = false;
#endif
            goto wait
        :: else
        fi;
#endif
        if
        :: true
        :: IS_REPORTED(0) && in_vain == 0 -> ready(0); found = false /* tend */
        :: IS_REPORTED(1) && in_vain == 0 -> ready(1); found = false
        fi;
#ifndef NO_LOOKS
        h = 0;
        do
        :: h < HANDLES && !found ->
            look(h);
            h = (found -> h : h + 1)
        :: else -> break
        od;
        if
        :: found -> use(h); in_vain = 0; goto wait
        :: else
        fi;
#endif
asleep: /* ask_kernel */
        if
        :: IS_REPORTED(0) -> h = 0
        :: IS_REPORTED(1) -> h = 1
#ifdef INTERRUPTED
        :: event -> event = false; goto wait
#endif
        :: timeout && !timers[0] && !timers[1] && in_vain == 0 -> /* at rest: the slice ends */
            assert((!HAS(0) && !HAS(1)) || killed); /* else: a lost wake-up */
            assert(answered == interruptions);
            timers[0] = true;
            timers[1] = true;
            in_vain = 1;
            goto asleep
        :: timeout && in_vain > 0 -> break
        fi;
        told[h] = true;
        ready(h);
        if
        :: found -> use(h); in_vain = 0
        :: else -> assert(in_vain < IN_VAIN_MAX); in_vain = in_vain + (in_vain > 0)
        fi;
        h = 0
    od;
    assert(ALL_TAKEN);
    assert(answered == interruptions && !flag)
}

init {
    atomic {
        run publisher(0);
        run publisher(1);
        run waiting();
#ifdef INTERRUPTED
        run interrupter();
#endif
        run drain(0);
        run drain(1);
        run drain(WAITER)
    }
}
