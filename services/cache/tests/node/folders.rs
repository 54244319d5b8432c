//! Folders: added as an archive, served by their paths, fetched from other nodes, and pinned as a whole.

use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use iroh::protocol::Router;
use iroh_blobs::format::collection::Collection;
use iroh_blobs::hashseq::HashSeq;
use iroh_blobs::store::mem::MemStore;
use iroh_blobs::{ALPN, BlobsProtocol, Hash, HashAndFormat};
use octet_as_pid_1::MemoryFile;
use octet_cache::folder::{MAX_FILES, MAX_PATHS, ObjectFolder};
use octet_cache::folders::FolderAsked;
use octet_cache::limits::CacheLimits;
use octet_cache::policy::ObjectKind;
use octet_node::control::{CallError, Client, PublicKey};
use serde_json::{Map, Value, json};
use tar::{Builder, EntryType, Header};
use tempfile::TempDir;

use crate::client::plain;
use crate::host::{Node, add, bytes, limits, peer, runtime};
use crate::request::{Answer, ask, get};
use crate::verbs::{args, config, connect, start_at};

/// A file of each kind that is stored and served in another way.
fn film() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("film/low/a <b> & 1.ts", bytes(70_000, 1)),
        ("film/low/2.ts", bytes(400_001, 2)),
        ("film/empty.txt", vec![]),
        ("film.m3u8", b"#EXTM3U\nfilm/low/2.ts\n".to_vec()),
        ("page.html", b"<script>alert(1)</script>".to_vec()),
    ]
}

/// The hash that iroh-blobs gives the same files.
fn hash_of(files: &[(&str, Vec<u8>)]) -> Hash {
    let mut files: Vec<_> =
        files.iter().map(|(path, all)| ((*path).to_owned(), Hash::new(all))).collect();
    files.sort();
    let all = files.into_iter().collect::<Collection>().to_blobs();
    Hash::new(all.last().unwrap())
}

fn header(length: usize) -> Header {
    let mut header = Header::new_gnu();
    header.set_size(length as u64);
    header.set_mode(0o644);
    header
}

pub fn archive(files: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut archive = Builder::new(vec![]);
    for (path, all) in files {
        archive.append_data(&mut header(all.len()), path, &all[..]).unwrap();
    }
    archive.into_inner().unwrap()
}

pub fn add_folder(client: &mut Client<UnixStream>, archive: &[u8]) -> Result<Value, CallError> {
    let mut file = MemoryFile(archive.to_vec());
    let wanted = args(json!({ "file": { "size": archive.len() }, "folder": true }));
    client.call_with("add", wanted, Some(&mut file), |_| true)
}

/// Stores a folder that nothing pins.
pub async fn store(node: &Node, files: &[(&str, Vec<u8>)]) -> Hash {
    let mut folder = ObjectFolder::default();
    for (path, all) in files {
        let listed = add(&node.objects, all, ObjectKind::Loose).await.unwrap();
        folder.add(path, listed.hash).unwrap();
    }
    for object in folder.to_objects().unwrap() {
        add(&node.objects, &object, ObjectKind::Loose).await.unwrap();
    }
    hash_of(files)
}

fn of(folder: Hash, path: &str) -> String {
    format!("/d/{}/{path}", folder.to_hex())
}

#[test]
fn its_files_are_served_by_their_paths() {
    let folder = TempDir::new().unwrap();
    let (socket, http) = start_at(&folder, Some(folder.path().join("state")));
    let mut client = connect(&socket);
    let (files, hash) = (film(), hash_of(&film()));
    let size: usize = files.iter().map(|(_, all)| all.len()).sum();
    let text = hash.to_hex().to_string();
    let wanted = json!({ "hash": text, "size": size, "files": 5, "path": format!("/d/{text}/") });
    // Twice: the second time all of it is here.
    for _ in 0..2 {
        assert_eq!(add_folder(&mut client, &archive(&files)).unwrap(), wanted);
    }
    for (path, all) in &files {
        let encoded = path.replace(' ', "%20").replace('<', "%3C").replace('>', "%3E");
        let at = of(hash, &encoded);
        let answer = get(http, &at, &[]);
        assert_eq!((answer.code, answer.body == *all), (200, true), "{path}");
        // The headers are those of the object itself.
        let name = encoded.rsplit('/').next().unwrap();
        let object = get(http, &format!("/b/{}/{name}", Hash::new(all).to_hex()), &[]);
        let but_date = |answer: &Answer| {
            let mut headers = answer.headers.clone();
            headers.remove("date");
            headers
        };
        assert_eq!(but_date(&answer), but_date(&object), "{path}");
        let tag = format!("\"{}\"", Hash::new(all).to_hex());
        assert_eq!(answer.header("etag"), tag);
        assert_eq!(get(http, &at, &[("If-None-Match", &tag)]).code, 304);
        let head = ask(http, "HEAD", &at, &[]);
        assert_eq!(
            (head.code, head.header("content-length")),
            (200, all.len().to_string().as_str())
        );
    }
    let part = get(http, &of(hash, "film/low/2.ts"), &[("Range", "bytes=70000-80000")]);
    assert_eq!((part.code, &part.body[..]), (206, &files[1].1[70_000..=80_000]));
    let kind = |path: &str| get(http, &of(hash, path), &[]).header("content-type").to_owned();
    assert_eq!(kind("film.m3u8"), "application/vnd.apple.mpegurl");
    // What would run in a browser is offered as a download.
    assert_eq!(kind("page.html"), "application/octet-stream");
    for (code, method, at) in [
        (404, "GET", of(hash, "film/3.ts")),
        (404, "GET", of(hash, "film")),
        (404, "GET", of(hash, "../film.m3u8")),
        (404, "GET", format!("/d/{text}")),
        (400, "GET", "/d/12/film.m3u8".to_owned()),
        (405, "PUT", of(hash, "film.m3u8")),
        (404, "GET", of(Hash::new("no one has it"), "film.m3u8")),
        // It is an object, but no folder.
        (404, "GET", of(Hash::new(&files[0].1), "film.m3u8")),
        (403, "GET", of(hash, "")),
        (403, "GET", of(hash, "film/")),
    ] {
        assert_eq!(ask(http, method, &at, &[]).code, code, "{method} {at}");
    }
    // All objects are pinned, and two are the folder's own.
    let rows = client.call("ls", Map::new()).unwrap();
    let rows = rows.as_array().unwrap();
    assert!(rows.len() == 7 && rows.iter().all(|row| row["pinned"] == true), "{rows:?}");
    let folders: Vec<_> = rows.iter().filter(|row| row["folder"] == true).collect();
    assert!(folders.len() == 1 && folders[0]["hash"] == text, "{folders:?}");
    // Scripts of other pages read the files of a public folder, too.
    let allowed = |path: &str| {
        get(http, &of(hash, path), &[]).header("access-control-allow-origin").to_owned()
    };
    assert_eq!(allowed("film.m3u8"), "");
    client.call("public", args(json!({ "hash": text }))).unwrap();
    assert_eq!(allowed("film.m3u8"), "*");
    // With the setting, each link of each page leads to where it says.
    let answering = config(&folder, &json!({ "folder_index": true }), &json!([]));
    client.call("config-apply", Map::new()).unwrap();
    answering.join().unwrap();
    let (mut pages, mut found) = (vec![String::new()], vec![]);
    while let Some(at) = pages.pop() {
        let page = get(http, &of(hash, &at), &[]);
        assert_eq!((page.code, page.header("content-type")), (200, "text/html; charset=utf-8"));
        assert!(page.header("content-security-policy").contains("sandbox"), "{page:?}");
        assert!(!page.text().contains("<b>"), "{}", page.text());
        for link in page.text().split("href=\"./").skip(1) {
            let link = format!("{at}{}", link.split('"').next().unwrap());
            match link.ends_with('/') {
                true => pages.push(link),
                false => found.push(get(http, &of(hash, &link), &[]).body),
            }
        }
    }
    let mut all: Vec<_> = files.into_iter().map(|(_, all)| all).collect();
    all.sort();
    found.sort();
    assert!(found == all);
}

#[test]
fn a_name_leads_to_the_files_of_its_folder() {
    let runtime = runtime();
    let [home, other] = [(); 2].map(|()| runtime.block_on(Node::start(limits())));
    other.peers.send_replace(vec![home.as_peer(1)]);
    let at = |name: &str, path: &str| format!("/d/{}/{name}/{path}", home.node);
    let publish = |name: &str, hash: Hash| {
        let hour = Duration::from_secs(3600);
        let published = home.names.publish(name.parse().unwrap(), hash, hour, false);
        let record = runtime.block_on(published).unwrap();
        let state = home.gateway.state.as_ref().unwrap();
        runtime.block_on(state.folder_path(&record, &home.counters))
    };
    let foreign = [("Sec-Fetch-Site", "cross-site")];
    let old = film();
    let path = publish("site", runtime.block_on(store(&home, &old)));
    assert_eq!(path, Some(at("site", "")));
    // A page of another site has nobody asked for the name.
    let answer = get(other.http, &at("site", "film.m3u8"), &foreign);
    assert!(answer.code == 404 && answer.text().contains("knows this name"), "{answer:?}");
    for (path, all) in &old[1..4] {
        let answer = get(other.http, &at("site", path), &[]);
        assert_eq!((answer.code, answer.body == *all), (200, true), "{path}");
        assert_eq!(answer.header("cache-control"), "public, max-age=60, must-revalidate");
        let tag = format!("\"{}\"", Hash::new(all).to_hex());
        let same = get(other.http, &at("site", path), &[("If-None-Match", &tag)]);
        assert_eq!(same.code, 304);
        assert_eq!(same.header("cache-control"), "public, max-age=60, must-revalidate");
    }
    assert_eq!(get(other.http, &at("site", "film.m3u8"), &foreign).code, 200);
    let part = get(other.http, &at("site", "film/low/2.ts"), &[("Range", "bytes=70000-80000")]);
    assert_eq!((part.code, &part.body[..]), (206, &old[1].1[70_000..=80_000]));
    // The folder itself never changes: so its files are cached for long by its hash.
    let by_hash = get(other.http, &of(hash_of(&old), "film.m3u8"), &[]);
    assert!(by_hash.header("cache-control").contains("immutable"), "{by_hash:?}");

    // Another folder takes its place.
    let mut new = film();
    new[3].1 = b"#EXTM3U\n# another film\n".to_vec();
    let path = publish("site", runtime.block_on(store(&home, &new)));
    assert_eq!(path, Some(at("site", "")));
    assert_eq!(get(home.http, &at("site", "film.m3u8"), &[]).body, new[3].1);
    let index = |is_on: bool, code: u16| {
        home.gateway.state.as_ref().unwrap().folders.set_index(is_on);
        let page = get(home.http, &at("site", ""), &[]);
        assert_eq!(page.code, code, "{page:?}");
        page.header("cache-control").to_owned()
    };
    assert_eq!(index(false, 403), "no-store");
    assert_eq!(index(true, 200), "public, max-age=60, must-revalidate");

    assert_eq!(publish("a/b", hash_of(&new)), None);
    assert_eq!(publish("file", Hash::new(&new[3].1)), None);
    for (code, at) in [
        (404, at("site", "film/3.ts")),
        (404, format!("/d/{}/site", home.node)),
        // The name would be `a`.
        (404, at("a/b", "film.m3u8")),
        // It is an object, but no folder.
        (404, at("file", "film.m3u8")),
        (400, "/d/did:key:z/site/film.m3u8".to_owned()),
        (400, at("%2e%2e", "film.m3u8")),
    ] {
        let answer = get(home.http, &at, &[]);
        assert_eq!((answer.code, answer.header("cache-control")), (code, "no-store"), "{at}");
    }
}

#[test]
fn an_archive_that_is_no_folder_stores_none() {
    let folder = TempDir::new().unwrap();
    let (socket, _) = start_at(&folder, Some(folder.path().join("state")));
    let mut client = connect(&socket);
    let files = [("a", vec![1; 1000]), ("b", vec![2; 1000])];
    let whole = archive(&files);
    // Paths that the library does not write.
    let raw = |path: &[u8], kind| {
        let mut odd = header(0);
        odd.as_old_mut().name[..path.len()].copy_from_slice(path);
        odd.set_entry_type(kind);
        odd.set_cksum();
        let mut archive = Builder::new(vec![]);
        archive.append_data(&mut header(4), "a", &b"good"[..]).unwrap();
        archive.append(&odd, std::io::empty()).unwrap();
        archive.into_inner().unwrap()
    };
    let long = |length| {
        let mut long = header(length);
        long.as_old_mut().name[..13].copy_from_slice(b"././@LongLink");
        long.set_entry_type(EntryType::GNULongName);
        long.set_cksum();
        let mut archive = Builder::new(vec![]);
        archive.append(&long, &vec![b'a'; length][..]).unwrap();
        archive.append_data(&mut header(4), "a", &b"good"[..]).unwrap();
        archive.into_inner().unwrap()
    };
    for (archive, why) in [
        (raw(b"../b", EntryType::Regular), "`../b` is not a path of a folder"),
        (raw(b"/b", EntryType::Regular), "`/b` is not a path of a folder"),
        (raw(b"b\xff", EntryType::Regular), "is not a path of a folder"),
        (raw(b"a", EntryType::Regular), "`a` comes twice"),
        (raw(b"a/b", EntryType::Regular), "`a` is a file and a folder"),
        (raw(b"b", EntryType::Symlink), "`b` is neither a file nor a folder"),
        (raw(b"b", EntryType::Link), "`b` is neither a file nor a folder"),
        (raw(b"b", EntryType::Fifo), "`b` is neither a file nor a folder"),
        (long(20_000), "an extended header has more than 16384 bytes"),
        (long(2000), "is not a path of a folder"),
        (archive(&[]), "the archive has no file"),
        (vec![7; 5000], "the archive cannot be read"),
        (whole[..900].to_vec(), "the archive cannot be read"),
        (whole[..1600].to_vec(), "the archive cannot be read"),
    ] {
        let refused = add_folder(&mut client, &archive).unwrap_err().to_string();
        assert!(refused.contains(why), "{refused} instead of {why}");
    }
    let rows = client.call("ls", Map::new()).unwrap();
    assert!(rows.as_array().unwrap().iter().all(|row| row["pinned"] == false), "{rows}");
    // A file whose path is refused is not stored, and these have no content.
    assert!(rows.as_array().unwrap().iter().all(|row| row["size"] != 0), "{rows}");
    add_folder(&mut client, &whole).unwrap();
    let rows = client.call("ls", Map::new()).unwrap();
    let pinned = rows.as_array().unwrap().iter().filter(|row| row["pinned"] == true);
    assert_eq!(pinned.count(), 4);
}

/// A folder that another program has made, on a node of another program.
#[test]
fn of_another_nodes_folder_only_what_is_asked_for_comes() {
    let runtime = runtime();
    let node = runtime.block_on(Node::start(limits()));
    let files = film();
    let (router, hash, wide) = runtime.block_on(async {
        let (endpoint, store) = (plain().await, MemStore::new());
        let mut names = vec![];
        for (path, all) in &files {
            let mut tag = store.blobs().add_slice(all).temp_tag().await.unwrap();
            names.push(((*path).to_owned(), tag.hash()));
            tag.leak();
        }
        let mut tag = names.into_iter().collect::<Collection>().store(&store).await.unwrap();
        let hash = tag.hash();
        tag.leak();
        // Its size is that of a list of hashes, of too many.
        let mut wide = store.blobs().add_bytes(vec![0; 32 * 65_538]).temp_tag().await.unwrap();
        let (wide, _) = (wide.hash(), wide.leak());
        let key = PublicKey::new(*endpoint.id().as_bytes());
        node.peers.send_replace(vec![peer(3, key, endpoint.bound_sockets())]);
        let blobs = BlobsProtocol::new(&store, None);
        (Router::builder(endpoint).accept(ALPN, blobs).spawn(), hash, wide)
    });
    // A page of another site does not have it fetched.
    let foreign = [("Sec-Fetch-Site", "cross-site")];
    let film = of(hash, "film.m3u8");
    assert_eq!(get(node.http, &film, &foreign).code, 404);
    assert_eq!(node.counters.fetched.get(), 0);
    let answer = get(node.http, &film, &[]);
    assert_eq!((answer.code, answer.body == files[3].1), (200, true), "{answer:?}");
    // The two objects of the folder, and the file.
    assert_eq!(node.counters.fetched.get(), 3);
    assert_eq!(get(node.http, &film, &foreign).code, 200);
    assert_eq!(get(node.http, &of(hash, "film/low/2.ts"), &foreign).code, 404);
    assert_eq!(node.counters.fetched.get(), 3);
    // What cannot be a folder is not fetched.
    let refused = get(node.http, &of(wide, "a"), &[]);
    assert_eq!((refused.code, node.objects.size(wide)), (404, None), "{refused:?}");
    assert!(refused.text().contains("at most 65536 files"), "{refused:?}");
    // It cannot be pinned before all of it is here.
    let state = node.gateway.state.clone().unwrap();
    let pinned = runtime.block_on(state.pin_folder(hash, &node.counters)).unwrap_err();
    assert!(pinned.to_string().contains("is not on this node"), "{pinned}");
    runtime.block_on(state.fetch_folder(hash, &node.counters)).unwrap();
    assert_eq!(node.counters.fetched.get(), 7);
    runtime.block_on(state.pin_folder(hash, &node.counters)).unwrap();
    for (_, all) in &files {
        assert!(node.objects.policy().is_pinned(&Hash::new(all)));
    }
    runtime.block_on(router.shutdown()).unwrap();
}

/// A folder of two files of this size, of which the first one is that of each folder.
fn pair(second: u64) -> Vec<(&'static str, Vec<u8>)> {
    vec![("first", bytes(50_000, 1)), ("second", bytes(50_000, second))]
}

#[test]
fn its_files_stay_as_long_as_a_folder_has_them() {
    let runtime = runtime();
    // Room for about ten files.
    let few = CacheLimits { quota: Some(600_000), ..limits() };
    let node = runtime.block_on(Node::start(few));
    let state = node.gateway.state.clone().unwrap();
    let policy = node.objects.policy();
    let is_here = |hash: &Hash| policy.size(hash).is_some();
    runtime.block_on(async {
        let mut folders = vec![];
        for second in [2, 3] {
            let hash = store(&node, &pair(second)).await;
            state.pin_folder(hash, &node.counters).await.unwrap();
            folders.push(hash);
        }
        let [first, second, third] = [1, 2, 3].map(|number| Hash::new(bytes(50_000, number)));
        // An object that is pinned by itself as well stays so.
        add(&node.objects, &bytes(50_000, 3), ObjectKind::Pinned).await.unwrap();
        let crowd = async |from: u64| {
            for number in from..from + 20 {
                add(&node.objects, &bytes(50_000, number), ObjectKind::Loose).await.unwrap();
            }
        };
        crowd(100).await;
        assert!([first, second, third].iter().all(is_here) && folders.iter().all(is_here));
        assert!(!is_here(&Hash::new(bytes(50_000, 100))));
        let pinned = policy.usage().pinned;

        // A node that was killed now has the same pins.
        let copy = node.killed().await;
        let saved = Node::start_in(copy, few).await;
        let same = saved.objects.policy();
        assert_eq!((same.usage().pinned, same.is_pinned(&first)), (pinned, true));
        assert!(folders.iter().all(|it| same.is_pinned_folder(it)));

        assert!(state.unpin_folder(folders[0], &node.counters).await.unwrap());
        assert!(!state.unpin_folder(folders[0], &node.counters).await.unwrap());
        assert_eq!([first, second, third].map(|it| policy.is_pinned(&it)), [true, false, true]);
        assert!(policy.usage().pinned < pinned);
        crowd(200).await;
        assert_eq!([first, second, third].map(|it| is_here(&it)), [true, false, true]);
        assert!(!is_here(&folders[0]) && is_here(&folders[1]));

        assert!(state.unpin_folder(folders[1], &node.counters).await.unwrap());
        crowd(300).await;
        assert_eq!([first, second, third].map(|it| is_here(&it)), [false, false, true]);
        // What is gone is not served from memory.
        let folder = state.folder(folders[1], FolderAsked::Local, &node.counters).await;
        assert!(folder.is_err());
    });
}

/// What cannot be read of a pinned folder keeps all from being unpinned.
#[test]
fn an_unreadable_folder_unpins_nothing() {
    let runtime = runtime();
    let node = runtime.block_on(Node::start(limits()));
    let state = node.gateway.state.clone().unwrap();
    runtime.block_on(async {
        let mut folders = vec![];
        for second in [2, 3] {
            let hash = store(&node, &pair(second)).await;
            state.pin_folder(hash, &node.counters).await.unwrap();
            folders.push(hash);
        }
        let first = Hash::new(bytes(50_000, 1));
        node.objects.mark_damaged(folders[1]).await.unwrap();
        assert!(state.unpin_folder(folders[0], &node.counters).await.unwrap());
        assert!(node.objects.policy().is_pinned(&first));
        assert!(!node.objects.policy().is_pinned_folder(&folders[0]));
    });
}

/// Our own folder, for a plain client of iroh-blobs.
#[test]
fn another_program_reads_it() {
    let runtime = runtime();
    let node = runtime.block_on(Node::start(limits()));
    let files = film();
    runtime.block_on(async {
        let hash = store(&node, &files).await;
        let (endpoint, store) = (plain().await, MemStore::new());
        let connection = endpoint.connect(node.address(), ALPN).await.unwrap();
        let fetch = async |hash| {
            let one = HashAndFormat::raw(hash);
            store.remote().fetch(connection.clone(), one).complete().await.unwrap();
        };
        fetch(hash).await;
        let list = store.blobs().get_bytes(hash).await.unwrap();
        for one in HashSeq::new(list).unwrap().iter() {
            fetch(one).await;
        }
        let collection = Collection::load(hash, &*store).await.unwrap();
        assert_eq!(collection.len(), files.len());
        for (path, all) in &files {
            let hash = collection.iter().find(|(name, _)| name == path).unwrap().1;
            assert!(store.blobs().get_bytes(hash).await.unwrap() == *all, "{path}");
        }
    });
}

#[test]
fn the_largest_folder_is_read_once() {
    let runtime = runtime();
    let node = runtime.block_on(Node::start(limits()));
    let state = node.gateway.state.clone().unwrap();
    let mut folder = ObjectFolder::default();
    // With the byte of its length each path takes 64 bytes of 4 MiB, and the header some more.
    let path = |number: usize, length: usize| format!("{number:0length$}");
    for number in 0..MAX_FILES {
        folder.add(&path(number, if number < 16 { 62 } else { 63 }), Hash::EMPTY).unwrap();
    }
    let refused = folder.add("one more", Hash::EMPTY).unwrap_err().to_string();
    assert!(refused.contains("at most 65536 files"), "{refused}");
    let [paths, hashes] = folder.to_objects().unwrap();
    assert!(paths.len() as u64 > MAX_PATHS - 100);
    runtime.block_on(async {
        for object in [&paths, &hashes] {
            add(&node.objects, object, ObjectKind::Loose).await.unwrap();
        }
        let hash = Hash::new(&hashes);
        let read = || state.folder(hash, FolderAsked::Local, &node.counters);
        assert!(Arc::ptr_eq(&read().await.unwrap(), &read().await.unwrap()));
    });
}
