// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A request-response service, and event services in both directions where the two sides sleep: see peer_call in
//! ../../peer.h.

use core::mem::MaybeUninit;
use std::ffi::c_void;
use std::ptr::null;

use iceoryx2::active_request::ActiveRequest;
use iceoryx2::pending_response::PendingResponse;
use iceoryx2::port::listener::Listener;
use iceoryx2::port::notifier::Notifier;
use iceoryx2::port::server::Server as ServerPort;
use iceoryx2::port::update_connections::UpdateConnections;
use iceoryx2::prelude::*;
use iceoryx2::request_mut_uninit::RequestMutUninit;
use iceoryx2::response::Response;
use iceoryx2::response_mut_uninit::ResponseMutUninit;
use iceoryx2::service::port_factory::{event, request_response};

use crate::{fail, open_node, prepare, release, retry, service_name, text, version, Peer, PeerChannel};
use crate::{ALIGNMENT, PEER_INTERFACE};

type ClientPort = iceoryx2::port::client::Client<ipc::Service, [u8], (), [u8], ()>;

/// A request that the client has sent and one whose response it has not yet let go of; likewise of the server.
const REQUESTS: usize = 2;

struct Services {
    // Dropped in this order.
    calls: request_response::PortFactory<ipc::Service, [u8], (), [u8], ()>,
    to_server: Option<event::PortFactory<ipc::Service>>,
    to_client: Option<event::PortFactory<ipc::Service>>,
    _node: Node<ipc::Service>,
    bytes: usize,
}

pub struct Client {
    // Dropped in this order.
    request: Option<RequestMutUninit<ipc::Service, [MaybeUninit<u8>], (), [u8], ()>>,
    response: Option<Response<ipc::Service, [u8], ()>>,
    /// The request whose response is above, or the one on its way.
    answered: Option<PendingResponse<ipc::Service, [u8], (), [u8], ()>>,
    pending: Option<PendingResponse<ipc::Service, [u8], (), [u8], ()>>,
    client: ClientPort,
    notifier: Option<Notifier<ipc::Service>>,
    listener: Option<Listener<ipc::Service>>,
    services: Services,
}

pub struct Server {
    // Dropped in this order.
    response: Option<ResponseMutUninit<ipc::Service, [MaybeUninit<u8>], ()>>,
    request: Option<ActiveRequest<ipc::Service, [u8], (), [u8], ()>>,
    server: ServerPort<ipc::Service, [u8], (), [u8], ()>,
    notifier: Option<Notifier<ipc::Service>>,
    listener: Option<Listener<ipc::Service>>,
    services: Services,
}

fn open_event(node: &Node<ipc::Service>, name: &str) -> event::PortFactory<ipc::Service> {
    let name = service_name(name);
    retry("event service", || {
        node.service_builder(&name)
            .event()
            .event_id_max_value(1)
            .max_notifiers(1)
            .max_listeners(1)
            .max_nodes(4)
            .open_or_create()
    })
}

fn open_services(channel: &PeerChannel) -> Services {
    set_log_level(LogLevel::Error);
    let node = open_node(channel);
    let name = service_name(text(channel.name));
    let alignment = Alignment::new(ALIGNMENT).unwrap();
    let calls = retry("service", || {
        node.service_builder(&name)
            .request_response::<[u8], [u8]>()
            .request_payload_alignment(alignment)
            .response_payload_alignment(alignment)
            .max_active_requests_per_client(REQUESTS)
            .max_loaned_requests(1)
            .max_response_buffer_size(1)
            .max_borrowed_responses_per_pending_response(1)
            .max_servers(1)
            .max_clients(1)
            .max_nodes(4)
            .open_or_create()
    });
    let to_server = channel.sleeps.then(|| open_event(&node, "server"));
    let to_client = channel.sleeps.then(|| open_event(&node, "client"));
    Services { calls, to_server, to_client, _node: node, bytes: channel.bytes }
}

fn notifier(event: &Option<event::PortFactory<ipc::Service>>) -> Option<Notifier<ipc::Service>> {
    event.as_ref().map(|event| event.notifier_builder().create().unwrap_or_else(|error| fail("notifier", error)))
}

fn listener(event: &Option<event::PortFactory<ipc::Service>>) -> Option<Listener<ipc::Service>> {
    event.as_ref().map(|event| event.listener_builder().create().unwrap_or_else(|error| fail("listener", error)))
}

fn notify(notifier: &Option<Notifier<ipc::Service>>) {
    if let Some(notifier) = notifier {
        if let Err(error) = notifier.notify() {
            fail("notify", error);
        }
    }
}

fn sleep(listener: &Option<Listener<ipc::Service>>) {
    let Some(listener) = listener else { fail("take", "this channel does not sleep") };
    if let Err(error) = listener.blocking_wait(|_| ()) {
        fail("wait", error);
    }
}

extern "C" fn open_client(channel: *const PeerChannel, _index: u32) -> *mut Client {
    // SAFETY: valid while an end is opened.
    let services = open_services(unsafe { &*channel });
    let client = services
        .calls
        .client_builder()
        .initial_max_slice_len(services.bytes)
        .create()
        .unwrap_or_else(|error| fail("client", error));
    Box::into_raw(Box::new(Client {
        request: None,
        response: None,
        answered: None,
        pending: None,
        client,
        notifier: notifier(&services.to_server),
        listener: listener(&services.to_client),
        services,
    }))
}

extern "C" fn open_server(channel: *const PeerChannel, _index: u32) -> *mut Server {
    // SAFETY: valid while an end is opened.
    let services = open_services(unsafe { &*channel });
    let server = services
        .calls
        .server_builder()
        .initial_max_slice_len(services.bytes)
        .max_loaned_responses_per_request(1)
        .create()
        .unwrap_or_else(|error| fail("server", error));
    Box::into_raw(Box::new(Server {
        response: None,
        request: None,
        server,
        notifier: notifier(&services.to_client),
        listener: listener(&services.to_server),
        services,
    }))
}

extern "C" fn connected(client: *mut Client) -> bool {
    // SAFETY: from open_client().
    let client = unsafe { &mut *client };
    let services = &client.services;
    if services.calls.dynamic_config().number_of_servers() != 1 {
        return false;
    }
    for event in [&services.to_server, &services.to_client].into_iter().flatten() {
        let there = event.dynamic_config();
        if there.number_of_listeners() != 1 || there.number_of_notifiers() != 1 {
            return false;
        }
    }
    if let Err(error) = client.client.update_connections() {
        fail("connect", error);
    }
    true
}

extern "C" fn loan(client: *mut Client) -> *mut c_void {
    // SAFETY: from open_client().
    let client = unsafe { &mut *client };
    match client.client.loan_slice_uninit(client.services.bytes) {
        Ok(request) => client.request.insert(request).payload_mut().as_mut_ptr().cast(),
        Err(error) => fail("loan", error),
    }
}

extern "C" fn send(client: *mut Client) {
    // SAFETY: from open_client().
    let client = unsafe { &mut *client };
    let Some(request) = client.request.take() else { fail("send", "nothing is loaned") };
    client.answered = client.pending.take();
    // SAFETY: the caller has written it.
    match unsafe { request.assume_init() }.send() {
        Ok(pending) => client.pending = Some(pending),
        Err(error) => fail("send", error),
    }
    notify(&client.notifier);
}

extern "C" fn take(client: *mut Client, wait: bool) -> *const c_void {
    // SAFETY: from open_client().
    let client = unsafe { &mut *client };
    let Some(pending) = &client.pending else { fail("take", "nothing is pending") };
    loop {
        match pending.receive() {
            Ok(Some(response)) => return client.response.insert(response).payload().as_ptr().cast(),
            Ok(None) if !wait => return null(),
            Ok(None) => sleep(&client.listener),
            Err(error) => fail("receive", error),
        }
    }
}

extern "C" fn done(client: *mut Client) {
    // SAFETY: from open_client().
    let client = unsafe { &mut *client };
    client.response = None;
    client.answered = None;
}

extern "C" fn serve_take(server: *mut Server, wait: bool) -> *const c_void {
    // SAFETY: from open_server().
    let server = unsafe { &mut *server };
    loop {
        match server.server.receive() {
            Ok(Some(request)) => return server.request.insert(request).payload().as_ptr().cast(),
            Ok(None) if !wait => return null(),
            Ok(None) => sleep(&server.listener),
            Err(error) => fail("receive", error),
        }
    }
}

extern "C" fn serve_loan(server: *mut Server) -> *mut c_void {
    // SAFETY: from open_server().
    let server = unsafe { &mut *server };
    let Some(request) = &server.request else { fail("loan", "there is no request") };
    match request.loan_slice_uninit(server.services.bytes) {
        Ok(response) => server.response.insert(response).payload_mut().as_mut_ptr().cast(),
        Err(error) => fail("loan", error),
    }
}

extern "C" fn serve_send(server: *mut Server) {
    // SAFETY: from open_server().
    let server = unsafe { &mut *server };
    let Some(response) = server.response.take() else { fail("send", "nothing is loaned") };
    // SAFETY: the caller has written it.
    if let Err(error) = unsafe { response.assume_init() }.send() {
        fail("send", error);
    }
    notify(&server.notifier);
    server.request = None;
}

extern "C" fn close_client(client: *mut Client) {
    // SAFETY: from open_client(), and not used any more.
    drop(unsafe { Box::from_raw(client) });
}

extern "C" fn close_server(server: *mut Server) {
    // SAFETY: from open_server(), and not used any more.
    drop(unsafe { Box::from_raw(server) });
}

#[no_mangle]
#[allow(non_upper_case_globals)]
pub static peer_call: Peer<Client, Server, Client> = Peer {
    interface: PEER_INTERFACE,
    name: c"iceoryx2".as_ptr(),
    title: c"iceoryx2".as_ptr(),
    how: c"A request-response service of [u8]: loan_slice_uninit and send on both sides, receive. Sleeping: an event service \
        for each direction, notify after each send and blocking_wait."
        .as_ptr(),
    bytes_max: 1 << 30,
    senders_max: 1,
    receivers_max: 1,
    copies: false,
    can_sleep: true,
    version: Some(version),
    prepare: Some(prepare),
    release: Some(release),
    open_sender: Some(open_client),
    open_receiver: Some(open_server),
    connected: Some(connected),
    loan: Some(loan),
    send: Some(send),
    take: Some(take),
    done: Some(done),
    send_many: None,
    take_until: None,
    close_sender: Some(close_client),
    close_receiver: Some(close_server),
    servers: None,
    serve_take: Some(serve_take),
    serve_loan: Some(serve_loan),
    serve_send: Some(serve_send),
};
