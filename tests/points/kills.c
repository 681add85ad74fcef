/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* Killed with SIGKILL at every point of every operation. See scene.h. */
#include "scene.h"

static void check_after_death(struct scene *scene) {
    tracer_kill(&scene->traced);
    CHECK(check_survivors(scene, false));
    end_scene(scene);
}

static void kill_at(const struct operation *operation, unsigned point) {
    struct scene scene = {.operation = operation};
    bool is_on_its_way = go_to_point(&scene, point);
    set_context("killed at point %u, %s", point, is_on_its_way ? tracer_describe(&scene.traced) : "the end");
    check_after_death(&scene);
}

/*
 * ---- the next one, too --------------------------------------------------------------------------------------------
 */

static const struct operation *repair;
static unsigned first_point;

static void kill_first_repairer(struct survivors *survivors) {
    repair->before(survivors);
    kill_another_at(repair, first_point);
}

/* Somebody died; who repairs that is killed at the first point, and who repairs both at the second. */
static void kill_twice(const struct operation *operation, unsigned first, unsigned second) {
    struct operation twice = *operation;
    struct scene scene = {.operation = &twice};
    twice.before = kill_first_repairer;
    repair = operation;
    first_point = first;
    go_to_point(&scene, second); /* or to its end, where the first one left less to do */
    set_context("killed at point %u, the next one at point %u, %s", first, second, tracer_describe(&scene.traced));
    check_after_death(&scene);
}

static void kill_repairers(const struct operation *operation, unsigned count) {
    struct random random = random_start(1);
    unsigned pairs = visits_all() ? 1000 : 8;
    for (unsigned i = 0; i < pairs; i++)
        kill_twice(operation, (unsigned)random_between(&random, 0, count - 1),
                   (unsigned)random_between(&random, 0, count - 1));
    set_context("%s", "");
    printf("  %28s twice, one repairer after the other: %u pairs of points\n", "", pairs);
}

static void kill_everywhere(const struct operation *operation) {
    unsigned count = visit_points(operation, NULL, 10, kill_at);
    CHECK_INT(count, >, 0);
    if (operation->repairs)
        kill_repairers(operation, count);
}

__attribute__((constructor)) static void add_tests(void) {
    add_scenes(kill_everywhere, 1800);
}
