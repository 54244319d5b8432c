//! What forms can do.

use octet_control::{Permission, Verb};
use serde_json::json;

use crate::double::{Recorded, failure};
use crate::recorded::site;

#[test]
fn a_button_restarts_a_unit() {
    let site = site();
    let browser = site.browser();
    let token = browser.token("/node/2/unit/cache");
    site.double.answer(2, "init", "restart", json!({ "unit": "cache", "state": "starting" }));
    let form = format!("token={token}&node=2&unit=init&verb=restart&arg.unit=cache");
    let done = browser.post("/do", &form);
    assert!(done.status == 200 && done.body.contains("<h1>restart: done</h1>"), "{}", done.body);
    assert!(done.body.contains("<dd>starting</dd>"), "{}", done.body);
    assert_eq!(site.double.calls(2, "init", "restart"), [json!({ "unit": "cache" })]);
}

#[test]
fn what_the_operator_may_not_use_has_no_button() {
    let site = site();
    let gate = Verb::new("verbs", Permission::Read, "Lists verbs");
    site.double.describe("gate", vec![gate]);
    site.double.answer(
        2,
        "gate",
        "verbs",
        json!("init status: Shows it\ninit restart UNIT: Restarts it"),
    );
    site.double.answer(0, "gate", "verbs", json!("update rollback: Goes back"));
    let browser = site.browser();
    let page = browser.get("/node/2/unit/cache").body;
    assert!(page.contains("restart cache</button>") && !page.contains("stop cache"), "{page}");
    let page = browser.get("/update").body;
    assert!(page.contains("rollback</button>") && !page.contains("type=\"file\""), "{page}");
    browser.get("/update");
    assert_eq!(site.double.calls(0, "gate", "verbs").len(), 1);
}

#[test]
fn a_failure_is_shown_with_its_help() {
    let site = site();
    let browser = site.browser();
    let token = browser.token("/node/2/unit/cache");
    let failed = failure("the unit <cache> is masked", "edit the image");
    site.double.record(2, "init", "stop", Recorded { items: vec![], end: Err(failed) });
    let form = format!("token={token}&node=2&unit=init&verb=stop&arg.unit=cache");
    let page = browser.post("/do", &form);
    assert_eq!(page.status, 409);
    for part in
        ["<h1>stop: failed</h1>", "the unit &lt;cache&gt; is masked", "Help: edit the image"]
    {
        assert!(page.body.contains(part), "{part} in {}", page.body);
    }
}

#[test]
fn settings_and_permissions_are_not_changed_from_a_page() {
    let site = site();
    let browser = site.browser();
    let token = browser.token("/node/2/unit/cache");
    for (unit, verb) in [("config", "apply"), ("cluster", "approve"), ("cache", "hidden")] {
        site.double.answer(0, unit, verb, json!("done"));
        let form = format!("token={token}&node=0&unit={unit}&verb={verb}");
        let page = browser.post("/do", &form);
        assert!(page.status == 403 && page.body.contains("octetctl"), "{verb}: {}", page.body);
        assert_eq!(site.double.calls(0, unit, verb).len(), 0);
    }
    for (unit, verb) in [("cache", "stats"), ("update", "rollback"), ("init", "poweroff")] {
        site.double.answer(0, unit, verb, json!({}));
        let form = format!("token={token}&node=0&unit={unit}&verb={verb}");
        assert_eq!(browser.post("/do", &form).status, 200, "{verb}");
        assert_eq!(site.double.calls(0, unit, verb).len(), 1);
    }
}

#[test]
fn a_board_is_drained_at_the_box() {
    let site = site();
    let browser = site.browser();
    let page = browser.get("/node/2").body;
    assert!(
        page.contains("drain 2</button>") && page.contains("name=\"arg.number\" value=\"2\""),
        "{page}"
    );
    let token = browser.token("/node/2");
    site.double.answer(0, "cluster", "drain", json!({ "board": 2, "drained": true }));
    let form = format!("token={token}&node=0&unit=cluster&verb=drain&arg.number=2");
    assert_eq!(browser.post("/do", &form).status, 200);
    assert_eq!(site.double.calls(0, "cluster", "drain"), [json!({ "number": "2" })]);
}

#[test]
fn what_a_form_lacks_is_said() {
    let site = site();
    let browser = site.browser();
    let token = browser.token("/node/2/unit/cache");
    for (form, status, said) in [
        ("node=0&unit=cache", 400, "a node, a unit and a verb"),
        ("node=99&unit=cache&verb=stats", 400, "a node, a unit and a verb"),
        ("node=0&unit=cache&verb=nothing", 409, "there is no verb `nothing`"),
        ("node=0&unit=nothing&verb=stats", 409, "there is no unit `nothing`"),
        ("node=0&unit=cache&verb=stats&arg.x=1", 400, "takes no argument `x`"),
        ("node=0&unit=update&verb=install&arg.file=x", 400, "is a file"),
    ] {
        let page = browser.post("/do", &format!("token={token}&{form}"));
        assert!(page.status == status && page.body.contains(said), "{form}: {}", page.body);
    }
}
