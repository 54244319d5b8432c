//! Names of nodes: `<key>.octet`. Each follows from the node's key, and so does its address: nobody is asked, and
//! what is below such a name is none.

use std::net::IpAddr;

use hickory_proto::rr::Name;
use octet_node::address::{NodeAddress, ZONE, named};

use super::answer::CachedAnswer;
use super::query::DnsQuestion;

/// What is said about the name of a node; `None` if it is none.
pub fn answer(question: &DnsQuestion) -> Option<CachedAnswer> {
    let name = question.name.trim_to(2);
    let key = named(name.to_ascii().trim_end_matches('.'))?;
    let zone = zone();
    if question.name.num_labels() > 2 {
        return Some(CachedAnswer::no_such_name(zone));
    }
    Some(CachedAnswer::addresses(question, &[IpAddr::V6(NodeAddress::of(&key).ip())], zone))
}

fn zone() -> Name {
    let labels = Name::from_labels([ZONE.as_bytes()]);
    // One label of five letters is a name.
    labels.unwrap_or_default()
}
