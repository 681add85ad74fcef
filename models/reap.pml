/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * Repair of a slot against its claim (src/core/reaper.c; lock_slot and topic_begin_slot in src/core/topic_slots.c,
 * topic_leave in topic.c). The slot's first owner leaves, or is killed, perhaps leaving a stray child that keeps its
 * locks for a while; a claimer takes the slot when it is free, and leaves or is killed; two repairers look after it all
 * the time, one of which may be killed.
 *
 * There are no store buffers here: between two system calls, which order everything, each side only stores, or only
 * loads, so a store that waits in a buffer cannot be told from a slow processor.
 *
 * Checked: nobody repairs a slot whose owner lives; when all has come to rest, the slot is free. Verified with pan -E:
 * the killed do not end.
 *
 * Broken variants: NO_RECHECK (slot_is_dead does not look at state and incarnation again), NO_SECOND_LOOK (not under
 * the repair byte), NO_REPAIR_BYTE; FREE_FIRST: a repair that makes the slot FREE before its last step;
 * STATE_READ_FIRST: see README.md. TWO_CLAIMERS: two, and only the first owner is killed.
 */
#define STATE 0
#define INCARNATION 1
#define WHO 2  /* identity: whose process */
#define TRACE 3 /* what else an owner leaves in its slot, and a repair clears */
#define WORDS 4

#define FIRST_OWNER 0
#define CLAIMER(c) (1 + (c))
#define REPAIRER(r) (3 + (r))
#define STRAY 5 /* the first owner's child: has its locks, too */
#define NONE 255

byte memory[WORDS];

#define FREE 0
#define OPENING 1
#define LIVE 2

byte lock = NONE;        /* who has the slot's byte */
byte repair_lock = NONE; /* and its repair byte */
bool gone[4];            /* has ended: an owner, or the first repairer */
byte owner = NONE;       /* ghost: who lives in the slot */
bool stray_lives;

/* publisher_slot_clear, subscriber_slot_clear, by a repairer: every step may be done twice */
inline clear()
{
    atomic { assert(owner == NONE); memory[INCARNATION]++ }
#ifdef FREE_FIRST
    memory[STATE] = FREE;
#endif
    atomic { assert(owner == NONE); memory[TRACE] = 0 }
#ifndef FREE_FIRST
    memory[STATE] = FREE /* the slot may be claimed at once, also by who has its byte for a moment only */
#endif
}

/* the same, by the owner; topic_leave: the byte is unlocked, and the process may have ended before anyone looks */
inline leave(p)
{
    memory[INCARNATION]++;
    atomic { memory[TRACE] = 0; memory[STATE] = FREE }
    atomic { owner = NONE; lock = NONE; gone[p] = true }
}

proctype first_owner() provided (!gone[FIRST_OWNER])
{
    leave(FIRST_OWNER)
}

proctype claimer(byte me) provided (!gone[me])
{
    do
    :: atomic { lock == NONE -> lock = me } /* lock_slot */
        atomic {
            if
            :: memory[STATE] == FREE -> owner = me; break
            :: else -> lock = NONE
            fi
        }
    :: goto other_slot
    od;
    memory[INCARNATION]++; /* begin_slot */
    memory[STATE] = OPENING;
    atomic { memory[WHO] = me; memory[TRACE] = 1 }
    memory[STATE] = LIVE;
    leave(me);
other_slot:
    skip
}

/* slot_is_dead: a look at the words, the lock, the process, and at the words again */
inline slot_is_dead(dead)
{
#ifdef STATE_READ_FIRST
    dead = (memory[STATE] != FREE);
    incarnation = memory[INCARNATION];
#else
    incarnation = memory[INCARNATION];
    dead = (memory[STATE] != FREE);
#endif
    if
    :: !dead
    :: atomic { dead && lock == NONE -> skip }
    :: atomic { dead && lock != NONE -> skip } /* thorough: owner_is_gone */
        atomic { dead = (memory[STATE] != OPENING) }
        atomic { dead = dead && gone[memory[WHO]] }
    fi;
#ifndef NO_RECHECK
    atomic { dead = dead && memory[STATE] != FREE }
    atomic { dead = dead && memory[INCARNATION] == incarnation }
#endif
    incarnation = 0
}

inline slot_reap(p)
{
    slot_is_dead(dead);
#ifndef NO_REPAIR_BYTE
    atomic {
        if
        :: dead && repair_lock == NONE -> repair_lock = p
        :: else -> dead = false
        fi
    }
#endif
#ifndef NO_SECOND_LOOK
    if
    :: dead -> slot_is_dead(dead)
    :: else
    fi;
#endif
    if
    :: dead ->
        atomic {
            if
            :: lock == NONE -> lock = p
            :: else
            fi
        }
        clear()
    :: else
    fi;
    atomic {
        if
        :: lock == p -> lock = NONE
        :: else
        fi
    }
    atomic {
        if
        :: repair_lock == p -> repair_lock = NONE
        :: else
        fi;
        incarnation = 0;
        dead = false
    }
}

proctype mortal_repairer() provided (!gone[REPAIRER(0)])
{
    byte incarnation;
    bool dead;
    slot_reap(REPAIRER(0))
}

proctype repairer()
{
    byte incarnation;
    bool dead;
    if
    :: slot_reap(REPAIRER(1))
    :: true
    fi;
    timeout; /* all else is at rest: the next look */
    slot_reap(REPAIRER(1));
    assert(lock == NONE || (lock == STRAY && stray_lives));
    assert(memory[STATE] == FREE)
}

/* Kills who may be killed, each at any time, or not at all. One who is killed but still locks anything is only slow. */
proctype killer(byte p)
{
    if
    :: atomic { true ->
            gone[p] = true;
            if
            :: owner == p -> owner = NONE
            :: else
            fi;
            if
            :: lock == p && p == FIRST_OWNER && stray_lives -> lock = STRAY
            :: lock == p && !(p == FIRST_OWNER && stray_lives) -> lock = NONE
            :: else
            fi;
            if
            :: repair_lock == p -> repair_lock = NONE
            :: else
            fi
        }
    :: true
    fi
}

/* It may end, or outlive all. */
proctype stray()
{
    if
    :: atomic { true -> stray_lives = false;
            if
            :: lock == STRAY -> lock = NONE
            :: else
            fi
        }
    :: true
    fi
}

init {
    atomic {
        lock = FIRST_OWNER;
        owner = FIRST_OWNER;
        memory[WHO] = FIRST_OWNER;
        memory[INCARNATION] = 1;
        memory[STATE] = LIVE;
        memory[TRACE] = 1;
        if
        :: stray_lives = true; run stray()
        :: skip
        fi;
        run first_owner();
        run claimer(CLAIMER(0));
#ifdef TWO_CLAIMERS
        run claimer(CLAIMER(1));
#endif
        run mortal_repairer();
        run repairer();
        run killer(FIRST_OWNER);
#ifndef TWO_CLAIMERS
        run killer(CLAIMER(0));
        run killer(REPAIRER(0))
#endif
    }
}
