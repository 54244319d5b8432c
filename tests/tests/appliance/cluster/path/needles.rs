//! The byte strings that are searched for on wires and in memories, with their names.

use std::net::Ipv6Addr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use curve25519_dalek::edwards::CompressedEdwardsY;
use octet_machine::Node;
use octet_node::control::PublicKey;
use serde_json::{Value, json};

use crate::cluster::site::Site;
use crate::cluster::wires::LINK_PORTS;

/// The identity of a node.
pub struct Named {
    pub address: Ipv6Addr,
    name: String,
    node: PublicKey,
    key: PublicKey,
}

pub struct Needles<'a> {
    /// Data that is sent without a path.
    pub plain: &'a str,
    /// Data that is sent by the path.
    pub payload: &'a str,
    /// The source and the end.
    pub named: &'a [Named; 2],
    /// The path as its source shows it.
    pub path: &'a Value,
}

const TCP: u8 = 6;
const UDP: u8 = 17;

const PAYLOAD: &str = "payload";
const SOURCES_KEY: &str = "source's key of the path";
const ENDS_KEY: &str = "end's key of the path";
const ANSWER: &str = "header of an answer";

/// The needles that must be in the memory of both ends of the path.
pub const AT_ENDS: [&str; 3] = [PAYLOAD, SOURCES_KEY, ENDS_KEY];

/// Those in the memory of the source, where the last answer is unread.
pub const AT_SOURCE: [&str; 4] = [PAYLOAD, SOURCES_KEY, ENDS_KEY, ANSWER];

type Needle = (&'static str, Vec<u8>);

impl Named {
    pub fn of(site: &Site, board: u8) -> Self {
        let ask = |unit, verb| site.ask(Node::Board(board), unit, verb, json!({}));
        let (status, identity) = (ask("forward", "status"), ask("identity", "show"));
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let mut units = identity["certified"].as_array().unwrap().iter();
        let forward = units.find(|row| row["unit"] == "forward").unwrap();
        Self {
            address: text(&status["address"]).parse().unwrap(),
            name: text(&status["name"]),
            node: text(&identity["node"]).parse().unwrap(),
            key: text(&forward["key"]).parse().unwrap(),
        }
    }
}

/// The key as used by WireGuard: the same point in the other form of the curve (RFC 7748, 4.1).
fn exchange_key(key: PublicKey) -> Vec<u8> {
    let point = CompressedEdwardsY(*key.as_bytes()).decompress().unwrap();
    point.to_montgomery().to_bytes().to_vec()
}

impl Needles<'_> {
    /// The data of the source and the end that every board of the box knows.
    pub fn of_box(&self) -> Vec<Needle> {
        let [source, end] = self.named;
        vec![
            ("source's address", source.address.octets().to_vec()),
            ("end's address", end.address.octets().to_vec()),
            ("source's node key", source.node.as_bytes().to_vec()),
            ("end's node key", end.node.as_bytes().to_vec()),
            ("source's forward key", source.key.as_bytes().to_vec()),
            ("end's forward key", end.key.as_bytes().to_vec()),
        ]
    }

    /// The data that only the two ends of the path know.
    pub fn of_path(&self) -> Vec<Needle> {
        let key = |at: usize| STANDARD.decode(self.path["keys"][at].as_str().unwrap()).unwrap();
        let [source, end] = self.named.each_ref().map(|it| it.address.octets());
        // An IPv6 header from the next header field on, with Linux's default hop limit (RFC 8200,
        // section 3).
        let header = |protocol, from, to| [&[protocol, 64][..], from, to].concat();
        vec![
            (PAYLOAD, self.payload.as_bytes().to_vec()),
            (SOURCES_KEY, key(0)),
            (ENDS_KEY, key(1)),
            (ANSWER, header(UDP, &end, &source)),
            ("header of a datagram", header(UDP, &source, &end)),
            ("header of the stream", header(TCP, &source, &end)),
            ("header of the stream back", header(TCP, &end, &source)),
        ]
    }

    /// The data that must be on wires, and that must not.
    pub fn of_wires(&self) -> Vec<Needle> {
        let [source, end] = self.named;
        let text = |text: &dyn ToString| text.to_string().into_bytes();
        let known = [("links", LINK_PORTS.to_vec()), ("plain", self.plain.as_bytes().to_vec())];
        let others = [
            ("source's address as text", text(&source.address)),
            ("end's address as text", text(&end.address)),
            ("source's name", text(&source.name)),
            ("end's name", text(&end.name)),
            ("source's node key as text", text(&source.node)),
            ("end's node key as text", text(&end.node)),
            ("source's key of links", exchange_key(source.key)),
            ("end's key of links", exchange_key(end.key)),
        ];
        known.into_iter().chain(others).chain(self.of_box()).chain(self.of_path()).collect()
    }
}
