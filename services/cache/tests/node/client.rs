//! A plain client of iroh-blobs, without any code of this workspace.

use iroh::endpoint::{Connection, ReadError, ReadToEndError, presets};
use iroh::protocol::Router;
use iroh::{Endpoint, RelayMode};
use iroh_blobs::protocol::{ChunkRanges, ChunkRangesSeq, ERR_PERMISSION, PushRequest, RequestType};
use iroh_blobs::provider::events::{EventMask, EventSender, RequestMode};
use iroh_blobs::store::mem::MemStore;
use iroh_blobs::{ALPN, BlobsProtocol, Hash, HashAndFormat};
use octet_node::control::PublicKey;

use crate::host::{LOOPBACK, Node, address, bytes, limits, path, peer, runtime, until};
use crate::request::get;

pub async fn plain() -> Endpoint {
    let builder = Endpoint::builder(presets::Minimal).relay_mode(RelayMode::Disabled);
    builder.clear_ip_transports().bind_addr(LOOPBACK).unwrap().bind().await.unwrap()
}

/// Pushes the object `hash` into the store of another node. Returns the answer.
async fn push(to: &Connection, from: &MemStore, hash: Hash) -> Result<Vec<u8>, ReadToEndError> {
    let (mut send, mut receive) = to.open_bi().await.unwrap();
    let request = PushRequest::new(hash, ChunkRangesSeq::root());
    let request = postcard::to_stdvec(&request).unwrap();
    let encoded = from.blobs().export_bao(hash, ChunkRanges::all()).bao_to_vec().await.unwrap();
    let length = postcard::to_stdvec(&(request.len() as u64)).unwrap();
    let all = [vec![RequestType::Push as u8], length, request, encoded].concat();
    // A node that refuses the object does not read all of it.
    let _ = send.write_all(&all).await;
    let _ = send.finish();
    receive.read_to_end(100).await
}

#[test]
fn fetches_from_us_and_writes_nothing() {
    let runtime = runtime();
    let node = runtime.block_on(Node::start(limits()));
    runtime.block_on(async {
        let (endpoint, store) = (plain().await, MemStore::new());
        for length in [5, 700_001] {
            let all = bytes(length, 1);
            let hash = node.add(&all).await.hash;
            let connection = endpoint.connect(node.address(), ALPN).await.unwrap();
            store.remote().fetch(connection, HashAndFormat::raw(hash)).complete().await.unwrap();
            assert!(store.blobs().get_bytes(hash).await.unwrap() == all);
        }
        // A push into the store is refused; a plain store of iroh-blobs accepts the same push.
        let strange = bytes(40_000, 9);
        let hash = store.blobs().add_bytes(strange).temp_tag().await.unwrap().hash();
        let open = plain().await;
        let taking = MemStore::new();
        let mask = EventMask { push: RequestMode::None, ..EventMask::DEFAULT };
        let (events, _none) = EventSender::channel(1, mask);
        let blobs = BlobsProtocol::new(&taking, Some(events));
        let router = Router::builder(open.clone()).accept(ALPN, blobs).spawn();
        let taker = endpoint.connect(address(&open), ALPN).await.unwrap();
        assert_eq!(push(&taker, &store, hash).await.unwrap(), b"");
        taking.blobs().observe(hash).await_completion().await.unwrap();
        let asked = endpoint.connect(node.address(), ALPN).await.unwrap();
        let refused = push(&asked, &store, hash).await.unwrap_err();
        assert!(
            matches!(refused, ReadToEndError::Read(ReadError::Reset(ERR_PERMISSION))),
            "{refused}"
        );
        assert!(!node.objects.store().blobs().has(hash).await.unwrap());
        router.shutdown().await.unwrap();
        endpoint.close().await;
    });
}

#[test]
fn serves_to_us() {
    let runtime = runtime();
    let node = runtime.block_on(Node::start(limits()));
    let all = bytes(700_001, 2);
    let hash = Hash::new(&all);
    assert_eq!(get(node.http, &path(hash), &[]).code, 404);
    let router = runtime.block_on(async {
        let (endpoint, store) = (plain().await, MemStore::new());
        store.blobs().add_bytes(all.clone()).temp_tag().await.unwrap().leak();
        let key = PublicKey::new(*endpoint.id().as_bytes());
        node.peers.send_replace(vec![peer(3, key, endpoint.bound_sockets())]);
        Router::builder(endpoint).accept(ALPN, BlobsProtocol::new(&store, None)).spawn()
    });
    let answer = get(node.http, &path(hash), &[("Range", "bytes=1-9")]);
    assert_eq!((answer.code, &answer.body[..]), (206, &all[1..10]));
    // The whole object is fetched, although only a part was requested.
    runtime.block_on(until("all of it", || node.counters.fetched.get() == 1));
    runtime.block_on(router.shutdown()).unwrap();
    assert!(get(node.http, &path(hash), &[]).body == all);
}
