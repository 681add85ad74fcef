// SPDX-License-Identifier: Apache-2.0 OR MIT
//! iceoryx2 as a peer of the comparison: see ../../peer.h.

mod call;
mod notify;
mod value;

use std::ffi::{c_char, c_int, c_void, CStr, CString};
use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::{Duration, Instant};

use iceoryx2::config::Config;
use iceoryx2::port::listener::Listener;
use iceoryx2::port::notifier::Notifier;
use iceoryx2::port::publisher::Publisher;
use iceoryx2::port::subscriber::Subscriber;
use iceoryx2::port::update_connections::UpdateConnections;
use iceoryx2::prelude::*;
use iceoryx2::sample::Sample;
use iceoryx2::sample_mut_uninit::SampleMutUninit;
use iceoryx2::service::port_factory::{event, publish_subscribe};
use iceoryx2_bb_elementary::package_version::PackageVersion;

/// struct peer_channel
#[repr(C)]
pub struct PeerChannel {
    name: *const c_char,
    folder: *const c_char,
    bytes: usize,
    senders: u32,
    receivers: u32,
    port: u32,
    sleeps: bool,
    _streams: bool,
    prepared: *mut c_void,
}

/// struct peer. S: what open_sender() makes, R: open_receiver(), T: which of both is for take().
#[repr(C)]
pub struct Peer<S, R, T> {
    interface: u32,
    name: *const c_char,
    title: *const c_char,
    how: *const c_char,
    bytes_max: u64,
    senders_max: u32,
    receivers_max: u32,
    copies: bool,
    can_sleep: bool,
    version: Option<extern "C" fn() -> *const c_char>,
    prepare: Option<extern "C" fn(*mut PeerChannel)>,
    release: Option<extern "C" fn(*mut PeerChannel)>,
    open_sender: Option<extern "C" fn(*const PeerChannel, u32) -> *mut S>,
    open_receiver: Option<extern "C" fn(*const PeerChannel, u32) -> *mut R>,
    connected: Option<extern "C" fn(*mut S) -> bool>,
    loan: Option<extern "C" fn(*mut S) -> *mut c_void>,
    send: Option<extern "C" fn(*mut S)>,
    take: Option<extern "C" fn(*mut T, bool) -> *const c_void>,
    done: Option<extern "C" fn(*mut T)>,
    send_many: Option<extern "C" fn(*mut S, usize, u64, u64)>,
    take_until: Option<extern "C" fn(*mut R, usize, u64, *mut u64) -> u64>,
    close_sender: Option<extern "C" fn(*mut S)>,
    close_receiver: Option<extern "C" fn(*mut R)>,
    servers: Option<extern "C" fn(*mut c_int) -> u32>,
    serve_take: Option<extern "C" fn(*mut R, bool) -> *const c_void>,
    serve_loan: Option<extern "C" fn(*mut R) -> *mut c_void>,
    serve_send: Option<extern "C" fn(*mut R)>,
}

// SAFETY: constant; the pointers are to constants.
unsafe impl<S, R, T> Sync for Peer<S, R, T> {}

const PEER_INTERFACE: u32 = 4;
const PEER_HANDLES_MAX: u32 = 1024;
/// Of a subscriber: messages, and bytes of them.
const BUFFER_MAX: usize = 1024;
const BUFFER_MIN: usize = 2;
const BUFFER_BYTES: usize = 4 << 20;
/// Of the messages: a cache line.
const ALIGNMENT: usize = 64;
/// Creating, opening and removing of a service by two processes at a time is tried again so long.
const OPEN_TIMEOUT: Duration = Duration::from_secs(20);

fn fail(what: &str, error: impl core::fmt::Debug) -> ! {
    eprintln!("bench peer: iceoryx2: {what}: {error:?}");
    // SAFETY: ends the process.
    unsafe { libc::_exit(1) }
}

/// Of one channel, shared by all its handles in this process.
struct Channel {
    // Dropped in this order.
    service: publish_subscribe::PortFactory<ipc::Service, [u8], ()>,
    event: Option<event::PortFactory<ipc::Service>>,
    _node: Node<ipc::Service>,
    bytes: usize,
    buffer: usize,
    senders: usize,
    receivers: usize,
    /// How many receivers have connected to all senders; shared with the other process.
    ready: *const AtomicU32,
}

// SAFETY: used by many threads only for what all of them may do: creating ports, reading the dynamic configuration. The
// node is just kept.
unsafe impl Send for Channel {}
unsafe impl Sync for Channel {}

pub struct Sender {
    // Dropped in this order.
    loan: Option<SampleMutUninit<ipc::Service, [core::mem::MaybeUninit<u8>], ()>>,
    publisher: Publisher<ipc::Service, [u8], ()>,
    notifier: Option<Notifier<ipc::Service>>,
    bytes: usize,
    /// Messages that may still be sent without knowing that all receivers have connected.
    unchecked: usize,
    channel: Arc<Channel>,
}

pub struct Receiver {
    // Dropped in this order.
    sample: Option<Sample<ipc::Service, [u8], ()>>,
    subscriber: Subscriber<ipc::Service, [u8], ()>,
    listener: Option<Listener<ipc::Service>>,
    ready: bool,
    channel: Arc<Channel>,
}

fn text<'a>(pointer: *const c_char) -> &'a str {
    // SAFETY: a string that lives as long as the channel.
    match unsafe { CStr::from_ptr(pointer) }.to_str() {
        Ok(string) => string,
        Err(error) => fail("channel", error),
    }
}

fn retry<T, E: core::fmt::Debug>(what: &str, mut create: impl FnMut() -> Result<T, E>) -> T {
    let start = Instant::now();
    loop {
        match create() {
            Ok(value) => return value,
            Err(_) if start.elapsed() < OPEN_TIMEOUT => std::thread::sleep(Duration::from_millis(1)),
            Err(error) => fail(what, error),
        }
    }
}

/// What the names of all of the channel's shared memory begin with.
fn prefix(channel: &PeerChannel) -> String {
    let key = text(channel.folder).bytes().chain(*b"/").chain(text(channel.name).bytes());
    let hash = key.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("iox2_{hash:016x}_")
}

fn open_node(channel: &PeerChannel) -> Node<ipc::Service> {
    let name = text(channel.name);
    let folder = text(channel.folder);
    let root = Path::new(format!("{folder}/iox2_{name}").as_bytes()).unwrap_or_else(|error| fail(folder, error));
    let prefix = FileName::new(prefix(channel).as_bytes()).unwrap_or_else(|error| fail(name, error));
    let mut config = Config::default();
    config.global.set_root_path(&root);
    config.global.prefix = prefix;
    config.global.creation_timeout = Duration::from_secs(5);
    // The folder is new.
    config.global.node.cleanup_dead_nodes_on_creation = false;
    config.global.node.cleanup_dead_nodes_on_destruction = false;
    config.global.service.cleanup_dead_nodes_on_open = false;

    retry("node", || {
        NodeBuilder::new()
            .config(&config)
            .signal_handling_mode(SignalHandlingMode::Disabled)
            .create::<ipc::Service>()
    })
}

fn service_name(name: &str) -> ServiceName {
    ServiceName::new(name).unwrap_or_else(|error| fail(name, error))
}

fn open_channel(channel: &PeerChannel) -> Channel {
    let node = open_node(channel);
    let senders = channel.senders as usize;
    let receivers = channel.receivers as usize;
    let buffer = (BUFFER_BYTES / channel.bytes).clamp(BUFFER_MIN, BUFFER_MAX);
    let service_name = service_name(text(channel.name));
    let service = retry("service", || {
        node.service_builder(&service_name)
            .publish_subscribe::<[u8]>()
            .payload_alignment(Alignment::new(ALIGNMENT).unwrap())
            .enable_safe_overflow(false)
            .history_size(0)
            .subscriber_max_buffer_size(buffer)
            .subscriber_max_borrowed_samples(1)
            .max_publishers(senders)
            .max_subscribers(receivers)
            .max_nodes(4)
            .open_or_create()
    });
    let event = channel.sleeps.then(|| {
        retry("event service", || {
            node.service_builder(&service_name)
                .event()
                .event_id_max_value(1)
                .max_notifiers(senders)
                .max_listeners(receivers)
                .max_nodes(4)
                .open_or_create()
        })
    });
    Channel {
        service,
        event,
        _node: node,
        bytes: channel.bytes,
        buffer,
        senders,
        receivers,
        ready: channel.prepared.cast_const().cast(),
    }
}

/// The channel as opened in this process; its last handle closes it.
fn find_channel(channel: *const PeerChannel) -> Arc<Channel> {
    static CHANNELS: Mutex<Vec<(String, Weak<Channel>)>> = Mutex::new(Vec::new());
    // SAFETY: valid while an end is opened.
    let channel = unsafe { &*channel };
    let name = text(channel.name);
    let mut channels = CHANNELS.lock().unwrap();
    channels.retain(|(_, opened)| opened.strong_count() > 0);
    if let Some(opened) = channels.iter().find(|(key, _)| key == name).and_then(|(_, opened)| opened.upgrade()) {
        return opened;
    }
    set_log_level(LogLevel::Error);
    let opened = Arc::new(open_channel(channel));
    channels.push((name.to_owned(), Arc::downgrade(&opened)));
    opened
}

impl Channel {
    fn ready(&self) -> &AtomicU32 {
        // SAFETY: mapped by prepare() until release().
        unsafe { &*self.ready }
    }
}

extern "C" fn version() -> *const c_char {
    static VERSION: OnceLock<CString> = OnceLock::new();
    VERSION.get_or_init(|| CString::new(PackageVersion::get_str()).unwrap()).as_ptr()
}

extern "C" fn prepare(channel: *mut PeerChannel) {
    // SAFETY: new memory, zeroed, which both processes inherit.
    let memory = unsafe {
        libc::mmap(
            null_mut(),
            size_of::<AtomicU32>(),
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_SHARED | libc::MAP_ANONYMOUS,
            -1,
            0,
        )
    };
    if memory == libc::MAP_FAILED {
        fail("mmap", std::io::Error::last_os_error());
    }
    // SAFETY: the caller's own.
    unsafe { (*channel).prepared = memory };
}

/// What iceoryx2 never removes itself: one shared memory object, common to all nodes with this prefix.
extern "C" fn release(channel: *mut PeerChannel) {
    // SAFETY: the caller's own.
    let channel = unsafe { &mut *channel };
    // SAFETY: what prepare() mapped.
    unsafe { libc::munmap(channel.prepared, size_of::<AtomicU32>()) };
    channel.prepared = null_mut();
    let prefix = prefix(channel);
    for entry in std::fs::read_dir("/dev/shm").into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(&prefix) {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

extern "C" fn open_sender(channel: *const PeerChannel, _index: u32) -> *mut Sender {
    let channel = find_channel(channel);
    // Each receiver's queue holds the newest messages, at most `buffer`, so no more than these are in use at a time. The
    // default is the sum over the receivers.
    let samples = channel.buffer + channel.receivers + 2;
    let publisher = channel
        .service
        .publisher_builder()
        .initial_max_slice_len(channel.bytes)
        .max_loaned_samples(1)
        .override_sample_preallocation(move |needed| needed.min(samples))
        .backpressure_strategy(BackpressureStrategy::RetryUntilDelivered)
        .create()
        .unwrap_or_else(|error| fail("publisher", error));
    let notifier = channel.event.as_ref().map(|event| {
        event.notifier_builder().create().unwrap_or_else(|error| fail("notifier", error))
    });
    Box::into_raw(Box::new(Sender {
        loan: None,
        publisher,
        notifier,
        bytes: channel.bytes,
        unchecked: channel.buffer,
        channel,
    }))
}

extern "C" fn open_receiver(channel: *const PeerChannel, _index: u32) -> *mut Receiver {
    let channel = find_channel(channel);
    let listener = channel.event.as_ref().map(|event| {
        event.listener_builder().create().unwrap_or_else(|error| fail("listener", error))
    });
    let subscriber = channel
        .service
        .subscriber_builder()
        .buffer_size(channel.buffer)
        .create()
        .unwrap_or_else(|error| fail("subscriber", error));
    Box::into_raw(Box::new(Receiver { sample: None, subscriber, listener, ready: false, channel }))
}

extern "C" fn connected(sender: *mut Sender) -> bool {
    // SAFETY: from open_sender().
    let sender = unsafe { &mut *sender };
    let channel = &sender.channel;
    if channel.service.dynamic_config().number_of_subscribers() != channel.receivers {
        return false;
    }
    if let Err(error) = sender.publisher.update_connections() {
        fail("connect", error);
    }
    if let (Some(notifier), Some(event)) = (&sender.notifier, &channel.event) {
        if event.dynamic_config().number_of_listeners() != channel.receivers {
            return false;
        }
        if let Err(error) = notifier.update_connections() {
            fail("connect notifier", error);
        }
    }
    true
}

extern "C" fn loan(sender: *mut Sender) -> *mut c_void {
    // SAFETY: from open_sender().
    let sender = unsafe { &mut *sender };
    match sender.publisher.loan_slice_uninit(sender.bytes) {
        Ok(sample) => sender.loan.insert(sample).payload_mut().as_mut_ptr().cast(),
        Err(error) => fail("loan", error),
    }
}

/// A publisher whose queue to a subscriber is full drops the message if the subscriber has not connected yet. It does so
/// when it first looks for messages after all publishers have been created: by then the queue must not be full.
#[cold]
fn wait_for_receivers(sender: &mut Sender) {
    let ready = sender.channel.ready();
    while ready.load(Ordering::Acquire) < sender.channel.receivers as u32 {
        std::thread::yield_now();
    }
    sender.unchecked = usize::MAX;
}

extern "C" fn send(sender: *mut Sender) {
    // SAFETY: from open_sender().
    let sender = unsafe { &mut *sender };
    if sender.unchecked == 0 {
        wait_for_receivers(sender);
    }
    sender.unchecked -= 1;
    let Some(sample) = sender.loan.take() else { fail("send", "nothing is loaned") };
    // SAFETY: the caller has written it.
    match unsafe { sample.assume_init() }.send() {
        Ok(recipients) if recipients == sender.channel.receivers => (),
        Ok(recipients) => fail("receivers reached", recipients),
        Err(error) => fail("send", error),
    }
    if let Some(notifier) = &sender.notifier {
        if let Err(error) = notifier.notify() {
            fail("notify", error);
        }
    }
}

#[cold]
fn find_senders(receiver: &mut Receiver) {
    let channel = &receiver.channel;
    if channel.service.dynamic_config().number_of_publishers() == channel.senders {
        if let Err(error) = receiver.subscriber.update_connections() {
            fail("connect", error);
        }
        channel.ready().fetch_add(1, Ordering::Release);
        receiver.ready = true;
    }
}

extern "C" fn take(receiver: *mut Receiver, wait: bool) -> *const c_void {
    // SAFETY: from open_receiver().
    let receiver = unsafe { &mut *receiver };
    loop {
        if !receiver.ready {
            find_senders(receiver);
        }
        match receiver.subscriber.receive() {
            Ok(Some(sample)) => return receiver.sample.insert(sample).payload().as_ptr().cast(),
            Ok(None) if !wait => return null(),
            Ok(None) => (),
            Err(error) => fail("receive", error),
        }
        let Some(listener) = &receiver.listener else { fail("take", "this channel does not sleep") };
        if let Err(error) = listener.blocking_wait(|_| ()) {
            fail("wait", error);
        }
    }
}

extern "C" fn done(receiver: *mut Receiver) {
    // SAFETY: from open_receiver().
    unsafe { (*receiver).sample = None };
}

extern "C" fn close_sender(sender: *mut Sender) {
    // SAFETY: from open_sender(), and not used any more.
    drop(unsafe { Box::from_raw(sender) });
}

extern "C" fn close_receiver(receiver: *mut Receiver) {
    // SAFETY: from open_receiver(), and not used any more.
    drop(unsafe { Box::from_raw(receiver) });
}

#[no_mangle]
#[allow(non_upper_case_globals)]
pub static peer: Peer<Sender, Receiver, Receiver> = Peer {
    interface: PEER_INTERFACE,
    name: c"iceoryx2".as_ptr(),
    title: c"iceoryx2".as_ptr(),
    how: c"ipc::Service, one publish-subscribe service of [u8] per channel: loan_slice_uninit and send, safe overflow off, \
        RetryUntilDelivered, subscriber buffers of 4 MiB of messages (at least 2 and at most 1024 messages). \
        Sleeping: an event service beside it, notify after each send and blocking_wait."
        .as_ptr(),
    bytes_max: 1 << 30,
    senders_max: PEER_HANDLES_MAX,
    receivers_max: PEER_HANDLES_MAX,
    copies: false,
    can_sleep: true,
    version: Some(version),
    prepare: Some(prepare),
    release: Some(release),
    open_sender: Some(open_sender),
    open_receiver: Some(open_receiver),
    connected: Some(connected),
    loan: Some(loan),
    send: Some(send),
    take: Some(take),
    done: Some(done),
    send_many: None,
    take_until: None,
    close_sender: Some(close_sender),
    close_receiver: Some(close_receiver),
    servers: None,
    serve_take: None,
    serve_loan: None,
    serve_send: None,
};
