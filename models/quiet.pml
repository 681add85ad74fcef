/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * The short way of a take that finds nothing (is_quiet in src/core/subscriber.c): it returns at once where an earlier
 * take has done all that there is to do, and nothing has changed since. One subscriber polls, then opens its descriptor
 * or goes on polling; one publisher is there from the start, sends and leaves; a second one joins and sends, or does
 * not. The user may hold a message of the first.
 *
 * Checked: when all has come to rest, some more takes take everything, let go of the reader whose publisher has left,
 * and, where there is a descriptor, find it quiet.
 *
 * Broken variants: QUIET_IGNORES_CHANGES, QUIET_IGNORES_LOG, QUIET_WHEN_GONE, FD_LEAVES_QUIET (opening the descriptor
 * does not end the quiet), QUIET_WITH_FD (a take with a descriptor begins one).
 *
 * All loads here are of words that only rise, and nobody waits for an answer: store buffers would change nothing.
 */
byte log[2];   /* messages sent */
bool live[2];  /* state of the slot */
byte changes;  /* of the roster */
#define MESSAGES 2

/* the subscriber's private memory */
byte known;        /* changes, when it last followed them */
bool reads[2];     /* there is a reader */
bool gone;         /* of reader 0 */
bool held;         /* a message of reader 0 is with the user */
byte taken[2];
bool quiet;        /* credit == quiet_credit; credit changes with each message taken, which ends it */
bool has_fd;
bool readable;     /* a byte in the FIFO */
bool armed;

inline follow_changes()
{
    atomic {
        quiet = false;
        known = changes;
        gone = reads[0] && !live[0];
        if
        :: live[1] -> reads[1] = true
        :: else
        fi
    }
}

/* Whether there is one reader, whose log has nothing, and no change: position, log_reader_sees, roster_changed */
#ifdef QUIET_IGNORES_LOG
#define ONLY_IS_EMPTY (reads[0] + reads[1] == 1)
#else
#define ONLY_IS_EMPTY (reads[0] + reads[1] == 1 && (!reads[0] || log[0] == taken[0]) && (!reads[1] || log[1] == taken[1]))
#endif
#ifdef QUIET_IGNORES_CHANGES
#define IS_UNCHANGED true
#else
#define IS_UNCHANGED (known == changes)
#endif

inline found_nothing()
{
    atomic { /* drop_finished: read to its end, and nothing is held */
        if
        :: gone && log[0] == taken[0] && !held -> reads[0] = false; gone = false
        :: else
        fi
    }
    if
    :: !has_fd ->
#ifdef QUIET_WHEN_GONE
        quiet = true
#else
        quiet = !gone
#endif
    :: has_fd ->
        readable = false; /* doorbell_drain */
        armed = true;     /* doorbell_arm */
#ifdef QUIET_WITH_FD
        quiet = true;
#endif
        if
        :: known != changes -> follow_changes()
        :: else
        fi;
        take_any();
        if
        :: found -> readable = true /* doorbell_ring_self */
        :: else
        fi
    fi
}

inline take_any()
{
    found = false;
    if
    :: atomic { reads[0] && log[0] > taken[0] ->
            taken[0]++;
            found = true;
            if
            :: !held -> held = true
            :: true
            fi
        }
        quiet = false
    :: atomic { reads[1] && log[1] > taken[1] -> taken[1]++; found = true; quiet = false }
    :: else
    fi
}

inline take()
{
    if
    :: atomic { quiet && ONLY_IS_EMPTY && IS_UNCHANGED -> found = false } /* is_quiet */
    :: else ->
        if
        :: known != changes -> follow_changes()
        :: else
        fi;
        take_any();
        if
        :: found
        :: else -> found_nothing()
        fi
    fi
}

inline ring() /* who changed something: B1 is checked by bell and doorbell */
{
    if
    :: armed -> readable = true
    :: else
    fi
}

proctype first_publisher()
{
    byte n;
    do
    :: n < MESSAGES -> n++; atomic { log[0]++; ring() }
    :: n > 0 -> break
    od;
    live[0] = false;
    atomic { changes++; ring() }
}

proctype second_publisher()
{
    if
    :: true
    :: true ->
        live[1] = true;
        atomic { changes++; ring() }
        atomic { log[1]++; ring() }
    fi
}

proctype timer() /* of the descriptor */
{
end:
    atomic { has_fd -> readable = true }
}

proctype subscriber()
{
    byte n;
    bool found;
    do
    :: n < 4 -> n++; take()
    :: held -> held = false /* tarn_message_release */
    :: true -> break
    od;
    if
    :: true
    :: true -> /* tarn_subscriber_fd */
#ifndef FD_LEAVES_QUIET
        quiet = false;
#endif
        atomic { has_fd = true; readable = true }
    fi;
    n = 0;
    do
    :: readable ->
        take();
        if
        :: found -> n = 0
        :: else -> n++
        fi;
        assert(n < 6) /* else: readable for ever */
    :: timeout -> break
    od;
    n = 0;
    do
    :: n < 8 && (!has_fd || n == 0 || readable) -> n++; held = false; take()
    :: else -> break
    od;
    assert(taken[0] == log[0] && taken[1] == log[1]);
    assert(!reads[0]);
    assert(!readable)
}

init {
    atomic {
        live[0] = true;
        reads[0] = true;
        run first_publisher();
        run second_publisher();
        run timer();
        run subscriber()
    }
}
