/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* The parts that tests call; see harness.h. The main of test programs is in main.c, what runs each is in runner.c. */
#include "harness.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "runner.h"

/* ---- checks --------------------------------------------------------------------------------------------------- */

/* One write per message, so that those of several processes do not mix. */
static void say(const char *prefix, const char *format, va_list values) {
    char text[4096];
    int length = snprintf(text, sizeof text - 1, "  %s", prefix);
    length += vsnprintf(text + length, sizeof text - 1 - (size_t)length, format, values);
    if (length > (int)sizeof text - 2)
        length = (int)sizeof text - 2;
    text[length] = '\n';
    fflush(stdout);
    if (write(STDERR_FILENO, text, (size_t)length + 1) < 0)
        return;
}

static char context[512];

void set_context(const char *format, ...) {
    va_list values;
    va_start(values, format);
    vsnprintf(context, sizeof context, format, values);
    va_end(values);
}

void harness_fail(const char *file, int line, const char *format, ...) {
    char prefix[1024];
    const char *short_name = strstr(file, "tests/");
    va_list values;
    va_start(values, format);
    snprintf(prefix, sizeof prefix, "%s:%d [%d]: %s%s", short_name ? short_name : file, line, (int)getpid(), context,
             *context ? ": " : "");
    say(prefix, format, values);
    va_end(values);
    _exit(EXIT_FAILURE);
}

void harness_skip(const char *format, ...) {
    va_list values;
    va_start(values, format);
    say("skipped: ", format, values);
    va_end(values);
    _exit(EXIT_SKIPPED);
}

uint64_t harness_memory_bytes(void) {
    unsigned long long kib = 0;
    char line[128];
    FILE *file = fopen("/proc/meminfo", "re");
    while (file && kib == 0 && fgets(line, sizeof line, file))
        sscanf(line, "MemAvailable: %llu kB", &kib);
    if (file)
        fclose(file);
    return kib * 1024;
}

void allow_files(void) {
    runner_allow_files();
}

/* ---- processes ------------------------------------------------------------------------------------------------ */

static pid_t fork_child(void) {
    fflush(NULL);
    pid_t pid = fork();
    if (pid < 0)
        FAIL("fork: %s", strerror(errno));
    return pid;
}

pid_t spawn(void (*role)(void *), void *arg) {
    pid_t pid = fork_child();
    if (pid)
        return pid;
    role(arg);
    exit(EXIT_SUCCESS);
}

/* The path of this program, and not /proc/self/exe: that one names the emulator or valgrind where we run in one. */
static void find_own_path(char ret[static PATH_MAX]) {
    ssize_t length = readlink("/proc/self/exe", ret, PATH_MAX - 1);
    CHECK(length > 0);
    ret[length] = 0;
}

pid_t spawn_role(const char *name, const char *arg) {
    char path[PATH_MAX];
    const char *arguments[] = {path, "--role", name, arg ? arg : "", NULL};
    find_own_path(path);
    return spawn_program(arguments);
}

/* Where programs are of another architecture and the kernel does not know its emulator, $TARN_EMULATOR runs them. */
static void execute(const char *const arguments[]) {
    const char *emulated[16] = {getenv("TARN_EMULATOR")};
    size_t count = 0;
    if (!emulated[0]) {
        execv(arguments[0], (char *const *)arguments);
        return;
    }
    for (; arguments[count]; count++) {
        CHECK(count + 2 < sizeof emulated / sizeof *emulated);
        emulated[count + 1] = arguments[count];
    }
    execv(emulated[0], (char *const *)emulated);
}

pid_t spawn_program(const char *const arguments[]) {
    pid_t pid = fork_child();
    if (pid)
        return pid;
    execute(arguments);
    FAIL("%s: %s", arguments[0], strerror(errno));
}

const char *tarn_program(void) {
    static char path[PATH_MAX + sizeof "/../tarn"];
    const char *given = getenv("TARN_BIN");
    if (given)
        return given;
    find_own_path(path);
    strcpy(strrchr(path, '/'), "/../tarn");
    return path;
}

int harness_wait_child(const char *file, int line, pid_t pid, int limit_s) {
    int status;
    if (!wait_limited(pid, limit_s, &status))
        harness_fail(file, line, "child %d has not ended within %d s", (int)pid, limit_s);
    return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

void kill_child(pid_t pid) {
    kill(pid, SIGKILL);
    wait_child(pid, TEST_LIMIT_DEFAULT_S);
}

/* ---- gates ---------------------------------------------------------------------------------------------------- */

struct gate gate_open(void) {
    struct gate gate = {eventfd(0, EFD_SEMAPHORE)};
    CHECK(gate.fd >= 0);
    return gate;
}

struct gate gate_of(const char *number) {
    return (struct gate){atoi(number)};
}

void gate_close(struct gate gate) {
    close(gate.fd);
}

void gate_signal(struct gate gate) {
    CHECK(eventfd_write(gate.fd, 1) == 0);
}

void harness_gate_wait(const char *file, int line, struct gate gate, int limit_s) {
    struct pollfd poll_fd = {.fd = gate.fd, .events = POLLIN};
    eventfd_t one;
    int ready;
    do
        ready = poll(&poll_fd, 1, limit_s * 1000);
    while (ready < 0 && errno == EINTR);
    if (ready != 1 || eventfd_read(gate.fd, &one) != 0)
        harness_fail(file, line, "nobody opened the gate within %d s", limit_s);
}

/* ---- looks ---------------------------------------------------------------------------------------------------- */

int count_attached(void) {
    int count = 0;
    FILE *file = fopen("/proc/self/maps", "re");
    CHECK(file);
    for (char line[512]; fgets(line, sizeof line, file);)
        count += strstr(line, "/SYSV") != NULL;
    fclose(file);
    return count;
}

/* ---- chance --------------------------------------------------------------------------------------------------- */

/* splitmix64: every seed is a good one. */
static uint64_t mix(uint64_t x) {
    x ^= x >> 30;
    x *= UINT64_C(0xbf58476d1ce4e5b9);
    x ^= x >> 27;
    x *= UINT64_C(0x94d049bb133111eb);
    return x ^ x >> 31;
}

uint64_t test_seed(void) {
    uint64_t seed = mix(program_seed());
    const char *name = getenv("TARN_TEST");
    for (; name && *name; name++)
        seed = mix(seed + (unsigned char)*name);
    return seed;
}

struct random random_start(uint64_t salt) {
    return (struct random){test_seed() ^ mix(salt + 1)};
}

uint64_t random_next(struct random *random) {
    random->state += UINT64_C(0x9e3779b97f4a7c15);
    return mix(random->state);
}

uint64_t random_between(struct random *random, uint64_t least, uint64_t most) {
    uint64_t span = most - least + 1; /* 0: all 64-bit numbers */
    return span ? least + random_next(random) % span : random_next(random);
}

bool random_one_in(struct random *random, uint64_t n) {
    return random_next(random) % n == 0;
}

/* ---- payload -------------------------------------------------------------------------------------------------- */

static uint64_t pattern_word(uint64_t seed, size_t index) {
    return (seed + index + 1) * UINT64_C(0x9e3779b97f4a7c15);
}

void fill_pattern(void *buffer, size_t bytes, uint64_t seed) {
    char *to = buffer;
    for (size_t at = 0; at < bytes; at += 8) {
        uint64_t word = pattern_word(seed, at / 8);
        memcpy(to + at, &word, bytes - at < 8 ? bytes - at : 8);
    }
}

static bool is_word_at(const char *place, size_t bytes, uint64_t word) {
    return bytes < 8 ? memcmp(place, &word, bytes) == 0
                     : memcmp(place, &word, 8) == 0; /* of that size it is an instruction, not a call */
}

bool check_pattern(const void *buffer, size_t bytes, uint64_t seed) {
    const char *from = buffer;
    for (size_t at = 0; at < bytes; at += 8) {
        if (!is_word_at(from + at, bytes - at, pattern_word(seed, at / 8))) {
            fprintf(stderr, "  pattern %#llx differs in the 8 bytes from byte %zu of %zu\n", (unsigned long long)seed,
                    at, bytes);
            return false;
        }
    }
    return true;
}
