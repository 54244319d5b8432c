//! Quotas and counters of labels.

use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use nix::ifaddrs::getifaddrs;
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockType, SockaddrLike, bind, send, socket,
};
use octet_forward::kernel::meter::{self, Direction, GuardedDevice, MeterCounts, Quotas};

use crate::namespace::{is_inside, run};

/// The link: what it sends, it receives.
const DEVICE: &str = "lo";

/// The key of a label in nftables' sets: 100, with the bottom-of-stack bit.
const LABEL: &str = "0x64100";

/// A frame: Ethernet without addresses, the type of MPLS, label 100, and 1000 bytes.
fn frame() -> Vec<u8> {
    [&[0; 12][..], &[0x88, 0x47], &[0, 0x06, 0x41, 64], &[0; 1000]].concat()
}

/// Less than this is left of a limit that is used up: a frame does not fit.
const LEFT: u64 = 1018;

fn element(set: &str, more: &str) {
    run("nft", &format!("add element netdev octet_forward {set} {{ {DEVICE} . {LABEL}{more} }}"));
}

/// A socket that sends frames by [`DEVICE`].
fn card() -> OwnedFd {
    let card = socket(AddressFamily::Packet, SockType::Raw, SockFlag::empty(), None).unwrap();
    let all = getifaddrs().unwrap().filter(|it| it.interface_name == DEVICE);
    let addresses = all.filter_map(|it| it.address);
    let is_link =
        |it: &nix::sys::socket::SockaddrStorage| it.family() == Some(AddressFamily::Packet);
    let address = addresses.into_iter().find(is_link).unwrap();
    bind(card.as_raw_fd(), address.as_link_addr().unwrap()).unwrap();
    card
}

/// Whether the frame goes out; a dropped one is an error.
fn say(card: &OwnedFd) -> bool {
    send(card.as_raw_fd(), &frame(), MsgFlags::empty()).is_ok()
}

fn served(counts: &MeterCounts) -> u64 {
    let of = |meter: &meter::Meter| meter.device == DEVICE && meter.direction != Direction::Above;
    counts.iter().filter(|(meter, _)| of(meter)).map(|(_, count)| count.bytes).sum()
}

/// Lets the bytes of both directions grow to `limit`, as the daemon does.
async fn limit(limit: u64) {
    let quotas = meter::quotas().unwrap();
    let remaining = limit.saturating_sub(served(&meter::counts().unwrap()));
    meter::set_quotas(&[(DEVICE.into(), remaining)], &quotas).await.unwrap();
}

async fn guard(has_quota: bool) {
    let devices = [GuardedDevice { name: DEVICE.into(), has_quota }];
    meter::guard(&devices, &meter::quotas().unwrap()).await.unwrap();
}

/// Limits grow while frames are sent without a pause; at no time has more passed than the limit. Without a quota
/// more passes.
#[tokio::test]
async fn nothing_passes_beyond_a_limit_that_grows() {
    if !is_inside("quota::nothing_passes_beyond_a_limit_that_grows") {
        return;
    }
    run("ip", "link set lo up");
    run("ip", "link add fin type veth peer name fout");
    meter::prepare().await.unwrap();
    assert_eq!((meter::quotas().unwrap(), meter::counts().unwrap()), Default::default());
    guard(true).await;
    for set in ["labels", "sent"] {
        element(set, " counter");
    }
    for set in ["charged_in", "charged_out"] {
        element(set, "");
    }
    let card = card();
    // A new quota counts, and has no limit.
    assert!(say(&card));
    let counts = meter::counts().unwrap();
    assert_eq!(counts.len(), 2, "{counts:?}");
    let once = served(&counts);
    assert_eq!(meter::quotas().unwrap()[DEVICE].used, once);
    assert!((2 * 1004..=2 * LEFT).contains(&once), "{once}");
    // Frames that no longer fit are dropped, and not counted.
    limit(once + 5000).await;
    (0..20).for_each(|_| {
        say(&card);
    });
    let passed = served(&meter::counts().unwrap());
    assert!((once + 5000 - LEFT..=once + 5000).contains(&passed), "{passed}");

    let is_over = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&is_over);
    let sender = thread::spawn(move || {
        while !seen.load(Ordering::Relaxed) {
            say(&card);
        }
        card
    });
    let mut random = fastrand::Rng::with_seed(63);
    let mut most = once + 5000;
    // Some limits are used up before the next one, and some are not.
    for round in 0..200 {
        let size = random.u32(10..27);
        most += random.u64(0..1 << size);
        limit(most).await;
        let now = served(&meter::counts().unwrap());
        assert!(now <= most, "round {round}: {now} of {most}");
    }
    is_over.store(true, Ordering::Relaxed);
    let card = sender.join().unwrap();
    limit(most).await;
    assert!((0..10_000_000).any(|_| !say(&card)));
    let all = served(&meter::counts().unwrap());
    assert!((most - LEFT..=most).contains(&all), "{all} of {most}");

    // The same link without a quota, and with another one.
    guard(false).await;
    assert_eq!(meter::quotas().unwrap(), Quotas::new());
    assert!(say(&card));
    assert_eq!(served(&meter::counts().unwrap()), all + once);
    guard(true).await;
    limit(all + once).await;
    say(&card);
    assert_eq!(served(&meter::counts().unwrap()), all + once);
}
