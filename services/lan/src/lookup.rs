//! A query to this node's own resolver, as its programs send it.

use std::io;
use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::str::FromStr;
use std::time::Duration;

use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{Name, RData, RecordType};

const RESOLVER: (Ipv4Addr, u16) = (Ipv4Addr::LOCALHOST, 53);

/// The timeout; the resolver may have to ask several upstreams.
const TIMEOUT: Duration = Duration::from_secs(8);

/// Looks up the addresses of `name`.
///
/// # Errors
/// The name is invalid, or the resolver does not answer.
pub fn resolve(name: &str) -> io::Result<Vec<IpAddr>> {
    let name = Name::from_str(name).map_err(io::Error::other)?;
    let mut addresses = vec![];
    for (id, kind) in [(1, RecordType::A), (2, RecordType::AAAA)] {
        addresses.extend(query(id, &name, kind)?);
    }
    Ok(addresses)
}

fn query(id: u16, name: &Name, kind: RecordType) -> io::Result<Vec<IpAddr>> {
    let mut question = Message::new(id, MessageType::Query, OpCode::Query);
    question.metadata.recursion_desired = true;
    question.add_query(Query::query(name.clone(), kind));
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    socket.connect(RESOLVER)?;
    socket.set_read_timeout(Some(TIMEOUT))?;
    socket.send(&question.to_vec().map_err(io::Error::other)?)?;
    let mut buffer = [0; 1232];
    let length = socket.recv(&mut buffer)?;
    let answer = Message::from_vec(&buffer[..length]).map_err(io::Error::other)?;
    match answer.metadata.response_code {
        ResponseCode::NoError | ResponseCode::NXDomain => {}
        code => return Err(io::Error::other(code.to_str())),
    }
    let addresses = answer.answers.iter().filter_map(|record| match &record.data {
        RData::A(address) => Some(IpAddr::V4(address.0)),
        RData::AAAA(address) => Some(IpAddr::V6(address.0)),
        _ => None,
    });
    Ok(addresses.collect())
}
