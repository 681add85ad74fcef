/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* See scene.h. */
#include "scene.h"

#include "core/inspect.h"

void *scene_ledger;
bool scene_is_another, scene_is_operating;

static struct outcome {
    _Atomic int result;
    _Atomic bool may_fail;
} * outcome;

int scene_result(void) {
    return outcome->result;
}

void allow_failure(void) {
    outcome->may_fail = true;
}

/*
 * ---- the actor ----------------------------------------------------------------------------------------------------
 */

static void end_actor(const struct operation *operation, const struct scene *before) {
    if (outcome->result < 0) {
        CHECK(outcome->may_fail);
        CHECK_INT(operation->operate(pattern.actor), >=, 0);
    }
    pattern.leave(pattern.actor);
    CHECK_INT(count_attached(), ==, before->attached);
    CHECK_INT(count_descriptors(), ==, before->descriptors);
}

static void act(void *arg) {
    const struct operation *operation = arg;
    struct scene before = {.descriptors = count_descriptors(), .attached = count_attached()};
    if (operation->prepare)
        operation->prepare(pattern.actor);
    tracer_mark();
    scene_is_operating = true;
    int result = operation->operate(pattern.actor);
    scene_is_operating = false;
    CHECK((result >= TARN_ERROR_TAKEN && result < 0) ? *tarn_error() : result >= 0);
    outcome->result = result;
    tracer_mark();
    end_actor(operation, &before);
}

static void spawn_actor(struct traced *ret, const struct operation *operation) {
    tracer_spawn(ret, act, (void *)(uintptr_t)operation);
}

void let_actor_end(struct scene *scene) {
    int status;
    tracer_let_go(&scene->traced);
    for (int64_t end = now_ns() + GENEROUS; waitpid(scene->traced.pid, &status, WNOHANG) == 0; nap_ns(MS / 4)) {
        pattern.go_on(pattern.survivors);
        if (now_ns() > end)
            FAIL("the process that did the operation has not ended");
    }
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        FAIL("the process that did the operation ended with status %#x", status);
}

/*
 * ---- beginning and end --------------------------------------------------------------------------------------------
 */

void begin_scene(struct scene *scene, const struct operation *operation) {
    if (!scene_ledger) {
        scene_ledger = shared_page(LEDGER_BYTES);
        outcome = shared_page(sizeof *outcome);
    }
    memset(scene_ledger, 0, LEDGER_BYTES);
    *outcome = (struct outcome){0, false};
    *scene = (struct scene){.operation = operation};
    scene->descriptors = count_descriptors();
    scene->attached = count_attached();
    pattern.clear();
    set_context("%s", "");
    spawn_actor(&scene->traced, operation);
    if (!operation->alone)
        scene->is_open = pattern.open(scene, false);
    tracer_begin(&scene->traced);
    if (!operation->alone && pattern.look)
        pattern.look(pattern.survivors);
    if (operation->before)
        operation->before(pattern.survivors);
}

bool check_survivors(struct scene *scene, bool actor_lives) {
    if (!scene->is_open)
        scene->is_open = pattern.open(scene, actor_lives);
    if (scene->is_open)
        pattern.check(scene, actor_lives);
    return scene->is_open;
}

void end_scene(struct scene *scene) {
    char path[512];
    pattern.gone(scene);
    pattern.close(scene);
    domain_path(path, NULL);
    CHECK_INT(count_files(path, 0), ==, 0);
    CHECK_INT(count_files(getenv("TARN_DIR"), 1 << 20), ==, 1); /* the domain's directory */
    CHECK_INT(count_segments(), ==, 0);
    CHECK_INT(count_attached(), ==, scene->attached);
    CHECK_INT(count_descriptors(), ==, scene->descriptors);
}

/*
 * ---- for patterns -------------------------------------------------------------------------------------------------
 */

bool is_locked_out(int status, const struct scene *scene, bool actor_lives) {
    char pid[24];
    snprintf(pid, sizeof pid, "process %d", (int)scene->traced.pid);
    if (status != TARN_ERROR_BUSY || !actor_lives)
        return false;
    if (!strstr(tarn_error(), pid) && !strstr(tarn_error(), "another process"))
        FAIL("not named as who has the lock: %s", tarn_error());
    return true;
}

bool is_named(const struct scene *scene) {
    char pid[24];
    snprintf(pid, sizeof pid, "pid %d", (int)scene->traced.pid);
    return strstr(tarn_error(), pid);
}

pid_t somebody_comes_as(void (*role)(void *is_ready)) {
    static _Atomic bool *is_ready;
    if (!is_ready)
        is_ready = shared_page(sizeof *is_ready);
    *is_ready = false;
    pid_t pid = spawn(role, (void *)is_ready);
    AWAIT(*is_ready);
    return pid;
}

void somebody_dies_as(void (*role)(void *is_ready)) {
    kill_child(somebody_comes_as(role));
}

int count_swept(void) {
    struct inspect_sweep swept;
    struct inspect_domain *domain;
    CHECK_STATUS(inspect_sweep(&swept, NULL, NULL), 0);
    CHECK_INT(swept.topics_busy + swept.topics_failed, ==, 0);
    CHECK_STATUS(inspect_domain_open(&domain, NULL, NULL), 0);
    CHECK_INT(domain->topic_count, ==, 1);
    int count = (int)domain->topics[0].participant_count;
    for (int i = 0; i < count; i++)
        CHECK(domain->topics[0].participants[i].publisher || domain->topics[0].participants[i].life != INSPECT_DEAD);
    inspect_domain_close(domain);
    return count;
}

void check_swept(int participants) {
    int count = count_swept();
    if (participants >= 0)
        CHECK_INT(count, ==, participants);
}

int sweep(struct actor *actor) {
    struct inspect_sweep swept;
    (void)actor;
    int status = inspect_sweep(&swept, NULL, NULL);
    return status ? status : swept.topics_failed ? TARN_ERROR_SYSTEM : 0;
}

/*
 * ---- visiting points ----------------------------------------------------------------------------------------------
 */

enum { POINTS_MAX = 20000 };

/* Which points are wanted of those that it passes on its way to the end. */
static unsigned list_points(const struct operation *operation, bool (*wanted)(const struct traced *),
                            unsigned ret[static POINTS_MAX]) {
    struct scene scene;
    unsigned count = 0;
    begin_scene(&scene, operation);
    for (unsigned point = 0; tracer_next(&scene.traced); point++) {
        CHECK_INT(count, <, POINTS_MAX);
        if (!wanted || wanted(&scene.traced))
            ret[count++] = point;
    }
    CHECK_INT(scene_result(), >=, 0);
    CHECK(check_survivors(&scene, true));
    let_actor_end(&scene);
    end_scene(&scene);
    return count;
}

bool visits_all(void) {
    const char *text = getenv("TARN_POINTS");
    return text && strcmp(text, "all") == 0;
}

/* How many points to visit, of so many. */
static unsigned sample_size(unsigned count, unsigned usual) {
    const char *text = getenv("TARN_POINTS");
    unsigned size = visits_all() ? count : text ? (unsigned)strtoul(text, NULL, 10) : usual;
    return size < count ? size : count;
}

unsigned visit_points(const struct operation *operation, bool (*wanted)(const struct traced *traced), unsigned usual,
                      void (*visit)(const struct operation *operation, unsigned point)) {
    static unsigned points[POINTS_MAX];
    unsigned count = list_points(operation, wanted, points), size = sample_size(count, usual), visited = 0;
    struct random random = random_start(0);
    int64_t longest_ns = 0;
    for (unsigned i = 0; i < count; i++) {
        if (random_between(&random, 1, count - i) > size - visited)
            continue; /* so that each choice of so many is as probable as another */
        int64_t start = now_ns();
        visit(operation, points[i]);
        int64_t took_ns = now_ns() - start;
        longest_ns = took_ns > longest_ns ? took_ns : longest_ns;
        visited++;
    }
    set_context("%s", "");
    printf("  %-28s %4u points, %4u visited, longest %lld ms\n", operation->name, count, visited,
           (long long)(longest_ns / MS));
    return count;
}

static bool step_to(struct traced *traced, unsigned point) {
    for (unsigned i = 0; i <= point; i++)
        if (!tracer_next(traced))
            return false;
    return true;
}

bool go_to_point(struct scene *scene, unsigned point) {
    begin_scene(scene, scene->operation);
    return step_to(&scene->traced, point);
}

void kill_another_at(const struct operation *operation, unsigned point) {
    struct traced traced;
    scene_is_another = true;
    spawn_actor(&traced, operation);
    scene_is_another = false;
    tracer_begin(&traced);
    step_to(&traced, point);
    tracer_kill(&traced);
}

static void (*play_one)(const struct operation *operation);

static void play_named(void) {
    if (!tracer_works())
        SKIP("processes cannot be traced here");
    need_root(); /* for an IPC namespace in which to count segments */
    for (unsigned i = 0; i < pattern.count; i++)
        if (strcmp(pattern.operations[i].name, getenv("TARN_TEST")) == 0)
            play_one(&pattern.operations[i]);
}

void add_scenes(void (*play)(const struct operation *operation), int limit_s) {
    struct test *tests = calloc(pattern.count, sizeof *tests);
    CHECK(tests);
    play_one = play;
    for (unsigned i = 0; i < pattern.count; i++) {
        tests[i] = (struct test){pattern.operations[i].name, limit_s, play_named, NULL};
        harness_add_test(&tests[i]);
    }
}
