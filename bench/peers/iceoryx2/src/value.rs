// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A blackboard service with one entry: see peer_value in ../../peer.h. Entries have types, so there are two sizes.
//!
//! The reader is the one that the library's C interface has, which copies the value to where the caller wants it. The one
//! that Rust's has returns it, so that a large value is copied more than once.

use std::ffi::c_void;
use std::ptr::null_mut;

use iceoryx2::port::reader::{Reader as ReaderPort, __InternalEntryHandle};
use iceoryx2::port::writer::{EntryHandleMut, EntryValueUninit, Writer as WriterPort};
use iceoryx2::prelude::*;
use iceoryx2::service::marker::CustomKeyMarker;
use iceoryx2::service::port_factory::blackboard;
use iceoryx2::service::static_config::message_type_details::{TypeDetail, TypeVariant};

use crate::{fail, open_node, prepare, release, retry, service_name, text, version, Peer, PeerChannel};
use crate::PEER_INTERFACE;

static KEY: u64 = 1;
const SMALL_BYTES: usize = 64;
const LARGE_BYTES: usize = 65536;

#[repr(C, align(8))]
#[derive(Clone, Copy)]
struct Value<const BYTES: usize>([u8; BYTES]);

// SAFETY: plain bytes.
unsafe impl<const BYTES: usize> ZeroCopySend for Value<BYTES> {}

type Service = blackboard::PortFactory<ipc::Service, u64>;
type ReaderService = blackboard::PortFactory<ipc::Service, CustomKeyMarker>;

enum WriteEnd<const BYTES: usize> {
    Idle(EntryHandleMut<ipc::Service, u64, Value<BYTES>>),
    Loaned(EntryValueUninit<ipc::Service, u64, Value<BYTES>>),
}

trait Writes {
    fn loan(&mut self) -> *mut c_void;
    fn send(&mut self);
}

/// Loaning consumes the handle, and sending gives it back.
impl<const BYTES: usize> Writes for Option<WriteEnd<BYTES>> {
    fn loan(&mut self) -> *mut c_void {
        let Some(WriteEnd::Idle(entry)) = self.take() else { fail("loan", "one is loaned") };
        match self.insert(WriteEnd::Loaned(entry.loan_uninit())) {
            WriteEnd::Loaned(value) => value.value_mut().as_mut_ptr().cast(),
            WriteEnd::Idle(_) => unreachable!(),
        }
    }

    fn send(&mut self) {
        let Some(WriteEnd::Loaned(value)) = self.take() else { fail("send", "nothing is loaned") };
        // SAFETY: the caller has written it.
        *self = Some(WriteEnd::Idle(unsafe { value.assume_init_and_update() }));
    }
}

pub struct Writer {
    // Dropped in this order.
    end: Box<dyn Writes>,
    _writer: WriterPort<ipc::Service, u64>,
    service: Service,
    _node: Node<ipc::Service>,
}

pub struct Reader {
    // Dropped in this order.
    entry: __InternalEntryHandle<ipc::Service>,
    copy: Box<Value<LARGE_BYTES>>,
    bytes: usize,
    _reader: ReaderPort<ipc::Service, CustomKeyMarker>,
    _service: ReaderService,
    _node: Node<ipc::Service>,
}

fn create<const BYTES: usize>(node: &Node<ipc::Service>, name: &ServiceName) -> Service {
    retry("blackboard", || {
        node.service_builder(name)
            .blackboard_creator::<u64>()
            .max_readers(1)
            .max_nodes(4)
            .add::<Value<BYTES>>(KEY, Value([0; BYTES]))
            .create()
    })
}

fn write_end<const BYTES: usize>(writer: &WriterPort<ipc::Service, u64>) -> Box<dyn Writes> {
    match writer.entry::<Value<BYTES>>(&KEY) {
        Ok(entry) => Box::new(Some(WriteEnd::Idle(entry))),
        Err(error) => fail("entry", error),
    }
}

fn open(node: &Node<ipc::Service>, name: &ServiceName) -> ReaderService {
    let same = |a: *const u8, b: *const u8| {
        // SAFETY: pointers to keys.
        unsafe { a.cast::<u64>().read_unaligned() == b.cast::<u64>().read_unaligned() }
    };
    retry("blackboard", || {
        let opener = node.service_builder(name).blackboard_opener::<CustomKeyMarker>();
        // SAFETY: what the service's creator has for keys.
        let opener = unsafe {
            opener
                .__internal_set_key_type_details(&TypeDetail::new::<u64>(TypeVariant::FixedSize))
                .__internal_set_key_eq_cmp_func(Box::new(same))
        };
        opener.open()
    })
}

extern "C" fn open_writer(channel: *const PeerChannel, _index: u32) -> *mut Writer {
    // SAFETY: valid while an end is opened.
    let channel = unsafe { &*channel };
    set_log_level(LogLevel::Error);
    let node = open_node(channel);
    let name = service_name(text(channel.name));
    let service = match channel.bytes {
        SMALL_BYTES => create::<SMALL_BYTES>(&node, &name),
        LARGE_BYTES => create::<LARGE_BYTES>(&node, &name),
        bytes => fail("size that has no type here", bytes),
    };
    let writer = service.writer_builder().create().unwrap_or_else(|error| fail("writer", error));
    let end = if channel.bytes == SMALL_BYTES { write_end::<SMALL_BYTES>(&writer) } else { write_end::<LARGE_BYTES>(&writer) };
    Box::into_raw(Box::new(Writer { end, _writer: writer, service, _node: node }))
}

extern "C" fn open_reader(channel: *const PeerChannel, _index: u32) -> *mut Reader {
    // SAFETY: valid while an end is opened.
    let channel = unsafe { &*channel };
    set_log_level(LogLevel::Error);
    let node = open_node(channel);
    let name = service_name(text(channel.name));
    let service = open(&node, &name);
    let reader = service.reader_builder().create().unwrap_or_else(|error| fail("reader", error));
    let value_type = match channel.bytes {
        SMALL_BYTES => TypeDetail::new::<Value<SMALL_BYTES>>(TypeVariant::FixedSize),
        _ => TypeDetail::new::<Value<LARGE_BYTES>>(TypeVariant::FixedSize),
    };
    // SAFETY: the key's type is that of the service.
    let entry = unsafe { reader.__internal_entry((&raw const KEY).cast(), &value_type) }
        .unwrap_or_else(|error| fail("entry", error));
    let copy = Box::new(Value([0; LARGE_BYTES]));
    Box::into_raw(Box::new(Reader {
        entry,
        copy,
        bytes: channel.bytes,
        _reader: reader,
        _service: service,
        _node: node,
    }))
}

extern "C" fn connected(writer: *mut Writer) -> bool {
    // SAFETY: from open_writer().
    unsafe { &*writer }.service.dynamic_config().number_of_readers() == 1
}

extern "C" fn loan(writer: *mut Writer) -> *mut c_void {
    // SAFETY: from open_writer().
    unsafe { &mut *writer }.end.loan()
}

extern "C" fn send(writer: *mut Writer) {
    // SAFETY: from open_writer().
    unsafe { &mut *writer }.end.send();
}

extern "C" fn take(reader: *mut Reader, _wait: bool) -> *const c_void {
    // SAFETY: from open_reader().
    let reader = unsafe { &mut *reader };
    let copy = reader.copy.0.as_mut_ptr();
    // SAFETY: the copy is as large as the largest value, and aligned as all are.
    unsafe { reader.entry.get(copy, reader.bytes, align_of::<Value<LARGE_BYTES>>(), null_mut()) };
    copy.cast_const().cast()
}

extern "C" fn done(_reader: *mut Reader) {}

extern "C" fn close_writer(writer: *mut Writer) {
    // SAFETY: from open_writer(), and not used any more.
    drop(unsafe { Box::from_raw(writer) });
}

extern "C" fn close_reader(reader: *mut Reader) {
    // SAFETY: from open_reader(), and not used any more.
    drop(unsafe { Box::from_raw(reader) });
}

#[no_mangle]
#[allow(non_upper_case_globals)]
pub static peer_value: Peer<Writer, Reader, Reader> = Peer {
    interface: PEER_INTERFACE,
    name: c"iceoryx2".as_ptr(),
    title: c"iceoryx2".as_ptr(),
    how: c"A blackboard service with one entry, an array of bytes of the size measured: loan_uninit and \
        assume_init_and_update; get, as the C interface has it."
        .as_ptr(),
    bytes_max: LARGE_BYTES as u64,
    senders_max: 1,
    receivers_max: 1,
    copies: true,
    can_sleep: false,
    version: Some(version),
    prepare: Some(prepare),
    release: Some(release),
    open_sender: Some(open_writer),
    open_receiver: Some(open_reader),
    connected: Some(connected),
    loan: Some(loan),
    send: Some(send),
    take: Some(take),
    done: Some(done),
    send_many: None,
    take_until: None,
    close_sender: Some(close_writer),
    close_receiver: Some(close_reader),
    servers: None,
    serve_take: None,
    serve_loan: None,
    serve_send: None,
};
