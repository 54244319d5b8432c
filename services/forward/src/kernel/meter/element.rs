//! Changes of set elements over netlink (linux/netfilter/nfnetlink.h and nf_tables.h): running nft would take
//! longer than the rest of a path set-up.

use std::io;

use netlink_packet_netfilter::nftables::{
    DataAttribute, ExpressionAttribute, Expressions, ListAttribute, NfTablesMessage,
    SetElementAttribute, SetElementList, SetElementMessage,
};
use netlink_packet_netfilter::none::ControlMessage;
use netlink_packet_netfilter::{
    NetfilterHeader, NetfilterMessage, NetfilterMessageInner, NetfilterProtoFamily,
};
use rtnetlink::packet_core::{
    DefaultNla, NLM_F_ACK, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload,
};
use rtnetlink::sys::protocols::NETLINK_NETFILTER;
use rtnetlink::sys::{Socket, SocketAddr};

use super::{Count, NAME};

/// The key of an element: the device, and the first four bytes of a labelled packet.
pub type ElementKey = [u8; 8];

/// `NFNL_SUBSYS_NFTABLES`: the subsystem of the transaction.
const NFTABLES: u16 = 10;

/// `NFTA_COUNTER_BYTES` and `NFTA_COUNTER_PACKETS`.
const COUNTED_BYTES: u16 = 1;
const COUNTED_PACKETS: u16 = 2;

/// `NFTA_LIMIT_RATE` and so on.
const LIMIT_RATE: u16 = 1;
const LIMIT_UNIT: u16 = 2;
const LIMIT_BURST: u16 = 3;
const LIMIT_TYPE: u16 = 4;
const LIMIT_FLAGS: u16 = 5;

/// The rate's unit of time, in seconds.
const UNIT: u64 = 1;

/// `NFT_LIMIT_PKT_BYTES`, and `NFT_LIMIT_F_INV`: packets above the rate match.
const BYTES: u32 = 1;
const OVER: u32 = 1;

/// A change of one element.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ElementChange {
    /// Add the element with this statement; an existing element is left alone.
    Add {
        set: &'static str,
        key: ElementKey,
        /// The element's statement; `None` for the set's default.
        statement: Option<ElementRule>,
    },
    /// Remove the element. It must exist.
    Remove { set: &'static str, key: ElementKey },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ElementRule {
    /// A counter with this initial value.
    Counter(Count),
    /// Matches packets above this rate.
    Limit {
        /// Bytes per second.
        rate: u64,
        /// The burst, in bytes.
        burst: u32,
    },
}

impl From<ElementRule> for ListAttribute<ExpressionAttribute> {
    fn from(statement: ElementRule) -> Self {
        let long = |kind, value: u64| DefaultNla::new(kind, value.to_be_bytes().to_vec());
        let short = |kind, value: u32| DefaultNla::new(kind, value.to_be_bytes().to_vec());
        let (name, attributes) = match statement {
            ElementRule::Counter(Count { packets, bytes }) => {
                ("counter", vec![long(COUNTED_BYTES, bytes), long(COUNTED_PACKETS, packets)])
            }
            ElementRule::Limit { rate, burst } => (
                "limit",
                vec![
                    long(LIMIT_RATE, rate),
                    long(LIMIT_UNIT, UNIT),
                    short(LIMIT_BURST, burst),
                    short(LIMIT_TYPE, BYTES),
                    short(LIMIT_FLAGS, OVER),
                ],
            ),
        };
        Expressions::Other { expression_type: name.into(), attributes }.into()
    }
}

impl ElementChange {
    fn message(&self) -> NfTablesMessage {
        match self {
            Self::Add { set, key, statement } => {
                let statement = statement.map(|it| vec![it.into()]);
                let statement = statement.map(SetElementAttribute::ListExpressions);
                NfTablesMessage::NewSetElement(element(set, key, statement))
            }
            Self::Remove { set, key } => NfTablesMessage::DeleteSetElement(element(set, key, None)),
        }
    }
}

fn element(
    set: &str,
    key: &ElementKey,
    statement: Option<SetElementAttribute>,
) -> SetElementMessage {
    let mut attributes = vec![SetElementAttribute::Key(DataAttribute::Value(key.to_vec()))];
    attributes.extend(statement);
    SetElementMessage {
        attributes: vec![
            SetElementList::Table(NAME.into()),
            SetElementList::Set(set.into()),
            SetElementList::Elements(vec![ListAttribute::Element(attributes)]),
        ],
    }
}

/// A transaction as one datagram.
fn transaction(changes: &[ElementChange]) -> Vec<u8> {
    let edge = |it: ControlMessage| message(NetfilterProtoFamily::Unspec, NFTABLES, it.into());
    let change = |it: &ElementChange| message(NetfilterProtoFamily::NetDev, 0, it.message().into());
    let mut messages = vec![edge(ControlMessage::BatchBegin)];
    messages.extend(changes.iter().map(change));
    // Errors are always reported; success is acknowledged for the last message only.
    if let Some(last) = messages.last_mut() {
        last.header.flags |= NLM_F_ACK;
    }
    messages.push(edge(ControlMessage::BatchEnd));
    let mut bytes = vec![];
    for (mut message, number) in messages.into_iter().zip(0..) {
        message.header.sequence_number = number;
        message.finalize();
        let begins = bytes.len();
        bytes.resize(begins + message.buffer_len(), 0);
        message.serialize(&mut bytes[begins..]);
    }
    bytes
}

pub(super) fn message(
    family: NetfilterProtoFamily,
    resource: u16,
    inner: NetfilterMessageInner,
) -> NetlinkMessage<NetfilterMessage> {
    let header = NetfilterHeader::new(family, 0, resource);
    let mut message = NetlinkMessage::from(NetfilterMessage::new(header, inner));
    message.header.flags = NLM_F_REQUEST;
    message
}

/// Applies the changes atomically.
///
/// # Errors
/// The kernel refuses a change, or the table does not exist.
pub fn commit(changes: &[ElementChange]) -> io::Result<()> {
    let mut socket = Socket::new(NETLINK_NETFILTER)?;
    socket.bind_auto()?;
    socket.send_to(&transaction(changes), &SocketAddr::new(0, 0), 0)?;
    // The transaction is complete by now: no further answer follows.
    socket.set_non_blocking(true)?;
    let mut is_done = false;
    loop {
        let answer = match socket.recv_from_full() {
            Ok((bytes, _)) => NetlinkMessage::<NetfilterMessage>::deserialize(&bytes),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) => return Err(error),
        };
        match answer.map_err(io::Error::other)?.payload {
            NetlinkPayload::Error(answer) if answer.code.is_none() => is_done = true,
            NetlinkPayload::Error(refused) => return Err(refused.to_io()),
            _ => {}
        }
    }
    let silent = || io::Error::other("it does not say whether it has");
    is_done.then_some(()).ok_or_else(silent)
}

#[cfg(test)]
mod tests {
    use super::super::{AT_ONCE, Direction, GateChange, Meter};
    use super::*;
    use crate::label::{HIGHEST, Label};

    const KEY: ElementKey = [7, 0, 0, 0, 0x00, 0x06, 0x41, 0x00];

    /// The messages equal those of `nft --debug=mnl` (1.0.6), except for two attributes: a single expression,
    /// for which the kernel accepts a list as well, and the set's number beside its name.
    #[test]
    fn as_nft_says_it() {
        let nested = |kind: u16, inner: &[u8]| attribute(kind | 0x8000, inner);
        let of = |set: &str, statement: &[u8]| {
            let key = nested(1, &attribute(1, &KEY));
            let element = nested(3, &nested(1, &[&key, statement].concat()));
            [attribute(1, b"octet_forward\0"), attribute(2, set.as_bytes()), element].concat()
        };
        let number = |kind: u16, value: u64| attribute(kind, &value.to_be_bytes());
        let half = |kind: u16, value: u32| attribute(kind, &value.to_be_bytes());
        let expression = |name: &str, inner: Vec<u8>| {
            let all = [attribute(1, name.as_bytes()), nested(2, &inner)].concat();
            nested(11, &nested(1, &all))
        };
        let counter = expression("counter\0", [number(1, 252), number(2, 3)].concat());
        let limit = [number(1, 125_000), number(2, 1), half(3, 3000), half(4, 1), half(5, 1)];
        let limit = expression("limit\0", limit.concat());
        let said = |kind: u16, flags: u16, number: u32, rest: [u8; 4], attributes: &[u8]| {
            let length = 20 + attributes.len() as u32;
            let numbers = [number.to_ne_bytes(), [0; 4], rest].concat();
            let head = [kind.to_ne_bytes(), flags.to_ne_bytes()].concat();
            [&length.to_ne_bytes()[..], &head, &numbers, attributes].concat()
        };
        let count = ElementRule::Counter(Count { packets: 3, bytes: 252 });
        let rate = ElementRule::Limit { rate: 125_000, burst: 3000 };
        let changes = [
            ElementChange::Add { set: "labels", key: KEY, statement: Some(count) },
            ElementChange::Add { set: "rates", key: KEY, statement: Some(rate) },
            ElementChange::Add { set: "labels", key: KEY, statement: None },
            ElementChange::Remove { set: "labels", key: KEY },
        ];
        let expected = [
            said(0x10, 1, 0, [0, 0, 0, 10], &[]),
            said(0xa0c, 1, 1, [5, 0, 0, 0], &of("labels\0", &counter)),
            said(0xa0c, 1, 2, [5, 0, 0, 0], &of("rates\0", &limit)),
            said(0xa0c, 1, 3, [5, 0, 0, 0], &of("labels\0", &[])),
            // The last message is acknowledged (`NLM_F_ACK`).
            said(0xa0e, 5, 4, [5, 0, 0, 0], &of("labels\0", &[])),
            said(0x11, 1, 5, [0, 0, 0, 10], &[]),
        ];
        assert_eq!(transaction(&changes), expected.concat());
    }

    /// Linux's default limit of one datagram.
    const ROOM: usize = 212_992;

    #[test]
    fn one_datagram_is_enough() {
        let label = Label::new(HIGHEST).unwrap();
        let meter = Meter { device: "fl65535".into(), direction: Direction::Above, label };
        let begins = Count { packets: u64::MAX, bytes: u64::MAX };
        for gate in [
            GateChange::Allow { meter: meter.clone(), begins, is_charged: true },
            GateChange::Limit(meter.clone(), u32::MAX, begins),
            GateChange::Remove(meter),
        ] {
            let changes = vec![gate.changes(u32::MAX); AT_ONCE].concat();
            assert!(transaction(&changes).len() < ROOM, "{gate:?}");
        }
    }

    fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let mut bytes = (4 + value.len() as u16).to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }
}
