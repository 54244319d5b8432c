//! The components of the running software, with licences and source locations.

use std::fs;
use std::path::Path;

use octet_node::control::{Failure, FailureCode};
use serde::Deserialize;
use serde_json::{Value, json};

/// The file that the builder has written.
#[derive(Deserialize)]
struct Licenses {
    components: Vec<Component>,
    texts: Vec<String>,
}

#[derive(Deserialize)]
struct Component {
    name: String,
    version: String,
    license: String,
    source: String,
    texts: Vec<usize>,
}

/// A row for each component; with `name`, all details and the full texts of that one.
///
/// # Errors
/// There is no such component, or the file at `path` cannot be read.
pub fn show(path: &Path, name: Option<&str>) -> Result<Value, Failure> {
    let licenses = read(path).map_err(|why| {
        let help = "the image is damaged: install it again";
        Failure::new(FailureCode::Failed, format!("{}: {why}", path.display()), help)
    })?;
    let Some(name) = name else {
        let row = |it: &Component| json!({ "name": it.name, "version": it.version, "license": it.license });
        return Ok(licenses.components.iter().map(row).collect());
    };
    let found: Vec<_> = licenses.components.iter().filter(|it| it.name == name).collect();
    if found.is_empty() {
        let help = "`licenses` lists all parts";
        return Err(Failure::new(
            FailureCode::NotFound,
            format!("nothing is named `{name}`"),
            help,
        ));
    }
    let mut text = String::new();
    for it in found {
        text += &format!(
            "{} {}\nlicence: {}\nsource: {}\n",
            it.name, it.version, it.license, it.source
        );
        for part in it.texts.iter().filter_map(|number| licenses.texts.get(*number)) {
            text += &format!("\n{}\n", part.trim_end());
        }
    }
    Ok(json!({ "text": text }))
}

fn read(path: &Path) -> Result<Licenses, String> {
    let text = fs::read(path).map_err(|error| error.to_string())?;
    serde_json::from_slice(&text).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_parts_and_shows_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("licenses.json");
        let part = |name, texts| json!({ "name": name, "version": "1", "license": "MIT", "source": "there", "texts": texts });
        let all = json!({ "components": [part("a", [0, 1]), part("b", [1, 9])], "texts": ["one\n", "two"] });
        fs::write(&path, all.to_string()).unwrap();
        assert_eq!(
            show(&path, None).unwrap()[1],
            json!({ "name": "b", "version": "1", "license": "MIT" })
        );
        let shown = |name| show(&path, Some(name)).unwrap()["text"].as_str().unwrap().to_owned();
        assert_eq!(shown("a"), "a 1\nlicence: MIT\nsource: there\n\none\n\ntwo\n");
        assert_eq!(shown("b"), "b 1\nlicence: MIT\nsource: there\n\ntwo\n");
        assert!(show(&path, Some("c")).unwrap_err().message.contains("`c`"));
        fs::write(&path, "{").unwrap();
        assert!(show(&path, None).unwrap_err().message.contains("licenses.json"));
    }
}
