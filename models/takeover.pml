/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * A key of a blackboard that changes hands, K1, K2, K3, and a reader that holds, P1 (src/shm/board.h; publish and
 * forget_taken_over in src/core/board_writer.c, view_easily and view_slowly in board_reader.c).
 *
 * Two writers (or, with ONE_WRITER, one) take the key in turn: from nobody, or, with KILLED, the first one being killed
 * at any step, from the dead. Each has two extents of one place each; a value is its version, and something else while
 * it is being written. A writer that has given the key up, and sees that the other has set it, writes something else
 * where its value was. A reader reads the value some times, along both its ways: the extent that it holds anyway, or
 * another, by its name or by that of all of the writer's.
 *
 * Checked: a value read is whole, and no older than the one that was there when reading began.
 *
 * Broken variants: SAME_PAIR: who takes over fills the pair that counts; CURRENT_FIRST: it says that the other counts
 * before that is filled; NO_READER_FENCE, NO_LOOK_AT_CELL; with ONE_WRITER: NO_WRITER_FENCE, NO_LOOK_AT_PLACE: the long
 * way without its second look. That the short way needs its second look at current, and that owner comes before place,
 * takes three writers and several places in an extent to see: that is argued in board.h only.
 */
#define CURRENT 0
#define OWNER(pair) (1 + (pair))
#define PLACE(pair) (3 + (pair)) /* extent + 1 */
#define CELL 5
#define VALUE(w, e) (6 + 2 * (w) + (e))
#define WORDS 10
#define READER 2
#define PROCESSORS 3
#define DEPTH 3
#include "tso.pml"

#ifndef SETS
#define SETS 1 /* in each take, at most */
#endif
#ifndef READS
#define READS 2
#endif
#ifdef ONE_WRITER
#define TAKES(w) (1 - (w))
#else
#define TAKES(w) (2 - (w)) /* so that the key changes hands twice */
#endif

#define NONE 9
#define EXTENT_CELL(w, e) (1 + 2 * (w) + (e))
#define ALL_CELL(w) (7 + (w))
#define HELD(w, e) (memory[CELL] == EXTENT_CELL(w, e) || memory[CELL] == ALL_CELL(w))
#define GARBAGE 100

byte holder = NONE;
byte version; /* the key's word of that name, which only its holder uses */
bool dead[2]; /* the first writer may be */

#ifdef NO_WRITER_FENCE
#define WRITER_FENCE(w) true
#else
#define WRITER_FENCE(w) FENCE(w)
#endif
#ifdef NO_LOOK_AT_CELL
#define UNHELD(w, e) true
#else
#define UNHELD(w, e) (!HELD(w, e))
#endif

/* an extent that was used before: its place is over, fence (P1), and no cell names it */
inline free_extent(e)
{
    if
    :: used[e] -> WRITER_FENCE(me); UNHELD(me, e)
    :: else
    fi
}

inline publish(e)
{
    if
    :: mine -> STORE(me, PLACE(current & 1), e + 1)
    :: else ->
#ifdef SAME_PAIR
        STORE(me, OWNER(current & 1), me);
        STORE(me, PLACE(current & 1), e + 1);
        if
        :: current == 0 -> current = 2; STORE(me, CURRENT, current)
        :: else
        fi
#else
        current = ((current >> 1) + 1) * 2 + (1 - (current & 1));
#ifdef CURRENT_FIRST
        STORE(me, CURRENT, current);
#endif
        STORE(me, OWNER(current & 1), me);
        STORE(me, PLACE(current & 1), e + 1);
#ifndef CURRENT_FIRST
        STORE(me, CURRENT, current);
#endif
#endif
        mine = true
    fi;
    at = e
}

inline set_value()
{
    if
    :: at == NONE -> next = 0
    :: at == NONE -> next = 1
    :: at != NONE -> next = 1 - at
    fi;
    free_extent(next);
    used[next] = true;
    version++;
    STORE(me, VALUE(me, next), GARBAGE); /* half of it is there */
    STORE(me, VALUE(me, next), version);
    publish(next)
}

/* the place is another message's: that of another key, say */
inline use_for_something_else()
{
    seen = memory[CURRENT];
    if
    :: memory[OWNER(seen & 1)] != me ->
        free_extent(at);
        STORE(me, VALUE(me, at), GARBAGE);
        at = NONE
    :: else
    fi;
    seen = 0
}

proctype writer(byte me) provided (!dead[me])
{
    byte current, at = NONE, next, takes, sets, seen;
    bool mine, used[2];
    do
    :: takes < TAKES(me) ->
        /* K3; the processor of a dead process has no stores under way when the kernel says that it is dead */
        atomic {
            FENCE(me) && (holder == NONE || (holder == 0 && me != 0 && dead[0] && empty(buffer[0]))) ->
            holder = me;
            current = memory[CURRENT];
            mine = (current != 0 && memory[OWNER(current & 1)] == me);
            if
            :: !mine -> at = NONE
            :: else
            fi;
            takes++;
            sets = 0
        }
        do
        :: sets < SETS -> set_value(); sets++
        :: sets > 0 -> break
        od;
        atomic { FENCE(me); holder = NONE }
    :: at != NONE && takes > 0 -> use_for_something_else()
    :: break
    od
}

proctype killer()
{
    dead[0] = true
}

inline look()
{
    current = memory[CURRENT];
    pair = current & 1
}

/* a value in the extent that is held */
inline read_value()
{
    atomic {
        assert(memory[VALUE(owner, extent)] >= least);
        assert(memory[VALUE(owner, extent)] < GARBAGE);
        least = 0
    }
}

inline view_easily(done)
{
    if
    :: known == current && held ->
        place = memory[PLACE(pair)];
        if
        :: place != extent + 1
        :: place == extent + 1 && memory[CURRENT] != known
        :: place == extent + 1 && memory[CURRENT] == known -> done = true
        fi
    :: else
    fi
}

#ifdef NO_READER_FENCE
#define READER_FENCE true
#else
#define READER_FENCE FENCE(READER)
#endif

/* the extent that is named is that of the place: it is held */
inline view_slowly(done)
{
    owner = memory[OWNER(pair)];
    place = memory[PLACE(pair)];
    if
    :: STORE(READER, CELL, EXTENT_CELL(owner, place - 1)); wide = false
    :: STORE(READER, CELL, ALL_CELL(owner)); wide = true
    fi;
    READER_FENCE; /* P1 */
#ifndef NO_LOOK_AT_PLACE
    seen = memory[PLACE(pair)];
#else
    seen = place;
#endif
    if
    :: memory[CURRENT] == current && wide -> place = seen; STORE(READER, CELL, EXTENT_CELL(owner, place - 1)); done = true
    :: memory[CURRENT] == current && !wide && seen == place -> done = true
    :: else -> STORE(READER, CELL, 0); held = false; known = 0
    fi;
    if
    :: done -> known = current; extent = place - 1; held = true
    :: else
    fi;
    atomic { wide = false; seen = 0; place = 0 }
}

proctype reader()
{
    byte current, pair, owner, place, seen, extent, known, least, reads;
    bool held, done, wide;
    do
    :: reads < READS ->
        /* ghost: what a reader that is fast enough would read now. The pair that counts is whole. */
        atomic {
            look();
            current != 0;
            least = memory[VALUE(memory[OWNER(pair)], memory[PLACE(pair)] - 1)]
        }
        atomic { done = false; current = 0; pair = 0 }
        do
        :: !done -> look(); view_easily(done);
            if
            :: !done -> look(); view_slowly(done)
            :: else
            fi
        :: else -> break
        od;
        read_value();
        atomic { reads++; current = 0; pair = 0; done = false }
    :: else -> break
    od;
    STORE(READER, CELL, 0)
}

init
{
    atomic {
        run drain(0);
        run drain(1);
        run drain(READER);
        run writer(0);
        run writer(1);
#ifdef KILLED
        run killer();
#endif
        run reader()
    }
}
