/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * What the tests with several processes share: handles that are there or fail the test, numbered messages whose size
 * and bytes follow from their number, counters on a page that all processes see, and looks at what lies around.
 */
#ifndef TARN_TESTS_MULTI_COMMON_H
#define TARN_TESTS_MULTI_COMMON_H

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "harness.h"

#define MS INT64_C(1000000)
#define SECOND (1000 * MS)
#define GENEROUS (15 * SECOND) /* what takes milliseconds on a quiet machine */
#define LIMIT_S 30             /* for wait_child and gates */

/* ---- time ----------------------------------------------------------------------------------------------------- */

static inline int64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * SECOND + now.tv_nsec;
}

static inline void nap_ns(int64_t ns) {
    struct timespec left = {ns / SECOND, ns % SECOND};
    while (nanosleep(&left, &left) != 0 && errno == EINTR) {
    }
}

/* Waits until condition holds; fails the test when it does not within GENEROUS. */
#define AWAIT(condition)                                                                                               \
    do {                                                                                                               \
        for (int64_t end_ = now_ns() + GENEROUS; !(condition);) {                                                      \
            if (now_ns() > end_)                                                                                       \
                FAIL("AWAIT(%s): not in time", #condition);                                                            \
            nap_ns(MS / 2);                                                                                            \
        }                                                                                                              \
    } while (0)

/* ---- what processes tell each other --------------------------------------------------------------------------- */

/* A page of zeros that this process and its children share. */
static inline void *shared_page(size_t bytes) {
    void *page = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(page != MAP_FAILED);
    return page;
}

/* All wait here until count have come; usable again at once. */
struct meeting {
    _Atomic unsigned arrived;
};

static inline void meet(struct meeting *meeting, unsigned count) {
    unsigned round = atomic_fetch_add(&meeting->arrived, 1) / count + 1;
    for (int64_t end = now_ns() + GENEROUS; atomic_load(&meeting->arrived) < round * count;) {
        if (now_ns() > end)
            FAIL("%u of %u have come to the meeting", atomic_load(&meeting->arrived) % count, count);
        sched_yield();
    }
}

/* ---- handles -------------------------------------------------------------------------------------------------- */

static inline tarn_publisher *publisher_of(const char *topic, const tarn_publisher_options *options) {
    tarn_publisher *publisher = NULL;
    CHECK_STATUS(tarn_publisher_open(&publisher, topic, options), 0);
    return publisher;
}

static inline tarn_subscriber *subscriber_of(const char *topic, const tarn_subscriber_options *options) {
    tarn_subscriber *subscriber = NULL;
    CHECK_STATUS(tarn_subscriber_open(&subscriber, topic, options), 0);
    return subscriber;
}

/* PUBLISHER("a", .depth = 3), SUBSCRIBER("a", .reliable = 1): with these options. */
#define PUBLISHER(topic, ...)                                                                                          \
    publisher_of((topic), &(tarn_publisher_options){.struct_bytes = sizeof(tarn_publisher_options), __VA_ARGS__})
#define SUBSCRIBER(topic, ...)                                                                                         \
    subscriber_of((topic), &(tarn_subscriber_options){.struct_bytes = sizeof(tarn_subscriber_options), __VA_ARGS__})

/* ---- numbered messages ---------------------------------------------------------------------------------------- */

#define NUMBERED_BYTES_MAX 100000

/* Mostly small, some of some KiB, a few that get an extent of their own. */
static inline size_t bytes_of_number(uint64_t number) {
    if (number % 257 == 0)
        return 66000 + number % 34000;
    return number % 17 == 0 ? 1000 + number % 3000 : 8 + number % 200;
}

static inline int publish_number(tarn_publisher *publisher, uint64_t number) {
    static char buffer[NUMBERED_BYTES_MAX];
    size_t bytes = bytes_of_number(number);
    fill_pattern(buffer, bytes, number);
    return tarn_publisher_publish(publisher, buffer, bytes);
}

/* Message number n of a publisher that numbers by sequence. */
static inline void check_number(const tarn_message *message) {
    CHECK_INT(message->bytes, ==, bytes_of_number(message->sequence));
    CHECK(check_pattern(message->data, message->bytes, message->sequence));
}

/* Takes everything up to sequence last of one publisher, in order; returns how many were lost on the way. */
static inline uint64_t receive_up_to(tarn_subscriber *subscriber, uint64_t *next, uint64_t last) {
    uint64_t lost = 0;
    while (*next <= last) {
        tarn_message message;
        CHECK_STATUS(tarn_subscriber_receive(subscriber, &message, GENEROUS), 1);
        CHECK_INT(message.sequence, ==, *next + message.lost);
        check_number(&message);
        lost += message.lost;
        *next = message.sequence + 1;
        CHECK_STATUS(tarn_message_release(&message), 0);
    }
    return lost;
}

static inline void receive_word(tarn_subscriber *subscriber, uint64_t expected) {
    tarn_message message;
    CHECK_STATUS(tarn_subscriber_receive(subscriber, &message, GENEROUS), 1);
    CHECK_INT(message.bytes, ==, 8);
    CHECK(memcmp(message.data, &expected, 8) == 0);
    CHECK_STATUS(tarn_message_release(&message), 0);
}

static inline void publish_word(tarn_publisher *publisher, uint64_t word) {
    CHECK_STATUS(tarn_publisher_publish(publisher, &word, 8), 1);
}

/* ---- errors --------------------------------------------------------------------------------------------------- */

/* The call gives this code, and a sentence in which these words stand. */
#define CHECK_REFUSED(call, status, words)                                                                             \
    do {                                                                                                               \
        CHECK_STATUS(call, status);                                                                                    \
        if (!strstr(tarn_error(), (words)))                                                                            \
            FAIL("\"%s\" is not in the sentence: %s", (words), tarn_error());                                          \
    } while (0)

static inline const char *number_text(long number) {
    static char text[24];
    snprintf(text, sizeof text, "%ld", number);
    return text;
}

/* ---- what lies around ----------------------------------------------------------------------------------------- */

static inline int count_descriptors(void) {
    int count = -3; /* ., .., and the folder's own */
    DIR *folder = opendir("/proc/self/fd");
    CHECK(folder);
    while (readdir(folder))
        count++;
    closedir(folder);
    return count;
}

/* Neither a publisher nor a subscriber can be opened, for that reason, and nothing stays open. */
static inline void check_nobody_joins(const char *topic, int status, const char *words) {
    tarn_publisher *publisher;
    tarn_subscriber *subscriber;
    int descriptors = count_descriptors();
    CHECK_REFUSED(tarn_publisher_open(&publisher, topic, NULL), status, words);
    CHECK_REFUSED(tarn_subscriber_open(&subscriber, topic, NULL), status, words);
    CHECK_INT(count_descriptors(), ==, descriptors);
}

static bool started_as_root;

__attribute__((constructor)) static void note_root(void) {
    started_as_root = geteuid() == 0;
}

/* A segment of the System V namespace, as /proc/sysvipc/shm has it. */
struct listed_segment {
    int key, id;
    unsigned mode, group;
    unsigned long long bytes, attached, resident;
};

static inline FILE *list_segments(void) {
    FILE *list = fopen("/proc/sysvipc/shm", "re");
    CHECK(list);
    return list;
}

/* False: there are no more, and the list is closed. */
static inline bool next_segment(FILE *list, struct listed_segment *ret) {
    for (char line[512]; fgets(line, sizeof line, list);)
        if (sscanf(line, "%d %d %o %llu %*d %*d %llu %*u %u %*u %*u %*d %*d %*d %llu", &ret->key, &ret->id, &ret->mode,
                   &ret->bytes, &ret->attached, &ret->group, &ret->resident) == 7) /* else the headline */
            return true;
    fclose(list);
    return false;
}

/* All segments of the System V namespace, if that is the test's own, as it is where it was started by root; else 0. */
static inline int count_segments(void) {
    if (!started_as_root)
        return 0;
    int count = 0;
    struct listed_segment segment;
    for (FILE *list = list_segments(); next_segment(list, &segment);)
        count++;
    return count;
}

static inline void domain_path(char ret[static 512], const char *domain) {
    snprintf(ret, 512, "%s/%s", getenv("TARN_DIR"), domain ? domain : "default");
}

static inline void topic_path(char ret[static 512], const char *file) {
    snprintf(ret, 512, "%s/default/%s", getenv("TARN_DIR"), file);
}

/* Files in a folder; 0 if there is no such folder. Fails when one is larger than most_bytes. */
static inline int count_files(const char *path, long most_bytes) {
    int count = 0;
    DIR *folder = opendir(path);
    for (struct dirent *entry; folder && (entry = readdir(folder));) {
        struct stat state;
        if (entry->d_name[0] == '.' || fstatat(dirfd(folder), entry->d_name, &state, AT_SYMLINK_NOFOLLOW) != 0)
            continue;
        CHECK_INT(state.st_size, <=, most_bytes);
        count++;
    }
    if (folder)
        closedir(folder);
    return count;
}

/* ---- processes ------------------------------------------------------------------------------------------------ */

static inline void need_root(void) {
    if (geteuid() != 0)
        SKIP("this needs root");
}

static inline void stop_process(pid_t pid) {
    int status;
    CHECK(kill(pid, SIGSTOP) == 0);
    CHECK(waitpid(pid, &status, WUNTRACED) == pid && WIFSTOPPED(status));
}

static inline void continue_process(pid_t pid) {
    CHECK(kill(pid, SIGCONT) == 0);
}

static inline void sleep_until_killed(void) {
    for (;;)
        pause();
}

static inline void run_tarn_quietly(void *arg) {
    CHECK(dup2(open("/dev/null", O_WRONLY | O_CLOEXEC), STDOUT_FILENO) == STDOUT_FILENO);
    execl(tarn_program(), "tarn", (const char *)arg, NULL);
    FAIL("%s: %s", tarn_program(), strerror(errno));
}

/* The command line with that verb. */
static inline void run_tarn(const char *verb) {
    CHECK_INT(wait_child(spawn(run_tarn_quietly, (void *)verb), LIMIT_S), ==, 0);
}

/* ---- limits --------------------------------------------------------------------------------------------------- */

static inline void limit(int resource, rlim_t soft) {
    struct rlimit limits;
    CHECK(getrlimit((__rlimit_resource_t)resource, &limits) == 0);
    limits.rlim_cur = soft;
    CHECK(setrlimit((__rlimit_resource_t)resource, &limits) == 0);
}

static inline rlim_t address_space_used(void) {
    unsigned long pages;
    FILE *file = fopen("/proc/self/statm", "re");
    CHECK(file && fscanf(file, "%lu", &pages) == 1);
    fclose(file);
    return pages * (rlim_t)sysconf(_SC_PAGESIZE);
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define NEED_PLAIN_MEMORY() SKIP("a sanitizer takes address space as it likes")
#else
#define NEED_PLAIN_MEMORY() (void)0
#endif

/* ---- refusals ------------------------------------------------------------------------------------------------- */

static inline void filter_calls(const struct sock_fprog *program) {
    CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, program) != 0)
        SKIP("no seccomp filters here: %s", strerror(errno));
}

/*
 * From now on the kernel gives this process that error for a system call with that argument, whatever it is if that is
 * ANY.
 */
#define ANY (-1)

static inline void forbid_argument(unsigned number, unsigned place, int argument, unsigned error) {
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args) + 8 * place), /* its low half */
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)argument, 0, argument == ANY ? 0 : 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (error & SECCOMP_RET_DATA)),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    filter_calls(&(struct sock_fprog){sizeof code / sizeof code[0], code});
}

/* By its second argument. */
static inline void forbid_call(unsigned number, int second, unsigned error) {
    forbid_argument(number, 1, second, error);
}

/* The process dies when it removes a segment's name: made, attached, and not yet unnamed. */
static inline void die_at_removal(void) {
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_shmctl, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[1])),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, IPC_RMID, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    filter_calls(&(struct sock_fprog){sizeof code / sizeof code[0], code});
}

static inline void forbid_getppid(void *arg) {
    (void)arg;
    forbid_call(SYS_getppid, ANY, EPERM);
    CHECK(syscall(SYS_getppid) == -1 && errno == EPERM);
    _exit(0); /* a leak checker would ask for its parent */
}

static inline void probe_seccomp(void) {
    int code = wait_child(spawn(forbid_getppid, NULL), LIMIT_S);
    if (code == 77)
        SKIP("no seccomp filters here");
    CHECK_INT(code, ==, 0);
}

#endif
