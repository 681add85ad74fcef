/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * Scenes for one process, the actor, that does one operation, and survivors, which are in the same topic and have to go
 * on whatever happens to it. A program of this folder is a fault and a pattern, points_<fault>_<pattern>:
 *
 *   kills      the actor is killed at every point of every operation
 *   stops      it is stopped at every point, and goes on later
 *   failures   each of its system calls and allocations fails, with each error that it can give
 *
 *   messages, service, events, board, queue: tables of operations, with survivors that know what must be there after
 *   each
 *
 * A point is any store to shared memory and any system call: see support/tracer.h.
 *
 *     points_kills_board                     a sample of the points, by $TARN_SEED
 *     TARN_POINTS=all points_kills_board     all of them
 *     TARN_POINTS=n points_kills_board       n of each operation
 */
#ifndef TARN_TESTS_POINTS_SCENE_H
#define TARN_TESTS_POINTS_SCENE_H

#include "../multi/common.h"
#include "tracer.h"

#define TOPIC "points"

/*
 * ---- what a pattern gives ------------------------------------------------------------------------------------------
 */

struct actor;     /* what it has; of each pattern its own */
struct survivors; /* all others: this process, with handles of its own */

struct operation {
    const char *name;
    void (*prepare)(struct actor *);    /* before the points are counted; NULL: nothing */
    void (*before)(struct survivors *); /* what the survivors do after that; NULL: nothing */
    int (*operate)(struct actor *);     /* a negative status if it failed, and may be done again */
    bool alone;                         /* the survivors come later */
    bool partly;                        /* some of them do */
    bool holds_back; /* messages: the actor is a reliable subscriber, for which publishers wait while it lives */
    bool repairs;    /* somebody else has died before */
    bool lets_lose;  /* what it sends, sets or pushes may lie in memory that no survivor has attached yet */
    bool has_value;  /* blackboard: the actor's key has one all the time, in memory that survivors have attached */
};

struct scene {
    const struct operation *operation;
    struct traced traced;
    bool is_open;  /* the survivors are there */
    bool was_gone; /* the kernel said to the actor that some memory has gone with its last user, which is not true */
    int descriptors, attached;
};

struct pattern {
    const struct operation *operations;
    unsigned count;
    struct actor *actor;
    struct survivors *survivors;
    void (*clear)(void); /* the survivors' struct, before the scene */
    /* Of the survivors, who come. False: locked out, see is_locked_out. */
    bool (*open)(struct scene *scene, bool actor_lives);
    void (*look)(struct survivors *); /* at what the actor has, which has prepared; NULL: nothing */
    /* They do all that they can, and are joined by a newcomer. */
    void (*check)(struct scene *scene, bool actor_lives);
    void (*go_on)(struct survivors *); /* something, again and again, while the actor ends */
    void (*gone)(struct scene *scene); /* the actor is gone: what it left is what it should be */
    void (*close)(struct scene *scene);
    void (*leave)(struct actor *); /* of the actor, which goes on after its operation, and closes all it has */
};

extern const struct pattern pattern;

/* A page of zeros that the actor and the survivors share. */
extern void *scene_ledger;
enum { LEDGER_BYTES = 4096 };

/* In a process that does the operation before the actor, and is killed: see kill_another_at. */
extern bool scene_is_another;

/* In the actor's process: its operation is under way. */
extern bool scene_is_operating;

/* Whether somebody who joins may be refused because the actor, which lives, has the topic's file locked. */
bool is_locked_out(int status, const struct scene *scene, bool actor_lives);

/* Whether the last error names the actor, by its pid. */
bool is_named(const struct scene *scene);

/* Somebody else runs role, and has said through its argument that it is ready. To be killed. */
pid_t somebody_comes_as(void (*role)(void *is_ready));

/* The same, and is killed; nobody has looked yet. */
void somebody_dies_as(void (*role)(void *is_ready));

/*
 * A sweep finds no more than that it repairs all: no dead one has a subscriber's place then; nor a publisher's, but
 * where something of it is needed. How many participants are there.
 */
int count_swept(void);

/* The same; there are so many, or any number if that is negative. */
void check_swept(int participants);

/* A sweep, as an operation. */
int sweep(struct actor *actor);

/*
 * ---- playing it ---------------------------------------------------------------------------------------------------
 */

/* Registers a test for each operation, which calls play for it. */
void add_scenes(void (*play)(const struct operation *operation), int limit_s);

/* Up to the first mark. */
void begin_scene(struct scene *scene, const struct operation *operation);

/* The operation's result, once it is over; that it may be an error, as one of its calls fails on purpose. */
int scene_result(void);
void allow_failure(void);

/*
 * The survivors go on. If the actor lives, it may be in the topic, and keep those who join from it by its lock on the
 * topic's file, which they must say: then false is returned.
 */
bool check_survivors(struct scene *scene, bool actor_lives);

/* The actor is gone, whatever became of it: the survivors leave, and nothing is left. */
void end_scene(struct scene *scene);

/* From the second mark on, the actor tries again if it failed, leaves, and finds nothing left. */
void let_actor_end(struct scene *scene);

/*
 * Plays the operation to its end, then calls visit for as many of its points that are wanted (NULL: all) as
 * $TARN_POINTS says, and prints what there was. Returns how many are wanted.
 */
unsigned visit_points(const struct operation *operation, bool (*wanted)(const struct traced *traced), unsigned usual,
                      void (*visit)(const struct operation *operation, unsigned point));

/* Whether all that can be visited is to be. */
bool visits_all(void);

/*
 * Begins the scene, and follows the actor up to that point. False: the operation was over before, as the way through it
 * may be some points shorter another time: by what is found where it was left, or by random numbers.
 */
bool go_to_point(struct scene *scene, unsigned point);

/* Another process does the operation, too, up to that point, or to its end, and is killed. */
void kill_another_at(const struct operation *operation, unsigned point);

#endif
