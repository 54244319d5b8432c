//! `[[keep]]`: objects of which several boards of this box have a copy, or shards.

use serde::{Deserialize, Serialize};

use crate::cluster::Cluster;
use crate::document::span_of;
use crate::file_error::FileError;
use crate::object_name::{ObjectHash, ObjectName};

/// Maximum number of `[[keep]]`: each is asked about at every board, once a minute.
const MAX_KEPT: usize = 1024;

/// The number of copies by default.
const COPIES: u8 = 2;

/// The fewest data shards: with one of them, the others would be copies.
const MIN_DATA: u8 = 2;

/// The maximum number of data shards, and of parity shards: together 32, as boards of the largest box.
const MAX_SHARDS: u8 = 16;

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
    /// Whether it is a folder, of which all files are kept, on the same boards.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub folder: bool,
    /// The number of boards that have a copy: 1 to 32, and no more than there are. 2 by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub copies: Option<u8>,
    /// Shards instead of copies: how many of them suffice to read the object, 2 to 16.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<u8>,
    /// How many shards there are besides, and may be lost: 1 to 16.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parity: Option<u8>,
}

/// How an object is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeepRedundancy {
    /// By so many whole copies.
    Copies(u8),
    /// By `data + parity` shards, any `data` of which give the object.
    Shards { data: u8, parity: u8 },
}

impl KeepSection {
    pub fn redundancy(&self) -> KeepRedundancy {
        match (self.data, self.parity) {
            (Some(data), Some(parity)) => KeepRedundancy::Shards { data, parity },
            _ => KeepRedundancy::Copies(self.copies.unwrap_or(COPIES)),
        }
    }
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
        if let Some(copies) = one.copies.filter(|copies| !(1..=boards).contains(copies)) {
            let message = format!("{copies} copies cannot be on {boards} boards");
            return wrong("copies", message, "a board has one copy at most: write fewer");
        }
        check_shards(one, boards).or_else(|(key, message, hint)| wrong(key, message, hint))?;
    }
    Ok(())
}

/// Checks the numbers of shards. An error has the key, the message and the hint.
fn check_shards(one: &KeepSection, boards: u8) -> Result<(), (&'static str, String, &'static str)> {
    let (data, parity) = match (one.data, one.parity) {
        (None, None) => return Ok(()),
        (Some(data), Some(parity)) => (data, parity),
        (data, _) => {
            let (key, other) = if data.is_some() { ("data", "parity") } else { ("parity", "data") };
            let message = format!("`[[keep]]` has `{key}` without `{other}`");
            return Err((key, message, "write both, for example `data = 5` and `parity = 3`"));
        }
    };
    if one.folder {
        let message = "a folder is kept in copies, not in shards".to_owned();
        return Err(("folder", message, "write `copies` instead of `data` and `parity`"));
    }
    if one.copies.is_some() {
        let message = "`[[keep]]` has either `copies`, or `data` and `parity`".to_owned();
        return Err(("copies", message, "remove `copies`: shards are kept instead of copies"));
    }
    if !(MIN_DATA..=MAX_SHARDS).contains(&data) {
        let message = format!("{data} data shards are not {MIN_DATA} to {MAX_SHARDS}");
        return Err(("data", message, "with `copies` whole copies are kept, without shards"));
    }
    if data > boards {
        let message = format!("{data} data shards cannot be on {boards} boards");
        return Err(("data", message, "write no more than there are boards"));
    }
    if !(1..=MAX_SHARDS).contains(&parity) {
        let message = format!("{parity} parity shards are not 1 to {MAX_SHARDS}");
        return Err(("parity", message, "as many boards may be lost as there are parity shards"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::KeepRedundancy;
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
            "[[keep]]\nobject = \"{HASH}\"\ncopies = 3\n[[keep]]\nname = \"{NAME}\"\nfolder = true\n"
        ));
        let kept = appliance.unwrap().keep;
        assert_eq!(kept[0].object.as_ref().unwrap().as_str(), HASH);
        assert_eq!(kept[0].redundancy(), KeepRedundancy::Copies(3));
        assert_eq!((kept[1].redundancy(), kept[1].folder), (KeepRedundancy::Copies(2), true));
        assert_eq!(kept[1].name.as_ref().unwrap().to_string(), NAME);
    }

    #[test]
    fn shards_may_be_more_than_there_are_boards() {
        let lines = format!("[[keep]]\nobject = \"{HASH}\"\ndata = 4\nparity = 16\n");
        let kept = read(&lines).unwrap().keep;
        assert!(!kept[0].folder);
        assert_eq!(kept[0].redundancy(), KeepRedundancy::Shards { data: 4, parity: 16 });
    }

    #[test]
    fn mistakes_have_a_line() {
        let both = format!("object = \"{HASH}\"\nname = \"{NAME}\"");
        let twice = format!("object = \"{HASH}\"\n[[keep]]\nobject = \"{HASH}\"");
        let shards = |lines: &str| format!("object = \"{HASH}\"\n{lines}");
        for (lines, line, says) in [
            ("copies = 2", 10, "either `object` or `name`"),
            (&both, 12, "either `object` or `name`"),
            (&twice, 13, "two `[[keep]]` have the same `object`"),
            (&format!("object = \"{HASH}\"\ncopies = 0"), 12, "0 copies cannot be on 4 boards"),
            (&format!("object = \"{HASH}\"\ncopies = 5"), 12, "5 copies cannot be on 4 boards"),
            (&shards("data = 3"), 12, "has `data` without `parity`"),
            (&shards("parity = 1"), 12, "has `parity` without `data`"),
            (&shards("copies = 2\nparity = 1"), 13, "has `parity` without `data`"),
            (&shards("copies = 2\ndata = 3\nparity = 1"), 12, "either `copies`, or `data`"),
            (&shards("data = 1\nparity = 1"), 12, "1 data shards are not 2 to 16"),
            (&shards("data = 17\nparity = 1"), 12, "17 data shards are not 2 to 16"),
            (&shards("data = 5\nparity = 1"), 12, "5 data shards cannot be on 4 boards"),
            (&shards("data = 3\nparity = 0"), 13, "0 parity shards are not 1 to 16"),
            (&shards("data = 3\nparity = 17"), 13, "17 parity shards are not 1 to 16"),
            (&shards("folder = true\ndata = 2\nparity = 1"), 12, "a folder is kept in copies"),
            ("object = \"5F0C\"", 11, "`5F0C` is not a hash"),
            ("name = \"site/index.html\"", 11, "`site` is not a key"),
            (&format!("name = \"{NAME}/../x\""), 11, "is not a path of a name"),
        ] {
            let error = read(&format!("[[keep]]\n{lines}\n")).unwrap_err();
            assert!(error.contains(says) && error.contains(&format!("it.toml:{line}:")), "{error}");
        }
    }
}
