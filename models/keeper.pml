/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * Logs that are kept (V1, V2: src/core/keeper.c, remains.c, reaper.c; publisher_state(), subscriber_update() and
 * subscriber_drop_finished() in src/core/subscriber_follow.c). A publisher sends, and closes; who finds it dead repairs
 * its slot; both leave the slot LEAVING if a keeper that lives has said that it has the memory attached, and else clear
 * it. A keeper attaches, says so, lets go or leaves in order, and then looks at the slot as a repairer. A subscriber
 * that joins at any time reads what it finds; it takes and drops without looking for changes, as realtime ones do. When
 * all is at rest, somebody looks at all slots, as whoever waits does; at last the keepers leave.
 *
 * Memory is there while a process has it attached. Of who is killed, what it stored is seen, its memory goes, then its
 * locks. That the dead are known as such is reap's: here that is one look. A log is one segment, and nothing in it is
 * retired.
 *
 * Checked: a keeper that lives, and said so before somebody looked, is found, and one that died is not; then the memory
 * and the reference to it are there, and a subscriber reads all; messages are read once; a log that was read to its
 * end, in state LEAVING or after the incarnation was raised, has ended; LIVE and LEAVING are never taken for another
 * life's; how a life ended is noted once, and rightly; at rest a slot that nobody keeps is FREE. Verified with pan -E:
 * some wait for ever, or are killed.
 *
 * PUBLISHER_KILLED, KEEPER_KILLED, REPAIRER_KILLED: at any step. STRAY: a killed keeper may have a child that has its
 * lock. LEAVES: a keeper may leave at any time. LETS_GO=n: keepers let go of the logs of so many lives. LIVES=2: the
 * slot is used again; SETTLED: and all have the first one's log attached, and have read it. KEEPERS=2: at a time, or,
 * with SUCCESSOR, in the same slot. BUFFERS: tso.pml; without it a store is seen at once, as all that somebody stores
 * and then loads others' is behind a system call, but for what is sent before a publisher looks for keepers, which do
 * not look at that.
 *
 * Broken variants. V1: LEAVING_EARLY (before the last message is sent), EMPTY_FIRST (the log is looked at before the
 * state). V2: SAID_FIRST (and then attached), DETACHED_FIRST (and then said that it is let go). STATE_FIRST (and then
 * the incarnation, once), NO_SECOND_LOOK (the incarnation, and then the state), NO_LOOK_BEHIND (at the incarnation,
 * when the memory is attached), NO_ASK (whether a keeper lives), NOT_THOROUGH (only whether it is locked),
 * LEAVING_IS_KEPT (whether or not somebody keeps it), NOTED_AGAIN (how it ended), NOTED_LATE (after LEAVING),
 * NOT_PASSED (what was read to its end), ROW_LEFT (by a keeper to the next one in its slot); NO_REFERENCE,
 * PASSED_BLINDLY: see README.md.
 */
#ifndef LIVES
#define LIVES 1 /* one publisher after the other in the slot */
#endif
#ifndef KEEPERS
#define KEEPERS 1
#endif
#ifndef MESSAGES
#define MESSAGES 1
#endif
#if defined(NO_HISTORY) || defined(NO_SUBSCRIBER)
#define WANTS_HISTORY false
#else
#define WANTS_HISTORY true
#endif

#define STATE 0 /* and whose, to check that */
#define INCARNATION 1
#define REFERENCE 2 /* whose memory: life + 1, or 0 */
#define ENDED 3     /* incarnation of which it is noted how it ended */
#define LOG(life) (4 + (life))    /* messages sent */
#define SAID(place) (6 + (place)) /* by the keeper in that slot: incarnation of which it has the memory attached */
#define ROLE(place) (8 + (place)) /* whether a keeper has joined there */
#define WORDS 10
#define PUBLISHER(life) (life)
#define REPAIRER 2
#define KEEPER(k) (3 + (k))
#define PEERS 5
#define SUBSCRIBER 6
#define PROCESSORS 7
#ifdef BUFFERS
#include "tso.pml"
#else
byte memory[WORDS];
#define STORE(p, word, value) memory[word] = value
#define FENCE(p) true
#endif

#define FREE 0
#define OPENING 1
#define LIVE 2
#define LEAVING 3
#define WORD(life, state) ((life) << 2 | (state))
#define STATE_OF(word) ((word) & 3)
#define LIFE_OF(word) ((word) >> 2)
#define INCARNATION_OF(life) (2 * (life) + 1) /* even ones are nobody's */

#define NOBODY 255
#define CHILD 254
#ifdef SUCCESSOR
#define PLACES 1
#define PLACE(k) 0
#else
#define PLACES KEEPERS
#define PLACE(k) (k)
#endif

byte lock = NOBODY, repair_lock = NOBODY; /* of the publisher's slot */
byte place_lock[PLACES] = NOBODY;         /* of keepers' slots */
byte mapped[LIVES];                       /* processes that have that memory attached */
bool news[PROCESSORS];                    /* changes were counted since that process looked */
bool killed[PROCESSORS];
bool changed = true;                      /* something did since peers looked */
bool leaves[KEEPERS];

/* ghosts */
byte begun = 1, sent[LIVES], notes[LIVES];
bool lives[KEEPERS], keeps_it[KEEPERS]; /* it has joined, and neither died nor left; it has not begun to let go */
bool has_read[LIVES * MESSAGES];

#define NEWS news[KEEPER(0)] = true; news[KEEPER(1)] = true; news[SUBSCRIBER] = true

inline count_change()
{
    atomic { FENCE(me); NEWS; changed = true }
}

/* ---- whether it is kept ---- */

/* A keeper that lives and keeps the publisher's memory, as all can see. */
#define KEEPS(k) (lives[k] && !killed[KEEPER(k)] && keeps_it[k] && memory[SAID(PLACE(k))] == memory[INCARNATION])
#if KEEPERS == 2
#define ANY_KEEPS (KEEPS(0) || KEEPS(1))
#define ANY_LIVES (lives[0] || lives[1])
#define LIVES_IN(place) (PLACES == 1 -> ANY_LIVES : lives[place])
#else
#define ANY_KEEPS KEEPS(0)
#define ANY_LIVES lives[0]
#define LIVES_IN(place) lives[0]
#endif
/* What is kept is there. */
#define MEMORY_IS_KEPT \
    (STATE_OF(memory[STATE]) != LEAVING || memory[INCARNATION] != INCARNATION_OF(LIFE_OF(memory[STATE])) || \
     !ANY_KEEPS || mapped[LIFE_OF(memory[STATE])] > 0)

#if defined(NO_ASK)
#define PLACE_IS_DEAD(place, thorough) false
#elif defined(NOT_THOROUGH)
#define PLACE_IS_DEAD(place, thorough) (memory[ROLE(place)] && place_lock[place] == NOBODY)
#else
#define PLACE_IS_DEAD(place, thorough) \
    (memory[ROLE(place)] && (place_lock[place] == NOBODY || (thorough && place_lock[place] == CHILD)))
#endif

#ifdef NO_REFERENCE
#define MAY_BE_NEEDED true
#else
#define MAY_BE_NEEDED (memory[REFERENCE] != 0)
#endif

inline note_whether_owed(k)
{
    if
    :: MAY_BE_NEEDED && KEEPS(k) -> owed = owed | 1 << k
    :: else
    fi
}

#define HAS_SAID(place) (MAY_BE_NEEDED && memory[ROLE(place)] && memory[SAID(place)] == memory[INCARNATION]) /* V2 */

inline ask_whether_dead(place, thorough)
{
    d_step {
        needed = needed && !PLACE_IS_DEAD(place, thorough);
        assert(!needed || !thorough || !memory[ROLE(place)] || LIVES_IN(place))
    }
}

/* remains_are_needed: needed. By the slot's owner, or who repairs it: nobody else changes it. */
inline ask(thorough)
{
    d_step {
        note_whether_owed(0);
        note_whether_owed(KEEPERS - 1);
        needed = HAS_SAID(0)
    }
    ask_whether_dead(0, thorough);
#if KEEPERS == 2 && !defined(SUCCESSOR)
    if
    :: needed
    :: !needed -> needed = HAS_SAID(1); ask_whether_dead(1, thorough)
    fi;
#endif
    d_step {
        assert(needed || !(owed & 1) || !KEEPS(0));
        assert(needed || !(owed & 2) || !KEEPS(KEEPERS - 1));
        owed = 0
    }
}

/* ---- the slot ---- */

#ifdef NOTED_AGAIN
#define IS_NOTED false
#else
#define IS_NOTED (memory[ENDED] == now)
#endif

/* note_end: over, if the incarnation was raised since */
inline note_end(died)
{
    atomic {
        now = memory[INCARNATION];
        over = memory[ENDED] != 0 && now == memory[ENDED] + 1;
        if
        :: !over && !IS_NOTED ->
            STORE(me, ENDED, now);
            notes[(now - 1) / 2]++;
            assert(notes[(now - 1) / 2] == 1);
            assert(died == (me >= REPAIRER))
        :: else
        fi
    }
}

inline unlock_slot()
{
    FENCE(me);
    assert(MEMORY_IS_KEPT);
    lock = NOBODY;
    repair_lock = NOBODY
}

/* publisher_slot_clear, then the locks */
inline clear(died)
{
    STORE(me, REFERENCE, 0);
    note_end(died);
    atomic {
        if
        :: !over -> STORE(me, INCARNATION, now + 1)
        :: else
        fi
    }
    atomic { STORE(me, STATE, WORD(0, FREE)); unlock_slot(); now = 0; over = false }
}

/* publisher_slot_keep, then the locks */
inline keep(died)
{
#ifdef NOTED_LATE
    STORE(me, STATE, memory[STATE] | LEAVING);
    note_end(died);
    atomic { unlock_slot(); now = 0; over = false }
#else
    note_end(died);
    atomic { STORE(me, STATE, memory[STATE] | LEAVING); unlock_slot(); now = 0; over = false } /* V1 */
#endif
}

inline unmap(life)
{
    atomic { FENCE(me); mapped[life]--; assert(MEMORY_IS_KEPT) }
}

#ifdef LEAVING_IS_KEPT
#define IS_NEEDED (needed || left)
#else
#define IS_NEEDED needed
#endif
#define CAN_BE_REPAIRED (repair_lock == NOBODY && lock == NOBODY && STATE_OF(memory[STATE]) != FREE)

/* slot_reap, of the publisher's slot; is_kept, which only saves the locks, is left out */
inline reap(thorough)
{
    atomic {
        if
        :: CAN_BE_REPAIRED -> repair_lock = me; lock = me
        :: else
        fi
    }
    if
    :: repair_lock == me -> repair(thorough)
    :: else
    fi
}

inline repair(thorough)
{
    ask(thorough);
    left = STATE_OF(memory[STATE]) == LEAVING;
    if
    :: IS_NEEDED && left -> atomic { unlock_slot() }
    :: IS_NEEDED && !left -> keep(true); count_change()
    :: !IS_NEEDED -> clear(!left); count_change()
    fi;
    d_step { needed = false; left = false }
}

/* The kernel, behind the memory. */
inline unlock_all()
{
    d_step {
        if
        :: lock == me -> lock = NOBODY
        :: else
        fi;
        if
        :: repair_lock == me -> repair_lock = NOBODY
        :: else
        fi
    }
}

#define IF_KILLED unless { killed[me] }
#ifdef PUBLISHER_KILLED
#define IF_PUBLISHER_KILLED IF_KILLED
#else
#define IF_PUBLISHER_KILLED
#endif
#ifdef KEEPER_KILLED
#define IF_KEEPER_KILLED IF_KILLED
#else
#define IF_KEEPER_KILLED
#endif
#ifdef REPAIRER_KILLED
#define IF_REPAIRER_KILLED IF_KILLED
#else
#define IF_REPAIRER_KILLED
#endif

/* At any time, also when it has ended. */
proctype killer(byte p)
{
    killed[p] = true
}

/* ---- publishers ---- */

inline open_slot()
{
    atomic { lock == NOBODY && STATE_OF(memory[STATE]) == FREE -> lock = me } /* lock_slot */
    STORE(me, INCARNATION, INCARNATION_OF(life)); /* begin_slot */
    atomic { STORE(me, STATE, WORD(life, OPENING)); begun++ }
    atomic { mapped[life] = 1; is_mapped = true; STORE(me, REFERENCE, life + 1) }
    STORE(me, STATE, WORD(life, LIVE));
    count_change()
}

inline close_slot()
{
    ask(true);
    if
    :: needed -> keep(false)
    :: else -> clear(false)
    fi;
    needed = false;
    count_change(); /* topic_leave */
    atomic { unmap(life); is_mapped = false } /* writer_close */
}

#ifdef LEAVING_EARLY
#define SENT_IN_TIME (MESSAGES - 1)
#else
#define SENT_IN_TIME MESSAGES
#endif

inline send()
{
    atomic { sent[life]++; STORE(me, LOG(life), sent[life]) }
}

proctype publisher(byte me; byte life)
{
    byte now, owed;
    bool is_mapped = (life == 0), needed, over;
    {
        if
        :: life > 0 -> open_slot()
        :: else
        fi;
        do
        :: sent[life] < SENT_IN_TIME -> send()
        :: else -> break
        od;
        close_slot();
#ifdef LEAVING_EARLY
        send()
#endif
    } IF_PUBLISHER_KILLED;
    if
    :: is_mapped -> unmap(life)
    :: else -> FENCE(me)
    fi;
    unlock_all();
    d_step { now = 0; owed = 0; needed = false; over = false; is_mapped = false }
}

/* ---- keepers ---- */

/* remote_open: attached */
inline attach(life)
{
    atomic {
        attached = false;
        if
        :: memory[REFERENCE] != 0 && mapped[memory[REFERENCE] - 1] > 0 ->
            whose = memory[REFERENCE] - 1;
            mapped[whose]++;
            attached = true
        :: else
        fi
    }
    atomic {
#ifndef NO_LOOK_BEHIND
        if
        :: attached && memory[INCARNATION] != INCARNATION_OF(life) -> unmap(whose); attached = false
        :: else
        fi;
#endif
        assert(!attached || whose == life)
    }
}

/* publisher_state: now, says */
inline look()
{
#ifdef STATE_FIRST
    says = memory[STATE];
    now = memory[INCARNATION];
#else
    now = memory[INCARNATION];
    says = memory[STATE]; /* V1 */
#endif
    d_step {
#if !defined(STATE_FIRST) && !defined(NO_SECOND_LOOK)
        if
        :: memory[INCARNATION] != now -> says = WORD(0, FREE)
        :: else
        fi;
#endif
        if
        :: now % 2 == 0 || STATE_OF(says) < LIVE -> says = WORD(0, FREE) /* nobody's: nothing could be attached */
        :: else -> assert(now == INCARNATION_OF(LIFE_OF(says)))
        fi
    }
}

inline say(incarnation)
{
    STORE(me, SAID(PLACE(k)), incarnation) /* V2 */
}

inline begin()
{
#ifdef SAID_FIRST
    atomic { say(now); keeps_it[k] = true }
    FENCE(me);
#endif
    attach((now - 1) / 2);
    atomic {
        if
        :: attached -> kept = now; is_mapped = true; attached = false
        :: else
        fi
    }
#ifndef SAID_FIRST
    if
    :: is_mapped -> atomic { say(now); keeps_it[k] = true; FENCE(me) } /* space_ring */
    :: else
    fi
#endif
}

inline detach()
{
    if
    :: is_mapped -> atomic { unmap((kept - 1) / 2); is_mapped = false }
    :: else
    fi
}

inline end_keeping()
{
#ifdef DETACHED_FIRST
    detach();
#endif
    atomic { say(0); keeps_it[k] = false; changed = true }
}

/* tarn_keeper_wait: update, follow, bound */
inline follow_as_keeper()
{
    atomic {
        news[me] = false;
        if
        :: kept && memory[INCARNATION] != kept -> detach(); kept = 0; has_left = false; keeps_it[k] = false
        :: else
        fi
    }
    look();
    if
    :: STATE_OF(says) >= LIVE && !kept -> begin()
    :: else
    fi;
    d_step { has_left = has_left || (kept && kept == now && STATE_OF(says) == LEAVING); now = 0; says = 0; whose = 0 }
    if
#ifdef LETS_GO
    :: is_mapped && has_left && kept <= INCARNATION_OF(LETS_GO - 1) -> end_keeping(); detach(); reap(false)
#endif
    :: else
    fi
}

/* leave, subscriber_slot_clear */
inline leave()
{
    end_keeping();
    atomic { STORE(me, ROLE(PLACE(k)), false); FENCE(me); lives[k] = false; detach() }
    if
    :: has_left -> reap(false)
    :: else
    fi;
    place_lock[PLACE(k)] = NOBODY;
    count_change()
}

proctype keeper(byte me; byte k)
{
    byte kept, now, says, whose, owed;
    bool is_mapped, has_left, attached, needed, over, left;
    {
#ifdef SETTLED
        d_step { is_mapped = true; kept = INCARNATION_OF(0) }
#else
        atomic {
            place_lock[PLACE(k)] == NOBODY && !memory[ROLE(PLACE(k))] ->
                place_lock[PLACE(k)] = me;
                lives[k] = true;
                news[me] = true;
                if
#ifdef LEAVES
                :: leaves[k] = true /* at any time */
#endif
                :: true
                fi
        }
        atomic { STORE(me, ROLE(PLACE(k)), true); count_change() }
#endif
        do
        :: news[me] -> follow_as_keeper()
        :: leaves[k] -> break
        od;
        leave();
        goto left_in_order
    } IF_KEEPER_KILLED;
#ifdef STRAY
    if
    :: place_lock[PLACE(k)] == me -> place_lock[PLACE(k)] = CHILD
    :: true
    fi;
#endif
    if
    :: attached -> unmap(whose)
    :: else -> FENCE(me); detach()
    fi;
left_in_order:
    unlock_all();
    d_step {
        lives[k] = false;
        if
        :: place_lock[PLACE(k)] == me -> place_lock[PLACE(k)] = NOBODY
        :: else
        fi;
        kept = 0; now = 0; says = 0; whose = 0; owed = 0;
        has_left = false; attached = false; needed = false; over = false; left = false
    }
}

/* subscriber_slot_clear, by who repairs */
inline reap_place(place)
{
    if
    :: memory[ROLE(place)] && (place_lock[place] == NOBODY || place_lock[place] == CHILD) ->
#ifndef ROW_LEFT
        STORE(me, SAID(place), 0);
#endif
        STORE(me, ROLE(place), false);
        count_change()
    :: else
    fi
}

/* ---- the subscriber ---- */

bool follows[LIVES], gone[LIVES], left_it[LIVES], was_followed[LIVES];
byte next[LIVES]; /* messages read, or not wanted */
byte passed;      /* incarnation of which nothing more is to be read */
#ifdef EMPTY_FIRST
byte log_seen[LIVES];
#define SEES(life) log_seen[life]
#else
#define SEES(life) memory[LOG(life)]
#endif

inline add_reader(life)
{
    if
    :: STATE_OF(says) == LEAVING && joining && !WANTS_HISTORY -> passed = now
    :: else ->
        attach(life);
        if
        :: attached ->
            atomic {
                follows[life] = true;
                assert(!was_followed[life]);
                was_followed[life] = true;
                left_it[life] = (STATE_OF(says) == LEAVING);
                next[life] = (joining && !WANTS_HISTORY -> memory[LOG(life)] : 0);
                attached = false
            }
        :: else
        fi
    fi
}

/* log_reader_part */
inline part(life)
{
    gone[life] = gone[life] || (follows[life] && memory[INCARNATION] != INCARNATION_OF(life));
#ifdef EMPTY_FIRST
    log_seen[life] = memory[LOG(life)]
#endif
}

inline update()
{
    d_step {
        news[SUBSCRIBER] = false;
        part(0);
        part(LIVES - 1)
    }
    look(); /* follow_slot */
    if
    :: STATE_OF(says) < LIVE || passed == now
    :: else ->
        life = (now - 1) / 2;
        if
        :: follows[life] && !gone[life] -> left_it[life] = (STATE_OF(says) == LEAVING)
        :: else -> add_reader(life)
        fi
    fi;
    d_step { now = 0; says = 0; life = 0; whose = 0; joining = false }
}

inline take(life)
{
    assert(!has_read[life * MESSAGES + next[life]]);
    has_read[life * MESSAGES + next[life]] = true;
    next[life]++
}

#define HAS_MORE(life) (follows[life] && memory[LOG(life)] > next[life])
#define IS_READ(life) (follows[life] && (gone[life] || left_it[life]) && SEES(life) == next[life])

/* Whether that log is yet what is found in the slot. */
#if defined(NOT_PASSED)
#define IS_FOUND(life) false
#elif defined(PASSED_BLINDLY)
#define IS_FOUND(life) (!gone[life])
#else
#define IS_FOUND(life) (!gone[life] && memory[INCARNATION] == INCARNATION_OF(life))
#endif

/* drop_finished */
inline finish(life)
{
    d_step {
        follows[life] = false;
        assert(next[life] == sent[life]); /* else: that was not the end */
        if
        :: IS_FOUND(life) -> passed = INCARNATION_OF(life)
        :: else
        fi;
        mapped[life]--;
        assert(MEMORY_IS_KEPT)
    }
}

proctype subscriber(byte me)
{
    byte now, says, life, whose;
    bool joining = true, attached;
#ifdef SETTLED
    joining = false;
#else
    update();
#endif
    do
    :: news[SUBSCRIBER] -> update()
    :: atomic { HAS_MORE(0) -> take(0) }
    :: IS_READ(0) -> finish(0)
#if LIVES == 2
    :: atomic { HAS_MORE(1) -> take(1) }
    :: IS_READ(1) -> finish(1)
#endif
    od
}

/* ---- who looks at peers ---- */

inline look_at_all()
{
    reap_place(0);
#if KEEPERS == 2 && !defined(SUCCESSOR)
    reap_place(1);
#endif
    reap(true)
}

proctype repairer(byte me)
{
    byte now, owed;
    bool needed, over, left;
    {
#ifdef SUCCESSOR
        reap_place(0);
#endif
        atomic { CAN_BE_REPAIRED -> repair_lock = me; lock = me }
        repair(true)
    } IF_REPAIRER_KILLED;
    FENCE(me);
    unlock_all();
    d_step { now = 0; owed = 0; needed = false; over = false; left = false }
}

inline check_life(life)
{
    if
    :: life < begun ->
        assert(notes[life] == 1);
        assert(!was_followed[life] || next[life] == sent[life])
    :: else
    fi
}

#define ROUNDS 8 /* at most, until nothing changes any more */

inline look_until_nothing_changes()
{
    timeout; /* all else is at rest: the end of the slice */
    do
    :: true ->
        atomic { rounds++; changed = false }
        look_at_all();
        atomic { NEWS; assert(rounds < ROUNDS) }
        timeout;
        if
        :: changed
        :: else -> break
        fi
    od;
    rounds = 0
}

proctype peers(byte me)
{
    byte now, owed, rounds;
    bool needed, over, left;
    look_until_nothing_changes();
    d_step {
        if
        :: ANY_KEEPS ->
            assert(memory[REFERENCE] == LIFE_OF(memory[STATE]) + 1);
            assert(STATE_OF(memory[STATE]) == LEAVING);
            assert(!WANTS_HISTORY || was_followed[LIFE_OF(memory[STATE])])
        :: else -> assert(STATE_OF(memory[STATE]) == FREE)
        fi;
        check_life(0);
        if
        :: LIVES == 2 -> check_life(LIVES - 1)
        :: else
        fi
    }
    leaves[0] = true;
#if KEEPERS == 2
    leaves[1] = true;
#endif
    look_until_nothing_changes();
    assert(STATE_OF(memory[STATE]) == FREE && lock == NOBODY && repair_lock == NOBODY)
}

#ifdef SETTLED
/* Joins or leaves elsewhere. */
proctype another()
{
    news[SUBSCRIBER] = true
}
#endif

init {
    byte n;
    atomic {
        memory[STATE] = WORD(0, LIVE);
        memory[INCARNATION] = INCARNATION_OF(0);
        memory[REFERENCE] = 1;
        lock = PUBLISHER(0);
        mapped[0] = 1;
#ifdef SETTLED
        mapped[0] = 3;
        place_lock[0] = KEEPER(0);
        memory[ROLE(0)] = true;
        memory[SAID(0)] = INCARNATION_OF(0);
        lives[0] = true;
        keeps_it[0] = true;
        follows[0] = true;
        was_followed[0] = true;
        sent[0] = MESSAGES;
        memory[LOG(0)] = MESSAGES;
        next[0] = MESSAGES;
        run another();
#endif
        do
        :: n < LIVES -> run publisher(PUBLISHER(n), n); n++
        :: else -> n = 0; break
        od;
        do
        :: n < KEEPERS -> run keeper(KEEPER(n), n); n++
        :: else -> n = 0; break
        od;
#ifndef NO_REPAIRER
        run repairer(REPAIRER);
#endif
        run peers(PEERS);
#ifndef NO_SUBSCRIBER
        run subscriber(SUBSCRIBER);
#endif
#ifdef PUBLISHER_KILLED
        run killer(PUBLISHER(0));
#if LIVES == 2
        run killer(PUBLISHER(1));
#endif
#endif
#ifdef KEEPER_KILLED
        run killer(KEEPER(0));
#endif
#ifdef REPAIRER_KILLED
        run killer(REPAIRER);
#endif
#ifdef BUFFERS
        do
        :: n < PROCESSORS -> run drain(n); n++
        :: else -> break
        od
#endif
    }
}
