//! Queries to upstreams, each from a socket of its own.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use hickory_proto::op::{Message, ResponseCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

use super::Dns;
use super::answer::CachedAnswer;
use super::exchange::{Exchange, LONGEST_BY_UDP, Random, UpstreamMessage};
use super::query::DnsQuestion;
use super::upstreams::{Attempt, AttemptError};

/// Asks the upstreams in order, until one answers. Stops if the upstreams or the box's networks
/// change, because the question may then belong to another upstream. The answer is cached unless
/// they have changed.
pub(super) async fn forward(dns: &Dns, question: &DnsQuestion) -> CachedAnswer {
    let generation = dns.generation.get();
    let upstreams = dns.upstreams_of(question.path);
    let mut tries = upstreams.borrow().attempts(dns.now());
    while let Some(next) = tries.begin().filter(|_| generation == dns.generation.get()) {
        let setback = match attempt(dns, question, next).await {
            Ok(message) => {
                let keep = generation == dns.generation.get();
                let mut resolver = dns.resolver.borrow_mut();
                if let Some(answer) = resolver.handle_upstream(dns.now(), question, message, keep) {
                    upstreams.borrow_mut().record_success(next.server, next.form);
                    return answer;
                }
                AttemptError::Failed
            }
            Err(setback) => setback,
        };
        if tries.after(next, setback) {
            dns.resolver.borrow_mut().counters.upstream_failures += 1;
            upstreams.borrow_mut().record_failure(dns.now(), next.server);
        }
    }
    let answer = CachedAnswer::with_code(ResponseCode::ServFail);
    let mut resolver = dns.resolver.borrow_mut();
    resolver.counters.unanswered += 1;
    if generation == dns.generation.get() {
        resolver.cache.put(dns.now(), question, &answer);
    }
    answer
}

async fn attempt(
    dns: &Dns,
    question: &DnsQuestion,
    next: Attempt,
) -> Result<Message, AttemptError> {
    let mut random: Random = [0; _];
    rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty())
        .map_err(|_| AttemptError::Failed)?;
    let exchange = Exchange::new(question, next.form, &random).ok_or(AttemptError::Failed)?;
    // How the try counts if no valid answer follows the invalid ones.
    let mut otherwise = AttemptError::Failed;
    let heard = async {
        if next.tcp {
            // The number of streams is limited, because an answer can be up to 64 KiB.
            let _room = dns.streams.acquire().await.map_err(io::Error::other)?;
            query_tcp(next.server, &exchange).await
        } else {
            query_udp(dns, next.server, &exchange, &mut otherwise).await
        }
    };
    match timeout(dns.settings.upstream_timeout, heard).await {
        Ok(Ok(UpstreamMessage::Answer(message))) => Ok(*message),
        Ok(Ok(UpstreamMessage::Truncated)) => Err(AttemptError::Truncated),
        Ok(Ok(UpstreamMessage::NoEdns)) => Err(AttemptError::NoEdns),
        Ok(_) => Err(AttemptError::Failed),
        Err(_) => Err(otherwise),
    }
}

/// Receives until there is an answer that only the upstream can have sent.
async fn query_udp(
    dns: &Dns,
    server: SocketAddr,
    exchange: &Exchange,
    otherwise: &mut AttemptError,
) -> io::Result<UpstreamMessage> {
    // The kernel picks a random port, and filters by the connected server.
    let own: SocketAddr = match server {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(own).await?;
    socket.connect(server).await?;
    socket.send(exchange.bytes()).await?;
    let mut buffer = vec![0; LONGEST_BY_UDP + 1];
    loop {
        let length = socket.recv(&mut buffer).await?;
        let heard = exchange.parse_reply(buffer.get(..length).unwrap_or_default(), LONGEST_BY_UDP);
        match heard {
            UpstreamMessage::Spoofed => {}
            UpstreamMessage::OtherCase => *otherwise = AttemptError::OtherCase,
            UpstreamMessage::BareError => *otherwise = AttemptError::NoEdns,
            _ => return Ok(heard),
        }
        dns.resolver.borrow_mut().counters.spoofed += 1;
    }
}

/// Asks by TCP, where spoofing requires the sequence numbers.
async fn query_tcp(server: SocketAddr, exchange: &Exchange) -> io::Result<UpstreamMessage> {
    let mut stream = TcpStream::connect(server).await?;
    let length = u16::try_from(exchange.bytes().len()).map_err(io::Error::other)?;
    stream.write_all(&[&length.to_be_bytes(), exchange.bytes()].concat()).await?;
    let mut answer = vec![0; stream.read_u16().await?.into()];
    stream.read_exact(&mut answer).await?;
    Ok(exchange.parse_reply(&answer, u16::MAX.into()))
}
