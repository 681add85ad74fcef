/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * Stopped at every point of every operation, for as long as others need for all they do; then it goes on. See scene.h.
 */
#include "scene.h"

#define LONGEST_TIMEOUT (1100 * MS) /* of all that anyone waits for by default: linger, full, the file's lock */

static unsigned locked_out;

static void stop_at(const struct operation *operation, unsigned point) {
    struct scene scene = {.operation = operation};
    bool is_on_its_way = go_to_point(&scene, point);
    set_context("stopped at point %u, %s", point, is_on_its_way ? tracer_describe(&scene.traced) : "the end");
    struct random random = random_start(point);
    if (visits_all() || random_one_in(&random, 20))
        nap_ns(LONGEST_TIMEOUT);
    bool could_join = check_survivors(&scene, true);
    if (is_on_its_way)
        tracer_finish(&scene.traced);
    CHECK_INT(scene_result(), >=, 0);
    if (!could_join) {
        locked_out++;
        CHECK(check_survivors(&scene, true));
    }
    let_actor_end(&scene);
    end_scene(&scene);
}

static void stop_everywhere(const struct operation *operation) {
    locked_out = 0;
    CHECK_INT(visit_points(operation, NULL, 6, stop_at), >, 0);
    if (locked_out)
        printf("  %28s at %u of them nobody could open the topic for 1 s, and was told who stands in the way\n", "",
               locked_out);
}

__attribute__((constructor)) static void add_tests(void) {
    add_scenes(stop_everywhere, 1800);
}
