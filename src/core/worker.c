/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * Workers and jobs: the public calls, following producers, claiming, ending jobs. The protocol is in shm/queue.h.
 *
 * A worker is a subscriber slot with a source per producer. It is its incarnation that owns jobs, so all it takes to
 * give them back when it closes or dies is that the incarnation ends. A job keeps its memory by a hold of its own,
 * which ends last of all: with it the source may go.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/compiler.h"
#include "base/os.h"
#include "base/status.h"
#include "core/handle.h"
#include "core/waitables.h"
#include "core/reaper.h"
#include "core/type.h"
#include "shm/bell.h"
#include "shm/queue.h"
#include "shm/source.h"
#include "shm/space.h"

#define DEFAULT_PREFETCH 1u
#define PREFETCH_MAX 65536u
#define TAKES_PER_CLOCK 64u  /* by a worker that is never out of jobs, for each look at the clock */
#define LOOKS_AT_HOLDERS 16u /* at slots of each kind, in a look of one who waits for jobs that others hold */

struct job_source {
    struct source places;
    struct queue_scan scan;
    uint64_t producer; /* identity */
    bool is_gone;      /* its slot is another's by now, or nobody's: nothing more to claim */
    bool is_damaged;
};

/* Which jobs are not ended, whatever copies there are of the user's structs. Any thread ends them. */
struct open_jobs {
    _Atomic uint32_t place;     /* that was used last: one that is free is likely there, or behind */
    _Atomic uint64_t tickets[]; /* as many as prefetch; 0: free */
};

struct tarn_worker {
    struct handle handle;
    struct job_source **sources;
    uint32_t source_count, source_capacity;
    uint32_t next;    /* whose turn it is */
    uint32_t changes; /* of the roster, when we last looked at it */
    uint32_t credit;  /* jobs that may be taken before those held are counted again */
    uint32_t prefetch;
    uint32_t takes_to_clock;
    int64_t clock_ns;
    int64_t looked_ns; /* at peers, when we last started again because of that */
    uint64_t owner;    /* queue_owner() */
    struct holds holds;
    struct open_jobs *open;
    uint64_t tickets; /* given out */
    struct waiter waiter;
    int trouble; /* status of a producer that cannot be attached, told by the next take */
    char trouble_text[512];
};

static struct closed_handles closed_workers;

static int check(const struct tarn_worker *worker) {
    return handle_check((const struct handle *)worker, HANDLE_WORKER);
}

/* ---- following the roster ------------------------------------------------------------------------------------- */

static struct pid_text pid_text(const struct job_source *source) {
    return process_pid_text(source->places.remote->pid, source->places.remote->namespaces);
}

static void keep_trouble(struct tarn_worker *worker, int status) {
    worker->trouble = status;
    snprintf(worker->trouble_text, sizeof(worker->trouble_text), "%s", tarn_error());
}

static int say_trouble(struct tarn_worker *worker) {
    int status = worker->trouble;
    worker->trouble = 0;
    return fail((enum tarn_status)status, "%s", worker->trouble_text);
}

static void note_trouble(struct tarn_worker *worker, struct publisher_slot *publisher, int error) {
    if (error == -EINVAL)
        return; /* it left or died meanwhile, and nobody has its memory */
    keep_trouble(worker, fail_memory(-error, "topic \"%s\": memory of producer %.15s (%s) cannot be attached",
                                     worker->waiter.topic->name, publisher->who.command,
                                     process_pid_text(publisher->who.pid, publisher->who.namespaces).text));
}

static struct job_source *find_source(struct tarn_worker *worker, uint32_t slot, uint16_t incarnation) {
    for (uint32_t i = 0; i < worker->source_count; i++) {
        struct remote *remote = worker->sources[i]->places.remote;
        if (remote->slot == slot && remote->incarnation == incarnation && !worker->sources[i]->is_gone)
            return worker->sources[i];
    }
    return NULL;
}

static bool grow_sources(struct tarn_worker *worker) {
    if (worker->source_count < worker->source_capacity)
        return true;
    uint32_t capacity = worker->source_capacity ? 2 * worker->source_capacity : 4;
    struct job_source **sources = realloc(worker->sources, capacity * sizeof(struct job_source *));
    if (!sources)
        return false;
    worker->sources = sources;
    worker->source_capacity = capacity;
    return true;
}

static int make_source(struct tarn_worker *worker, struct publisher_slot *publisher, uint32_t slot,
                       uint16_t incarnation, struct job_source **ret) {
    struct topic *topic = worker->waiter.topic;
    struct roster_taker taker = {false, worker->waiter.slot_number, worker->holds.incarnation,
                                 &worker->waiter.slot->pending_key};
    struct reader_row *row;
    int error = roster_make_row(&row, &topic->roster, publisher, slot, &taker);
    if (error)
        return error;
    struct job_source *source = grow_sources(worker) ? malloc(sizeof(*source)) : NULL;
    struct remote *remote;
    if (!source)
        return -ENOMEM;
    error = topic_remote_in_part(topic, &remote, publisher, slot, incarnation);
    if (error) {
        free(source);
        return error;
    }
    *source = (struct job_source){.producer = remote->number};
    error = queue_scan_open(&source->scan, &topic->roster, publisher, worker->owner);
    if (error) {
        queue_scan_close(&source->scan);
        topic_remote_drop(topic, remote);
        free(source);
        return error;
    }
    source_init(&source->places, &worker->holds, remote, row, row_place(worker->waiter.slot_number));
    *ret = source;
    return 0;
}

/*
 * Before it waits: a look at the peers comes soon enough to find claims that are overdue, and sooner where others hold
 * jobs that are its own if they die. That many do the same is why each looks at some only.
 */
static void set_slice(struct tarn_worker *worker) {
    int64_t slice_ns = SLICE_NS;
    bool awaits_others = false;
    for (uint32_t i = 0; i < worker->source_count; i++) {
        const struct job_source *source = worker->sources[i];
        int64_t limit_ns = source->is_gone ? 0 : source->scan.claim_limit_ns;
        if (limit_ns && limit_ns / 4 < slice_ns)
            slice_ns = limit_ns / 4;
        awaits_others |= !source->is_gone && source->scan.awaits_others;
    }
    worker->waiter.slice_ns = awaits_others || slice_ns < PATIENCE_NS ? PATIENCE_NS : slice_ns;
    worker->waiter.share = awaits_others ? LOOKS_AT_HOLDERS : 0;
}

/* The slot's words are another's by now. */
static bool is_replaced(const struct job_source *source) {
    struct remote *remote = source->places.remote;
    return incarnation_of(&remote->publisher->incarnation) != remote->incarnation ||
           remote->publisher->who.number != source->producer; /* after 65536 incarnations the same again */
}

static void follow_producer(struct tarn_worker *worker, struct publisher_slot *publisher, uint32_t slot) {
    uint16_t incarnation = incarnation_of(&publisher->incarnation);
    struct job_source *source = find_source(worker, slot, incarnation);
    int error = 0;
    if (source) {
        error = remote_attach_all(source->places.remote);
        source_tell_attached(&source->places);
    } else if ((error = make_source(worker, publisher, slot, incarnation, &source)) == 0) {
        worker->sources[worker->source_count++] = source;
    }
    if (error)
        note_trouble(worker, publisher, error);
}

/* Brings the sources up to date with the roster; all start again at their first. Under process_lock(). */
static void update(struct tarn_worker *worker) {
    struct roster *roster = &worker->waiter.topic->roster;
    worker->changes = load_acquire(&roster->header->changes); /* R1: before looking: what comes later is seen later */
    for (uint32_t i = 0; i < worker->source_count; i++) {     /* first: a slot's words belong to its newest owner */
        struct job_source *source = worker->sources[i];
        if (!source->is_gone && is_replaced(source))
            source->is_gone = source->places.gone = true;
        if (!source->is_gone)
            queue_scan_again(&source->scan);
    }
    for (uint32_t slot = 0, slots = roster_publisher_slots(roster); slot < slots; slot++) {
        struct publisher_slot *publisher = roster_publisher(roster, slot);
        uint32_t state = publisher ? load_acquire(&publisher->state) : SLOT_FREE;
        if (state == SLOT_LIVE || state == SLOT_LEAVING)
            follow_producer(worker, publisher, slot);
    }
}

static void free_source(struct tarn_worker *worker, struct job_source *source) {
    queue_scan_close(&source->scan);
    topic_remote_drop(worker->waiter.topic, source->places.remote);
    free(source);
}

/* Lets sources go whose producer is gone, and of which no job is held. Under process_lock(). */
static void drop_gone(struct tarn_worker *worker) {
    for (uint32_t i = 0; i < worker->source_count;) {
        struct job_source *source = worker->sources[i];
        if (source->is_gone)
            source_stop(&source->places);
        if (!source->is_gone || holds_oldest(&worker->holds, &source->places.holder) != GENERATION_GONE) {
            i++;
            continue;
        }
        free_source(worker, source);
        worker->sources[i] = worker->sources[--worker->source_count];
    }
}

static bool roster_changed(const struct tarn_worker *worker) {
    return load_acquire(&worker->waiter.topic->roster.header->changes) != worker->changes;
}

/* A repairer may have died before it counted the change: so each look at peers makes us start again, too. */
static void keep_up(struct tarn_worker *worker) {
    if (likely(!roster_changed(worker) && worker->looked_ns == worker->waiter.looked_ns))
        return;
    worker->looked_ns = worker->waiter.looked_ns;
    process_lock();
    update(worker);
    drop_gone(worker);
    process_unlock();
}

/* One that is never out of jobs looks after its peers all the same: somebody may have died with a job. */
static void keep_time(struct tarn_worker *worker) {
    if (likely(worker->takes_to_clock-- > 0))
        return;
    int64_t now = os_now_ns();
    worker->takes_to_clock = now - worker->clock_ns < SLICE_NS / 2 ? TAKES_PER_CLOCK : 0; /* long jobs: each time */
    worker->clock_ns = now;
    if (now - worker->waiter.looked_ns >= worker->waiter.slice_ns)
        waiter_look_at_peers(&worker->waiter);
}

/* ---- taking --------------------------------------------------------------------------------------------------- */

static int say_damaged(struct tarn_worker *worker, struct job_source *source) {
    source->is_damaged = true;
    return fail(TARN_ERROR_DAMAGED,
                "topic \"%s\": producer %016" PRIx64 " (%s) wrote what is no message: nothing more is taken from it",
                worker->waiter.topic->name, source->producer, pid_text(source).text);
}

static bool is_attached(struct job_source *source, uint64_t place) {
    struct remote *remote = source->places.remote;
    if (likely(remote_has_segment_of(remote, place_extent(place))))
        return true;
    process_lock();
    remote_attach_all(remote);
    source_tell_attached(&source->places);
    process_unlock();
    return remote_has_segment_of(remote, place_extent(place));
}

/* The producer's life is over, and its cells may be another's. */
static bool is_over(const struct job_source *source) {
    return incarnation_of(&source->scan.publisher->incarnation) != source->places.remote->incarnation;
}

/* A claim of ours ends: its cell becomes that. False: it was not ours any more. */
static bool end_claim(struct job_source *source, uint64_t number, uint64_t claim, enum queue_state state) {
    struct publisher_slot *publisher = source->scan.publisher;
    if (is_over(source))
        return false; /* the cells are over with it; somebody else ended the job before */
    if (!compare_and_swap(&queue_cell_of(&source->scan.ring, number)->state, &claim,
                          queue_ended(claim, state))) /* Q3 */
        return false;
    POINT(job_over);
    /* killed here: a producer that waits for this finds it in its slice */
    if (state == QUEUE_FREE)
        queue_count_requeue(publisher);
    else
        space_ring_at(publisher, number + 1); /* S1 */
    return true;
}

/* After a message became FREE again. */
static void ring_requeued(struct tarn_worker *worker) {
    full_fence(); /* B1 */
    topic_wake(worker->waiter.topic);
}

/* There is a place: no more are out than has_credit() allows, as a job's ticket ends before its hold does. */
static void give_ticket(struct tarn_worker *worker, tarn_job *ret) {
    struct open_jobs *open = worker->open;
    uint32_t place = load_relaxed(&open->place);
    while (load_relaxed(&open->tickets[place]) != 0)
        place = place + 1 < worker->prefetch ? place + 1 : 0;
    ret->place = place;
    ret->ticket = ++worker->tickets;
    store_relaxed(&open->tickets[place], ret->ticket);
    store_relaxed(&open->place, place);
}

static void describe_job(struct tarn_worker *worker, struct job_source *source, const struct queue_found *found,
                         const struct view *view, struct hold *hold, tarn_job *ret) {
    *ret = (tarn_job){
        .data = view->data,
        .bytes = view->bytes,
        .number = found->number + 1,
        .producer = source->producer,
        .attempts = queue_attempts_of(found->claimed),
        .taken_by = worker,
        .held_by = hold,
        .source = source,
        .claim = found->claimed,
        .worker = worker->handle.number,
    };
    give_ticket(worker, ret);
}

/*
 * Takes the message for its worker. False: somebody else was faster; or we were stopped on the way, and met a message
 * of another producer, whose cell this is by now: it stays as it was.
 */
static bool swap_to_claim(struct tarn_worker *worker, struct job_source *source, const struct queue_found *found) {
    uint64_t expected = found->state;
    if (!compare_and_swap(&found->cell->state, &expected, found->claimed))
        return false;
    POINT(claim_made);
    /* killed here, and until it is ended: our incarnation ends, and so does the claim */
    if (likely(!is_over(source)))
        return true;
    expected = found->claimed;
    compare_and_swap(&found->cell->state, &expected, found->state);
    topic_ring(worker->waiter.topic); /* whose it is is not known here: all start again */
    return false;
}

/* 1: the job is ours; 0: somebody else was faster, or it is no job any more; or a status. */
static int claim(struct tarn_worker *worker, struct job_source *source, const struct queue_found *found,
                 tarn_job *ret) {
    if (found->is_exhausted) {
        if (swap_to_claim(worker, source, found))
            end_claim(source, found->number, found->claimed, QUEUE_REJECTED);
        return 0;
    }
    struct hold *hold = source_hold(&source->places, found->place); /* P1 */
    if (!hold)
        return fail(TARN_ERROR_NO_MEMORY, "topic \"%s\": no memory to hold another job", worker->waiter.topic->name);
    POINT(claim_not_made);
    /* killed here: the hold keeps an extent until our slot is repaired */
    if (!swap_to_claim(worker, source, found)) {
        source_unhold(hold);
        return 0;
    }
    struct view view;
    enum view_result seen = source_view(&source->places, found->place, &view);
    /* what its cell says, now that it can only say it of ours; and what says the message itself */
    bool is_same =
        load_relaxed(&found->cell->place) == found->place && (seen != VIEW_SEEN || view.number == found->number + 1);
    if (is_same && seen == VIEW_SEEN) {
        describe_job(worker, source, found, &view, hold, ret);
        return 1;
    }
    source_unhold(hold);
    end_claim(source, found->number, found->claimed, is_same ? QUEUE_REJECTED : QUEUE_FREE);
    if (!is_same) { /* a later message: 2^25 rounds have gone by */
        ring_requeued(worker);
        return 0;
    }
    return say_damaged(worker, source);
}

/* 1: taken; 0: nothing; or a status. */
static int take_from(struct tarn_worker *worker, struct job_source *source, tarn_job *ret) {
    struct queue_found found;
    if (source->is_gone || source->is_damaged)
        return 0;
    /* more often than there are cells only where somebody writes nonsense */
    for (uint64_t tries = 0; tries <= source->scan.ring.capacity; tries++) {
        if (!queue_scan_look(&source->scan, &worker->waiter.topic->roster, &found))
            return 0;
        int status = is_attached(source, found.place) ? claim(worker, source, &found, ret) : 0;
        if (status >= 0)
            queue_scan_pass(&source->scan);
        if (status)
            return status;
    }
    return 0;
}

static int take_any(struct tarn_worker *worker, tarn_job *ret) {
    uint32_t count = worker->source_count;
    uint32_t turn = worker->next < count ? worker->next : 0;
    for (uint32_t i = 0; i < count; i++) {
        int result = take_from(worker, worker->sources[turn], ret);
        if (++turn == count)
            turn = 0;
        if (result) {
            worker->next = turn;
            return result;
        }
    }
    return worker->trouble ? say_trouble(worker) : 0;
}

static int say_holding(const struct tarn_worker *worker) {
    return fail(TARN_ERROR_HOLDING,
                "topic \"%s\": %" PRIu32
                " jobs are not ended, as many as prefetch allows: acknowledge, give back or reject one first",
                worker->waiter.topic->name, worker->prefetch);
}

static bool has_credit(struct tarn_worker *worker) {
    if (worker->credit > 0)
        return true;
    uint64_t held = holds_outstanding(&worker->holds);
    worker->credit = held < worker->prefetch ? worker->prefetch - (uint32_t)held : 0;
    return worker->credit > 0;
}

/* One look. 1: taken; 0: nothing; or a status. */
static int look(struct tarn_worker *worker, tarn_job *ret) {
    keep_time(worker);
    keep_up(worker);
    if (!has_credit(worker))
        return say_holding(worker);
    int status = take_any(worker, ret);
    if (status == 1) {
        worker->credit--;
        store_relaxed(&worker->waiter.slot->taken, load_relaxed(&worker->waiter.slot->taken) + 1);
    } else {
        set_slice(worker);
    }
    return status;
}

struct receiving {
    struct tarn_worker *worker;
    tarn_job *ret;
};

static int look_for(void *owner) {
    struct receiving *receiving = owner;
    return look(receiving->worker, receiving->ret);
}

static int check_take(struct tarn_worker *worker, tarn_job *ret) {
    int status = check(worker);
    if (status)
        return status;
    if (!ret)
        return fail(TARN_ERROR_ARGUMENT, "the job is NULL");
    return 0;
}

int tarn_worker_take(tarn_worker *worker, tarn_job *ret) {
    int status = check_take(worker, ret);
    if (status || (status = look(worker, ret)) != 0)
        return status;
    return waiter_make_quiet(&worker->waiter, look_for, &(struct receiving){worker, ret});
}

int tarn_worker_receive(tarn_worker *worker, tarn_job *ret, int64_t timeout_ns) {
    if (timeout_ns <= 0)
        return tarn_worker_take(worker, ret);
    int status = check_take(worker, ret);
    if (status || (status = look(worker, ret)) != 0)
        return status;
    struct receiving receiving = {worker, ret};
    if ((status = waiter_make_quiet(&worker->waiter, look_for, &receiving)) != 0)
        return status;
    return waiter_wait(&worker->waiter, look_for, &receiving, timeout_ns);
}

/* ---- waiting -------------------------------------------------------------------------------------------------- */

static bool has_job(struct tarn_worker *worker, struct job_source *source) {
    struct queue_found found;
    /* more often than there are cells only where somebody writes nonsense */
    for (uint64_t tries = 0; tries <= source->scan.ring.capacity; tries++) {
        if (!queue_scan_look(&source->scan, &worker->waiter.topic->roster, &found))
            return false;
        if (is_attached(source, found.place))
            return true;
        queue_scan_pass(&source->scan); /* it cannot be had */
    }
    return false;
}

/* 1: there is something that can be claimed, or something to say; 0: there is not. */
static int ready(void *owner) {
    struct tarn_worker *worker = owner;
    keep_up(worker);
    if (worker->trouble)
        return say_trouble(worker);
    for (uint32_t i = 0; i < worker->source_count; i++) {
        struct job_source *source = worker->sources[i];
        if (source->is_gone || source->is_damaged)
            continue;
        if (has_job(worker, source))
            return 1;
    }
    set_slice(worker);
    return 0;
}

int tarn_worker_wait(tarn_worker *worker, int64_t timeout_ns) {
    int status = check(worker);
    if (!status)
        status = waiter_wait(&worker->waiter, ready, worker, timeout_ns);
    return status ? status : waiter_make_quiet(&worker->waiter, ready, worker);
}

int tarn_worker_interrupt(tarn_worker *worker) {
    int status = check(worker);
    return status ? status : waiter_interrupt(&worker->waiter);
}

int tarn_worker_fd(tarn_worker *worker) {
    int status = check(worker);
    return status ? status : waiter_fd(&worker->waiter);
}

static int fd_for_waitset(void *handle) {
    return tarn_worker_fd(handle);
}

/* As ready(), but what it says is said again by the next take. */
static int look_for_waitset(void *handle) {
    struct tarn_worker *worker = handle;
    int status = ready(worker);
    if (status < 0)
        worker->trouble = status;
    return status ? status : waiter_removal_for_waitset(&worker->waiter);
}

static int ready_for_waitset(void *handle) {
    struct tarn_worker *worker = handle;
    int status = look_for_waitset(worker);
    return status ? status : waiter_make_quiet(&worker->waiter, look_for_waitset, worker);
}

const struct waitable worker_waitable = {fd_for_waitset, ready_for_waitset, look_for_waitset};

/* ---- ending jobs ---------------------------------------------------------------------------------------------- */

static int say_ended(void) {
    return fail(TARN_ERROR_RELEASED, "the job was ended before");
}

static int check_job(const tarn_job *job) {
    if (!job)
        return fail(TARN_ERROR_ARGUMENT, "the job is NULL");
    if (!job->taken_by)
        return say_ended();
    struct tarn_worker *worker = job->taken_by;
    int status = check(worker);
    if (status)
        return status;
    if (job->worker != worker->handle.number) /* another worker is where the job's was */
        return fail(TARN_ERROR_CLOSED, "the job's worker was closed, which gave the job back");
    return 0;
}

/* Of all copies of a job, one ends it: without its ticket nothing of it is touched, as its source may have gone. */
static int end_ticket(const tarn_job *job) {
    int status = check_job(job);
    if (status)
        return status;
    struct open_jobs *open = ((struct tarn_worker *)job->taken_by)->open;
    uint64_t ticket = job->ticket;
    if (!compare_and_swap(&open->tickets[job->place], &ticket, 0))
        return say_ended();
    store_relaxed(&open->place, job->place);
    return 0;
}

static int end_job(tarn_job *job, enum queue_state state) {
    int status = end_ticket(job);
    if (status)
        return status;
    struct tarn_worker *worker = job->taken_by;
    struct hold *hold = job->held_by;
    bool is_ended = end_claim(job->source, job->number - 1, job->claim, state);
    if (is_ended && state == QUEUE_FREE)
        ring_requeued(worker);
    uint64_t number = job->number;
    *job = (tarn_job){0};
    hold_release(hold); /* last: the source goes with it */
    if (is_ended)
        return 0;
    return fail(TARN_ERROR_TAKEN,
                "topic \"%s\": message %" PRIu64
                " was given to another worker meanwhile, as its producer's claim_limit_ns was over",
                worker->waiter.topic->name, number);
}

int tarn_job_acknowledge(tarn_job *job) {
    return end_job(job, QUEUE_DONE);
}

int tarn_job_give_back(tarn_job *job) {
    return end_job(job, QUEUE_FREE);
}

int tarn_job_reject(tarn_job *job) {
    return end_job(job, QUEUE_REJECTED);
}

/* ---- opening and closing -------------------------------------------------------------------------------------- */

static int check_options(const tarn_worker_options *options, tarn_worker_options *ret) {
    int status = options_copy(ret, sizeof(*ret), options, "tarn_worker_options");
    if (status || !options)
        return status;
    if (ret->prefetch > PREFETCH_MAX)
        return fail(TARN_ERROR_ARGUMENT, "prefetch is %" PRIu32 ": the most is %u", ret->prefetch, PREFETCH_MAX);
    status = waiter_check_options(ret->wait_strategy, ret->spin_ns);
    return status ? status : type_check(ret->type);
}

/* All that was ours goes; what was claimed is free then. Under process_lock(). */
static void leave(struct tarn_worker *worker) {
    struct topic *topic = worker->waiter.topic;
    doorbell_close(&worker->waiter.doorbell);
    store_relaxed(&worker->handle.mark, HANDLE_CLOSED);
    subscriber_slot_clear(topic, worker->waiter.slot_number, false);
    for (uint32_t i = 0; i < worker->source_count; i++)
        free_source(worker, worker->sources[i]);
    free(worker->sources);
    free(worker->open);
    holds_free(&worker->holds);
    topic_leave(topic, SUBSCRIBER, worker->waiter.slot_number);
    handle_free(&closed_workers, &worker->handle);
}

static int open_in_slot(struct tarn_worker *worker, const tarn_worker_options *options) {
    struct topic *topic = worker->waiter.topic;
    struct subscriber_slot *slot = worker->waiter.slot;
    uint32_t number = worker->waiter.slot_number;
    uint16_t incarnation = incarnation_of(&slot->incarnation);
    worker->owner = queue_owner(number, incarnation);
    worker->open = calloc(1, sizeof(*worker->open) + worker->prefetch * sizeof(worker->open->tickets[0]));
    if (holds_open(&worker->holds, &topic->roster, slot, number, incarnation) != 0 || !worker->open)
        return fail(TARN_ERROR_NO_MEMORY, "no memory for a worker");
    int status =
        type_settle(topic, options->type, &(struct roster_taker){false, number, incarnation, &slot->pending_key});
    if (status)
        return status;
    store_relaxed(&slot->reliable, 0);
    store_relaxed(&slot->role, ROLE_WORKER);
    store_release(&slot->state, SLOT_JOINING); /* producers heed its cells from now on */
    POINT(worker_joining);
    topic_ring(topic); /* R1, and the fence of H2's other side */
    update(worker);
    store_release(&slot->state, SLOT_LIVE);
    POINT(worker_live);
    topic_ring(topic);
    return 0;
}

static int open_locked(struct tarn_worker **ret, const char *name, const tarn_worker_options *options) {
    struct tarn_worker *worker = handle_allocate(&closed_workers, sizeof(*worker), HANDLE_WORKER);
    if (!worker)
        return fail(TARN_ERROR_NO_MEMORY, "no memory for a worker");
    int status = waiter_join(&worker->waiter, name, options->directory, options->domain, PATTERN_QUEUE,
                             options->wait_strategy, options->spin_ns);
    if (status) {
        handle_free(&closed_workers, &worker->handle);
        return status;
    }
    worker->waiter.subscribers_too = true;
    worker->prefetch = options->prefetch ? options->prefetch : DEFAULT_PREFETCH;
    status = open_in_slot(worker, options);
    if (status)
        leave(worker);
    else
        *ret = worker;
    return status;
}

int tarn_worker_open(tarn_worker **ret, const char *topic, const tarn_worker_options *options) {
    tarn_worker_options checked;
    if (!ret)
        return fail(TARN_ERROR_ARGUMENT, "the place for the worker is NULL");
    int status = check_options(options, &checked);
    if (!status)
        status = process_enter();
    if (status)
        return status;
    process_lock();
    status = open_locked(ret, topic, &checked);
    process_unlock();
    return status;
}

int tarn_worker_close(tarn_worker *worker) {
    if (!worker)
        return 0;
    int status = check(worker);
    if (status)
        return status;
    process_lock();
    leave(worker);
    process_unlock();
    return 0;
}
