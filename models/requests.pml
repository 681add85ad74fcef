/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * Requests (src/core/service.c, client.c, server.c; add_reader and note_speaker in subscriber_follow.c; slot_reap): a
 * client asks a server. Each has a slot for its inbox, and one for its publisher to the other's, all of which are used
 * again: by a second server, or, with CLIENTS=2, by a second client, whose requests have the same numbers. The first of
 * either may be killed at any step (KILLED_SERVER, KILLED_CLIENT). The client asks the kernel in its slices, and
 * repairs a dead server; with REPAIRED_BY_OTHERS somebody else may do that for one slot. A server stays, or leaves at
 * any time. With STREAMS it sends something before the answer; with ABANDONS the client may abandon its request.
 *
 * There are no store buffers: what one process writes is read in that order (A1, A2), and that sleepers are woken is
 * bell.pml's. A log's memory can be attached as long as its writer lives, and is read for as long as one likes.
 *
 * Checked: a client never waits for good; no request fails that was answered, if the client had attached the log with
 * the answer, or the server left in order and its patience (linger) lasted; a server takes no request that was sent to
 * its predecessor; an answer is one to this client's request, from the server that it was sent to.
 *
 * Broken variants: UNREAD_FIRST (the client looks at what is unread before it looks whether the server is over),
 * STATE_ONLY (who is over is told by the slot's state alone), INCARNATION_LAST FREE_IS_NOT_OVER (by LEAVING and the
 * incarnation, which the client reads behind the state when it looks for a server: either is right by itself),
 * INBOX_FIRST (a server that leaves gives up its inbox first), NO_LINGER (it does not wait until its answers are
 * attached), SLOT_ONLY (an address does not say which incarnation); with KILLED_SERVER: NO_ASK (of the kernel); with
 * CLIENTS=2 and ABANDONS: NO_SECOND_LOOK (at the incarnation, behind the speaker).
 */
#ifndef CLIENTS
#define CLIENTS 1
#endif
#ifndef REQUESTS
#define REQUESTS 1 /* of each client */
#endif
#ifndef EARLY_LOOKS
#define EARLY_LOOKS 1 /* for each request: slices that end before all is at rest */
#endif

#define SERVER 0
#define CLIENT 1
#define NOBODY 2
#define BYSTANDER 3

#define FREE 0
#define OPENING 1
#define LIVE 2
#define LEAVING 3

/* inboxes, by role; incarnations are odd as long as the life in the slot is not over */
byte state[2], incarnation[2];
byte owner[2]; /* which of its role has locked the slot, the first or the second; 0: nobody who lives */
byte repairing[2] = NOBODY;
bool changed[2] = true; /* whether changes has moved since that role looked */

/* publishers, by the role that is addressed; the other's owner has it */
byte p_state[2], p_incarnation[2], addressee[2], speaker[2];
byte p_owner[2];
byte reference[2]; /* which incarnation's segment is to be attached; 0: none */
#define LIFE(role, i) (2 * (role) + ((i) >> 1))

/* logs, by publishers' lives */
#define LENGTH 4
byte sent[4];
byte messages[4 * LENGTH];
bool attached[4]; /* the addressee has said so */

#define REQUEST 0
#define ABANDON 1
#define RESPONSE 2
#define LAST 3
/* a message, and what it is about: the ghost of a payload */
#define MESSAGE(kind, n, c, s) ((kind) << 4 | (n) << 2 | ((c) >> 1) << 1 | (s) >> 1)
#define KIND(m) ((m) >> 4)
#define NUMBER(m) ((m) >> 2 & 3)
#define CLIENT_OF(m) (((m) >> 1 & 1) * 2 + 1)
#define SERVER_OF(m) (((m) & 1) * 2 + 1)

bool killed[4]; /* processes, the first of each role may be */
bool ended[2];  /* the first of each role */
bool answered[5];      /* ghost: request n of client life c is: 2 * (c >> 1) + n */
bool was_cut[2];       /* ghost: the server's patience did not last */
bool left_in_order[2]; /* ghost */
#define ASKED(c, n) (2 * ((c) >> 1) + (n))

inline count_change()
{
    d_step { changed[0] = true; changed[1] = true }
}

/* ---- slots ---- */

/* the second of a role comes when the first one is over */
inline begin(role)
{
    atomic {
        state[role] == FREE && incarnation[role] == 2 * life - 2 ->
        state[role] = OPENING;
        owner[role] = life;
        incarnation[role]++;
        me = incarnation[role]
    }
}

inline end(role)
{
    if
    :: life == 1 -> ended[role] = true
    :: else
    fi
}

/* end_life, and what is around it: by its owner, or by who repairs it */
inline clear_inbox(role)
{
    state[role] = LEAVING; /* A2 */
    count_change();
    incarnation[role] = incarnation[role] + (incarnation[role] & 1); /* A2; once */
    atomic { state[role] = FREE; owner[role] = 0 }
    count_change()
}

inline clear_publisher(role)
{
    reference[role] = 0;
    p_incarnation[role] = p_incarnation[role] + (p_incarnation[role] & 1);
    atomic { p_state[role] = FREE; p_owner[role] = 0 }
    count_change()
}

#define IS_DEAD(role) (state[role] != FREE && owner[role] == 0)

inline reap_inbox(role, who)
{
    if
    :: atomic { IS_DEAD(role) && repairing[role] == NOBODY -> repairing[role] = who }
        if
        :: IS_DEAD(role) -> clear_inbox(role)
        :: else
        fi;
        repairing[role] = NOBODY
    :: else
    fi
}

#ifdef SLOT_ONLY
#define IS_ADDRESSED(role, i) (addressee[role] != 0)
#else
#define IS_ADDRESSED(role, i) (addressee[role] == (i)) /* A1 */
#endif

inline open_publisher(role, to, from)
{
    atomic { p_state[role] == FREE -> p_state[role] = OPENING; p_owner[role] = life; p_incarnation[role]++ }
    addressee[role] = to; /* A1 */
    speaker[role] = from; /* A1 */
    reference[role] = p_incarnation[role];
    p_state[role] = LIVE;
    count_change();
    open = p_incarnation[role]
}

inline close_publisher(role)
{
    if
    :: open != 0 -> clear_publisher(role); open = 0
    :: else
    fi
}

inline commit(role, what)
{
    atomic {
        assert(sent[LIFE(role, open)] < LENGTH);
        messages[LENGTH * LIFE(role, open) + sent[LIFE(role, open)]] = what;
        sent[LIFE(role, open)]++
    }
}

/* ---- inboxes ---- */

/*
 * of the publishers' lives in the slot that is addressed to us: who speaks there, 0: not attached, or unknown; what was
 * taken
 */
#define HAS_UNREAD(role, l) (heard[l] != 0 && taken[l] < sent[2 * (role) + (l)])

#ifdef NO_SECOND_LOOK
#define IS_STILL(role, i) true
#else
#define IS_STILL(role, i) (p_incarnation[role] == (i))
#endif

/* update */
inline update(role, me)
{
    changed[role] = false;
    if
    :: p_state[role] == LIVE ->
        i = p_incarnation[role];
        if
        :: i & 1 && heard[i >> 1] == 0 && IS_ADDRESSED(role, me) ->
            if
            :: reference[role] == i && p_owner[role] != 0 -> /* remote_open */
                who = speaker[role];
                atomic {
                    if
                    :: IS_STILL(role, i) && IS_ADDRESSED(role, me) -> heard[i >> 1] = who; attached[LIFE(role, i)] = true
                    :: else
                    fi
                }
            :: else
            fi
        :: else
        fi
    :: else
    fi;
    atomic { i = 0; who = 0 }
}

#ifdef FREE_IS_NOT_OVER
#define IS_FREE(role) false
#else
#define IS_FREE(role) (state[role] == FREE)
#endif

/* is_over: gone */
inline look_who_is_gone(role, peer)
{
#ifdef STATE_ONLY
    gone = gone || state[role] != LIVE
#else
    if
    :: gone || state[role] == LEAVING || IS_FREE(role) -> gone = true
    :: else -> gone = incarnation[role] != peer
    fi
#endif
}

/* ---- the client ---- */

#define UNREAD_OF_PEER ((HAS_UNREAD(CLIENT, 0) && heard[0] == peer) || (HAS_UNREAD(CLIENT, 1) && heard[1] == peer))

/* accept_response */
inline take_response(l)
{
    message = messages[LENGTH * (2 * CLIENT + (l)) + taken[l]];
    taken[l]++;
    if
    :: NUMBER(message) == number && heard[l] == peer ->
        assert(CLIENT_OF(message) == me && SERVER_OF(message) == peer);
        over = KIND(message) == LAST
    :: else
    fi;
    message = 0
}

/* where it was answered: the log with the answer is attached, or its server was not hurried */
#define IS_TO_BE_DELIVERED \
    (attached[LIFE(CLIENT, 1)] && heard[0] == peer) || (attached[LIFE(CLIENT, 3)] && heard[1] == peer) || \
    (left_in_order[peer >> 1] && !was_cut[peer >> 1])

/* await_one. looks: ended slices before all was at rest */
inline await_response()
{
    do
    :: !over ->
        if
        :: changed[CLIENT] || HAS_UNREAD(CLIENT, 0) || HAS_UNREAD(CLIENT, 1)
        :: looks < EARLY_LOOKS -> looks++; asks = true
        :: timeout -> asks = true; at_rest = true
#ifdef ABANDONS
        :: !gone && looks < EARLY_LOOKS -> /* tarn_client_abandon */
            commit(SERVER, MESSAGE(ABANDON, number, me, peer));
            over = true;
            break
#endif
        fi;
        if
        :: changed[CLIENT] ->
            at_rest = false;
            update(CLIENT, me);
            look_who_is_gone(SERVER, peer)
        :: else
        fi;
        atomic {
            if
            :: HAS_UNREAD(CLIENT, 0) -> at_rest = false; take_response(0)
            :: HAS_UNREAD(CLIENT, 1) && !HAS_UNREAD(CLIENT, 0) -> at_rest = false; take_response(1)
            :: else
            fi
        }
#ifdef UNREAD_FIRST
        unread = UNREAD_OF_PEER;
#endif
        if
        :: asks && !over -> /* service_ask */
#ifndef NO_ASK
            reap_inbox(SERVER, CLIENT);
#endif
            look_who_is_gone(SERVER, peer)
        :: else
        fi;
        atomic {
#ifndef UNREAD_FIRST
            unread = UNREAD_OF_PEER;
#endif
            if
            :: !over && gone && !unread -> /* fail_pending */
                assert(!answered[ASKED(me, number)] || !(IS_TO_BE_DELIVERED));
                over = true
            :: else
            fi;
            assert(over || !at_rest || changed[CLIENT]); /* else it waits for good */
            unread = false;
            asks = false;
            at_rest = false
        }
    :: else -> break
    od;
    atomic { over = false; looks = 0 }
}

proctype client(byte id; byte life) provided (!killed[id])
{
    byte me, open, i, who, message, number, peer, looks;
    byte heard[2], taken[2];
    bool gone, over, unread, asks, at_rest;
    begin(CLIENT);
    state[CLIENT] = LIVE;
    count_change();
again:
    do
    :: number < REQUESTS ->
        if /* choose, wait_for_server */
        :: state[SERVER] == LIVE && incarnation[SERVER] != peer -> /* follow_servers */
            close_publisher(SERVER);
            peer = incarnation[SERVER];
#ifndef INCARNATION_LAST
            if /* server_in: first the incarnation, then whether it is LIVE */
            :: state[SERVER] == LIVE
            :: else -> peer = 0; gone = false; goto again
            fi;
#endif
            gone = false;
            look_who_is_gone(SERVER, peer) /* make_peer */
        :: peer != 0 && !gone
        :: timeout -> break
        fi;
        if
        :: gone -> goto again
        :: else
        fi;
        number++;
        if
        :: open == 0 -> open_publisher(SERVER, peer, me)
        :: else
        fi;
        commit(SERVER, MESSAGE(REQUEST, number, me, peer));
        await_response()
    :: else -> break
    od;
    close_publisher(SERVER);
    clear_inbox(CLIENT);
    end(CLIENT)
}

/* ---- the server ---- */

inline claim_publisher()
{
    if
    :: open == 0 -> open_publisher(CLIENT, peer, me)
    :: else
    fi
}

/* check_peer, answer */
inline answer(kind)
{
    if
    :: changed[SERVER] && !gone -> look_who_is_gone(CLIENT, peer)
    :: else
    fi;
    if
    :: !gone ->
        claim_publisher();
        commit(CLIENT, MESSAGE(kind, NUMBER(message), CLIENT_OF(message), me));
        if
        :: kind == LAST -> answered[ASKED(CLIENT_OF(message), NUMBER(message))] = true
        :: else
        fi
    :: else
    fi
}

/* accept_request. With one client at a time, who is another than the peer is over, or the peer is. */
inline take_request(l)
{
    atomic {
        message = messages[LENGTH * (2 * SERVER + (l)) + taken[l]];
        taken[l]++;
        assert(SERVER_OF(message) == me)
    }
    if
    :: heard[l] != peer && incarnation[CLIENT] == heard[l] ->
        close_publisher(CLIENT);
        peer = heard[l];
        gone = false
    :: else
    fi;
    if
    :: heard[l] == peer && KIND(message) == REQUEST ->
        look_who_is_gone(CLIENT, peer);
#ifdef STREAMS
        answer(RESPONSE); /* tarn_request_stream */
#endif
        answer(LAST)
    :: else
    fi;
    message = 0
}

#ifdef NO_LINGER
#define LINGERS false
#else
#define LINGERS (open != 0 && !attached[LIFE(CLIENT, open)] && incarnation[CLIENT] == peer)
#endif

inline linger()
{
    do
    :: !LINGERS -> break
    :: LINGERS -> was_cut[me >> 1] = true; break
    od
}

proctype server(byte id; byte life) provided (!killed[id])
{
    byte me, open, i, who, message, peer;
    byte heard[2], taken[2];
    bool gone, stays;
    begin(SERVER);
    state[SERVER] = LIVE;
    count_change();
    if
    :: stays = true
    :: true
    fi;
    do
    :: HAS_UNREAD(SERVER, 0) -> take_request(0)
    :: HAS_UNREAD(SERVER, 1) && !HAS_UNREAD(SERVER, 0) -> take_request(1)
    :: changed[SERVER] -> /* follow */
        update(SERVER, me);
        if
        :: peer != 0 -> look_who_is_gone(CLIENT, peer)
        :: else
        fi;
        if
        :: gone -> close_publisher(CLIENT)
        :: else
        fi
    :: !stays -> break
    od;
#ifdef INBOX_FIRST
    clear_inbox(SERVER);
    left_in_order[me >> 1] = true;
#endif
    linger();
    close_publisher(CLIENT);
#ifndef INBOX_FIRST
    left_in_order[me >> 1] = true;
    clear_inbox(SERVER);
#endif
    end(SERVER)
}

/* ---- others ---- */

/* The first of each role may be killed, at any step: the kernel takes its locks. */
proctype killer(byte role)
{
    atomic {
        if
        :: !ended[role] ->
            killed[role] = true;
            owner[role] = (owner[role] == 1 -> 0 : owner[role]);
            p_owner[1 - role] = (p_owner[1 - role] == 1 -> 0 : p_owner[1 - role]);
            repairing[1 - role] = (repairing[1 - role] == role -> NOBODY : repairing[1 - role])
        :: true
        fi
    }
}

proctype bystander()
{
    if
    :: IS_DEAD(SERVER) -> reap_inbox(SERVER, BYSTANDER)
    :: IS_DEAD(CLIENT) -> reap_inbox(CLIENT, BYSTANDER)
    :: p_state[SERVER] != FREE && p_owner[SERVER] == 0 -> clear_publisher(SERVER)
    :: p_state[CLIENT] != FREE && p_owner[CLIENT] == 0 -> clear_publisher(CLIENT)
    fi
}

init {
    atomic {
        run client(CLIENT, 1);
        run server(SERVER, 1);
#if CLIENTS == 1
        run server(2, 2);
#else
        run client(2, 2);
#endif
#ifdef KILLED_SERVER
        run killer(SERVER);
#endif
#ifdef KILLED_CLIENT
        run killer(CLIENT);
#endif
#ifdef REPAIRED_BY_OTHERS
        run bystander();
#endif
        skip
    }
}
