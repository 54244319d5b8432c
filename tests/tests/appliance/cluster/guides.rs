//! The guides: all of their commands are run in order, on one box.

use octet_machine::Cluster;
use octet_tests::doc_test::{GUIDES, Page, Person};

/// The heading of README.md whose command starts the box: with disks, and with an operator who owns
/// it.
const STARTED: &str = "By its gate, with a key of yours";

#[test]
#[ignore = "long: a boot of a box and one of its router, and images that are compiled anew to be signed"]
fn every_command_prints_what_is_said() {
    // No other test may run machines meanwhile.
    let _alone = Cluster::new(4, true).unwrap();
    let [boxes @ .., updates] = GUIDES.map(|path| Page::read(path).unwrap());
    let readme = Page::read("README.md").unwrap();
    let mut person = Person::with_clone();
    // The box needs the key of updates from its first boot on.
    let (new_key, others) = updates.commands.split_first().unwrap();
    person.types(&updates, std::slice::from_ref(new_key));
    person.does(r#"printf '\n[trust]\nupdate_keys = ["{UPDATE}"]\n' >> appliance.toml"#);
    person.types(&readme, readme.below(STARTED));
    // This is how bash requests completions of the last word.
    person.does(
        r#"cargo image lan -- env "COMP_LINE=octetctl --box 10.20.250.1 cache l" octetctl | grep -x ls"#,
    );
    for page in &boxes {
        person.types(page, &page.commands);
    }
    person.types(&updates, others);
    person.stops("the box");
}
