//! Whether every program of an image finds its loader and its libraries inside the image.

use miette::Diagnostic;

use super::{Program, Tree};

/// Where musl's loader looks (musl, `ldso/dynlink.c`, without an `/etc/ld-musl-*.path`).
const FOLDERS: [&str; 3] = ["/lib", "/usr/local/lib", "/usr/lib"];

/// A program that would not start.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[error("{program} (from {origin}) needs {library}, which is not in the image")]
#[diagnostic(help(
    "add the package that has it to `packages` in appliance.toml, or leave the program out"
))]
pub struct Missing {
    program: String,
    origin: String,
    library: String,
}

/// Checks all programs and libraries of `tree`.
pub fn check(tree: &Tree) -> Result<(), Missing> {
    for (path, node) in tree.iter() {
        let Some(program) = node.bytes().and_then(Program::parse) else { continue };
        let missing = |library: &str| Missing {
            program: path.to_owned(),
            origin: node.origin.to_string(),
            library: library.to_owned(),
        };
        let is_there = |path: &str| tree.resolve(path).is_some_and(|node| node.bytes().is_some());
        if let Some(interpreter) = program.interpreter.as_deref().filter(|path| !is_there(path)) {
            return Err(missing(interpreter));
        }
        let here = path.rsplit_once('/').map_or("", |(folder, _)| folder);
        let own: Vec<_> =
            program.folders.iter().map(|folder| folder.replace("$ORIGIN", here)).collect();
        for library in &program.needed {
            let folders = own.iter().map(String::as_str).chain(FOLDERS);
            if !folders
                .map(|folder| super::normal(&format!("{folder}/{library}")))
                .any(|path| is_there(&path))
            {
                return Err(missing(library));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::{Because, Node, Origin};

    #[test]
    fn names_program_and_library() {
        let bytes = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        let program = Program::parse(&bytes).unwrap();
        let mut tree = Tree::default();
        let put = |tree: &mut Tree, path: &str, bytes: &[u8]| {
            tree.put(
                path,
                Node::file(bytes.to_vec(), 0o755, Origin::Generated, Because::default()),
            )
            .unwrap();
        };
        put(&mut tree, "/bin/test", &bytes);
        put(&mut tree, program.interpreter.as_deref().unwrap(), b"");
        for library in &program.needed[1..] {
            if tree.get(&format!("/lib/{library}")).is_none() {
                put(&mut tree, &format!("/lib/{library}"), b"");
            }
        }
        let missing = check(&tree).unwrap_err();
        assert_eq!((missing.program.as_str(), &missing.library), ("/bin/test", &program.needed[0]));
        put(&mut tree, &format!("/usr/lib/{}", program.needed[0]), b"");
        check(&tree).unwrap();
    }
}
