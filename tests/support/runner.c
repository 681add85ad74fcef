/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * One test at a time, in a child, and afterwards the question what it left behind. How each is seen without mistaking
 * the leavings of other programs, which run at the same time, for its own:
 *
 *   processes    The runner is a subreaper: whatever the test started and did not wait for becomes the runner's child,
 *                also what made a session of its own. Who is still there DYING_S after the test is a survivor.
 *   segments     The runner has a System V namespace of its own where it may make one (root may), so all that is new
 *                in /proc/sysvipc/shm is the test's. Elsewhere it counts those that a process of the test created:
 *                every fork of the test is recorded on a page that all share (a fork handler does it).
 *   files        $TARN_DIR is a new directory; whatever but folders lies there when all are gone.
 *   descriptors  Only a process can see its own: the test's child compares /proc/self/fd before and after.
 */
#include "runner.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define DYING_S 2 /* what was killed may take a while to be gone, e.g. with much memory */
#define PROCESSES_MAX 8192
#define SEGMENTS_MAX 32768
#define DESCRIPTORS_MAX 65536

/* What the test tells its runner, on a page that all share. */
struct board {
    _Atomic bool files_allowed;
    _Atomic unsigned process_count;
    pid_t process[PROCESSES_MAX];
};
static struct board *board;

static bool own_namespace; /* of System V memory */
static bool is_subreaper;

/* ---- small things --------------------------------------------------------------------------------------------- */

static double now_s(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void nap(void) {
    nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
}

static int limit_factor(void) {
    const char *text = getenv("TARN_LIMIT_FACTOR");
    return text && atoi(text) > 0 ? atoi(text) : 1;
}

bool wait_limited(pid_t pid, int limit_s, int *ret_status) {
    double deadline = now_s() + limit_s * limit_factor();
    for (;;) {
        pid_t got = waitpid(pid, ret_status, WNOHANG);
        if (got == pid)
            return true;
        if (got < 0 && errno != EINTR) {
            fprintf(stderr, "  waitpid(%d): %s\n", (int)pid, strerror(errno));
            return false;
        }
        if (now_s() > deadline)
            return false;
        nap();
    }
}

uint64_t program_seed(void) {
    const char *text = getenv("TARN_SEED");
    uint64_t seed;
    if (text)
        return strtoull(text, NULL, 0);
    if (getrandom(&seed, sizeof seed, 0) != (ssize_t)sizeof seed)
        seed = (uint64_t)getpid();
    seed &= UINT32_MAX; /* short enough to type */
    char number[32];
    snprintf(number, sizeof number, "%llu", (unsigned long long)seed);
    setenv("TARN_SEED", number, 1);
    return seed;
}

/* Says what was left behind, unless the test has failed already: who fails half-way cannot clean up. */
static bool has_failed;

__attribute__((format(printf, 1, 2))) static void report(const char *format, ...) {
    va_list values;
    if (has_failed)
        return;
    va_start(values, format);
    vfprintf(stderr, format, values);
    va_end(values);
}

void runner_allow_files(void) {
    board->files_allowed = true;
}

void runner_record_process(void) {
    unsigned n = board->process_count++;
    if (n < PROCESSES_MAX)
        board->process[n] = getpid();
}

static bool is_recorded(pid_t pid) {
    for (unsigned i = 0; i < board->process_count && i < PROCESSES_MAX; i++)
        if (board->process[i] == pid)
            return true;
    return false;
}

/* ---- descriptors ---------------------------------------------------------------------------------------------- */

static unsigned char descriptors_before[DESCRIPTORS_MAX];

/* Marks what is open if is_before, else reports what was not open then; how many those are. */
static int look_at_descriptors(bool is_before) {
    int leaked = 0;
    DIR *folder = opendir("/proc/self/fd");
    if (!folder) {
        fprintf(stderr, "  cannot read /proc/self/fd: %s\n", strerror(errno));
        return 1;
    }
    for (struct dirent *entry; (entry = readdir(folder));) {
        int fd = entry->d_name[0] == '.' ? dirfd(folder) : atoi(entry->d_name);
        if (fd == dirfd(folder) || fd >= DESCRIPTORS_MAX)
            continue;
        if (is_before) {
            descriptors_before[fd] = 1;
        } else if (!descriptors_before[fd]) {
            char path[64], target[256];
            snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
            ssize_t length = readlink(path, target, sizeof target - 1);
            target[length < 0 ? 0 : length] = 0;
            report("  leaked descriptor %d: %s\n", fd, target);
            leaked++;
        }
    }
    closedir(folder);
    return leaked;
}

/* ---- processes ------------------------------------------------------------------------------------------------ */

/* The parent of a process and its name, or false if it is gone or only a zombie. */
static bool describe_process(pid_t pid, pid_t *ret_parent, char *ret_name, size_t name_bytes) {
    char path[64], line[512];
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    FILE *file = fopen(path, "re");
    if (!file)
        return false;
    bool is_read = fgets(line, sizeof line, file) != NULL;
    fclose(file);
    char *open = is_read ? strchr(line, '(') : NULL, *close = is_read ? strrchr(line, ')') : NULL;
    char state;
    int parent;
    if (!open || !close || sscanf(close + 1, " %c %d", &state, &parent) != 2 || state == 'Z' || state == 'X')
        return false;
    *close = 0;
    snprintf(ret_name, name_bytes, "%s", open + 1);
    *ret_parent = parent;
    return true;
}

/* Kills the runner's children, which the test did not wait for; reports each as "what". Returns how many. */
static int kill_children(const char *what) {
    int killed = 0;
    DIR *folder = opendir("/proc");
    for (struct dirent *entry; folder && (entry = readdir(folder));) {
        pid_t pid = atoi(entry->d_name), parent;
        char name[64];
        if (pid <= 0 || !describe_process(pid, &parent, name, sizeof name) || parent != getpid())
            continue;
        report("  %s: %d (%s)\n", what, (int)pid, name);
        kill(pid, SIGKILL);
        killed++;
    }
    if (folder)
        closedir(folder);
    return killed;
}

/* Whether all of the runner's children are gone within limit_s. */
static bool reap_all(int limit_s) {
    double deadline = now_s() + limit_s;
    for (;;) {
        pid_t got = waitpid(-1, NULL, WNOHANG);
        if (got < 0 && errno == ECHILD)
            return true;
        if (got > 0)
            continue;
        if (now_s() > deadline)
            return false;
        nap();
    }
}

/* Whether a process group is empty within DYING_S. */
static bool group_ends(pid_t group) {
    double deadline = now_s() + DYING_S;
    while (kill(-group, 0) == 0) {
        if (now_s() > deadline)
            return false;
        nap();
    }
    return true;
}

/* Ends all that the test, process pid, left running. A killed child hands its own children to us, hence the loop. */
static int clear_processes(pid_t pid) {
    int survivors = 0;
    while (!reap_all(survivors || has_failed ? 0 : DYING_S)) {
        survivors += kill_children("surviving process");
        nap();
    }
    /* qemu-user has no subreapers; there only the test's process group can be seen, which is gone by now elsewhere. */
    if (!is_subreaper && !group_ends(pid)) {
        report("  surviving process in group %d\n", (int)pid);
        kill(-pid, SIGKILL);
        survivors++;
    }
    return survivors;
}

/* ---- segments ------------------------------------------------------------------------------------------------- */

static int segments_before[SEGMENTS_MAX];
static int segment_count_before;

static bool was_there_before(int id) {
    for (int i = 0; i < segment_count_before; i++)
        if (segments_before[i] == id)
            return true;
    return false;
}

/* Notes which segments there are if is_before, else reports and removes the test's; how many those are. */
static int look_at_segments(bool is_before) {
    int leaked = 0;
    FILE *file = fopen("/proc/sysvipc/shm", "re");
    if (!file)
        return 0; /* a kernel without System V memory: nothing can leak */
    if (is_before)
        segment_count_before = 0;
    for (char line[512]; fgets(line, sizeof line, file);) {
        int key, id, creator;
        unsigned long long bytes;
        if (sscanf(line, "%d %d %*o %llu %d", &key, &id, &bytes, &creator) != 4)
            continue; /* the headline */
        if (is_before && segment_count_before < SEGMENTS_MAX) {
            segments_before[segment_count_before++] = id;
        } else if (!is_before && !was_there_before(id) && (own_namespace || is_recorded(creator))) {
            report("  leaked segment %d of %llu bytes, key %#x, made by %d\n", id, bytes, (unsigned)key, creator);
            shmctl(id, IPC_RMID, NULL);
            leaked++;
        }
    }
    fclose(file);
    return leaked;
}

/* ---- files ---------------------------------------------------------------------------------------------------- */

static int files_found;

static int report_and_remove(const char *path, const struct stat *state, int kind, struct FTW *where) {
    (void)where;
    if (kind != FTW_DP && kind != FTW_DNR) {
        files_found++;
        if (!board->files_allowed)
            report("  leaked file %s of %lld bytes\n", path, (long long)state->st_size);
    }
    return remove(path);
}

/* Removes the topic directory; how many files were in it that should not. */
static int clear_directory(const char *path) {
    files_found = 0;
    if (nftw(path, report_and_remove, 16, FTW_DEPTH | FTW_PHYS) < 0)
        fprintf(stderr, "  cannot remove %s: %s\n", path, strerror(errno));
    return board->files_allowed ? 0 : files_found;
}

/* ---- one test ------------------------------------------------------------------------------------------------- */

void runner_start(void) {
    setvbuf(stdout, NULL, _IOLBF, 0);
    signal(SIGPIPE, SIG_IGN);
    is_subreaper = prctl(PR_SET_CHILD_SUBREAPER, 1) == 0;
    setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
    unsetenv("TARN_DOMAIN");
    own_namespace = unshare(CLONE_NEWIPC) == 0;
    board = mmap(NULL, sizeof *board, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (board == MAP_FAILED) {
        perror("mmap");
        exit(EXIT_FAILURE);
    }
    pthread_atfork(NULL, NULL, runner_record_process);
    program_seed();
}

/* The test's own process, from start to end. Leaves by exit, so that a leak checker may have its say. */
static _Noreturn void test_process(void (*body)(const void *), const void *arg) {
    setsid();
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    signal(SIGPIPE, SIG_DFL);
    look_at_descriptors(true);
    body(arg);
    exit(look_at_descriptors(false) ? EXIT_FAILURE : EXIT_SUCCESS);
}

static enum outcome judge(bool is_ended, int status, int limit_s) {
    if (!is_ended) {
        fprintf(stderr, "  time limit of %d s is over\n", limit_s * limit_factor());
        kill_children("still running");
        return OUTCOME_FAILED;
    }
    if (WIFSIGNALED(status)) {
        fprintf(stderr, "  killed by signal %d (%s)\n", WTERMSIG(status), strsignal(WTERMSIG(status)));
        return OUTCOME_FAILED;
    }
    switch (WEXITSTATUS(status)) {
    case EXIT_SUCCESS:
        return OUTCOME_OK;
    case EXIT_SKIPPED:
        return OUTCOME_SKIPPED;
    case EXIT_FAILURE: /* has said why */
        return OUTCOME_FAILED;
    default: /* a sanitizer's, most likely */
        fprintf(stderr, "  exit code %d\n", WEXITSTATUS(status));
        return OUTCOME_FAILED;
    }
}

enum outcome run_isolated(const char *name, int limit_s, void (*body)(const void *), const void *arg) {
    static const char *const verdicts[] = {"ok", "FAILED", "skipped"};
    char directory[] = "/tmp/tarn-test-XXXXXX";
    int status = 0;
    if (!mkdtemp(directory)) {
        perror(directory);
        return OUTCOME_FAILED;
    }
    setenv("TARN_DIR", directory, 1);
    memset(board, 0, sizeof *board);
    has_failed = false;
    look_at_segments(true);

    double start = now_s();
    pid_t pid = fork();
    if (pid == 0)
        test_process(body, arg);
    bool is_ended = pid > 0 && wait_limited(pid, limit_s, &status);
    double end = now_s();

    enum outcome outcome = judge(is_ended, status, limit_s);
    has_failed = outcome == OUTCOME_FAILED;
    bool is_clean = clear_processes(pid) == 0;
    is_clean = look_at_segments(false) == 0 && is_clean;
    is_clean = clear_directory(directory) == 0 && is_clean;
    if (!is_clean)
        outcome = OUTCOME_FAILED;

    printf("%-50s %-7s %6.0f ms\n", name, verdicts[outcome], (end - start) * 1e3);
    if (outcome == OUTCOME_FAILED)
        printf("  again: TARN_SEED=%s %s %s\n", getenv("TARN_SEED"), program_invocation_name, name);
    return outcome;
}

int tally_exit_code(const struct tally *tally) {
    if (tally->of[OUTCOME_FAILED])
        return EXIT_FAILURE;
    return tally->of[OUTCOME_OK] || !tally->of[OUTCOME_SKIPPED] ? EXIT_SUCCESS : EXIT_SKIPPED;
}
