use super::super::prefix::IpPrefix;
use super::*;

const NOW: Duration = Duration::from_secs(100);

fn addresses(list: &[&str]) -> Vec<SocketAddr> {
    list.iter().map(|it| it.parse().unwrap()).collect()
}

fn inside() -> BoxNetworks {
    let network = IpPrefix::new("10.20.0.0".parse().unwrap(), 16).unwrap();
    let node = vec!["10.20.3.1".parse().unwrap(), "192.0.2.7".parse().unwrap()];
    BoxNetworks { networks: vec![network], own_addresses: node, ..BoxNetworks::default() }
}

fn rule(inside: &BoxNetworks) -> UpstreamRule<'_> {
    UpstreamRule { box_networks: inside, allow_inside: false, allow_loopback: false, port: 53 }
}

fn upstreams(list: &[&str]) -> Upstreams {
    let mut upstreams = Upstreams::default();
    assert_eq!(upstreams.set(&addresses(list), rule(&inside())), []);
    upstreams
}

/// The servers that are tried if each try ends with `setback`.
fn tried(upstreams: &Upstreams, now: Duration, setback: AttemptError) -> Vec<(String, bool)> {
    let mut tries = upstreams.attempts(now);
    let mut list = vec![];
    while let Some(next) = tries.begin() {
        list.push((next.server.to_string(), next.tcp));
        tries.after(next, setback);
    }
    list
}

fn servers(list: &[(String, bool)]) -> Vec<&str> {
    list.iter().map(|(server, _)| server.as_str()).collect()
}

#[test]
fn each_has_its_turn() {
    let two = upstreams(&["192.0.2.1:53", "192.0.2.2:53"]);
    let (one, other) = ("192.0.2.1:53", "192.0.2.2:53");
    assert_eq!(servers(&tried(&two, NOW, AttemptError::Failed)), [one, other, one, other]);
    assert_eq!(tried(&Upstreams::default(), NOW, AttemptError::Failed), []);
    assert_eq!(tried(&upstreams(&[one]), NOW, AttemptError::Failed).len(), TRIES);
}

#[test]
fn who_has_failed_is_asked_last_for_a_while() {
    let (one, other) = ("192.0.2.1:53", "192.0.2.2:53");
    let mut two = upstreams(&[one, other]);
    two.record_failure(NOW, one.parse().unwrap());
    assert_eq!(servers(&tried(&two, NOW, AttemptError::Failed))[..2], [other, one]);
    assert_eq!(servers(&tried(&two, NOW + LAST_FOR, AttemptError::Failed))[..2], [one, other]);
    two.record_failure(NOW, one.parse().unwrap());
    two.record_success(one.parse().unwrap(), QueryForm::default());
    assert_eq!(servers(&tried(&two, NOW, AttemptError::Failed))[..2], [one, other]);
    // The state of an upstream is kept when it is set again.
    two.record_failure(NOW, one.parse().unwrap());
    two.set(&addresses(&[one, other]), rule(&inside()));
    assert_eq!(servers(&tried(&two, NOW, AttemptError::Failed))[..2], [other, one]);
}

#[test]
fn a_server_is_asked_in_the_way_that_it_takes() {
    let one = "192.0.2.1:53";
    let mut upstreams = upstreams(&[one, "192.0.2.2:53"]);
    let mut tries = upstreams.attempts(NOW);
    let first = tries.begin().unwrap();
    assert!(!tries.after(first, AttemptError::OtherCase));
    let second = tries.begin().unwrap();
    assert_eq!((second.server, second.form.mixed_case), (first.server, false));
    assert!(!tries.after(second, AttemptError::NoEdns));
    let third = tries.begin().unwrap();
    assert_eq!(
        (third.server, third.form),
        (first.server, QueryForm { mixed_case: false, edns: false })
    );
    assert!(!tries.after(third, AttemptError::Truncated));
    let fourth = tries.begin().unwrap();
    assert_eq!((fourth.server, fourth.tcp), (first.server, true));
    assert!(tries.after(fourth, AttemptError::Truncated));
    assert_eq!(tries.begin(), None);
    // The supported form is remembered.
    upstreams.record_success(one.parse().unwrap(), third.form);
    assert_eq!(upstreams.attempts(NOW).begin().unwrap().form, third.form);
    // Each form is tried once.
    assert!(upstreams.attempts(NOW).after(third, AttemptError::OtherCase));
    assert!(upstreams.attempts(NOW).after(third, AttemptError::NoEdns));
}

#[test]
fn the_node_does_not_ask_itself() {
    let inside = inside();
    let rule = rule(&inside);
    let of = |text: &str| rule.check(text.parse().unwrap());
    for good in ["192.0.2.1:53", "192.168.1.1:53", "[2001:db8::1]:53", "[fe80::1]:53"] {
        assert_eq!(of(good), Ok(()), "{good}");
    }
    for own in
        ["127.0.0.1:53", "127.0.0.53:53", "[::1]:5353", "192.0.2.7:53", "[::ffff:127.0.0.1]:9"]
    {
        assert!(matches!(of(own), Err(RefusedUpstream::Itself(_))), "{own}");
    }
    assert!(matches!(of("10.20.4.2:53"), Err(RefusedUpstream::Inside(_))));
    for nobody in ["0.0.0.0:53", "[::]:53", "224.0.0.251:5353", "255.255.255.255:53", "192.0.2.1:0"]
    {
        assert!(matches!(of(nobody), Err(RefusedUpstream::NoServer(_))), "{nobody}");
    }
    // On a board the router is the only upstream; the board itself is still refused.
    let of_a_board = UpstreamRule { allow_inside: true, ..rule };
    assert_eq!(of_a_board.check("10.20.4.1:53".parse().unwrap()), Ok(()));
    assert_eq!(of_a_board.check("[fe80::1]:53".parse().unwrap()), Ok(()));
    assert!(of_a_board.check("10.20.3.1:53".parse().unwrap()).is_err());
    // An outside server would receive names of the box.
    let outside = of_a_board.check("192.0.2.1:53".parse().unwrap());
    assert!(matches!(outside, Err(RefusedUpstream::Outside(_))));
    let with_another = UpstreamRule { allow_loopback: true, ..rule };
    assert_eq!(with_another.check("127.0.0.1:5353".parse().unwrap()), Ok(()));
    assert!(with_another.check("127.0.0.1:53".parse().unwrap()).is_err());
    assert!(with_another.check("10.20.3.1:53".parse().unwrap()).is_err());
}

#[test]
fn there_is_room_for_so_many() {
    let list: Vec<SocketAddr> = (1..=10).map(|it| ([192, 0, 2, it + 10], 53).into()).collect();
    let mut upstreams = Upstreams::default();
    let refused = upstreams.set(&[&list[..], &list[..]].concat(), rule(&inside()));
    assert_eq!(upstreams.addresses().collect::<Vec<_>>(), list[..MAX_UPSTREAMS]);
    assert_eq!(refused.len(), 4);
    assert_eq!(refused[0], RefusedUpstream::TooMany(list[8]));
}
