//! What ships, with some of its files replaced.

use serde_json::Value;

use octet_image::{Because, NodeOrigin, Tree, TreeNode};

/// Where programs of units are.
pub const PROGRAMS: &str = "/usr/lib/octet";

/// Puts a file in the place of what is there.
pub fn put(tree: &mut Tree, path: &str, mode: u16, bytes: Vec<u8>) -> miette::Result<()> {
    tree.take(path);
    let because = Because::always("a benchmark needs it");
    Ok(tree.put(path, TreeNode::file(bytes, mode, NodeOrigin::Generated, because))?)
}

/// Changes a file of JSON.
pub fn change(tree: &mut Tree, path: &str, change: impl FnOnce(&mut Value)) -> miette::Result<()> {
    let old = tree.get(path).and_then(TreeNode::bytes).unwrap_or_default();
    let mut value = serde_json::from_slice(old)
        .map_err(|error| miette::miette!("{path} of the image is no JSON: {error}"))?;
    change(&mut value);
    put(tree, path, 0o644, value.to_string().into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_file_of_json_is_changed_in_its_place() {
        let mut tree = Tree::default();
        put(&mut tree, "/a", 0o644, b"{\"b\":1}".to_vec()).unwrap();
        change(&mut tree, "/a", |value| value["c"] = json!(2)).unwrap();
        assert_eq!(tree.get("/a").unwrap().bytes().unwrap(), br#"{"b":1,"c":2}"#);
        assert!(change(&mut tree, "/nothing", |_| {}).is_err());
    }
}
