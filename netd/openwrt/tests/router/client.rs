//! The errors for a router that does not answer as expected.

use crate::site::{Site, router};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::rc::Rc;
use std::thread;

use octet_appliance::Fingerprint;
use octet_openwrt::adopt;
use octet_openwrt::https::{Https, HttpsError};
use octet_openwrt::state::RouterState;
use octet_openwrt::ubus::{Login, Ubus, UbusCall, UbusError};
use octet_openwrt_double::http::Request;
use octet_openwrt_double::{Fault, Server};
use serde_json::json;

fn board() -> [UbusCall; 1] {
    [UbusCall { object: "system", method: "board", args: json!({}) }]
}

#[test]
fn only_the_router_that_is_meant() {
    let site = Site::start(router());
    assert_eq!(site.ubus().read(&board()).unwrap()[0]["hostname"], "OpenWrt");
    let address = site.0.address().to_string();
    let login = site.login();
    let ubus = |wanted| {
        let https = Https::new(&address, Some(wanted)).unwrap();
        Ubus::new(https, login.clone(), Box::new(|_| ()))
    };
    let found = Fingerprint::new(site.0.fingerprint());
    assert!(ubus(found).read(&board()).is_ok());
    site.0.count(None);
    let wanted = Fingerprint::new([7; 32]);
    let error = ubus(wanted).read(&board()).unwrap_err();
    let UbusError::Https(HttpsError::OtherCertificate { expected: said, found: seen, .. }) = &error
    else {
        panic!("{error}");
    };
    assert_eq!((*said, *seen), (wanted, found));
    // No request and so no password was sent.
    assert_eq!(site.0.requests().len(), 0);
    let seen = adopt::look(&address).unwrap();
    assert_eq!((seen.fingerprint, seen.lacks), (found, vec![]));
    drop(site);
    let error = ubus(found).read(&board()).unwrap_err();
    assert!(matches!(error, UbusError::Https(HttpsError::Unreachable(..))), "{error}");
}

/// The port of plain HTTP, with `uhttpd`, waits for the rest of an invalid request, or rejects it:
/// both end at once.
#[test]
fn a_port_that_speaks_no_tls() {
    let answer = "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n";
    for (answer, said) in [("", "does not answer"), (answer, "answers a handshake with something")]
    {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut hello = [0; 4096];
            assert_ne!(stream.read(&mut hello).unwrap(), 0);
            stream.write_all(answer.as_bytes()).unwrap();
            // Until the client disconnects; there is no further one.
            let _ = stream.read(&mut hello);
            listener.set_nonblocking(true).unwrap();
            listener.accept().map(drop)
        });
        let https = Https::new(&address, Some(Fingerprint::new([7; 32]))).unwrap();
        let login = Login { name: "octet".into(), password: "secret".into() };
        let error = Ubus::new(https, login, Box::new(|_| ())).read(&board()).unwrap_err();
        let said = format!("{address} does not speak TLS: it {said}");
        assert!(error.to_string().starts_with(&said), "{error}");
        assert!(error.help().contains("port of HTTPS"), "{}", error.help());
        server.join().unwrap().unwrap_err();
    }
}

/// Older releases have a library without TLS 1.3.
#[test]
fn a_router_that_speaks_tls_1_2_alone() {
    let site = Site(Rc::new(Server::start_old(router()).unwrap()));
    assert_eq!(site.ubus().read(&board()).unwrap()[0]["hostname"], "OpenWrt");
    let https = Https::new(&site.0.address().to_string(), Some(Fingerprint::new([7; 32])));
    let error = Ubus::new(https.unwrap(), site.login(), Box::new(|_| ())).read(&board());
    let error = error.unwrap_err();
    assert!(matches!(error, UbusError::Https(HttpsError::OtherCertificate { .. })), "{error}");
}

#[test]
fn what_a_login_may_not_do_is_told_from_one_that_has_ended() {
    let site = Site::start(router());
    let error = site
        .ubus_as(Login { name: "adapter".into(), password: "other".into() })
        .read(&board())
        .unwrap_err();
    assert!(matches!(&error, UbusError::Login(name) if name == "adapter"), "{error}");

    // An ended session is renewed, once.
    let mut ubus = site.ubus();
    ubus.read(&board()).unwrap();
    for fault in [Fault::Expired, Fault::RpcdKilled] {
        site.0.count(Some((0, fault)));
        ubus.read(&board()).unwrap();
        let calls: Vec<_> = site.0.requests().iter().flat_map(Request::calls).collect();
        assert_eq!(calls, ["system.board", "session.login", "system.board"]);
    }

    let reboot = UbusCall { object: "system", method: "reboot", args: json!({}) };
    let [get] = board();
    let error = ubus.read(&[get, reboot]).unwrap_err();
    assert!(matches!(&error, UbusError::Denied(what) if what == "system reboot"), "{error}");
    let error = ubus.read(&[UbusCall::uci("get", json!({ "config": "rpcd" }))]).unwrap_err();
    assert!(matches!(&error, UbusError::Refused(what) if what == "uci get rpcd"), "{error}");
    let error = ubus.read(&[UbusCall::uci("get", json!({ "config": 5 }))]).unwrap_err();
    assert!(matches!(error, UbusError::Invalid(_)), "{error}");
    let reload = UbusCall { object: "network", method: "nope", args: json!({}) };
    let mut root = site.ubus_as(Login { name: "root".into(), password: "rootpw".into() });
    assert!(matches!(root.read(&[reload]).unwrap_err(), UbusError::NotFound(_)));
    let call = UbusCall::uci("confirm", json!({}));
    assert!(matches!(ubus.ask(&[call]).unwrap().remove(0), Err(UbusError::NoData(_))));
}

/// A file that the owner has made unreadable, and rules too long for rpcd: each error says what to
/// do.
#[test]
fn what_the_router_itself_cannot_read() {
    let site = Site::start(router());
    let mut ubus = site.ubus();
    RouterState::read(&mut ubus).unwrap();
    site.0.with(|router| router.unparsed = Some("firewall"));
    let error = RouterState::read(&mut ubus).unwrap_err();
    let said = format!("{error}; {}", error.help());
    assert!(
        said.contains("`/etc/config/firewall`") && said.contains("uci show firewall"),
        "{said}"
    );
    site.0.with(|router| router.unparsed = None);

    let name_rules = |length: usize| {
        site.0.with(|router| {
            let set = |words: [&str; 3]| words.map(|it| json!(it)).to_vec();
            router.edit("firewall", |package| {
                package.follow(&set(["set", "long", "rule"]));
                let name = "x".repeat(length);
                package.follow(&[set(["set", "long", "name"]), vec![json!(name)]].concat());
            });
            router.restart();
        });
    };
    name_rules(200_000);
    RouterState::read(&mut ubus).unwrap();
    name_rules(300_000);
    let error = RouterState::read(&mut ubus).unwrap_err();
    let said = format!("{error}; {}", error.help());
    assert!(said.contains("256 KiB") && said.contains("policy"), "{said}");
}

/// Calls that only read are retried, and calls that change something are not.
#[test]
fn an_answer_that_is_lost() {
    let site = Site::start(router());
    let mut ubus = site.ubus();
    ubus.read(&board()).unwrap();
    for fault in [Fault::DropBefore, Fault::DropAfter, Fault::Reset, Fault::WrongAnswer] {
        site.0.count(Some((0, fault)));
        ubus.read(&board()).unwrap_or_else(|error| panic!("{fault:?}: {error}"));
        assert_eq!(site.0.requests().len(), 2, "{fault:?}");
        site.0.count(Some((0, fault)));
        let revert = json!({ "config": "network" });
        let error = ubus.ask(&[UbusCall::uci("revert", revert)]).unwrap_err();
        assert!(error.is_lost(), "{fault:?}: {error}");
        assert_eq!(site.0.requests().len(), 1, "{fault:?}");
    }
}

#[test]
fn what_is_too_long_for_one_request_is_sent_in_several() {
    let site = Site::start(router());
    let mut ubus = site.ubus_as(Login { name: "root".into(), password: "rootpw".into() });
    ubus.read(&board()).unwrap();
    site.0.count(None);
    let long = "x".repeat(9000);
    let set = json!({ "config": "network", "section": "lan", "values": { "x": long } });
    let calls = vec![UbusCall::uci("set", set); 20];
    assert!(ubus.ask(&calls).unwrap().iter().all(Result::is_ok));
    let lengths: Vec<_> = site.0.requests().iter().map(|it| it.body.len()).collect();
    assert!(lengths.len() == 4 && lengths.iter().all(|it| *it < 65536), "{lengths:?}");
}
