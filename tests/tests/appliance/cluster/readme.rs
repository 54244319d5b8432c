//! README.md, as a user with a new clone follows it: all of its commands in order, on one machine.

use octet_machine::Cluster;
use octet_tests::doc_test::{Page, Person};

#[test]
#[ignore = "long: five boots of a machine and two of a box, and an image that is compiled anew to be signed"]
fn every_command_prints_what_is_said() {
    // No other test may run machines meanwhile.
    let _alone = Cluster::new(4, true).unwrap();
    let page = Page::read("README.md").unwrap();
    Person::with_clone().types(&page, &page.commands);
}
