//! Queries by UDP.

use octet_node::say;
use std::io::{self, ErrorKind};
use std::rc::Rc;

use tokio::task::{spawn_local, yield_now};
use tokio::time::sleep;

use super::fair_queue::FairQueue;
use super::query::{LONGEST, Transport};
use super::rates::ClientPrefix;
use super::resolver::QueryDecision;
use super::socket::{DatagramSource, DnsSocket};
use super::{Dns, RETRY_DELAY};

/// The maximum number of messages taken from the socket at once. It is large, so that the kernel's
/// buffer does not overflow, which would drop messages of quiet clients, too.
const AT_ONCE: usize = 256;

/// The number of messages after which other tasks run, such as those that wait for upstreams.
const IN_A_ROW: usize = 8;

/// Answers queries, for ever.
pub(super) async fn serve(dns: Rc<Dns>, socket: Rc<DnsSocket>) {
    // One byte more than the maximum, so that longer messages are recognised.
    let mut buffer = vec![0; LONGEST + 1];
    let mut turns = FairQueue::new();
    let mut in_a_row = 0;
    loop {
        let came = drain(&dns, &socket, &mut buffer, &mut turns);
        if let Some((message, peer)) = turns.next() {
            handle(&dns, &socket, &message, peer);
            in_a_row += 1;
            if in_a_row == IN_A_ROW {
                in_a_row = 0;
                yield_now().await;
            }
            continue;
        }
        in_a_row = 0;
        match came {
            // The batch was dropped as a whole, as in a flood: other tasks run before the next one.
            Ok(()) => yield_now().await,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                if socket.readable().await.is_err() {
                    sleep(RETRY_DELAY).await;
                }
            }
            Err(error) => {
                say!("cannot receive a query: {error}");
                sleep(RETRY_DELAY).await;
            }
        }
    }
}

/// Takes messages of admitted clients from the socket. Returns an error when it is empty.
fn drain(
    dns: &Dns,
    socket: &DnsSocket,
    buffer: &mut [u8],
    turns: &mut FairQueue<(Box<[u8]>, DatagramSource)>,
) -> io::Result<()> {
    for _ in 0..AT_ONCE {
        let (length, peer) = socket.try_receive(buffer)?;
        let mut resolver = dns.resolver.borrow_mut();
        if !resolver.admit(dns.now(), peer.address) {
            continue;
        }
        let message = buffer.get(..length).unwrap_or_default();
        if !turns.add(ClientPrefix::from(peer.address), (message.into(), peer)) {
            resolver.counters.crowded += 1;
        }
    }
    Ok(())
}

fn handle(dns: &Rc<Dns>, socket: &Rc<DnsSocket>, bytes: &[u8], peer: DatagramSource) {
    let decision = {
        let mut resolver = dns.resolver.borrow_mut();
        let Some(way) = resolver.box_networks.upstream_path(peer.address.ip()) else { return };
        resolver.handle(dns.now(), bytes, Transport::Udp, way)
    };
    let answer = match decision {
        QueryDecision::Drop => return,
        QueryDecision::Reply(answer) => answer,
        QueryDecision::Forward(query) => {
            match dns.admit(ClientPrefix::from(peer.address), &query) {
                Err(answer) => answer,
                Ok(place) => {
                    let (dns, socket) = (Rc::clone(dns), Rc::clone(socket));
                    spawn_local(async move {
                        let answer = dns.forward(&query, place).await;
                        let _ = socket.try_answer(&answer, peer);
                    });
                    return;
                }
            }
        }
    };
    let _ = socket.try_answer(&answer, peer);
}
