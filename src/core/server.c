/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * Servers: requests taken and not ended, and their answers.
 *
 * A request's message is held until it is over, as its data is the user's so long. That a client has abandoned a
 * request stands in the same log, behind it and perhaps behind others: who asks reads ahead, and keeps requests for
 * their time.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "base/status.h"
#include "core/handle.h"
#include "core/service.h"
#include "core/waitables.h"

#define DEFAULT_MAX_TAKEN 64u
#define DEFAULT_LINGER_NS NS_PER_SECOND
#define READ_AHEAD 64u /* requests kept for their time, at most */

/* Kept until the server closes, so that one that is over can be told from one that is not. */
struct open_request {
    uint64_t ticket; /* 0: not open */
    uint64_t number;
    struct peer *peer;
    bool abandoned;
    struct open_request *next_free, *next;
    struct hold *hold; /* of its message */
};

struct tarn_server {
    struct handle handle;
    struct service service;
    uint32_t taken, max_taken;
    struct open_request *requests, *free_requests;
    int64_t linger_ns;
};

static struct closed_handles closed_servers;

/* ---- clients -------------------------------------------------------------------------------------------------- */

static bool is_from_the_living(const void *context, const tarn_message *message) {
    const struct peer *from = message_reader(message)->peer;
    (void)context;
    return !from || !from->gone; /* NULL: see take_kept() */
}

/* Makes known whom it reads from, if that is a client. 0 or a status. */
static int know_client(struct tarn_server *server, struct log_reader *reader) {
    struct peer *peer = reader->peer;
    if (peer || !reader->speaker)
        return 0;
    int status = service_find_peer(&server->service, reader->speaker, &peer);
    reader->peer = peer;
    return status;
}

/* Connects with who has connected to us, and lets go of who is gone. */
static void follow(void *context) {
    struct tarn_server *server = context;
    struct service *service = &server->service;
    service_look_who_is_gone(service);
    for (uint32_t i = 0; i < service->inbox->reader_count; i++) {
        struct log_reader *reader = service->inbox->readers[i];
        if (!reader->gone)
            know_client(server, reader); /* or later, when there is something of it */
    }
    service_sift_kept(service, is_from_the_living, NULL);
    service_drop_peers(service);
}

/* ---- taking --------------------------------------------------------------------------------------------------- */

struct abandoned {
    uint64_t speaker, number;
};

static bool is_not_abandoned(const void *context, const tarn_message *message) {
    const struct abandoned *abandoned = context;
    return message_reader(message)->speaker != abandoned->speaker || message->request != abandoned->number;
}

static void note_abandoned(struct tarn_server *server, const struct log_reader *from, uint64_t number) {
    const struct peer *peer = from->peer;                                      /* NULL: see take_kept() */
    struct open_request *first = peer && peer->open ? server->requests : NULL; /* else none of them is its */
    for (struct open_request *open = first; open; open = open->next)
        if (open->ticket && open->peer == peer && open->number == number)
            open->abandoned = true;
    service_sift_kept(&server->service, is_not_abandoned, &(struct abandoned){from->speaker, number});
}

/* Whether it is a request that somebody waits for. kind: service_read()'s. */
SHORT_HALF bool is_request(const tarn_message *message, uint32_t kind) {
    const struct peer *peer = message_reader(message)->peer;
    return likely(kind == SERVICE_REQUEST && peer && !peer->gone);
}

/* The same. What is none is dealt with, and released; for whose client there is no memory is kept. */
LONG_HALF bool accept_kind(struct tarn_server *server, tarn_message *message, uint32_t kind) {
    struct log_reader *reader = message_reader(message);
    if (know_client(server, reader) && kind == SERVICE_REQUEST) {
        service_keep(&server->service, message);
        return false;
    }
    if (is_request(message, kind))
        return true;
    if (kind == SERVICE_ABANDON && reader->speaker)
        note_abandoned(server, reader, message->request);
    tarn_message_release(message);
    return false;
}

static bool accept_request(struct tarn_server *server, tarn_message *message) {
    return accept_kind(server, message, service_read(message));
}

static struct open_request *new_request(struct tarn_server *server) {
    struct open_request *open = server->free_requests;
    if (likely(open != NULL)) {
        server->free_requests = open->next_free;
    } else if ((open = malloc(sizeof(*open)))) {
        open->ticket = 0;
        open->next = server->requests;
        server->requests = open;
    }
    return open;
}

static void free_request(struct tarn_server *server, struct open_request *open) {
    open->ticket = 0; /* no ticket given out matches it any more */
    open->next_free = server->free_requests;
    server->free_requests = open;
}

static void tell_load(struct tarn_server *server) {
    store_relaxed(&server->service.waiter->slot->load, server->taken);
}

static inline void begin(struct tarn_server *server, struct open_request *open, const tarn_message *message,
                         tarn_request *ret) {
    struct peer *peer = message_reader(message)->peer;
    open->ticket = service_ticket(&server->service);
    open->number = message->request;
    open->peer = peer;
    open->abandoned = false; /* what it was before may have been abandoned just now */
    open->hold = message->held_by;
    ret->data = message->data; /* one by one, as in clear_request() */
    ret->bytes = message->bytes;
    ret->number = message->request;
    ret->client = peer->identity;
    ret->taken_by = server;
    ret->place = open;
    ret->ticket = open->ticket;
    peer->open++;
    server->taken++;
    tell_load(server);
}

/* 1; 0: nothing is kept; or a status, where there was no memory to know the first one's client, and still is none. */
static int take_kept(struct tarn_server *server, tarn_message *ret) {
    while (service_keeps(&server->service)) {
        int status = know_client(server, message_reader(service_first_kept(&server->service)));
        if (status)
            return status;
        service_take_kept(&server->service, ret);
        if (is_request(ret, SERVICE_REQUEST))
            return 1;
        /* Its client had gone before it was known; nor are its other requests wanted. */
        tarn_message_release(ret);
        service_sift_kept(&server->service, is_from_the_living, NULL);
    }
    return 0;
}

/* Any that is there, or comes. 1, 0 or a status. */
LONG_HALF int await_request(struct tarn_server *server, tarn_message *ret, int64_t timeout_ns) {
    int64_t deadline_ns = os_deadline_ns(timeout_ns);
    for (uint32_t late = 0;;) {
        int status = take_kept(server, ret);
        if (status)
            return status;
        status = service_receive(&server->service, ret, timeout_ns);
        if (status != 1 || accept_request(server, ret))
            return status;
        timeout_ns = timeout_ns > 0 ? deadline_ns - os_now_ns() : 0;
        status = service_sift_on(&server->service, timeout_ns, &late);
        if (status != 1)
            return status;
    }
}

static int check_place(struct tarn_server *server, const tarn_request *ret) {
    int status = handle_check((const struct handle *)server, HANDLE_SERVER);
    if (status)
        return status;
    if (!ret)
        return fail(TARN_ERROR_ARGUMENT, "the request is NULL");
    if (server->taken < server->max_taken)
        return 0;
    return fail(TARN_ERROR_HOLDING,
                "topic \"%s\": %" PRIu32
                " requests are taken, as many as max_taken allows: answer, or end, some first; nothing is lost",
                server->service.topic->name, server->max_taken);
}

int tarn_server_receive(tarn_server *server, tarn_request *ret, int64_t timeout_ns) {
    int status = check_place(server, ret);
    if (status)
        return status;
    if (timeout_ns <= 0 && !service_keeps(&server->service) && subscriber_is_quiet(server->service.inbox))
        return 0; /* one of very many polls */
    struct open_request *open = new_request(server);
    if (!open)
        return fail(TARN_ERROR_NO_MEMORY, "topic \"%s\": no memory for another request", server->service.topic->name);
    tarn_message usual, other; /* the usual one is in registers, as far as it is needed */
    if (likely(!service_keeps(&server->service)) && receive_easily(server->service.inbox, &usual, timeout_ns)) {
        uint32_t kind = service_read(&usual);
        if (likely(is_request(&usual, kind))) {
            begin(server, open, &usual, ret);
            return 1;
        }
        other = (tarn_message){
            .data = usual.data, .bytes = usual.bytes, .held_by = usual.held_by, .request = usual.request};
        status = accept_kind(server, &other, kind);
    }
    if (!status)
        status = await_request(server, &other, timeout_ns);
    if (status == 1)
        begin(server, open, &other, ret);
    else
        free_request(server, open);
    return status;
}

int tarn_server_take(tarn_server *server, tarn_request *ret) {
    return tarn_server_receive(server, ret, 0);
}

/*
 * Keeps requests for their time. 1: one at least, or there is more than is looked at in a call; 0: none came; or a
 * status.
 */
static int read_ahead(struct tarn_server *server, uint32_t most) {
    struct service *service = &server->service;
    int status = 1;
    for (uint32_t i = 0; i < SIFTED_AT_ONCE && status == 1 && service->kept.count < most; i++) {
        tarn_message message;
        status = tarn_subscriber_take(service->inbox, &message);
        if (status == 1 && accept_request(server, &message))
            service_keep(service, &message);
    }
    return status == 0 ? service_keeps(service) : status;
}

/* ---- answers -------------------------------------------------------------------------------------------------- */

static int explain_request(const tarn_request *request) {
    if (!request)
        return fail(TARN_ERROR_ARGUMENT, "the request is NULL");
    int status = request->taken_by ? handle_check(request->taken_by, HANDLE_SERVER) : 0;
    return status ? status : fail(TARN_ERROR_RELEASED, "the request was over before");
}

/* What the user's struct stands for; NULL: nothing, which explain_request() explains. */
SHORT_HALF struct open_request *find_request(const tarn_request *request) {
    const struct tarn_server *server = request ? request->taken_by : NULL;
    if (unlikely(!server || !handle_is(&server->handle, HANDLE_SERVER)))
        return NULL;
    struct open_request *open = request->place;
    return open->ticket == request->ticket ? open : NULL;
}

static inline void clear_request(tarn_request *request) {
    request->data = NULL; /* one by one: memset of so little costs more than all the rest */
    request->bytes = 0;
    request->number = request->client = request->ticket = 0;
    request->taken_by = request->place = NULL;
}

/* The request is over. request: the user's struct, if that is at hand. */
SHORT_HALF void end_request(struct tarn_server *server, struct open_request *open, tarn_request *request) {
    struct peer *peer = open->peer;
    hold_release(open->hold);
    free_request(server, open);
    peer->open--;
    server->taken--;
    tell_load(server);
    if (request)
        clear_request(request);
    if (unlikely(peer->gone))
        service_drop_peers(&server->service);
}

/* Whether there is somebody to answer to. 1; or 0 or _PEER_DIED, and the request is over; or a status. */
SHORT_HALF int check_peer(struct tarn_server *server, struct open_request *open, tarn_request *request) {
    struct service *service = &server->service;
    if (unlikely(service_has_changed(service)))
        service_look_who_is_gone(service);
    int status = 1;
    if (unlikely(open->peer->gone))
        status = service_say_gone(service, open->peer, ", and does not wait for an answer any more");
    else if (unlikely(open->abandoned))
        status = 0;
    else if (unlikely(!open->peer->publisher))
        return service_connect(service, open->peer) ?: 1;
    if (unlikely(status != 1))
        end_request(server, open, request);
    return status;
}

SHORT_HALF int answer(tarn_request *request, enum service_kind kind, const void *data, size_t bytes) {
    struct open_request *open = find_request(request);
    if (unlikely(!open))
        return explain_request(request);
    struct tarn_server *server = request->taken_by;
    if (unlikely(!data && bytes))
        return fail(TARN_ERROR_ARGUMENT, "data is NULL, but bytes is %zu", bytes);
    int status = check_peer(server, open, request);
    if (likely(status == 1))
        status = service_send(&server->service, open->peer, kind, open->number, data, bytes);
    else
        return status;
    if (likely(status == 1) && kind != SERVICE_RESPONSE)
        end_request(server, open, request);
    return status;
}

int tarn_request_reply(tarn_request *request, const void *data, size_t bytes) {
    return answer(request, SERVICE_LAST, data, bytes);
}

int tarn_request_end(tarn_request *request) {
    return answer(request, SERVICE_END, NULL, 0);
}

/* Whether the client has given it up, or is gone, as far as is to be seen from here. */
static bool look_if_abandoned(struct tarn_server *server, struct open_request *open) {
    int status = read_ahead(server, server->service.kept.capacity);
    if (status < 0 && status != TARN_ERROR_HOLDING) /* which the next take finds again; others may be said once */
        subscriber_keep_trouble(server->service.inbox, status);
    service_ring_self(&server->service);
    return open->abandoned || service_ask(&server->service, open->peer, os_now_ns());
}

int tarn_request_stream(tarn_request *request, const void *data, size_t bytes) {
    struct open_request *open = find_request(request);
    if (open)
        look_if_abandoned(request->taken_by, open);
    return answer(request, SERVICE_RESPONSE, data, bytes);
}

int tarn_request_abandoned(tarn_request *request) {
    struct open_request *open = find_request(request);
    return open ? look_if_abandoned(request->taken_by, open) : explain_request(request);
}

int tarn_request_loan(tarn_request *request, size_t bytes, int last, tarn_loan *ret) {
    struct open_request *open = find_request(request);
    if (!open)
        return explain_request(request);
    struct tarn_server *server = request->taken_by;
    if (!ret)
        return fail(TARN_ERROR_ARGUMENT, "the loan is NULL");
    int status = check_peer(server, open, request);
    if (status == 1)
        status = service_lend(&server->service, open->peer, server, bytes, ret);
    if (status != 1)
        return status;
    struct service_loan *loan = ret->place;
    loan->number = open->number;
    loan->request = open;
    loan->request_ticket = open->ticket;
    loan->last = last;
    return 1;
}

static int send_loan(tarn_loan *loan) {
    struct service_loan *lent = service_find_loan(loan, HANDLE_SERVER);
    if (!lent)
        return service_explain_loan(loan, HANDLE_SERVER);
    struct tarn_server *server = loan->loaned_by;
    struct open_request *open = lent->request;
    bool last = lent->last;
    int status = open->ticket == lent->request_ticket ? check_peer(server, open, NULL)
                                                      : fail(TARN_ERROR_RELEASED, "the request was over before");
    if (status != 1) {
        service_drop_loan(&server->service, loan, lent);
        return status;
    }
    status = service_send_loan(&server->service, loan, lent, last ? SERVICE_LAST : SERVICE_RESPONSE);
    if (status == 1 && last)
        end_request(server, open, NULL);
    return status;
}

static int drop_loan(tarn_loan *loan) {
    struct service_loan *lent = service_find_loan(loan, HANDLE_SERVER);
    if (!lent)
        return service_explain_loan(loan, HANDLE_SERVER);
    struct tarn_server *server = loan->loaned_by;
    return service_drop_loan(&server->service, loan, lent);
}

static const struct loan_calls loan_calls = {send_loan, drop_loan};

/* ---- waiting -------------------------------------------------------------------------------------------------- */

static int ready(void *owner) {
    struct tarn_server *server = owner;
    service_heed_looks(&server->service);
    return read_ahead(server, 1);
}

int tarn_server_wait(tarn_server *server, int64_t timeout_ns) {
    int status = handle_check((const struct handle *)server, HANDLE_SERVER);
    if (status)
        return status;
    status = waiter_wait(server->service.waiter, ready, server, timeout_ns);
    service_ring_self(&server->service);
    return status;
}

int tarn_server_interrupt(tarn_server *server) {
    int status = handle_check((const struct handle *)server, HANDLE_SERVER);
    return status ? status : waiter_interrupt(server->service.waiter);
}

int tarn_server_fd(tarn_server *server) {
    int status = handle_check((const struct handle *)server, HANDLE_SERVER);
    return status ? status : tarn_subscriber_fd(server->service.inbox);
}

static int waitable_fd(void *handle) {
    return tarn_server_fd(handle);
}

static bool accept_for_waitset(void *owner, tarn_message *message) {
    return accept_request(owner, message);
}

static int ready_for_waitset(void *handle) {
    struct tarn_server *server = handle;
    return service_seek(&server->service, accept_for_waitset, server, false);
}

static int look_for_waitset(void *handle) {
    struct tarn_server *server = handle;
    return service_seek(&server->service, accept_for_waitset, server, true);
}

const struct waitable server_waitable = {waitable_fd, ready_for_waitset, look_for_waitset};

/* ---- opening and closing -------------------------------------------------------------------------------------- */

static void free_server(struct tarn_server *server) {
    for (struct open_request *open = server->requests, *next; open; open = next) {
        next = open->next;
        free(open);
    }
    process_lock();
    handle_free(&closed_servers, &server->handle);
    process_unlock();
}

static int open_server(tarn_server **ret, const char *topic, const tarn_server_options *options,
                       const struct service_options *common) {
    process_lock();
    struct tarn_server *server = handle_allocate(&closed_servers, sizeof(*server), HANDLE_SERVER);
    process_unlock();
    if (!server)
        return fail(TARN_ERROR_NO_MEMORY, "no memory for a server");
    server->handle.loans = &loan_calls;
    server->max_taken = common->max_held - READ_AHEAD;
    server->linger_ns = options_time_ns(options->linger_ns, DEFAULT_LINGER_NS);
    int status = service_open(&server->service, topic, common, follow, server);
    if (status)
        free_server(server);
    else
        *ret = server;
    return status;
}

int tarn_server_open(tarn_server **ret, const char *topic, const tarn_server_options *options) {
    tarn_server_options checked;
    if (!ret)
        return fail(TARN_ERROR_ARGUMENT, "the place for the server is NULL");
    int status = options_copy(&checked, sizeof(checked), options, "tarn_server_options");
    if (status)
        return status;
    uint32_t max_taken = checked.max_taken ? checked.max_taken : DEFAULT_MAX_TAKEN;
    struct service_options common = {checked.directory,
                                     checked.domain,
                                     checked.request_type,
                                     checked.response_type,
                                     ROLE_SERVER,
                                     checked.memory_limit_bytes,
                                     max_taken + READ_AHEAD,
                                     READ_AHEAD,
                                     checked.wait_strategy,
                                     checked.when_full,
                                     checked.full_timeout_ns,
                                     checked.spin_ns};
    status = service_check_options(&common, "max_taken", checked.max_taken);
    if (!status && (checked.linger_ns < TARN_IMMEDIATELY || checked.reserved))
        status = fail(TARN_ERROR_ARGUMENT, "linger_ns is negative, and not TARN_IMMEDIATELY, or reserved is not 0");
    if (!status)
        status = process_enter();
    return status ? status : open_server(ret, topic, &checked, &common);
}

int tarn_server_close(tarn_server *server) {
    if (!server)
        return 0;
    int status = handle_check(&server->handle, HANDLE_SERVER);
    if (status)
        return status;
    for (struct open_request *open = server->requests; open; open = open->next)
        if (open->ticket)
            hold_release(open->hold);
    int behind = service_close(&server->service, server->linger_ns);
    free_server(server);
    return behind;
}

int tarn_server_clients(tarn_server *server) {
    int status = handle_check((const struct handle *)server, HANDLE_SERVER);
    return status ? status : service_count(&server->service, ROLE_CLIENT);
}
