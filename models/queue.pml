/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * A work queue: claims, holds and the memory of messages (src/shm/queue.h; P1 of src/shm/arena.h; claim and end_claim
 * in src/core/worker.c). A producer sends two messages through a ring of one cell, each in one of two extents, and
 * takes an extent again when its message is over and nobody holds it. Two workers look for messages, name the extent,
 * claim, look at what they have, and acknowledge or give back. Deliveries are counted to two; then a message is not
 * given back.
 *
 * With KILLED, the first worker may be killed at any step, and is repaired: its hold is cleared, then its incarnation
 * ends. With TAKEOVER, a worker may claim what the other has, at any time, as where claims have a time limit. With
 * SHORT_ROUNDS the cell's word does not tell one message from the next, as when 2^25 rounds go by between a worker's
 * load and its swap.
 *
 * Checked: each message is acknowledged exactly once, and none stays behind; a worker that has claimed a message reads
 * that one and no other, until it lets go of it, also when it was given to the other one meanwhile.
 *
 * Broken variants: NOTE_APART with KILLED (the claim says only that somebody has it, and another word, who);
 * CLAIM_FIRST (and then the hold) with TAKEOVER; NO_LOOK_AT_HOLDS (by the producer) with TAKEOVER; NO_SECOND_LOOK with
 * SHORT_ROUNDS; STATE_FIRST (the producer tells of the message before its place); PLACE_FIRST (and then the state, with
 * no second look); BLIND_END (a job is ended by a store) with TAKEOVER.
 */
#define MESSAGES 2
#define DELIVERIES 2

#define STATE 0
#define PLACE 1
#define DATA(extent) (1 + (extent)) /* of extents 1 and 2: number of the message there */
#define HOLD(worker) (3 + (worker)) /* of workers 1 and 2: extent, or 0 */
#define NOTE (6)                    /* NOTE_APART: message that worker 1 has, or 0 */
#define WORDS 7
#define PRODUCER 0
#define PROCESSORS 3
#define DEPTH 2
#include "tso.pml"

/* The cell's word: message (its round), deliveries, state, owner. */
#define DONE 0
#define FREE 1
#define OWNED 2
#ifdef SHORT_ROUNDS
#define ROUND(message) 1
#else
#define ROUND(message) (message)
#endif
#define WORD(round, deliveries, state, owner) ((round) << 6 | (deliveries) << 4 | (state) << 2 | (owner))
#define ROUND_OF(word) ((word) >> 6)
#define DELIVERIES_OF(word) ((word) >> 4 & 3)
#define STATE_OF(word) ((word) >> 2 & 3)
#define OWNER_OF(word) ((word) & 3)

byte acknowledged[MESSAGES + 1]; /* ghost */
byte current;                    /* ghost: the message that the cell is about, as a word with long rounds would say */
bool finished;                   /* the producer has seen that all are over */
bool killed, ended, over;      /* the first worker: is to end; has ended; so has its incarnation */

/* ---- the producer ---- */

#ifdef NO_LOOK_AT_HOLDS
#define IS_FREE(extent) true
#else
#define IS_FREE(extent) (memory[HOLD(1)] != (extent) && memory[HOLD(2)] != (extent)) /* R4 */
#endif

proctype producer()
{
    byte message = 1, extent;
    do
    :: message <= MESSAGES ->
        if /* whatever was there is retired, and the fence behind that (H1) made */
        :: atomic { IS_FREE(1) -> extent = 1 }
        :: atomic { IS_FREE(2) -> extent = 2 }
        fi;
        STORE(PRODUCER, DATA(extent), message);
        current = message;
#ifdef STATE_FIRST
        STORE(PRODUCER, STATE, WORD(ROUND(message), 0, FREE, 0));
        STORE(PRODUCER, PLACE, extent);
#else
        STORE(PRODUCER, PLACE, extent);
        STORE(PRODUCER, STATE, WORD(ROUND(message), 0, FREE, 0)); /* Q1 */
#endif
        FENCE(PRODUCER); /* at some time its buffer is empty */
        ROUND_OF(memory[STATE]) == ROUND(message) && STATE_OF(memory[STATE]) == DONE; /* Q3 */
        assert(acknowledged[message] == 1);
        atomic { message++; extent = 0 }
    :: else -> break
    od;
    finished = true
}

/* ---- workers ---- */

#ifdef TAKEOVER
#define TIME_IS_OVER(word) (DELIVERIES_OF(word) < DELIVERIES)
#else
#define TIME_IS_OVER(word) false
#endif
#ifdef NOTE_APART
#define CAN_CLAIM(word) (STATE_OF(word) == FREE)
#define OWNER 0
#else
#define CAN_CLAIM(word) \
    (STATE_OF(word) == FREE || \
     (STATE_OF(word) == OWNED && OWNER_OF(word) != me && ((OWNER_OF(word) == 1 && over) || TIME_IS_OVER(word))))
#define OWNER me
#endif
#define ONE_MORE(word) (DELIVERIES_OF(word) < DELIVERIES -> DELIVERIES_OF(word) + 1 : DELIVERIES)
#define ENDED(claim, state) WORD(ROUND_OF(claim), DELIVERIES_OF(claim), state, 0)
#ifdef BLIND_END
#define IS_OURS true
#else
#define IS_OURS (memory[STATE] == claim)
#endif

inline hold_place() /* source_hold */
{
    STORE(me, HOLD(me), place);
    FENCE(me) /* P1 */
}

inline swap(from, to) /* compare_and_swap; won says whether */
{
    atomic {
        FENCE(me);
        won = memory[STATE] == from;
        if
        :: won -> memory[STATE] = to
        :: else
        fi
    }
}

inline look_for_message()
{
#ifdef PLACE_FIRST
    place = memory[PLACE];
#endif
    atomic { CAN_CLAIM(memory[STATE]) || finished -> word = memory[STATE]; number = current } /* Q1 */
#ifndef PLACE_FIRST
    if
    :: !finished -> place = memory[PLACE]
    :: else
    fi
#endif
}

inline acknowledge()
{
    atomic {
        FENCE(me);
        if
        :: IS_OURS ->
            memory[STATE] = ENDED(claim, DONE); /* Q3 */
            acknowledged[number]++;
            assert(acknowledged[number] == 1)
        :: else /* another's since: TARN_ERROR_TAKEN */
        fi
    }
}

inline work_on_it()
{
    assert(memory[DATA(place)] == number);
    assert(memory[DATA(place)] == number); /* later, whatever has become of the claim */
    if
    :: DELIVERIES_OF(claim) < DELIVERIES -> swap(claim, ENDED(claim, FREE)) /* give back */
    :: true -> acknowledge()
    fi
}

#ifdef NO_SECOND_LOOK
#define IS_IT true
#else
#define IS_IT (memory[PLACE] == place && memory[DATA(place)] == number)
#endif

proctype worker(byte me)
{
    byte word, place, claim, number;
    bool won;
    {
        do
        :: !finished ->
            look_for_message();
            if
            :: finished -> break
            :: else
            fi;
#ifndef CLAIM_FIRST
            hold_place();
#endif
            claim = WORD(ROUND_OF(word), ONE_MORE(word), OWNED, OWNER);
            swap(word, claim);
            if
            :: won ->
#ifdef CLAIM_FIRST
                hold_place();
#endif
#ifdef NOTE_APART
                STORE(me, (me == 1 -> NOTE : HOLD(me)), (me == 1 -> number : place));
#endif
                if
                :: IS_IT -> work_on_it()
                :: else -> swap(claim, ENDED(claim, FREE))
                fi
            :: else
            fi;
            STORE(me, HOLD(me), 0); /* R4 */
            atomic { word = 0; place = 0; claim = 0; number = 0; won = false }
        :: else -> break
        od
    } unless { me == 1 && killed };
    if
    :: me == 1 -> ended = true
    :: else
    fi
}

#ifdef KILLED
proctype killer()
{
    if
    :: killed = true
    :: true
    fi
}

/* subscriber_slot_clear */
proctype repairer()
{
end:
    atomic { ended && empty(buffer[1]) -> memory[HOLD(1)] = 0 }
    over = true;
#ifdef NOTE_APART
    atomic {
        if
        :: memory[NOTE] == current && STATE_OF(memory[STATE]) == OWNED -> memory[STATE] = ENDED(memory[STATE], FREE)
        :: else
        fi
    }
#endif
}
#endif

init
{
    atomic {
        run drain(PRODUCER);
        run drain(1);
        run drain(2);
        run producer();
        run worker(1);
        run worker(2);
#ifdef KILLED
        run killer();
        run repairer()
#endif
    }
}
