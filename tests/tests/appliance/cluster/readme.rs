//! README.md as a person walks it who has just cloned: every command in order, on one machine.

use octet_machine::Cluster;
use octet_tests::doc_test::{Page, Person};

#[test]
#[ignore = "long: five boots of a machine and two of a box, and an image that is compiled anew to be signed"]
fn every_command_prints_what_is_said() {
    // Nobody else's machines beside it.
    let _alone = Cluster::new(4, true).unwrap();
    let page = Page::read("README.md").unwrap();
    Person::with_clone().types(&page, &page.commands);
}
