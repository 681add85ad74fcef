/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* The main of every test program: chooses which tests to run, or which role to play. See harness.h. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness.h"
#include "runner.h"

static struct test *first_test, **last_test = &first_test;
static struct role *first_role;

void harness_add_test(struct test *test) {
    *last_test = test;
    last_test = &test->next;
}

void harness_add_role(struct role *role) {
    role->next = first_role;
    first_role = role;
}

/* In the process of spawn_role. */
static int play_role(const char *name, const char *arg) {
    for (struct role *role = first_role; role; role = role->next) {
        if (strcmp(role->name, name) == 0) {
            role->run(arg);
            return EXIT_SUCCESS;
        }
    }
    FAIL("no ROLE(%s) in this program", name);
}

static void run_body(const void *test) {
    ((const struct test *)test)->run();
}

static bool is_chosen(const struct test *test, int count, char **names) {
    for (int i = 0; i < count; i++)
        if (strcmp(names[i], test->name) == 0)
            return true;
    return count == 0;
}

static int list_tests(void) {
    for (struct test *test = first_test; test; test = test->next)
        puts(test->name);
    return EXIT_SUCCESS;
}

int main(int count, char **arguments) {
    if (count == 4 && strcmp(arguments[1], "--role") == 0)
        return play_role(arguments[2], arguments[3]);
    if (count == 2 && strcmp(arguments[1], "--list") == 0)
        return list_tests();

    struct tally tally = {{0}};
    int found = 0;
    runner_start();
    for (struct test *test = first_test; test; test = test->next) {
        if (!is_chosen(test, count - 1, arguments + 1))
            continue;
        found++;
        setenv("TARN_TEST", test->name, 1); /* for test_seed, in children too */
        tally.of[run_isolated(test->name, test->limit_s, run_body, test)]++;
    }
    if (found == 0) {
        fprintf(stderr, "no such test; --list names them\n");
        return 2;
    }
    printf("%d ok, %d failed, %d skipped (TARN_SEED=%s)\n", tally.of[OUTCOME_OK], tally.of[OUTCOME_FAILED],
           tally.of[OUTCOME_SKIPPED], getenv("TARN_SEED"));
    return tally_exit_code(&tally);
}
