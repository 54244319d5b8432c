//! The settings that the core takes from a unit file.

use octet_appliance::UnitSource;

use super::*;

#[test]
fn a_unit_file_becomes_settings() {
    let texts = [
        "name = \"a\"\ntype = \"target\"\n",
        "name = \"b\"\ntype = \"target\"\n",
        "name = \"c\"\nexec = \"/c\"\nuser = \"extra-1\"\nbase = true\nwatchdog = \"7s\"\n\
         needs = [\"b\", \"unknown\"]\nafter = [\"a\"]\nreadiness = \"notify\"\n\
         start.timeout = \"1s\"\nstop.timeout = \"2s\"\n\
         restart = { policy = \"never\", delay = \"3s\", max_delay = \"4s\", budget = 5, window = \"6s\" }\n",
    ];
    let parse =
        |text: &str| UnitSource::parse("unit.toml".into(), text.into()).expect("it is right");
    let units: Vec<_> = texts.map(parse).into_iter().map(|source| source.unit).collect();
    let settings = Settings::from_units(units.iter());
    assert_eq!(settings.len(), 3);
    let expected = Settings {
        after: vec![UnitId(0)],
        readiness: Readiness::Notify,
        start_timeout: ms(1_000),
        policy: RestartPolicy::Never,
        delay: ms(3_000),
        max_delay: ms(4_000),
        budget: 5,
        window: ms(6_000),
        stop_timeout: ms(2_000),
        watchdog: Some(ms(7_000)),
        ..super::settings("c", &[1])
    };
    assert_eq!(format!("{:?}", settings[2]), format!("{expected:?}"));
}
