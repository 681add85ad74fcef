/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * Waiting for many: handles of the library and descriptors of the user's own, in one epoll descriptor.
 *
 * The kernel has the truth. Each handle's descriptor is readable unless the handle has been asked since
 * (waitable.ready), and had nothing; so what the kernel does not report has nothing, and what it reports is asked, and
 * made quiet if it has nothing, which the user does not see. Nothing is kept here that could be out of date: reports
 * are level-triggered, and a wake-up that a handle's descriptor does not lose is not lost here (docs/protocols.md;
 * models/waitset.pml).
 *
 * Looking in memory (waitable.look) comes before, as it costs no system call: a waitset that is busy never enters the
 * kernel but for two things. Sources that have no look, as the user's descriptors, are asked for by themselves now and
 * then, or, as long as there is something, in each turn. And once per slice those whose descriptors are readable are
 * asked, so that each looks at its peers, however busy the others are.
 *
 * Fairness: looks go around, and begin where the last report ended. The kernel puts whom it reports last in its list;
 * so it must not be asked for more than can be reported.
 *
 * A handle that was closed is not touched: its mark or its number tells, as memory of handles stays memory of handles.
 * What the kernel says about a source that has gone is told by the number of its addition, and passed over.
 */
#include "core/waitset.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/os.h"
#include "base/status.h"
#include "core/handle.h"
#include "core/waitables.h"
#include "shm/bell.h"

#define LOOKED_AT_MAX 64u       /* handles: with more, the kernel is faster */
#define ASK_EVERY_NS 10000      /* for the user's descriptors, while handles are busy */
#define EVENTS_AT_ONCE 64       /* of the kernel's */
#define INTERRUPTION UINT64_MAX /* instead of a source's number */

_Static_assert(POLLIN == EPOLLIN && POLLPRI == EPOLLPRI && POLLOUT == EPOLLOUT && POLLERR == EPOLLERR &&
                   POLLHUP == EPOLLHUP && POLLRDHUP == EPOLLRDHUP && POLLRDNORM == EPOLLRDNORM &&
                   POLLRDBAND == EPOLLRDBAND && POLLWRNORM == EPOLLWRNORM && POLLWRBAND == EPOLLWRBAND,
               "epoll's events are poll's");
#define EVENTS_KNOWN                                                                                                   \
    (POLLIN | POLLPRI | POLLOUT | POLLERR | POLLHUP | POLLRDHUP | POLLRDNORM | POLLRDBAND | POLLWRNORM | POLLWRBAND)

/* ---- the kinds of handles -------------------------------------------------------------------------------------- */

static const struct kind {
    uint32_t mark;
    const struct waitable *waitable;
} kinds[] = {
    {HANDLE_SUBSCRIBER, &subscriber_waitable}, {HANDLE_CLIENT, &client_waitable}, {HANDLE_SERVER, &server_waitable},
    {HANDLE_LISTENER, &listener_waitable},     {HANDLE_READER, &reader_waitable}, {HANDLE_WORKER, &worker_waitable},
    {HANDLE_MONITOR, &monitor_waitable},       {HANDLE_KEEPER, &keeper_waitable},
};

static int find_waitable(const struct handle *handle, const struct waitable **ret) {
    if (!handle)
        return fail(TARN_ERROR_ARGUMENT, "the handle is NULL");
    uint32_t mark = load_relaxed(&handle->mark);
    if (mark == HANDLE_CLOSED)
        return fail(TARN_ERROR_CLOSED, "the handle was closed");
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        if (mark != kinds[i].mark)
            continue;
        *ret = kinds[i].waitable;
        return handle_check(handle, mark);
    }
    return fail(TARN_ERROR_ARGUMENT, "this %s is nothing that can be waited for", handle_kind_text(mark));
}

/* ---- sources --------------------------------------------------------------------------------------------------- */

struct source {
    uint32_t number; /* of its addition; 0: the place is free */
    uint32_t mark;
    struct handle *handle; /* NULL: the user's descriptor */
    uint64_t handle_number;
    const struct waitable *waitable;
    void *tag;
    int fd;
    uint32_t answer; /* what the kernel said in answer to ask number */
    uint64_t answered;
};

struct tarn_waitset {
    struct handle handle;
    _Atomic uint32_t interrupted;
    uint32_t strategy;
    int64_t spin_ns;
    int epoll;     /* all sources, and the interruption */
    int unlooked;  /* another epoll descriptor, of those without a look */
    int interrupt; /* an eventfd */
    uint32_t places, next;
    uint32_t looked_count, unlooked_count;
    struct source *sources;
    struct epoll_event *answers; /* as many */
    uint32_t numbers;
    bool had_answers;
    uint64_t asks;
    int64_t asked_ns, tended_ns;
    struct tarn_waitset *next_open;
};

static struct closed_handles closed_waitsets;
static struct tarn_waitset *open_waitsets; /* under process_lock(); of the parent as well, if we are a child */

static bool has_look(const struct source *source) {
    return source->handle && source->waitable->look;
}

/* False: it was closed, and its memory may be another handle's. */
static bool is_open(const struct source *source) {
    return !source->handle ||
           (load_acquire(&source->handle->mark) == source->mark && source->handle->number == source->handle_number);
}

static void drop(struct tarn_waitset *waitset, struct source *source) {
    *(has_look(source) ? &waitset->looked_count : &waitset->unlooked_count) -= 1;
    *source = (struct source){0};
}

/* For epoll: which source, and that it is still the one that was added. */
static uint64_t key_of(const struct tarn_waitset *waitset, const struct source *source) {
    return (uint64_t)source->number << 32 | (uint64_t)(source - waitset->sources);
}

static struct source *source_of(const struct tarn_waitset *waitset, uint64_t key) {
    uint64_t place = key & UINT32_MAX;
    struct source *source = place < waitset->places ? &waitset->sources[place] : NULL;
    return source && source->number == key >> 32 && source->number ? source : NULL;
}

static struct source *find_handle(const struct tarn_waitset *waitset, const void *handle) {
    for (uint32_t i = 0; i < waitset->places; i++)
        if (waitset->sources[i].number && waitset->sources[i].handle == handle)
            return &waitset->sources[i];
    return NULL;
}

static struct source *find_fd(const struct tarn_waitset *waitset, int fd) {
    for (uint32_t i = 0; i < waitset->places; i++)
        if (waitset->sources[i].number && !waitset->sources[i].handle && waitset->sources[i].fd == fd)
            return &waitset->sources[i];
    return NULL;
}

static bool grow(struct tarn_waitset *waitset) {
    uint32_t places = waitset->places ? 2 * waitset->places : 8;
    struct epoll_event *answers = realloc(waitset->answers, places * sizeof(*answers));
    if (answers)
        waitset->answers = answers;
    struct source *sources = answers ? realloc(waitset->sources, places * sizeof(*sources)) : NULL;
    if (!sources)
        return false;
    memset(sources + waitset->places, 0, (places - waitset->places) * sizeof(*sources));
    waitset->sources = sources;
    waitset->places = places;
    return true;
}

/* A free place, with a new number, which is not yet in it. */
static struct source *find_place(struct tarn_waitset *waitset, uint32_t *ret_number) {
    uint32_t place = 0;
    while (place < waitset->places && waitset->sources[place].number)
        place++;
    if (place == waitset->places && !grow(waitset))
        return NULL;
    if (++waitset->numbers == UINT32_MAX) /* whose keys might be taken for INTERRUPTION */
        waitset->numbers = 1;
    *ret_number = waitset->numbers;
    return &waitset->sources[place];
}

static int say_unwatchable(int fd, int error) {
    switch (error) {
    case EEXIST:
        return fail(TARN_ERROR_ARGUMENT, "descriptor %d is in this waitset already", fd);
    case EBADF:
        return fail(TARN_ERROR_ARGUMENT, "descriptor %d is not open", fd);
    case EPERM:
        return fail(TARN_ERROR_ARGUMENT, "descriptor %d cannot be waited for: it is a plain file or a directory", fd);
    case EINVAL:
    case ELOOP:
        return fail(TARN_ERROR_ARGUMENT,
                    "descriptor %d cannot be waited for: it is this waitset's own, or leads to it, or through more "
                    "epoll descriptors than the kernel allows",
                    fd);
    default:
        return fail_system(status_of_errno(error), error, "descriptor %d cannot be added to the waitset", fd);
    }
}

/* Takes a source in. 0 or a status, with nothing changed. */
static int add(struct tarn_waitset *waitset, struct source added, uint32_t events) {
    struct source *place = find_place(waitset, &added.number);
    if (!place)
        return fail(TARN_ERROR_NO_MEMORY, "no memory for another source of a waitset");
    struct source *namesake = find_fd(waitset, added.fd);
    *place = added;
    bool looked = has_look(place);
    struct epoll_event event = {.events = events, .data.u64 = key_of(waitset, place)};
    int error = epoll_ctl(waitset->epoll, EPOLL_CTL_ADD, added.fd, &event) != 0 ? errno : 0;
    if (!error && !looked && epoll_ctl(waitset->unlooked, EPOLL_CTL_ADD, added.fd, &event) != 0) {
        error = errno;
        epoll_ctl(waitset->epoll, EPOLL_CTL_DEL, added.fd, NULL);
    }
    if (error) {
        *place = (struct source){0};
        return say_unwatchable(added.fd, error);
    }
    *(looked ? &waitset->looked_count : &waitset->unlooked_count) += 1;
    if (namesake) /* the user's, closed without having been removed */
        drop(waitset, namesake);
    return 0;
}

static void forget(const struct tarn_waitset *waitset, int fd) {
    epoll_ctl(waitset->epoll, EPOLL_CTL_DEL, fd, NULL);
    epoll_ctl(waitset->unlooked, EPOLL_CTL_DEL, fd, NULL);
}

int tarn_waitset_add(tarn_waitset *waitset, void *handle, void *tag) {
    const struct waitable *waitable = NULL;
    int status = handle_check((const struct handle *)waitset, HANDLE_WAITSET);
    if (!status)
        status = find_waitable(handle, &waitable);
    if (status)
        return status;
    struct source *there = find_handle(waitset, handle);
    if (there && is_open(there))
        return fail(TARN_ERROR_ARGUMENT, "this %s is in the waitset already", handle_kind_text(there->mark));
    if (there)
        drop(waitset, there);
    int fd = waitable->fd(handle);
    if (fd < 0)
        return fd;
    const struct handle *its = handle;
    return add(waitset,
               (struct source){
                   .mark = load_relaxed(&its->mark),
                   .handle = handle,
                   .handle_number = its->number,
                   .waitable = waitable,
                   .tag = tag,
                   .fd = fd,
               },
               EPOLLIN);
}

int tarn_waitset_add_fd(tarn_waitset *waitset, int fd, uint32_t poll_events, void *tag) {
    int status = handle_check((const struct handle *)waitset, HANDLE_WAITSET);
    if (status)
        return status;
    if (!poll_events || (poll_events & ~(uint32_t)EVENTS_KNOWN))
        return fail(TARN_ERROR_ARGUMENT, "poll_events is %#" PRIx32 ": give POLLIN, POLLOUT and so on", poll_events);
    return add(waitset, (struct source){.tag = tag, .fd = fd}, poll_events);
}

int tarn_waitset_remove(tarn_waitset *waitset, const void *handle) {
    int status = handle_check((const struct handle *)waitset, HANDLE_WAITSET);
    if (status)
        return status;
    struct source *source = handle ? find_handle(waitset, handle) : NULL;
    if (!source)
        return fail(TARN_ERROR_ARGUMENT, "the handle is %s", handle ? "not in this waitset" : "NULL");
    if (is_open(source)) /* else its descriptor may be another's by now */
        forget(waitset, source->fd);
    drop(waitset, source);
    return 0;
}

int tarn_waitset_remove_fd(tarn_waitset *waitset, int fd) {
    int status = handle_check((const struct handle *)waitset, HANDLE_WAITSET);
    if (status)
        return status;
    struct source *source = find_fd(waitset, fd);
    if (!source)
        return fail(TARN_ERROR_ARGUMENT, "descriptor %d is not in this waitset", fd);
    forget(waitset, fd);
    drop(waitset, source);
    return 0;
}

/* ---- asking sources -------------------------------------------------------------------------------------------- */

static void report(tarn_ready *ret, const struct source *source, uint32_t events, int status) {
    *ret = (tarn_ready){
        .tag = source->tag,
        .handle = source->handle,
        .fd = source->handle ? -1 : source->fd,
        .events = source->handle ? 0 : events,
        .status = status < 0 ? status : 0,
    };
}

/* What the kernel says of it looked at again. Whether there is something to report. */
static bool check(struct tarn_waitset *waitset, struct source *source, uint32_t events, tarn_ready *ret) {
    if (!is_open(source)) {
        drop(waitset, source);
        return false;
    }
    int status = source->handle ? source->waitable->ready(source->handle) : 1;
    if (status)
        report(ret, source, events, status);
    return status != 0;
}

/* Asks the kernel about those that have no look, all at once. */
static void ask_unlooked(struct tarn_waitset *waitset, int64_t now) {
    int most = waitset->unlooked_count < INT_MAX ? (int)waitset->unlooked_count : INT_MAX;
    int count = os_epoll_wait(waitset->unlooked, waitset->answers, most, 0);
    waitset->asks++;
    waitset->asked_ns = now;
    waitset->had_answers = count > 0;
    for (int i = 0; i < count; i++) {
        struct source *source = source_of(waitset, waitset->answers[i].data.u64);
        if (!source)
            continue;
        source->answer = waitset->answers[i].events;
        source->answered = waitset->asks;
    }
}

/*
 * Looks once at each source, beginning where the last report ended. asks: also at those that only the kernel can tell
 * of.
 */
static int look_around(struct tarn_waitset *waitset, tarn_ready *ret, int most, bool asks, int64_t now) {
    int count = 0;
    uint32_t place = waitset->next < waitset->places ? waitset->next : 0;
    bool asked = false;
    for (uint32_t i = 0; i < waitset->places && count < most; i++) {
        struct source *source = &waitset->sources[place];
        if (++place == waitset->places)
            place = 0;
        if (!source->number)
            continue;
        if (!is_open(source)) {
            drop(waitset, source);
            continue;
        }
        if (has_look(source)) {
            int status = source->waitable->look(source->handle);
            if (status)
                report(&ret[count], source, 0, status);
            count += status != 0;
        } else if (asks) {
            if (!asked)
                ask_unlooked(waitset, now);
            asked = true;
            count += source->answered == waitset->asks && check(waitset, source, source->answer, &ret[count]);
        }
        if (count)
            waitset->next = place;
    }
    return count;
}

static int look_often(struct tarn_waitset *waitset, tarn_ready *ret, int most, int64_t now) {
    bool asks = waitset->unlooked_count && (waitset->had_answers || now - waitset->asked_ns >= ASK_EVERY_NS);
    uint32_t looks = waitset->strategy == TARN_WAIT_SLEEP ? 1 : 1 + LOOKS_PER_CLOCK / (waitset->looked_count + 1);
    for (uint32_t i = 0; i < looks; i++) {
        int count = look_around(waitset, ret, most, asks && i == 0, now);
        if (count)
            return count;
        spin_pause();
    }
    return 0;
}

static void drain_interruption(const struct tarn_waitset *waitset) {
    uint64_t count;
    (void)!read(waitset->interrupt, &count, sizeof(count));
}

/* Waits in the kernel. The count of what is to be reported, or a status. ret_heard: whether it had anything to say. */
static int ask_kernel(struct tarn_waitset *waitset, tarn_ready *ret, int most, int64_t timeout_ns, bool *ret_heard) {
    struct epoll_event events[EVENTS_AT_ONCE];
    int heard = os_epoll_wait(waitset->epoll, events, most < EVENTS_AT_ONCE ? most : EVENTS_AT_ONCE, timeout_ns);
    int count = 0;
    if (heard < 0)
        return fail_system(status_of_errno(-heard), -heard, "a waitset cannot wait");
    *ret_heard = heard > 0;
    for (int i = 0; i < heard; i++) {
        struct source *source = source_of(waitset, events[i].data.u64);
        if (events[i].data.u64 == INTERRUPTION)
            drain_interruption(waitset);
        else if (source)
            count += check(waitset, source, events[i].events, &ret[count]);
    }
    return count;
}

/*
 * Lets those look after their peers for whom it is time, reporting nothing: what they find, the next look sees as well.
 */
static void tend(struct tarn_waitset *waitset, int64_t now) {
    struct epoll_event events[EVENTS_AT_ONCE];
    tarn_ready ignored;
    waitset->tended_ns = now;
    int heard = os_epoll_wait(waitset->epoll, events, EVENTS_AT_ONCE, 0);
    for (int i = 0; i < heard; i++) {
        struct source *source = source_of(waitset, events[i].data.u64);
        if (source && source->handle)
            check(waitset, source, 0, &ignored);
    }
}

/* ---- waiting --------------------------------------------------------------------------------------------------- */

static bool was_interrupted(struct tarn_waitset *waitset) {
    if (!load_relaxed(&waitset->interrupted) ||
        !atomic_exchange_explicit(&waitset->interrupted, 0, memory_order_acq_rel))
        return false;
    drain_interruption(waitset); /* one that comes between has set the flag again */
    return true;
}

static int wait_for(struct tarn_waitset *waitset, tarn_ready *ret, int most, int64_t timeout_ns) {
    int64_t now = os_now_ns();
    int64_t deadline_ns = timeout_ns <= 0 ? now : os_time_after(now, timeout_ns);
    int64_t sleep_from_ns = waitset->strategy == TARN_WAIT_SPIN    ? INT64_MAX
                            : waitset->strategy == TARN_WAIT_SLEEP ? now
                                                                   : os_time_after(now, waitset->spin_ns);
    bool looks = waitset->looked_count && waitset->looked_count <= LOOKED_AT_MAX;
    uint32_t in_vain = 0; /* what the kernel heard of when the time was over, and which was nothing */
    for (;; now = os_now_ns()) {
        if (was_interrupted(waitset))
            return fail(TARN_ERROR_INTERRUPTED, "the wait for many was interrupted");
        if (now - waitset->tended_ns >= SLICE_NS)
            tend(waitset, now);
        int count = looks ? look_often(waitset, ret, most, now) : 0;
        if (count)
            return count;
        if (looks && now < sleep_from_ns && now < deadline_ns)
            continue;
        bool heard;
        int64_t left_ns = sleep_from_ns == INT64_MAX || now >= deadline_ns ? 0 : deadline_ns - now;
        count = ask_kernel(waitset, ret, most, left_ns, &heard);
        if (count)
            return count;
        if (now >= deadline_ns && !(heard && in_vain++ <= 2 * waitset->places))
            return 0;
    }
}

int tarn_waitset_wait(tarn_waitset *waitset, tarn_ready *ret, size_t capacity, int64_t timeout_ns) {
    int status = handle_check((const struct handle *)waitset, HANDLE_WAITSET);
    if (status)
        return status;
    if (!ret || !capacity)
        return fail(TARN_ERROR_ARGUMENT, "there is no place for what is ready: %s",
                    ret ? "capacity is 0" : "ret is NULL");
    return wait_for(waitset, ret, capacity < INT_MAX ? (int)capacity : INT_MAX, timeout_ns);
}

int tarn_waitset_interrupt(tarn_waitset *waitset) {
    int status = handle_check((const struct handle *)waitset, HANDLE_WAITSET);
    if (status)
        return status;
    int error = errno; /* whom a signal handler interrupts may want it */
    store_release(&waitset->interrupted, 1);
    (void)!write(waitset->interrupt, &(uint64_t){1}, sizeof(uint64_t)); /* full: it is readable */
    errno = error;
    return 0;
}

int tarn_waitset_fd(tarn_waitset *waitset) {
    int status = handle_check((const struct handle *)waitset, HANDLE_WAITSET);
    return status ? status : waitset->epoll;
}

/* ---- opening and closing --------------------------------------------------------------------------------------- */

static int check_options(const tarn_waitset_options *options, tarn_waitset_options *ret) {
    int status = options_copy(ret, sizeof(*ret), options, "tarn_waitset_options");
    if (status || !options)
        return status;
    if (ret->reserved)
        return fail(TARN_ERROR_ARGUMENT, "tarn_waitset_options.reserved is not 0");
    return waiter_check_options(ret->wait_strategy, ret->spin_ns);
}

static void close_descriptors(const struct tarn_waitset *waitset) {
    const int fds[] = {waitset->epoll, waitset->unlooked, waitset->interrupt};
    for (int i = 0; i < 3; i++)
        if (fds[i] >= 0)
            close(fds[i]);
}

static int open_descriptors(struct tarn_waitset *waitset) {
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = INTERRUPTION};
    waitset->epoll = epoll_create1(EPOLL_CLOEXEC);
    waitset->unlooked = epoll_create1(EPOLL_CLOEXEC);
    waitset->interrupt = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (waitset->epoll >= 0 && waitset->unlooked >= 0 && waitset->interrupt >= 0 &&
        epoll_ctl(waitset->epoll, EPOLL_CTL_ADD, waitset->interrupt, &event) == 0)
        return 0;
    int error = errno;
    close_descriptors(waitset);
    return fail_system(status_of_errno(error), error, "a waitset's descriptors cannot be made");
}

static int open_locked(struct tarn_waitset **ret, const tarn_waitset_options *options) {
    struct tarn_waitset *waitset = handle_allocate(&closed_waitsets, sizeof(*waitset), HANDLE_WAITSET);
    if (!waitset)
        return fail(TARN_ERROR_NO_MEMORY, "no memory for a waitset");
    waitset->strategy = options->wait_strategy;
    waitset->spin_ns = waiter_spin_ns(options->spin_ns);
    waitset->tended_ns = os_now_ns();
    int status = open_descriptors(waitset);
    if (status) {
        handle_free(&closed_waitsets, &waitset->handle);
        return status;
    }
    waitset->next_open = open_waitsets;
    open_waitsets = waitset;
    *ret = waitset;
    return 0;
}

int tarn_waitset_open(tarn_waitset **ret, const tarn_waitset_options *options) {
    tarn_waitset_options checked;
    if (!ret)
        return fail(TARN_ERROR_ARGUMENT, "the place for the waitset is NULL");
    int status = check_options(options, &checked);
    if (!status)
        status = process_enter();
    if (status)
        return status;
    process_lock();
    status = open_locked(ret, &checked);
    process_unlock();
    return status;
}

int tarn_waitset_close(tarn_waitset *waitset) {
    if (!waitset)
        return 0;
    int status = handle_check(&waitset->handle, HANDLE_WAITSET);
    if (status)
        return status;
    process_lock();
    struct tarn_waitset **link = &open_waitsets;
    while (*link != waitset)
        link = &(*link)->next_open;
    *link = waitset->next_open;
    close_descriptors(waitset);
    free(waitset->sources);
    free(waitset->answers);
    handle_free(&closed_waitsets, &waitset->handle);
    process_unlock();
    return 0;
}

void waitset_forget(int fd) {
    for (struct tarn_waitset *waitset = open_waitsets; waitset; waitset = waitset->next_open)
        if (process_is_epoch(waitset->handle.epoch)) /* the parent's descriptors are the parent's */
            forget(waitset, fd);
}
