/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* Survivors of publish and subscribe. See scene.h. */
#include "messages.h"

#include <poll.h>

enum {
    PATTERN_MAX = 4096, /* larger messages have the pattern at their ends only: each store of the actor is a point */
    PATTERN_END = 64,
    PRESSURE_COUNT = 24, /* messages of that size are more than the witness' memory holds */
    PRESSURE_BYTES = 50000,
    WITNESS_MEMORY = 1 << 20,
};

/*
 * ---- messages -----------------------------------------------------------------------------------------------------
 */

static void write_message(char *data, size_t bytes, uint64_t seed) {
    if (bytes <= PATTERN_MAX) {
        fill_pattern(data, bytes, seed);
        return;
    }
    fill_pattern(data, PATTERN_END, seed);
    fill_pattern(data + bytes - PATTERN_END, PATTERN_END, seed + 1);
}

static bool is_message(const char *data, size_t bytes, uint64_t seed) {
    if (bytes <= PATTERN_MAX)
        return check_pattern(data, bytes, seed);
    return check_pattern(data, PATTERN_END, seed) && check_pattern(data + bytes - PATTERN_END, PATTERN_END, seed + 1);
}

static struct survivors others;

struct ledger *ledger(void) {
    static struct ledger another; /* whose messages nobody counts on */
    return scene_is_another ? &another : scene_ledger;
}

static uint64_t seed_of(uint64_t publisher, uint64_t number) {
    return publisher ^ number << 32;
}

static uint64_t begin_message(void) {
    uint64_t number = ledger()->sent + ledger()->dropped + 1;
    ledger()->begun = number;
    return number;
}

static int end_message(int result) {
    if (result == 1) {
        ledger()->dropped = 0;
        ledger()->sent = ledger()->begun;
    }
    ledger()->dropped += result == 0;
    return result;
}

int send_next(struct actor *actor, size_t bytes) {
    static char buffer[PATTERN_MAX];
    uint64_t number = begin_message(), seed = seed_of(ledger()->identity, number);
    int result;
    if (bytes <= sizeof buffer) {
        write_message(buffer, bytes, seed);
        result = tarn_publisher_publish(actor->publisher, buffer, bytes);
    } else {
        tarn_loan loan;
        result = tarn_publisher_loan(actor->publisher, bytes, &loan);
        if (result == 1) {
            write_message(loan.data, bytes, seed);
            result = tarn_loan_send(&loan);
        }
    }
    return end_message(result);
}

void write_loan(struct actor *actor) {
    write_message(actor->loan.data, actor->loan.bytes, seed_of(ledger()->identity, begin_message()));
}

int send_loan(struct actor *actor) {
    return end_message(tarn_loan_send(&actor->loan));
}

/*
 * ---- accounts -----------------------------------------------------------------------------------------------------
 */

static struct account *find_account(struct follower *follower, const tarn_message *message) {
    for (unsigned i = 0; i < follower->count; i++)
        if (follower->accounts[i].publisher == message->publisher)
            return &follower->accounts[i];
    CHECK_INT(follower->count, <, sizeof follower->accounts / sizeof follower->accounts[0]);
    struct account *account = &follower->accounts[follower->count++];
    *account = (struct account){message->publisher, follower->from_first ? 1 : message->sequence - message->lost, 0};
    return account;
}

void account_for(struct follower *follower, const tarn_message *message) {
    struct account *account = find_account(follower, message);
    CHECK_INT(message->sequence, ==, account->next + message->lost);
    CHECK(is_message(message->data, message->bytes, seed_of(message->publisher, message->sequence)));
    account->next = message->sequence + 1;
    account->lost += message->lost;
}

struct account account_of(const struct follower *follower, uint64_t publisher) {
    for (unsigned i = 0; i < follower->count; i++)
        if (follower->accounts[i].publisher == publisher)
            return follower->accounts[i];
    return (struct account){publisher, 1, 0};
}

void follow(struct follower *follower) {
    tarn_message message;
    int result;
    while ((result = tarn_subscriber_take(follower->subscriber, &message)) == 1) {
        account_for(follower, &message);
        CHECK_STATUS(tarn_message_release(&message), 0);
    }
    CHECK_STATUS(result, 0);
}

/*
 * ---- survivors ----------------------------------------------------------------------------------------------------
 */

static int send_from(tarn_publisher *publisher, uint64_t number, size_t bytes) {
    static char buffer[PRESSURE_BYTES];
    CHECK_INT(bytes, <=, sizeof buffer);
    write_message(buffer, bytes, seed_of(tarn_publisher_identity(publisher), number));
    return tarn_publisher_publish(publisher, buffer, bytes);
}

static int send_one(struct survivors *survivors, size_t bytes) {
    int result = send_from(survivors->witness, survivors->sent + 1, bytes);
    survivors->sent += result == 1;
    follow(&survivors->reliable);
    if (survivors->sent % 3 == 0)
        follow(&survivors->loose);
    return result;
}

void send_some(struct survivors *survivors, unsigned count, size_t bytes) {
    for (unsigned i = 0; i < count; i++)
        CHECK_STATUS(send_one(survivors, bytes), 1);
}

/* Unless a reliable subscriber that lives holds the witness back, as far as that was told to wait. */
static bool send_unless_full(struct scene *scene, bool actor_lives, size_t bytes) {
    int result = send_one(&others, bytes);
    if (result == TARN_ERROR_FULL && actor_lives && scene->operation->holds_back && is_named(scene))
        return false;
    CHECK_STATUS(result, 1);
    return true;
}

/* More than the witness' memory holds. */
static void send_much(struct scene *scene, bool actor_lives) {
    for (int i = 0; i < PRESSURE_COUNT && send_unless_full(scene, actor_lives, PRESSURE_BYTES); i++)
        ;
}

static const tarn_publisher_options witness_options = {
    .struct_bytes = sizeof witness_options,
    .memory_limit_bytes = WITNESS_MEMORY,
    .full_timeout_ns = 100 * MS,
};
static const tarn_subscriber_options reliable_options = {.struct_bytes = sizeof reliable_options, .reliable = 1};

static bool open_survivors(struct scene *scene, bool actor_lives) {
    struct survivors *survivors = &others;
    int status = tarn_publisher_open(&survivors->witness, TOPIC, &witness_options);
    if (is_locked_out(status, scene, actor_lives))
        return false;
    CHECK_STATUS(status, 0);
    CHECK_STATUS(tarn_subscriber_open(&survivors->reliable.subscriber, TOPIC, &reliable_options), 0);
    CHECK_STATUS(tarn_subscriber_open(&survivors->loose.subscriber, TOPIC, NULL), 0);
    survivors->reliable.from_first = !scene->operation->alone;
    ledger()->witness = tarn_publisher_identity(survivors->witness);
    return true;
}

/* A message that was sent, but of which nobody was told, is taken by who waits for it all the same. */
static void check_waiting(struct survivors *survivors) {
    if (survivors->sleeper)
        AWAIT(ledger()->woken >= ledger()->sent);
    if (survivors->fd >= 0 && ledger()->sent) {
        struct pollfd waiting = {.fd = survivors->fd, .events = POLLIN};
        CHECK_INT(poll(&waiting, 1, GENEROUS / MS), ==, 1);
    }
}

/* Somebody joins, sends, takes, counts, and leaves. */
static void check_newcomer(struct scene *scene, bool actor_lives) {
    struct survivors *survivors = &others;
    struct follower follower = {.subscriber = subscriber_of(TOPIC, NULL)};
    tarn_publisher *publisher = PUBLISHER(TOPIC, .linger_ns = actor_lives ? 20 * MS : SECOND);
    for (uint64_t number = 1; number <= 3; number++)
        CHECK_STATUS(send_from(publisher, number, 100), 1);
    bool any = send_unless_full(scene, actor_lives, 64);
    follow(&follower);
    uint64_t identity = tarn_publisher_identity(publisher);
    CHECK_INT(account_of(&survivors->reliable, identity).next, ==, 4);
    CHECK_INT(account_of(&follower, identity).next, ==, 4);
    CHECK_INT(account_of(&follower, ledger()->witness).next, ==, any ? survivors->sent + 1 : 1);
    unsigned known = 3 + (survivors->sleeper != 0);
    int subscribers = tarn_publisher_subscribers(publisher),
        publishers = tarn_subscriber_publishers(follower.subscriber);
    CHECK_INT(subscribers, >=, known);
    CHECK_INT(subscribers, <=, known + actor_lives);
    CHECK_INT(publishers, >=, 2);
    CHECK_INT(publishers, <=, 2 + actor_lives);
    CHECK_STATUS(tarn_subscriber_close(follower.subscriber), 0);
    follow(&survivors->loose);
    int behind = tarn_publisher_close(publisher);
    CHECK_INT(behind, >=, 0);
    CHECK_INT(behind, <=, actor_lives);
}

static void check(struct scene *scene, bool actor_lives) {
    struct survivors *survivors = &others;
    check_waiting(survivors);
    send_much(scene, actor_lives);
    check_newcomer(scene, actor_lives);
    follow(&survivors->reliable);
    follow(&survivors->loose);
    CHECK_INT(account_of(&survivors->reliable, ledger()->witness).next, ==, survivors->sent + 1);
    CHECK_INT(account_of(&survivors->reliable, ledger()->witness).lost, ==, 0);
    ledger()->expected = survivors->sent;
}

/* Who comes now gets what the actor left, all of which it still had: it did not send much. */
static void check_kept(struct scene *scene) {
    if (!others.keeper || !ledger()->sent || scene->operation->lets_lose)
        return;
    struct follower late = {.subscriber = SUBSCRIBER(TOPIC, .history = 1000)};
    follow(&late);
    struct account account = account_of(&late, ledger()->identity);
    CHECK_INT(account.next - 1, >=, ledger()->sent);
    CHECK_INT(account.next - 1, <=, ledger()->begun);
    CHECK_INT(account.lost, ==, 0);
    CHECK_STATUS(tarn_subscriber_close(late.subscriber), 0);
}

/* What was taken of the actor is what it sent, give or take the message in the making. */
static void check_gone(struct scene *scene) {
    struct follower *reliable = &others.reliable;
    check_swept(others.keeper ? -1 : 3 + (others.sleeper != 0));
    check_kept(scene);
    follow(reliable);
    follow(&others.loose);
    if (scene->operation->alone || !ledger()->identity)
        return;
    struct account account = account_of(reliable, ledger()->identity);
    uint64_t taken = account.next - 1 - account.lost, lost = tarn_subscriber_lost(reliable->subscriber);
    CHECK_INT(taken + lost, >=, ledger()->sent);
    CHECK_INT(taken + lost, <=, ledger()->begun);
    if (!scene->operation->lets_lose)
        CHECK_INT(lost, ==, 0);
}

/*
 * ---- sleeping -----------------------------------------------------------------------------------------------------
 */

static void sleep_on(void *arg) {
    (void)arg;
    struct follower follower = {
        .subscriber = SUBSCRIBER(TOPIC, .wait_strategy = TARN_WAIT_SLEEP),
        .accounts = {{ledger()->identity, ledger()->sent + 1, 0}},
        .count = 1,
    };
    tarn_message message;
    ledger()->woken = ledger()->sent;
    while (!ledger()->last || account_of(&follower, ledger()->witness).next <= ledger()->last) {
        CHECK_STATUS(tarn_subscriber_receive(follower.subscriber, &message, GENEROUS), 1);
        account_for(&follower, &message);
        CHECK_STATUS(tarn_message_release(&message), 0);
        ledger()->woken = account_of(&follower, ledger()->identity).next - 1;
    }
    CHECK_STATUS(tarn_subscriber_close(follower.subscriber), 0);
}

void begin_sleeper(struct survivors *survivors) {
    ledger()->woken = UINT64_MAX;
    survivors->sleeper = spawn(sleep_on, NULL);
    AWAIT(ledger()->woken != UINT64_MAX);
    nap_ns(2 * MS); /* it is asleep by then, most probably */
}

static void end_sleeper(struct survivors *survivors) {
    if (!survivors->sleeper)
        return;
    ledger()->last = survivors->sent + 1;
    send_some(survivors, 1, 64);
    CHECK_INT(wait_child(survivors->sleeper, LIMIT_S), ==, 0);
    survivors->sleeper = 0;
}

/*
 * ---- keeping ------------------------------------------------------------------------------------------------------
 */

static void keep_on(void *arg) {
    (void)arg;
    tarn_keeper *keeper;
    CHECK_STATUS(tarn_keeper_open(&keeper, TOPIC, NULL), 0);
    ledger()->keeps = true;
    while (!ledger()->enough)
        CHECK_STATUS(tarn_keeper_wait(keeper, 10 * MS), 0);
    CHECK_STATUS(tarn_keeper_close(keeper), 0);
}

void begin_keeper(struct survivors *survivors) {
    survivors->keeper = spawn(keep_on, NULL);
    AWAIT(ledger()->keeps);
}

static void end_keeper(struct survivors *survivors) {
    if (!survivors->keeper)
        return;
    ledger()->enough = true;
    CHECK_INT(wait_child(survivors->keeper, LIMIT_S), ==, 0);
    survivors->keeper = 0;
}

/*
 * ---- the actor ----------------------------------------------------------------------------------------------------
 */

/* A subscriber goes on: it gets everything from here on, or is told how much it lost. */
static void catch_up(struct actor *actor) {
    tarn_message message;
    while (account_of(&actor->follower, ledger()->witness).next <= ledger()->expected) {
        CHECK_STATUS(tarn_subscriber_receive(actor->subscriber, &message, GENEROUS), 1);
        account_for(&actor->follower, &message);
        CHECK_STATUS(tarn_message_release(&message), 0);
    }
}

static void leave(struct actor *actor) {
    if (actor->publisher)
        CHECK_STATUS(send_next(actor, 32), 1);
    if (actor->subscriber)
        catch_up(actor);
    while (actor->held_count)
        CHECK_STATUS(tarn_message_release(&actor->held[--actor->held_count]), 0);
    CHECK_INT(tarn_publisher_close(actor->publisher), >=, 0); /* who is behind when it has lingered */
    CHECK_STATUS(tarn_keeper_close(actor->keeper), 0);
    CHECK_STATUS(tarn_subscriber_close(actor->subscriber), 0);
    for (int i = 0; i < 2 && actor->pipe[1]; i++)
        CHECK_INT(close(actor->pipe[i]), ==, 0);
}

/*
 * ---- the pattern ----------------------------------------------------------------------------------------------------
 */

static void clear(void) {
    others = (struct survivors){.fd = -1};
}

/* What is in memory that nobody else has attached would go with the actor. */
static void look(struct survivors *survivors) {
    CHECK_INT(tarn_subscriber_wait(survivors->reliable.subscriber, 0), >=, 0);
    CHECK_INT(tarn_subscriber_wait(survivors->loose.subscriber, 0), >=, 0);
}

static void go_on(struct survivors *survivors) {
    send_some(survivors, 1, 64);
}

static void close_survivors(struct scene *scene) {
    (void)scene;
    end_sleeper(&others);
    end_keeper(&others);
    CHECK_STATUS(tarn_subscriber_close(others.loose.subscriber), 0);
    CHECK_STATUS(tarn_subscriber_close(others.reliable.subscriber), 0);
    CHECK_STATUS(tarn_publisher_close(others.witness), 0);
}

static struct actor actor;

const struct pattern pattern = {
    .operations = messages_operations,
    .count = MESSAGES_OPERATIONS,
    .actor = &actor,
    .survivors = &others,
    .clear = clear,
    .open = open_survivors,
    .look = look,
    .check = check,
    .go_on = go_on,
    .gone = check_gone,
    .close = close_survivors,
    .leave = leave,
};
