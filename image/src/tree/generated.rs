//! Files that the builder writes itself.

use std::fmt::Write as _;

use octet_appliance::USERS;
use serde_json::json;

use super::{Because, Clash, NodeOrigin, Tree, TreeNode};
use crate::target::Target;

/// What an image says of itself.
pub struct ImageFacts {
    /// The appliance's name, its host name until it has a better one.
    pub name: String,
    pub version: String,
    /// The only date there is.
    pub epoch: u32,
    pub target: Target,
}

/// Adds the generated files to `tree`.
pub fn generate(tree: &mut Tree, facts: &ImageFacts, because_name: &Because) -> Result<(), Clash> {
    let always = Because::always("every image has it");
    let mut put = |path: &str, text: String, because: &Because| {
        tree.put(
            path,
            TreeNode::file(text.into_bytes(), 0o644, NodeOrigin::Generated, because.clone()),
        )
    };
    // No `x` in the second field: there is no shadow file, and nothing that asks for a password.
    let mut passwd = String::new();
    let mut group = String::new();
    for user in USERS {
        let home = if user.uid == 0 { "/root".to_owned() } else { "/".to_owned() };
        let _ = writeln!(passwd, "{0}:!:{1}:{1}:{0}:{home}:/sbin/nologin", user.name, user.uid);
        let _ = writeln!(group, "{}:!:{}:", user.name, user.uid);
    }
    put("/etc/passwd", passwd, &always)?;
    put("/etc/group", group, &always)?;
    put("/etc/hostname", format!("{}\n", facts.name), because_name)?;
    let os_release = format!(
        "NAME=Octet\nID=octet\nVERSION_ID={0}\nPRETTY_NAME=\"Octet {0}\"\nIMAGE_ID={1}\n",
        facts.version, facts.name
    );
    put("/usr/lib/os-release", os_release, &always)?;
    let build =
        json!({ "version": facts.version, "epoch": facts.epoch, "target": facts.target.name() });
    put("/usr/lib/octet/build.json", format!("{build}\n"), &always)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_user_is_there_without_a_password() {
        let mut tree = Tree::default();
        let facts = ImageFacts {
            name: "box".into(),
            version: "1.2.3".into(),
            epoch: 7,
            target: Target::QemuX86_64,
        };
        generate(&mut tree, &facts, &Because::default()).unwrap();
        let text = |path: &str| {
            String::from_utf8(tree.get(path).unwrap().bytes().unwrap().to_vec()).unwrap()
        };
        assert!(
            text("/etc/passwd")
                .starts_with("root:!:0:0:root:/root:/sbin/nologin\nconsole:!:101:101:")
        );
        assert_eq!(text("/etc/passwd").lines().count(), USERS.len());
        assert_eq!(
            text("/usr/lib/octet/build.json"),
            "{\"version\":\"1.2.3\",\"epoch\":7,\"target\":\"qemu-x86_64\"}\n"
        );
        assert!(text("/usr/lib/os-release").contains("VERSION_ID=1.2.3\n"));
    }
}
