//! What a kill leaves, and an object that was evicted.

use super::stand::{ok, stand, status};

#[test]
fn a_kill_leaves_what_is_stored_and_nothing_else() {
    let mut stand = stand("");
    stand.web.answers(ok("Cache-Control: max-age=600\r\nX-A: 1\r\nX-A: 2\r\n", b"body"));
    stand.get("/", "");
    stand.settled();
    stand.killed("");
    let hit = stand.get("/", "");
    assert!(hit.text() == "body" && status(&hit).starts_with("octet; hit"), "{hit:?}");
    assert_eq!((stand.web.count(), stand.objects()), (1, 1));
    // The remains of a body that arrived are gone.
    stand.settled();
}

#[test]
fn an_evicted_object_is_a_miss() {
    let stand = stand("");
    stand.web.answers(ok("Cache-Control: max-age=600\r\n", b"body"));
    stand.get("/", "");
    stand.settled();
    let evict = stand.node.objects.set_quota(Some(0));
    stand.runtime.block_on(evict).unwrap();
    assert_eq!(stand.objects(), 0);
    stand.runtime.block_on(stand.node.objects.set_quota(None)).unwrap();
    let again = stand.get("/", "");
    assert_eq!((again.text().as_str(), stand.web.count()), ("body", 2));
    stand.settled();
    assert!(status(&stand.get("/", "")).starts_with("octet; hit"));
}

#[test]
fn without_room_a_response_is_passed_through() {
    let stand = stand("");
    stand.web.answers(ok("Cache-Control: max-age=600\r\n", b"body"));
    stand.runtime.block_on(stand.node.objects.set_quota(Some(0))).unwrap();
    assert_eq!((stand.get("/", "").text().as_str(), stand.objects()), ("body", 0));
    stand.settled();
    assert_eq!((stand.get("/", "").text().as_str(), stand.web.count()), ("body", 2));
    stand.runtime.block_on(stand.node.objects.set_quota(None)).unwrap();
    stand.get("/", "");
    stand.settled();
    assert!(status(&stand.get("/", "")).starts_with("octet; hit"));
}

#[test]
fn what_another_upstream_has_said_is_not_found() {
    let stand = stand("");
    stand.web.answers(ok("Cache-Control: max-age=600\r\n", b"body"));
    for count in [1, 1] {
        stand.get("/", "");
        stand.settled();
        assert_eq!(stand.web.count(), count);
    }
    stand.other_upstream();
    stand.get("/", "");
    assert_eq!(stand.web.count(), 2);
    stand.settled();
    // A purge by the name finds both.
    let front = &stand.node.gateway.state.as_ref().unwrap().origins;
    let purged = stand.runtime.block_on(front.purge("web")).unwrap();
    assert_eq!(purged.unwrap().keys, 2);
}
