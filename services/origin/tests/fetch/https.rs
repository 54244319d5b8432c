//! HTTPS: the certificate is of the upstream's name, and from an authority of the settings.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::thread;

use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, Stream};

use crate::host::{ALLOW, unit_with};

const CERTIFICATE: &[u8] = include_bytes!("../testdata/cert.pem");
const KEY: &[u8] = include_bytes!("../testdata/key.pem");
const CA: &str = include_str!("../testdata/ca.pem");
const OTHER_CA: &str = include_str!("../testdata/other-ca.pem");

/// A web server by TLS. It answers with the name that the client has sent.
fn https() -> u16 {
    let certificate = CertificateDer::from_pem_slice(CERTIFICATE).unwrap();
    let key = PrivateKeyDer::from_pem_slice(KEY).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, config) = (stream.unwrap(), Arc::clone(&config));
            let mut connection = ServerConnection::new(config).unwrap();
            let mut tls = Stream::new(&mut connection, &mut stream);
            let (mut head, mut byte) = (vec![], [0]);
            while !head.ends_with(b"\r\n\r\n") && tls.read(&mut byte).unwrap_or(0) == 1 {
                head.push(byte[0]);
            }
            let name = tls.conn.server_name().unwrap_or("none").to_owned();
            let length = name.len();
            let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{name}");
            let _ = tls.write_all(answer.as_bytes());
            tls.conn.send_close_notify();
            let _ = tls.flush();
        }
    });
    port
}

#[test]
fn the_certificate_has_to_be_right() {
    let own = rustix::process::geteuid().as_raw();
    let port = https();
    let get = |host: &str, ca: Option<&str>, is_time_set| {
        let ca = ca.map_or(String::new(), |ca| format!("ca = '''\n{ca}'''\n"));
        let url = format!("https://{host}:{port}");
        unit_with(&url, &format!("{ALLOW}{ca}"), is_time_set, own).get("/", "")
    };
    let right = get("localhost", Some(CA), true);
    assert_eq!((right.code(), &right.body[..]), (200, &b"localhost"[..]), "{right:?}");
    for (host, ca, is_time_set) in [
        // Another name, another authority, Mozilla's, and no time.
        ("127.0.0.1", Some(CA), true),
        ("localhost", Some(OTHER_CA), true),
        ("localhost", None, true),
        ("localhost", Some(CA), false),
    ] {
        let wrong = get(host, ca, is_time_set);
        assert_eq!(
            (wrong.code(), wrong.error()),
            (502, "tls_certificate_error"),
            "{host} {wrong:?}"
        );
    }
}
