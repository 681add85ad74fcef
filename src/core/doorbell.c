/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* See doorbell.h. */
#include "core/doorbell.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/status.h"
#include "core/waitset.h"
#include "shm/bell.h"

#define FIFO_BYTES (64u * 1024)

static int make_fifo(struct topic *topic, uint32_t slot) {
    char name[DOORBELL_NAME_BYTES];
    doorbell_name(name, topic->inode, slot);
    int directory = topic->directory.fd;
    unlinkat(directory, name, 0); /* the slot's previous owner's */
    bool made = mkfifoat(directory, name, 0600) == 0;
    if (made)
        directory_undo_umask(directory, name, S_IFIFO, 0600);
    else if (errno != EEXIST)
        return -errno;
    /* else another user's, in a directory that lets each delete only his own: rings there are ours by now */
    int fifo = openat(directory, name, O_RDWR | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC);
    struct stat state;
    int error = fifo < 0 ? errno : 0;
    if (!error && (fstat(fifo, &state) != 0 || !S_ISFIFO(state.st_mode)))
        error = EEXIST;
    if (!error && made && state.st_gid != topic->directory.access.group)
        (void)!fchown(fifo, (uid_t)-1, topic->directory.access.group);
    if (!error && made && fchmod(fifo, topic->directory.access.directory_mode & 0666) != 0)
        error = errno;
    if (!error)
        return fifo;
    if (fifo >= 0)
        close(fifo);
    if (made)
        unlinkat(directory, name, 0);
    return -error;
}

/* False: it stays as it was. */
static bool set_timer(struct doorbell *doorbell, int64_t interval_ns) {
    struct timespec interval = {interval_ns / NS_PER_SECOND, interval_ns % NS_PER_SECOND};
    struct itimerspec every = {interval, interval};
    if (interval_ns == doorbell->interval_ns)
        return true;
    if (timerfd_settime(doorbell->timer, 0, &every, NULL) != 0)
        return false;
    doorbell->interval_ns = interval_ns;
    return true;
}

static bool watch(int epoll, int fd) {
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    return fd >= 0 && epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) == 0;
}

int doorbell_open(struct doorbell *doorbell, struct topic *topic, struct subscriber_slot *subscriber, uint32_t slot) {
    store_release(&subscriber->doorbell, DOORBELL_QUIET);
    POINT(doorbell_made_known);
    /* killed here, or with the FIFO made: whoever repairs the slot removes it */
    store_release(&topic->roster.header->doorbells, 1);
    doorbell->fifo = make_fifo(topic, slot);
    int error = doorbell->fifo < 0 ? -doorbell->fifo : 0;
    doorbell->epoll = epoll_create1(EPOLL_CLOEXEC);
    doorbell->timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    doorbell->open = true;
    doorbell->interval_ns = 0;
    if (!error && (doorbell->epoll < 0 || doorbell->timer < 0 || !watch(doorbell->epoll, doorbell->fifo) ||
                   !watch(doorbell->epoll, doorbell->timer) || !set_timer(doorbell, SLICE_NS)))
        error = errno;
    if (!error)
        return doorbell->epoll;
    doorbell_close(doorbell);
    return fail_system(status_of_errno(error), error, "topic \"%s\": cannot make a descriptor to wait on in %s",
                       topic->name, topic->directory.path);
}

void doorbell_close(struct doorbell *doorbell) {
    if (!doorbell->open)
        return;
    doorbell->open = false;
    if (doorbell->epoll >= 0)
        waitset_forget(doorbell->epoll);
    if (doorbell->fifo >= 0)
        close(doorbell->fifo);
    if (doorbell->timer >= 0)
        close(doorbell->timer);
    if (doorbell->epoll >= 0)
        close(doorbell->epoll);
}

bool doorbell_drain(struct doorbell *doorbell) {
    char bytes[256];
    uint64_t expirations;
    /* As much as a FIFO holds: somebody may write for ever. What is left rings again. */
    for (uint32_t i = 0; i < FIFO_BYTES / sizeof(bytes); i++)
        if (read(doorbell->fifo, bytes, sizeof(bytes)) != (ssize_t)sizeof(bytes))
            break;
    return read(doorbell->timer, &expirations, sizeof(expirations)) == (ssize_t)sizeof(expirations);
}

void doorbell_arm(struct doorbell *doorbell, struct subscriber_slot *subscriber, _Atomic uint32_t *bell,
                  int64_t interval_ns) {
    bool barrier;
    store_release(&subscriber->doorbell, DOORBELL_ARMED);
    POINT(doorbell_armed);
    bell_arm(bell, &barrier);
    set_timer(doorbell, barrier ? interval_ns : SLICE_WITHOUT_BARRIER_NS);
}

void doorbell_ring_self(struct doorbell *doorbell) {
    (void)!write(doorbell->fifo, "", 1); /* full: rung already */
}
