mod learned;
mod manager;

use super::*;
use octet_appliance::{Board, Cluster};
use octet_node::certificate::KeyStatement as Said;
use octet_node::key::PrivateKey;
use octet_node::map::SignedMap;
use octet_node::record::Seat;
use octet_node::statement::Appointment;
use proptest::prelude::*;
use serde_json::json;

const NOW: u64 = 1_800_000_000;

/// A node with its `cluster` key.
struct Node {
    node: PrivateKey,
    key: PrivateKey,
}

impl Node {
    fn new() -> Self {
        Self { node: PrivateKey::generate().unwrap(), key: PrivateKey::generate().unwrap() }
    }

    fn public(&self) -> PublicKey {
        self.node.public()
    }

    fn certificate(&self, unit: &str, epoch: u64) -> Certificate {
        let (node, key) = (self.public(), self.key.public());
        let said = Said { node, unit: unit.parse().unwrap(), key, epoch, issued: 1 };
        Certificate::sign(said, &self.node).unwrap()
    }

    fn candidate(&self, claims: Option<u8>) -> Candidate {
        let certificates = vec![self.certificate("gate", 1), self.certificate("cluster", 2)];
        Candidate { claims, node: self.public(), key_epoch: 2, certificates, complete: true }
    }

    fn sign(&self, map: Map) -> SignedMap {
        SignedMap::sign(map, self.certificate("cluster", 1), &self.key).unwrap()
    }
}

fn rules(enrol: &str, keys: &[(u8, PublicKey)]) -> EnrolmentRules {
    let cluster: Cluster = serde_json::from_value(json!({"boards": 4, "enrol": enrol})).unwrap();
    let boards = keys.iter().map(|(number, key)| json!({"number": number, "key": key}));
    let boards: Vec<Board> = boards.map(|board| serde_json::from_value(board).unwrap()).collect();
    EnrolmentRules::new(&cluster, &boards)
}

/// A coordinator and boards.
struct World {
    coordinator: Node,
    boards: Vec<Node>,
    owner: PrivateKey,
    rules: EnrolmentRules,
    book: NumberRegistry,
}

impl World {
    fn new(enrol: &str) -> Self {
        let coordinator = Node::new();
        let boards = (0..6).map(|_| Node::new()).collect();
        let book = NumberRegistry::new(coordinator.public(), 0);
        let owner = PrivateKey::generate().unwrap();
        Self { coordinator, boards, owner, rules: rules(enrol, &[]), book }
    }

    /// A world with boards 1 to 4 at their ports.
    fn whole() -> Self {
        let mut world = Self::new("first-use");
        for number in 1..=4 {
            assert_eq!(world.join(number, number.into()), Ok(JoinDecision::Welcome));
        }
        world
    }

    /// Connects the board with this index at port `number`, which it also claims.
    fn join(&mut self, number: u8, board: usize) -> Result<JoinDecision, JoinRefusal> {
        let candidate = self.boards[board - 1].candidate(Some(number));
        self.book.join(number, &candidate, &self.rules, NOW)
    }

    /// The board with this index presents `signed` at its own port.
    fn learn(&mut self, signed: &SignedMap, board: u8) -> Result<(), RecoveryError> {
        let candidate = self.boards[usize::from(board) - 1].candidate(None);
        self.book.recover_from_map(signed, board, &candidate, NOW)
    }

    fn key(&self, board: usize) -> PublicKey {
        self.boards[board - 1].public()
    }

    fn by_hand<T>(&mut self, hand: impl FnOnce(&mut NumberRegistry, AdminContext<'_>) -> T) -> T {
        let owners = [self.owner.public()];
        hand(&mut self.book, AdminContext { rules: &self.rules, owners: &owners })
    }

    fn replace(&mut self, number: u8) -> Result<(), AdminError> {
        self.by_hand(|book, hand| book.replace(number, None, hand))
    }

    /// The boards by number, from the map.
    fn seats(&self) -> Vec<(u8, usize)> {
        let map = self.book.map(&self.rules);
        map.check().unwrap();
        assert_eq!(map.member(0).unwrap().node, self.coordinator.public());
        let index = |member: &Member| {
            (1..=6)
                .find(|board| self.key(*board) == member.node)
                .map(|board| (member.number, board))
        };
        map.members.iter().filter_map(index).collect()
    }

    fn appoint(&self, epoch: u64, replaces: Option<PublicKey>) -> SignedAppointment {
        let coordinator = self.coordinator.public();
        let owner = self.owner.public();
        SignedAppointment::sign(Appointment { owner, coordinator, epoch, replaces }, &self.owner)
            .unwrap()
    }
}

#[test]
fn the_first_key_at_each_port_is_the_board() {
    let mut world = World::whole();
    assert_eq!(world.seats(), [(1, 1), (2, 2), (3, 3), (4, 4)]);
    let map = world.book.map(&world.rules);
    let board = map.member(3).unwrap();
    let units: Vec<_> = board.certificates.iter().map(|it| it.body().unit.as_str()).collect();
    assert_eq!(units, ["cluster", "gate"]);
    assert_eq!(board.addresses[0].to_string(), "10.20.3.2");
    assert_eq!(board.addresses[1].to_string(), "fd6f:6374:6574:3::2");
    // Joining again changes nothing; a board that does not know its number is informed.
    let before = world.book.clone();
    assert_eq!(world.join(3, 3), Ok(JoinDecision::Welcome));
    let unsure = world.boards[2].candidate(None);
    assert_eq!(world.book.join(3, &unsure, &world.rules, NOW + 9), Ok(JoinDecision::Welcome));
    assert_eq!(world.book, before);
}

#[test]
fn who_claims_another_number_is_refused() {
    let mut world = World::new("first-use");
    let liar = world.boards[0].candidate(Some(2));
    let before = world.book.clone();
    let refused = world.book.join(1, &liar, &world.rules, NOW);
    assert_eq!(refused, Err(JoinRefusal::ClaimsAnother(2)));
    assert_eq!(world.book, before);
    assert_eq!(world.join(1, 1), Ok(JoinDecision::Welcome));
    let outside = world.boards[1].candidate(None);
    let refused = world.book.join(5, &outside, &world.rules, NOW);
    assert!(matches!(refused, Err(JoinRefusal::Forbidden(_))));
    let copy = world.coordinator.candidate(Some(2));
    assert_eq!(world.book.join(2, &copy, &world.rules, NOW), Err(JoinRefusal::CoordinatorsKey));
}

#[test]
fn another_key_needs_an_owner() {
    let mut world = World::whole();
    let known = world.key(2);
    assert_eq!(world.join(2, 5), Err(JoinRefusal::Another { number: 2, known }));
    world.replace(2).unwrap();
    // The old node may still connect, and does not use up the permission.
    assert_eq!(world.join(2, 2), Ok(JoinDecision::Welcome));
    assert_eq!(world.join(2, 5), Ok(JoinDecision::Welcome));
    assert_eq!(world.seats(), [(1, 1), (2, 5), (3, 3), (4, 4)]);
    assert!(!world.book.is_to_be_replaced(2));
    // Exactly one key is accepted.
    let known = world.key(5);
    assert_eq!(world.join(2, 6), Err(JoinRefusal::Another { number: 2, known }));
    assert_eq!(world.join(2, 2), Err(JoinRefusal::Another { number: 2, known }));
    assert_eq!(world.replace(5), Err(AdminError::NoBoard(5)));
}

#[test]
fn two_that_are_swapped_are_both_refused() {
    let mut world = World::whole();
    let before = world.book.clone();
    assert_eq!(world.join(1, 2), Err(JoinRefusal::Elsewhere(2)));
    assert_eq!(world.join(2, 1), Err(JoinRefusal::Elsewhere(1)));
    assert_eq!((world.join(3, 3), world.book == before), (Ok(JoinDecision::Welcome), true));
    // One permission is not enough: it would leave the other number empty.
    world.replace(1).unwrap();
    assert_eq!(world.join(1, 2), Err(JoinRefusal::Elsewhere(2)));
    world.replace(2).unwrap();
    assert_eq!(world.join(1, 2), Ok(JoinDecision::Welcome));
    assert_eq!(world.join(2, 1), Ok(JoinDecision::Welcome));
    assert_eq!(world.seats(), [(1, 2), (2, 1), (3, 3), (4, 4)]);
}

#[test]
fn a_revoked_key_never_comes_back() {
    let mut world = World::whole();
    assert_eq!(world.book.revoke(3), Ok(world.key(3)));
    assert_eq!(world.seats(), [(1, 1), (2, 2), (4, 4)]);
    assert_eq!(world.book.map(&world.rules).revoked, [world.key(3)]);
    assert_eq!(world.join(3, 3), Err(JoinRefusal::Revoked));
    // A thief of the board could make another key: it is not accepted automatically.
    assert_eq!(world.join(3, 5), Err(JoinRefusal::Closed(3)));
    world.replace(3).unwrap();
    assert_eq!(world.join(3, 3), Err(JoinRefusal::Revoked));
    assert_eq!(world.join(3, 5), Ok(JoinDecision::Welcome));
    assert_eq!(world.book.revoke(3), Ok(world.key(5)));
    assert_eq!(world.book.revoke(3), Err(AdminError::NotEnrolled(3)));
    world.book.revoked = (0..=255).map(|n| PublicKey::new([n; 32])).collect();
    let before = world.book.clone();
    assert_eq!((world.book.revoke(1), world.book == before), (Err(AdminError::Full), true));
}

#[test]
fn approved_by_an_owner() {
    let mut world = World::new("approve");
    assert_eq!(world.join(1, 1), Ok(JoinDecision::Pending));
    assert_eq!(world.seats(), []);
    let candidate = world.boards[0].candidate(Some(1));
    world.by_hand(|book, hand| book.approve(1, &candidate, None, hand, NOW)).unwrap();
    assert_eq!(world.join(1, 1), Ok(JoinDecision::Welcome));
    assert_eq!(world.book.enrolled(1).unwrap().how, KeyOrigin::ByHand);
    // A replacement needs approval again.
    let known = world.key(1);
    assert_eq!(world.join(1, 5), Err(JoinRefusal::Another { number: 1, known }));
    world.replace(1).unwrap();
    assert_eq!(world.join(1, 5), Ok(JoinDecision::Pending));
    assert_eq!(world.seats(), [(1, 1)]);
    let candidate = world.boards[4].candidate(Some(1));
    world.by_hand(|book, hand| book.approve(1, &candidate, None, hand, NOW)).unwrap();
    assert_eq!(world.seats(), [(1, 5)]);
}

#[test]
fn a_named_key_is_binding() {
    let mut world = World::new("first-use");
    world.rules = rules("pinned", &[(1, world.key(1)), (2, world.key(2))]);
    assert_eq!(world.join(1, 1), Ok(JoinDecision::Welcome));
    assert!(matches!(world.join(1, 5), Err(JoinRefusal::Forbidden(_))));
    assert!(matches!(world.join(3, 3), Err(JoinRefusal::Forbidden(_))));
    assert!(matches!(world.join(3, 2), Err(JoinRefusal::Forbidden(_))));
    for enrol in ["first-use", "approve"] {
        world.rules = rules(enrol, &[(1, world.key(1)), (2, world.key(2))]);
        assert!(matches!(world.join(2, 5), Err(JoinRefusal::Forbidden(_))));
        assert_eq!(world.join(2, 2), Ok(JoinDecision::Welcome));
    }
    // The settings come from an owner: a key that they name needs no approval.
    world.rules = rules("pinned", &[(1, world.key(6)), (2, world.key(2))]);
    assert_eq!(world.seats(), [(2, 2)]);
    assert_eq!(world.book.state(1, &world.rules), NumberState::Forbidden);
    assert_eq!(world.join(1, 6), Ok(JoinDecision::Welcome));
    assert_eq!(world.seats(), [(1, 6), (2, 2)]);
    // The settings may swap two boards.
    world.rules = rules("pinned", &[(1, world.key(2)), (2, world.key(6))]);
    assert_eq!(world.join(1, 2), Ok(JoinDecision::Welcome));
    assert_eq!(world.join(2, 6), Ok(JoinDecision::Welcome));
    assert_eq!(world.seats(), [(1, 2), (2, 6)]);
}

#[test]
fn an_old_certificate_is_refused() {
    let mut world = World::whole();
    let with = |world: &World, cluster: u64, gate: u64| {
        let board = &world.boards[0];
        let certificates =
            vec![board.certificate("cluster", cluster), board.certificate("gate", gate)];
        Candidate { key_epoch: cluster, certificates, ..board.candidate(Some(1)) }
    };
    let newer = with(&world, 3, 1);
    assert_eq!(world.book.join(1, &newer, &world.rules, NOW), Ok(JoinDecision::Welcome));
    let old = with(&world, 2, 1);
    let refused = world.book.join(1, &old, &world.rules, NOW);
    assert_eq!(refused, Err(JoinRefusal::Replayed { shown: 2, seen: 3 }));
    // Newer known certificates of other services are kept.
    let newer = with(&world, 3, 5);
    world.book.join(1, &newer, &world.rules, NOW).unwrap();
    let older = with(&world, 3, 4);
    world.book.join(1, &older, &world.rules, NOW).unwrap();
    let map = world.book.map(&world.rules);
    assert_eq!(map.member(1).unwrap().certificate("gate").unwrap().body().epoch, 5);
    // The certificate of the newest key is public: the proved key counts.
    let stolen = Candidate { key_epoch: 2, ..with(&world, 3, 5) };
    let refused = world.book.join(1, &stolen, &world.rules, NOW);
    assert_eq!(refused, Err(JoinRefusal::Replayed { shown: 2, seen: 3 }));
    let few = Candidate { complete: false, ..with(&world, 4, 5) };
    // The same if not all certificates are reported.
    let few = Candidate { certificates: few.certificates[..1].to_vec(), ..few };
    world.book.join(1, &few, &world.rules, NOW).unwrap();
    let map = world.book.map(&world.rules);
    let epoch = |unit| map.member(1).unwrap().certificate(unit).unwrap().body().epoch;
    assert_eq!((epoch("cluster"), epoch("gate")), (4, 5));
    let others = Candidate {
        certificates: vec![world.boards[1].certificate("cluster", 9)],
        ..world.boards[0].candidate(Some(1))
    };
    assert_eq!(world.book.join(1, &others, &world.rules, NOW), Err(JoinRefusal::Certificates));
    let none = Candidate { certificates: vec![], ..others };
    assert_eq!(world.book.join(1, &none, &world.rules, NOW), Err(JoinRefusal::Certificates));
}

#[test]
fn an_owners_record_goes_into_the_map() {
    let mut world = World::whole();
    let seat = Seat {
        owner: world.owner.public(),
        coordinator: world.coordinator.public(),
        number: 2,
        node: world.key(5),
    };
    let record = SeatRecord::sign(seat, &world.owner).unwrap();
    let wrong = world.by_hand(|book, hand| book.replace(1, Some(record), hand));
    assert_eq!(wrong, Err(AdminError::OtherRecord));
    let stranger = PrivateKey::generate().unwrap();
    let forged = SeatRecord::sign(Seat { owner: stranger.public(), ..seat }, &stranger).unwrap();
    let wrong = world.by_hand(|book, hand| book.replace(2, Some(forged), hand));
    assert_eq!(wrong, Err(AdminError::NotAnOwner(stranger.public())));
    world.by_hand(|book, hand| book.replace(2, Some(record), hand)).unwrap();
    assert_eq!(world.join(2, 6), Err(JoinRefusal::NotRecorded(world.key(5))));
    assert_eq!(world.join(2, 5), Ok(JoinDecision::Welcome));
    assert_eq!(world.book.map(&world.rules).member(2).unwrap().record, Some(record));
}

#[test]
fn an_owners_record_of_who_is_there_already() {
    let mut world = World::whole();
    let seat = |world: &World, number, board| Seat {
        owner: world.owner.public(),
        coordinator: world.coordinator.public(),
        number,
        node: world.key(board),
    };
    let mut say = |number, board| {
        let record = SeatRecord::sign(seat(&world, 2, board), &world.owner).unwrap();
        world.by_hand(|book, hand| book.record(number, record, hand)).map(|node| (node, record))
    };
    let (node, record) = say(2, 2).unwrap();
    assert_eq!(say(2, 3), Err(AdminError::OtherRecord));
    assert_eq!(say(3, 2), Err(AdminError::OtherRecord));
    assert_eq!((node, record.body().number), (world.key(2), 2));
    assert_eq!(world.book.map(&world.rules).member(2).unwrap().record, Some(record));
    world.by_hand(|book, _| book.revoke(2)).unwrap();
    let again = world.by_hand(|book, hand| book.record(2, record, hand));
    assert_eq!(again, Err(AdminError::NotEnrolled(2)));
}

#[test]
fn a_drained_number_stays_so() {
    let mut world = World::whole();
    let drained =
        |world: &World, number| world.book.map(&world.rules).member(number).unwrap().drained;
    assert_eq!(world.by_hand(|book, hand| book.drain(2, true, hand)), Ok(world.key(2)));
    assert!(drained(&world, 2) && !drained(&world, 1));
    let none = world.by_hand(|book, hand| book.drain(9, true, hand));
    assert_eq!(none, Err(AdminError::NoBoard(9)));
    // A replacement node is drained as well, and a coordinator that has lost its registry recovers
    // that.
    world.replace(2).unwrap();
    assert_eq!(world.join(2, 5), Ok(JoinDecision::Welcome));
    assert!(drained(&world, 2));
    world.book.version.sequence += 1;
    let newer = world.coordinator.sign(world.book.map(&world.rules));
    let mut other = World::whole();
    other.book = NumberRegistry::new(world.coordinator.public(), 0);
    other.book.recover(&newer, 1, NOW).unwrap();
    assert!(other.book.is_drained(2) && !other.book.is_drained(1));
    world.by_hand(|book, hand| book.drain(2, false, hand)).unwrap();
    assert!(!drained(&world, 2));
    world.learn(&newer, 1).unwrap_err();
    world.by_hand(|book, _| book.revoke(1)).unwrap();
    let none = world.by_hand(|book, hand| book.drain(1, true, hand));
    assert_eq!(none, Err(AdminError::NotEnrolled(1)));
}

#[test]
fn only_an_owner_appoints() {
    let mut world = World::new("first-use");
    let stranger = PrivateKey::generate().unwrap();
    let coordinator = world.coordinator.public();
    let appointment =
        Appointment { owner: stranger.public(), coordinator, epoch: 9, replaces: None };
    let forged = SignedAppointment::sign(appointment, &stranger).unwrap();
    let refused = world.by_hand(|book, hand| book.adopt(forged, hand));
    assert_eq!(refused, Err(AdminError::NotAnOwner(stranger.public())));
    let mut of_another = World::new("first-use");
    let statement = world.appoint(2, None);
    of_another.owner = PrivateKey::generate().unwrap();
    let refused = of_another.by_hand(|book, hand| book.adopt(statement, hand));
    assert_eq!(refused, Err(AdminError::OtherCoordinator(coordinator)));
    world.by_hand(|book, hand| book.adopt(statement, hand)).unwrap();
    assert_eq!(world.book.version.epoch, 2);
}

fn step() -> impl Strategy<Value = (u8, u8, usize)> {
    (0u8..8, 1u8..=4, 1usize..=6)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// In any sequence of events, a node has at most one number, a revoked key never returns to the
    /// map, and the node of a number changes only by an owner's decision.
    #[test]
    fn an_enrolled_key_stays(steps in prop::collection::vec(step(), 1..40)) {
        let mut world = World::new("first-use");
        for (kind, number, board) in steps {
            let (before, was) = (world.book.clone(), world.seats());
            match kind {
                0 => { let _ = world.replace(number); }
                1 => { let _ = world.book.revoke(number); }
                _ => {
                    let verdict = world.join(number, board);
                    prop_assert!(verdict.is_ok() || world.book == before);
                    prop_assert!(verdict != Ok(JoinDecision::Pending));
                    let key = world.key(board);
                    prop_assert_eq!(verdict.is_ok(), world.book.has_key(number, &key, &world.rules));
                }
            }
            let seats = world.seats();
            for (number, board) in was {
                let stays = seats.contains(&(number, board));
                let key = world.key(board);
                let revoked = world.book.revoked().contains(&key);
                prop_assert!(stays || revoked || before.is_to_be_replaced(number));
            }
            for (_, board) in &seats {
                prop_assert!(!world.book.revoked().contains(&world.key(*board)));
            }
            let json = serde_json::to_string(&world.book).unwrap();
            prop_assert_eq!(&serde_json::from_str::<NumberRegistry>(&json).unwrap(), &world.book);
        }
    }
}
