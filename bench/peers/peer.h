/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * A way for two processes to talk, as the comparison (../compare.c) sees it. Each peer is a shared object,
 * bench_peer_NAME.so, that exports one symbol for messages: `const struct peer peer`. What is measured, and how, is
 * written once, in compare.c and ../compare/, for all of them; a peer says only how its library is used, in the best
 * reasonable way.
 *
 * What it has for patterns besides is further tables of the same kind, each under a symbol of its own. Only one of them
 * is used in a process. They say nothing that is not true of messages, but for what is told here:
 *
 *   peer_call     a channel's sender is the client, its receiver the server; the client sends a request and takes its
 *                 response, one at a time, by loan, send, take and done (of the last response, when the next request is
 *                 on its way); the server's functions are serve_take and so on
 *   peer_notify   a message is an event: a number of 8 bytes, below PEER_EVENTS; several that nobody has yet seen may
 *                 become one
 *   peer_value    send makes the message the latest value; take has it, or NULL if that has to be tried again, as the
 *                 value was being written; there is one before the first take
 *   peer_queue    the receivers are workers, each in a process of its own; each message goes to one of them, and done
 *                 acknowledges it
 *
 * All messages of a channel have the same size. A channel goes one way: from its senders to its receivers, each of
 * which gets every message (so a peer without fan-out sends it several times itself). Nothing may be lost; a sender
 * that is too fast waits. Where something fails for good, say so by peer_fail(): the run ends.
 */
#ifndef TARN_BENCH_PEER_H
#define TARN_BENCH_PEER_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <unistd.h>

#define PEER_INTERFACE 4
#define PEER_HANDLES_MAX 1024
#define PEER_EVENTS 64
#define PEER_MANY_BYTES_MAX 64

struct peer_channel {
    const char *name;   /* of topic, queue, file, subject: lower-case letters and digits, unique to the run */
    const char *folder; /* the run's own, in memory, short: for sockets, FIFOs and files. Removed afterwards */
    size_t bytes;       /* of every message; 8 or more */
    uint32_t senders;   /* that will be opened, each once, index 0 to senders - 1: in one process */
    uint32_t receivers; /* likewise, in one other process */
    uint32_t port;      /* a free TCP port of 127.0.0.1; the next 7 are this channel's, too */
    bool sleeps;        /* receivers wait for messages by sleeping (take with wait), not by looking again and again */
    bool streams;       /* as many messages as possible are sent, rather than one at a time as soon as possible */
    void *prepared;     /* what prepare() made */
};

struct peer {
    uint32_t interface;     /* PEER_INTERFACE */
    const char *name;       /* "zmq": as in bench_peer_zmq.so */
    const char *title;      /* "ZeroMQ ipc": for tables and plots */
    const char *how;        /* how it is used and configured: one or two sentences, for docs/benchmarks.md */
    uint64_t bytes_max;     /* the largest message it carries as used here */
    uint32_t senders_max;   /* of one channel; 1: one only */
    uint32_t receivers_max; /* likewise */
    bool copies;            /* receivers get a copy (or the kernel makes one): touching the first line only would tell
                               nothing about it, since all of it is touched anyway */
    bool can_sleep;         /* take with wait sleeps in the kernel */

    /* Version of what is used: of the library as found at run time where it tells. */
    const char *(*version)(void);
    /*
     * Called once per channel, before the other process is forked: for what both inherit (descriptors, shared memory).
     * Must not start threads or initialise a library. NULL: nothing to do. release() undoes it in the starter.
     */
    void (*prepare)(struct peer_channel *channel);
    void (*release)(struct peer_channel *channel);
    /*
     * Opens one end. Senders and receivers are opened in two processes at the same time, in any order; returns when
     * this end is ready, as far as it can know by itself. connected(), called then on senders, until it returns true:
     * whether what is sent now reaches all receivers. NULL: it always does, once both sides' opens have returned.
     */
    void *(*open_sender)(const struct peer_channel *channel, uint32_t index);
    void *(*open_receiver)(const struct peer_channel *channel, uint32_t index);
    bool (*connected)(void *sender);
    /* Memory for the next message, to be written by the caller: shared where the peer can, else a buffer of its own. */
    void *(*loan)(void *sender);
    /* Sends what was loaned last. Waits while there is no space. */
    void (*send)(void *sender);
    /*
     * The next message, if there is one; else NULL, at once, or, with wait (only where channel.sleeps), after sleeping
     * until there is one. Valid until done(), which is called before the next take of this receiver.
     */
    const void *(*take)(void *receiver, bool wait);
    void (*done)(void *receiver);
    /*
     * For streams of messages of at most PEER_MANY_BYTES_MAX, a multiple of 8: the loops in which those are called, as
     * stream.h makes them. Sends so many, of which word i is a seed and i; the first has that seed, each the next one.
     * Takes messages like that until one is none; returns which seed it should have, and its first word. NULL:
     * compare.c calls them.
     */
    void (*send_many)(void *sender, size_t bytes, uint64_t seed, uint64_t count);
    uint64_t (*take_until)(void *receiver, size_t bytes, uint64_t seed, uint64_t *ret_word);
    void (*close_sender)(void *sender);
    void (*close_receiver)(void *receiver);
    /*
     * Pids of servers that the peer needs beside the two processes (daemons that open or prepare started), for counting
     * their memory; at most 8. NULL: none.
     */
    uint32_t (*servers)(int pids[8]);
    /*
     * Of peer_call, for its receivers: the next request, as take() would; memory for its response; sends that, and lets
     * go of the request.
     */
    const void *(*serve_take)(void *server, bool wait);
    void *(*serve_loan)(void *server);
    void (*serve_send)(void *server);
};

/* As bench_relax(). */
static inline void peer_relax(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
}

__attribute__((format(printf, 1, 2), noreturn)) static inline void peer_fail(const char *format, ...) {
    va_list arguments;
    fputs("bench peer: ", stderr);
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    _exit(1);
}

#endif
