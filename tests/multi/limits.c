/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * What happens when the system has no more: descriptors, sizes of files, address space, segments, memory, also a control
 * group's, room or inodes in the topic directory, locks, permission to write there, lockable memory. Always a clear code
 * and sentence; nothing leaked, nothing lost for others, and all is well again when there is more.
 */
#include <sys/ipc.h>
#include <sys/mount.h>
#include <sys/shm.h>

#include "cgroup.h"
#include "common.h"

#define TOPIC "limits/of.it"

/* Opens both kinds, and sees a message through. */
static void talk_on(const char *topic) {
    tarn_subscriber *subscriber = subscriber_of(topic, NULL);
    tarn_publisher *publisher = publisher_of(topic, NULL);
    publish_word(publisher, 42);
    receive_word(subscriber, 42);
    CHECK_STATUS(tarn_publisher_close(publisher), 0);
    CHECK_STATUS(tarn_subscriber_close(subscriber), 0);
}

/* An open that must fail leaves out parameter, descriptors and segments as they were. */
#define CHECK_OPEN_REFUSED(status, words)                                                                              \
    do {                                                                                                               \
        tarn_publisher *publisher_ = (tarn_publisher *)&publisher_;                                                    \
        tarn_subscriber *subscriber_ = (tarn_subscriber *)&subscriber_;                                                \
        int descriptors_ = count_descriptors(), segments_ = count_segments(), attached_ = count_attached();            \
        CHECK_REFUSED(tarn_publisher_open(&publisher_, TOPIC, NULL), status, words);                                   \
        CHECK_REFUSED(tarn_subscriber_open(&subscriber_, TOPIC, NULL), status, words);                                 \
        CHECK(publisher_ == (tarn_publisher *)&publisher_ && subscriber_ == (tarn_subscriber *)&subscriber_);          \
        CHECK_INT(count_descriptors(), ==, descriptors_);                                                              \
        CHECK_INT(count_segments(), ==, segments_);                                                                    \
        CHECK_INT(count_attached(), ==, attached_);                                                                    \
    } while (0)

/* ---- descriptors ---------------------------------------------------------------------------------------------- */

static void topic_of_number(char ret[static 16], int number) {
    snprintf(ret, 16, "number/%d", number);
}

/* As many topics as fit; returns how many. */
static int open_many(tarn_publisher **publishers, int most) {
    char topic[16];
    for (int count = 0; count < most; count++) {
        topic_of_number(topic, count);
        int status = tarn_publisher_open(&publishers[count], topic, NULL);
        if (status != 0) {
            CHECK_STATUS(status, TARN_ERROR_LIMIT);
            CHECK(strstr(tarn_error(), "Too many open files"));
            return count;
        }
    }
    return most;
}

TEST(many_topics_in_256_descriptors) {
    enum { MOST = 300 };
    tarn_publisher *publishers[MOST];
    char topic[16];
    int descriptors = count_descriptors();
    limit(RLIMIT_NOFILE, 256);
    int opened = open_many(publishers, MOST);
    CHECK_INT(opened, >=, 100);
    CHECK_INT(opened, <, MOST);
    CHECK_STATUS(tarn_publisher_close(publishers[--opened]), 0);
    tarn_subscriber *subscriber = subscriber_of("number/7", NULL); /* in a topic that the process is in */
    publish_word(publishers[7], 1);
    receive_word(subscriber, 1);
    for (int i = 0; i < 3000; i++) /* growing needs no descriptor */
        CHECK_STATUS(publish_number(publishers[8], (uint64_t)i + 1), 1);
    topic_of_number(topic, opened);
    publishers[opened++] = publisher_of(topic, NULL);
    CHECK_STATUS(tarn_subscriber_close(subscriber), 0);
    for (int i = 0; i < opened; i++)
        CHECK_STATUS(tarn_publisher_close(publishers[i]), 0);
    CHECK_INT(count_descriptors(), ==, descriptors);
}

/* However many are left: an open works, or fails and leaves nothing. */
TEST(descriptors_run_out_at_every_point) {
    tarn_publisher *other = publisher_of("in.use", NULL); /* sweeping and joining take other ways than creating */
    bool worked = false;
    talk_on(TOPIC);
    for (int left = 0; left < 12; left++) {
        for (int i = 0; i < 2; i++) {
            const char *topic = i ? "in.use" : TOPIC;
            int descriptors = count_descriptors(), segments = count_segments();
            tarn_subscriber *subscriber = NULL;
            limit(RLIMIT_NOFILE, (rlim_t)(descriptors + left));
            int status = tarn_subscriber_open(&subscriber, topic, NULL);
            if (status == 0) {
                int fd = tarn_subscriber_fd(subscriber);
                CHECK(fd >= 0 || fd == TARN_ERROR_LIMIT);
                CHECK_STATUS(tarn_subscriber_close(subscriber), 0);
                worked = fd >= 0;
            } else
                CHECK_STATUS(status, TARN_ERROR_LIMIT);
            limit(RLIMIT_NOFILE, 1024);
            CHECK_INT(count_descriptors(), ==, descriptors);
            CHECK_INT(count_segments(), ==, segments);
        }
    }
    CHECK(worked);
    CHECK_STATUS(tarn_publisher_close(other), 0);
}

/* ---- the size of files ---------------------------------------------------------------------------------------- */

static void die_in_topic(void *arg) {
    (void)arg;
    publisher_of(TOPIC, NULL);
    raise(SIGKILL);
}

/*
 * The kernel kills who writes beyond it. So nobody tries: not to make a topic, nor to take over one, nor to leave one.
 */
TEST(files_of_no_size) {
    tarn_publisher *publisher = publisher_of("in.use", NULL), *joined;
    for (int i = 0; i < 4; i++) {
        rlim_t bytes = i % 2 ? 100 : 0;
        if (i == 2) /* from now on there is a file, of a dead one */
            CHECK_INT(wait_child(spawn(die_in_topic, NULL), LIMIT_S), ==, -SIGKILL);
        int descriptors = count_descriptors(), segments = count_segments();
        limit(RLIMIT_FSIZE, bytes);
        CHECK_OPEN_REFUSED(TARN_ERROR_LIMIT, "RLIMIT_FSIZE");
        joined = publisher_of("in.use", NULL);
        CHECK_STATUS(tarn_publisher_close(joined), 0);
        limit(RLIMIT_FSIZE, RLIM_INFINITY);
        CHECK_INT(count_descriptors(), ==, descriptors);
        CHECK_INT(count_segments(), ==, segments);
    }
    limit(RLIMIT_FSIZE, 0);
    CHECK_STATUS(tarn_publisher_close(publisher), 0);
    limit(RLIMIT_FSIZE, RLIM_INFINITY);
    talk_on("in.use");
    talk_on(TOPIC);
}

/* ---- address space -------------------------------------------------------------------------------------------- */

TEST(publisher_without_address_space) {
    enum { BIG = 4 << 20 };
    NEED_PLAIN_MEMORY();
    static char bytes[BIG];
    tarn_subscriber *subscriber = SUBSCRIBER(TOPIC, .reliable = 1);
    tarn_publisher *publisher = publisher_of(TOPIC, NULL);
    tarn_message message;
    uint64_t sent = 0;
    limit(RLIMIT_AS, address_space_used() + 2 * BIG);
    for (int i = 0; i < 10; i++) {
        int result = tarn_publisher_publish(publisher, bytes, BIG);
        if (result != 1)
            CHECK_STATUS(result, TARN_ERROR_NO_MEMORY);
        sent += result == 1;
    }
    CHECK_INT(sent, <, 10);
    publish_word(publisher, 1); /* small ones fit still */
    limit(RLIMIT_AS, RLIM_INFINITY);
    CHECK_STATUS(tarn_publisher_publish(publisher, bytes, BIG), 1);
    for (uint64_t sequence = 1; sequence <= sent + 2; sequence++) {
        CHECK_STATUS(tarn_subscriber_receive(subscriber, &message, GENEROUS), 1);
        CHECK_INT(message.sequence, ==, sequence);
        CHECK_INT(message.lost, ==, 0);
        CHECK_STATUS(tarn_message_release(&message), 0);
    }
    CHECK_STATUS(tarn_subscriber_take(subscriber, &message), 0);
    CHECK_STATUS(tarn_publisher_close(publisher), 0);
    CHECK_STATUS(tarn_subscriber_close(subscriber), 0);
}

static struct { _Atomic int stage; } * stages;

/* Attaching fails, is told, and works later; nothing is lost for a reliable one. */
static void receive_without_address_space(void *arg) {
    (void)arg;
    tarn_subscriber *subscriber = SUBSCRIBER(TOPIC, .reliable = 1);
    tarn_message message;
    int result;
    stages->stage = 1;
    receive_word(subscriber, 1);
    limit(RLIMIT_AS, address_space_used() + (1 << 20));
    stages->stage = 2;
    AWAIT(stages->stage == 3);
    result = tarn_subscriber_take(subscriber, &message);
    CHECK_STATUS(result, TARN_ERROR_NO_MEMORY);
    CHECK(strstr(tarn_error(), TOPIC));
    limit(RLIMIT_AS, RLIM_INFINITY);
    AWAIT((result = tarn_subscriber_receive(subscriber, &message, GENEROUS)) != TARN_ERROR_NO_MEMORY);
    CHECK_STATUS(result, 1);
    CHECK_INT(message.bytes, ==, 32 << 20);
    CHECK_INT(message.sequence, ==, 2);
    CHECK_INT(message.lost, ==, 0);
    CHECK_STATUS(tarn_message_release(&message), 0);
    CHECK_STATUS(tarn_subscriber_take(subscriber, &message), 0);
    CHECK_STATUS(tarn_subscriber_close(subscriber), 0);
}

TEST(subscriber_without_address_space) {
    NEED_PLAIN_MEMORY();
    stages = shared_page(sizeof *stages);
    pid_t child = spawn(receive_without_address_space, NULL);
    tarn_publisher *publisher = PUBLISHER(TOPIC, .linger_ns = GENEROUS);
    tarn_loan loan;
    AWAIT(stages->stage == 1);
    publish_word(publisher, 1);
    AWAIT(stages->stage == 2);
    CHECK_STATUS(tarn_publisher_loan(publisher, 32 << 20, &loan), 1);
    CHECK_STATUS(tarn_loan_send(&loan), 1);
    stages->stage = 3;
    CHECK_STATUS(tarn_publisher_close(publisher), 0);
    CHECK_INT(wait_child(child, LIMIT_S), ==, 0);
}

TEST(open_without_address_space) {
    NEED_PLAIN_MEMORY();
    talk_on(TOPIC);
    bool worked = false;
    for (rlim_t left = 0; !worked && left < 64 << 20; left += 64 << 10) {
        int descriptors = count_descriptors(), segments = count_segments();
        tarn_publisher *publisher = NULL;
        rlim_t used = address_space_used();
        limit(RLIMIT_AS, used + left);
        int status = tarn_publisher_open(&publisher, TOPIC, NULL);
        limit(RLIMIT_AS, RLIM_INFINITY);
        if (status == 0)
            CHECK_STATUS(tarn_publisher_close(publisher), 0);
        else
            CHECK_STATUS(status, TARN_ERROR_NO_MEMORY);
        CHECK_INT(count_descriptors(), ==, descriptors);
        CHECK_INT(count_segments(), ==, segments);
        worked = status == 0;
    }
    CHECK(worked);
}

/* ---- segments ------------------------------------------------------------------------------------------------- */

static void set_segment_limit(const char *name, long value) {
    char path[64];
    snprintf(path, sizeof path, "/proc/sys/kernel/%s", name);
    FILE *file = fopen(path, "we");
    if (!file || fprintf(file, "%ld", value) < 0 || fclose(file) != 0)
        SKIP("cannot write %s: %s", path, strerror(errno));
}

static void own_segment_limits(void) {
    if (unshare(CLONE_NEWIPC) != 0)
        SKIP("no System V namespace of its own: %s", strerror(errno));
}

TEST(segments_run_out) {
    enum { MOST = 20 };
    tarn_publisher *publishers[MOST];
    char topic[16];
    int opened = 0, status = 0;
    own_segment_limits();
    set_segment_limit("shmmni", 12);
    for (; opened < MOST && status == 0; opened++) {
        topic_of_number(topic, opened);
        status = tarn_publisher_open(&publishers[opened], topic, NULL);
    }
    opened--;
    CHECK_INT(opened, ==, 6); /* a roster and a first segment each */
    CHECK_STATUS(status, TARN_ERROR_LIMIT);
    CHECK(strstr(tarn_error(), "kernel.shmmni"));
    CHECK_OPEN_REFUSED(TARN_ERROR_LIMIT, "kernel.shmmni");
    char *big = calloc(1, 8 << 20);
    CHECK_REFUSED(tarn_publisher_publish(publishers[0], big, 8 << 20), TARN_ERROR_LIMIT, "kernel.shmmni");
    publish_word(publishers[0], 1);
    CHECK_STATUS(tarn_publisher_close(publishers[--opened]), 0);
    CHECK_STATUS(tarn_publisher_publish(publishers[0], big, 8 << 20), 1);
    free(big);
    while (opened > 0)
        CHECK_STATUS(tarn_publisher_close(publishers[--opened]), 0);
    CHECK_INT(count_segments(), ==, 0);
    talk_on(TOPIC);
}

TEST(one_segment_is_missing) {
    own_segment_limits();
    set_segment_limit("shmmni", 1); /* a roster, and nothing for the publisher */
    tarn_publisher *publisher = NULL;
    CHECK_REFUSED(tarn_publisher_open(&publisher, TOPIC, NULL), TARN_ERROR_LIMIT, "kernel.shmmni");
    CHECK(!publisher);
    CHECK_INT(count_segments(), ==, 0);
    set_segment_limit("shmmni", 4096);
    talk_on(TOPIC);
}

/*
 * A subscriber's first 16 holds need no memory of their own; more publishers have sent here. While there is no segment
 * for the others' holds it says so, and takes what it can; then it gets all.
 */
TEST(segments_run_out_for_holds) {
    enum { PUBLISHERS = 40 };
    tarn_publisher *publishers[PUBLISHERS];
    tarn_message message;
    int taken = 0, refused = 0;
    own_segment_limits();
    tarn_subscriber *subscriber = SUBSCRIBER(TOPIC, .reliable = 1);
    for (int i = 0; i < PUBLISHERS; i++)
        publishers[i] = publisher_of(TOPIC, NULL);
    set_segment_limit("shmmni", count_segments());
    for (int i = 0; i < PUBLISHERS; i++)
        publish_word(publishers[i], 1);
    for (int i = 0; i < 3 * PUBLISHERS; i++) {
        int result = tarn_subscriber_take(subscriber, &message);
        if (result == 1) {
            taken++;
            CHECK_STATUS(tarn_message_release(&message), 0);
            continue;
        }
        CHECK(result == TARN_ERROR_LIMIT || result == 0); /* 0: it was told just now */
        if (result == TARN_ERROR_LIMIT)
            CHECK(strstr(tarn_error(), ": no shared memory segment is left (kernel.shmmni"));
        refused += result < 0;
    }
    int told = 0;
    /* who waits sleeps, though it is tried again and again */
    for (int64_t end = now_ns() + SECOND / 2; now_ns() < end;)
        told += tarn_subscriber_wait(subscriber, GENEROUS) < 0;
    CHECK_INT(told, >, 0);
    CHECK_INT(told, <=, 20);
    CHECK_INT(taken, >=, 16);
    CHECK_INT(taken, <, PUBLISHERS);
    CHECK_INT(refused, >, 0);
    set_segment_limit("shmmni", 4096);
    for (int64_t end = now_ns() + GENEROUS; taken < PUBLISHERS;) {
        CHECK_INT(now_ns(), <, end);
        if (tarn_subscriber_receive(subscriber, &message, GENEROUS) != 1)
            continue; /* what was in vain before is told once */
        taken++;
        CHECK_INT(message.sequence, ==, 1);
        CHECK_INT(message.lost, ==, 0);
        CHECK_STATUS(tarn_message_release(&message), 0);
    }
    CHECK_STATUS(tarn_subscriber_take(subscriber, &message), 0);
    for (int i = 0; i < PUBLISHERS; i++)
        CHECK_STATUS(tarn_publisher_close(publishers[i]), 0);
    CHECK_STATUS(tarn_subscriber_close(subscriber), 0);
}

/* The roster grows with participants. Who finds no segment for that is told so, and joins when there is one. */
TEST(segments_run_out_for_the_roster) {
    enum { MOST = 2000 };
    static tarn_subscriber *subscribers[MOST];
    int opened = 0, status = 0;
    own_segment_limits();
    subscribers[opened++] = SUBSCRIBER(TOPIC, );
    set_segment_limit("shmmni", count_segments());
    while (opened < MOST && (status = tarn_subscriber_open(&subscribers[opened], TOPIC, NULL)) == 0)
        opened++;
    CHECK_STATUS(status, TARN_ERROR_LIMIT);
    CHECK(strstr(tarn_error(), "kernel.shmmni"));
    set_segment_limit("shmmni", 4096);
    CHECK_STATUS(tarn_subscriber_open(&subscribers[opened], TOPIC, NULL), 0);
    for (; opened >= 0; opened--)
        tarn_subscriber_close(subscribers[opened]);
}

static void be_a_subscriber(void *arg) {
    const struct gate *there = arg;
    subscriber_of(TOPIC, NULL);
    gate_signal(*there);
    sleep_until_killed();
}

/* The place of one who died does where there is no memory for another, though it has to be looked for among many. */
TEST(places_of_the_dead_need_no_segment) {
    enum { MOST = 2000 };
    static tarn_subscriber *subscribers[MOST];
    struct gate there = gate_open();
    int opened = 0;
    own_segment_limits();
    tarn_publisher *publisher = publisher_of(TOPIC, NULL);
    pid_t child = spawn(be_a_subscriber, &there);
    gate_wait(there, LIMIT_S);
    set_segment_limit("shmmni", count_segments());
    while (opened < MOST && tarn_subscriber_open(&subscribers[opened], TOPIC, NULL) == 0)
        opened++;
    CHECK_INT(opened, >, 40);
    kill_child(child);
    CHECK_STATUS(tarn_subscriber_open(&subscribers[opened], TOPIC, NULL), 0);
    for (; opened >= 0; opened--)
        tarn_subscriber_close(subscribers[opened]);
    CHECK_STATUS(tarn_publisher_close(publisher), 0);
    gate_close(there);
}

/* A subscriber has words in the roster for each publisher: while there is no segment for some it follows the others. */
TEST(segments_run_out_for_who_joins_many) {
    enum { PUBLISHERS = 60 };
    tarn_publisher *publishers[PUBLISHERS];
    tarn_message message;
    own_segment_limits();
    for (int i = 0; i < PUBLISHERS; i++) {
        publishers[i] = publisher_of(TOPIC, NULL);
        publish_word(publishers[i], 1);
    }
    set_segment_limit("shmmni", count_segments());
    tarn_subscriber *subscriber = SUBSCRIBER(TOPIC, .history = 1);
    int told = 0, taken = 0;
    for (int i = 0; i < 2 * PUBLISHERS; i++) {
        int result = tarn_subscriber_take(subscriber, &message);
        CHECK(result >= 0 || result == TARN_ERROR_LIMIT);
        if (result == TARN_ERROR_LIMIT) {
            CHECK(strstr(tarn_error(), "kernel.shmmni"));
            told++;
        } else if (result == 1) {
            CHECK_STATUS(tarn_message_release(&message), 0);
            taken++;
        }
    }
    CHECK_INT(told, >, 0);
    CHECK_INT(taken, <, PUBLISHERS);
    set_segment_limit("shmmni", 4096);
    for (int64_t end = now_ns() + GENEROUS; taken < PUBLISHERS; nap_ns(MS)) {
        CHECK_INT(now_ns(), <, end);
        for (; tarn_subscriber_take(subscriber, &message) == 1;
             taken++) /* without a wait, which would try again, too */
            CHECK_STATUS(tarn_message_release(&message), 0);
    }
    for (int i = 0; i < PUBLISHERS; i++)
        CHECK_STATUS(tarn_publisher_close(publishers[i]), 0);
    CHECK_STATUS(tarn_subscriber_close(subscriber), 0);
}

TEST(segment_memory_runs_out) {
    own_segment_limits();
    set_segment_limit("shmall", 1024); /* pages */
    tarn_publisher *publisher = publisher_of(TOPIC, NULL);
    char *big = calloc(1, 8 << 20);
    CHECK_REFUSED(tarn_publisher_publish(publisher, big, 8 << 20), TARN_ERROR_LIMIT, "kernel.shmall");
    publish_word(publisher, 1);
    set_segment_limit("shmall", 1 << 20);
    CHECK_STATUS(tarn_publisher_publish(publisher, big, 8 << 20), 1);
    free(big);
    CHECK_STATUS(tarn_publisher_close(publisher), 0);
}

/* ---- memory that may not be promised -------------------------------------------------------------------------- */

/* All that the segments of this namespace may come to, touched or not: what strict overcommit counts. */
static uint64_t committed_bytes(void) {
    uint64_t sum = 0;
    struct listed_segment segment;
    for (FILE *list = list_segments(); next_segment(list, &segment);)
        sum += segment.bytes;
    return sum;
}

/* The limit is a quarter of the machine's memory; but only what is in use is asked for. */
TEST(memory_is_asked_for_as_it_is_needed) {
    need_root();
    tarn_publisher *publisher = publisher_of(TOPIC, NULL);
    tarn_subscriber *subscriber = subscriber_of(TOPIC, NULL);
    CHECK_INT(committed_bytes(), <=, 1 << 20);
    char *big = calloc(1, 8 << 20);
    CHECK_STATUS(tarn_publisher_publish(publisher, big, 8 << 20), 1);
    CHECK_INT(committed_bytes(), <=, 32 << 20);
    free(big);
    CHECK_STATUS(tarn_subscriber_close(subscriber), 0);
    CHECK_INT(tarn_publisher_close(publisher), >=, 0);
}

/* What the kernel answers under strict overcommit (vm.overcommit_memory = 2), which is the whole machine's to set. */
static void open_without_memory(void *arg) {
    (void)arg;
    forbid_call(SYS_shmget, ANY, ENOMEM);
    CHECK_OPEN_REFUSED(TARN_ERROR_NO_MEMORY, TOPIC);
}

/* A subscriber of a topic that is there needs none. */
static void open_without_memory_beside_others(void *arg) {
    tarn_publisher *publisher;
    (void)arg;
    int descriptors = count_descriptors();
    forbid_call(SYS_shmget, ANY, ENOMEM);
    CHECK_REFUSED(tarn_publisher_open(&publisher, TOPIC, NULL), TARN_ERROR_NO_MEMORY, TOPIC);
    CHECK_INT(count_descriptors(), ==, descriptors);
    CHECK_STATUS(tarn_subscriber_close(subscriber_of(TOPIC, NULL)), 0);
}

static void grow_without_memory(void *arg) {
    (void)arg;
    tarn_subscriber *subscriber = SUBSCRIBER(TOPIC, .reliable = 1);
    tarn_publisher *publisher = publisher_of(TOPIC, NULL);
    char *big = calloc(1, 8 << 20);
    publish_word(publisher, 1);
    forbid_call(SYS_shmget, ANY, ENOMEM);
    CHECK_REFUSED(tarn_publisher_publish(publisher, big, 8 << 20), TARN_ERROR_NO_MEMORY, TOPIC);
    for (uint64_t word = 2; word <= 1000; word++)
        publish_word(publisher, word);
    for (uint64_t word = 1; word <= 1000; word++)
        receive_word(subscriber, word);
    free(big);
    tarn_message message;
    CHECK_STATUS(tarn_subscriber_take(subscriber, &message), 0);
    CHECK_STATUS(tarn_publisher_close(publisher), 0);
    CHECK_STATUS(tarn_subscriber_close(subscriber), 0);
}

TEST(memory_is_refused) {
    probe_seccomp();
    CHECK_INT(wait_child(spawn(open_without_memory, NULL), LIMIT_S), ==, 0);
    CHECK_INT(wait_child(spawn(grow_without_memory, NULL), LIMIT_S), ==, 0);
    tarn_publisher *publisher = publisher_of(TOPIC, NULL);
    CHECK_INT(wait_child(spawn(open_without_memory_beside_others, NULL), LIMIT_S), ==, 0);
    talk_on(TOPIC);
    CHECK_STATUS(tarn_publisher_subscribers(publisher), 0);
    CHECK_STATUS(tarn_publisher_close(publisher), 0);
}

/* ---- a control group's memory --------------------------------------------------------------------------------- */

enum { GROUP_BYTES = 64 << 20 };

static struct cgroup cgroup;

static void make_memory_group(void) {
    need_root();
    NEED_PLAIN_MEMORY();
    cgroup = cgroup_make("memory.max", "memory", "memory.limit_in_bytes");
    if (!cgroup_write(&cgroup, cgroup.is_second ? "memory.max" : "memory.limit_in_bytes", number_text(GROUP_BYTES))) {
        cgroup_remove(&cgroup);
        SKIP("cannot limit a control group's memory");
    }
}

/* Runs a role that may fail, and cleans up. How it ended, as wait_child says it. */
static int end_in_group(void (*role)(void *)) {
    int status;
    pid_t pid = spawn(role, NULL);
    CHECK(waitpid(pid, &status, 0) == pid); /* each of its waits is bounded */
    cgroup_remove(&cgroup);
    return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

static void fill_default_limit(void *arg) {
    static char bytes[100000];
    int result, sent = 0;
    (void)arg;
    cgroup_enter(&cgroup, getpid());
    tarn_subscriber *subscriber = SUBSCRIBER(TOPIC, .reliable = 1);
    tarn_publisher *publisher = PUBLISHER(TOPIC, .when_full = TARN_FULL_FAIL);
    while ((result = tarn_publisher_publish(publisher, bytes, sizeof bytes)) == 1)
        CHECK_INT(++sent, <, 1000);
    CHECK_STATUS(result, TARN_ERROR_FULL);
    CHECK(strstr(tarn_error(), " 16384 KiB"));
    CHECK_INT(sent, >, 100);
    CHECK_STATUS(tarn_subscriber_close(subscriber), 0);
    CHECK_INT(tarn_publisher_close(publisher), >=, 0);
}

/* The default limit is a quarter of the group's: a publisher finds itself full, and is not killed. */
TEST(default_limit_heeds_control_group) {
    make_memory_group();
    CHECK_INT(end_in_group(fill_default_limit), ==, 0);
}

static void fill_group(void *arg) {
    static char bytes[1 << 20];
    (void)arg;
    cgroup_enter(&cgroup, getpid());
    tarn_publisher *publisher = PUBLISHER(TOPIC, .memory_limit_bytes = 4 * (uint64_t)GROUP_BYTES, .depth = 1000);
    for (uint64_t number = 1; number <= 1000; number++) {
        fill_pattern(bytes, sizeof bytes, number);
        CHECK_STATUS(tarn_publisher_publish(publisher, bytes, sizeof bytes), 1);
    }
}

/* Takes what it sends: in order, whole, none lost. */
static void receive_sent(tarn_subscriber *subscriber, uint64_t *count, int64_t timeout_ns) {
    tarn_message message;
    while (tarn_subscriber_receive(subscriber, &message, timeout_ns) == 1) {
        CHECK_INT(message.sequence, ==, ++*count);
        CHECK_INT(message.lost, ==, 0);
        CHECK_INT(message.bytes, ==, 1 << 20);
        CHECK(check_pattern(message.data, message.bytes, *count));
        CHECK_STATUS(tarn_message_release(&message), 0);
    }
}

/* One that was told to use more than its group has is killed by the kernel. Others go on, and nothing is left. */
TEST(killed_for_the_control_groups_memory) {
    int segments = count_segments(), status;
    uint64_t received = 0;
    make_memory_group();
    tarn_subscriber *subscriber = SUBSCRIBER(TOPIC, .reliable = 1);
    tarn_publisher *publisher = publisher_of(TOPIC, NULL);
    pid_t pid = spawn(fill_group, NULL);
    while (waitpid(pid, &status, WNOHANG) == 0)
        receive_sent(subscriber, &received, MS);
    cgroup_remove(&cgroup);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    receive_sent(subscriber, &received, 300 * MS);
    printf("%llu MiB were sent\n", (unsigned long long)received);
    CHECK_INT(received, >=, 16);
    CHECK_INT(received, <=, GROUP_BYTES >> 20);
    AWAIT(tarn_subscriber_publishers(subscriber) == 1);
    publish_word(publisher, 1);
    receive_word(subscriber, 1);
    CHECK_STATUS(tarn_publisher_close(publisher), 0);
    CHECK_STATUS(tarn_subscriber_close(subscriber), 0);
    CHECK_INT(count_segments(), ==, segments);
}

/* ---- the topic directory -------------------------------------------------------------------------------------- */

/* TARN_DIR becomes a file system of its own that the rest of the machine does not see. */
static void mount_directory(const char *options) {
    need_root();
    if (unshare(CLONE_NEWNS) != 0 || mount("", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("tmpfs", getenv("TARN_DIR"), "tmpfs", 0, options) != 0)
        SKIP("no mounts of its own: %s", strerror(errno));
}

static void fill_directory(void) {
    char path[512], block[4096] = {0};
    snprintf(path, sizeof path, "%s/filler", getenv("TARN_DIR"));
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    while (write(fd, block, sizeof block) > 0) {
    }
    CHECK(errno == ENOSPC);
    close(fd);
}

static void empty_directory(void) {
    char path[512];
    snprintf(path, sizeof path, "%s/filler", getenv("TARN_DIR"));
    CHECK(unlink(path) == 0);
}

TEST(full_directory) {
    char path[512];
    mount_directory("size=64k");
    domain_path(path, NULL);
    for (int round = 0; round < 3; round++) {
        tarn_publisher *other = round == 2 ? publisher_of("other", NULL) : NULL;
        fill_directory();
        CHECK_OPEN_REFUSED(TARN_ERROR_LIMIT, getenv("TARN_DIR"));
        CHECK_INT(count_files(path, 4096), ==, other ? 1 : 0);
        if (other)
            talk_on("other"); /* who is there goes on, also with more */
        empty_directory();
        talk_on(TOPIC);
        CHECK_STATUS(tarn_publisher_close(other), 0);
        CHECK_INT(count_files(path, 4096), ==, 0);
    }
}

TEST(directory_without_inodes) {
    mount_directory("nr_inodes=3"); /* itself, the domain, one more */
    char path[512];
    talk_on(TOPIC);
    tarn_subscriber *subscriber = subscriber_of("other", NULL);
    CHECK_OPEN_REFUSED(TARN_ERROR_LIMIT, getenv("TARN_DIR"));
    CHECK_REFUSED(tarn_subscriber_fd(subscriber), TARN_ERROR_LIMIT, getenv("TARN_DIR"));
    tarn_publisher *publisher = publisher_of("other", NULL);
    publish_word(publisher, 1);
    receive_word(subscriber, 1);
    CHECK_STATUS(tarn_publisher_close(publisher), 0);
    CHECK_STATUS(tarn_subscriber_close(subscriber), 0);
    domain_path(path, NULL);
    CHECK_INT(count_files(path, 4096), ==, 0);
    talk_on(TOPIC);
}

static void remount(unsigned long flags) {
    CHECK(mount(NULL, getenv("TARN_DIR"), NULL, MS_REMOUNT | flags, NULL) == 0);
}

/* Nothing there yet, then a domain: two ways to find out. */
TEST(read_only_directory) {
    mount_directory("size=64k");
    for (int round = 0; round < 2; round++) {
        tarn_publisher *publisher;
        int descriptors = count_descriptors();
        remount(MS_RDONLY);
        int status = tarn_publisher_open(&publisher, TOPIC, NULL);
        CHECK(status == TARN_ERROR_DIRECTORY || status == TARN_ERROR_PERMISSION);
        CHECK(strstr(tarn_error(), getenv("TARN_DIR")) && strstr(tarn_error(), "Read-only"));
        CHECK_INT(count_descriptors(), ==, descriptors);
        remount(0);
        talk_on(TOPIC);
    }
}

TEST(missing_directory) {
    char missing[512], file[512];
    snprintf(missing, sizeof missing, "%s/not/there", getenv("TARN_DIR"));
    snprintf(file, sizeof file, "%s/file", getenv("TARN_DIR"));
    close(open(file, O_WRONLY | O_CREAT, 0600));
    setenv("TARN_DIR", missing, 1);
    CHECK_OPEN_REFUSED(TARN_ERROR_DIRECTORY, missing);
    setenv("TARN_DIR", file, 1);
    CHECK_OPEN_REFUSED(TARN_ERROR_DIRECTORY, file);
    unlink(file);
    char *long_path = calloc(1, 10000);
    memset(long_path, 'a', 9999);
    setenv("TARN_DIR", long_path, 1);
    CHECK_OPEN_REFUSED(TARN_ERROR_DIRECTORY, "too long");
    free(long_path);
}

/* ---- locks ---------------------------------------------------------------------------------------------------- */

static void refuse_locks(void) {
    forbid_call(SYS_fcntl, F_OFD_SETLK, ENOLCK);
}

/* Neither kind can be opened; the sentence says of which topic, and why. */
static void open_without_locks(void *arg) {
    (void)arg;
    refuse_locks();
    CHECK_OPEN_REFUSED(TARN_ERROR_LIMIT, TOPIC);
    CHECK_OPEN_REFUSED(TARN_ERROR_LIMIT, "No locks available");
}

/* What was opened before goes on, and is closed well; no more is opened beside it. */
static void go_on_without_locks(void *arg) {
    (void)arg;
    tarn_publisher *publisher = PUBLISHER(TOPIC, .linger_ns = TARN_IMMEDIATELY);
    tarn_subscriber *subscriber = SUBSCRIBER(TOPIC, .reliable = 1);
    refuse_locks();
    CHECK_OPEN_REFUSED(TARN_ERROR_LIMIT, "No locks available");
    for (uint64_t number = 1; number <= 1000; number++) {
        CHECK_STATUS(publish_number(publisher, number), 1);
        CHECK_INT(receive_up_to(subscriber, &(uint64_t){number}, number), ==, 0);
    }
    CHECK_STATUS(tarn_subscriber_close(subscriber), 0);
    CHECK_INT(tarn_publisher_close(publisher), >=, 0);
}

static int count_topic_files(void) {
    char path[512];
    domain_path(path, NULL);
    return count_files(path, 4096);
}

/* Where nobody is, and where somebody is; who that is goes on as if nothing had happened. */
TEST(locks_run_out) {
    probe_seccomp();
    CHECK_INT(wait_child(spawn(open_without_locks, NULL), LIMIT_S), ==, 0);
    CHECK_INT(count_topic_files(), <=, 1); /* deleting one takes a lock, too: the next one does it */
    talk_on(TOPIC);
    CHECK_INT(count_topic_files(), ==, 0);
    tarn_publisher *publisher = publisher_of(TOPIC, NULL);
    tarn_subscriber *subscriber = SUBSCRIBER(TOPIC, .reliable = 1);
    for (uint64_t word = 0; word < 3; word++) {
        publish_word(publisher, word);
        CHECK_INT(wait_child(spawn(open_without_locks, NULL), LIMIT_S), ==, 0);
        receive_word(subscriber, word);
        CHECK_STATUS(tarn_publisher_subscribers(publisher), 1);
        CHECK_STATUS(tarn_subscriber_publishers(subscriber), 1);
        CHECK_STATUS(tarn_subscriber_close(subscriber_of(TOPIC, NULL)), 0);
    }
    CHECK_STATUS(tarn_publisher_close(publisher), 0);
    CHECK_STATUS(tarn_subscriber_close(subscriber), 0);
    CHECK_INT(count_topic_files(), ==, 0);
}

TEST(locks_run_out_for_those_who_are_there) {
    probe_seccomp();
    CHECK_INT(wait_child(spawn(go_on_without_locks, NULL), LIMIT_S), ==, 0);
    talk_on(TOPIC);
    CHECK_INT(count_topic_files(), ==, 0);
    tarn_publisher *publisher = publisher_of(TOPIC, NULL);
    tarn_subscriber *subscriber = subscriber_of(TOPIC, NULL);
    CHECK_INT(wait_child(spawn(go_on_without_locks, NULL), LIMIT_S), ==, 0);
    CHECK_STATUS(tarn_publisher_subscribers(publisher), 1);
    CHECK_STATUS(tarn_subscriber_publishers(subscriber), 1);
    CHECK_STATUS(tarn_publisher_close(publisher), 0);
    CHECK_STATUS(tarn_subscriber_close(subscriber), 0);
    CHECK_INT(count_topic_files(), ==, 0);
}

/* ---- places in a topic ------------------------------------------------------------------------------------------ */

static void subscribe_in_vain(void *arg) {
    (void)arg;
    tarn_subscriber *subscriber;
    CHECK_REFUSED(tarn_subscriber_open(&subscriber, TOPIC, NULL), TARN_ERROR_LIMIT,
                  "as many subscribers as there can be");
}

/* Who is in the topic, and who is not, is told the same; publishers have places of their own. */
TEST(subscribers_run_out) {
    enum { MOST = 8192 };
    static tarn_subscriber *subscribers[MOST];
    for (int i = 0; i < MOST; i++)
        subscribers[i] = subscriber_of(TOPIC, NULL);
    subscribe_in_vain(NULL);
    CHECK_INT(wait_child(spawn(subscribe_in_vain, NULL), LIMIT_S), ==, 0);
    CHECK_STATUS(tarn_publisher_close(publisher_of(TOPIC, NULL)), 0);
    CHECK_STATUS(tarn_subscriber_close(subscribers[0]), 0);
    subscribers[0] = subscriber_of(TOPIC, NULL);
    for (int i = 0; i < MOST; i++)
        CHECK_STATUS(tarn_subscriber_close(subscribers[i]), 0);
}

/* ---- another user's directory --------------------------------------------------------------------------------- */

static void become_nobody(void) {
    CHECK(setresgid(65534, 65534, 65534) == 0 && setresuid(65534, 65534, 65534) == 0);
}

static void open_as_nobody(void *arg) {
    const char *words = arg;
    become_nobody();
    CHECK_OPEN_REFUSED(TARN_ERROR_PERMISSION, words);
}

/* No domain yet; a domain, but no right to write there; the same with a topic in use; nothing at all may be seen. */
TEST(directory_of_another_user) {
    char domain[512];
    need_root();
    domain_path(domain, NULL);
    CHECK(chmod(getenv("TARN_DIR"), 0755) == 0);
    CHECK_INT(wait_child(spawn(open_as_nobody, getenv("TARN_DIR")), LIMIT_S), ==, 0);
    talk_on(TOPIC);
    CHECK_INT(wait_child(spawn(open_as_nobody, domain), LIMIT_S), ==, 0);
    tarn_subscriber *subscriber = subscriber_of(TOPIC, NULL);
    CHECK_INT(wait_child(spawn(open_as_nobody, domain), LIMIT_S), ==, 0);
    CHECK(chmod(getenv("TARN_DIR"), 0700) == 0);
    CHECK_INT(wait_child(spawn(open_as_nobody, getenv("TARN_DIR")), LIMIT_S), ==, 0);
    talk_on("other");
    CHECK_STATUS(tarn_subscriber_close(subscriber), 0);
}

/* ---- locked memory -------------------------------------------------------------------------------------------- */

static long locked_kib(void) {
    long kib = -1;
    FILE *file = fopen("/proc/self/status", "re");
    for (char line[256]; file && fgets(line, sizeof line, file);)
        sscanf(line, "VmLck: %ld", &kib);
    CHECK(file && kib >= 0);
    fclose(file);
    return kib;
}

static void lock_memory(int flags) {
    if (mlockall(flags) != 0)
        SKIP("mlockall: %s", strerror(errno));
}

/* Costs what is used, not what might be: a limit of a quarter of the machine's memory is not locked. */
TEST(memory_locked_before_opening) {
    NEED_PLAIN_MEMORY();
    lock_memory(MCL_CURRENT | MCL_FUTURE);
    long before = locked_kib();
    tarn_subscriber *subscriber = SUBSCRIBER(TOPIC, .reliable = 1);
    tarn_publisher *publisher = publisher_of(TOPIC, NULL);
    uint64_t next = 1;
    for (int round = 0; round < 100; round++) {
        for (uint64_t number = next; number < next + 50; number++)
            CHECK_STATUS(publish_number(publisher, number), 1);
        CHECK_INT(receive_up_to(subscriber, &next, next + 49), ==, 0);
    }
    CHECK_INT(locked_kib() - before, <, 64 << 10);
    tarn_message message;
    CHECK_STATUS(tarn_subscriber_take(subscriber, &message), 0);
    CHECK_STATUS(tarn_publisher_close(publisher), 0);
    CHECK_STATUS(tarn_subscriber_close(subscriber), 0);
}

TEST(memory_locked_after_opening) {
    NEED_PLAIN_MEMORY();
    tarn_subscriber *subscriber = subscriber_of(TOPIC, NULL);
    tarn_publisher *publisher = publisher_of(TOPIC, NULL);
    long before = locked_kib();
    publish_word(publisher, 1);
    lock_memory(MCL_CURRENT);
    CHECK_INT(locked_kib() - before, <, 64 << 10);
    receive_word(subscriber, 1);
    publish_word(publisher, 2);
    receive_word(subscriber, 2);
    CHECK_STATUS(tarn_publisher_close(publisher), 0);
    CHECK_STATUS(tarn_subscriber_close(subscriber), 0);
}

/* As another user, whose limit is small: locking the future makes opening fail, and not look full. */
static void open_with_little_to_lock(void *arg) {
    tarn_publisher *publisher;
    (void)arg;
    CHECK(setrlimit(RLIMIT_MEMLOCK, &(struct rlimit){512 << 10, 512 << 10}) == 0);
    become_nobody();
    lock_memory(MCL_FUTURE);
    int descriptors = count_descriptors(), segments = count_segments();
    CHECK_REFUSED(tarn_publisher_open(&publisher, TOPIC, NULL), TARN_ERROR_NO_MEMORY, TOPIC);
    CHECK_INT(count_descriptors(), ==, descriptors);
    CHECK_INT(count_segments(), ==, segments);
    munlockall();
    talk_on(TOPIC);
}

TEST(too_much_memory_to_lock) {
    NEED_PLAIN_MEMORY();
    need_root();
    CHECK(chown(getenv("TARN_DIR"), 65534, 65534) == 0);
    int code = wait_child(spawn(open_with_little_to_lock, NULL), LIMIT_S);
    if (code == 77)
        SKIP("mlockall is not allowed");
    CHECK_INT(code, ==, 0);
}
