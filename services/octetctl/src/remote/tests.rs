use super::*;
use octet_control::{Reply, ReplyBody, encode};
use octet_node::certificate::{Certificate, KeyStatement};
use rustls::ServerConnection;
use std::net::TcpListener;
use std::thread;
use tempfile::TempDir;

/// A gate with `certificate`, which answers one request with the client's key.
fn gate(key: PrivateKey, certificate: Certificate) -> GateAddress {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string().parse().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let connection =
                ServerConnection::new(tls::server(&key, tls::AlpnProtocol::Control).unwrap())
                    .unwrap();
            // A client that rejects the certificate disconnects.
            let _ = converse(StreamOwned::new(connection, stream), &certificate);
        }
    });
    address
}

fn converse(
    mut stream: StreamOwned<ServerConnection, TcpStream>,
    certificate: &Certificate,
) -> io::Result<()> {
    let say = |stream: &mut StreamOwned<_, _>, json: Vec<u8>| {
        let mut frame = vec![];
        encode(&json, &mut frame).unwrap();
        stream.write_all(&frame)
    };
    say(&mut stream, serde_json::to_vec(&Hello::new(certificate.clone()))?)?;
    let mut buffer = [0; 4096];
    let count = stream.read(&mut buffer)?;
    let request: serde_json::Value = serde_json::from_slice(&buffer[HEADER..count])?;
    let seen = tls::peer_key(stream.conn.peer_certificates()).unwrap();
    let body = ReplyBody::End(seen.to_string().into());
    let reply = Reply { id: request["id"].as_u64().unwrap(), body };
    say(&mut stream, serde_json::to_vec(&reply)?)
}

fn certificate(node: &PrivateKey, key: PublicKey, epoch: u64) -> Certificate {
    let unit = "gate".parse().unwrap();
    let statement = KeyStatement { node: node.public(), unit, key, epoch, issued: 1 };
    Certificate::sign(statement, node).unwrap()
}

fn new() -> PrivateKey {
    PrivateKey::generate().unwrap()
}

#[test]
fn only_the_box_that_is_meant() {
    let (operator, node, other) = (new(), new(), new());
    let folder = TempDir::new().unwrap();
    let open = || Boxes::open(&folder.path().join("boxes.toml")).unwrap();
    let gate_of = |epoch| {
        let key = new();
        let certificate = certificate(&node, key.public(), epoch);
        gate(key, certificate)
    };
    let connect = |key: Option<PublicKey>, address: &GateAddress| {
        let target = BoxAddress { key, address: address.clone() };
        let (mut client, reached) = connect(&target, &operator, &mut open())?;
        assert_eq!(reached, node.public());
        Ok(client.call("status", serde_json::Map::new()).unwrap())
    };
    let problem = |result: Result<serde_json::Value, RemoteError>| result.unwrap_err().to_string();

    // The box is unknown, and there is no user to ask: the error contains the key that the box
    // claims.
    let address = gate_of(2);
    assert!(problem(connect(None, &address)).contains(&node.public().to_string()));
    // The box is given by its key, and known after that.
    let public = operator.public().to_string();
    assert_eq!(connect(Some(node.public()), &address).unwrap(), public);
    assert_eq!(connect(None, &address).unwrap(), public);
    // Rejected: another box than the given one.
    assert!(problem(connect(Some(other.public()), &address)).contains("not did:key"));
    // An older key of the box's gate is rejected, a newer one accepted.
    assert!(problem(connect(Some(node.public()), &gate_of(1))).contains("number 2 was seen"));
    assert_eq!(connect(Some(node.public()), &gate_of(3)).unwrap(), public);
    assert!(problem(connect(None, &address)).contains("number 3 was seen"));
}

#[test]
fn a_box_in_others_hands_is_not_spoken_to() {
    let (operator, node, key) = (new(), new(), new());
    let folder = TempDir::new().unwrap();
    let mut boxes = Boxes::open(&folder.path().join("boxes.toml")).unwrap();
    let certificate = certificate(&node, key.public(), 1);
    let address = gate(key, certificate);
    let named = BoxAddress { key: Some(node.public()), address: address.clone() };
    assert!(connect(&named, &operator, &mut boxes).is_ok());
    boxes.revoke(node.public()).unwrap();
    let elsewhere = BoxAddress { key: None, address: "localhost:1".parse().unwrap() };
    assert!(matches!(
        connect(&elsewhere, &operator, &mut boxes),
        Err(RemoteError::Unreachable(..))
    ));
    let known = BoxAddress { key: None, address: address.clone() };
    for target in [named, known] {
        let problem = connect(&target, &operator, &mut boxes).unwrap_err().to_string();
        assert!(problem.contains("was revoked"), "{problem}");
    }
    // At a new address the box identifies itself, and is rejected without a prompt.
    let at = format!("localhost:{}", address.parts().1).parse().unwrap();
    let moved = BoxAddress { key: None, address: at };
    let problem = connect(&moved, &operator, &mut boxes).unwrap_err().to_string();
    assert!(problem.contains("was revoked"), "{problem}");
}

/// A thief has the box's certificate, but not its private key.
#[test]
fn a_certificate_of_another_is_of_no_use() {
    let (operator, node, key, thief) = (new(), new(), new(), new());
    let folder = TempDir::new().unwrap();
    let mut boxes = Boxes::open(&folder.path().join("boxes.toml")).unwrap();
    let certificate = certificate(&node, key.public(), 1);
    let target = |address: GateAddress| BoxAddress { key: Some(node.public()), address };
    let honest = target(gate(key, certificate.clone()));
    assert!(connect(&honest, &operator, &mut boxes).is_ok());
    let stolen = target(gate(thief, certificate));
    let problem = connect(&stolen, &operator, &mut boxes).unwrap_err().to_string();
    assert!(problem.contains("not its own"), "{problem}");
    assert_eq!(boxes.node_at(&stolen.address), None);
}

/// A peer that closes the connection early results in a readable message, not in that of a library.
#[test]
fn a_gate_that_goes_is_told_of_plainly() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address: GateAddress = listener.local_addr().unwrap().to_string().parse().unwrap();
    let gate = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let config = tls::server(&new(), tls::AlpnProtocol::Control).unwrap();
        let mut connection = ServerConnection::new(config).unwrap();
        while connection.is_handshaking() {
            connection.complete_io(&mut stream).unwrap();
        }
    });
    let folder = TempDir::new().unwrap();
    let mut boxes = Boxes::open(&folder.path().join("boxes.toml")).unwrap();
    let told =
        connect(&BoxAddress { key: None, address }, &new(), &mut boxes).unwrap_err().to_string();
    gate.join().unwrap();
    assert!(told.ends_with("is not a gate: the other side closed the connection"), "{told}");
}
