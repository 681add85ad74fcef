// SPDX-License-Identifier: Apache-2.0 OR MIT
//! An event service: see peer_notify in ../../peer.h.

use std::ffi::c_void;
use std::ptr::null;

use iceoryx2::port::listener::Listener as ListenerPort;
use iceoryx2::port::notifier::Notifier as NotifierPort;
use iceoryx2::port::update_connections::UpdateConnections;
use iceoryx2::prelude::*;
use iceoryx2::service::port_factory::event;

use crate::{fail, open_node, prepare, release, retry, service_name, text, version, Peer, PeerChannel};
use crate::PEER_INTERFACE;

const PEER_EVENTS: usize = 64;

struct Service {
    // Dropped in this order.
    event: event::PortFactory<ipc::Service>,
    _node: Node<ipc::Service>,
}

pub struct Notifier {
    // Dropped in this order.
    notifier: NotifierPort<ipc::Service>,
    service: Service,
    event: u64,
}

pub struct Listener {
    // Dropped in this order.
    listener: ListenerPort<ipc::Service>,
    _service: Service,
    event: u64,
}

fn open_service(channel: &PeerChannel) -> Service {
    set_log_level(LogLevel::Error);
    let node = open_node(channel);
    let name = service_name(text(channel.name));
    let event = retry("event service", || {
        node.service_builder(&name)
            .event()
            .event_id_max_value(PEER_EVENTS - 1)
            .max_notifiers(1)
            .max_listeners(1)
            .max_nodes(4)
            .open_or_create()
    });
    Service { event, _node: node }
}

extern "C" fn open_notifier(channel: *const PeerChannel, _index: u32) -> *mut Notifier {
    // SAFETY: valid while an end is opened.
    let service = open_service(unsafe { &*channel });
    let notifier = service.event.notifier_builder().create().unwrap_or_else(|error| fail("notifier", error));
    Box::into_raw(Box::new(Notifier { notifier, service, event: 0 }))
}

extern "C" fn open_listener(channel: *const PeerChannel, _index: u32) -> *mut Listener {
    // SAFETY: valid while an end is opened.
    let service = open_service(unsafe { &*channel });
    let listener = service.event.listener_builder().create().unwrap_or_else(|error| fail("listener", error));
    Box::into_raw(Box::new(Listener { listener, _service: service, event: 0 }))
}

extern "C" fn connected(notifier: *mut Notifier) -> bool {
    // SAFETY: from open_notifier().
    let notifier = unsafe { &mut *notifier };
    if notifier.service.event.dynamic_config().number_of_listeners() != 1 {
        return false;
    }
    if let Err(error) = notifier.notifier.update_connections() {
        fail("connect", error);
    }
    true
}

extern "C" fn loan(notifier: *mut Notifier) -> *mut c_void {
    // SAFETY: from open_notifier().
    let notifier = unsafe { &mut *notifier };
    (&raw mut notifier.event).cast()
}

extern "C" fn send(notifier: *mut Notifier) {
    // SAFETY: from open_notifier().
    let notifier = unsafe { &mut *notifier };
    match notifier.notifier.notify_with_custom_event_id(EventId::new(notifier.event as usize)) {
        Ok(1) => (),
        Ok(count) => fail("listeners notified", count),
        Err(error) => fail("notify", error),
    }
}

extern "C" fn take(listener: *mut Listener, wait: bool) -> *const c_void {
    // SAFETY: from open_listener().
    let listener = unsafe { &mut *listener };
    let mut seen = None;
    let note = |activation: EventActivation| {
        if seen.replace(activation.id.as_value() as u64).is_some() {
            fail("wait", "several events at a time");
        }
    };
    let result = if wait { listener.listener.blocking_wait(note) } else { listener.listener.try_wait(note) };
    if let Err(error) = result {
        fail("wait", error);
    }
    match seen {
        Some(event) => {
            listener.event = event;
            (&raw const listener.event).cast()
        }
        None => null(),
    }
}

extern "C" fn done(_listener: *mut Listener) {}

extern "C" fn close_notifier(notifier: *mut Notifier) {
    // SAFETY: from open_notifier(), and not used any more.
    drop(unsafe { Box::from_raw(notifier) });
}

extern "C" fn close_listener(listener: *mut Listener) {
    // SAFETY: from open_listener(), and not used any more.
    drop(unsafe { Box::from_raw(listener) });
}

#[no_mangle]
#[allow(non_upper_case_globals)]
pub static peer_notify: Peer<Notifier, Listener, Listener> = Peer {
    interface: PEER_INTERFACE,
    name: c"iceoryx2".as_ptr(),
    title: c"iceoryx2".as_ptr(),
    how: c"An event service with 64 event ids: notify_with_custom_event_id, try_wait (spinning) or blocking_wait (sleeping)."
        .as_ptr(),
    bytes_max: 8,
    senders_max: 1,
    receivers_max: 1,
    copies: false,
    can_sleep: true,
    version: Some(version),
    prepare: Some(prepare),
    release: Some(release),
    open_sender: Some(open_notifier),
    open_receiver: Some(open_listener),
    connected: Some(connected),
    loan: Some(loan),
    send: Some(send),
    take: Some(take),
    done: Some(done),
    send_many: None,
    take_until: None,
    close_sender: Some(close_notifier),
    close_receiver: Some(close_listener),
    servers: None,
    serve_take: None,
    serve_loan: None,
    serve_send: None,
};
