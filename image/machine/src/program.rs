//! Programs of the host.

use std::path::PathBuf;

/// Where `PATH` has `name`.
pub fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| {
        rustix::fs::access(file, rustix::fs::Access::EXEC_OK).is_ok() && file.is_file()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_only_programs() {
        assert!(find_program("sh").is_some());
        assert_eq!(find_program("no-such-program"), None);
        assert_eq!(find_program("."), None);
    }
}
