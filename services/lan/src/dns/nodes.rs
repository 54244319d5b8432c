//! Names of nodes: `<key>.octet`. Name and address follow from the node's key, so no upstream is
//! asked. Names below such a name do not exist.

use std::net::IpAddr;

use hickory_proto::rr::Name;
use octet_node::address::{NodeAddress, ZONE, parse_name};

use super::answer::CachedAnswer;
use super::query::DnsQuestion;

/// The answer about the name of a node; `None` if it is another name.
pub fn answer(question: &DnsQuestion) -> Option<CachedAnswer> {
    let name = question.name.trim_to(2);
    let key = parse_name(name.to_ascii().trim_end_matches('.'))?;
    let zone = zone();
    if question.name.num_labels() > 2 {
        return Some(CachedAnswer::no_such_name(zone));
    }
    Some(CachedAnswer::addresses(question, &[IpAddr::V6(NodeAddress::of(&key).ip())], zone))
}

fn zone() -> Name {
    let labels = Name::from_labels([ZONE.as_bytes()]);
    // A single label of five letters is an ordinary name.
    labels.unwrap_or_default()
}
