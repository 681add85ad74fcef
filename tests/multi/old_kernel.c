/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * What README.md says of old kernels: one before 4.14 is refused, by each kind of handle, and 4.14 suffices. A seccomp
 * filter answers as they do where they lack what a newer one has.
 */
#include "common.h"

#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif
#ifndef SYS_epoll_pwait2
#define SYS_epoll_pwait2 441
#endif
#ifndef MADV_WIPEONFORK
#define MADV_WIPEONFORK 18 /* Linux 4.14 */
#endif
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23 /* Linux 5.14 */
#endif
#define ADVICE 2 /* which argument of madvise it is */

static void be_linux_4_14(void) {
    forbid_call(SYS_membarrier, ANY, EINVAL); /* it knows the call, but not the commands of 4.16 */
    forbid_call(SYS_pidfd_open, ANY, ENOSYS);
    forbid_call(SYS_epoll_pwait2, ANY, ENOSYS);
    forbid_argument(SYS_madvise, ADVICE, MADV_POPULATE_WRITE, EINVAL);
}

static void be_linux_4_13(void) {
    be_linux_4_14();
    forbid_argument(SYS_madvise, ADVICE, MADV_WIPEONFORK, EINVAL);
}

/* ---- before 4.14 ---------------------------------------------------------------------------------------------- */

#define CHECK_KIND_REFUSED(kind, ...)                                                                                  \
    do {                                                                                                               \
        tarn_##kind *handle_ = NULL;                                                                                   \
        set_context("%s", #kind);                                                                                      \
        CHECK_REFUSED(tarn_##kind##_open(&handle_, __VA_ARGS__), TARN_ERROR_SYSTEM, "Linux 4.14 or newer is needed");  \
        CHECK(!handle_);                                                                                               \
    } while (0)

static void open_all_in_vain(void *arg) {
    (void)arg;
    be_linux_4_13();
    int descriptors = count_descriptors();
    CHECK_KIND_REFUSED(publisher, "messages", NULL);
    CHECK_KIND_REFUSED(subscriber, "messages", NULL);
    CHECK_KIND_REFUSED(client, "service", NULL);
    CHECK_KIND_REFUSED(server, "service", NULL);
    CHECK_KIND_REFUSED(notifier, "events", NULL);
    CHECK_KIND_REFUSED(listener, "events", NULL);
    CHECK_KIND_REFUSED(writer, "board", NULL);
    CHECK_KIND_REFUSED(reader, "board", NULL);
    CHECK_KIND_REFUSED(producer, "queue", NULL);
    CHECK_KIND_REFUSED(worker, "queue", NULL);
    CHECK_KIND_REFUSED(keeper, "messages", NULL);
    CHECK_KIND_REFUSED(monitor, "messages", NULL);
    CHECK_KIND_REFUSED(waitset, NULL);
    CHECK_REFUSED(tarn_process_register(), TARN_ERROR_SYSTEM, "Linux 4.14 or newer is needed");
    CHECK_INT(count_descriptors(), ==, descriptors);
}

TEST(before_4_14_each_kind_of_handle_is_refused) {
    probe_seccomp();
    CHECK_INT(wait_child(spawn(open_all_in_vain, NULL), LIMIT_S), ==, 0);
    char path[512];
    domain_path(path, NULL);
    CHECK_INT(access(path, F_OK), !=, 0);
}

/* ---- 4.14 ------------------------------------------------------------------------------------------------------- */

static void publish_and_die(void *arg) {
    (void)arg;
    be_linux_4_14();
    tarn_publisher *publisher = PUBLISHER("messages", .realtime = 1, .memory_limit_bytes = 4 << 20);
    CHECK_STATUS(tarn_process_register(), 0);
    AWAIT(tarn_publisher_subscribers(publisher) == 1);
    publish_word(publisher, 1);
    CHECK_STATUS(tarn_publisher_flush(publisher, GENEROUS), 1);
    nap_ns(30 * MS); /* its subscriber most probably sleeps in the waitset again */
    publish_word(publisher, 2);
    raise(SIGKILL);
}

static void await_word(tarn_waitset *waitset, tarn_subscriber *subscriber, uint64_t word) {
    tarn_ready ready;
    CHECK_STATUS(tarn_waitset_wait(waitset, &ready, 1, GENEROUS), 1);
    receive_word(subscriber, word);
}

static void take_by_waitset(void *arg) {
    tarn_waitset *waitset;
    (void)arg;
    be_linux_4_14();
    CHECK_STATUS(tarn_waitset_open(&waitset, NULL), 0);
    tarn_subscriber *subscriber = SUBSCRIBER("messages", .reliable = 1);
    CHECK_STATUS(tarn_waitset_add(waitset, subscriber, NULL), 0);
    await_word(waitset, subscriber, 1);
    await_word(waitset, subscriber, 2);
    AWAIT(tarn_subscriber_publishers(subscriber) == 0); /* it is dead */
    CHECK_INT(tarn_subscriber_lost(subscriber), ==, 0);
    CHECK_STATUS(tarn_waitset_close(waitset), 0);
    CHECK_STATUS(tarn_subscriber_close(subscriber), 0);
}

TEST(with_4_14_messages_arrive_and_deaths_are_seen) {
    probe_seccomp();
    pid_t taker = spawn(take_by_waitset, NULL), sender = spawn(publish_and_die, NULL);
    CHECK_INT(wait_child(sender, LIMIT_S), ==, -SIGKILL);
    CHECK_INT(wait_child(taker, LIMIT_S), ==, 0);
}
