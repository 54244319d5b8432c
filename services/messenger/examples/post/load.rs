//! The throughput of one mailbox with concurrent senders.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use iroh::endpoint::Connection;
use iroh::{Endpoint, EndpointAddr, EndpointId};
use octet_messages::envelope::{Seal, seal};
use octet_messages::mailbox_address::MailboxAddress;
use octet_messages::request::{MailboxReply, SignedRequest};
use octet_messenger::quic::open;
use octet_node::control::PublicKey;
use octet_node::key::{PrivateKey, random};
use octet_node::tls::AlpnProtocol;
use tokio::runtime::{Builder, Runtime};

use super::Failed;
use super::mailbox::Mailbox;

/// The number of senders, each with an address and a receiver of its own, because a mailbox has
/// rate limits per address and a limit of messages per person.
pub const ADDRESSES: usize = 8;

struct Writer {
    runtime: Runtime,
    _endpoint: Endpoint,
    connection: Connection,
    requests: Vec<Vec<u8>>,
}

impl Writer {
    fn new(
        number: usize,
        place: &MailboxAddress,
        to: PublicKey,
        count: usize,
    ) -> Result<Self, Failed> {
        let seals = Seal::new(random()?).ok_or("no key of random bytes")?.public();
        let request = |number: usize| {
            let envelope = seal(&number.to_be_bytes(), &to, &seals)?;
            Some(SignedRequest::Deposit(*to.as_bytes(), envelope).to_bytes())
        };
        let requests = (0..count).map(request).collect::<Option<_>>().ok_or("nothing is sealed")?;
        let runtime = Builder::new_current_thread().enable_io().enable_time().build()?;
        let own = SocketAddr::from((Ipv4Addr::new(127, 0, 1, u8::try_from(number + 1)?), 0));
        let address = EndpointAddr::new(EndpointId::from_bytes(place.mailbox.as_bytes())?);
        let address = place.addresses.iter().fold(address, |it, at| it.with_ip_addr(*at));
        let (endpoint, connection) = runtime.block_on(async {
            let endpoint = open(&random()?, &[own]).await?;
            let connection = endpoint.connect(address, AlpnProtocol::Messenger.name()).await?;
            Ok::<_, Failed>((endpoint, connection))
        })?;
        Ok(Self { runtime, _endpoint: endpoint, connection, requests })
    }

    /// Deposits all its messages, one after the other.
    fn write(self) -> Result<(), String> {
        self.runtime.block_on(async {
            for request in &self.requests {
                let answer = ask(&self.connection, request).await.map_err(|it| it.to_string())?;
                if answer != Some(MailboxReply::Done) {
                    return Err(format!("the mailbox answers {answer:?}"));
                }
            }
            Ok(())
        })
    }
}

async fn ask(connection: &Connection, request: &[u8]) -> Result<Option<MailboxReply>, Failed> {
    let (mut send, mut receive) = connection.open_bi().await?;
    send.write_all(request).await?;
    send.finish()?;
    Ok(MailboxReply::from_bytes(&receive.read_to_end(1 << 20).await?))
}

/// The time until the mailbox has `count` messages of each sender on its disk.
pub fn letters(mailbox: &Mailbox, count: usize) -> Result<Duration, Failed> {
    let mut writers = vec![];
    for number in 0..ADDRESSES {
        // Random bytes are a key only half of the time.
        let to = PrivateKey::generate()?.public();
        mailbox.admit(to)?;
        writers.push(Writer::new(number, &mailbox.place, to, count)?);
    }
    let together = Barrier::new(ADDRESSES + 1);
    thread::scope(|scope| {
        let begin = |writer: Writer| {
            let together = &together;
            scope.spawn(move || {
                together.wait();
                writer.write()
            })
        };
        let running: Vec<_> = writers.into_iter().map(begin).collect();
        together.wait();
        let began = Instant::now();
        for writer in running {
            writer.join().map_err(|_| "a writer has failed")??;
        }
        Ok(began.elapsed())
    })
}
