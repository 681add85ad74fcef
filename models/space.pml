/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * Waiting for space, S1 (src/shm/space.h; find_space in src/core/publisher.c, flush in publisher_life.c). The log has
 * three extents: who has taken the message of extent k has a cursor of k, and the last extent is being written. Readers
 * do not fence: the publisher's membarrier does it for them (S1, as B1), but for those of a process that is not
 * registered.
 *
 * The publisher starts a flush and gives up, or not; needs one extent; then another, for each of which it wants the
 * least sequence that helps, or a later one; then it flushes with patience. Retired is enough, since what is held is
 * charged beyond the limit. Two reliable readers, one of them in a process that is not registered, tell their cursors
 * message by message (log_reader_tell), and may stop for ever after each.
 *
 * With REALTIME, there is no flush, and the extents must be free. One reliable reader, which follows the jumps, too
 * (hold_move); a process that is not registered holds the second extent (hold_clear), or, with LATE, another reader
 * enters the first or the second, perhaps too late (hold_cancel).
 *
 * With DEAD_READER, one of the reliable readers is dead, perhaps killed in leaving, between LEAVING and the counted
 * change, and somebody repairs its slot (slot_reap); with KILLED, he may be killed at any step.
 *
 * Checked: when all has come to rest, the publisher does not sleep if one more try would succeed, and readers are as
 * far as it wanted (lost wake-up). With DEAD_READER: after the slice's look for the dead it waits for the living only.
 *
 * Broken variants: NO_BARRIER, LOOK_BEFORE_ANNOUNCING, NO_FENCE_UNREGISTERED, these with REALTIME, too;
 * WANTED_AFTER_BARRIER, NO_RING_AT_WANTED; with REALTIME: CANCEL_WITHOUT_RING, MOVE_WITHOUT_RING; with DEAD_READER:
 * RING_BEFORE_CHANGES, and with KILLED, too: FREE_BEFORE_CHANGES, LEAVING_IS_COUNTED. Good all the same, as that is
 * before the barrier: WANTED_AFTER_BIT.
 */
#define TAIL 3 /* the extent that is being written */
#ifdef REALTIME
#define RELIABLE 1
#define MESSAGES 2
#define IS_SHORT false
#else
#define RELIABLE 2
#define MESSAGES 3
#define IS_SHORT is_short
#endif
#define READERS 3
#define UNREGISTERED 2

#define SPACE 0
#define WANTED 1
#define CURSOR(p) (1 + (p)) /* of readers 1 to RELIABLE */
#define CELL(p) (1 + RELIABLE + (p)) /* of readers 1 to READERS: extent, or 0 */
#define STATE (2 + RELIABLE + READERS) /* of the slot of reader 2 */
#define CHANGES (STATE + 1) /* of the roster */
#define WORDS (CHANGES + 1)
#define PUBLISHER 0
#define PROCESSORS (1 + READERS)
#define DEPTH 2
#include "tso.pml"

#define LIVE 2
#define LEAVING 1
#define FREE 0

bool asleep; /* in futex_wait */
bool killed; /* ghost: who repairs */

/* ---- readers ---- */

/* light_fence: where registered, only the compiler keeps what follows behind the store */
#ifdef NO_FENCE_UNREGISTERED
#define LIGHT_FENCE true
#else
#define LIGHT_FENCE (me != UNREGISTERED || FENCE(me))
#endif

inline win_and_wake() /* of bell_win, what is behind its first load; wake */
{
    do
    :: value & 1 ->
        atomic { /* compare_and_swap */
            FENCE(me);
            if
            :: memory[SPACE] == value -> memory[SPACE] = value + 1; won = true
            :: else -> value = memory[SPACE]
            fi
        }
        if
        :: won -> asleep = false; break /* futex_wake_all */
        :: else
        fi
    :: else -> break
    od;
    atomic { value = 0; won = false }
}

inline space_ring()
{
    atomic { LIGHT_FENCE; value = memory[SPACE] } /* S1 */
    win_and_wake()
}

#ifdef NO_RING_AT_WANTED
#define REACHES >
#else
#define REACHES >=
#endif

inline space_ring_at(sequence)
{
    atomic { LIGHT_FENCE; value = memory[SPACE] } /* S1 */
    if
    :: value & 1 ->
        if
        :: sequence REACHES memory[WANTED] -> value = memory[SPACE]; win_and_wake()
        :: else -> value = 0
        fi
    :: else -> value = 0
    fi
}

proctype reliable_reader(byte me)
{
    byte value, sequence;
    bool won;
    do
    :: true -> break
    :: sequence < MESSAGES ->
        sequence++;
        STORE(me, CURSOR(me), sequence); /* log_reader_tell */
        space_ring_at(sequence);
#ifdef REALTIME
        if
        :: true -> break
        :: true
        fi;
        STORE(me, CELL(me), sequence + 1); /* hold_move */
        FENCE(me); /* H1 */
#ifndef MOVE_WITHOUT_RING
        space_ring()
#endif
#endif
    od
}

proctype holder(byte me)
{
    byte value;
    bool won;
    if
    :: true
    :: true ->
        STORE(me, CELL(me), 0); /* hold_clear */
        space_ring()
    fi
}

proctype late_reader(byte me)
{
    byte value;
    bool won;
    if /* hold_begin */
    :: STORE(me, CELL(me), 1)
    :: STORE(me, CELL(me), 2)
    fi;
    FENCE(me); /* H1 */
    STORE(me, CELL(me), 0); /* hold_cancel */
#ifndef CANCEL_WITHOUT_RING
    space_ring()
#endif
}

/* ---- who repairs ---- */

#ifdef KILLED
#define MAY_DIE if :: true :: true -> killed = true; goto dead fi
#else
#define MAY_DIE skip
#endif

inline count_change()
{
    atomic { FENCE(me); memory[CHANGES] = memory[CHANGES] + 1 }
}

/* slot_reap: reader 2 is dead, and its cursor counts as 0 */
proctype repairer(byte me)
{
    byte value;
    bool won;
#if !defined(RING_BEFORE_CHANGES) && !defined(FREE_BEFORE_CHANGES)
    if /* stop_waiting_for */
#ifdef LEAVING_IS_COUNTED
    :: memory[STATE] == LEAVING
    :: else ->
#else
    :: true ->
#endif
        STORE(me, STATE, LEAVING);
        MAY_DIE;
        count_change();
        MAY_DIE
    fi;
#endif
    STORE(me, STATE, FREE);
    MAY_DIE;
#ifdef FREE_BEFORE_CHANGES
    count_change();
    MAY_DIE;
#endif
    space_ring();
    MAY_DIE;
#ifdef RING_BEFORE_CHANGES
    count_change();
#endif
dead:
    skip
}

/* ---- publisher ---- */

inline barrier()
{
#ifdef NO_BARRIER
    skip
#else
    do
    :: p < READERS ->
        atomic {
            p++;
            if
            :: p != UNREGISTERED -> BARRIER(p)
            :: else
            fi
        }
    :: else -> p = 0; break
    od
#endif
}

inline arm(sequence) /* space_arm */
{
#if !defined(WANTED_AFTER_BIT) && !defined(WANTED_AFTER_BARRIER)
    STORE(PUBLISHER, WANTED, sequence);
#endif
    atomic { FENCE(PUBLISHER); value = memory[SPACE] | 1; memory[SPACE] = value }
#ifdef WANTED_AFTER_BIT
    STORE(PUBLISHER, WANTED, sequence);
    FENCE(PUBLISHER); /* of the system call that follows */
#endif
    barrier();
#ifdef WANTED_AFTER_BARRIER
    STORE(PUBLISHER, WANTED, sequence)
#endif
}

inline reliable_cursor() /* one load per reader */
{
#ifdef DEAD_READER
    if /* readers_refresh */
    :: atomic { memory[CHANGES] != changes -> changes = memory[CHANGES] }
        has_left = (memory[STATE] != LIVE)
    :: else
    fi;
#endif
    cursor = TAIL;
    do
    :: p < RELIABLE ->
        atomic {
            p++;
            if
            :: memory[CURSOR(p)] < cursor && !(p == 2 && has_left) -> cursor = memory[CURSOR(p)]
            :: else
            fi
        }
    :: else -> p = 0; break
    od
}

inline try_space() /* extents_reclaim; head: log.head */
{
    reliable_cursor();
    atomic {
        if /* retire_log */
        :: cursor >= head && head < TAIL -> head = cursor + 1
        :: else
        fi;
        if
        :: head > TAIL -> head = TAIL
        :: else
        fi;
        cursor = 0
    }
#ifdef REALTIME
    do /* readers_holds: one load per cell */
    :: p < READERS -> atomic { p++; held = held | (1 << memory[CELL(p)]) }
    :: else -> break
    od;
    atomic {
        p = 1;
        do
        :: p < head ->
            if
            :: !(held & (1 << p)) -> freed = freed | (1 << p)
            :: else
            fi;
            p++
        :: else -> break
        od;
        p = 0;
        held = 0;
        done = ((freed >> 1 & 1) + (freed >> 2 & 1) >= needed)
    }
#else
    done = (head > needed)
#endif
}

inline try_flush() /* count_behind */
{
    reliable_cursor();
    atomic { done = (cursor == TAIL); cursor = 0 }
}

inline sleep() /* space_sleep */
{
    asleep = (memory[SPACE] == value); /* futex_wait */
    value = 0;
    if
    :: !asleep
    :: timeout -> at_rest = true
    fi
}

/* In each slice the publisher repairs whose slot is not FREE. */
inline bury_dead()
{
    atomic {
        if
        :: memory[STATE] != FREE -> memory[STATE] = FREE; memory[CHANGES] = memory[CHANGES] + 1
        :: else
        fi
    }
}

inline find_space()
{
    do
    ::
#ifdef LOOK_BEFORE_ANNOUNCING
        try_space();
#endif
        if /* extents_wanted */
        :: head < TAIL -> wanted = head
#ifndef REALTIME
        :: head < TAIL - 1 -> wanted = TAIL - 1 /* several at once */
#endif
        :: head == TAIL -> wanted = 0
        fi;
        arm(wanted);
#ifndef LOOK_BEFORE_ANNOUNCING
        try_space();
#endif
        if
        :: done -> break
        :: else
        fi;
        sleep();
        if
        :: at_rest -> /* the end of the slice */
            reliable_cursor();
            is_short = cursor < wanted;
            try_space();
            assert(!done || IS_SHORT || killed); /* else: a lost wake-up */
#ifdef DEAD_READER
            bury_dead();
            try_space();
            assert(done || memory[CURSOR(1)] < needed); /* else: it waits for the dead */
#endif
            if
            :: done -> at_rest = false; is_short = false; break
            :: else -> goto stopped
            fi
        :: else
        fi
    od;
    atomic { value = 0; wanted = 0; done = false }
}

inline flush()
{
    do
    ::
#ifdef LOOK_BEFORE_ANNOUNCING
        try_flush();
#endif
        arm(TAIL);
#ifndef LOOK_BEFORE_ANNOUNCING
        try_flush();
#endif
        if
        :: done -> break
        :: else
        fi;
        sleep();
        if
        :: at_rest ->
            try_flush();
            assert(!done || killed); /* else: a lost wake-up */
#ifdef DEAD_READER
            bury_dead();
            try_flush();
            assert(done || memory[CURSOR(1)] < TAIL); /* else: it waits for the dead */
#endif
            break
        :: else
        fi
    od
}

active proctype publisher()
{
    byte value, wanted, p, cursor, held, freed, needed, head = 1;
    byte changes;
    bool done, at_rest, is_short, has_left;
#ifndef REALTIME
    if
    :: arm(TAIL); value = 0 /* a flush that gives up: the bit stays, and what it wanted */
    :: skip
    fi;
#endif
    needed = 1;
    find_space();
    needed = 2;
    find_space();
#ifndef REALTIME
    flush();
#endif
stopped:
    skip
}

init {
    byte n;
    atomic {
        run reliable_reader(1);
#ifdef REALTIME
        memory[CELL(1)] = 1;
#ifdef LATE
        run late_reader(3);
#else
        memory[CELL(2)] = 2;
        run holder(2);
#endif
#else
#ifdef DEAD_READER
        if
        :: memory[STATE] = LIVE
        :: memory[STATE] = LEAVING /* not counted */
        fi;
        run repairer(2);
#else
        run reliable_reader(2);
#endif
#endif
        do
        :: n < PROCESSORS -> run drain(n); n++
        :: else -> break
        od
    }
}
