//! A cargo home of our own: what it has fetched is the user's, what it is told is not.
//!
//! Cargo reads its configuration in its home and in every folder above the one it runs in, and most of it changes what
//! is compiled: profiles, flags, wrappers, variables (the Cargo Book, "Configuration"). So it runs in the root folder,
//! with a home that has of the user's configuration only how crates are reached.

use std::env;
use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{self, Path, PathBuf};
use std::process::Command;

use toml::{Table, Value};

use super::CargoError;
use super::environment::clean;
use crate::cache;
use crate::output::file;

/// Where cargo runs: no folder is above it.
const WORKING_DIRECTORY: &str = "/";

/// The names of a configuration; the first one counts.
const CONFIGS: [&str; 2] = ["config", "config.toml"];

/// The tables of how crates are reached.
const CONFIG_TABLES: [&str; 5] = ["http", "net", "registries", "registry", "source"];

/// What of a source is a folder of this machine: its path would be in the programs.
const LOCAL: [&str; 2] = ["directory", "local-registry"];

/// What is the user's, so that nothing is fetched twice: folders, and files with their locks.
const FOLDERS: [&str; 2] = ["git", "registry"];
const FILES: [&str; 5] =
    [".global-cache", ".package-cache", ".package-cache-mutate", "credentials", "credentials.toml"];

/// The user's cargo home, from the root folder.
pub fn user_home() -> Option<PathBuf> {
    let folder =
        |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let home = folder("CARGO_HOME").or_else(|| Some(folder("HOME")?.join(".cargo")))?;
    path::absolute(home).ok()
}

/// Ours: one for all clones of a user, since its path is among the flags of rustc.
pub fn builder_home() -> Option<PathBuf> {
    cache::folder("cargo")
}

/// Makes ours in `folder`, beside the home `user` of the user's.
///
/// # Errors
/// That home cannot be read, or has a source that is a folder; or cargo would be told more where it runs.
pub fn make(folder: &Path, user: &Path) -> Result<(), CargoError> {
    check_no_config(Path::new(WORKING_DIRECTORY))?;
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |why| CargoError::Home { path, why }
    };
    fs::create_dir_all(folder).map_err(failed(folder))?;
    for name in FOLDERS {
        fs::create_dir_all(user.join(name)).map_err(failed(user))?;
    }
    for name in FOLDERS.into_iter().chain(FILES) {
        link(&user.join(name), &folder.join(name)).map_err(failed(folder))?;
    }
    let config = CONFIGS.map(|name| user.join(name)).into_iter().find(|path| path.is_file());
    let settings = config.map(|path| registry_config(&path)).transpose()?.unwrap_or_default();
    let (config, settings) = (folder.join("config.toml"), settings.to_string());
    // Another clone's build may read it right now.
    if fs::read_to_string(&config).is_ok_and(|there| there == settings) {
        return Ok(());
    }
    Ok(file::write(&config, settings.as_bytes())?)
}

/// Has `command`, which is cargo or calls it, run with the home `own`, and with no configuration of the user's but that.
pub fn run_with<'a>(own: &Path, command: &'a mut Command) -> &'a mut Command {
    clean(command).current_dir(WORKING_DIRECTORY).env("CARGO_HOME", own)
}

/// Sees that no configuration is in `folder` itself: cargo would read all of it.
fn check_no_config(folder: &Path) -> Result<(), CargoError> {
    let mut configs = CONFIGS.map(|name| folder.join(".cargo").join(name)).into_iter();
    match configs.find(|path| path.exists()) {
        Some(path) => Err(CargoError::Everywhere { path }),
        None => Ok(()),
    }
}

/// What is taken of the configuration at `path`.
fn registry_config(path: &Path) -> Result<Table, CargoError> {
    let text =
        fs::read_to_string(path).map_err(|why| CargoError::Home { path: path.to_owned(), why })?;
    let wrong = |problem| CargoError::Config { path: path.to_owned(), problem };
    let mut all: Table = toml::from_str(&text).map_err(|error| wrong(error.to_string()))?;
    all.retain(|name, _| CONFIG_TABLES.contains(&name));
    let sources = all.get("source").and_then(Value::as_table).into_iter().flatten();
    for (name, source) in sources {
        if let Some(key) = LOCAL.into_iter().find(|key| source.get(key).is_some()) {
            return Err(wrong(format!("`[source.{name}]` has `{key}`")));
        }
    }
    Ok(all)
}

/// Sees that `at` is a link to `to`, which need not be there.
fn link(to: &Path, at: &Path) -> io::Result<()> {
    if fs::read_link(at).is_ok_and(|there| there == to) {
        return Ok(());
    }
    match fs::remove_file(at) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => symlink(to, at),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(config: &str) -> (tempfile::TempDir, Result<(), CargoError>) {
        let folder = tempfile::tempdir().unwrap();
        let user = folder.path().join("user");
        fs::create_dir(&user).unwrap();
        fs::write(user.join("config.toml"), config).unwrap();
        let made = make(&folder.path().join("own"), &user);
        (folder, made)
    }

    #[test]
    fn only_how_crates_are_reached_is_taken() {
        let (folder, made) = made(
            "[net]\nretry = 7\n[http]\nproxy = \"proxy:3128\"\n[registry]\ndefault = \"mine\"\n\
             [registries.mine]\nindex = \"sparse+y\"\n[profile.release]\ndebug = true\n[env]\nCFLAGS = \"-O0\"\n\
             [build]\nrustc-wrapper = \"/tmp/wrapper\"\nrustflags = [\"-Cdebuginfo=2\"]\n\
             [target.x86_64-unknown-linux-musl]\nlinker = \"/tmp/linker\"\n\
             [source.crates-io]\nreplace-with = \"mirror\"\n[source.mirror]\nregistry = \"sparse+x\"\n",
        );
        made.unwrap();
        let own = folder.path().join("own");
        let config: Table =
            toml::from_str(&fs::read_to_string(own.join("config.toml")).unwrap()).unwrap();
        let wanted = "[net]\nretry = 7\n[http]\nproxy = \"proxy:3128\"\n[registry]\ndefault = \"mine\"\n\
                      [registries.mine]\nindex = \"sparse+y\"\n[source.crates-io]\nreplace-with = \"mirror\"\n\
                      [source.mirror]\nregistry = \"sparse+x\"\n";
        assert_eq!(config, toml::from_str::<Table>(wanted).unwrap());
        // What is fetched with it is the user's, and so is the lock of who fetches.
        fs::write(own.join("registry/crate"), "").unwrap();
        fs::write(own.join(".package-cache"), "").unwrap();
        let user = folder.path().join("user");
        assert!(user.join("registry/crate").is_file() && user.join(".package-cache").is_file());
        // Made again, with a configuration that has gone.
        fs::remove_file(user.join("config.toml")).unwrap();
        make(&own, &user).unwrap();
        assert_eq!(fs::read_to_string(own.join("config.toml")).unwrap(), "");
    }

    #[test]
    fn a_source_that_is_a_folder_is_refused_by_name() {
        for key in LOCAL {
            let (_folder, made) = made(&format!("[source.mine]\n{key} = \"/home/me/vendor\"\n"));
            let error = made.unwrap_err().to_string();
            assert!(error.contains("user/config.toml") && error.contains("source.mine"), "{error}");
        }
        let (_folder, made) = made("[source");
        assert!(made.unwrap_err().to_string().contains("user/config.toml"));
    }

    #[test]
    fn a_configuration_for_all_of_the_machine_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join(".cargo")).unwrap();
        check_no_config(folder.path()).unwrap();
        for name in CONFIGS {
            let path = folder.path().join(".cargo").join(name);
            fs::write(&path, "").unwrap();
            assert!(check_no_config(folder.path()).unwrap_err().to_string().contains(name));
            fs::remove_file(path).unwrap();
        }
    }

    /// Fails where a configuration has changed what is compiled.
    const SCRIPT: &str = r#"fn main() {
        let is = |name, wanted| std::env::var(name).as_deref().unwrap_or_default() == wanted;
        assert!(is("CFLAGS", "") && is("DEBUG", "false") && is("CARGO_ENCODED_RUSTFLAGS", ""));
    }"#;

    #[test]
    fn cargo_is_told_nothing_else() {
        let configs = [
            "",
            "[env]\nCFLAGS = \"-O0\"\n",
            "[profile.release]\ndebug = true\n",
            "[build]\nrustflags = [\"-Cdebuginfo=2\"]\n",
            "[build]\nrustc-wrapper = \"/no/wrapper\"\n",
            "[patch.crates-io]\nother = { path = \"/no/folder\" }\n",
        ];
        for config in configs {
            let (folder, made) = made(config);
            made.unwrap();
            let [user, own, work] = ["user", "own", "work"].map(|name| folder.path().join(name));
            let package = "[package]\nname = \"small\"\nedition = \"2024\"\n[workspace]\n";
            let files = [
                ("Cargo.toml", package),
                ("build.rs", SCRIPT),
                ("src/lib.rs", ""),
                ("../.cargo/config.toml", config),
            ];
            for (path, text) in files {
                let path = work.join(path);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, text).unwrap();
            }
            let check = |command: &mut Command| {
                command.args(["check", "--offline", "--release", "--manifest-path"]);
                command.arg(work.join("Cargo.toml")).output().unwrap()
            };
            let mut cargo = Command::new("cargo");
            let home =
                check(clean(&mut cargo).current_dir(WORKING_DIRECTORY).env("CARGO_HOME", &user));
            let mut cargo = Command::new("cargo");
            let above = check(clean(&mut cargo).current_dir(&work).env("CARGO_HOME", &own));
            let ours = check(run_with(&own, Command::new("cargo").current_dir(&work)));
            assert_eq!(home.status.success(), config.is_empty(), "{config}{home:?}");
            assert_eq!(above.status.success(), config.is_empty(), "{config}{above:?}");
            assert!(ours.status.success(), "{config}{ours:?}");
        }
    }
}
