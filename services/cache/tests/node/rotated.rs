//! A new key of the service makes a new endpoint; the store stays.

use std::sync::Arc;

use iroh_blobs::{ALPN, HashAndFormat};
use octet_cache::counters::CacheCounters;
use octet_cache::endpoint::{ServedNode, run};
use octet_cache::names::PersistedNames;
use octet_cache::neighbours::Neighbours;
use octet_cache::objects::Objects;
use octet_cache::policy::ObjectKind;
use octet_node::key::PrivateKey;
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::host::{LOOPBACK, Node, add, address, bytes, certified, limits, runtime};
use crate::request::TIMEOUT;

#[test]
fn with_the_key_that_counts_and_no_other() {
    let runtime = runtime();
    let node = PrivateKey::generate().unwrap();
    let folder = TempDir::new().unwrap();
    runtime.block_on(async {
        let objects = Arc::new(Objects::open(folder.path(), &limits()).await.unwrap());
        let client = Node::start(limits()).await;
        let (key, keys) = watch::channel(None);
        let (opened, mut endpoints) = watch::channel(None);
        let counters = Arc::new(CacheCounters::default());
        let names = PersistedNames::open(&folder.path().join("names.db")).unwrap().into();
        let served = ServedNode {
            objects: Arc::clone(&objects),
            names,
            origins: Arc::clone(&client.gateway.state.as_ref().unwrap().origins),
            counters,
            limits: limits(),
            peers: watch::channel(vec![]).1,
            neighbours: Neighbours::new(keys.clone()).unwrap(),
            keeper: Arc::clone(&client.keeper),
        };
        tokio::spawn(run(keys, vec![LOOPBACK], served, opened));
        let added = add(&objects, &bytes(100_000, 1), ObjectKind::Pinned).await;
        let hash = added.unwrap().hash;
        let mut before: Option<iroh::Endpoint> = None;
        for _ in 0..2 {
            let next = certified(PrivateKey::generate().unwrap(), &node, 1);
            let public = next.key.public();
            key.send_replace(Some(next));
            let is_it = |it: &Option<iroh::Endpoint>| {
                it.as_ref().is_some_and(|it| it.id().as_bytes() == public.as_bytes())
            };
            let waited = timeout(TIMEOUT, endpoints.wait_for(is_it)).await;
            let endpoint = waited.expect("late: an endpoint").unwrap().clone().unwrap();
            // The node is started before connecting, because the server closes idle connections.
            let other = Node::start(limits()).await;
            let connection = client.endpoint.connect(address(&endpoint), ALPN).await.unwrap();
            let fetched =
                other.objects.store().remote().fetch(connection, HashAndFormat::raw(hash));
            fetched.complete().await.unwrap();
            if let Some(before) = before.replace(endpoint) {
                timeout(TIMEOUT, before.closed()).await.expect("late: the end of the one before");
            }
        }
    });
}
