/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * Clients and servers in one process: what each call does, and says. Processes and deaths are in tests/multi/service.c.
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/shm.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "common.h"
#include "core/publisher.h"
#include "core/service.h"
#include "core/subscriber.h"
#include "core/waitables.h"

#define CLIENT_OPTIONS(...) (&(tarn_client_options){.struct_bytes = sizeof(tarn_client_options), __VA_ARGS__})
#define SERVER_OPTIONS(...) (&(tarn_server_options){.struct_bytes = sizeof(tarn_server_options), __VA_ARGS__})
#define client_with(...) open_client(CLIENT_OPTIONS(.server_timeout_ns = TARN_IMMEDIATELY, __VA_ARGS__))
#define server_with(...) open_server(SERVER_OPTIONS(.linger_ns = TARN_IMMEDIATELY, __VA_ARGS__))

static unsigned allocations_left = UINT_MAX; /* then there is no memory */

#if defined(__GLIBC__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define CAN_RUN_OUT_OF_MEMORY 1
void *__libc_malloc(size_t bytes);

/* In place of libc's. */
void *malloc(size_t bytes) {
    if (allocations_left == 0)
        return NULL;
    allocations_left -= allocations_left != UINT_MAX;
    return __libc_malloc(bytes);
}
#else
#define CAN_RUN_OUT_OF_MEMORY 0
#endif

static tarn_client *open_client(const tarn_client_options *options) {
    tarn_client *client = NULL;
    CHECK_STATUS(tarn_client_open(&client, TOPIC, options), 0);
    return client;
}

static tarn_server *open_server(const tarn_server_options *options) {
    tarn_server *server = NULL;
    CHECK_STATUS(tarn_server_open(&server, TOPIC, options), 0);
    return server;
}

static void close_both(tarn_client *client, tarn_server *server) {
    CHECK_STATUS(tarn_client_close(client), 0);
    CHECK_STATUS(tarn_server_close(server), 0);
}

static uint64_t send_text(tarn_client *client, const char *text) {
    uint64_t number = 0;
    CHECK_STATUS(tarn_client_send(client, text, strlen(text), &number), 1);
    CHECK(number != 0);
    return number;
}

static tarn_request take_request(tarn_server *server, const char *text) {
    tarn_request request;
    CHECK_STATUS(tarn_server_take(server, &request), 1);
    CHECK_INT(request.bytes, ==, strlen(text));
    CHECK(memcmp(request.data, text, strlen(text)) == 0);
    return request;
}

static void take_response(tarn_client *client, uint64_t number, const char *text, uint32_t flags) {
    tarn_message message;
    CHECK_STATUS(tarn_client_take(client, &message), 1);
    CHECK_INT(message.request, ==, number);
    CHECK_INT(message.flags, ==, flags);
    CHECK_INT(message.bytes, ==, strlen(text));
    CHECK(memcmp(message.data, text, strlen(text)) == 0);
    release(&message);
}

static void reply_text(tarn_request *request, const char *text) {
    CHECK_STATUS(tarn_request_reply(request, text, strlen(text)), 1);
    CHECK(request->taken_by == NULL);
}

TEST(a_request_is_answered) {
    tarn_server *server = server_with();
    tarn_client *client = client_with();
    uint64_t number = send_text(client, "question");
    CHECK_INT(number, ==, 1);
    CHECK_INT(tarn_client_pending(client), ==, 1);
    tarn_request request = take_request(server, "question");
    CHECK_INT(request.number, ==, number);
    reply_text(&request, "answer");
    take_response(client, number, "answer", TARN_MESSAGE_LAST);
    CHECK_INT(tarn_client_pending(client), ==, 0);
    close_both(client, server);
}

TEST(the_client_may_come_first) {
    tarn_client *client = client_with();
    tarn_server *server = server_with();
    uint64_t number = send_text(client, "question");
    tarn_request request = take_request(server, "question");
    reply_text(&request, "answer");
    take_response(client, number, "answer", TARN_MESSAGE_LAST);
    close_both(client, server);
}

/*
 * ---- what a request may get ----------------------------------------------------------------------------------------
 */

TEST(no_response_one_or_many) {
    tarn_server *server = server_with();
    tarn_client *client = client_with();
    uint64_t none = send_text(client, "none"), many = send_text(client, "many");
    tarn_request first = take_request(server, "none"), second = take_request(server, "many");
    CHECK_STATUS(tarn_request_stream(&second, "1", 1), 1);
    CHECK_STATUS(tarn_request_end(&first), 1);
    CHECK_STATUS(tarn_request_stream(&second, "2", 1), 1);
    CHECK_STATUS(tarn_request_end(&second), 1);
    take_response(client, many, "1", 0);
    take_response(client, none, "", TARN_MESSAGE_LAST | TARN_MESSAGE_NO_DATA);
    take_response(client, many, "2", 0);
    CHECK_INT(tarn_client_pending(client), ==, 1);
    take_response(client, many, "", TARN_MESSAGE_LAST | TARN_MESSAGE_NO_DATA);
    CHECK_INT(tarn_client_pending(client), ==, 0);
    tarn_message message;
    CHECK_STATUS(tarn_client_receive(client, &message, TARN_FOREVER), 0); /* as nothing is pending */
    close_both(client, server);
}

TEST(answers_come_in_any_order) {
    tarn_server *server = server_with();
    tarn_client *client = client_with();
    uint64_t numbers[3];
    tarn_request requests[3];
    for (int i = 0; i < 3; i++)
        numbers[i] = send_text(client, "x");
    for (int i = 0; i < 3; i++)
        requests[i] = take_request(server, "x");
    for (int i = 2; i >= 0; i--)
        reply_text(&requests[i], "y");
    for (int i = 2; i >= 0; i--)
        take_response(client, numbers[i], "y", TARN_MESSAGE_LAST);
    close_both(client, server);
}

static void round_of(tarn_client *client, tarn_server *server, size_t bytes, uint64_t alignment) {
    char *data = malloc(bytes + 1);
    tarn_request request;
    tarn_message message;
    fill_pattern(data, bytes, bytes);
    set_context("%zu bytes", bytes);
    CHECK_STATUS(tarn_client_send(client, bytes ? data : NULL, bytes, NULL), 1);
    CHECK_STATUS(tarn_server_take(server, &request), 1);
    CHECK_INT(request.bytes, ==, bytes);
    CHECK_INT((uintptr_t)request.data % alignment, ==, 0);
    CHECK(check_pattern(request.data, bytes, bytes));
    CHECK_STATUS(tarn_request_reply(&request, request.data, bytes), 1);
    CHECK_STATUS(tarn_client_take(client, &message), 1);
    CHECK_INT(message.bytes, ==, bytes);
    CHECK_INT(message.flags, ==, TARN_MESSAGE_LAST);
    CHECK_INT((uintptr_t)message.data % alignment, ==, 0);
    CHECK(check_pattern(message.data, bytes, bytes));
    release(&message);
    free(data);
}

TEST(any_size) {
    tarn_server *server = server_with();
    tarn_client *client = client_with();
    static const size_t sizes[] = {0,  1,  7,   8,   9,    15,    16,    17,     23,          24,
                                   25, 55, 100, 999, 4096, 65536, 70000, 300000, 1024 * 1024, 5000000};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        round_of(client, server, sizes[i], 8);
    for (size_t bytes = 0; bytes < 200; bytes++)
        round_of(client, server, bytes, 8);
    close_both(client, server);
}

TEST(payloads_are_aligned_as_their_type_says) {
    tarn_type type = {.struct_bytes = sizeof(type), .name = "block", .alignment = 256};
    tarn_server *server = server_with(.request_type = &type, .response_type = &type);
    tarn_client *client = client_with(.request_type = &type, .response_type = &type);
    for (size_t bytes = 0; bytes < 100000; bytes += 997)
        round_of(client, server, bytes, 256);
    close_both(client, server);
}

TEST(types_are_settled_by_the_first) {
    tarn_type question = {.struct_bytes = sizeof(question), .name = "question", .bytes = 8};
    tarn_type answer = {.struct_bytes = sizeof(answer), .name = "answer", .bytes = 4};
    tarn_server *server = server_with(.request_type = &question, .response_type = &answer), *other;
    tarn_client *client;
    CHECK_STATUS(tarn_client_open(&client, TOPIC, CLIENT_OPTIONS(.request_type = &answer)), TARN_ERROR_TYPE);
    CHECK_STATUS(tarn_client_open(&client, TOPIC, CLIENT_OPTIONS(.response_type = &question)), TARN_ERROR_TYPE);
    CHECK(strstr(tarn_error(), "for responses"));
    CHECK_STATUS(tarn_server_open(&other, TOPIC, SERVER_OPTIONS(.response_type = &question)), TARN_ERROR_TYPE);
    client = client_with(.request_type = &question, .response_type = &answer);
    CHECK_STATUS(tarn_client_send(client, "123456789", 9, NULL), TARN_ERROR_TOO_BIG);
    CHECK(strstr(tarn_error(), "of 9 bytes is larger than 8"));
    CHECK_INT(tarn_client_pending(client), ==, 0);
    uint64_t number = send_text(client, "12345678");
    tarn_request request = take_request(server, "12345678");
    CHECK_STATUS(tarn_request_reply(&request, "12345", 5), TARN_ERROR_TOO_BIG);
    reply_text(&request, "1234");
    take_response(client, number, "1234", TARN_MESSAGE_LAST);
    close_both(client, server);
}

TEST(another_pattern_is_refused) {
    tarn_server *server = server_with();
    tarn_publisher *publisher;
    tarn_subscriber *subscriber;
    CHECK_STATUS(tarn_publisher_open(&publisher, TOPIC, NULL), TARN_ERROR_PATTERN);
    CHECK_STATUS(tarn_subscriber_open(&subscriber, TOPIC, NULL), TARN_ERROR_PATTERN);
    CHECK_STATUS(tarn_server_close(server), 0);
    publisher = publisher_with();
    CHECK_STATUS(tarn_server_open(&server, TOPIC, NULL), TARN_ERROR_PATTERN);
    CHECK_STATUS(tarn_publisher_close(publisher), 0);
}

/* ---- loans ----------------------------------------------------------------------------------------------------- */

TEST(loans_of_both_sides) {
    tarn_server *server = server_with();
    tarn_client *client = client_with();
    tarn_loan loan, other;
    uint64_t number, dropped;
    CHECK_STATUS(tarn_client_loan(client, 100, &loan, &number), 1);
    CHECK_STATUS(tarn_client_loan(client, 100, &other, &dropped), 1);
    CHECK_INT(tarn_client_pending(client), ==, 2);
    CHECK_STATUS(tarn_loan_drop(&other), 0);
    CHECK_STATUS(tarn_loan_drop(&other), TARN_ERROR_RELEASED);
    CHECK_INT(tarn_client_pending(client), ==, 1);
    memcpy(loan.data, "abcd", 4);
    loan.bytes = 101;
    CHECK_STATUS(tarn_loan_send(&loan), TARN_ERROR_ARGUMENT);
    loan.bytes = 4;
    CHECK_STATUS(tarn_loan_send(&loan), 1);
    CHECK_STATUS(tarn_loan_send(&loan), TARN_ERROR_RELEASED);
    tarn_request request = take_request(server, "abcd");
    CHECK_STATUS(tarn_request_loan(&request, 3, 0, &loan), 1);
    CHECK_STATUS(tarn_request_loan(&request, 3, 1, &other), 1);
    memcpy(loan.data, "one", 3);
    memcpy(other.data, "two", 3);
    CHECK_STATUS(tarn_loan_send(&loan), 1);
    CHECK_STATUS(tarn_loan_send(&other), 1);
    CHECK_STATUS(tarn_request_end(&request), TARN_ERROR_RELEASED);
    take_response(client, number, "one", 0);
    take_response(client, number, "two", TARN_MESSAGE_LAST);
    CHECK_STATUS(tarn_client_loan(client, 5, &loan, &number), 1);
    CHECK_STATUS(tarn_client_abandon(client, number), 1);
    CHECK_STATUS(tarn_loan_send(&loan), 0);
    close_both(client, server);
}

/* ---- limits ---------------------------------------------------------------------------------------------------- */

TEST(pending_requests_are_limited) {
    tarn_server *server = server_with();
    tarn_client *client = client_with(.max_pending = 3);
    uint64_t numbers[3];
    for (int i = 0; i < 3; i++)
        numbers[i] = send_text(client, "x");
    CHECK_STATUS(tarn_client_send(client, "x", 1, NULL), TARN_ERROR_PENDING);
    CHECK_STATUS(tarn_client_abandon(client, numbers[1]), 1);
    CHECK_STATUS(tarn_client_abandon(client, numbers[1]), 0);
    send_text(client, "y");
    CHECK_STATUS(tarn_client_send(client, "x", 1, NULL), TARN_ERROR_PENDING);
    close_both(client, server);
}

TEST(taken_requests_are_limited) {
    tarn_server *server = server_with(.max_taken = 2);
    tarn_client *client = client_with();
    tarn_request requests[2], more;
    for (int i = 0; i < 3; i++)
        send_text(client, "x");
    for (int i = 0; i < 2; i++)
        requests[i] = take_request(server, "x");
    CHECK_STATUS(tarn_server_take(server, &more), TARN_ERROR_HOLDING);
    reply_text(&requests[0], "y");
    more = take_request(server, "x");
    CHECK_STATUS(tarn_request_end(&more), 1);
    CHECK_STATUS(tarn_request_end(&requests[1]), 1);
    close_both(client, server);
}

TEST(held_responses_are_limited_and_outlive_the_client) {
    tarn_server *server = server_with();
    tarn_client *client = client_with(.max_held = 2);
    tarn_message messages[2], more;
    for (int i = 0; i < 3; i++)
        send_text(client, "x");
    for (int i = 0; i < 3; i++) {
        tarn_request request = take_request(server, "x");
        reply_text(&request, "y");
    }
    for (int i = 0; i < 2; i++)
        CHECK_STATUS(tarn_client_take(client, &messages[i]), 1);
    CHECK_STATUS(tarn_client_take(client, &more), TARN_ERROR_HOLDING);
    release(&messages[0]);
    CHECK_STATUS(tarn_client_take(client, &messages[0]), 1);
    CHECK_STATUS(tarn_client_close(client), 0);
    CHECK_STATUS(tarn_server_close(server), 0);
    CHECK(memcmp(messages[1].data, "y", 1) == 0);
    release(&messages[0]);
    release(&messages[1]);
}

TEST(a_server_that_does_not_take_is_full) {
    tarn_server *server = server_with(.when_full = TARN_FULL_FAIL, .memory_limit_bytes = MIB);
    tarn_client *client = client_with(.when_full = TARN_FULL_FAIL, .memory_limit_bytes = MIB);
    static char data[100000];
    int sent = 0, status;
    while ((status = tarn_client_send(client, data, sizeof data, NULL)) == 1)
        CHECK_INT(++sent, <, 20);
    CHECK_STATUS(status, TARN_ERROR_FULL);
    CHECK_INT(tarn_client_pending(client), ==, sent);
    tarn_request request;
    CHECK_STATUS(tarn_server_take(server, &request), 1);
    sent = 0;
    while ((status = tarn_request_stream(&request, data, sizeof data)) == 1)
        CHECK_INT(++sent, <, 20);
    CHECK_STATUS(status, TARN_ERROR_FULL);
    tarn_message message;
    while (sent-- > 0) {
        CHECK_STATUS(tarn_client_take(client, &message), 1);
        release(&message);
    }
    CHECK_STATUS(tarn_request_end(&request), 1);
    close_both(client, server);
}

/* ---- abandoning ------------------------------------------------------------------------------------------------ */

/* The place that a server has for its next request was that of the one before, which is abandoned only now. */
TEST(what_is_abandoned_late_does_not_end_the_next) {
    tarn_client *client = client_with();
    tarn_server *server = server_with();
    tarn_request request;
    uint64_t first = send_text(client, "first");
    CHECK_STATUS(tarn_server_receive(server, &request, 0), 1);
    CHECK_STATUS(tarn_client_abandon(client, first), 1);
    CHECK_STATUS(tarn_request_reply(&request, "late", 4), 1);
    uint64_t second = send_text(client, "second");
    CHECK_STATUS(tarn_server_receive(server, &request, 0), 1);
    CHECK_INT(request.number, ==, second);
    CHECK_STATUS(tarn_request_reply(&request, "answer", 6), 1);
    take_response(client, second, "answer", TARN_MESSAGE_LAST);
    CHECK_STATUS(tarn_server_close(server), 0);
    CHECK_STATUS(tarn_client_close(client), 0);
}

TEST(an_abandoned_request_is_seen_as_such) {
    tarn_server *server = server_with();
    tarn_client *client = client_with();
    uint64_t first = send_text(client, "first"), second = send_text(client, "second"), third;
    tarn_request request = take_request(server, "first"), kept;
    CHECK_STATUS(tarn_request_abandoned(&request), 0);
    CHECK_STATUS(tarn_request_stream(&request, "in vain", 7), 1);
    CHECK_STATUS(tarn_client_abandon(client, first), 1);
    CHECK_STATUS(tarn_client_abandon(client, second), 1);
    third = send_text(client, "third");
    CHECK_STATUS(tarn_request_abandoned(&request), 1);
    CHECK_STATUS(tarn_request_stream(&request, "more", 4), 0);
    CHECK_STATUS(tarn_request_stream(&request, "more", 4), TARN_ERROR_RELEASED);
    CHECK_STATUS(tarn_server_wait(server, 0), 1);
    kept = take_request(server, "third"); /* the second was given up before it was taken */
    reply_text(&kept, "y");
    take_response(client, third, "y", TARN_MESSAGE_LAST); /* nothing of the first */
    close_both(client, server);
}

TEST(a_client_that_left_is_not_answered) {
    tarn_server *server = server_with();
    tarn_client *client = client_with();
    send_text(client, "one");
    send_text(client, "two");
    tarn_request request = take_request(server, "one"), more;
    CHECK_STATUS(tarn_client_close(client), 0);
    CHECK_STATUS(tarn_request_abandoned(&request), 1);
    CHECK_STATUS(tarn_request_reply(&request, "y", 1), TARN_ERROR_PEER_DIED);
    CHECK(strstr(tarn_error(), "left"));
    CHECK_STATUS(tarn_request_reply(&request, "y", 1), TARN_ERROR_RELEASED);
    CHECK_STATUS(tarn_server_take(server, &more), 0);
    CHECK_STATUS(tarn_server_close(server), 0);
}

/* Its slot stays until what it holds is released; but nobody reads answers any more. */
TEST(a_client_that_left_holding_is_not_answered) {
    tarn_server *server = server_with();
    tarn_client *client = client_with();
    tarn_message message;
    send_text(client, "one");
    send_text(client, "two");
    tarn_request request = take_request(server, "one");
    reply_text(&request, "y");
    CHECK_STATUS(tarn_client_take(client, &message), 1);
    request = take_request(server, "two");
    CHECK_STATUS(tarn_client_close(client), 0);
    CHECK_STATUS(tarn_request_abandoned(&request), 1);
    CHECK_STATUS(tarn_request_reply(&request, "y", 1), TARN_ERROR_PEER_DIED);
    CHECK_STATUS(tarn_server_close(server), 0);
    CHECK(memcmp(message.data, "y", 1) == 0);
    release(&message);
}

TEST(a_server_that_left_fails_what_it_did_not_answer) {
    tarn_server *server = server_with();
    tarn_client *client = client_with();
    uint64_t answered = send_text(client, "one"), first = send_text(client, "two"), second = send_text(client, "three");
    tarn_request request = take_request(server, "one");
    reply_text(&request, "y");
    tarn_message message;
    CHECK_STATUS(tarn_client_wait(client, 0), 1); /* attaches what the answer lies in */
    request = take_request(server, "two");
    CHECK_STATUS(tarn_server_close(server), 0);
    CHECK_STATUS(tarn_request_reply(&request, "y", 1), TARN_ERROR_CLOSED);
    take_response(client, answered, "y", TARN_MESSAGE_LAST); /* first what it had answered */
    for (int i = 0; i < 2; i++) {
        CHECK_STATUS(tarn_client_receive(client, &message, TARN_FOREVER), TARN_ERROR_PEER_DIED);
        CHECK_INT(message.request, ==, i ? second : first);
        CHECK(message.held_by == NULL);
    }
    CHECK(strstr(tarn_error(), "left"));
    CHECK_INT(tarn_client_pending(client), ==, 0);
    CHECK_STATUS(tarn_client_receive(client, &message, TARN_FOREVER), 0);
    CHECK_STATUS(tarn_client_send(client, "x", 1, NULL), TARN_ERROR_NO_PEER);
    server = server_with();
    uint64_t again = send_text(client, "two");
    request = take_request(server, "two");
    reply_text(&request, "y");
    take_response(client, again, "y", TARN_MESSAGE_LAST);
    close_both(client, server);
}

/* ---- several servers ------------------------------------------------------------------------------------------- */

/* The answer lies in memory that the client has not attached yet. */
TEST(a_server_that_leaves_at_once_says_who_has_not_got_all) {
    tarn_client *client = client_with();
    tarn_server *server = server_with();
    static char answer[4 * MIB];
    for (int taken = 0; taken < 2; taken++) {
        uint64_t number = send_text(client, "much");
        tarn_request request = take_request(server, "much");
        tarn_message response;
        CHECK_STATUS(tarn_request_reply(&request, answer, sizeof(answer)), 1);
        if (taken) {
            CHECK_STATUS(tarn_client_take(client, &response), 1);
            CHECK_INT(response.request, ==, number);
            release(&response);
        }
        CHECK_STATUS(tarn_server_close(server), !taken);
        server = server_with();
        for (int result; (result = tarn_client_take(client, &response)) != 0;) /* or its server has left */
            if (result == 1)
                release(&response);
    }
    close_both(client, server);
}

/* The client has connected, but asked nothing yet, so there is nothing that it could lack. */
TEST(a_server_that_sent_nothing_waits_for_nobody) {
    tarn_client *client = client_with();
    tarn_server *server = open_server(SERVER_OPTIONS(.linger_ns = TARN_FOREVER));
    tarn_loan loan;
    tarn_request none;
    CHECK_STATUS(tarn_client_loan(client, 1, &loan, NULL), 1);
    CHECK_STATUS(tarn_server_take(server, &none), 0); /* it connects, too */
    CHECK_STATUS(tarn_server_close(server), 0);
    CHECK_STATUS(tarn_loan_drop(&loan), 0);
    CHECK_STATUS(tarn_client_close(client), 0);
}

TEST(a_take_that_finds_nothing_leaves_the_struct_as_it_is) {
    tarn_client *client = client_with();
    tarn_server *server = server_with();
    uint64_t number = send_text(client, "one");
    tarn_request request = take_request(server, "one");
    CHECK_STATUS(tarn_server_take(server, &request), 0);
    CHECK_STATUS(tarn_server_receive(server, &request, 1000000), 0);
    CHECK_STATUS(tarn_request_reply(&request, "1", 1), 1);
    take_response(client, number, "1", TARN_MESSAGE_LAST);
    close_both(client, server);
}

TEST(requests_go_to_who_has_the_least_to_do) {
    tarn_server *servers[3];
    tarn_request requests[3];
    for (int i = 0; i < 3; i++)
        servers[i] = server_with();
    tarn_client *client = client_with();
    CHECK_INT(tarn_client_servers(client), ==, 3);
    CHECK_INT(tarn_server_clients(servers[1]), ==, 1);
    for (int i = 0; i < 3; i++)
        send_text(client, "x");
    for (int i = 0; i < 3; i++)
        requests[i] = take_request(servers[i], "x");
    for (int round = 0; round < 5; round++) { /* the one that is idle gets it */
        reply_text(&requests[1], "y");
        tarn_message message;
        CHECK_STATUS(tarn_client_take(client, &message), 1);
        release(&message);
        send_text(client, "x");
        requests[1] = take_request(servers[1], "x");
    }
    CHECK_STATUS(tarn_client_close(client), 0);
    for (int i = 0; i < 3; i++)
        CHECK_STATUS(tarn_server_close(servers[i]), 0);
}

static bool no_segments;
static unsigned segments_refused;

/* In place of libc's. */
int shmget(key_t key, size_t bytes, int flags) {
    if (!no_segments)
        return (int)syscall(SYS_shmget, key, bytes, flags);
    segments_refused++;
    errno = ENOMEM;
    return -1;
}

/* Who waits for an answer sleeps though another server cannot be connected with, which is tried again later. */
TEST(a_server_that_cannot_be_reached_keeps_nobody_awake) {
    tarn_server *server = server_with();
    tarn_client *client = client_with();
    tarn_message message;
    send_text(client, "question");
    tarn_request request = take_request(server, "question");
    tarn_server *other = server_with();
    no_segments = true;
    segments_refused = 0;
    CHECK_STATUS(tarn_client_receive(client, &message, 300000000), 0);
    CHECK_INT(segments_refused, >, 0);
    CHECK_INT(segments_refused, <, 50);
    no_segments = false;
    usleep(150000);
    send_text(client, "another");
    tarn_request another = take_request(other, "another"); /* as it has less to do */
    CHECK_STATUS(tarn_request_end(&request), 1);
    CHECK_STATUS(tarn_request_end(&another), 1);
    CHECK_INT(tarn_server_close(other), >=, 0);
    close_both(client, server);
}

TEST(the_load_that_others_made_counts) {
    tarn_server *busy = server_with(), *idle;
    tarn_client *first = client_with(), *second;
    tarn_request request;
    for (int i = 0; i < 5; i++)
        send_text(first, "x");
    for (int i = 0; i < 5; i++)
        request = take_request(busy, "x");
    idle = server_with();
    second = client_with();
    for (int i = 0; i < 3; i++)
        send_text(second, "z");
    for (int i = 0; i < 3; i++)
        request = take_request(idle, "z");
    CHECK_STATUS(tarn_server_take(busy, &request), 0);
    CHECK_STATUS(tarn_client_close(first), 0);
    CHECK_STATUS(tarn_client_close(second), 0);
    CHECK_STATUS(tarn_server_close(busy), 0);
    CHECK_STATUS(tarn_server_close(idle), 0);
}

/* ---- waiting ----------------------------------------------------------------------------------------------------- */

static bool is_readable(int fd) {
    struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
    return poll(&poll_fd, 1, 0) == 1;
}

TEST(descriptors_tell_of_requests_and_responses) {
    tarn_server *server = server_with();
    tarn_client *client = client_with();
    tarn_request request;
    tarn_message message;
    int server_fd = tarn_server_fd(server), client_fd = tarn_client_fd(client);
    CHECK(server_fd >= 0 && client_fd >= 0);
    CHECK_STATUS(tarn_server_take(server, &request), 0);
    CHECK_STATUS(tarn_client_take(client, &message), 0);
    CHECK(!is_readable(server_fd) && !is_readable(client_fd));
    uint64_t number = send_text(client, "x");
    CHECK(is_readable(server_fd));
    CHECK_STATUS(tarn_server_wait(server, 0), 1);
    CHECK(is_readable(server_fd)); /* it was read ahead, and not taken */
    request = take_request(server, "x");
    reply_text(&request, "y");
    CHECK(is_readable(client_fd));
    CHECK_STATUS(tarn_client_wait(client, 0), 1);
    CHECK(is_readable(client_fd));
    take_response(client, number, "y", TARN_MESSAGE_LAST);
    CHECK_STATUS(tarn_client_take(client, &message), 0);
    CHECK(!is_readable(client_fd));
    close_both(client, server);
}

TEST(what_a_waitset_asks_is_answered) {
    tarn_server *server = server_with();
    tarn_client *client = client_with();
    int server_fd = server_waitable.fd(server), client_fd = client_waitable.fd(client);
    CHECK_STATUS(server_waitable.ready(server), 0);
    CHECK_STATUS(client_waitable.ready(client), 0);
    CHECK(!is_readable(server_fd) && !is_readable(client_fd));
    uint64_t number = send_text(client, "x");
    CHECK(is_readable(server_fd));
    CHECK_STATUS(server_waitable.ready(server), 1);
    CHECK(is_readable(server_fd));
    tarn_request request = take_request(server, "x");
    CHECK_STATUS(server_waitable.ready(server), 0);
    CHECK(!is_readable(server_fd));
    reply_text(&request, "y");
    CHECK_STATUS(client_waitable.ready(client), 1);
    take_response(client, number, "y", TARN_MESSAGE_LAST);
    send_text(client, "z");
    CHECK_STATUS(tarn_server_close(server), 0);
    CHECK_STATUS(client_waitable.ready(client), 1); /* it has failed */
    tarn_message message;
    CHECK_STATUS(tarn_client_take(client, &message), TARN_ERROR_PEER_DIED);
    CHECK_STATUS(client_waitable.ready(client), 0);
    CHECK_STATUS(tarn_client_close(client), 0);
}

TEST(what_a_waitset_looks_at_stays_as_it_is) {
    tarn_server *server = server_with();
    tarn_client *client = client_with();
    tarn_request request;
    tarn_message message;
    int server_fd = server_waitable.fd(server), client_fd = client_waitable.fd(client);
    CHECK_STATUS(server_waitable.look(server), 0);
    CHECK_STATUS(client_waitable.look(client), 0);
    CHECK(is_readable(server_fd) && is_readable(client_fd)); /* as before: nobody has asked */
    CHECK_STATUS(server_waitable.ready(server), 0);
    CHECK_STATUS(client_waitable.ready(client), 0);
    for (int i = 0; i < 2; i++) {
        uint64_t first = send_text(client, "x"), number = send_text(client, "y");
        CHECK_STATUS(tarn_client_abandon(client, first), 1);
        CHECK_STATUS(server_waitable.look(server), 1);
        CHECK_STATUS(server_waitable.look(server), 1);
        CHECK(is_readable(server_fd));
        while (tarn_server_take(server, &request) == 1)
            if (request.number == number)
                reply_text(&request, "z");
            else
                CHECK_INT(tarn_request_end(&request), >=, 0); /* whether it was seen that it is abandoned, or not */
        CHECK_STATUS(server_waitable.look(server), 0);
        CHECK(!is_readable(server_fd));
        CHECK_STATUS(client_waitable.look(client), 1);
        CHECK_STATUS(client_waitable.look(client), 1);
        CHECK(is_readable(client_fd));
        take_response(client, number, "z", TARN_MESSAGE_LAST);
        CHECK_STATUS(client_waitable.look(client), 0);
        CHECK_STATUS(tarn_client_take(client, &message), 0);
        CHECK(!is_readable(client_fd));
    }
    close_both(client, server);
}

TEST(each_request_that_failed_is_reported) {
    tarn_client *client = client_with();
    tarn_message message;
    int client_fd = client_waitable.fd(client);
    for (int looks = 0; looks < 2; looks++) {
        tarn_server *server = server_with();
        for (int i = 0; i < 4; i++)
            send_text(client, "x");
        CHECK_STATUS(client_waitable.ready(client), 0);
        CHECK(!is_readable(client_fd));
        CHECK_STATUS(tarn_server_close(server), 0);
        CHECK_STATUS(client_waitable.ready(client), 1);
        for (int i = 0; i < 4; i++) {
            CHECK(is_readable(client_fd));
            CHECK_STATUS(looks ? client_waitable.look(client) : 1, 1);
            CHECK_STATUS(tarn_client_take(client, &message), TARN_ERROR_PEER_DIED);
        }
        CHECK(!is_readable(client_fd));
        CHECK_STATUS(client_waitable.look(client), 0);
    }
    CHECK_STATUS(tarn_client_close(client), 0);
}

TEST(waits_are_interrupted) {
    tarn_server *server = server_with();
    tarn_client *client = client_with();
    tarn_request request;
    tarn_message message;
    CHECK_STATUS(tarn_server_interrupt(server), 0);
    CHECK_STATUS(tarn_server_receive(server, &request, TARN_FOREVER), TARN_ERROR_INTERRUPTED);
    CHECK_STATUS(tarn_server_interrupt(server), 0);
    CHECK_STATUS(tarn_server_wait(server, TARN_FOREVER), TARN_ERROR_INTERRUPTED);
    send_text(client, "x");
    CHECK_STATUS(tarn_client_interrupt(client), 0);
    CHECK_STATUS(tarn_client_receive(client, &message, TARN_FOREVER), TARN_ERROR_INTERRUPTED);
    CHECK_STATUS(tarn_client_interrupt(client), 0);
    CHECK_STATUS(tarn_client_wait(client, TARN_FOREVER), TARN_ERROR_INTERRUPTED);
    CHECK_STATUS(tarn_client_receive(client, &message, 30 * 1000 * 1000), 0);
    CHECK_STATUS(tarn_server_wait(server, 0), 1);
    close_both(client, server);
}

TEST(a_call_that_is_not_answered_is_abandoned) {
    tarn_server *server = server_with();
    tarn_client *client = client_with();
    tarn_message message;
    uint64_t other = send_text(client, "other");
    CHECK_STATUS(tarn_client_call(client, "x", 1, &message, 20 * 1000 * 1000), 0);
    CHECK_INT(tarn_client_pending(client), ==, 1);
    tarn_request request = take_request(server, "other");
    CHECK_STATUS(tarn_server_wait(server, 0), 1); /* it was not seen yet that the next one is abandoned */
    reply_text(&request, "y");
    CHECK_STATUS(tarn_client_call(client, "x", 1, &message, 20 * 1000 * 1000), 0);
    take_response(client, other, "y", TARN_MESSAGE_LAST); /* came meanwhile */
    close_both(client, server);
}

/* A response that came while another was waited for, of a request that is given up then. */
TEST(what_is_kept_of_an_abandoned_request_is_not_taken) {
    tarn_server *server = server_with();
    tarn_client *client = client_with(.max_held = 2);
    tarn_message message;
    uint64_t abandoned = send_text(client, "many"), other = send_text(client, "one");
    tarn_request many = take_request(server, "many"), one = take_request(server, "one");
    CHECK_STATUS(tarn_request_stream(&many, "1", 1), 1);
    reply_text(&one, "y");
    CHECK_STATUS(tarn_client_call(client, "x", 1, &message, 0), 0);
    CHECK_STATUS(tarn_client_abandon(client, abandoned), 1);
    take_response(client, other, "y", TARN_MESSAGE_LAST);
    CHECK_STATUS(tarn_client_take(client, &message), 0);
    close_both(client, server);
}

/* The first response of all is taken the long way, as is a request: here each has had its first. */
static void warm_up(tarn_client *client, tarn_server *server) {
    uint64_t number = send_text(client, "first");
    tarn_request request = take_request(server, "first");
    reply_text(&request, "answer");
    take_response(client, number, "answer", TARN_MESSAGE_LAST);
}

TEST(a_call_keeps_what_comes_first_if_it_is_anothers) {
    tarn_server *server = server_with();
    tarn_client *client = client_with();
    tarn_message message;
    warm_up(client, server);
    uint64_t other = send_text(client, "other");
    tarn_request request = take_request(server, "other");
    reply_text(&request, "y");
    CHECK_STATUS(tarn_client_call(client, "x", 1, &message, 0), 0);
    take_response(client, other, "y", TARN_MESSAGE_LAST);
    CHECK_INT(tarn_client_pending(client), ==, 0);
    close_both(client, server);
}

/* The same of the last response: with it the request is over for us, but not for who has not taken it. */
TEST(a_last_response_that_is_kept_can_be_given_up) {
    tarn_server *server = server_with();
    tarn_client *client = client_with();
    tarn_message message;
    uint64_t number = send_text(client, "x"), other = send_text(client, "other");
    tarn_request request = take_request(server, "x");
    reply_text(&request, "y");
    CHECK_STATUS(tarn_client_wait(client, 0), 1);
    CHECK_STATUS(tarn_client_abandon(client, number), 1);
    CHECK_STATUS(tarn_client_abandon(client, number), 0);
    CHECK_STATUS(tarn_client_take(client, &message), 0);
    request = take_request(server, "other");
    reply_text(&request, "z");
    take_response(client, other, "z", TARN_MESSAGE_LAST);
    close_both(client, server);
}

/*
 * Those of others that come first fill what may be held: the call says so, and its own answer is given up, not theirs.
 */
TEST(a_call_loses_nothing_of_others) {
    tarn_server *server = server_with();
    tarn_client *client = client_with(.max_held = 2);
    tarn_message message;
    uint64_t others[4];
    for (int i = 0; i < 4; i++)
        others[i] = send_text(client, "other");
    for (int i = 0; i < 4; i++) {
        tarn_request request = take_request(server, "other");
        reply_text(&request, "y");
    }
    for (int i = 0; i < 2; i++)
        CHECK_STATUS(tarn_client_call(client, "x", 1, &message, TARN_FOREVER), TARN_ERROR_HOLDING);
    CHECK_INT(tarn_client_pending(client), ==, 2);
    for (int i = 0; i < 4; i++)
        take_response(client, others[i], "y", TARN_MESSAGE_LAST);
    CHECK_STATUS(tarn_client_take(client, &message), 0);
    CHECK_INT(tarn_client_pending(client), ==, 0);
    close_both(client, server);
}

TEST(a_call_without_memory_loses_nothing_of_others) {
    if (!CAN_RUN_OUT_OF_MEMORY)
        SKIP("the sanitizer has its own malloc");
    tarn_server *server = server_with();
    tarn_client *client = client_with();
    tarn_message message;
    warm_up(client, server);
    uint64_t other = send_text(client, "other");
    tarn_request request = take_request(server, "other");
    reply_text(&request, "y");
    allocations_left = 0;
    int status = tarn_client_call(client, "x", 1, &message, 0);
    allocations_left = UINT_MAX;
    CHECK_STATUS(status, 0);
    take_response(client, other, "y", TARN_MESSAGE_LAST);
    close_both(client, server);
}

/* Memory is there again later: each allocation of a server's first take may be the first that fails. */
TEST(a_server_without_memory_loses_no_request) {
    if (!CAN_RUN_OUT_OF_MEMORY)
        SKIP("the sanitizer has its own malloc");
    int status = 0;
    for (unsigned allowed = 0; status != 1; allowed++) {
        tarn_server *server = server_with();
        tarn_client *client = client_with();
        tarn_request request;
        send_text(client, "question");
        allocations_left = allowed;
        status = tarn_server_receive(server, &request, allowed % 2 ? 150000000 : 0);
        allocations_left = UINT_MAX;
        if (status != 0 && status != TARN_ERROR_NO_MEMORY)
            CHECK_STATUS(status, 1);
        if (status != 1)
            CHECK_STATUS(tarn_server_receive(server, &request, TARN_FOREVER), 1);
        reply_text(&request, "answer");
        close_both(client, server);
    }
}

/* What it hands out later is known to be abandoned, though that was read before the client was known. */
TEST(a_server_without_memory_hears_of_abandonment) {
    if (!CAN_RUN_OUT_OF_MEMORY)
        SKIP("the sanitizer has its own malloc");
    for (unsigned allowed = 0; allowed < 10; allowed++) {
        tarn_server *server = server_with();
        tarn_client *client = client_with(), *other;
        send_text(client, "first");
        tarn_request first = take_request(server, "first"), second;
        other = client_with();
        CHECK_STATUS(tarn_client_abandon(other, send_text(other, "second")), 1);
        allocations_left = allowed;
        int status = tarn_request_abandoned(&first);
        allocations_left = UINT_MAX;
        CHECK_STATUS(status, 0);
        if (tarn_server_receive(server, &second, 150000000) == 1)
            CHECK_STATUS(tarn_request_abandoned(&second), 1);
        reply_text(&first, "answer");
        CHECK_STATUS(tarn_client_close(other), 0);
        close_both(client, server);
    }
}

/* Who waits for servers for as long as it takes. */
TEST(a_client_without_memory_says_so_and_finds_the_server_later) {
    if (!CAN_RUN_OUT_OF_MEMORY)
        SKIP("the sanitizer has its own malloc");
    int status = 0;
    for (unsigned allowed = 0; status != 1; allowed++) {
        tarn_client *client = open_client(CLIENT_OPTIONS(.server_timeout_ns = TARN_FOREVER));
        tarn_server *server = server_with();
        allocations_left = allowed;
        status = tarn_client_send(client, "question", 8, NULL);
        allocations_left = UINT_MAX;
        if (status != 1) {
            CHECK_STATUS(status, TARN_ERROR_NO_MEMORY);
            CHECK_STATUS(tarn_client_send(client, "question", 8, NULL), 1);
        }
        close_both(client, server);
    }
}

TEST(who_takes_the_next_request_sees_what_was_abandoned_before_it) {
    tarn_server *server = server_with();
    tarn_client *client = client_with();
    warm_up(client, server);
    uint64_t first = send_text(client, "1");
    tarn_request abandoned = take_request(server, "1");
    CHECK_STATUS(tarn_client_abandon(client, first), 1);
    uint64_t second = send_text(client, "2");
    tarn_request request = take_request(server, "2");
    CHECK_STATUS(tarn_request_reply(&abandoned, "a", 1), 0);
    reply_text(&request, "b");
    take_response(client, second, "b", TARN_MESSAGE_LAST);
    close_both(client, server);
}

/*
 * ---- what others write ---------------------------------------------------------------------------------------------
 */

/* A participant that says to another's inbox what it likes. */
struct liar {
    tarn_subscriber *inbox;
    tarn_publisher *publisher;
};

static struct liar lie_as(enum slot_role own, enum slot_role role, uint64_t lead_bytes) {
    struct liar liar = {NULL, NULL};
    tarn_subscriber_options options = {.struct_bytes = sizeof options, .reliable = 1, .max_held = 1};
    CHECK_STATUS(subscriber_open_inbox(&liar.inbox, TOPIC, &options, &(struct inbox_options){own, NULL}), 0);
    struct topic *topic = liar.inbox->waiter.topic;
    for (uint32_t slot = 0; slot < roster_subscriber_slots(&topic->roster); slot++) {
        struct subscriber_slot *other = roster_subscriber(&topic->roster, slot);
        if (other->role != role || liar.publisher || slot == liar.inbox->waiter.slot_number)
            continue;
        struct publisher_address address = {peer_word(slot, incarnation_of(&other->incarnation)), liar.inbox->self,
                                            lead_bytes};
        tarn_publisher_options sending = {.struct_bytes = sizeof sending, .linger_ns = TARN_IMMEDIATELY};
        CHECK_STATUS(publisher_open_addressed(&liar.publisher, topic, &sending, &address), 0);
    }
    CHECK(liar.publisher != NULL);
    return liar;
}

static struct liar lie_to(enum slot_role role, uint64_t lead_bytes) {
    return lie_as(ROLE_CLIENT, role, lead_bytes);
}

static void end_lies(struct liar *liar) {
    CHECK_INT(tarn_publisher_close(liar->publisher), >=, 0);
    CHECK_STATUS(tarn_subscriber_close(liar->inbox), 0);
}

/* All words that differ in what is looked at; and messages too short for any. */
static void tell_nonsense(struct liar *liar) {
    static char data[100];
    for (uint32_t kind = 0; kind < 9; kind++)
        for (uint32_t shift = 0; shift < 16; shift++)
            if (kind != SERVICE_REQUEST)
                CHECK_STATUS(publisher_publish_led(liar->publisher, service_word(kind, 1, shift), data, kind), 1);
    for (uint32_t shift = 0; shift < 16; shift++) /* requests that are none: 8 bytes are before 8 of payload at most */
        if (shift < 3 || shift > 4)
            CHECK_STATUS(publisher_publish_led(liar->publisher, service_word(SERVICE_REQUEST, 1, shift), data, 8), 1);
    for (size_t bytes = 0; bytes < 8; bytes++)
        CHECK_STATUS(tarn_publisher_publish(liar->publisher, data, bytes), 1);
}

TEST(nonsense_is_passed_over) {
    tarn_server *server = server_with();
    tarn_client *client = client_with();
    struct liar to_server = lie_to(ROLE_SERVER, 8), to_client = lie_to(ROLE_CLIENT, 8);
    tarn_request request;
    tarn_message message;
    tell_nonsense(&to_server);
    tell_nonsense(&to_client);
    CHECK_STATUS(tarn_server_take(server, &request), 0);
    CHECK_STATUS(tarn_client_take(client, &message), 0);
    uint64_t number = send_text(client, "x");
    request = take_request(server, "x");
    tell_nonsense(&to_server);
    tell_nonsense(&to_client); /* now there is a request of that number; but it is another server's */
    CHECK_STATUS(tarn_request_abandoned(&request), 0);
    CHECK_STATUS(tarn_client_take(client, &message), 0);
    reply_text(&request, "y");
    take_response(client, number, "y", TARN_MESSAGE_LAST);
    end_lies(&to_server);
    end_lies(&to_client);
    close_both(client, server);
}

static void write_nonsense_in_log(struct liar *liar) {
    CHECK_STATUS(publisher_publish_led(liar->publisher, service_word(SERVICE_ABANDON, 1, 3), NULL, 0), 1);
    memset(liar->publisher->writer.at, 0xff, 8);
}

/* What a waitset has reported, the user's own call says again; and once. */
TEST(a_damaged_log_is_said_by_the_call_after_the_waitsets) {
    for (int looks = 0; looks < 2; looks++) {
        tarn_server *server = server_with();
        tarn_client *client = client_with();
        struct liar to_server = lie_to(ROLE_SERVER, 8), to_client = lie_to(ROLE_CLIENT, 8);
        tarn_request request;
        tarn_message message;
        CHECK(server_waitable.fd(server) >= 0 && client_waitable.fd(client) >= 0);
        CHECK_STATUS(server_waitable.ready(server), 0);
        CHECK_STATUS(client_waitable.ready(client), 0);
        write_nonsense_in_log(&to_server);
        write_nonsense_in_log(&to_client);
        for (int i = 0; i < 2; i++) {
            CHECK_STATUS((looks ? server_waitable.look : server_waitable.ready)(server), TARN_ERROR_DAMAGED);
            CHECK_STATUS((looks ? client_waitable.look : client_waitable.ready)(client), TARN_ERROR_DAMAGED);
        }
        CHECK_STATUS(tarn_server_take(server, &request), TARN_ERROR_DAMAGED);
        CHECK_STATUS(tarn_client_take(client, &message), TARN_ERROR_DAMAGED);
        CHECK_STATUS(tarn_server_take(server, &request), 0);
        CHECK_STATUS(tarn_client_take(client, &message), 0);
        end_lies(&to_server);
        end_lies(&to_client);
        close_both(client, server);
    }
}

/* Who asks about a request reads ahead, and has no way to say what he meets there. */
TEST(a_damaged_log_is_said_by_the_take_after_other_calls) {
    for (int streams = 0; streams < 2; streams++) {
        tarn_server *server = server_with();
        tarn_client *client = client_with();
        uint64_t number = send_text(client, "x");
        tarn_request request = take_request(server, "x"), none;
        struct liar liar = lie_to(ROLE_SERVER, 8);
        write_nonsense_in_log(&liar);
        CHECK_STATUS(streams ? tarn_request_stream(&request, "y", 1) : tarn_request_abandoned(&request), streams);
        CHECK_STATUS(tarn_server_take(server, &none), TARN_ERROR_DAMAGED);
        CHECK_STATUS(tarn_server_take(server, &none), 0);
        if (streams)
            take_response(client, number, "y", 0);
        reply_text(&request, "z");
        take_response(client, number, "z", TARN_MESSAGE_LAST);
        end_lies(&liar);
        close_both(client, server);
    }
}

/*
 * A request from one who is no client, as far as its slot says, is answered to where it says; from nobody, it is none.
 */
TEST(a_speaker_that_is_nobody_is_not_heard) {
    tarn_server *server = server_with();
    struct liar liar = lie_to(ROLE_SERVER, 8);
    static const uint64_t nobody[] = {0, 1, UINT64_MAX, (uint64_t)SUBSCRIBERS_MAX << 16 | 1, 77 << 16 | 1};
    for (size_t i = 0; i < sizeof nobody / sizeof nobody[0]; i++) {
        struct publisher_address address = {liar.publisher->readers.only, nobody[i], 8};
        tarn_publisher_options sending = {.struct_bytes = sizeof sending, .linger_ns = TARN_IMMEDIATELY};
        tarn_publisher *publisher;
        tarn_request request;
        CHECK_STATUS(publisher_open_addressed(&publisher, liar.inbox->waiter.topic, &sending, &address), 0);
        CHECK_STATUS(publisher_publish_led(publisher, service_word(SERVICE_REQUEST, 1, 3), "x", 1), 1);
        CHECK_STATUS(tarn_server_take(server, &request), 0);
        CHECK_INT(tarn_publisher_close(publisher), >=, 0);
    }
    end_lies(&liar);
    CHECK_STATUS(tarn_server_close(server), 0);
}

/*
 * ---- who sends without a pause -------------------------------------------------------------------------------------
 */

#define FLOOD_MOST 2000000u /* more than is taken in any of the times below */

static tarn_publisher *flooding; /* sends something that is nobody's whenever somebody looks at the clock */
static int64_t flood_from_ns, flood_is_late_ns;
static uint64_t flooded, flooded_late;

static int64_t nanoseconds(const struct timespec *time) {
    return time->tv_sec * INT64_C(1000000000) + time->tv_nsec;
}

/* In place of libc's. */
int clock_gettime(clockid_t clock, struct timespec *ret) {
    int result = (int)syscall(SYS_clock_gettime, clock, ret);
    tarn_publisher *publisher = flooding;
    flooding = NULL; /* which looks at the clock, too */
    if (publisher && nanoseconds(ret) >= flood_from_ns && flooded++ < FLOOD_MOST)
        CHECK_STATUS(publisher_publish_led(publisher, service_word(SERVICE_RESPONSE, 1 << 30, 3), "more", 4), 1);
    flooded_late += publisher && nanoseconds(ret) >= flood_is_late_ns;
    flooding = publisher;
    return result;
}

static int64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return nanoseconds(&now);
}

static void begin_flood(const struct liar *liar) {
    flooding = liar->publisher;
    flood_from_ns = 0;
    flood_is_late_ns = INT64_MAX;
    flooded = flooded_late = 0;
}

static void end_flood(void) {
    flooding = NULL;
    CHECK_INT(flooded, <, FLOOD_MOST);
}

TEST(a_call_ends_in_time_whatever_comes_meanwhile) {
    tarn_server *server = server_with();
    tarn_client *client = client_with();
    struct liar liar = lie_as(ROLE_SERVER, ROLE_CLIENT, 8);
    tarn_message message;
    for (int64_t timeout_ns = 0; timeout_ns <= 20 * 1000 * 1000; timeout_ns += 10 * 1000 * 1000) {
        begin_flood(&liar);
        CHECK_STATUS(tarn_client_call(client, "x", 1, &message, timeout_ns), 0);
        end_flood();
        uint64_t number = send_text(client, "x");
        begin_flood(&liar);
        CHECK_STATUS(tarn_client_receive(client, &message, timeout_ns), 0);
        end_flood();
        CHECK_STATUS(tarn_client_abandon(client, number), 1);
    }
    end_lies(&liar);
    close_both(client, server);
}

/*
 * From what came first on it would be twice the time, with looks at the clock, and so with more that comes, all along.
 */
TEST(a_server_receives_in_time_whatever_comes_meanwhile) {
    tarn_server *server = server_with(.wait_strategy = TARN_WAIT_SPIN); /* so it looks at the clock all the time */
    tarn_client *client = client_with();
    struct liar liar = lie_to(ROLE_SERVER, 8);
    tarn_request request;
    int64_t start = now_ns();
    begin_flood(&liar);
    flood_from_ns = start + 350 * 1000 * 1000;
    flood_is_late_ns = start + 450 * 1000 * 1000;
    CHECK_STATUS(tarn_server_receive(server, &request, 400 * 1000 * 1000), 0);
    end_flood();
    CHECK_INT(flooded, >, 0);
    CHECK_INT(flooded_late, <, 10);
    end_lies(&liar);
    close_both(client, server);
}

TEST(a_wait_is_interrupted_whatever_comes_meanwhile) {
    tarn_server *server = server_with();
    tarn_client *client = client_with();
    struct liar to_server = lie_to(ROLE_SERVER, 8), to_client = lie_as(ROLE_SERVER, ROLE_CLIENT, 8);
    tarn_request request;
    tarn_message message;
    CHECK_STATUS(tarn_client_interrupt(client), 0);
    begin_flood(&to_client);
    CHECK_STATUS(tarn_client_call(client, "x", 1, &message, TARN_FOREVER), TARN_ERROR_INTERRUPTED);
    end_flood();
    send_text(client, "x");
    CHECK_STATUS(tarn_client_interrupt(client), 0);
    begin_flood(&to_client);
    CHECK_STATUS(tarn_client_receive(client, &message, TARN_FOREVER), TARN_ERROR_INTERRUPTED);
    end_flood();
    while (tarn_server_take(server, &request) == 1)
        CHECK_INT(tarn_request_end(&request), >=, 0);
    CHECK_STATUS(tarn_server_interrupt(server), 0);
    begin_flood(&to_server);
    CHECK_STATUS(tarn_server_receive(server, &request, TARN_FOREVER), TARN_ERROR_INTERRUPTED);
    end_flood();
    end_lies(&to_server);
    end_lies(&to_client);
    close_both(client, server);
}

/* A server that does not look whether a request was abandoned. */
static void stream_in_vain(tarn_request *request, unsigned count) {
    for (unsigned i = 0; i < count; i++) {
        tarn_loan loan;
        CHECK_STATUS(tarn_request_loan(request, 1, 0, &loan), 1);
        CHECK_STATUS(tarn_loan_send(&loan), 1);
    }
}

/* The rest is left to the next call; waits, waitsets and descriptors do not say that there is none. */
TEST(a_client_deals_with_so_much_at_once) {
    tarn_server *server = server_with();
    tarn_client *client = client_with();
    tarn_message message;
    uint64_t abandoned = send_text(client, "abandoned"), number = send_text(client, "x");
    tarn_request in_vain = take_request(server, "abandoned"), request = take_request(server, "x");
    int fd = tarn_client_fd(client);
    CHECK_STATUS(tarn_client_take(client, &message), 0);
    CHECK(!is_readable(fd));
    CHECK_STATUS(tarn_client_abandon(client, abandoned), 1);
    stream_in_vain(&in_vain, 9 * SIFTED_AT_ONCE / 2);
    reply_text(&request, "y");
    CHECK_STATUS(tarn_client_wait(client, 0), 1);
    CHECK_STATUS(client_waitable.ready(client), 1);
    CHECK_STATUS(client_waitable.look(client), 1);
    CHECK_STATUS(tarn_client_take(client, &message), 0);
    CHECK(is_readable(fd));
    take_response(client, number, "y", TARN_MESSAGE_LAST);
    CHECK_STATUS(tarn_client_take(client, &message), 0);
    CHECK(!is_readable(fd));
    close_both(client, server);
}

TEST(a_server_deals_with_so_much_at_once) {
    tarn_server *server = server_with();
    tarn_client *client = client_with();
    struct liar liar = lie_to(ROLE_SERVER, 8);
    uint64_t number = send_text(client, "x");
    tarn_request request = take_request(server, "x"), other;
    int fd = tarn_server_fd(server);
    CHECK_STATUS(tarn_server_take(server, &other), 0);
    CHECK(!is_readable(fd));
    for (unsigned i = 0; i < 11 * SIFTED_AT_ONCE / 2; i++)
        CHECK_STATUS(publisher_publish_led(liar.publisher, service_word(SERVICE_ABANDON, 1, 3), NULL, 0), 1);
    CHECK_STATUS(publisher_publish_led(liar.publisher, service_word(SERVICE_REQUEST, 2, 3), "other", 5), 1);
    CHECK_STATUS(tarn_request_abandoned(&request), 0);
    CHECK_STATUS(tarn_server_wait(server, 0), 1);
    CHECK_STATUS(server_waitable.ready(server), 1);
    CHECK_STATUS(server_waitable.look(server), 1);
    CHECK_STATUS(tarn_server_take(server, &other), 0);
    CHECK(is_readable(fd));
    other = take_request(server, "other");
    CHECK_STATUS(tarn_server_take(server, &other), 0);
    CHECK(!is_readable(fd));
    reply_text(&request, "y");
    take_response(client, number, "y", TARN_MESSAGE_LAST);
    end_lies(&liar);
    close_both(client, server);
}

/* ---- slots that are used again while somebody looks -------------------------------------------------------------- */

static void (*meanwhile)(struct publisher_slot *slot); /* when its memory is attached next */
static struct publisher_slot *looked_at;
static bool cannot_attach;

/* In place of libc's. */
void *shmat(int id, const void *address, int flags) {
    if (cannot_attach) {
        errno = ENOMEM;
        return (void *)-1;
    }
    if (meanwhile)
        meanwhile(looked_at);
    meanwhile = NULL;
    return (void *)(intptr_t)syscall(SYS_shmat, id, address, flags);
}

/* Also by who waits, and takes only when there is something to take. */
TEST(memory_that_could_not_be_attached_is_tried_again) {
    tarn_server *server = server_with();
    tarn_client *client = client_with();
    uint64_t number = send_text(client, "question");
    cannot_attach = true;
    CHECK_STATUS(tarn_server_wait(server, 0), TARN_ERROR_NO_MEMORY);
    cannot_attach = false;
    CHECK_STATUS(tarn_server_wait(server, INT64_C(10000000000)), 1);
    tarn_request request = take_request(server, "question");
    reply_text(&request, "answer");
    cannot_attach = true;
    CHECK_STATUS(tarn_client_wait(client, 0), TARN_ERROR_NO_MEMORY);
    cannot_attach = false;
    CHECK_STATUS(tarn_client_wait(client, INT64_C(10000000000)), 1);
    take_response(client, number, "answer", TARN_MESSAGE_LAST);
    close_both(client, server);
}

/* A server in whose publisher's slot something stands that is a predecessor's, until its memory is attached. */
static struct liar server_before(tarn_client *client, void (*then)(struct publisher_slot *slot)) {
    struct liar server = lie_as(ROLE_SERVER, ROLE_CLIENT, 8);
    struct roster *roster = &server.inbox->waiter.topic->roster;
    CHECK_INT(send_text(client, "question"), ==, 1);
    for (uint32_t slot = 0; slot < roster_publisher_slots(roster); slot++) {
        struct publisher_slot *publisher = roster_publisher(roster, slot);
        if (publisher->pattern_words[SERVICE_SPEAKER] == server.inbox->self)
            looked_at = publisher;
    }
    meanwhile = then;
    return server;
}

static void say(struct liar *server, enum service_kind kind) {
    CHECK_STATUS(publisher_publish_led(server->publisher, service_word(kind, 1, 3), "answer", 6), 1);
}

static void is_for_another(struct publisher_slot *slot) {
    slot->pattern_words[SERVICE_ADDRESSEE] = peer_word(99, 1);
}

/* The only one that has said anything to the client yet, and the very number that its call will have. */
TEST(a_call_is_not_answered_by_who_was_not_asked) {
    tarn_server *server = server_with();
    tarn_client *client = client_with();
    struct liar liar = lie_as(ROLE_SERVER, ROLE_CLIENT, 8);
    tarn_message message;
    for (int i = 0; i < 2; i++) {
        CHECK_STATUS(publisher_publish_led(liar.publisher, service_word(SERVICE_LAST, 1, 3), "lie", 3), 1);
        if (i == 0)
            CHECK_STATUS(tarn_client_take(client, &message), 0);
    }
    CHECK_STATUS(tarn_client_call(client, "x", 1, &message, 0), 0);
    end_lies(&liar);
    close_both(client, server);
}

TEST(what_is_said_to_another_is_not_heard) {
    tarn_client *client = client_with();
    struct liar server = server_before(client, is_for_another);
    tarn_message message;
    say(&server, SERVICE_LAST);
    CHECK_STATUS(tarn_client_take(client, &message), 0);
    CHECK(!meanwhile);
    CHECK_INT(tarn_client_pending(client), ==, 1);
    end_lies(&server);
    CHECK_STATUS(tarn_client_close(client), 0);
}

static void is_itself(struct publisher_slot *slot) {
    slot->who.number ^= 1;
}

TEST(whose_identity_is_just_written_is_heard_once) {
    tarn_client *client = client_with();
    struct liar server = server_before(client, is_itself);
    tarn_message message;
    is_itself(looked_at); /* as yet a predecessor's */
    say(&server, SERVICE_RESPONSE);
    take_response(client, 1, "answer", 0);
    CHECK(!meanwhile);
    topic_ring(server.inbox->waiter.topic);
    CHECK_STATUS(tarn_client_take(client, &message), 0);
    end_lies(&server);
    CHECK_STATUS(tarn_client_close(client), 0);
}

/* Nobody lives in a free slot, whatever incarnation is known of it. */
TEST(a_slot_that_was_just_given_up_is_no_server) {
    tarn_client *client = client_with();
    struct liar server = lie_as(ROLE_SERVER, ROLE_CLIENT, 8);
    struct topic *topic = server.inbox->waiter.topic;
    struct subscriber_slot *slot = server.inbox->waiter.slot;
    slot->incarnation++;
    topic_ring(topic);
    CHECK_STATUS(tarn_client_wait(client, 0), 0); /* it looks who is there */
    slot->state = SLOT_FREE;
    CHECK_STATUS(tarn_client_send(client, "question", 8, NULL), TARN_ERROR_NO_PEER);
    slot->state = SLOT_LIVE;
    slot->incarnation--;
    end_lies(&server);
    CHECK_STATUS(tarn_client_close(client), 0);
}

/* ---- mistakes ---------------------------------------------------------------------------------------------------- */

TEST(what_is_no_handle_is_refused) {
    tarn_server *server = server_with();
    tarn_client *client = client_with();
    tarn_request request;
    tarn_message message;
    tarn_loan loan;
    CHECK_STATUS(tarn_client_open(NULL, TOPIC, NULL), TARN_ERROR_ARGUMENT);
    CHECK_STATUS(tarn_server_open(NULL, TOPIC, NULL), TARN_ERROR_ARGUMENT);
    CHECK_STATUS(tarn_client_open(&client, "", NULL), TARN_ERROR_TOPIC_NAME);
    CHECK_STATUS(tarn_client_send(NULL, "x", 1, NULL), TARN_ERROR_ARGUMENT);
    CHECK_STATUS(tarn_client_send(client, NULL, 1, NULL), TARN_ERROR_ARGUMENT);
    CHECK_STATUS(tarn_client_send((tarn_client *)(void *)server, "x", 1, NULL), TARN_ERROR_CLOSED);
    CHECK_STATUS(tarn_client_take(client, NULL), TARN_ERROR_ARGUMENT);
    CHECK_STATUS(tarn_client_call(client, "x", 1, NULL, 0), TARN_ERROR_ARGUMENT);
    CHECK_STATUS(tarn_client_loan(client, 1, NULL, NULL), TARN_ERROR_ARGUMENT);
    CHECK_STATUS(tarn_server_take(server, NULL), TARN_ERROR_ARGUMENT);
    CHECK_STATUS(tarn_server_take((tarn_server *)(void *)client, &request), TARN_ERROR_CLOSED);
    CHECK_STATUS(tarn_request_reply(NULL, NULL, 0), TARN_ERROR_ARGUMENT);
    send_text(client, "x");
    request = take_request(server, "x");
    tarn_request copy = request;
    CHECK_STATUS(tarn_request_reply(&request, NULL, 1), TARN_ERROR_ARGUMENT);
    CHECK_STATUS(tarn_request_loan(&request, 1, 1, NULL), TARN_ERROR_ARGUMENT);
    CHECK_STATUS(tarn_request_loan(&request, 1, 0, &loan), 1);
    CHECK_STATUS(tarn_request_end(&request), 1);
    CHECK_STATUS(tarn_request_end(&request), TARN_ERROR_RELEASED);
    CHECK_STATUS(tarn_request_reply(&copy, "y", 1), TARN_ERROR_RELEASED);
    CHECK_STATUS(tarn_loan_send(&loan), TARN_ERROR_RELEASED);
    CHECK_STATUS(tarn_client_take(client, &message), 1);
    release(&message);
    close_both(client, server);
    CHECK_STATUS(tarn_client_pending(client), TARN_ERROR_CLOSED);
    CHECK_STATUS(tarn_server_fd(server), TARN_ERROR_CLOSED);
    CHECK_STATUS(tarn_client_close(client), TARN_ERROR_CLOSED);
    CHECK_STATUS(tarn_client_close(NULL), 0);
    CHECK_STATUS(tarn_server_close(NULL), 0);
}

TEST(options_are_checked) {
    tarn_client *client;
    tarn_server *server;
    CHECK_STATUS(tarn_client_open(&client, TOPIC, &(tarn_client_options){0}), TARN_ERROR_ARGUMENT);
    CHECK_STATUS(tarn_server_open(&server, TOPIC, &(tarn_server_options){0}), TARN_ERROR_ARGUMENT);
    CHECK_STATUS(tarn_client_open(&client, TOPIC, CLIENT_OPTIONS(.max_pending = 65537)), TARN_ERROR_ARGUMENT);
    CHECK_STATUS(tarn_client_open(&client, TOPIC, CLIENT_OPTIONS(.max_held = 65537)), TARN_ERROR_ARGUMENT);
    CHECK_STATUS(tarn_client_open(&client, TOPIC, CLIENT_OPTIONS(.when_full = TARN_FULL_DROP)), TARN_ERROR_ARGUMENT);
    CHECK_STATUS(tarn_client_open(&client, TOPIC, CLIENT_OPTIONS(.memory_limit_bytes = 1)), TARN_ERROR_ARGUMENT);
    CHECK_STATUS(tarn_client_open(&client, TOPIC, CLIENT_OPTIONS(.server_timeout_ns = -2)), TARN_ERROR_ARGUMENT);
    CHECK_STATUS(tarn_client_open(&client, TOPIC, CLIENT_OPTIONS(.spin_ns = -2)), TARN_ERROR_ARGUMENT);
    CHECK_STATUS(tarn_server_open(&server, TOPIC, SERVER_OPTIONS(.max_taken = 65537)), TARN_ERROR_ARGUMENT);
    CHECK_STATUS(tarn_server_open(&server, TOPIC, SERVER_OPTIONS(.wait_strategy = 3)), TARN_ERROR_ARGUMENT);
    CHECK_STATUS(tarn_server_open(&server, TOPIC, SERVER_OPTIONS(.linger_ns = -2)), TARN_ERROR_ARGUMENT);
    client = client_with(.max_pending = 65536, .max_held = 65536);
    server = server_with(.max_taken = 65536);
    close_both(client, server);
}
