//! Reads set elements and quotas over netlink (linux/netfilter/nf_tables.h). For 8000 counters nft takes six times as
//! long, and 29 MB.

use std::io;

use netlink_packet_netfilter::NetfilterProtoFamily;
use netlink_packet_netfilter::nftables::{NfTablesMessage, SetElementList, SetElementMessage};
use rtnetlink::packet_core::{
    DefaultNla, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR, NetlinkBuffer,
};
use rtnetlink::sys::protocols::NETLINK_NETFILTER;
use rtnetlink::sys::{Socket, SocketAddr};

use super::element::{ElementKey, message};
use super::{Count, NAME, Quota};

/// The size of `struct nfgenmsg`, which precedes the attributes.
const GENERAL: usize = 4;

/// `NLA_TYPE_MASK`: the kind of an attribute, without flags.
const KIND: u16 = 0x3fff;

/// `NFTA_SET_ELEM_LIST_ELEMENTS`, and within it `NFTA_LIST_ELEM`.
const ELEMENTS: u16 = 3;
const ELEMENT: u16 = 1;

/// `NFTA_SET_ELEM_KEY` with `NFTA_DATA_VALUE`, and `NFTA_SET_ELEM_EXPR`.
const KEY: u16 = 1;
const VALUE: u16 = 1;
const STATEMENT: u16 = 7;

/// `NFTA_EXPR_NAME` and `NFTA_EXPR_DATA`.
const STATEMENT_NAME: u16 = 1;
const STATEMENT_DATA: u16 = 2;

/// `NFTA_COUNTER_BYTES` and `NFTA_COUNTER_PACKETS`.
const COUNTED_BYTES: u16 = 1;
const COUNTED_PACKETS: u16 = 2;

/// `NFTA_OBJ_TABLE` and so on; `NFT_OBJECT_QUOTA`.
const OBJECT_TABLE: u16 = 1;
const OBJECT_NAME: u16 = 2;
const OBJECT_TYPE: u16 = 3;
const OBJECT_DATA: u16 = 4;
const OBJECT_QUOTA: u32 = 2;

/// `NFTA_QUOTA_BYTES` and `NFTA_QUOTA_CONSUMED`.
const QUOTA_BYTES: u16 = 1;
const QUOTA_USED: u16 = 4;

/// How often a listing is repeated that a change of rules has interrupted.
const ATTEMPTS: usize = 16;

/// The counters of a set, by key.
///
/// # Errors
/// The set does not exist, or the kernel's answer is not as expected.
pub fn counters(set: &str) -> io::Result<Vec<(ElementKey, Count)>> {
    let request = SetElementMessage {
        attributes: vec![SetElementList::Table(NAME.into()), SetElementList::Set(set.into())],
    };
    let answers = dump(&NfTablesMessage::GetSetElement(request))?;
    let lists = answers.iter().filter_map(|answer| attribute(answer, ELEMENTS));
    let all = lists.flat_map(attributes).filter(|it| it.0 == ELEMENT);
    Ok(all.filter_map(|it| element(it.1)).collect())
}

/// The key and the counter of an element; `None` without a counter.
fn element(element: &[u8]) -> Option<(ElementKey, Count)> {
    let key = attribute(attribute(element, KEY)?, VALUE)?.try_into().ok()?;
    let statement = attribute(element, STATEMENT)?;
    if attribute(statement, STATEMENT_NAME)? != b"counter\0" {
        return None;
    }
    let counter = attribute(statement, STATEMENT_DATA)?;
    let (packets, bytes) = (long(counter, COUNTED_PACKETS)?, long(counter, COUNTED_BYTES)?);
    Some((key, Count { packets, bytes }))
}

/// The quotas of the table, by name.
///
/// # Errors
/// The table does not exist, or the kernel's answer is not as expected.
pub fn quotas() -> io::Result<Vec<(String, Quota)>> {
    let request = vec![
        DefaultNla::new(OBJECT_TABLE, [NAME.as_bytes(), &[0]].concat()),
        DefaultNla::new(OBJECT_TYPE, OBJECT_QUOTA.to_be_bytes().to_vec()),
    ];
    let answers = dump(&NfTablesMessage::GetObject(request))?;
    Ok(answers.iter().filter_map(|answer| quota(answer)).collect())
}

fn quota(object: &[u8]) -> Option<(String, Quota)> {
    let name = attribute(object, OBJECT_NAME)?.strip_suffix(&[0])?;
    let data = attribute(object, OBJECT_DATA)?;
    let quota = Quota { bytes: long(data, QUOTA_BYTES)?, used: long(data, QUOTA_USED)? };
    Some((String::from_utf8(name.to_vec()).ok()?, quota))
}

/// The attributes in `bytes`, each with its kind (`struct nlattr` of linux/netlink.h).
fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let [a, b, c, d] = *bytes.first_chunk()?;
        let length = usize::from(u16::from_ne_bytes([a, b]));
        let value = bytes.get(4..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((u16::from_ne_bytes([c, d]) & KIND, value))
    })
}

/// The value of the first attribute of this kind.
fn attribute(bytes: &[u8], kind: u16) -> Option<&[u8]> {
    attributes(bytes).find(|it| it.0 == kind).map(|it| it.1)
}

fn long(attributes: &[u8], kind: u16) -> Option<u64> {
    Some(u64::from_be_bytes(attribute(attributes, kind)?.try_into().ok()?))
}

/// The attributes of all answers to a request for a listing.
fn dump(request: &NfTablesMessage) -> io::Result<Vec<Vec<u8>>> {
    for _ in 0..ATTEMPTS {
        if let Some(answers) = dump_once(request)? {
            return Ok(answers);
        }
    }
    Err(io::Error::other("the rules change too often to be listed"))
}

/// `None`: a change of rules has interrupted the listing.
fn dump_once(request: &NfTablesMessage) -> io::Result<Option<Vec<Vec<u8>>>> {
    let mut socket = Socket::new(NETLINK_NETFILTER)?;
    socket.bind_auto()?;
    let mut message = message(NetfilterProtoFamily::NetDev, 0, request.clone().into());
    message.header.flags = NLM_F_REQUEST | NLM_F_DUMP;
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    socket.send_to(&bytes, &SocketAddr::new(0, 0), 0)?;
    let mut answers = vec![];
    let mut is_whole = true;
    loop {
        let (datagram, _) = socket.recv_from_full()?;
        let mut rest = &datagram[..];
        while !rest.is_empty() {
            let answer = NetlinkBuffer::new_checked(rest).map_err(io::Error::other)?;
            is_whole &= answer.flags() & NLM_F_DUMP_INTR == 0;
            let payload = answer.payload();
            match answer.message_type() {
                NLMSG_DONE => return Ok(is_whole.then_some(answers)),
                NLMSG_ERROR => return Err(refusal(payload)),
                _ => answers.push(payload.get(GENERAL..).unwrap_or_default().to_vec()),
            }
            // Messages are aligned to four bytes.
            let length = (answer.length() as usize).next_multiple_of(4);
            rest = rest.get(length..).unwrap_or_default();
        }
    }
}

/// The error in the payload of `NLMSG_ERROR`: a negative number.
fn refusal(payload: &[u8]) -> io::Error {
    let number = payload.first_chunk().map_or(0, |bytes| i32::from_ne_bytes(*bytes));
    io::Error::from_raw_os_error(number.saturating_neg())
}
