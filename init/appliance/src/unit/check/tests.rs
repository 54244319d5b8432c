use proptest::prelude::*;

use super::super::Unit;

const DAEMON: &str = "name = \"hello\"\nexec = \"/usr/lib/octet/hello\"\nuser = \"extra-1\"\n";

/// The error for `lines` in a unit file, and its line.
fn wrong(lines: &str) -> (usize, String) {
    let error = Unit::parse("unit.toml", &format!("{DAEMON}{lines}\n")).unwrap_err();
    assert!(!error.hint.is_empty() && error.column > 0, "{error}");
    (error.line - 3, format!("{}; {}", error.message, error.hint))
}

fn good(lines: &str) {
    let unit = Unit::parse("unit.toml", &format!("{DAEMON}{lines}\n"));
    assert!(unit.is_ok(), "{lines}: {}", unit.unwrap_err());
}

#[test]
fn both_ends_of_a_range_are_good_and_what_is_beyond_is_placed() {
    for (key, least, most, below, above) in [
        ("limits.cpu_weight", "1", "10000", "0", "10001"),
        ("limits.cpu_max", "1", "10000", "0", "10001"),
        ("limits.pids_max", "1", "65536", "0", "65537"),
        ("limits.nofile", "16", "1048576", "15", "1048577"),
        ("limits.memory_max", "\"256K\"", "\"1024G\"", "\"255K\"", "\"1025G\""),
        ("limits.memory_high", "\"256K\"", "\"1024G\"", "\"1\"", "\"2000G\""),
        ("limits.io_max.read", "\"4K\"", "\"1024G\"", "\"3K\"", "\"2000G\""),
        ("limits.io_max.write", "\"4K\"", "\"1024G\"", "\"3K\"", "\"2000G\""),
        ("log.rate", "\"1K\"", "\"1M\"", "\"1\"", "\"2G\""),
        ("log.burst", "\"256K\"", "\"1G\"", "\"255K\"", "\"2G\""),
        ("watchdog", "\"1s\"", "\"1h\"", "\"999ms\"", "\"2h\""),
        ("start.timeout", "\"1ms\"", "\"24h\"", "\"0s\"", "\"25h\""),
        ("stop.timeout", "\"0s\"", "\"1h\"", "\"-1s\"", "\"2h\""),
        ("restart.budget", "0", "10000", "-1", "10001"),
        ("restart.window", "\"1s\"", "\"24h\"", "\"1ms\"", "\"25h\""),
        ("restart.delay", "\"0s\"", "\"10s\"", "\"x\"", "\"11s\""),
        ("restart.max_delay", "\"100ms\"", "\"1h\"", "\"99ms\"", "\"2h\""),
    ] {
        good(&format!("{key} = {least}"));
        good(&format!("{key} = {most}"));
        for bad in [below, above] {
            let (line, said) = wrong(&format!("base = true\n{key} = {bad}"));
            assert_eq!(line, 2, "{key} = {bad}: {said}");
        }
    }
}

#[test]
fn a_mistake_says_what_would_be_right() {
    let (_, said) = wrong("limits.cpu_weight = 0");
    assert_eq!(said, "`limits.cpu_weight` is 0; give it 1 to 10000");
    let (_, said) = wrong("watchdog = \"5ms\"");
    assert_eq!(said, "`watchdog` is 5ms; give it 1s to 1h");
    let (_, said) = wrong("[sandbox]\nsystem_calls = [\"service\", \"clok\"]");
    assert!(said.contains("did you mean `clock`"), "{said}");
    let (_, said) = wrong("[sandbox]\ncapabilities = [\"SYS_TIM\"]");
    assert!(said.contains("did you mean `SYS_TIME`"), "{said}");
}

#[test]
fn sockets_have_one_address_that_is_the_units_own() {
    let own = "[sockets.a]\npath = \"/run/octet/hello.sock\"\nopen = true\n\
               [sockets.b]\npath = \"/run/octet/hello.control.sock\"\n[sockets.c]\nport = \"web\"\n\
               [ports]\nweb = \"tcp/80\"\nname = \"udp/80\"\n";
    good(own);
    good(&format!("readiness = \"socket\"\n{own}"));
    for path in [
        "/run/hello.sock",
        "/run/octet/x/hello.sock",
        "/run/octet/init.sock",
        "/run/octet/notify",
        "/run/octet/hello",
        "/run/octet/hello.json",
        "/run/octet/hello-2.sock",
        "/run/octet/hello..sock",
        "/run/octet/hello.A.sock",
    ] {
        let (line, said) = wrong(&format!("[sockets.a]\npath = \"{path}\""));
        assert!(line == 2 && said.contains("/run/octet/hello.sock"), "{path}: {said}");
    }
    for (line, lines) in [
        (1, "[sockets.a]"),
        (1, "[sockets.a]\npath = \"/run/octet/hello.sock\"\nport = \"p\"\n[ports]\np = \"tcp/1\""),
        (2, "[sockets.a]\nport = \"web\""),
        (3, "[sockets.a]\nport = \"p\"\nopen = true\n[ports]\np = \"tcp/1\""),
        (4, "[sockets.a]\nport = \"p\"\n[sockets.b]\nport = \"p\"\n[ports]\np = \"tcp/1\""),
        (3, "[ports]\np = \"tcp/1\"\nq = \"tcp/1\""),
        (2, "[ports]\np = \"tcp/0\""),
        (1, "readiness = \"socket\""),
        (3, "[sockets.a]\npath = \"/run/octet/hello.sock\"\nipv4_only = true"),
        (1, "[sockets.a]\nraw = \"icmpv6\"\nport = \"p\"\n[ports]\np = \"udp/1\""),
        (2, "[sockets.a]\nraw = \"tcp\""),
    ] {
        let (at, said) = wrong(lines);
        assert_eq!(at, line, "{lines}: {said}");
    }
    good("[sockets.a]\nraw = \"icmpv6\"\n");
    good("[sockets.a]\nport = \"p\"\nipv4_only = true\n[ports]\np = \"udp/1\"\n");
}

#[test]
fn what_does_not_go_together_is_placed() {
    good("[talks]\ninit = [\"status\", \"watch\"]");
    good("[reaches]\nweb = [\"http\"]\n[sandbox]\nnetwork = \"host\"");
    good("sandbox.system_calls = [\"all\"]");
    good("env.PATH = \"/bin\"");
    good("reload = \"HUP\"");
    for (line, lines) in [
        (3, "[limits]\nmemory_max = \"1M\"\nmemory_high = \"2M\""),
        (2, "[limits]\nio_max = {}"),
        (3, "[log]\nrate = \"2M\"\nburst = \"1M\""),
        (2, "readiness = \"exec\"\nwatchdog = \"5s\""),
        (2, "type = \"one-shot\"\nreload = \"HUP\""),
        (2, "type = \"one-shot\"\nwatchdog = \"5s\""),
        (1, "optional = [\"door\"]"),
        (2, "[talks]\ninit = []"),
        (2, "[talks]\ninit = [\"\"]"),
        (2, "[talks]\ninit = [\"a\", \"a\"]"),
        (2, "[reaches]\nweb = [\"http\"]"),
        (2, "[reaches]\nweb = []\n[sandbox]\nnetwork = \"host\""),
        (2, "[reaches]\nweb = [\"a\", \"a\"]\n[sandbox]\nnetwork = \"host\""),
        (2, "[sandbox]\nsystem_calls = []"),
        (2, "[sandbox]\nsystem_calls = [\"mount\"]"),
        (2, "[sandbox]\nsystem_calls = [\"all\", \"service\"]"),
        (2, "[sandbox]\nsystem_calls = [\"service\", \"service\"]"),
        (2, "[sandbox]\ncapabilities = [\"KILL\", \"KILL\"]"),
        (2, "[sandbox]\nread = [\"../x\"]"),
        (1, "description = \"a\\u001b[2J\""),
        (1, "args = [\"a\\u0000\"]"),
        (2, "[env]\n\"a=b\" = \"\""),
        (2, "[env]\nLISTEN_FDS = \"1\""),
        (1, "filters = []"),
    ] {
        let (at, said) = wrong(lines);
        assert_eq!(at, line, "{lines}: {said}");
    }
}

#[test]
fn a_target_says_nothing_of_a_program() {
    let target = "name = \"all\"\ntype = \"target\"\nneeds = [\"a\"]\n";
    assert!(Unit::parse("unit.toml", target).is_ok());
    for line in [
        "exec = \"/bin/x\"",
        "args = []",
        "user = \"extra-1\"",
        "readiness = \"exit\"",
        "watchdog = \"5s\"",
        "state = true",
        "[limits]",
        "[sandbox]",
        "[sockets]",
        "[talks]",
        "[reaches]",
    ] {
        let error = Unit::parse("unit.toml", &format!("{target}{line}\n")).unwrap_err();
        assert_eq!(error.line, 4, "{line}: {error}");
    }
    assert!(Unit::parse("unit.toml", "name = \"init\"\ntype = \"target\"\n").is_err());
}

/// Every table of the language, for the tests that put garbage into it.
const FULL: &str = "name = \"a\"\nexec = \"/a\"\nuser = \"extra-1\"\nwatchdog = \"5s\"\n\
    reload = \"HUP\"\nenv.A = \"b\"\n[start]\ntimeout = \"1s\"\n[restart]\nbudget = 1\n[log]\n\
    rate = \"1K\"\n[limits]\nmemory_max = \"1M\"\nio_max = { read = \"1M\" }\ncpu_max = 50\n[ports]\n\
    p = \"tcp/80\"\n[sockets.s]\nport = \"p\"\n[talks]\ninit = [\"status\"]\n[reaches]\nweb = [\"http\"]\n[sandbox]\nnetwork = \"host\"\n\
    capabilities = [\"KILL\"]\nsystem_calls = [\"service\", \"clock\"]\nread = [\"/\"]\n";

proptest! {
    #[test]
    fn never_panics_near_the_truth(at in 0usize..FULL.len(), gone in 0usize..4, more in "\\PC{0,4}") {
        prop_assert!(Unit::parse("unit.toml", FULL).is_ok());
        let rest = FULL.get((at + gone).min(FULL.len())..).unwrap_or_default();
        let _ = Unit::parse("unit.toml", &format!("{}{more}{rest}", &FULL[..at]));
    }

    #[test]
    fn never_panics_with_any_number(key in prop::sample::select(vec![
        "limits.cpu_weight", "limits.cpu_max", "limits.pids_max", "limits.nofile", "restart.budget",
    ]), value: i64) {
        let _ = Unit::parse("unit.toml", &format!("{DAEMON}{key} = {value}\n"));
    }

    #[test]
    fn never_panics_with_any_amount(key in prop::sample::select(vec![
        "watchdog", "log.rate", "log.burst", "limits.memory_max", "limits.io_max.read", "ports.p",
        "stop.timeout", "sockets.s.path", "sandbox.network", "exec",
    ]), value in "[0-9a-zA-Z/]{0,24}") {
        let _ = Unit::parse("unit.toml", &format!("{DAEMON}{key} = \"{value}\"\n"));
    }
}

#[test]
fn who_reads_settings_can_be_told_of_them() {
    let socket = "[sockets.control]\npath = \"/run/octet/hello.sock\"\n";
    let one = "config = [\"operator\"]\n";
    good(&format!("{one}{socket}open = true"));
    good(&format!("{one}type = \"one-shot\""));
    for bad in [
        one.to_owned(),
        format!("{one}{socket}"),
        format!("{one}{}", socket.replace("lo.", "lo.b.")),
    ] {
        let (line, said) = wrong(&bad);
        assert!(line == 1 && said.contains("/run/octet/hello.sock"), "{bad}: {said}");
    }
    let (_, said) = wrong("config = [\"operator\", \"operator\"]");
    assert!(said.contains("twice"), "{said}");
    for (bad, wanted) in [("operators", "did you mean `operator`"), ("image", "unknown variant")] {
        let (line, said) = wrong(&format!("config = [{bad:?}]"));
        assert!(line == 1 && said.contains(wanted), "{said}");
    }
}
