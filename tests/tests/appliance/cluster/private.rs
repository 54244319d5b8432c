//! A private path in the kernels of a box: its end sees another address than that of the source, which programs
//! can send from as long as there is the path. Who receives which keys is shown in process
//! (`services/forward/tests/engine/private.rs`).

use std::net::{Ipv6Addr, SocketAddrV6};

use octet_machine::Node;
use octet_tests::Bytes;
use serde_json::{Value, json};

use crate::cluster::site::Site;
use crate::cluster::uplink::kill;

/// The first board may ask the last one for objects.
pub const LINES: &str = r#"
[[policy]]
from = "board-1"
to = "path"
service = "cache.objects"

[[policy]]
from = "path"
to = "board-5"
service = "cache.objects"
"#;

/// The port of the service at the end.
const PORT: u16 = 7000;

/// The path takes `boards`, the first and the last of which have `addresses`. No other path begins at the first one.
pub fn passes(site: &Site, boards: &[u8], addresses: [Ipv6Addr; 2]) {
    let [source, relays @ .., end] = boards else { panic!("{boards:?}") };
    let machine = site.machine(Node::Board(*source));
    let via = relays.iter().map(u8::to_string).collect::<Vec<_>>().join(",");
    let forward = |verb: &str, args: Value| machine.call_unit("forward", verb, args);
    let to = SocketAddrV6::new(addresses[1], PORT, 0, 0).to_string();
    let who =
        |from: &Value| machine.call_unit("talker", "who", json!({ "to": to, "from": from })).ok();
    let begin = || {
        let mut added = json!({});
        site.wait("there is a private path", || {
            let asked = json!({ "to": end.to_string(), "via": via, "private": true });
            forward("path-add", asked).map(|it| added = it).is_ok()
        });
        let shown = site.ask(Node::Board(*source), "forward", "paths", json!({}));
        let row = shown.as_array().unwrap().iter().find(|row| row["path"] == added["path"]);
        let row = row.unwrap();
        assert!(row["from"] == added["from"] && row["active"] == false, "{shown}");
        site.wait("the end sees the throw-away address", || {
            who(&added["from"]).as_ref() == Some(&added["from"])
        });
        added
    };
    let rows = || -> Vec<Value> {
        let shown = site.ask(Node::Board(*source), "forward", "paths", json!({}));
        shown.as_array().unwrap().clone()
    };
    let first = begin();
    println!("{first}");
    forward("ping", json!({ "path": first["path"] })).unwrap();
    let second = begin();
    assert!(first["from"] != second["from"] && first["from"] != json!(addresses[0]));
    // The node itself takes another path, which begins with its packet.
    site.wait("the end sees the node", || who(&Value::Null) == Some(json!(addresses[0])));
    assert!(rows().iter().any(|row| row["active"] == true && row["from"] == Value::Null));

    // With the path the address ends, also if the daemon is killed.
    forward("drop", json!({ "path": first["path"] })).unwrap();
    assert_eq!(who(&first["from"]), None);
    assert_eq!(who(&second["from"]), Some(second["from"].clone()));
    kill(site, Node::Board(*source), "forward");
    site.wait("the other one ends", || {
        who(&second["from"]).is_none() && rows().iter().all(|row| row["from"] == Value::Null)
    });
    site.wait("the node's own goes on", || who(&Value::Null) == Some(json!(addresses[0])));

    an_object_is_fetched(site, *source, *end, &via);
    assert!(rows().iter().all(|row| row["from"] == Value::Null), "{:?}", rows());
    forward("drop", json!({ "to": end.to_string() })).unwrap();
}

/// The end has given it to a node that it does not know, and the path is gone.
fn an_object_is_fetched(site: &Site, source: u8, end: u8, via: &str) {
    let mut object = Bytes(vec![7; 200_000]);
    let added = site.machine(Node::Board(end)).send_file("cache", "add", "file", &mut object);
    let hash = added.unwrap()["hash"].clone();
    let args = json!({ "hash": hash, "private": end.to_string(), "via": via });
    let machine = site.machine(Node::Board(source));
    let mut got = json!({});
    site.wait("it is fetched privately", || {
        let answer = machine.call_unit("cache", "get", args.clone());
        answer.map(|it| got = it).map_err(|error| println!("{error}")).is_ok()
    });
    assert_eq!(got["size"], 200_000, "{got}");
    site.wait("its path is gone", || {
        let rows = site.ask(Node::Board(source), "forward", "paths", json!({}));
        rows.as_array().unwrap().iter().all(|row| row["from"] == Value::Null)
    });
    // The board has no name for whom it was given to.
    let stats = site.ask(Node::Board(end), "cache", "stats", json!({}));
    let rows = stats["nodes"].as_array().unwrap();
    println!("{rows:?}");
    assert!(rows.iter().all(|row| row["given"] == 0), "{rows:?}");
}
