/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * fork() and its relatives: what a child inherits says so, the child opens its own, the parent's go on, and a parent's
 * death is seen though a child of it lives, or a descriptor of its own. Children are made by fork(), by a raw clone()
 * that runs no fork handlers (as some language runtimes do it), and by vfork() with exec.
 */
#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "common.h"

#define TOPIC "fork"

enum way { BY_FORK, BY_RAW_CLONE, BY_VFORK_AND_EXEC };

static pid_t raw_clone(void) {
    pid_t pid = (pid_t)syscall(SYS_clone, (long)SIGCHLD, NULL, NULL, NULL, NULL);
    CHECK_INT(pid, >=, 0);
    return pid;
}

/* ---- inherited handles ---------------------------------------------------------------------------------------- */

struct inheritance {
    tarn_publisher *publisher;
    tarn_subscriber *subscriber;
    tarn_loan loan;
    tarn_message message;
};

static void open_inheritance(struct inheritance *ret) {
    ret->subscriber = SUBSCRIBER(TOPIC, .reliable = 1);
    ret->publisher = publisher_of(TOPIC, NULL);
    CHECK_INT(tarn_subscriber_fd(ret->subscriber), >=, 0);
    publish_word(ret->publisher, 1);
    CHECK_STATUS(tarn_subscriber_receive(ret->subscriber, &ret->message, GENEROUS), 1);
    CHECK_STATUS(tarn_publisher_loan(ret->publisher, 8, &ret->loan), 1);
}

/* The parent's things work as if there had been no fork, and end well. */
static void use_inheritance(struct inheritance *inheritance, uint64_t word) {
    memcpy(inheritance->loan.data, &word, 8);
    CHECK_STATUS(tarn_loan_send(&inheritance->loan), 1);
    receive_word(inheritance->subscriber, word);
    CHECK(memcmp(inheritance->message.data, &(uint64_t){1}, 8) == 0);
    CHECK_STATUS(tarn_message_release(&inheritance->message), 0);
    publish_word(inheritance->publisher, word + 1);
    receive_word(inheritance->subscriber, word + 1);
    CHECK_STATUS(tarn_publisher_subscribers(inheritance->publisher), 1);
    CHECK_STATUS(tarn_subscriber_publishers(inheritance->subscriber), 1);
}

static void close_inheritance(struct inheritance *inheritance) {
    tarn_message message;
    CHECK_STATUS(tarn_subscriber_take(inheritance->subscriber, &message), 0);
    CHECK_STATUS(tarn_publisher_close(inheritance->publisher), 0);
    CHECK_STATUS(tarn_subscriber_close(inheritance->subscriber), 0);
}

/* Reads through the kernel, which says EFAULT instead of sending a signal. */
static bool is_mapped(const void *data) {
    int ends[2];
    CHECK(pipe(ends) == 0);
    bool mapped = write(ends[1], data, 8) == 8;
    CHECK(mapped || errno == EFAULT);
    close(ends[0]);
    close(ends[1]);
    return mapped;
}

#define CHECK_FORKED(call) CHECK_REFUSED(call, TARN_ERROR_FORKED, "fork")

static void try_inheritance(struct inheritance *inheritance) {
    tarn_message message = inheritance->message;
    tarn_loan loan = inheritance->loan;
    CHECK_FORKED(tarn_publisher_publish(inheritance->publisher, "a", 1));
    CHECK_FORKED(tarn_publisher_loan(inheritance->publisher, 1, &loan));
    CHECK_FORKED(tarn_publisher_flush(inheritance->publisher, 0));
    CHECK_FORKED(tarn_publisher_subscribers(inheritance->publisher));
    CHECK_INT(tarn_publisher_identity(inheritance->publisher), ==, 0);
    CHECK_FORKED(tarn_loan_send(&loan));
    CHECK_FORKED(tarn_loan_drop(&loan));
    CHECK_FORKED(tarn_subscriber_take(inheritance->subscriber, &message));
    CHECK_FORKED(tarn_subscriber_receive(inheritance->subscriber, &message, TARN_FOREVER));
    CHECK_FORKED(tarn_subscriber_wait(inheritance->subscriber, TARN_FOREVER));
    CHECK_FORKED(tarn_subscriber_interrupt(inheritance->subscriber));
    CHECK_FORKED(tarn_subscriber_fd(inheritance->subscriber));
    CHECK_FORKED(tarn_subscriber_publishers(inheritance->subscriber));
    CHECK_INT(tarn_subscriber_lost(inheritance->subscriber), ==, 0);
    CHECK_FORKED(tarn_message_release(&message));
}

static void close_inherited(struct inheritance *inheritance) {
    CHECK_FORKED(tarn_publisher_close(inheritance->publisher));
    CHECK_FORKED(tarn_subscriber_close(inheritance->subscriber));
}

/* Handles of the child's own, on the topic where the parent is. */
static void open_own(struct inheritance *inheritance) {
    tarn_subscriber *subscriber = SUBSCRIBER(TOPIC, .reliable = 1);
    tarn_publisher *publisher = publisher_of(TOPIC, NULL);
    CHECK_STATUS(tarn_publisher_subscribers(publisher), 2);
    CHECK_STATUS(tarn_subscriber_publishers(subscriber), 2);
    publish_word(publisher, 99);
    receive_word(subscriber, 99);
    try_inheritance(inheritance); /* still */
    tarn_message message;
    CHECK_STATUS(tarn_subscriber_take(subscriber, &message), 0);
    CHECK_INT(tarn_publisher_close(publisher), >=, 0);
    CHECK_STATUS(tarn_subscriber_close(subscriber), 0);
}

static void inherit(enum way way) {
    struct inheritance inheritance;
    open_inheritance(&inheritance);
    pid_t child = way == BY_FORK ? fork() : raw_clone();
    if (child == 0) {
        CHECK(!is_mapped(inheritance.message.data) && !is_mapped(inheritance.loan.data));
        try_inheritance(&inheritance);
        open_own(&inheritance);
        close_inherited(&inheritance);
        _exit(0);
    }
    receive_word(inheritance.subscriber, 99);
    CHECK_INT(wait_child(child, LIMIT_S), ==, 0);
    use_inheritance(&inheritance, 10);
    close_inheritance(&inheritance);
}

TEST(inherited_by_fork) {
    inherit(BY_FORK);
}

TEST(inherited_by_raw_clone) {
    inherit(BY_RAW_CLONE);
}

/* A child that closes everything, opened or not, before it does anything else. */
TEST(inherited_and_closed_at_once) {
    for (enum way way = BY_FORK; way <= BY_RAW_CLONE; way++) {
        struct inheritance inheritance;
        open_inheritance(&inheritance);
        pid_t child = way == BY_FORK ? fork() : raw_clone();
        if (child == 0) {
            close_inherited(&inheritance);
            _exit(0);
        }
        CHECK_INT(wait_child(child, LIMIT_S), ==, 0);
        use_inheritance(&inheritance, 10);
        close_inheritance(&inheritance);
    }
}

/* Children of children, each with handles of its own. */
TEST(generations) {
    tarn_publisher *publisher = publisher_of(TOPIC, NULL);
    pid_t child = 1;
    int generation = 0;
    for (; generation < 4 && (child = fork()) == 0; generation++) {
        CHECK_FORKED(tarn_publisher_publish(publisher, "a", 1));
        publisher = publisher_of(TOPIC, NULL);
    }
    tarn_subscriber *subscriber = subscriber_of(TOPIC, NULL);
    CHECK_STATUS(tarn_publisher_publish(publisher, &(uint64_t){(uint64_t)generation}, 8), 1);
    CHECK_INT(tarn_publisher_close(publisher), >=, 0);
    CHECK_STATUS(tarn_subscriber_close(subscriber), 0);
    if (child != 0)
        CHECK_INT(wait_child(child, LIMIT_S), ==, 0);
    if (generation > 0)
        _exit(0);
}

/* ---- fork while another thread joins and leaves --------------------------------------------------------------- */

static _Atomic bool churn_over;

static void *churn(void *arg) {
    while (!churn_over) {
        tarn_subscriber *subscriber = subscriber_of(TOPIC, NULL);
        CHECK_STATUS(tarn_subscriber_close(subscriber), 0);
    }
    return arg;
}

TEST(fork_beside_a_busy_thread) {
    pthread_t thread;
    tarn_publisher *publisher = publisher_of(TOPIC, NULL);
    CHECK(pthread_create(&thread, NULL, churn, NULL) == 0);
    for (int i = 0; i < 100; i++) {
        pid_t child = fork();
        if (child == 0) {
            CHECK_FORKED(tarn_publisher_publish(publisher, "a", 1));
            CHECK_INT(tarn_publisher_close(publisher_of(TOPIC, NULL)), ==, 0);
            _exit(0);
        }
        CHECK_INT(wait_child(child, LIMIT_S), ==, 0);
    }
    churn_over = true;
    CHECK(pthread_join(thread, NULL) == 0);
    CHECK_STATUS(tarn_publisher_close(publisher), 0);
}

struct family {
    _Atomic pid_t stray; /* lives on */
    _Atomic bool is_stray;
    _Atomic bool ready;
    enum way way;
};

static struct family *family;

/* ---- descriptors under way to other processes ----------------------------------------------------------------- */

/*
 * What a process would send only if it took the library's descriptors from /proc: each keeps the locks of its sender.
 */
static int collect_descriptors(int *ret, int most) {
    int count = 0;
    char path[512], link[64], target[512];
    struct stat file, state;
    topic_path(path, TOPIC);
    CHECK(stat(path, &file) == 0);
    for (int fd = 3; fd < 64; fd++) {
        snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        ssize_t length = readlink(link, target, sizeof target - 1);
        if (length < 0 || fstat(fd, &state) != 0)
            continue;
        target[length] = 0;
        bool is_file = state.st_dev == file.st_dev && state.st_ino == file.st_ino;
        if (is_file || strstr(target, "/@") || strstr(target, "eventpoll")) {
            CHECK_INT(count, <, most);
            ret[count++] = fd;
        }
    }
    return count;
}

enum { DESCRIPTORS_MOST = 8 };

union control {
    struct cmsghdr header;
    char bytes[CMSG_SPACE(DESCRIPTORS_MOST * sizeof(int))];
};

static struct msghdr message_of(union control *control, struct iovec *byte) {
    return (struct msghdr){
        .msg_iov = byte, .msg_iovlen = 1, .msg_control = control->bytes, .msg_controllen = sizeof control->bytes};
}

static void send_descriptors(int socket) {
    int found[DESCRIPTORS_MOST], count = collect_descriptors(found, DESCRIPTORS_MOST);
    union control control = {0};
    struct msghdr message = message_of(&control, &(struct iovec){(char[1]){0}, 1});
    CHECK_INT(count, ==, 3); /* the topic's file, the doorbell, and what waits for it */
    message.msg_controllen = CMSG_SPACE((size_t)count * sizeof(int));
    control.header = (struct cmsghdr){
        .cmsg_len = CMSG_LEN((size_t)count * sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
    memcpy(CMSG_DATA(&control.header), found, (size_t)count * sizeof(int));
    CHECK_INT(sendmsg(socket, &message, 0), ==, 1);
}

static void receive_descriptors(int socket) {
    union control control = {0};
    struct msghdr message = message_of(&control, &(struct iovec){(char[1]){0}, 1});
    CHECK_INT(recvmsg(socket, &message, MSG_CMSG_CLOEXEC), ==, 1);
    CHECK_INT(control.header.cmsg_len, ==, CMSG_LEN(3 * sizeof(int)));
}

static int sockets[2];

/* A process that knows nothing of tarn has them, or is about to get them, as long as it lives. */
static void hold_descriptors(void *arg) {
    const bool *received = arg;
    close(sockets[0]);
    if (*received)
        receive_descriptors(sockets[1]);
    family->ready = true;
    sleep_until_killed();
}

static void give_away(void *arg) {
    (void)arg;
    tarn_subscriber *subscriber = SUBSCRIBER(TOPIC, .reliable = 1);
    CHECK_INT(tarn_subscriber_fd(subscriber), >=, 0);
    publish_word(publisher_of(TOPIC, NULL), 5);
    send_descriptors(sockets[0]);
    sleep_until_killed();
}

static pid_t start_exchange(int is_received) {
    bool received = is_received;
    family = shared_page(sizeof *family);
    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) == 0);
    pid_t parent = spawn(give_away, NULL);
    family->stray = spawn(hold_descriptors, &received);
    if (!received) { /* then it is ready at once, and the message is under way when its sender is */
        struct pollfd poll_fd = {sockets[1], POLLIN, 0};
        CHECK_INT(poll(&poll_fd, 1, 15000), ==, 1);
    }
    AWAIT(family->ready);
    close(sockets[0]);
    close(sockets[1]);
    return parent;
}

/* ---- a parent dies, its child lives --------------------------------------------------------------------------- */

static void start_stray(enum way way) {
    static const char *const sleeper[] = {"/bin/sleep", "1000", NULL};
    pid_t pid;
    if (way == BY_VFORK_AND_EXEC) {
        pid = vfork();
        if (pid == 0) {
            execv(sleeper[0], (char *const *)sleeper);
            _exit(127);
        }
    } else {
        pid = way == BY_FORK ? fork() : raw_clone();
        if (pid == 0) {
            family->is_stray = true; /* fork has ended here, too: what it closes is closed */
            sleep_until_killed();
        }
        AWAIT(family->is_stray);
    }
    CHECK_INT(pid, >, 0);
    family->stray = pid;
}

static void be_parent(void *arg) {
    (void)arg;
    SUBSCRIBER(TOPIC, .reliable = 1);
    tarn_publisher *publisher = publisher_of(TOPIC, NULL);
    publish_word(publisher, 5);
    start_stray(family->way);
    family->ready = true;
    sleep_until_killed();
}

static pid_t start_family(int way) {
    family = shared_page(sizeof *family);
    family->way = (enum way)way;
    pid_t parent = spawn(be_parent, NULL);
    AWAIT(family->ready);
    return parent;
}

/* Others in the topic count right, are not held back by the dead reliable subscriber, and others can join. */
static void see_death(pid_t (*start)(int), int way) {
    tarn_subscriber *subscriber = subscriber_of(TOPIC, NULL);
    tarn_publisher *publisher = PUBLISHER(TOPIC, .memory_limit_bytes = 1 << 20, .full_timeout_ns = TARN_FOREVER);
    pid_t parent = start(way);
    receive_word(subscriber, 5);
    CHECK_STATUS(tarn_subscriber_publishers(subscriber), 2);
    CHECK_STATUS(tarn_publisher_subscribers(publisher), 2);
    kill_child(parent);
    AWAIT(tarn_subscriber_publishers(subscriber) == 1);
    AWAIT(tarn_publisher_subscribers(publisher) == 1);
    for (uint64_t number = 1; number <= 20000; number++)
        CHECK_STATUS(publish_number(publisher, number), 1); /* more than the dead one could hold */
    tarn_subscriber *newcomer = subscriber_of(TOPIC, NULL);
    publish_word(publisher, 6);
    receive_word(newcomer, 6);
    CHECK_STATUS(tarn_subscriber_close(newcomer), 0);
    CHECK_INT(tarn_publisher_close(publisher), >=, 0);
    CHECK_STATUS(tarn_subscriber_close(subscriber), 0);
}

/* It is the runner's child by now, which waits for it. */
static void end_stray(void) {
    CHECK(kill(family->stray, SIGKILL) == 0);
}

static void see_death_of_parent(enum way way) {
    see_death(start_family, (int)way);
    if (way == BY_RAW_CLONE)
        allow_files(); /* its locks keep the file from being deleted */
    end_stray();
}

TEST(death_is_seen_though_a_forked_child_lives) {
    see_death_of_parent(BY_FORK);
}

TEST(death_is_seen_though_a_cloned_child_lives) {
    see_death_of_parent(BY_RAW_CLONE);
}

TEST(death_is_seen_though_an_executed_child_lives) {
    see_death_of_parent(BY_VFORK_AND_EXEC);
}

/* Nobody else was there: who comes next starts anew. */
static void come_after_death(enum way way) {
    kill_child(start_family((int)way));
    tarn_subscriber *subscriber = subscriber_of(TOPIC, NULL);
    tarn_publisher *publisher = publisher_of(TOPIC, NULL);
    publish_word(publisher, 6);
    receive_word(subscriber, 6);
    CHECK_STATUS(tarn_publisher_close(publisher), 0);
    CHECK_STATUS(tarn_subscriber_close(subscriber), 0);
    if (way == BY_RAW_CLONE)
        allow_files();
    end_stray();
}

TEST(topic_is_usable_though_a_forked_child_lives) {
    come_after_death(BY_FORK);
}

TEST(topic_is_usable_though_a_cloned_child_lives) {
    come_after_death(BY_RAW_CLONE);
}

TEST(topic_is_usable_though_an_executed_child_lives) {
    come_after_death(BY_VFORK_AND_EXEC);
}

static void set_segment_limit(const char *value) {
    FILE *file = fopen("/proc/sys/kernel/shmmni", "we");
    if (!file || fputs(value, file) < 0 || fclose(file) != 0)
        SKIP("cannot write shmmni: %s", strerror(errno));
}

/* Whoever comes first fails for another reason, which does not last. */
TEST(topic_is_usable_though_a_cloned_child_lives_and_making_it_failed) {
    tarn_subscriber *subscriber;
    if (unshare(CLONE_NEWIPC) != 0)
        SKIP("no System V namespace of its own: %s", strerror(errno));
    kill_child(start_family(BY_RAW_CLONE));
    set_segment_limit("0");
    CHECK_STATUS(tarn_subscriber_open(&subscriber, TOPIC, NULL), TARN_ERROR_LIMIT);
    set_segment_limit("4096");
    CHECK_STATUS(tarn_subscriber_open(&subscriber, TOPIC, NULL), 0);
    CHECK_STATUS(tarn_subscriber_close(subscriber), 0);
    allow_files();
    end_stray();
}

static void be_many(void *arg) {
    (void)arg;
    for (int i = 0; i < 40; i++)
        subscriber_of(TOPIC, NULL);
    start_stray(BY_RAW_CLONE);
    family->ready = true;
    sleep_until_killed();
}

/* Its locks keep their places from being taken, which those who come and go meanwhile do not pay for with new ones. */
TEST(places_that_a_stray_child_keeps_cost_no_others) {
    enum { MORE_THAN_THERE_ARE = 9000 };
    family = shared_page(sizeof *family);
    tarn_publisher *publisher = publisher_of(TOPIC, NULL);
    pid_t parent = spawn(be_many, NULL);
    AWAIT(family->ready);
    tarn_monitor *monitor; /* repairs all who died */
    tarn_match match;
    CHECK_STATUS(tarn_monitor_open(&monitor, TOPIC, NULL), 0);
    kill_child(parent);
    for (int dead = 0; dead < 40;) {
        CHECK_STATUS(tarn_monitor_receive(monitor, &match, GENEROUS), 1);
        dead += match.kind == TARN_MATCH_DIED;
    }
    CHECK_STATUS(tarn_monitor_close(monitor), 0);
    for (int i = 0; i < MORE_THAN_THERE_ARE; i++)
        CHECK_STATUS(tarn_subscriber_close(subscriber_of(TOPIC, NULL)), 0);
    CHECK_INT(tarn_publisher_close(publisher), >=, 0);
    allow_files();
    end_stray();
}

/* ---- a process dies, its descriptors live --------------------------------------------------------------------- */

/* When the last copy is gone, so is all that the dead one left. */
static void end_holder(void) {
    kill_child(family->stray);
    CHECK_STATUS(tarn_subscriber_close(subscriber_of(TOPIC, NULL)), 0);
}

TEST(death_is_seen_though_descriptors_are_under_way) {
    see_death(start_exchange, false);
    end_holder();
}

TEST(death_is_seen_though_a_stranger_has_descriptors) {
    see_death(start_exchange, true);
    end_holder();
}

static void come_after_sender(bool received) {
    kill_child(start_exchange(received));
    tarn_subscriber *subscriber = subscriber_of(TOPIC, NULL);
    tarn_publisher *publisher = publisher_of(TOPIC, NULL);
    publish_word(publisher, 6);
    receive_word(subscriber, 6);
    CHECK_STATUS(tarn_publisher_close(publisher), 0);
    CHECK_STATUS(tarn_subscriber_close(subscriber), 0);
    end_holder();
}

TEST(topic_is_usable_though_descriptors_are_under_way) {
    come_after_sender(false);
}

TEST(topic_is_usable_though_a_stranger_has_descriptors) {
    come_after_sender(true);
}
