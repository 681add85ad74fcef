/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * A reliable reader joins while a publisher retires (R1 and H2 in src/shm/log.h). The publisher sends a message per
 * extent; extents are not used again, as holds.pml has that.
 *
 * Checked: nothing whose record is committed after open returned is skipped, or retired before it was read.
 *
 * Broken variants: NO_FENCE_BEFORE_CHANGES (H2), NEWEST_BEFORE_COMMIT, LIVE_AFTER_START (the joiner looks for its place
 * before it is in the roster).
 */
#define EXTENTS 4
#define VALID(e) (e)                 /* generation: 0 before, and once it is retired */
#define MESSAGE(e) (EXTENTS + (e))   /* first record */
#define JUMP(e) (2 * EXTENTS + (e))  /* second record */
#define NEWEST (3 * EXTENTS)
#define OLDEST (3 * EXTENTS + 1)
#define CHANGES (3 * EXTENTS + 2)
#define LIVE (3 * EXTENTS + 3)
#define CURSOR (3 * EXTENTS + 4)     /* next message, + 1; 0: has not told */
#define WORDS (3 * EXTENTS + 5)
#define PUBLISHER 0
#define JOINER 1
#define PROCESSORS 2
#define DEPTH 12 /* all that a publisher stores between two fences: two extents */
#include "tso.pml"

byte committed; /* ghost: messages whose record was stored */
bool returned;  /* ghost: open */

/* extents_reclaim, up to the fence of H1 */
inline reclaim()
{
#ifndef NO_FENCE_BEFORE_CHANGES
    FENCE(PUBLISHER); /* H2 */
#endif
    if /* readers_refresh */
    :: memory[CHANGES] -> joined = memory[LIVE]
    :: else
    fi;
    cursor = 255; /* readers_reliable_cursor */
    if
    :: joined -> cursor = memory[CURSOR]
    :: else
    fi;
    atomic {
        any = false;
        do /* retire_log: as many as the policy wants */
        :: oldest < head && cursor >= oldest + 2 ->
            STORE(PUBLISHER, OLDEST, oldest + 1);
            STORE(PUBLISHER, VALID(oldest), 0);
            oldest++;
            any = true
        :: true -> break
        od;
        cursor = 0
    }
    if
    :: any -> FENCE(PUBLISHER) /* H1 */
    :: else
    fi
}

inline commit()
{
    committed++;
    STORE(PUBLISHER, MESSAGE(head), 1)
}

active proctype publisher()
{
    byte head, oldest, cursor;
    bool joined, any;
    do
    :: head == EXTENTS - 1 -> break
    :: else ->
        if
        :: atomic { /* commit_message that found the next extent at once: the jump comes with it */
            true;
            STORE(PUBLISHER, VALID(head + 1), 1);
            STORE(PUBLISHER, JUMP(head), 1);
        }
#ifdef NEWEST_BEFORE_COMMIT
            STORE(PUBLISHER, NEWEST, head + 1);
#endif
            atomic { commit() };
            atomic { STORE(PUBLISHER, NEWEST, head + 1); head++ } /* move_head */
        :: atomic { commit() };
            reclaim(); /* writer_look_ahead: advance, extents_take */
            atomic {
                STORE(PUBLISHER, VALID(head + 1), 1);
                STORE(PUBLISHER, JUMP(head), 1);
                STORE(PUBLISHER, NEWEST, head + 1);
                head++
            }
        fi
    od;
    atomic { commit() };
    reclaim()
}

inline tell()
{
    STORE(JOINER, CURSOR, sequence + 1);
    FENCE(JOINER)
}

inline go_live()
{
    STORE(JOINER, LIVE, 1);
    atomic { FENCE(JOINER); memory[CHANGES] = 1 } /* topic_ring: R1, and a fence */
}

active proctype joiner()
{
    byte at, sequence;
    bool found;
#ifndef LIVE_AFTER_START
    go_live();
#endif
    do /* start_newest */
    :: found -> break
    :: else ->
        at = memory[NEWEST];
        if
        :: memory[VALID(at)] -> /* start_at */
            sequence = at;
            do /* walk_to */
            :: sequence == at && memory[MESSAGE(at)] -> sequence++
            :: sequence == at && !memory[MESSAGE(at)] -> found = true; break
            :: sequence == at + 1 && !memory[JUMP(at)] -> found = true; break
            :: sequence == at + 1 && memory[JUMP(at)] ->
                if
                :: memory[VALID(at + 1)] -> at++
                :: !memory[VALID(at + 1)] -> break /* restart; here: once more from the newest */
                fi
            od
        :: else
        fi
    od;
#ifdef LIVE_AFTER_START
    go_live();
#endif
    tell();
    atomic {
        returned = true;
        assert(sequence <= committed) /* else: it skips what is committed now */
    }
    do
    :: sequence == EXTENTS -> break
    :: sequence == at && memory[MESSAGE(at)] -> sequence++
    :: sequence == at + 1 && sequence < EXTENTS && memory[JUMP(at)] ->
        assert(memory[VALID(at + 1)]); /* else: retired unread */
        at++;
        tell()
    od
}

init {
    atomic {
        memory[VALID(0)] = 1;
        run drain(PUBLISHER);
        run drain(JOINER)
    }
}
