//! Makes the plan of a box from its settings and unit files.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use octet_appliance::{Appliance, FileError, RouterContact, RouterKind, Unit, UnitSource};
use octet_router::plan::RouterPlan;

use super::line::RouterOptions;

/// Services whose folders are next to `services/`.
const BESIDE: [&str; 1] = ["netd"];

/// Why there is no plan.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    #[error("{path}: {error}", path = .0.display(), error = .1)]
    Unread(PathBuf, io::Error),
    /// A unit file of one of Octet's services is missing.
    #[error("{path}: {error}", path = .0.display(), error = .1)]
    NoUnit(PathBuf, io::Error),
    /// A file is invalid.
    #[error("{0}")]
    Wrong(#[from] Box<FileError>),
    /// The settings describe no box.
    #[error("{} has no [cluster]", .0.display())]
    NoCluster(PathBuf),
    /// The box's router runs Octet.
    #[error("{} says that the router runs Octet", .0.display())]
    OwnRouter(PathBuf),
    /// The router's address is missing.
    #[error("{} does not say where the router is", .0.display())]
    NoContact(PathBuf),
    /// The box has no coordinator.
    #[error("{} gives no board the role `manager`, so the box has no coordinator", .0.display())]
    NoManager(PathBuf),
}

impl PlanError {
    pub fn help(&self) -> &str {
        match self {
            Self::Unread(..) => "name the file: --settings FILE",
            Self::NoUnit(..) => "say where Octet's repository is: --octet FOLDER",
            Self::Wrong(error) => &error.hint,
            Self::NoCluster(_) | Self::OwnRouter(_) => "say `router = \"openwrt\"` in [cluster]",
            Self::NoManager(_) => "say `role = \"manager\"` of the board that holds the box's map",
            Self::NoContact(_) => {
                "say `router = { kind = \"openwrt\", address = …, fingerprint = … }` in [cluster], or --address and --fingerprint"
            }
        }
    }
}

/// The evaluated settings.
pub struct Settings {
    path: PathBuf,
    pub plan: RouterPlan,
    pub contact: RouterContact,
    /// The board with the role `manager`, which is the coordinator.
    manager: Option<u8>,
}

impl Settings {
    /// The number of the coordinator.
    pub fn manager(&self) -> Result<u8, PlanError> {
        self.manager.ok_or_else(|| PlanError::NoManager(self.path.clone()))
    }
}

/// Reads the settings, and makes the plan. The router's address in `of` has priority over the one
/// in the file.
///
/// # Errors
/// The settings are invalid, or there is no address.
pub fn read(of: &RouterOptions) -> Result<Settings, PlanError> {
    let path = &of.settings;
    let text = text(path)?;
    let file = path.display().to_string();
    let appliance = Appliance::parse(&file, &text)?;
    let settings =
        appliance.cluster_settings().ok_or_else(|| PlanError::NoCluster(path.clone()))?;
    let contact = match settings.cluster.router.clone() {
        RouterKind::Octet => return Err(PlanError::OwnRouter(path.clone())),
        RouterKind::OpenWrt(contact) => explicit_contact(of).or(contact),
    };
    let contact = contact.ok_or_else(|| PlanError::NoContact(path.clone()))?;
    let folder = path.parent().unwrap_or(Path::new(""));
    let units = units(&appliance, folder, of.octet.as_deref().unwrap_or(folder))?;
    let plan = RouterPlan::of_file(&settings, &units, (&file, &text))?;
    let manager = settings.cluster.manager(&settings.boards);
    Ok(Settings { path: path.clone(), plan, contact, manager })
}

/// The router's address, if it is given on the command line.
fn explicit_contact(of: &RouterOptions) -> Option<RouterContact> {
    Some(RouterContact { address: of.address.clone()?, fingerprint: of.fingerprint? })
}

/// The units of the image: Octet's and the owner's.
fn units(appliance: &Appliance, folder: &Path, octet: &Path) -> Result<Vec<Unit>, PlanError> {
    let mut units = vec![];
    for name in &appliance.image.services {
        let name = name.get_ref().as_str();
        let place =
            if BESIDE.contains(&name) { name.to_owned() } else { format!("services/{name}") };
        let path = octet.join(place).join("unit.toml");
        let text = fs::read_to_string(&path);
        let text = text.map_err(|error| PlanError::NoUnit(path.clone(), error))?;
        units.push(UnitSource::parse(path.display().to_string(), text)?.unit);
    }
    for service in &appliance.service {
        let path = folder.join(service.get_ref().unit.get_ref());
        units.push(UnitSource::parse(path.display().to_string(), text(&path)?)?.unit);
    }
    Ok(units)
}

fn text(path: &Path) -> Result<String, PlanError> {
    fs::read_to_string(path).map_err(|error| PlanError::Unread(path.to_owned(), error))
}
