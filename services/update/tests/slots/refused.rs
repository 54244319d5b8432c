//! Refused updates, which change nothing. Each would be accepted without its single defect.

use octet_appliance::Trust;
use octet_bundle::{BundleHead, Data};
use octet_update::plan::RunningSystem;

use crate::flash::Flash;
use crate::release::{Bytes, Key, Release, key, take, take_with, trust};

fn flashed() -> (Flash, Release) {
    let running = Release::number(5);
    let mut flash = Flash::new(2 << 20);
    running.flash(&mut flash, "");
    (flash, running)
}

/// Checks that `bundle` is refused with an error that contains `words`, and changes nothing.
fn refuses(bundle: Vec<u8>, this: u64, trust: &Trust, words: &str) {
    let (mut flash, running) = flashed();
    let (before, changes) = (flash.contents().clone(), flash.changes);
    let this = RunningSystem { running: running.name(), floor: this };
    let failure = take_with(&mut flash, this, &mut Bytes::new(bundle), trust).unwrap_err();
    assert!(failure.message.contains(words), "{words}: {failure}");
    assert!(!failure.help.is_empty());
    assert_eq!((flash.contents(), flash.changes), (&before, changes), "{words}");
}

#[test]
fn before_anything_is_written() {
    let good = Release::number(6);
    let (mut flash, running) = flashed();
    take(&mut flash, running.name(), &mut Bytes::new(good.signed(key()))).unwrap();

    let stranger = Key::new();
    refuses(good.signed(&stranger), 0, &trust(), "not signed by a key that this box trusts");
    let both = Trust { update_keys: vec![key().public(), stranger.public()], revoked: vec![] };
    let (mut flash, running) = flashed();
    let this = RunningSystem { running: running.name(), floor: 0 };
    take_with(&mut flash, this, &mut Bytes::new(good.signed(&stranger)), &both).unwrap();
    let revoked = Trust { revoked: vec![stranger.public()], ..both };
    refuses(good.signed(&stranger), 0, &revoked, "revoked");
    refuses(good.signed(key()), 0, &Trust::default(), "takes no updates");

    // Refused: a signature of another manifest, none, and garbage.
    let manifest = good.manifest.render();
    let with = |signature: Vec<u8>| {
        let head = BundleHead { signature, manifest: manifest.clone() };
        [head.render().unwrap(), good.linux.clone(), good.initrd.clone()].concat()
    };
    refuses(with(key().sign(b"something else")), 0, &trust(), "changed since");
    refuses(with(b"untrusted comment: x\n".to_vec()), 0, &trust(), "not one of minisign");
    let mut unsigned = with(vec![b'x']);
    unsigned[8..12].copy_from_slice(&[0; 4]);
    refuses(unsigned, 0, &trust(), "no signature");
    refuses(b"MZ".to_vec(), 0, &trust(), "not an update");
    refuses(vec![], 0, &trust(), "cut off");
}

#[test]
fn what_does_not_fit_this_box() {
    let change = |change: fn(&mut Release)| {
        let mut release = Release::number(6);
        change(&mut release);
        release.signed(key())
    };
    let (mut flash, running) = flashed();
    take(&mut flash, running.name(), &mut Bytes::new(change(|_| {}))).unwrap();

    let other = change(|it| it.manifest.target = "qemu-aarch64".parse().unwrap());
    refuses(other, 0, &trust(), "is for qemu-aarch64, and this box is qemu-x86_64");
    refuses(change(|it| it.manifest.sequence = 5), 0, &trust(), "runs 5 already");
    refuses(change(|it| it.manifest.sequence = 4), 0, &trust(), "runs 5 already");
    refuses(change(|_| {}), 7, &trust(), "nothing below 7");
    let data = |reads, writes| Data { reads, writes };
    assert!(data((1, 2), 1).can_follow(&data((1, 1), 1)));
    let newer = change(|it| it.manifest.data = Data { reads: (1, 2), writes: 2 });
    refuses(newer, 0, &trust(), "cannot read each other's data");
    let again = Release { manifest: Release::number(6).manifest, ..Release::number(5) };
    let mut same = Release::number(5);
    same.manifest.sequence = again.manifest.sequence;
    refuses(same.signed(key()), 0, &trust(), "on this box already");
    let mut floor = Release::number(6);
    floor.manifest.floor = 7;
    refuses(floor.signed(key()), 0, &trust(), "contradicts itself");
}

#[test]
fn without_room() {
    let running = Release::number(5);
    let update = Release::new(6, vec![1; 100_000], vec![2; 100_000]);
    for (size, fits) in [(600_000, true), (450_000, false)] {
        let mut flash = Flash::new(size);
        running.flash(&mut flash, "");
        let before = flash.contents().clone();
        let taken = take(&mut flash, running.name(), &mut Bytes::new(update.signed(key())));
        assert_eq!(taken.is_ok(), fits, "{size}: {taken:?}");
        if let Err(failure) = taken {
            assert!(failure.message.contains("462144 bytes"), "{failure}");
            assert_eq!(flash.contents(), &before);
        }
    }
}

/// The signature is checked before anything is written; the files are checked while they are
/// received.
#[test]
fn what_is_not_what_was_signed() {
    let good = Release::new(6, vec![3; 5000], vec![4; 5000]).signed(key());
    let (mut flash, running) = flashed();
    take(&mut flash, running.name(), &mut Bytes::new(good.clone())).unwrap();
    let paths = |flash: &Flash| flash.contents().paths().map(str::to_owned).collect::<Vec<_>>();
    for bit in (0..good.len()).step_by(97) {
        let (mut flash, running) = flashed();
        let before = paths(&flash);
        let mut bundle = Bytes::new(good.clone());
        bundle.bytes[bit] ^= 1 << (bit % 8);
        // The untrusted comment is not signed.
        if take(&mut flash, running.name(), &mut bundle).is_ok() {
            assert!(bit < 100, "bit {bit}");
            continue;
        }
        assert_eq!(paths(&flash), before, "bit {bit}");
    }
    for (cut, says_size) in (0..good.len()).step_by(101).flat_map(|cut| [(cut, true), (cut, false)])
    {
        let (mut flash, running) = flashed();
        let before = paths(&flash);
        let bytes = good[..cut].to_vec();
        let mut bundle = Bytes { says_size, ..Bytes::new(bytes) };
        assert!(take(&mut flash, running.name(), &mut bundle).is_err(), "{cut}");
        assert_eq!(paths(&flash), before, "cut at {cut}");
    }
}
