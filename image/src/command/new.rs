//! `cargo image new`

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::net::Ipv6Addr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use miette::{Diagnostic, IntoDiagnostic, WrapErr};
use octet_appliance::Appliance;

use crate::appliance_file::Mistake;
use crate::build::workspace;
use crate::output::file::WriteError;
use crate::report;

/// Creates an appliance.toml from the repository's, with networks of its own (random ULA /48 and IPv4 /16)
#[derive(clap::Args)]
pub struct Args {
    /// The file; it must not exist
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The appliance's name: a-z, digits and hyphens
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// The number of boards: 4, 8, 16 or 32
    #[arg(long, value_name = "N")]
    boards: Option<u8>,
}

/// No file was made.
#[derive(Debug, thiserror::Error, Diagnostic)]
enum NewError {
    #[error("{} is there already, and stays as it is", .0.display())]
    #[diagnostic(help("name another file, or remove this one"))]
    Exists(PathBuf),
    #[error("{} has no line `{key} = …` in [{section}]", .file.display())]
    #[diagnostic(help("add one there: it is the pattern of the new file"))]
    NoLine { file: PathBuf, section: &'static str, key: &'static str },
}

/// Runs the subcommand.
pub fn run(args: Args) -> miette::Result<ExitCode> {
    let pattern = workspace()?.root().join("appliance.toml");
    let text = fs::read_to_string(&pattern)
        .into_diagnostic()
        .wrap_err_with(|| format!("cannot read {}", pattern.display()))?;
    let mut random = [0; 64];
    File::open("/dev/urandom")
        .and_then(|mut file| file.read_exact(&mut random))
        .into_diagnostic()
        .wrap_err("the kernel gives no random numbers")?;
    let networks = Networks::from_random(&random);
    let text = customise(&text, &pattern, &networks, args.name.as_deref(), args.boards)?;
    let file = args.file.display();
    let appliance = Appliance::parse(&file.to_string(), &text).map_err(Mistake::from)?;
    write(&args.file, &text)?;
    let boards = appliance.cluster.map(|cluster| cluster.boards).unwrap_or_default();
    let Networks { four, six } = networks;
    report::print(&format!(
        "{file}: `{}`, {boards} boards, {four} and {six}\ncargo image run --cluster {boards} --appliance {file}\n",
        appliance.appliance.name
    ))?;
    Ok(ExitCode::SUCCESS)
}

/// Writes a file that is not there yet.
fn write(path: &Path, text: &str) -> miette::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    folder.map_or(Ok(()), fs::create_dir_all).map_err(WriteError::at(path))?;
    let made = OpenOptions::new().write(true).create_new(true).open(path);
    match made.and_then(|mut file| file.write_all(text.as_bytes())) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            Err(NewError::Exists(path.to_owned()).into())
        }
        other => Ok(other.map_err(WriteError::at(path))?),
    }
}

/// The networks of a box, as `[cluster]` says them.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Networks {
    four: String,
    six: String,
}

/// The second bytes of 10.x.0.0/16 that are not drawn: home routers begin with 10.0, 10.1 and 10.10, and a box without a
/// file of its own has 10.20.
const AVOIDED_NETWORKS: [u8; 4] = [0, 1, 10, 20];

impl Networks {
    /// Those that follow from these random bytes.
    fn from_random(random: &[u8; 64]) -> Self {
        let (global, rest) = random.split_at(5);
        let second = rest.iter().find(|byte| !AVOIDED_NETWORKS.contains(byte)).unwrap_or(&99);
        // Forty random bits (RFC 4193, 3.2): whoever draws his own meets nobody's.
        let mut six = [0; 16];
        six[0] = 0xfd;
        six[1..6].copy_from_slice(global);
        Self { four: format!("10.{second}.0.0/16"), six: format!("{}/48", Ipv6Addr::from(six)) }
    }
}

/// `text` of the file `pattern` with these `networks`, and with a name and a number of boards if there are any.
fn customise(
    text: &str,
    pattern: &Path,
    networks: &Networks,
    name: Option<&str>,
    boards: Option<u8>,
) -> Result<String, NewError> {
    let mut new = String::new();
    let (mut section, mut is_called, mut is_boards) = ("", false, false);
    for line in text.lines() {
        let key = line.split_once('=').map(|(key, _)| key.trim());
        if line.starts_with('[') {
            section = line.split(']').next().unwrap_or_default().trim_start_matches('[');
        }
        let instead = match (section, key) {
            ("appliance", Some("name")) => {
                is_called = true;
                name.map(|name| format!("name = {name:?}"))
            }
            ("cluster", Some("boards")) => {
                is_boards = true;
                let boards = boards.map(|boards| format!("boards = {boards}"));
                let (Networks { four, six }, boards) =
                    (networks, boards.as_deref().unwrap_or(line));
                Some(format!("{boards}\nnetwork = \"{four}\"\nnetwork6 = \"{six}\""))
            }
            ("cluster", Some("network" | "network6")) => continue,
            _ => None,
        };
        new.push_str(instead.as_deref().unwrap_or(line));
        new.push('\n');
    }
    let lacks = |section, key| NewError::NoLine { file: pattern.to_owned(), section, key };
    match (is_called, is_boards) {
        (false, _) => Err(lacks("appliance", "name")),
        (_, false) => Err(lacks("cluster", "boards")),
        _ => Ok(new),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use octet_appliance::FileError;

    fn template() -> (PathBuf, String) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../appliance.toml");
        let text = fs::read_to_string(&path).unwrap();
        (path, text)
    }

    fn parsed(text: &str) -> Result<Appliance, Box<FileError>> {
        Appliance::parse("new.toml", text)
    }

    #[test]
    fn a_file_has_networks_of_its_own_and_nothing_else_that_differs() {
        let (path, text) = template();
        let random: [u8; 64] = std::array::from_fn(|at| at as u8 + 100);
        let networks = Networks::from_random(&random);
        assert_eq!(networks.four, "10.105.0.0/16");
        assert_eq!(networks.six, "fd64:6566:6768::/48");
        let new = customise(&text, &path, &networks, Some("hill"), Some(16)).unwrap();
        let appliance = parsed(&new).unwrap();
        assert_eq!(appliance.appliance.name.as_str(), "hill");
        let cluster = appliance.cluster.unwrap();
        assert_eq!((cluster.boards, cluster.network.to_string()), (16, networks.four.clone()));
        assert_eq!(cluster.network6.to_string(), networks.six);
        let other: Vec<_> =
            new.lines().filter(|line| !text.lines().any(|it| it == *line)).collect();
        assert_eq!(other.len(), 4, "{other:?}");
        // A file that has networks gets others, each once; what is not asked for stays.
        let again = Networks::from_random(&[7; 64]);
        let newer = customise(&new, &path, &again, None, None).unwrap();
        let appliance = parsed(&newer).unwrap();
        let cluster = appliance.cluster.unwrap();
        assert_eq!((cluster.boards, cluster.network.to_string()), (16, "10.7.0.0/16".to_owned()));
        assert_eq!(newer.lines().count(), new.lines().count());
        for (name, boards) in [(Some("Hill!"), None), (None, Some(5))] {
            let wrong = customise(&text, &path, &networks, name, boards).unwrap();
            assert!(parsed(&wrong).is_err());
        }
        let without = text.replace("boards = 8", "");
        let error = customise(&without, &path, &networks, None, None).unwrap_err();
        assert!(error.to_string().ends_with("has no line `boards = …` in [cluster]"), "{error}");
    }

    #[test]
    fn networks_that_many_have_are_not_drawn() {
        for second in AVOIDED_NETWORKS {
            let mut random = [second; 64];
            random[40] = 33;
            assert_eq!(Networks::from_random(&random).four, "10.33.0.0/16");
        }
    }

    #[test]
    fn a_file_that_is_there_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mine/appliance.toml");
        write(&path, "one").unwrap();
        let error = write(&path, "two").unwrap_err();
        assert!(error.to_string().contains("is there already"), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "one");
    }
}
