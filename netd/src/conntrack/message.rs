//! Encodes and decodes the kernel's messages about flows (linux/netfilter/nfnetlink_conntrack.h).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::FlowEnds;
use crate::nfnetlink::{NotRead, attributes, messages, request, take};

/// `NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_GET`, and `…_DELETE`.
pub const GET: u16 = 0x101;
pub const DELETE: u16 = 0x102;

/// `NLMSG_ERROR`, `NLMSG_DONE`.
const ERROR: u16 = 2;
const DONE: u16 = 3;

/// `NLM_F_REQUEST`, with `NLM_F_ACK`, or with `NLM_F_DUMP`.
pub const ACKNOWLEDGED: u16 = 0x005;
pub const ALL: u16 = 0x301;

/// Attributes: `CTA_TUPLE_ORIG`, `CTA_TUPLE_REPLY`, `CTA_ID`.
const ORIGINAL: u16 = 1;
const REPLY: u16 = 2;
const ID: u16 = 12;

/// Within a tuple: `CTA_TUPLE_IP`, `CTA_TUPLE_PROTO`; within these `CTA_IP_V4_SRC` and so on,
/// `CTA_PROTO_NUM`, `CTA_PROTO_SRC_PORT`, `CTA_PROTO_DST_PORT`.
const IP: u16 = 1;
const PROTOCOL: u16 = 2;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrackedFlow {
    /// IP protocol number.
    pub protocol: u8,
    /// The original direction, as the first packet had it.
    pub original: FlowEnds,
    /// The reply direction; its source is the real destination of the flow (after NAT).
    pub reply: FlowEnds,
    /// `AF_INET` or `AF_INET6`.
    family: u8,
    /// Identifies the flow to the kernel: its original tuple and its id, as received.
    name: Vec<u8>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConntrackMessage {
    Flow(TrackedFlow),
    Done,
    /// Acknowledgement (0), or the errno(3) of a refusal.
    Answer(i32),
    /// A message that netd ignores.
    Other,
}

impl TrackedFlow {
    /// A flow that the kernel does not know.
    #[cfg(test)]
    pub fn new(protocol: u8, original: FlowEnds, reply: FlowEnds) -> Self {
        Self { protocol, original, reply, family: 0, name: vec![] }
    }

    /// The request that ends the flow.
    pub fn delete(&self, sequence: u32) -> Vec<u8> {
        request(DELETE, ACKNOWLEDGED, sequence, self.family, &self.name)
    }
}

impl fmt::Display for TrackedFlow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { protocol, original: FlowEnds { from, to, port }, .. } = self;
        write!(f, "{from} to {to}, protocol {protocol}")?;
        port.map_or(Ok(()), |port| write!(f, " port {port}"))
    }
}

/// Reads the messages of one datagram.
pub fn read(bytes: &[u8]) -> Result<Vec<ConntrackMessage>, NotRead> {
    let read = |(kind, body): (u16, &[u8])| match kind {
        ERROR => Ok(ConntrackMessage::Answer(-i32::from_ne_bytes(take(body, 0)?))),
        DONE => Ok(ConntrackMessage::Done),
        // The kernel answers a dump with messages of the type of a new flow (`IPCTNL_MSG_CT_NEW`).
        0x100 => flow(body),
        _ => Ok(ConntrackMessage::Other),
    };
    messages(bytes)?.into_iter().map(read).collect()
}

fn flow(body: &[u8]) -> Result<ConntrackMessage, NotRead> {
    let family = *body.first().ok_or(NotRead)?;
    let (mut original, mut reply, mut name) = (None, None, vec![]);
    for (kind, whole, value) in attributes(body.get(4..).ok_or(NotRead)?)? {
        match kind {
            ORIGINAL => {
                original = tuple(value)?;
                name.extend(whole);
            }
            REPLY => reply = tuple(value)?,
            ID => name.extend(whole),
            _ => {}
        }
    }
    Ok(match (original, reply) {
        (Some((protocol, original)), Some((_, reply))) => {
            ConntrackMessage::Flow(TrackedFlow { protocol, original, reply, family, name })
        }
        _ => ConntrackMessage::Other,
    })
}

fn tuple(bytes: &[u8]) -> Result<Option<(u8, FlowEnds)>, NotRead> {
    let (mut from, mut to, mut protocol, mut port) = (None, None, None, None);
    for (kind, _, inner) in attributes(bytes)? {
        for (what, _, value) in attributes(inner)? {
            match (kind, what) {
                (IP, 1 | 3) => from = address(value),
                (IP, 2 | 4) => to = address(value),
                (PROTOCOL, 1) => protocol = value.first().copied(),
                (PROTOCOL, 3) => port = Some(u16::from_be_bytes(take(value, 0)?)),
                _ => {}
            }
        }
    }
    let ends = from.zip(to).map(|(from, to)| FlowEnds { from, to, port });
    Ok(protocol.zip(ends))
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let four = |bytes: [u8; 4]| IpAddr::from(Ipv4Addr::from(bytes));
    let six = |bytes: [u8; 16]| IpAddr::from(Ipv6Addr::from(bytes));
    let as_four = bytes.try_into().ok().map(four);
    as_four.or_else(|| bytes.try_into().ok().map(six))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let mut bytes = (4 + value.len() as u16).to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    fn of_tuple(kind: u16, from: [u8; 4], to: [u8; 4], port: u16) -> Vec<u8> {
        let ip = [attribute(1, &from), attribute(2, &to)].concat();
        let ports = [attribute(2, &[1, 2]), attribute(3, &port.to_be_bytes())].concat();
        let protocol = [attribute(1, &[6]), ports].concat();
        let nested = 0x8000;
        attribute(
            kind | nested,
            &[attribute(IP | nested, &ip), attribute(PROTOCOL | nested, &protocol)].concat(),
        )
    }

    #[test]
    fn a_flow_is_read() {
        let (one, two, three) = ([10, 20, 1, 2], [192, 0, 2, 7], [10, 20, 2, 2]);
        let original = of_tuple(ORIGINAL, one, two, 443);
        let id = attribute(ID, &[9, 9, 9, 9]);
        let body = [original.clone(), of_tuple(REPLY, three, one, 258), id.clone()].concat();
        let bytes = request(0x100, 2, 7, 2, &body);
        let done = request(DONE, 2, 7, 0, &[]);
        let messages = read(&[bytes, done].concat()).unwrap();
        let [ConntrackMessage::Flow(flow), ConntrackMessage::Done] = &messages[..] else {
            panic!("{messages:?}")
        };
        assert_eq!(
            (flow.protocol, flow.original.to, flow.original.port),
            (6, two.into(), Some(443))
        );
        assert_eq!((flow.original.from, flow.reply.from), (one.into(), three.into()));
        let delete = flow.delete(8);
        assert_eq!(delete[20..], [original, id].concat());
        assert_eq!(u16::from_ne_bytes([delete[4], delete[5]]), DELETE);
    }

    #[test]
    fn an_answer_is_read() {
        let mut bytes = request(ERROR, 0, 1, 0, &[]);
        bytes[16..20].copy_from_slice(&(-2i32).to_ne_bytes());
        assert_eq!(read(&bytes), Ok(vec![ConntrackMessage::Answer(2)]));
        assert_eq!(read(&bytes[..12]), Err(NotRead));
    }

    proptest! {
        #[test]
        fn never_panics(bytes: Vec<u8>, cut in 0..200usize) {
            let _ = read(&bytes);
            let body = of_tuple(ORIGINAL, [1; 4], [2; 4], 3);
            let mut whole = request(0x100, 0, 0, 2, &body);
            whole.truncate(cut);
            let _ = read(&whole);
        }
    }
}
