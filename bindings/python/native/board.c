/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* Writers and readers of a blackboard. Keys are numbers here; tarn_ipc/ knows their names. */
#include "binding.h"

/*
 * ---- writers --------------------------------------------------------------------------------------------------------
 */

static int writer_open(void **ret, const char *topic, const void *options) {
    return tarn_writer_open((tarn_writer **)ret, topic, options);
}
static int writer_close(void *tarn) {
    return tarn_writer_close(tarn);
}

static const struct option writer_options[] = {
    OPTION(OPTION_TEXT, tarn_writer_options, directory), OPTION(OPTION_TEXT, tarn_writer_options, domain),
    OPTION(OPTION_TYPE, tarn_writer_options, type),      OPTION(OPTION_U64, tarn_writer_options, memory_limit_bytes),
    OPTION(OPTION_U32, tarn_writer_options, alignment),  {NULL, 0, 0},
};

static const struct kind writer_kind = {
    .name = "writer",
    .options = writer_options,
    .options_bytes = sizeof(tarn_writer_options),
    .open = writer_open,
    .close = writer_close,
};

static int writer_init(PyObject *self, PyObject *arguments, PyObject *options) {
    return handle_open((Handle *)self, &writer_kind, arguments, options);
}

/* The number of a key of that name. */
static PyObject *key_number(Handle *handle, PyObject *name, int (*look_up)(void *tarn, const char *name)) {
    PyObject *text = PyUnicode_AsUTF8String(name);
    if (!text)
        return NULL;
    char *cut; /* a NUL in it raises ValueError */
    int key = PyBytes_AsStringAndSize(text, &cut, NULL) == 0 && handle_enter(handle) ? look_up(handle->tarn, cut) : 0;
    Py_DECREF(text);
    if (PyErr_Occurred())
        return NULL;
    return key < 0 ? raise_status(key) : PyLong_FromLong(key);
}

static int look_up_writer(void *tarn, const char *name) {
    return tarn_writer_key(tarn, name);
}

static PyObject *writer_key(PyObject *self, PyObject *name) {
    return key_number((Handle *)self, name, look_up_writer);
}

static PyObject *writer_set(PyObject *self, PyObject *arguments) {
    Handle *handle = (Handle *)self;
    PyObject *object;
    Buffer data;
    int key;
    if (!PyArg_ParseTuple(arguments, "iO", &key, &object) || data_get(object, handle->type, &data) < 0)
        return NULL;
    int set = handle_enter(handle) ? tarn_writer_set(handle->tarn, key, data.buf, (size_t)data.len) : 0;
    PyBuffer_Release(&data);
    if (set < 0)
        return raise_status(set);
    if (PyErr_Occurred())
        return NULL;
    Py_RETURN_NONE;
}

static PyObject *writer_loan(PyObject *self, PyObject *arguments) {
    Handle *handle = (Handle *)self;
    PyObject *number;
    Py_ssize_t bytes;
    tarn_loan loan;
    int key;
    if (!PyArg_ParseTuple(arguments, "iO", &key, &number) || loan_bytes(number, &bytes) < 0 || !handle_enter(handle))
        return NULL;
    int lent = tarn_writer_loan(handle->tarn, key, (size_t)bytes, &loan);
    if (lent < 0)
        return raise_status(lent);
    return payload_new(&loan_payload, classes.loan, handle, handle->type, &loan);
}

static PyObject *writer_release_key(PyObject *self, PyObject *number) {
    Handle *handle = (Handle *)self;
    long key = PyLong_AsLong(number);
    if (PyErr_Occurred() || !handle_enter(handle))
        return NULL;
    int status = tarn_writer_release_key(handle->tarn, (int)key);
    if (status < 0)
        return raise_status(status);
    Py_RETURN_NONE;
}

static int writer_readers(void *tarn) {
    return tarn_writer_readers(tarn, NULL);
}

static PyObject *readers(PyObject *self, PyObject *unused) {
    (void)unused;
    return handle_count(self, writer_readers);
}

static PyObject *writer_identity(PyObject *self, void *unused) {
    (void)unused;
    return PyLong_FromUnsignedLongLong(tarn_writer_identity(((Handle *)self)->tarn));
}

static PyMethodDef writer_methods[] = {
    {"_key", writer_key, METH_O, "_key(name)\n--\n\nTakes a key."},
    {"_set", writer_set, METH_VARARGS, "_set(key, data)\n--\n\nSets a key to a copy of data."},
    {"_loan", writer_loan, METH_VARARGS, "_loan(key, bytes)\n--\n\nA place to write a value to."},
    {"_release_key", writer_release_key, METH_O, "_release_key(key)\n--\n\nGives a key up."},
    {"readers", readers, METH_NOARGS, "readers()\n--\n\nHow many live ones have read a value of this writer."},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef writer_getters[] = {
    {"identity", writer_identity, NULL, "As its values carry it; 0 when closed.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot writer_slots[] = {
    {Py_tp_doc, "Sets keys of a blackboard."},
    {Py_tp_init, writer_init},
    {Py_tp_methods, writer_methods},
    {Py_tp_getset, writer_getters},
    {0, NULL},
};

/*
 * ---- readers --------------------------------------------------------------------------------------------------------
 */

static int reader_open(void **ret, const char *topic, const void *options) {
    return tarn_reader_open((tarn_reader **)ret, topic, options);
}
static int reader_close(void *tarn) {
    return tarn_reader_close(tarn);
}
static int reader_wait(void *tarn, int64_t timeout_ns) {
    return tarn_reader_wait(tarn, timeout_ns);
}
static int reader_interrupt(void *tarn) {
    return tarn_reader_interrupt(tarn);
}
static int reader_fd(void *tarn) {
    return tarn_reader_fd(tarn);
}

/* The number of a key that has a value not yet read. */
static int reader_changed(Handle *handle, PyObject **ret) {
    int key, changed = tarn_reader_changed(handle->tarn, &key);
    if (changed <= 0)
        return changed < 0 ? fail_status(changed) : 0;
    *ret = PyLong_FromLong(key);
    return *ret ? 1 : -1;
}

static const struct option reader_options[] = {
    OPTION(OPTION_TEXT, tarn_reader_options, directory),
    OPTION(OPTION_TEXT, tarn_reader_options, domain),
    OPTION(OPTION_TYPE, tarn_reader_options, type),
    OPTION(OPTION_U32, tarn_reader_options, max_held),
    OPTION(OPTION_U32, tarn_reader_options, wait_strategy),
    OPTION_SECONDS(tarn_reader_options, spin),
    {NULL, 0, 0},
};

static const struct kind reader_kind = {
    .name = "reader",
    .options = reader_options,
    .options_bytes = sizeof(tarn_reader_options),
    .open = reader_open,
    .close = reader_close,
    .wait = reader_wait,
    .interrupt = reader_interrupt,
    .fd = reader_fd,
    .take = reader_changed,
};

static int reader_init(PyObject *self, PyObject *arguments, PyObject *options) {
    return handle_open((Handle *)self, &reader_kind, arguments, options);
}

static int look_up_reader(void *tarn, const char *name) {
    return tarn_reader_key(tarn, name);
}

static PyObject *reader_key(PyObject *self, PyObject *name) {
    return key_number((Handle *)self, name, look_up_reader);
}

static PyObject *reader_value(PyObject *self, PyObject *number) {
    Handle *handle = (Handle *)self;
    tarn_message value;
    long key = PyLong_AsLong(number);
    if (PyErr_Occurred() || !handle_enter(handle))
        return NULL;
    int taken = tarn_reader_take(handle->tarn, (int)key, &value);
    if (taken < 0)
        return raise_status(taken);
    if (taken == 0)
        Py_RETURN_NONE;
    return message_new(handle, handle->type, &value);
}

/* Waits in slices, as handle_wait does, for the version of one key. */
static PyObject *reader_wait_key(PyObject *self, PyObject *arguments) {
    Handle *handle = (Handle *)self;
    PyObject *seconds, *number;
    int key, result = 0;
    int64_t timeout_ns;
    if (!PyArg_ParseTuple(arguments, "iOO", &key, &number, &seconds) || timeout_parse(seconds, &timeout_ns) < 0)
        return NULL;
    uint64_t version = PyLong_AsUnsignedLongLong(number);
    if (PyErr_Occurred())
        return NULL;
    for (int64_t deadline = deadline_ns(timeout_ns); result == 0;) {
        if (!handle_enter(handle))
            return NULL;
        int64_t left = time_left_ns(deadline), slice = left < WAIT_SLICE_NS ? left : WAIT_SLICE_NS;
        PyThreadState *state = handle_unlock(handle);
        result = tarn_reader_wait_key(handle->tarn, key, version, slice);
        handle_lock(handle, state);
        if (result < 0)
            return raise_status(result);
        if (PyErr_CheckSignals() < 0)
            return NULL;
        if (left == slice)
            break;
    }
    return PyBool_FromLong(result);
}

static int reader_keys(void *tarn) {
    return tarn_reader_keys(tarn);
}

static PyObject *keys_count(PyObject *self, PyObject *unused) {
    (void)unused;
    return handle_count(self, reader_keys);
}

static PyObject *key_name(PyObject *self, PyObject *number) {
    Handle *handle = (Handle *)self;
    long key = PyLong_AsLong(number);
    if (PyErr_Occurred() || !handle_enter(handle))
        return NULL;
    const char *name = tarn_reader_key_name(handle->tarn, (int)key);
    if (!name)
        Py_RETURN_NONE;
    return PyUnicode_DecodeUTF8(name, (Py_ssize_t)strlen(name), "surrogateescape");
}

static PyMethodDef reader_methods[] = {
    {"_changed", handle_take, METH_NOARGS, "_changed()\n--\n\nA key that has a value not yet read, or None."},
    METHOD_WITH_NAMES("_next", handle_receive, "_next(timeout=None)\n--\n\nThe same, waiting for it."),
    METHOD_WITH_NAMES("wait", handle_ready,
                      "wait(timeout=None)\n--\n\nWhether a key that was looked up has a value not yet "
                      "read, within timeout seconds."),
    {"interrupt", handle_interrupt, METH_NOARGS,
     "interrupt()\n--\n\nEnds the wait under way, or the next one, with WaitInterrupted."},
    {"fileno", handle_fileno, METH_NOARGS, "fileno()\n--\n\nA descriptor for event loops. Take changes until None."},
    {"_key", reader_key, METH_O, "_key(name)\n--\n\nLooks a key up."},
    {"_take", reader_value, METH_O, "_take(key)\n--\n\nThe latest value where it lies, or None."},
    {"_wait_key", reader_wait_key, METH_VARARGS,
     "_wait_key(key, version, timeout)\n--\n\nWaits for a version above that."},
    {"_keys", keys_count, METH_NOARGS, "_keys()\n--\n\nHow many keys there are."},
    {"_key_name", key_name, METH_O, "_key_name(key)\n--\n\nIts name, or None."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot reader_slots[] = {
    {Py_tp_doc, "Reads keys of a blackboard."},
    {Py_tp_init, reader_init},
    {Py_tp_methods, reader_methods},
    {0, NULL},
};

int board_add_types(PyObject *module) {
    const unsigned flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE;
    PyType_Spec writer = {"tarn_ipc._tarn.Writer", sizeof(Handle), 0, flags, writer_slots};
    PyType_Spec reader = {"tarn_ipc._tarn.Reader", sizeof(Handle), 0, flags, reader_slots};
    int status = add_type(module, &writer, handle_base, NULL);
    return status ? status : add_type(module, &reader, handle_base, NULL);
}
