//! A peer that follows four nodes, and hands out what they send to everyone.

use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use iroh::{Endpoint, EndpointAddr, PublicKey};
use octet_ledger::net::ALPN;
use octet_node::quic::{self, QuicConfig};
use tokio::runtime::Builder;

use crate::node::{HANG, V4, V6, observer, validator};

/// Connects to the nodes at these addresses. Returns what each sends, once all are connected.
pub fn observe(nodes: [SocketAddr; 4]) -> Receiver<(usize, Vec<u8>)> {
    let (sender, frames) = channel();
    let (connected, all) = channel();
    thread::spawn(move || {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let config = QuicConfig { alpns: &[ALPN], idle: HANG, streams: 1, window: 1 << 20 };
            let endpoint = quic::open(observer().seed(), &[V4, V6], config).await.unwrap();
            let of = |(at, address)| {
                follow(endpoint.clone(), at, address, sender.clone(), connected.clone())
            };
            let mut all = tokio::task::JoinSet::new();
            nodes.into_iter().enumerate().map(of).for_each(|one| drop(all.spawn(one)));
            all.join_all().await;
        });
    });
    (0..4).for_each(|_| all.recv_timeout(HANG).unwrap());
    frames
}

async fn follow(
    endpoint: Endpoint,
    at: usize,
    address: SocketAddr,
    sender: Sender<(usize, Vec<u8>)>,
    connected: Sender<()>,
) {
    let id = PublicKey::from_bytes(validator(at).as_bytes()).unwrap();
    let to = EndpointAddr::new(id).with_ip_addr(address);
    let connection = endpoint.connect(to, ALPN).await.unwrap();
    let (mut send, mut receive) = connection.open_bi().await.unwrap();
    // An empty frame, with which the node hears of the stream.
    send.write_all(&[0; 4]).await.unwrap();
    let mut is_first = true;
    loop {
        let mut size = [0; 4];
        // It is killed in the end.
        if receive.read_exact(&mut size).await.is_err() {
            return;
        }
        let mut frame = vec![0; u32::from_be_bytes(size) as usize];
        if receive.read_exact(&mut frame).await.is_err() {
            return;
        }
        if std::mem::take(&mut is_first) {
            connected.send(()).unwrap();
        }
        if sender.send((at, frame)).is_err() {
            return;
        }
    }
}
