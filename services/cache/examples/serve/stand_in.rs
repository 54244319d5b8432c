//! Simulates identity, cluster, config and PID 1 of a node for cache: threads that listen on sockets of the same
//! names.

use std::net::IpAddr;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Arc;
use std::thread;

use octet_cache::peers::UNIT;
use octet_node::Peer;
use octet_node::certificate::{Certificate, KeyStatement};
use octet_node::control::{PublicKey, Request};
use octet_node::key::PrivateKey;
use octet_node::map::{CLUSTER, Map, MapVersion, Member, SignedMap, Update};
use serde_json::{Value, json};

use super::Failed;

/// Simulates both in `folder`: the node `owner` certifies any requested key, and `update` is the
/// answer about other nodes.
pub fn start(folder: &Path, owner: Arc<PrivateKey>, update: &Update) -> Result<(), Failed> {
    serve(&folder.join("identity.sock"), move |request| {
        let key = request.args.get("key")?.as_str()?.parse().ok()?;
        Some(json!(certify(&owner, UNIT, key).ok()?))
    })?;
    let update = json!(update);
    serve(&folder.join("cluster.sock"), move |_| Some(update.clone()))
}

/// The socket of `config`.
pub const CONFIG: &str = "config.sock";

/// Simulates config and PID 1 in `folder`: the settings have these sections, and the node is this board.
pub fn configure(folder: &Path, board: u8, sections: &Value) -> Result<(), Failed> {
    let sections = sections.clone();
    once(&folder.join(CONFIG), sections)?;
    once(&folder.join("init.sock"), json!({ "board": board }))
}

/// Answers the request of each connection with `answer`.
fn once(socket: &Path, answer: Value) -> Result<(), Failed> {
    let listener = UnixListener::bind(socket)?;
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let mut peer = Peer::new(stream);
            let Ok(Some(request)) = peer.next_request() else { continue };
            // The service may have ended.
            let _ = peer.end(request.id, Ok(answer.clone()));
        }
    });
    Ok(())
}

/// Answers each connection with `answer`, one after the other. The answer never changes, so the
/// call never ends.
fn serve(
    socket: &Path,
    answer: impl Fn(&Request) -> Option<Value> + Send + 'static,
) -> Result<(), Failed> {
    let listener = UnixListener::bind(socket)?;
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let mut peer = Peer::new(stream);
            let Ok(Some(request)) = peer.next_request() else { continue };
            let Some(item) = answer(&request) else { continue };
            if peer.item(request.id, item).is_ok() {
                // The connection stays open until the service ends.
                let _ = peer.next_request();
            }
        }
    });
    Ok(())
}

fn certify(owner: &PrivateKey, unit: &str, key: PublicKey) -> Result<Certificate, Failed> {
    let (node, unit) = (owner.public(), unit.parse()?);
    let statement = KeyStatement { node, unit, key, epoch: 1, issued: 1 };
    Ok(Certificate::sign(statement, owner)?)
}

/// The membership map of a box in which the node `owner` has the objects: it is board `number` at
/// `address`, and its cache has `key`.
pub fn map(
    owner: &PrivateKey,
    number: u8,
    address: IpAddr,
    key: PublicKey,
) -> Result<SignedMap, Failed> {
    let member = Member {
        number,
        node: owner.public(),
        addresses: vec![address],
        certificates: vec![certify(owner, UNIT, key)?],
        record: None,
        drained: false,
    };
    let version = MapVersion { epoch: 1, sequence: 1 };
    let map = Map::new(owner.public(), version, vec![member], vec![]);
    let signs = PrivateKey::generate()?;
    let certificate = certify(owner, CLUSTER, signs.public())?;
    Ok(SignedMap::sign(map, certificate, &signs)?)
}
