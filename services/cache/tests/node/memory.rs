//! A node with the memory limit of its unit serves the maximum load of other nodes.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};
use std::time::Duration;

use iroh::endpoint::ReadError;
use iroh::{EndpointAddr, TransportAddr};
use iroh_blobs::protocol::{ERR_LIMIT, GetRequest, Request};
use iroh_blobs::{ALPN, Hash};
use octet_cache::endpoint;
use octet_cache::limits::CacheLimits;
use octet_node::key::PrivateKey;
use rustix::process::{Resource, Rlimit, setrlimit};
use tokio::time::timeout;

use crate::host::{LOOPBACK, Node, bytes, limits, runtime};
use crate::request::TIMEOUT;

/// `memory_max` in its unit file, in bytes.
const MEMORY: u64 = 128 << 20;

/// Set for the process that is the node.
const IS_NODE: &str = "OCTET_TEST_NODE";

/// The connections of an attacker, and the concurrent requests of each: one connection fewer than
/// the maximum.
const CONNECTIONS: usize = 23;
const REQUESTS: usize = 16;

/// The maximum length of a request for iroh-blobs.
const LENGTH: usize = 1 << 20;

fn object() -> Vec<u8> {
    bytes(8 << 20, 4)
}

/// Runs the node: it prints its address, and serves until its parent ends.
#[test]
fn serves_with_little_memory() {
    if std::env::var_os(IS_NODE).is_none() {
        return;
    }
    let limit = Rlimit { current: Some(MEMORY), maximum: Some(MEMORY) };
    setrlimit(Resource::Data, limit).unwrap();
    let runtime = runtime();
    let node = runtime
        .block_on(Node::start(CacheLimits { request_timeout: Duration::from_secs(4), ..limits() }));
    runtime.block_on(node.add(&object()));
    println!("node at {} {}", node.endpoint.id(), node.endpoint.bound_sockets()[0]);
    // Waits until it is killed, or its parent closes the pipe.
    let _ = std::io::stdin().read_to_end(&mut vec![]);
}

#[test]
fn requests_without_an_end_do_not_fill_its_memory() {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "memory::serves_with_little_memory", "--nocapture"])
        .env(IS_NODE, "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let line = lines.filter_map(|line| Some(line.split_once("node at ")?.1.to_owned())).next();
    let line = line.expect("a node");
    let (id, at) = line.split_once(' ').unwrap();
    let at = [TransportAddr::Ip(at.parse().unwrap())].into();
    let address = EndpointAddr { id: id.parse().unwrap(), addrs: at };

    runtime().block_on(async {
        let endpoint = endpoint::open(&PrivateKey::generate().unwrap(), &[LOOPBACK]).await.unwrap();
        let get = Request::Get(GetRequest::blob(Hash::new(object())));
        let get = postcard::to_stdvec(&get).unwrap();
        let long = [&get[..], &vec![0; LENGTH]].concat();
        let mut tasks = tokio::task::JoinSet::new();
        let mut connections = vec![];
        for _ in 0..CONNECTIONS {
            let connection = endpoint.connect(address.clone(), ALPN).await.expect("a connection");
            for _ in 0..REQUESTS {
                let (connection, long) = (connection.clone(), long.clone());
                tasks.spawn(async move {
                    let (mut to, mut from) = connection.open_bi().await.unwrap();
                    // The node need not read all of it.
                    let _ = to.write_all(&long).await;
                    from.read(&mut [0]).await
                });
            }
            connections.push(connection);
        }
        let refused = timeout(TIMEOUT, tasks.join_all()).await.expect("late: it reads on");
        assert!(refused.iter().all(|it| *it == Err(ReadError::Reset(ERR_LIMIT))), "{refused:?}");

        let connection = endpoint.connect(address, ALPN).await.unwrap();
        let (mut to, mut from) = connection.open_bi().await.unwrap();
        to.write_all(&get).await.unwrap();
        to.finish().unwrap();
        let given = timeout(TIMEOUT, from.read_to_end(usize::MAX)).await;
        assert!(given.expect("late: an object").unwrap().len() > object().len());
    });
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    let most = status.lines().find(|line| line.starts_with("VmHWM:"));
    println!("{most:?} of {} kB", MEMORY >> 10);
    child.kill().unwrap();
    child.wait().unwrap();
}
