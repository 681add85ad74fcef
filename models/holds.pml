/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * Holds, words and generations (src/shm/log.h): one publisher that reuses EXTENTS extents for GENERATIONS generations;
 * READERS subscribers that follow its log from the start, keep a message now and then, and have it released by another
 * thread; one loan, opened in the first extent (or, with LOANED=1, the second) and sent at any time later, as a
 * reference.
 *
 * Each extent has two records: a message or a reference, and a jump. Sequence numbers count extents.
 *
 * A reader that follows a jump changes over if no message of the extent that it leaves is out: its position's cell
 * names the next extent instead (hold_move). Else, or if that one's segment is not attached yet, it goes the long way,
 * with two cells. What nobody else knows it lets go by plain stores; others clear cells without a fence, too
 * (space.pml).
 *
 * Checked: an extent that somebody reads is never taken for writing (torn read); what the publisher has not retired can
 * be entered (false loss); a reader never finds the log damaged; with RELIABLE, whose cursor the publisher respects,
 * nothing is lost at all. With KILLED, the publisher may be killed between any two of its stores, among them those by
 * which a loan's extent becomes one that is entered by reference only: readers go on with what is there.
 *
 * Broken variants: NO_READER_FENCE, NO_PUBLISHER_FENCE, MOVE_WITHOUT_FENCE, MOVE_WITH_MESSAGES_OUT, REUSED_EARLY,
 * WORD_RAISED_EARLY, WORD_LOWERED_LATE, NO_NEW_GENERATION, DETACHED_IN_LOG, MARKED_LATE; RESTORED_GENERATION: see
 * README.md.
 *
 * An atomic block here has one load of shared memory at most, at its start (behind a fence), besides what only its own
 * process writes: stores go to the buffer, so nobody sees when they are issued.
 */
#ifndef EXTENTS
#define EXTENTS 3
#endif
#ifndef GENERATIONS
#define GENERATIONS 5
#endif
#ifndef READERS
#define READERS 1
#endif
#ifndef CELLS
#define CELLS 3
#endif

/* struct extent_entry and the two records of extent e */
#define GENERATION(e) (e)
#define SEQUENCE(e) (EXTENTS + (e))
#define FIRST(e) (2 * EXTENTS + (e))
#define JUMP(e) (3 * EXTENTS + (e))
#define OLDEST (4 * EXTENTS)
/* what reader r says: its word, its cursor, its cells */
#define PER_READER (2 + CELLS)
#define WORD(r) (4 * EXTENTS + 1 + (r) * PER_READER)
#define CURSOR(r) (WORD(r) + 1)
#define CELL(r, c) (WORD(r) + 2 + (c))
#define WORDS (4 * EXTENTS + 1 + READERS * PER_READER)

#define PUBLISHER 0
#define READER(r) (1 + (r))
#define RELEASER(r) (1 + READERS + (r))
#define PROCESSORS (1 + 2 * READERS)
#define DEPTH 6
#include "tso.pml"

#define GONE 255         /* GENERATION_GONE */
#define DETACHED_MARK 63 /* first sequence of an extent that is entered by reference only */
#ifdef NO_LOAN
#define LOAN false
#else
#define LOAN true
#endif
#ifndef LOANED
#define LOANED 0 /* the extent in which the loan is opened, the first time that it is used */
#endif
#ifdef MOVE_WITH_MESSAGES_OUT
#define NOTHING_IS_OUT true
#else
#define NOTHING_IS_OUT (refs[HOLD(r, position)] == 1)
#endif
#ifdef ONE_WAY_EACH /* reader 0 always changes over, others never */
#define IS_ATTACHED (r == 0)
#define IS_MISSING (r > 0)
#else
#define IS_ATTACHED true /* one or the other, each time anew */
#define IS_MISSING true
#endif
#ifdef KILLED
#define MAY_DIE if :: true :: true -> goto dead fi
#else
#define MAY_DIE skip
#endif
#define MESSAGE 3        /* a first record; others are references: */
#define PLACE(g, e) ((g) * 4 + (e))

/* ---- the publisher's private memory (src/shm/extents.c) ---- */

mtype = { FREE, LOG, RETIRED, DETACHED };
mtype state[EXTENTS] = FREE;
byte generation_of[EXTENTS]; /* struct extent: generation, end_sequence */
byte end_of[EXTENTS];
byte generation;             /* count of the last one given */
byte sequence_of_head;
byte head = EXTENTS;         /* none yet */
byte late_end;               /* of LOANED: struct extent */
bool loan_open;              /* pins LOANED */

/* ---- the readers' private memory, shared by the two threads of each (struct hold) ---- */

#define HOLD(r, c) ((r) * CELLS + (c))
bool in_use[READERS * CELLS]; /* hold->active */
byte refs[READERS * CELLS];
byte held_generation[READERS * CELLS];
byte held_extent[READERS * CELLS];
byte with_user[READERS];      /* hold of the message that the user has, + 1; 0: none */

byte readers_in[EXTENTS]; /* ghost: validated holds that were not let go yet */

hidden byte i;

/* ---- publisher ---- */

inline find_free(ret)
{
    ret = 0;
    do
    :: ret < EXTENTS && state[ret] != FREE -> ret++
    :: else -> break
    od;
    i = 0
}

inline oldest_in_log(ret) /* log.head */
{
    ret = EXTENTS;
    i = 0;
    do
    :: i == EXTENTS -> break
    :: i < EXTENTS ->
        if
        :: state[i] == LOG && (ret == EXTENTS || generation_of[i] < generation_of[ret]) -> ret = i
        :: else
        fi;
        i++
    od;
    i = 0
}

inline next_in_log(e, ret)
{
    ret = EXTENTS;
    i = 0;
    do
    :: i == EXTENTS -> break
    :: i < EXTENTS ->
        if
        :: state[i] == LOG && generation_of[i] > generation_of[e] &&
            (ret == EXTENTS || generation_of[i] < generation_of[ret]) -> ret = i
        :: else
        fi;
        i++
    od;
    i = 0
}

inline least_of_readers(ret, first) /* readers_reliable_cursor, readers_oldest: one load per reader */
{
    ret = GONE;
    r = 0;
    do
    :: atomic {
        r < READERS ->
        if
        :: memory[first + r * PER_READER] < ret -> ret = memory[first + r * PER_READER]
        :: else
        fi;
        r++
    }
    :: else -> break
    od;
    r = 0
}

inline retire(e)
{
    state[e] = RETIRED;
    STORE(PUBLISHER, GENERATION(e), 0);
    MAY_DIE;
    any = true
}

inline leave_log(e) /* with a message that was sent late in it, it can be entered by reference from now on */
{
    if
    :: e == LOANED && late_end > 0 ->
        state[e] = DETACHED;
        end_of[e] = late_end;
        STORE(PUBLISHER, SEQUENCE(e), DETACHED_MARK);
        MAY_DIE
    :: else -> retire(e)
    fi
}

inline extents_reclaim()
{
    FENCE(PUBLISHER); /* H2 */
#ifdef RELIABLE
    least_of_readers(cursor, CURSOR(0));
#else
    cursor = GONE;
#endif
    atomic {
        do /* retire_log: in log order, not the head, as many as the policy wants */
        :: oldest_in_log(e);
            if
            :: e == head || cursor < end_of[e] -> break
            :: else -> skip
            fi;
            if
            :: break
            :: skip ->
                next_in_log(e, keep);
                STORE(PUBLISHER, OLDEST, keep);
                MAY_DIE;
                leave_log(e)
            fi
        od;
        e = 0;
        keep = 0;
        if /* retire_detached */
        :: state[LOANED] == DETACHED && cursor >= end_of[LOANED] -> retire(LOANED)
        :: skip
        fi;
        cursor = 0
    }
#ifndef NO_PUBLISHER_FENCE
    if
    :: any -> any = false; FENCE(PUBLISHER) /* H1 */
    :: else
    fi;
#endif
    free_unheld()
}

inline free_unheld()
{
    least_of_readers(oldest, WORD(0));
    atomic {
        highest = 0;
        held = loan_open << LOANED; /* a set of extents; extent->pins */
        do
        :: i == EXTENTS -> break
        :: i < EXTENTS ->
            if
            :: state[i] == RETIRED && generation_of[i] >= oldest && generation_of[i] > highest ->
                highest = generation_of[i]
            :: else
            fi;
            i++
        od;
        i = 0
    }
    do /* readers_holds: one load per cell */
    :: highest > 0 && r < READERS ->
        if
        :: memory[WORD(r)] <= highest ->
            do
            :: c < CELLS -> d_step { held = held | ((1 << memory[CELL(r, c)]) >> 1); c++ }
            :: else -> break
            od;
            c = 0
        :: else
        fi;
        r++
    :: else -> break
    od;
    atomic {
        r = 0;
        do
        :: i == EXTENTS -> break
        :: i < EXTENTS ->
            if
            :: state[i] == RETIRED && !(held & (1 << i)) -> state[i] = FREE; generation_of[i] = 0; end_of[i] = 0
            :: else
            fi;
            i++
        od;
        i = 0;
        held = 0; highest = 0; oldest = 0
    }
}

inline reenter() /* extents_reenter: the loan is being sent */
{
    if
#ifndef NO_NEW_GENERATION
    :: state[LOANED] == RETIRED ->
#ifdef RESTORED_GENERATION
        generation_of[LOANED] = LOANED + 1;
#else
        generation++;
        generation_of[LOANED] = generation;
#endif
        state[LOANED] = DETACHED;
        end_of[LOANED] = sequence_of_head + 1;
#if !defined(DETACHED_IN_LOG) && !defined(MARKED_LATE)
        STORE(PUBLISHER, SEQUENCE(LOANED), DETACHED_MARK);
        MAY_DIE;
#endif
        STORE(PUBLISHER, GENERATION(LOANED), generation_of[LOANED]);
        MAY_DIE
#ifdef MARKED_LATE
        ; STORE(PUBLISHER, SEQUENCE(LOANED), DETACHED_MARK)
#endif
#endif
    :: state[LOANED] == LOG -> late_end = sequence_of_head + 1
    :: else
    fi
}

active proctype publisher()
{
    byte e, keep, c, r, held, highest, oldest, cursor;
    bool any;
    do
    :: generation >= GENERATIONS -> break
    :: else ->
        do /* find_extent */
        :: atomic {
            find_free(e);
            if
            :: e < EXTENTS -> break
            :: else -> e = 0
            fi
        }
            extents_reclaim()
        od;
        atomic { /* extents_take */
            assert(readers_in[e] == 0); /* else: a torn read */
            generation++;
            state[e] = LOG;
            generation_of[e] = generation;
            sequence_of_head++;
            end_of[e] = sequence_of_head + 1;
            STORE(PUBLISHER, FIRST(e), 0);
            MAY_DIE;
            STORE(PUBLISHER, SEQUENCE(e), sequence_of_head);
            MAY_DIE;
            STORE(PUBLISHER, GENERATION(e), generation);
            MAY_DIE;
            if /* advance */
            :: head < EXTENTS -> STORE(PUBLISHER, JUMP(head), PLACE(generation, e))
            :: else -> STORE(PUBLISHER, OLDEST, e)
            fi;
            MAY_DIE;
            if
            :: generation == LOANED + 1 -> loan_open = LOAN
            :: generation > LOANED + 1 && e == LOANED -> late_end = 0
            :: else
            fi;
            head = e;
            e = 0
        }
        atomic { /* commit_message; with it, the next record's word is cleared */
            STORE(PUBLISHER, JUMP(head), 0);
            MAY_DIE;
            if
            :: STORE(PUBLISHER, FIRST(head), MESSAGE)
            :: loan_open && head != LOANED && generation < GENERATIONS ->
                loan_open = false;
                reenter();
                STORE(PUBLISHER, FIRST(head), PLACE(generation_of[LOANED], LOANED))
            fi
        }
    od;
dead:
    skip
}

/* ---- readers ---- */

inline lower_word(g)
{
    if
    :: g < word -> word = g; STORE(READER(r), WORD(r), g)
    :: else
    fi
}

/* hold_release, by the processor p; the last one clears the cell: hold_clear */
inline release(p, c)
{
    atomic { /* fetch_sub of refs: a fence, too */
        FENCE(p);
        refs[HOLD(r, c)]--;
        if
        :: refs[HOLD(r, c)] == 0 ->
            last = true;
            readers_in[held_extent[HOLD(r, c)]]--;
            STORE(p, CELL(r, c), 0) /* S1 is no fence */
        :: else
        fi
    }
    atomic {
        if
        :: last ->
#ifndef REUSED_EARLY
            FENCE(p); /* what makes the hold free is a store behind that one */
#endif
            free_hold(c)
        :: else
        fi;
        last = false
    }
}

inline free_hold(c)
{
    in_use[HOLD(r, c)] = false;
    held_generation[HOLD(r, c)] = 0;
    held_extent[HOLD(r, c)] = 0
}

/* hold_leave: plain stores if no message is out */
inline leave(c)
{
    if
    :: atomic { refs[HOLD(r, c)] == 1 ->
            refs[HOLD(r, c)] = 0;
            readers_in[held_extent[HOLD(r, c)]]--;
            STORE(READER(r), CELL(r, c), 0);
            free_hold(c)
        }
    :: else -> release(READER(r), c)
    fi
}

/* validate: entered, if e still has generation g, and, for a position, is in the log */
inline look_at_generation()
{
    entered = memory[GENERATION(e)] == g;
    if
    :: entered -> readers_in[e]++
    :: else -> assert(!(generation_of[e] == g && (state[e] == LOG || state[e] == DETACHED))) /* else: a false loss */
    fi
}

inline look_at_sequence(is_position)
{
    if
    :: entered -> first_sequence = memory[SEQUENCE(e)]
    :: else
    fi;
    if
    :: entered && is_position && first_sequence == DETACHED_MARK -> entered = false; readers_in[e]--
    :: else
    fi
}

/* enter: if entered, hold c names extent e of generation g, and it is validated */
inline enter(is_position)
{
    atomic {
#ifndef WORD_LOWERED_LATE
        lower_word(g);
#endif
        c = 0; /* hold_begin */
        do
        :: c < CELLS && in_use[HOLD(r, c)] -> c++
        :: else -> break
        od;
        assert(c < CELLS);
        in_use[HOLD(r, c)] = true;
        held_generation[HOLD(r, c)] = g;
        STORE(READER(r), CELL(r, c), e + 1)
    }
    atomic {
#ifndef NO_READER_FENCE
        FENCE(READER(r)); /* H1 */
#endif
        look_at_generation()
    }
    atomic {
        look_at_sequence(is_position);
        if
        :: entered ->
            refs[HOLD(r, c)] = 1;
            held_extent[HOLD(r, c)] = e
#ifdef WORD_LOWERED_LATE
            ; lower_word(g)
#endif
        :: else -> /* hold_cancel */
            STORE(READER(r), CELL(r, c), 0);
            free_hold(c)
        fi
    }
}

inline raise_word()
{
    g = GONE; /* holds_oldest */
    do
    :: i == CELLS -> break
    :: i < CELLS ->
        if
        :: in_use[HOLD(r, i)] && held_generation[HOLD(r, i)] < g -> g = held_generation[HOLD(r, i)]
        :: else
        fi;
        i++
    od;
    i = 0;
    if
    :: g != word -> word = g; STORE(READER(r), WORD(r), g)
    :: else
    fi
}

/* move_to: hold c of extent e */
inline move_to()
{
    at_generation = g;
#ifdef WORD_RAISED_EARLY
    word = g;
    STORE(READER(r), WORD(r), g);
#endif
    if
    :: at < EXTENTS -> leave(position)
    :: else
    fi;
    atomic {
        position = c;
        at = e;
        sequence = first_sequence;
        raise_word();
        jumping = false
    }
}

/* change_over: no message of the extent is out. The position's cell names e instead: hold_move */
inline change_over()
{
    atomic {
        if
        :: refs[HOLD(r, position)] == 1 -> readers_in[at]--
        :: else /* MOVE_WITH_MESSAGES_OUT */
        fi;
        held_generation[HOLD(r, position)] = g;
        STORE(READER(r), CELL(r, position), e + 1)
    }
    atomic {
#ifndef MOVE_WITHOUT_FENCE
        FENCE(READER(r)); /* H1 */
#endif
        look_at_generation()
    }
    atomic {
        look_at_sequence(true);
        if
        :: entered ->
            assert(first_sequence == sequence + 1); /* else: READER_DAMAGED */
            held_extent[HOLD(r, position)] = e;
            at = e;
            at_generation = g;
            sequence = first_sequence;
            raise_word();
            jumping = false
        :: else -> /* drop_position */
#ifdef RELIABLE
            assert(false); /* a loss */
#endif
            refs[HOLD(r, position)] = 0;
            STORE(READER(r), CELL(r, position), 0);
            free_hold(position);
            at = EXTENTS;
            overrun = true
        fi
    }
}

inline tell() /* log_reader_tell */
{
#ifdef RELIABLE
    STORE(READER(r), CURSOR(r), sequence + (jumping -> 1 : 0))
#else
    skip
#endif
}

#define FORGET e = 0; g = 0; c = 0; first_sequence = 0; entered = false

proctype reader(byte r)
{
    byte word = GONE, position, at = EXTENTS, at_generation, sequence = 1;
    byte e, g, c, place, first_sequence;
    bool entered, last, overrun = true, jumping; /* jumping: the extent's first record was read */
end:
    do
    :: overrun -> /* restart */
        e = memory[OLDEST];
        atomic {
            g = memory[GENERATION(e)];
            if
            :: g <= at_generation -> g = 0 /* 0: retired meanwhile; else: there is none yet */
            :: else
            fi
        }
        if
        :: g > 0 ->
            enter(true);
            if
            :: entered ->
                assert(first_sequence >= sequence); /* else: READER_DAMAGED */
#ifdef RELIABLE
                assert(first_sequence == sequence); /* else: a loss */
#endif
                move_to();
                tell();
                overrun = false
            :: else
            fi
        :: else
        fi;
        atomic { FORGET }
    :: atomic { !overrun && !jumping && memory[FIRST(at)] -> /* log_reader_take */
            place = memory[FIRST(at)];
            jumping = true
        }
        if
#ifndef NO_MESSAGES
        :: atomic { place == MESSAGE && with_user[r] == 0 -> /* position->taken++ */
                refs[HOLD(r, position)]++;
                with_user[r] = position + 1;
                tell()
            }
#endif
        :: atomic { place == MESSAGE -> tell() }
        :: place != MESSAGE -> /* hold_referred */
            e = place % 4;
            g = place / 4;
            enter(false);
#ifdef RELIABLE
            assert(entered); /* else: a loss */
#endif
            tell();
            if
            :: entered && with_user[r] == 0 -> with_user[r] = c + 1
            :: entered -> release(READER(r), c)
            :: !entered
            fi
        fi;
        atomic { place = 0; FORGET }
    :: atomic { !overrun && jumping && memory[JUMP(at)] -> /* follow_jump */
            place = memory[JUMP(at)];
            e = place % 4;
            g = place / 4;
            place = 0;
            assert(g > at_generation) /* else: READER_DAMAGED */
        }
        if
        :: NOTHING_IS_OUT && IS_ATTACHED -> change_over()
        :: !NOTHING_IS_OUT || IS_MISSING ->
            enter(true);
            if
            :: entered ->
                assert(first_sequence == sequence + 1); /* else: READER_DAMAGED */
                move_to()
            :: else ->
#ifdef RELIABLE
                assert(false); /* a loss */
#endif
                overrun = true
            fi
        fi;
        atomic { FORGET }
    od
}

/* Another thread of the user's: releases the message at any time. */
proctype releaser(byte r)
{
    byte c;
    bool last;
end:
    do
    :: with_user[r] ->
        c = with_user[r] - 1;
        release(RELEASER(r), c);
        atomic { c = 0; with_user[r] = 0 }
    od
}

init {
    byte n;
    atomic {
        do
        :: n < READERS -> memory[WORD(n)] = GONE; run reader(n); run releaser(n); n++
        :: else -> break
        od;
        n = 0;
        do
        :: n < PROCESSORS -> run drain(n); n++
        :: else -> break
        od
    }
}
