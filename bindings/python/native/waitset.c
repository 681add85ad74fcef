/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * Waitsets. The set and the handles in it belong to one thread together: while it waits all of them are busy. It keeps
 * them alive, and tags are whatever object was given.
 */
#include "binding.h"

/* How many are reported at a time. */
#define READY_MAX 64

typedef struct Waitset {
    Handle handle;
    PyObject *sources; /* list of (handle or number of a descriptor, tag) */
} Waitset;

static int waitset_open(void **ret, const char *topic, const void *options) {
    (void)topic;
    return tarn_waitset_open((tarn_waitset **)ret, options);
}
static int waitset_close(void *tarn) {
    return tarn_waitset_close(tarn);
}
static int waitset_interrupt(void *tarn) {
    return tarn_waitset_interrupt(tarn);
}
static int waitset_fd(void *tarn) {
    return tarn_waitset_fd(tarn);
}

static const struct option waitset_options[] = {
    OPTION(OPTION_U32, tarn_waitset_options, wait_strategy),
    OPTION_SECONDS(tarn_waitset_options, spin),
    {NULL, 0, 0},
};

static const struct kind waitset_kind = {
    .name = "waitset",
    .options = waitset_options,
    .options_bytes = sizeof(tarn_waitset_options),
    .open = waitset_open,
    .close = waitset_close,
    .interrupt = waitset_interrupt,
    .fd = waitset_fd,
    .has_no_topic = true,
};

static int waitset_init(PyObject *self, PyObject *arguments, PyObject *options) {
    Waitset *set = (Waitset *)self;
    if (!set->sources)
        set->sources = PyList_New(0);
    return set->sources ? handle_open(&set->handle, &waitset_kind, arguments, options) : -1;
}

/*
 * ---- sources --------------------------------------------------------------------------------------------------------
 */

static PyObject *source_at(const Waitset *set, Py_ssize_t at, int part) {
    return PyTuple_GetItem(PyList_GetItem(set->sources, at), part);
}

static Handle *handle_at(const Waitset *set, Py_ssize_t at) {
    PyObject *source = source_at(set, at, 0);
    return PyLong_Check(source) ? NULL : (Handle *)source;
}

static Py_ssize_t find(const Waitset *set, PyObject *handle, int fd) {
    for (Py_ssize_t at = PyList_Size(set->sources) - 1; at >= 0; at--) {
        PyObject *source = source_at(set, at, 0);
        if (handle ? source == handle : PyLong_Check(source) && PyLong_AsLong(source) == fd)
            return at;
    }
    return -1;
}

static int remember(Waitset *set, PyObject *source, PyObject *tag) {
    PyObject *pair = PyTuple_Pack(2, source, tag);
    int status = pair ? PyList_Append(set->sources, pair) : -1;
    Py_XDECREF(pair);
    return status;
}

static int forget(Waitset *set, Py_ssize_t at) {
    return PyList_SetSlice(set->sources, at, at + 1, NULL);
}

/* A handle that is open and that this thread may use; or NULL: raised. */
static Handle *handle_given(PyObject *object) {
    if (PyObject_TypeCheck(object, (PyTypeObject *)handle_base)) /* whatever its __class__ says */
        return handle_enter((Handle *)object) ? (Handle *)object : NULL;
    PyErr_Format(PyExc_TypeError, "%R is no handle of tarn_ipc", object);
    return NULL;
}

static PyObject *waitset_add(PyObject *self, PyObject *arguments, PyObject *names) {
    static char *known[] = {"handle", "tag", NULL};
    Waitset *set = (Waitset *)self;
    PyObject *object, *tag = Py_None;
    if (!PyArg_ParseTupleAndKeywords(arguments, names, "O|O", known, &object, &tag) || !handle_enter(&set->handle))
        return NULL;
    Handle *handle = handle_given(object);
    if (!handle)
        return NULL;
    Py_ssize_t left_over = find(set, object, -1);
    int status = tarn_waitset_add(set->handle.tarn, handle->tarn, handle);
    if (status < 0)
        return raise_status(status);
    if (left_over >= 0 && forget(set, left_over) < 0)
        return NULL;
    if (remember(set, object, tag) < 0)
        return NULL;
    Py_RETURN_NONE;
}

static PyObject *waitset_add_fd(PyObject *self, PyObject *arguments, PyObject *names) {
    static char *known[] = {"fd", "events", "tag", NULL};
    Waitset *set = (Waitset *)self;
    PyObject *object, *tag = Py_None;
    unsigned events = 1; /* POLLIN */
    if (!PyArg_ParseTupleAndKeywords(arguments, names, "O|IO", known, &object, &events, &tag))
        return NULL;
    int fd = PyObject_AsFileDescriptor(object);
    if (fd < 0 || !handle_enter(&set->handle))
        return NULL;
    int status = tarn_waitset_add_fd(set->handle.tarn, fd, events, NULL);
    if (status < 0)
        return raise_status(status);
    PyObject *number = PyLong_FromLong(fd);
    status = number ? remember(set, number, tag) : -1;
    Py_XDECREF(number);
    if (status < 0)
        return NULL;
    Py_RETURN_NONE;
}

static PyObject *waitset_remove(PyObject *self, PyObject *object) {
    Waitset *set = (Waitset *)self;
    if (!handle_enter(&set->handle))
        return NULL;
    Py_ssize_t at = find(set, object, -1);
    Handle *handle = at < 0 ? NULL : (Handle *)object;
    if (handle && !handle->tarn) { /* closed while in it: the library has forgotten it */
        if (forget(set, at) < 0)
            return NULL;
        Py_RETURN_NONE;
    }
    if (handle && !handle_enter(handle))
        return NULL;
    int status = tarn_waitset_remove(set->handle.tarn, handle ? handle->tarn : object);
    if (status < 0)
        return raise_status(status);
    if (forget(set, at) < 0)
        return NULL;
    Py_RETURN_NONE;
}

static PyObject *waitset_remove_fd(PyObject *self, PyObject *object) {
    Waitset *set = (Waitset *)self;
    int fd = PyObject_AsFileDescriptor(object);
    if (fd < 0 || !handle_enter(&set->handle))
        return NULL;
    int status = tarn_waitset_remove_fd(set->handle.tarn, fd);
    if (status < 0)
        return raise_status(status);
    Py_ssize_t at = find(set, NULL, fd);
    if (at >= 0 && forget(set, at) < 0)
        return NULL;
    Py_RETURN_NONE;
}

/*
 * ---- waiting --------------------------------------------------------------------------------------------------------
 */

static bool enter_all(Waitset *set) {
    if (!handle_enter(&set->handle))
        return false;
    for (Py_ssize_t at = PyList_Size(set->sources) - 1; at >= 0; at--) {
        Handle *handle = handle_at(set, at);
        if (handle && handle->tarn && !handle_enter(handle))
            return false;
    }
    return true;
}

static int wait_slice(Waitset *set, tarn_ready *ready, int64_t slice_ns) {
    Py_ssize_t count = PyList_Size(set->sources);
    for (Py_ssize_t at = 0; at < count; at++) {
        Handle *handle = handle_at(set, at);
        if (handle)
            handle->busy = true;
    }
    PyThreadState *state = handle_unlock(&set->handle);
    int result = tarn_waitset_wait(set->handle.tarn, ready, READY_MAX, slice_ns);
    PyEval_RestoreThread(state);
    for (Py_ssize_t at = 0; at < count; at++) { /* nobody else can change the sources before the set is settled */
        Handle *handle = handle_at(set, at);
        if (handle)
            handle_settle(handle);
    }
    handle_settle(&set->handle);
    return result < 0 ? fail_status(result) : result;
}

static PyObject *ready_source(const Waitset *set, const tarn_ready *ready) {
    Py_ssize_t at = find(set, ready->tag, ready->fd);
    PyObject *tag = at < 0 ? Py_None : source_at(set, at, 1);
    PyObject *handle = ready->tag ? (PyObject *)ready->tag : Py_None;
    return PyObject_CallFunction(classes.ready, "OOiIi", tag, handle, ready->fd, ready->events, ready->status);
}

static PyObject *ready_list(const Waitset *set, const tarn_ready *ready, int count) {
    PyObject *list = PyList_New(count);
    for (int i = 0; list && i < count; i++) {
        PyObject *source = ready_source(set, &ready[i]);
        if (!source || PyList_SetItem(list, i, source) < 0)
            Py_CLEAR(list);
    }
    return list;
}

static bool is_among(const Handle *handle, const tarn_ready *ready, int count) {
    for (int i = 0; i < count; i++)
        if (ready[i].tag == handle)
            return true;
    return false;
}

/* Clients that have responses of which the library does not know any more. */
static bool has_set_aside(const Waitset *set) {
    for (Py_ssize_t at = PyList_Size(set->sources) - 1; at >= 0; at--) {
        Handle *handle = handle_at(set, at);
        if (handle && handle->tarn && handle_has_set_aside(handle))
            return true;
    }
    return false;
}

/* Adds them to what is ready. Takes over the list. */
static PyObject *add_set_aside(const Waitset *set, const tarn_ready *ready, int count, PyObject *list) {
    for (Py_ssize_t at = 0; list && at < PyList_Size(set->sources); at++) {
        Handle *handle = handle_at(set, at);
        if (!handle || !handle->tarn || !handle_has_set_aside(handle) || is_among(handle, ready, count))
            continue;
        PyObject *source = ready_source(set, &(tarn_ready){.tag = handle, .fd = -1});
        if (!source || PyList_Append(list, source) < 0)
            Py_CLEAR(list);
        Py_XDECREF(source);
    }
    return list;
}

static PyObject *waitset_wait(PyObject *self, PyObject *arguments, PyObject *names) {
    static char *known[] = {"timeout", NULL};
    Waitset *set = (Waitset *)self;
    PyObject *seconds = NULL;
    tarn_ready ready[READY_MAX];
    int64_t timeout_ns;
    if (!PyArg_ParseTupleAndKeywords(arguments, names, "|O", known, &seconds) ||
        timeout_parse(seconds, &timeout_ns) < 0)
        return NULL;
    for (int64_t deadline = deadline_ns(timeout_ns);;) {
        if (!enter_all(set))
            return NULL;
        int64_t left = has_set_aside(set) ? 0 : time_left_ns(deadline);
        int64_t slice = left < WAIT_SLICE_NS ? left : WAIT_SLICE_NS;
        int count = wait_slice(set, ready, slice);
        if (count < 0)
            return NULL;
        if (count > 0 || left == slice) /* before a signal's handler takes some out */
            return add_set_aside(set, ready, count, ready_list(set, ready, count));
        if (PyErr_CheckSignals() < 0)
            return NULL;
    }
}

/*
 * ---- the type -------------------------------------------------------------------------------------------------------
 */

static int waitset_traverse(PyObject *self, visitproc visit, void *arg) {
    Py_VISIT(((Waitset *)self)->sources);
    Py_VISIT(Py_TYPE(self));
    return 0;
}

/* Not while it is open: the library's set would report handles that are gone. */
static int waitset_clear(PyObject *self) {
    Waitset *set = (Waitset *)self;
    if (set->handle.tarn)
        handle_drop(&set->handle);
    Py_CLEAR(set->sources);
    return 0;
}

static void waitset_dealloc(PyObject *self) {
    PyObject_GC_UnTrack(self);
    waitset_clear(self);
    ((destructor)PyType_GetSlot((PyTypeObject *)handle_base, Py_tp_dealloc))(self);
}

static PyMethodDef methods[] = {
    METHOD_WITH_NAMES("add", waitset_add, "add(handle, tag=None)\n--\n\nAdds a handle that can be waited for."),
    METHOD_WITH_NAMES("add_fd", waitset_add_fd, "add_fd(fd, events=select.POLLIN, tag=None)\n--\n\nAdds a descriptor."),
    {"remove", waitset_remove, METH_O, "remove(handle)\n--\n\nTakes a handle out."},
    {"remove_fd", waitset_remove_fd, METH_O, "remove_fd(fd)\n--\n\nTakes a descriptor out."},
    METHOD_WITH_NAMES("wait", waitset_wait,
                      "wait(timeout=None)\n--\n\nA list of what is ready; empty: nothing in time."),
    {"interrupt", handle_interrupt, METH_NOARGS,
     "interrupt()\n--\n\nEnds the wait under way, or the next one, with WaitInterrupted."},
    {"fileno", handle_fileno, METH_NOARGS,
     "fileno()\n--\n\nA descriptor for event loops. Wait with a timeout of 0 until nothing is ready."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot slots[] = {
    {Py_tp_doc, "One wait for handles and descriptors."},
    {Py_tp_init, waitset_init},
    {Py_tp_methods, methods},
    {Py_tp_traverse, waitset_traverse},
    {Py_tp_clear, waitset_clear},
    {Py_tp_dealloc, waitset_dealloc},
    {0, NULL},
};

int waitset_add_types(PyObject *module) {
    PyType_Spec spec = {"tarn_ipc._tarn.Waitset", sizeof(Waitset), 0,
                        Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC, slots};
    return add_type(module, &spec, handle_base, NULL);
}
