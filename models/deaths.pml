/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * Deaths that raise an event (shm/counters.h, E2): the notifiers of some slots die, and name the same event. Who
 * repairs one may be killed at any step, and the next one starts over (slot 0); at most one at a time repairs a slot.
 * Slot 0 is used again, by a notifier that dies as well. Each death is counted exactly once.
 *
 * There are no store buffers: what matters is written by compare-and-swap, which empties them; marks that begin_slot()
 * clears and incarnations it raises are ordered by locks, which are system calls.
 *
 * SLOTS=3: another slot is repaired, at one moment, and repairers of the second life in slot 0 are killed only.
 *
 * Broken variants: NO_MARK_OF_OTHERS (the word is replaced, though the slot that it names has no mark), MARK_READ_FIRST
 * (the mark is looked at before the word), MARK_STORED (others' marks are set by a plain store, which may be late),
 * NO_MARKS (whose death was the last is all there is), RAISED_FIRST (the mark is set before it is counted).
 */
#ifndef SLOTS
#define SLOTS 2
#endif
#if SLOTS == 3
#define KILLED_FROM 3 /* in the second life only */
#else
#define KILLED_FROM 1
#endif
#define LIVES 2 /* of slot 0; for each two repairers: the first may be killed */

byte incarnation[SLOTS]; /* odd: somebody lives, or lived, there */
byte marked[SLOTS];      /* pattern_words[EVENT_WORD_RAISED] */
byte count, last_slot, last_incarnation; /* deaths_word(): changed together */

byte repaired[SLOTS]; /* ghost: how many lives of each are over */
byte at_work[SLOTS];  /* repairers: 0: nobody has the repair byte */

/* mark(): by compare-and-swap from what was read, while that life is not over */
inline mark(s, i)
{
    do
    :: true ->
        atomic { was = marked[s]; if :: was == i || i == 0 -> was = 0; break :: else fi }
        atomic { if :: incarnation[s] != i -> was = 0; break :: else fi }
        atomic { if :: marked[s] == was -> marked[s] = i; was = 0; break :: else fi } /* E2 */
    od
}

/* counters_raise_death(), then the incarnation is raised: end_life() */
inline repair(s, i)
{
    do
    :: true ->
#ifdef MARK_READ_FIRST
        was = marked[s];
#endif
        atomic {
            seen_count = count; seen_slot = last_slot; seen_incarnation = last_incarnation; /* E2 */
            if
            :: seen_slot == s && seen_incarnation == i -> break
            :: else
            fi
        }
#ifndef NO_MARKS
        atomic {
            if
#ifdef MARK_READ_FIRST
            :: was == i -> break
#else
            :: marked[s] == i -> break
#endif
            :: else
            fi
        }
#endif
#ifndef NO_MARK_OF_OTHERS
#ifdef MARK_STORED
        atomic { stale = seen_incarnation != 0 && incarnation[seen_slot] == seen_incarnation }
        if
        :: stale -> marked[seen_slot] = seen_incarnation
        :: else
        fi;
        stale = false;
#else
        mark(seen_slot, seen_incarnation);
#endif
#endif
#ifdef RAISED_FIRST
        mark(s, i);
#endif
        atomic {
            if
            :: count == seen_count && last_slot == seen_slot && last_incarnation == seen_incarnation ->
                count++;
                last_slot = s;
                last_incarnation = i;
                break
            :: else
            fi
        }
    od;
#ifndef NO_MARKS
    mark(s, i);
#endif
    atomic { incarnation[s]++; repaired[s]++; seen_count = 0; seen_slot = 0; seen_incarnation = 0 }
}

bool killed[5];

proctype repairer(byte me; byte s; byte i) provided (!killed[me])
{
    byte was, seen_count, seen_slot, seen_incarnation;
    bool stale;
    repair(s, i);
    at_work[s] = 0
}

/* One repairer after the other for that life; the first may be killed at any step, and then the second is there. */
proctype life(byte s; byte i; byte me)
{
    at_work[s] = 1;
    run repairer(me, s, i);
    if
    :: at_work[s] == 0 -> goto over
    :: atomic { s == 0 && i >= KILLED_FROM && at_work[s] != 0 -> killed[me] = true }
        if
        :: incarnation[s] != i -> goto over /* nothing is left to do */
        :: else
        fi;
        run repairer(me + 1, s, i);
        at_work[s] == 0
    fi;
over:
    if
    :: s == 0 && i < 2 * LIVES - 1 -> /* begin_slot() */
        atomic { incarnation[s] = i + 2; marked[s] = 0 }
        at_work[s] = 0;
        run life(s, i + 2, me + 2)
    :: else
    fi
}

#if SLOTS == 3
/* Repairs the third slot at one moment. */
proctype at_once()
{
    atomic {
        if
        :: last_incarnation != 0 && incarnation[last_slot] == last_incarnation -> marked[last_slot] = last_incarnation
        :: else
        fi;
        count++;
        last_slot = 2;
        last_incarnation = 1;
        incarnation[2]++;
        repaired[2]++
    }
}
#endif

active proctype check()
{
    timeout; /* all is at rest */
    assert(repaired[0] == LIVES && repaired[1] == 1 && repaired[SLOTS - 1] == 1);
    assert(count == LIVES + SLOTS - 1)
}

init {
    atomic {
        incarnation[0] = 1;
        incarnation[1] = 1;
        run life(0, 1, 0);
        run life(1, 1, 4);
#if SLOTS == 3
        incarnation[2] = 1;
        run at_once()
#endif

    }
}
