//! The nodes: what each says of itself, and what it knows of the others.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use octet_forward::announcement::{Announcement, LIFETIME, LINKS, SignedAnnouncement, UNIT};
use octet_forward::control::LinkMessage;
use octet_forward::onion::OnionSecret;
use octet_forward::probe::Quality;
use octet_forward::topology::Topology;
use octet_node::address::NodeAddress;
use octet_node::certificate::{Certificate, KeyStatement};
use octet_node::key::{PrivateKey, random};

use crate::world::World;

/// When it begins, in seconds since 1970.
pub const BEGIN: u64 = 1_800_000_000;

pub struct Node {
    pub address: NodeAddress,
    pub onion: OnionSecret,
    pub topology: Topology,
    /// What it says of itself, signed and verified once, and shared by all who know it.
    pub says: Arc<SignedAnnouncement>,
    /// The same as it is on the wire.
    pub bytes: Vec<u8>,
}

/// The announcement of a message.
pub fn on_wire(bytes: &[u8]) -> usize {
    LinkMessage::Announcement(bytes.to_vec()).to_bytes().len()
}

/// All nodes of `world`, each of which has room for so many others, and knows itself alone.
pub fn all(world: &World, room: usize) -> Result<Vec<Node>, Box<dyn Error>> {
    let keys: Vec<(PrivateKey, PrivateKey)> = world
        .links
        .iter()
        .map(|_| Ok((PrivateKey::generate()?, PrivateKey::generate()?)))
        .collect::<Result<_, Box<dyn Error>>>()?;
    let addresses: Vec<_> = keys.iter().map(|(node, _)| NodeAddress::of(&node.public())).collect();
    let of = |number: usize| {
        let (node, key) = &keys[number];
        let address = addresses[number];
        let onion = OnionSecret::new(&random()?).ok_or("no onion key can be made")?;
        let near = &world.links[number];
        let link = |(other, takes): &(usize, u64)| {
            let round_trip = Some(Duration::from_micros(2 * takes));
            Quality { is_up: true, round_trip, lost: (0, 31) }.announcement(addresses[*other], 0)
        };
        let mut links: Vec<_> = near.iter().map(link).collect();
        links.sort_unstable_by_key(|link| link.neighbour);
        links.truncate(LINKS);
        let announcement = Announcement {
            sequence: BEGIN * 1000,
            issued: BEGIN,
            lifetime: LIFETIME,
            onion_key: *onion.public(),
            relays: true,
            exit: false,
            price: 0,
            links,
        };
        let statement = KeyStatement {
            node: node.public(),
            unit: UNIT.parse()?,
            key: key.public(),
            epoch: 1,
            issued: BEGIN,
        };
        let certificate = Certificate::sign(statement, node)?;
        let bytes = SignedAnnouncement::sign(announcement, certificate, key)?.to_bytes();
        // What goes over the wires is read as it comes from there.
        let says = Arc::new(SignedAnnouncement::from_bytes(&bytes)?);
        let mut topology = Topology::with_room(address, room);
        topology.set_neighbours(near.iter().map(|(other, _)| addresses[*other]).collect());
        topology.insert(says.clone(), BEGIN, None);
        Ok(Node { address, onion, topology, says, bytes })
    };
    (0..keys.len()).map(of).collect()
}
