//! Which addresses are reached. The table is written from IANA's registries, and not from the code.

use std::net::IpAddr;

use octet_origin::address::is_global;

use crate::host::{ALLOW, unit, upstream};

/// First and last addresses of blocks that are not globally reachable, and neighbours of theirs that are.
const NOT_GLOBAL: &[&str] = &[
    "0.0.0.0",
    "0.255.255.255",
    "10.0.0.0",
    "10.255.255.255",
    "100.64.0.0",
    "100.127.255.255",
    "127.0.0.1",
    "127.255.255.255",
    "169.254.0.0",
    "169.254.169.254",
    "169.254.255.255",
    "172.16.0.0",
    "172.31.255.255",
    "192.0.0.0",
    "192.0.0.8",
    "192.0.0.170",
    "192.0.0.255",
    "192.0.2.0",
    "192.0.2.255",
    "192.88.99.1",
    "192.168.0.0",
    "192.168.255.255",
    "198.18.0.0",
    "198.19.255.255",
    "198.51.100.7",
    "203.0.113.255",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::7f00:1",
    "100::1",
    "100:0:0:1::1",
    "64:ff9b:1::1",
    "2001:1::",
    "2001:1::4",
    "2001:2::1",
    "2001:5::",
    "2001:10::1",
    "2001:1f:ffff::",
    "2001:db8::1",
    "2001:db8:ffff::",
    "2001:1ff:ffff::1",
    "3fff::1",
    "3fff:fff::1",
    "5f00::1",
    "fc00::1",
    "fdff::1",
    "fe80::1",
    "febf::1",
    "fec0::1",
    "ff02::1",
    "4000::1",
    "8000::1",
    // IPv4 inside.
    "::ffff:10.0.0.1",
    "::ffff:127.0.0.1",
    "64:ff9b::a00:1",
    "64:ff9b::7f00:1",
    "2002:a00:1::1",
    "2002:7f00:1::",
    "2002:c0a8:101::1",
    "2001:0:a00:1::f7ff:fffe",
    "2001:0:808:808::f5ff:fffe",
    "2001:0:808:808::80ff:fffe",
];

const GLOBAL: &[&str] = &[
    "1.0.0.0",
    "9.255.255.255",
    "11.0.0.0",
    "100.63.255.255",
    "100.128.0.0",
    "126.255.255.255",
    "128.0.0.0",
    "169.253.255.255",
    "169.255.0.0",
    "172.15.255.255",
    "172.32.0.0",
    "192.0.0.9",
    "192.0.0.10",
    "192.0.1.0",
    "192.0.3.0",
    "192.31.196.1",
    "192.52.193.1",
    "192.88.98.255",
    "192.88.100.0",
    "192.167.255.255",
    "192.169.0.0",
    "192.175.48.6",
    "198.17.255.255",
    "198.20.0.0",
    "198.51.99.255",
    "198.51.101.0",
    "203.0.112.255",
    "203.0.114.0",
    "223.255.255.255",
    "8.8.8.8",
    "2000::1",
    "2001:1::1",
    "2001:1::2",
    "2001:1::3",
    "2001:3::1",
    "2001:4:112::1",
    "2001:20::1",
    "2001:2f:ffff::1",
    "2001:30::1",
    "2001:3f:ffff::1",
    "2001:200::1",
    "2001:db7:ffff::1",
    "2001:db9::1",
    "2606:4700::1",
    "2620:4f:8000::1",
    "3ffe:ffff::1",
    "3fff:1000::1",
    "::ffff:8.8.8.8",
    "64:ff9b::808:808",
    "2002:808:808::1",
    "2001:0:808:808::f7f7:f7f7",
];

#[test]
fn as_iana_has_it() {
    for (addresses, expected) in [(NOT_GLOBAL, false), (GLOBAL, true)] {
        for text in addresses {
            let address: IpAddr = text.parse().unwrap();
            assert_eq!(is_global(address), expected, "{text}");
        }
    }
}

#[test]
fn only_what_is_allowed_is_connected_to() {
    let web = upstream("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi");
    let port = web.address.port();
    for host in ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]"] {
        let url = format!("http://{host}:{port}");
        let allowed = unit(&url, ALLOW).get("/", "");
        assert_eq!((allowed.code(), &allowed.body[..]), (200, &b"hi"[..]), "{host}: {allowed:?}");
        assert!(web.heads.try_recv().is_ok());
        let refused = unit(&url, "").get("/", "");
        assert_eq!((refused.code(), refused.error()), (502, "destination_ip_prohibited"), "{host}");
        // `allow` is for one network alone.
        let other = unit(&url, "allow = [\"127.0.0.0/32\"]\n").get("/", "");
        assert_eq!(other.error(), "destination_ip_prohibited", "{host}");
        assert!(web.heads.try_recv().is_err(), "{host}");
    }
}
