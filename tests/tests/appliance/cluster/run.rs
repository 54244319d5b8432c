//! `cargo image run --cluster`: the box as a person sees it.

use std::process::{Command, Stdio};

use octet_machine::Cluster;
use octet_tests::{Image, builder, guest, must, run};

/// Services of the owner's: one for two boards, and one for one of these.
const BOARDS: &str = r#"
[[board]]
number = 2
services = ["store"]

[[board]]
number = 3
services = ["store", "fetcher"]
"#;

#[test]
fn one_command_makes_of_blank_machines_one_box() {
    let own = ["store", "fetcher"].map(|name| (name, guest("hello")));
    let image = Image::with_services_and(&own, BOARDS);
    let out = image.folder.parent().unwrap();
    let appliance = out.with_file_name("appliance.toml");
    let cluster = |boards: &str| {
        let mut command = Command::new(builder());
        command.arg("run").arg("--appliance").arg(&appliance).arg("--out").arg(out);
        command.args(["--cluster", boards]).stdin(Stdio::null());
        command
    };
    // Nobody else's machines beside it.
    let _alone = Cluster::new(4, true).unwrap();
    let said = must(&mut cluster("3")).stdout;
    println!("{said}");
    let row = |node: &str| {
        let mut rows = said.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        rows.find(|row| row.first() == Some(&node)).unwrap()
    };
    let sequence = row("router")[2];
    assert_eq!(row("router")[1], "holder");
    for (number, services) in [(1, ""), (2, "store"), (3, "fetcher, store")] {
        let (name, address) = (format!("board-{number}"), format!("10.20.{number}.2"));
        let row = row(&name);
        assert_eq!(row[1..4], ["enrolled", sequence, &address]);
        // Behind when it was ready, in seconds, and the number of its units.
        assert_eq!(row[7..].join(" "), services);
    }
    assert!(said.contains("4 machines are one box") && said.ends_with("powered off\n"), "{said}");
    // More than the file says are refused.
    let error = run(&mut cluster("16"));
    assert_eq!(error.status, Some(1));
    assert!(
        error.stderr.contains("boards") && error.stderr.contains("[cluster]"),
        "{}",
        error.stderr
    );
}
