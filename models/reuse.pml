/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * A publisher's slot that is used again (incarnations: src/core/reaper.c, remote.c, subscriber_update() in
 * src/core/subscriber_follow.c): the first publisher sends MESSAGES and dies or leaves, somebody clears the slot, and a
 * second publisher takes it. One reliable subscriber follows both. Its cursor for the slot is one word, whichever of
 * them it is for.
 *
 * A publisher retires message k only when the cursor, if it carries the publisher's incarnation, has passed k. A reader
 * attaches by what the slot says: incarnation, state, reference to a segment, then the incarnation again.
 *
 * Checked: no message of the second publisher is retired unread; the subscriber never reads one publisher's segment as
 * the other's; when all has come to rest, it has taken all of the second one.
 *
 * Broken variants: NO_STAMP (words do not carry the incarnation), NOT_RAISED (it stays the same), NO_SECOND_LOOK (at
 * the incarnation), NEVER_PARTS (the reader of a slot's previous publisher goes on telling its cursor); REFERENCE_LATE:
 * see README.md.
 */
#define MESSAGES 2
#define STATE 0
#define INCARNATION 1
#define SEGMENT 2 /* whose: the reference */
#define CHANGES 3
#define CURSOR 4  /* incarnation * 8 + next */
#define LOG(p) (4 + (p)) /* messages sent in the segment of publisher 1, 2 */
#define WORDS 7
#define SUBSCRIBER 0
#define PUBLISHER(p) (p)
#define REPAIRER 3
#define PROCESSORS 4
#define DEPTH 4
#include "tso.pml"

#define FREE 0
#define OPENING 1
#define LIVE 2

#ifdef NOT_RAISED
#define OVER 1
#define NEXT 1
#else
#define OVER 2
#define NEXT 3
#endif

bool is_over; /* the first publisher is dead, or has left */
byte retired[3]; /* by publisher: messages up to that */
byte next[3] = 1; /* the subscriber's, by publisher */

#ifdef NO_STAMP
#define TOLD(incarnation, sequence) (sequence)
#define HAS_TOLD(word, incarnation, sequence) ((word) > (sequence))
#else
#define TOLD(incarnation, sequence) ((incarnation) * 8 + (sequence))
#define HAS_TOLD(word, incarnation, sequence) ((word) / 8 == (incarnation) && (word) % 8 > (sequence))
#endif

/* ---- publishers ---- */

inline count_change(p)
{
    atomic { FENCE(p); memory[CHANGES] = memory[CHANGES] + 1 }
}

inline publish(p, incarnation)
{
    do
    :: sent < MESSAGES -> sent++; STORE(p, LOG(p), sent)
    :: atomic { retired[p] < sent && HAS_TOLD(memory[CURSOR], incarnation, retired[p] + 1) ->
            retired[p]++;
            assert(next[p] > retired[p]) /* else: retired unread */
        }
    :: sent == MESSAGES -> break
    od
}

proctype first_publisher()
{
    byte sent;
    publish(PUBLISHER(1), 1);
    FENCE(PUBLISHER(1));
    is_over = true
}

/* publisher_slot_clear, under the slot's lock: by its owner, or by who repairs */
proctype repairer()
{
    is_over;
#ifdef REFERENCE_LATE
    STORE(REPAIRER, INCARNATION, 2);
    STORE(REPAIRER, SEGMENT, 0);
#else
    STORE(REPAIRER, SEGMENT, 0);
    STORE(REPAIRER, INCARNATION, OVER);
#endif
    STORE(REPAIRER, STATE, FREE);
    count_change(REPAIRER);
    run second_publisher()
}

proctype second_publisher() /* begin_slot, open_in_slot */
{
    byte sent;
    STORE(PUBLISHER(2), INCARNATION, NEXT);
    STORE(PUBLISHER(2), STATE, OPENING);
    STORE(PUBLISHER(2), SEGMENT, 2);
    STORE(PUBLISHER(2), STATE, LIVE);
    count_change(PUBLISHER(2));
    publish(PUBLISHER(2), NEXT)
}

/* ---- the subscriber ---- */

inline tell(reader)
{
    STORE(SUBSCRIBER, CURSOR, TOLD(incarnation_of[reader], next[segment_of[reader]]))
}

inline part()
{
    if
    :: incarnation_of[0] != 0 && memory[INCARNATION] != incarnation_of[0] -> is_gone[0] = true
    :: else
    fi;
    if
    :: incarnation_of[1] != 0 && memory[INCARNATION] != incarnation_of[1] -> is_gone[1] = true
    :: else
    fi
}

/* remote_open: what the slot says, then whether it is still the same incarnation's */
inline add_reader(reader)
{
    incarnation_of[reader] = seen;
    segment_of[reader] = memory[SEGMENT];
#ifndef NO_SECOND_LOOK
    if
    :: memory[INCARNATION] != seen -> segment_of[reader] = 0
    :: else
    fi;
#endif
    if
    :: segment_of[reader] == 0 -> incarnation_of[reader] = 0
    :: else ->
        assert((seen == 1) == (segment_of[reader] == 1)); /* else: another's segment */
        tell(reader)
    fi
}

inline update()
{
    known = memory[CHANGES];
#ifndef NEVER_PARTS
    part();
#endif
    if
    :: memory[STATE] == LIVE ->
        seen = memory[INCARNATION];
        if
        :: seen == incarnation_of[0] || seen == incarnation_of[1]
        :: else ->
            if
            :: incarnation_of[0] == 0 -> add_reader(0)
            :: else -> add_reader(1)
            fi
        fi;
        seen = 0
    :: else
    fi
}

inline take(reader)
{
    next[segment_of[reader]]++;
    if
    :: !is_gone[reader] -> tell(reader)
    :: else
    fi
}

#define HAS_MORE(reader) (incarnation_of[reader] != 0 && memory[LOG(segment_of[reader])] >= next[segment_of[reader]])

proctype subscriber()
{
    byte known, seen;
    byte incarnation_of[2], segment_of[2];
    bool is_gone[2];
    do
    :: atomic { HAS_MORE(0) -> skip } take(0)
    :: atomic { HAS_MORE(1) -> skip } take(1)
    :: memory[CHANGES] != known -> update()
    :: timeout -> break
    od;
    assert(next[2] == MESSAGES + 1);
    assert(memory[CURSOR] == TOLD(NEXT, next[2])) /* else: the second publisher waits for ever */
}

init {
    byte n;
    atomic {
        memory[STATE] = LIVE;
        memory[INCARNATION] = 1;
        memory[SEGMENT] = 1;
        memory[CHANGES] = 1;
        run first_publisher();
        run repairer();
        run subscriber();
        do
        :: n < PROCESSORS -> run drain(n); n++
        :: else -> break
        od
    }
}
