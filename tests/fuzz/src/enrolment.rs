//! Messages between boards and the coordinator, and their effect on the registry.

use std::sync::OnceLock;

use octet_appliance::Cluster;
use octet_cluster::message::{CoordinatorHello, FromBoard, FromCoordinator, Join};
use octet_cluster::pin::PersistedPin;
use octet_cluster::registry::{AdminContext, Candidate, NumberRegistry};
use octet_cluster::rules::EnrolmentRules;
use octet_node::certificate::{Certificate, KeyStatement};
use octet_node::control::PublicKey;
use octet_node::key::PrivateKey;
use octet_node::map::CLUSTER;

/// Six nodes, each with two certificates, of which the second one is newer.
fn nodes() -> &'static [[Certificate; 2]] {
    static NODES: OnceLock<Vec<[Certificate; 2]>> = OnceLock::new();
    NODES.get_or_init(|| {
        let node = |_| {
            let node = PrivateKey::generate().expect("there is randomness");
            [1, 2].map(|epoch| {
                let (unit, key) = (CLUSTER.parse().expect("it is a name"), node.public());
                let statement = KeyStatement { node: key, unit, key, epoch, issued: 0 };
                Certificate::sign(statement, &node).expect("it is its own")
            })
        };
        (0..6).map(node).collect()
    })
}

/// Messages are decoded or refused. Then each four bytes are an event at a number: a key connects,
/// which claims some number, an owner makes a change, or the coordinator becomes another board.
/// After any sequence the resulting map is valid and has no revoked key, and refused events change
/// nothing.
pub fn enrolment(bytes: &[u8]) {
    let _ = CoordinatorHello::parse(bytes);
    let _ = FromBoard::parse(bytes);
    let _ = FromCoordinator::parse(bytes);
    let join = Join::parse(bytes).ok();
    let cluster = |enrol: &str| {
        let text = serde_json::json!({ "boards": 4, "enrol": enrol });
        EnrolmentRules::new(&serde_json::from_value::<Cluster>(text).expect("it is right"), &[])
    };
    let rules = [cluster("first-use"), cluster("approve")];
    // The coordinator is the router, or a board.
    let own = if bytes.len().is_multiple_of(2) { 0 } else { 2 };
    let mut book = NumberRegistry::new(PublicKey::new([0; 32]), own);
    if let Some(join) = join {
        let statement = join.certificate.body();
        let certificates =
            join.certificates.into_iter().flatten().chain([join.certificate.clone()]);
        let (certificates, complete) = (certificates.collect(), true);
        let (claims, node, key_epoch) = (join.number, statement.node, statement.epoch);
        let candidate = Candidate { claims, node, key_epoch, certificates, complete };
        let taken = book.join(1, &candidate, &rules[0], 0).is_ok();
        assert_eq!(taken, book.has_key(1, &candidate.node, &rules[0]));
        if let Some(signed) = &join.map {
            let _ = book.recover_from_map(signed, 1, &candidate, 0);
        }
        holds(&book, &rules[0]);
    }
    for step in bytes.as_chunks::<4>().0.iter().take(64) {
        let [kind, number, key, claims] = *step;
        let (before, rules) = (book.clone(), &rules[usize::from(kind) >> 7]);
        let hand = AdminContext { rules, owners: &[] };
        let claims = (claims < 8).then_some(claims);
        let certificates = &nodes()[usize::from(key & 0x7f) % nodes().len()];
        let certificate = certificates[usize::from(key >> 7)].clone();
        let (node, key_epoch) = (certificate.body().node, certificate.body().epoch);
        let (certificates, complete) = (vec![certificate], kind & 4 == 0);
        let candidate = Candidate { claims, node, key_epoch, certificates, complete };
        let changed = match kind & 3 {
            0 if kind & 0x40 != 0 => book.drain(number, kind & 4 == 0, hand).is_ok(),
            1 if kind & 0x40 != 0 => {
                book.set_number(number % 5);
                true
            }
            0 => book.replace(number, None, hand).is_ok(),
            1 => book.revoke(number).is_ok(),
            2 => book.approve(number, &candidate, None, hand, 0).is_ok(),
            _ => book.join(number, &candidate, rules, 0).is_ok(),
        };
        assert!(changed || book == before);
        holds(&book, rules);
    }
    let _ = serde_json::from_slice::<NumberRegistry>(bytes);
    let _ = serde_json::from_slice::<PersistedPin>(bytes);
}

fn holds(book: &NumberRegistry, rules: &EnrolmentRules) {
    let map = book.map(rules);
    assert_eq!(map.check(), Ok(()));
    assert!(book.revoked().iter().all(|key| map.member_by_key(key).is_none()));
}
