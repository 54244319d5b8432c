//! The owner's access as documented: `octetctl` on another computer, through the gate, to a box
//! with the released image and the test's operators. Each refusal is preceded by a permitted call,
//! and is in the gate's log.

mod change;
mod door;
mod flood;
mod signed;
mod site;
mod through;

use octet_tests::{DiskFile, shipped, soak};

use crate::net::owner::flood::Slow;
use crate::net::owner::site::{People, Site};

/// The size of the medium, in MiB.
const MEDIUM: u64 = 320;

#[test]
fn the_owner_comes_in_and_others_do_not() {
    let people = People::new();
    let image = people.image();
    let disk = DiskFile::flashed(&shipped(), MEDIUM);
    let site = Site::boot(&image, &disk, &people);
    let gate = site.gate();
    door::at_first(&site);
    change::by_the_owner(&site);
    through::past_pid_1(&site);
    door::who_may_not(&site);
    door::without_a_key(&site);
    let spent = signed::at_most_once(&site);
    // In process: `services/gate/tests/daemon` (`floods.rs`, `signed.rs`) and
    // `services/config/tests/daemon`.
    if !soak() {
        return;
    }
    // It runs until the gate's timeout, together with the following.
    let slow = Slow::start(&site);
    change::by_who_configures(&site);
    change::back(&site);
    flood::of_one_address(&site);
    flood::of_many(&site, slow);
    // After everything it is the same gate process, and the box is ready.
    assert_eq!(site.gate(), gate);

    let node = site.cut();
    let site = Site::boot(&image, &disk, &people);
    assert_eq!(site.node, node);
    change::is_kept(&site);
    signed::after_a_cut(&site, &spent);
}
