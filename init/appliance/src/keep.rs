//! `[[keep]]`: objects of which several boards of this box have a copy.

use serde::{Deserialize, Serialize};

use crate::cluster::Cluster;
use crate::document::span_of;
use crate::file_error::FileError;
use crate::object_name::{ObjectHash, ObjectName};

/// Maximum number of `[[keep]]`: each is asked about at every board, once a minute.
const MAX_KEPT: usize = 1024;

/// `[[keep]]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeepSection {
    /// The object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<ObjectHash>,
    /// A name whose object is kept, whichever it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<ObjectName>,
    /// The number of boards that have a copy: 1 to 32, and no more than there are.
    #[serde(default = "default_copies")]
    pub copies: u8,
}

fn default_copies() -> u8 {
    2
}

/// Checks these sections, which were read from `text`, the content of `file`, and the box.
pub(crate) fn check(
    kept: &[KeepSection],
    cluster: Option<&Cluster>,
    (file, text): (&str, &str),
) -> Result<(), Box<FileError>> {
    // Without [cluster] they are refused as a whole.
    let boards = cluster.map_or(u8::MAX, |cluster| cluster.boards);
    for (index, one) in kept.iter().enumerate() {
        let wrong = |key: &str, message: String, hint: &str| {
            let at = span_of(text, &["keep", &index.to_string(), key]);
            Err(FileError::new(file, text, at, message, hint))
        };
        let key = if one.name.is_some() { "name" } else { "object" };
        if one.object.is_some() == one.name.is_some() {
            let message = "`[[keep]]` has either `object` or `name`".to_owned();
            return wrong(key, message, "write the hash of an object, or a name of one");
        }
        if index == MAX_KEPT {
            let message = format!("more than {MAX_KEPT} `[[keep]]`");
            return wrong(key, message, "remove some");
        }
        let is_same = |it: &&KeepSection| it.object == one.object && it.name == one.name;
        if kept[..index].iter().any(|it| is_same(&it)) {
            let message = format!("two `[[keep]]` have the same `{key}`");
            return wrong(key, message, "remove one of them");
        }
        if !(1..=boards).contains(&one.copies) {
            let message = format!("{} copies cannot be on {boards} boards", one.copies);
            return wrong("copies", message, "a board has one copy at most: write fewer");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::Appliance;

    const HASH: &str = "5f0c5f0c5f0c5f0c5f0c5f0c5f0c5f0c5f0c5f0c5f0c5f0c5f0c5f0c5f0c5f0c";
    const NAME: &str = "did:key:z6MkiTBz1ymuepAQ4HEHYSF1H8quG5GLVVQR3djdX3mDooWp/site/index.html";

    const REST: &str = "[appliance]\nname = \"box\"\n[image]\npackages = []\ndrivers = []\nmodules = []\nservices = []\n";

    fn read(lines: &str) -> Result<Appliance, String> {
        let text = format!("{REST}[cluster]\nboards = 4\n{lines}");
        Appliance::parse("it.toml", &text).map_err(|error| error.to_string())
    }

    #[test]
    fn an_object_and_a_name() {
        let appliance = read(&format!(
            "[[keep]]\nobject = \"{HASH}\"\ncopies = 3\n[[keep]]\nname = \"{NAME}\"\n"
        ));
        let kept = appliance.unwrap().keep;
        assert_eq!(kept[0].object.as_ref().unwrap().as_str(), HASH);
        assert_eq!((kept[0].copies, kept[1].copies), (3, 2));
        assert_eq!(kept[1].name.as_ref().unwrap().to_string(), NAME);
    }

    #[test]
    fn mistakes_have_a_line() {
        let both = format!("object = \"{HASH}\"\nname = \"{NAME}\"");
        let twice = format!("object = \"{HASH}\"\n[[keep]]\nobject = \"{HASH}\"");
        for (lines, line, says) in [
            ("copies = 2", 10, "either `object` or `name`"),
            (&both, 12, "either `object` or `name`"),
            (&twice, 13, "two `[[keep]]` have the same `object`"),
            (&format!("object = \"{HASH}\"\ncopies = 0"), 12, "0 copies cannot be on 4 boards"),
            (&format!("object = \"{HASH}\"\ncopies = 5"), 12, "5 copies cannot be on 4 boards"),
            ("object = \"5F0C\"", 11, "`5F0C` is not a hash"),
            ("name = \"site/index.html\"", 11, "`site` is not a key"),
            (&format!("name = \"{NAME}/../x\""), 11, "is not a path of a name"),
        ] {
            let error = read(&format!("[[keep]]\n{lines}\n")).unwrap_err();
            assert!(error.contains(says) && error.contains(&format!("it.toml:{line}:")), "{error}");
        }
    }
}
