/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * The C half of tarn_ipc: the module _tarn. It knows handles and payloads; what is convenient (types, asyncio,
 * enumerations) is Python, in tarn_ipc/, which derives its classes from the types here and names them to use()
 * (module.c).
 *
 *   module.c   the module; errors             options.c   keyword arguments to the library's options
 *   handle.c   what all handles share         payload.c   messages, requests, jobs and loans: the buffer protocol
 *   fork.c     views in a forked child        array.c     and numpy arrays of them
 *   messages.c service.c events.c board.c queue.c monitor.c keeper.c waitset.c: patterns
 *
 * Threads. A handle of the library belongs to one thread at a time. Here the GIL sees to that: calls that do not wait
 * keep it. Those that may wait give it up and mark their handle busy meanwhile; whoever comes then gets a ThreadError.
 * What is dropped meanwhile, and may only be given back by the handle's thread, lies with the handle as an orphan until
 * the call is over.
 *
 * Views. A payload counts the buffers that it has lent. It cannot end while there are any, so memory that others may
 * write again is never seen by Python. Only numpy's np.ndarray(buffer=) gives a buffer back and keeps its pointer: it
 * is refused (payload.c).
 */
#ifndef TARN_IPC_BINDING_H
#define TARN_IPC_BINDING_H

#define Py_LIMITED_API 0x03090000
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdbool.h>
#include <stdint.h>
#include <tarn.h>

/*
 * ---- what the limited API has only since 3.11, and the runtime since 3.9 ------------------------------------------
 */

/* Py_buffer, as it is since 3.0, and frozen since 3.11. */
typedef struct Buffer {
    void *buf;
    PyObject *obj;
    Py_ssize_t len, itemsize;
    int readonly, ndim;
    char *format;
    Py_ssize_t *shape, *strides, *suboffsets;
    void *internal;
} Buffer;

extern int PyObject_GetBuffer(PyObject *object, Buffer *ret, int flags);
extern void PyBuffer_Release(Buffer *buffer);
extern int PyBuffer_FillInfo(Buffer *ret, PyObject *object, void *data, Py_ssize_t bytes, int readonly, int flags);

#ifndef Py_bf_getbuffer
#define Py_bf_getbuffer 1
#define Py_bf_releasebuffer 2
#endif

/* PyBUF_ANY_CONTIGUOUS, PyBUF_FORMAT | PyBUF_ND, PyBUF_WRITABLE. */
#define BUFFER_ANY_CONTIGUOUS 0x98
#define BUFFER_FORMAT 0xc
#define BUFFER_WRITABLE 1

/*
 * ---- module.c -----------------------------------------------------------------------------------------------------
 */

/* Of tarn_ipc, given to use(): the classes of what the calls below make, and what they ask Python for. */
extern struct classes {
    PyObject *errors; /* status to class */
    PyObject *error, *thread_error;
    PyObject *message, *request, *job, *loan, *event, *match, *ready;
    PyObject *known_dtypes, *array_of_payload; /* of _types.py */
} classes;

/* Raise an exception; return NULL or -1. raise_status: with tarn_error()'s sentence. */
PyObject *raise_status(int status);
int fail_status(int status);
/* An exception object for the thread's last error, not raised. */
PyObject *status_exception(int status);
/* Of a class of tarn_ipc that has no status. */
int fail_thread(const char *what);

int add_type(PyObject *module, PyType_Spec *spec, PyObject *base, PyObject **ret);

/*
 * ---- handle.c -----------------------------------------------------------------------------------------------------
 */

typedef struct Handle Handle;

/* One per sort of handle. Functions that a sort does not have are NULL. */
struct kind {
    const char *name;
    const struct option *options;
    size_t options_bytes;
    int (*open)(void **ret, const char *topic, const void *options);
    int (*close)(void *tarn);
    int (*wait)(void *tarn, int64_t timeout_ns);
    int (*interrupt)(void *tarn);
    int (*fd)(void *tarn);
    int (*take)(Handle *handle, PyObject **ret);   /* 1; 0: nothing there; -1: raised */
    int (*idle)(void *tarn);                       /* 0: there is nothing to wait for. NULL: there always is */
    bool has_no_topic;                             /* a waitset */
    int (*linger)(void *tarn, int64_t timeout_ns); /* what closing waits for, where that can be had in slices */
    int64_t linger_ns;                             /* so long unless told otherwise */
};

/* A time that the library waits in one go, cut into slices of equal length. slice_ns 0: there is no need to. */
struct slices {
    int64_t whole_ns, slice_ns;
};

/* How far a call has come that the library ends after each slice. Zero when it begins. */
struct patience {
    int64_t tried_ns, space_until_ns, peer_until_ns;
};

struct orphan {
    struct orphan *next;
    int (*discard)(void *what);
    max_align_t what[];
};

struct Handle {
    PyObject_HEAD void *tarn; /* NULL: closed, or not opened yet */
    const struct kind *kind;
    uint32_t epoch;       /* fork.h: of the process that opened it */
    bool busy;            /* a call of it has given up the GIL */
    bool is_late;         /* opened when the interpreter was ending */
    bool may_wait;        /* sending waits where there is no space */
    bool has_sent;        /* there is something to linger for */
    int64_t linger_ns;    /* for kind->linger; negative: not at all */
    struct slices space;  /* sending waits so long for space; else it fails */
    struct slices peer;   /* and so long for a server */
    Py_ssize_t views;     /* buffers of what ends with it */
    PyObject *type;       /* of payloads; or NULL. Of requests, for clients and servers */
    PyObject *other_type; /* of responses */
    PyObject *set_aside;  /* responses that came while another one was waited for: a list, or NULL */
    struct orphan *orphans;
    Handle *next, *previous; /* among the open ones */
};

extern PyObject *handle_base; /* the type all handles derive from */
int handle_add_type(PyObject *module);
/* Closes all handles that no other thread uses: for the end of the interpreter. */
void handle_close_all(void);

int handle_open(Handle *handle, const struct kind *kind, PyObject *arguments, PyObject *options);
/* Whether this thread may use the handle; else raises. In a forked child the library then says what there is to say. */
bool handle_enter(Handle *handle);
/* Around what may wait: gives up the GIL. The handle must have been entered. */
PyThreadState *handle_unlock(Handle *handle);
void handle_lock(Handle *handle, PyThreadState *state);
/* To be asked with what a call came back that may wait: whether it is to be made again, as the library waited for a slice only.
   If not, it may also be that something was raised: a signal's handler has, or has closed the handle. */
bool handle_goes_on(Handle *handle, int status, struct patience *patience);
/* The same status as an exception, unless one was raised. */
PyObject *raise_sent(int status);
/* It is not busy any more: what was to be discarded is. */
void handle_settle(Handle *handle);
/* Closes it without waiting long, and says so where nobody had closed it. */
void handle_drop(Handle *handle);
/* Discards, as patiently as the handle's options say; but leaves that to a thread that uses the handle meanwhile. */
void handle_discard(Handle *handle, int (*discard)(void *what), void *what, size_t bytes);
/* Keeps what must be discarded by the handle's thread until that can be done. */
void handle_adopt(Handle *handle, int (*discard)(void *what), const void *what, size_t bytes);

/* Seconds, or None, as timeouts are given, to nanoseconds. 0, or -1: raised. */
int timeout_parse(PyObject *seconds, int64_t *ret_ns);
/* So often a wait comes back to see whether there was a signal; the library looks at its peers as often. */
#define WAIT_SLICE_NS 100000000
int64_t now_ns(void); /* CLOCK_MONOTONIC */
/* What is left of a wait that ends at deadline. */
int64_t time_left_ns(int64_t deadline_ns);
int64_t deadline_ns(int64_t timeout_ns);
/* Waits in slices, between which signals are seen to. 1: there may be something; 0: not in time; -1: raised. */
int handle_wait(Handle *handle, int64_t deadline);

/* Whether there are responses that its take() gives before it looks at the library's. */
bool handle_has_set_aside(const Handle *handle);

/* Methods that many sorts have. */
PyObject *handle_take(PyObject *self, PyObject *unused);
PyObject *handle_receive(PyObject *self, PyObject *arguments, PyObject *names);
PyObject *handle_ready(PyObject *self, PyObject *arguments, PyObject *names);
PyObject *handle_interrupt(PyObject *self, PyObject *unused);
PyObject *handle_fileno(PyObject *self, PyObject *unused);
PyObject *handle_count(PyObject *self, int (*count)(void *tarn));
/* Waits, in slices, for what returns 1 when it is so. True or False. */
PyObject *handle_until(PyObject *self, PyObject *arguments, PyObject *names,
                       int (*wait)(void *tarn, int64_t timeout_ns));

#define HANDLE_WAITING_METHODS                                                                                         \
    {"take", handle_take, METH_NOARGS, "take()\n--\n\nThe next one that is there, or None."},                          \
        {"receive", (PyCFunction)(void (*)(void))handle_receive, METH_VARARGS | METH_KEYWORDS,                         \
         "receive(timeout=None)\n--\n\nThe next one, waiting up to timeout seconds (None: for ever); None: not in "    \
         "time."},                                                                                                     \
        {"wait", (PyCFunction)(void (*)(void))handle_ready, METH_VARARGS | METH_KEYWORDS,                              \
         "wait(timeout=None)\n--\n\nWhether there is something to take within timeout seconds."},                      \
        {"interrupt", handle_interrupt, METH_NOARGS,                                                                   \
         "interrupt()\n--\n\nEnds the wait under way, or the next one, with WaitInterrupted. From any thread."},       \
    {                                                                                                                  \
        "fileno", handle_fileno, METH_NOARGS,                                                                          \
            "fileno()\n--\n\nA descriptor for event loops: readable when there may be something. Take until None."     \
    }

/*
 * ---- options.c ----------------------------------------------------------------------------------------------------
 */

enum option_form {
    OPTION_U32,
    OPTION_U64,
    OPTION_TIME,
    OPTION_TEXT,
    OPTION_TYPE,
    OPTION_FLAG,
    OPTION_IDS,
    OPTION_AFTER
};

struct option {
    const char *name; /* as in tarn.h, but for times, which are seconds here: _s */
    enum option_form form;
    size_t offset;
};

#define OPTION(form, options, field)                                                                                   \
    { #field, form, offsetof(options, field) }
#define OPTION_SECONDS(options, field)                                                                                 \
    { #field "_s", OPTION_TIME, offsetof(options, field##_ns) }

/* Fills in the library's options, for which there is room: struct parsed. 0, or -1: raised. */
struct parsed {
    union {
        size_t struct_bytes;
        tarn_publisher_options publisher;
        tarn_subscriber_options subscriber;
        tarn_client_options client;
        tarn_server_options server;
        tarn_notifier_options notifier;
        tarn_listener_options listener;
        tarn_writer_options writer;
        tarn_reader_options reader;
        tarn_producer_options producer;
        tarn_worker_options worker;
        tarn_monitor_options monitor;
        tarn_keeper_options keeper;
        tarn_waitset_options waitset;
    };
    tarn_type types[2];
    PyObject *type_objects[2]; /* borrowed */
    PyObject *kept;            /* a tuple or list of what the options point into */
    uint32_t *ids;
};
int options_parse(struct parsed *ret, const struct kind *kind, PyObject *given);
void options_free(struct parsed *parsed);

/*
 * ---- payload.c ----------------------------------------------------------------------------------------------------
 */

/* What the library's four structs for payload have first. */
struct place {
    void *data;
    size_t bytes;
};

struct payload_kind {
    const char *name;
    size_t struct_bytes;
    int (*discard)(void *what); /* gives back what was not ended; in a child, or when it is over, says so */
    bool is_writable;
    bool is_owned;      /* ends with its handle */
    bool is_any_thread; /* may be discarded by any thread */
};

typedef struct Payload {
    PyObject_HEAD const struct payload_kind *kind;
    Handle *owner; /* NULL: does not end with a handle */
    PyObject *type;
    Py_ssize_t views;
    uint32_t epoch;
    bool over;
    bool is_listed; /* fork.h */
    struct Payload *next, *previous;
    uint64_t request;        /* of a client's loan */
    struct Payload *answers; /* of a request's loan: that request */
    bool is_last;            /* and it ends it */
    union {
        struct place place;
        tarn_message message;
        tarn_request asked;
        tarn_job job;
        tarn_loan loan;
    };
} Payload;

extern const struct payload_kind message_payload, request_payload, job_payload, loan_payload;
int payload_add_types(PyObject *module);
/* Takes over what is given back if it fails. */
PyObject *payload_new(const struct payload_kind *kind, PyObject *class, Handle *owner, PyObject *type,
                      const void *what);
PyObject *message_new(Handle *handle, PyObject *type, tarn_message *message);
/* Whether it is there, without views, and its owner not used by another thread: may end. Else raises. */
bool payload_may_end(Payload *payload, const char *what);
/* Around each view of it. It may be seen: 0; -1: raised. */
int payload_may_be_seen(Payload *payload);
void payload_lend(Payload *payload);
void payload_get_back(Payload *payload);
/* It has ended. */
void payload_end(Payload *payload);

/* Data that is to be sent: bytes as they are, anything else as the type says. */
int data_get(PyObject *object, PyObject *type, Buffer *ret);
/* What was asked for as the size of a loan. 0, or -1: raised. */
int loan_bytes(PyObject *number, Py_ssize_t *ret);
/* Copies longer than this give up the GIL. */
#define LONG_COPY_BYTES 65536

/* A call that sends what a Buffer has, and may wait. Returns what it returns; for raise_sent(). */
int send_data(Handle *handle, const Buffer *data, int (*send)(void *what, const void *data, size_t bytes), void *what);

/*
 * ---- array.c ------------------------------------------------------------------------------------------------------
 */

int array_add_types(PyObject *module);
PyObject *payload_array(PyObject *self, PyObject *arguments, PyObject *names);

/*
 * ---- fork.c -------------------------------------------------------------------------------------------------------
 */

extern uint32_t fork_epoch; /* of this process: one more in each child */
int fork_prepare(PyObject *module);
/* Payloads whose memory views may point into. */
void fork_list(Payload *payload);
void fork_unlist(Payload *payload);

/*
 * ---- the patterns -------------------------------------------------------------------------------------------------
 */

int messages_add_types(PyObject *module);
int service_add_types(PyObject *module);
int events_add_types(PyObject *module);
int board_add_types(PyObject *module);
int queue_add_types(PyObject *module);
int monitor_add_types(PyObject *module);
int keeper_add_types(PyObject *module);
int waitset_add_types(PyObject *module);

#define METHOD_WITH_NAMES(name, function, text)                                                                        \
    { name, (PyCFunction)(void (*)(void))function, METH_VARARGS | METH_KEYWORDS, text }

#endif
