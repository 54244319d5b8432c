//! `octetctl openwrt …` configures a router with OpenWrt according to `appliance.toml`, from the
//! owner's machine. No board stores the router's password, unless the image has the unit `router`.

mod line;
mod packets;
mod settings;

use std::io;
use std::path::{Path, PathBuf};
use std::thread;

use octet_appliance::RouterContact;
use octet_control::{escape_lines, print as say};
use octet_openwrt::adopt;
use octet_openwrt::apply::{ApplyError, ApplyOutcome, apply};
use octet_openwrt::desired::DesiredConfig;
use octet_openwrt::diff::diff;
use octet_openwrt::https::Https;
use octet_openwrt::saved::SavedCopies;
use octet_openwrt::state::RouterState;
use octet_openwrt::ubus::{Login, Ubus, UbusError};
use octet_openwrt::verify::verify;

pub use line::OpenwrtLine;
use line::{OpenwrtVerb, RouterOptions};
pub use packets::PacketTest;
use packets::PacketsError;
use settings::{PlanError, Settings};

/// The environment variable with the password, if no file is given.
const PASSWORD: &str = "OCTET_OPENWRT_PASSWORD";

/// Why a command has failed.
#[derive(Debug, thiserror::Error)]
pub enum OpenwrtError {
    #[error("cannot print: {0}")]
    Print(#[from] io::Error),
    #[error(transparent)]
    Settings(#[from] PlanError),
    #[error("no password was given")]
    NoPassword,
    #[error("{path}: {error}", path = .0.display(), error = .1)]
    PasswordFile(PathBuf, io::Error),
    #[error(transparent)]
    Apply(#[from] ApplyError),
    #[error(transparent)]
    Packets(#[from] PacketsError),
    /// The change was rolled back.
    #[error("the router is as it was before: {0}")]
    Undone(String),
    /// The router deviates from the plan.
    #[error("{0} differences from the plan")]
    NotAsPlanned(usize),
}

impl From<UbusError> for OpenwrtError {
    fn from(error: UbusError) -> Self {
        Self::Apply(error.into())
    }
}

impl OpenwrtError {
    pub fn help(&self) -> String {
        match self {
            Self::Settings(error) => error.help().to_owned(),
            Self::NoPassword => {
                format!("put it into {PASSWORD}, or name a file: --password-file FILE")
            }
            Self::PasswordFile(..) => "name a file whose first line is the password".to_owned(),
            Self::Apply(error) => error.help(),
            Self::Packets(error) => error.help().to_owned(),
            Self::Print(_) => "print it elsewhere".to_owned(),
            Self::Undone(_) => {
                "if the way to the router broke, ask by a port that stays as it is".to_owned()
            }
            Self::NotAsPlanned(_) => {
                "`octetctl openwrt diff` lists what is configured in another way".to_owned()
            }
        }
    }
}

/// Runs `line`. Backups of routers' configurations are stored in `folder`. With `asks`, boards send
/// test packets.
pub fn run(line: OpenwrtLine, folder: &Path, asks: Option<PacketTest>) -> Result<(), OpenwrtError> {
    match line.verb {
        OpenwrtVerb::Adopt { address } => {
            let seen = adopt::look(&address.to_string())?;
            say(&format!("{address} shows the certificate {}\n", seen.fingerprint))?;
            say("Compare that with what `sha256sum /etc/uhttpd.crt` says there, by SSH\n")?;
            if !seen.lacks.is_empty() {
                say(&format!("\nInstall there what it lacks: {}\n", seen.lacks.join(", ")))?;
            }
            say("\nThen say in appliance.toml, in [cluster]:\n")?;
            let fingerprint = seen.fingerprint;
            say(&format!(
                "router = {{ kind = \"openwrt\", address = \"{address}\", fingerprint = \"{fingerprint}\" }}\n"
            ))?;
            say("\nFor a login of its own, paste this there, by SSH as root:\n\n")?;
            adopt::commands().iter().try_for_each(|line| say(&format!("{line}\n")))?;
            Ok(())
        }
        OpenwrtVerb::Diff(of) => {
            let Settings { plan, contact, .. } = settings::read(&of)?;
            print(&diff(&mut ubus(&of, &contact)?, &plan)?)
        }
        OpenwrtVerb::Apply(of) => {
            let Settings { plan, contact, .. } = settings::read(&of)?;
            change((&of, &contact), &DesiredConfig::Plan(&plan), folder)
        }
        OpenwrtVerb::Release(of) => {
            let Settings { contact, .. } = settings::read(&of)?;
            change((&of, &contact), &DesiredConfig::Nothing, folder)
        }
        OpenwrtVerb::Verify(of) => {
            let settings = settings::read(&of)?;
            let mut found =
                verify(&mut ubus(&of, &settings.contact)?, &DesiredConfig::Plan(&settings.plan))?;
            match asks {
                Some(mut asks) => {
                    let report = asks.packets(&settings.plan, settings.manager()?)?;
                    say(
                        "Of what boards have sent (a ! is not as the plan says), so much has come:\n\n",
                    )?;
                    print(&report.table)?;
                    say("\n")?;
                    print(&report.unknown)?;
                    // Test packets have priority over what the configuration suggests.
                    found.splice(0..0, report.found);
                }
                None => {
                    eprintln!("No packets are sent: name the box whose boards do that, --box BOX");
                }
            }
            print(&found)?;
            match found.len() {
                0 => {
                    say("The router is as the plan says\n")?;
                    Ok(())
                }
                count => Err(OpenwrtError::NotAsPlanned(count)),
            }
        }
    }
}

/// Prints one line per item, escaped, because it can contain text of the router.
fn print(said: &[String]) -> Result<(), OpenwrtError> {
    Ok(said.iter().try_for_each(|line| say(&format!("{}\n", escape_lines(line))))?)
}

fn change(
    (of, contact): (&RouterOptions, &RouterContact),
    wanted: &DesiredConfig<'_>,
    folder: &Path,
) -> Result<(), OpenwrtError> {
    let kept = SavedCopies::new(folder, &contact.address);
    let keep = |state: &RouterState| {
        kept.save(state)?;
        let _ = say(&format!("What the router has now is kept in {}\n", kept.last.display()));
        Ok(())
    };
    match apply(&mut ubus(of, contact)?, wanted, keep)? {
        ApplyOutcome::Nothing => say("Nothing is to be done\n")?,
        ApplyOutcome::Applied => say("Done, and confirmed\n")?,
        ApplyOutcome::Undone(why) => return Err(OpenwrtError::Undone(why)),
    }
    Ok(())
}

/// A connection to the router; nothing is sent yet.
fn ubus(of: &RouterOptions, contact: &RouterContact) -> Result<Ubus, OpenwrtError> {
    let address = contact.address.to_string();
    let https = Https::new(&address, Some(contact.fingerprint)).map_err(UbusError::from)?;
    let password = password(of.password_file.as_deref())?;
    let login = Login { name: of.login.clone(), password };
    Ok(Ubus::new(https, login, Box::new(thread::sleep)))
}

fn password(file: Option<&Path>) -> Result<String, OpenwrtError> {
    let Some(path) = file else {
        let password = std::env::var(PASSWORD).ok().filter(|it| !it.is_empty());
        return password.ok_or(OpenwrtError::NoPassword);
    };
    let wrong = |error| OpenwrtError::PasswordFile(path.to_owned(), error);
    let text = std::fs::read_to_string(path).map_err(wrong)?;
    let first = text.lines().next().filter(|line| !line.is_empty());
    first.map(str::to_owned).ok_or(OpenwrtError::NoPassword)
}
