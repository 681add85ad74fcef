/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * Messages released without a locked instruction, by the thread that took them (T1, T2: src/shm/holds.h), while the
 * subscriber moves on in another thread. The first thread has taken MESSAGES of an extent, of which it releases all but
 * one, and hands that one to a third thread. The second thread uses the subscriber from then on: it takes another
 * message of the extent or does not, releases it or keeps it for a while, and leaves the extent at any time.
 *
 * Checked: the hold is let go once, and only when all messages were released; when it is let go, no store to it is
 * under way and none follows, as it may be used again or freed; nobody waits for good.
 *
 * Broken variants: NO_BARRIER (the second thread does not have the first one fence), NO_SECOND_LOOK (the first one does
 * not look again whether it may count), NO_WAIT (the second one takes a count that is being raised for one that is
 * not), COUNTED_FIRST (the first one raises it before it looks again, and takes it back if it may not), NOT_PARTED (the
 * second one leaves the first one's word as it is).
 */
#define THREAD 0   /* which thread may count by itself */
#define RETURNED 1 /* twice the count, odd while it is being raised */
#define WORDS 2
#define FIRST 0
#define SECOND 1
#define THIRD 2
#define PROCESSORS 3
#define DEPTH 3
#include "tso.pml"

#ifndef MESSAGES
#define MESSAGES 3
#endif
#define BIAS 20
#define MAY 1
#define MAY_NOT 0

byte refs = BIAS;
byte taken = MESSAGES;
byte out = MESSAGES; /* what users have in truth */
byte cleared;
bool handed;         /* the third thread has its message */
byte done;

inline use() /* any look at the hold, or store to it */
{
    assert(cleared == 0)
}

inline clear()
{
    assert(out == 0);
    assert(empty(buffer[FIRST]));
    cleared++;
    assert(cleared == 1)
}

inline release_in_refs(p)
{
    atomic { /* a locked instruction: a fence, too */
        FENCE(p) -> use();
        refs--;
        if
        :: refs == 0 -> clear()
        :: else
        fi
    }
}

proctype first()
{
    byte returned; /* what it has stored itself */
    byte n;
    bool may;
    do
    :: n < MESSAGES - 1 ->
        n++;
        atomic { use(); out--; may = memory[THREAD] == MAY }
        if
        :: may ->
#ifdef COUNTED_FIRST
            STORE(FIRST, RETURNED, returned + 2);
#else
            STORE(FIRST, RETURNED, returned + 1);
#endif
#ifdef NO_SECOND_LOOK
            may = true;
#else
            atomic { use(); may = memory[THREAD] == MAY } /* T1 */
#endif
            if
            :: may -> returned = returned + 2
            :: else
            fi;
            STORE(FIRST, RETURNED, returned)
        :: else
        fi;
        if
        :: may
        :: else -> release_in_refs(FIRST)
        fi
    :: n == MESSAGES - 1 && !handed -> handed = true
    :: n < MESSAGES - 1 && !handed -> handed = true /* or before */
    :: n == MESSAGES - 1 && handed -> break
    od;
    done++
}

proctype third()
{
    handed;
    atomic { use(); out-- }
    release_in_refs(THIRD);
    done++
}

proctype second()
{
    byte returned, was;
    bool has;
    if
    :: true
    :: true -> atomic { use(); taken++; out++; has = true }
    fi;
    if
    :: has -> has = false; atomic { use(); out-- } release_in_refs(SECOND)
    :: true
    fi;
    atomic { use(); returned = memory[RETURNED] / 2 } /* hold_out: T2 */
    atomic { use(); was = refs }
    if
    :: taken - returned + was == BIAS -> atomic { clear() }
    :: else ->
#ifndef NOT_PARTED
        STORE(SECOND, THREAD, MAY_NOT);
#endif
        FENCE(SECOND);
#ifndef NO_BARRIER
        BARRIER(FIRST); /* T1 */
#endif
#ifdef NO_WAIT
        returned = memory[RETURNED] / 2;
#else
        atomic { memory[RETURNED] % 2 == 0 -> returned = memory[RETURNED] / 2 } /* T2 */
#endif
        atomic { /* a locked instruction */
            FENCE(SECOND) -> use();
            refs = refs + taken - returned - BIAS;
            if
            :: refs == 0 -> clear()
            :: else
            fi
        }
        if
        :: has -> atomic { use(); out-- } release_in_refs(SECOND)
        :: else
        fi
    fi;
    done++
}

init {
    atomic {
        memory[THREAD] = MAY;
        run first();
        run second();
        run third();
        run drain(FIRST);
        run drain(SECOND)
    }
    done == 3;
    assert(cleared == 1)
}
