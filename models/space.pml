/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * Waiting for space, S1 (find_space in src/core/publisher.c, space_ring in src/shm/holds.c). The publisher needs an extent
 * that two readers hold, whose holds are let go by any thread (clear); that a reliable reader's cursor has not passed
 * (log_reader_tell); and that a third reader tries to enter after it was retired (enter, hold_cancel).
 *
 * Checked: when all has come to rest, the publisher does not sleep (lost wake-up).
 *
 * Broken variants: NO_READER_FENCE, LOOK_BEFORE_ANNOUNCING, CANCEL_WITHOUT_RING.
 */
#define READERS 4
#define SPACE 0
#define WORD(r) (1 + (r)) /* not 0: reader r keeps the extent, by its cell or its cursor */
#define WORDS (1 + READERS)
#define PROCESSORS READERS
#define DEPTH 2
#include "tso.pml"

bool asleep;

inline space_ring()
{
#ifndef NO_READER_FENCE
    FENCE(me); /* S1 */
#endif
    value = memory[SPACE];
    if
    :: value & 1 ->
        atomic {
            FENCE(me);
            if
            :: memory[SPACE] == value -> memory[SPACE] = value + 1
            :: else -> value = 0
            fi
        }
        if
        :: value & 1 -> asleep = false /* futex_wake_all */
        :: else
        fi
    :: else
    fi
}

/* clear, or log_reader_tell: what comes first in both */
proctype reader(byte me)
{
    byte value;
    STORE(me, WORD(me), 0);
    space_ring()
}

/* enter, too late: the extent's generation is 0 already */
proctype late_reader(byte me)
{
    byte value;
    STORE(me, WORD(me), 1);
    FENCE(me); /* H1 */
    STORE(me, WORD(me), 0); /* hold_cancel */
#ifndef CANCEL_WITHOUT_RING
    space_ring()
#endif
}

/* extents_reclaim: one look at all words; r == READERS: nobody keeps it */
inline look()
{
    r = 0;
    kept = false;
    do
    :: r < READERS -> atomic { kept = kept || memory[WORD(r)]; r++ }
    :: else -> break
    od;
    r = 0
}

proctype publisher()
{
    byte value, r;
    bool kept;
    do /* find_space */
    ::
#ifdef LOOK_BEFORE_ANNOUNCING
        look();
#endif
        atomic { value = memory[SPACE] | 1; memory[SPACE] = value }
#ifndef LOOK_BEFORE_ANNOUNCING
        look();
#endif
        if
        :: !kept -> break
        :: else
        fi;
        asleep = (memory[SPACE] == value); /* futex_wait */
        if
        :: !asleep -> skip
        :: timeout -> assert(false) /* everybody has let go */
        fi;
        value = 0
    od
}

init {
    atomic {
        memory[WORD(0)] = 1;
        memory[WORD(1)] = 1;
        memory[WORD(2)] = 1;
        run reader(0);
        run reader(1);
        run reader(2);
        run late_reader(3);
        run publisher();
        run drain(0);
        run drain(1);
        run drain(2);
        run drain(3)
    }
}
