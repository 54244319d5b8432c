//! Boxes of every size, and the whole of what their routers are told. Renewed by
//! `OCTET_WRITE_GOLDEN=1 cargo test -p octet-netd --test golden`, and then looked at.

#![cfg(test)]

use std::fs;
use std::path::Path;

use octet_appliance::{Appliance, Segments, Unit, UnitSource};
use octet_netd::on_board::OnBoard;
use octet_netd::plugged::Plugged;
use octet_netd::router::firewall;
use octet_netd::router::guard;
use octet_netd::router::plan::Plan;
use octet_netd::router::uci;

const LINES: &str = include_str!("testdata/lines.toml");

fn units() -> Vec<Unit> {
    let unit = |name: &str, ports: &str| {
        let text = format!(
            "name = \"{name}\"\nexec = \"/a\"\nuser = \"extra-1\"\nports = {ports}\nsandbox.network = \"host\"\n"
        );
        UnitSource::parse("unit.toml".into(), text).unwrap().unit
    };
    vec![unit("gate", "{ gate = \"tcp/4040\" }"), unit("cache", "{ gateway = \"tcp/8080\" }")]
}

fn is_as_looked_at(name: &str, text: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/testdata").join(name);
    if std::env::var_os("OCTET_WRITE_GOLDEN").is_some() {
        fs::write(&file, text).unwrap();
    }
    let golden = fs::read_to_string(&file).unwrap_or_default();
    let differs = golden.lines().zip(text.lines()).position(|(golden, now)| golden != now);
    assert!(
        golden == text,
        "{name} is not what it was, first at line {:?}",
        differs.map(|at| at + 1)
    );
}

#[test]
fn boxes_of_every_size() {
    for boards in [4, 8, 16, 32] {
        let text = LINES.replace("@boards", &boards.to_string());
        let appliance =
            Appliance::parse("lines.toml", &text).unwrap_or_else(|error| panic!("{error}"));
        let settings = appliance.cluster_settings().unwrap();
        let (segments, warnings) =
            Segments::of(&settings, &units(), ("lines.toml", &text)).unwrap();
        assert!(warnings.is_empty(), "{warnings:?}");
        let plan = Plan::new(&settings, &segments, &units());
        is_as_looked_at(&format!("{boards}.plan"), &(plan.lines_of_text().join("\n") + "\n"));
        is_as_looked_at(&format!("{boards}.uci"), &uci::text(&plan));
        is_as_looked_at(
            &format!("{boards}.guard.nft"),
            &guard::table(&plan, &Plugged::default(), false).whole([].into_iter()),
        );
        is_as_looked_at(
            &format!("{boards}.fw.nft"),
            &firewall::table(&plan, &OnBoard::of(&units()), true).whole([].into_iter()),
        );
    }
}
