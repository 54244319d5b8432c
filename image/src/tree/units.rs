//! Units of an image: found, checked together, put into the tree.

use std::fs;
use std::path::{Path, PathBuf};

use octet_appliance::{
    CONFIG, FileError, INIT_PROGRAM, UNITS, Unit, UnitSource, nearest, placement, start_order,
};
use serde::Deserialize;
use toml::Spanned;

use super::filters::{self, FilterError};
use super::{Because, Clash, ElfFile, NodeOrigin, Tree, TreeNode};
use crate::appliance_file::{ApplianceFile, nearest_hint};
use crate::target::Target;

/// PID 1's own units, by their files in `init/`.
const INIT_UNITS: [&str; 5] = ["data", "first-modules", "modules", PORT, SLOT];

/// Services whose folders stand beside `services/`.
const TOP_LEVEL_SERVICES: [&str; 1] = ["netd"];

/// The one that ends the counting of tries.
const SLOT: &str = "slot";

/// The one by which operators watch a box under QEMU.
const PORT: &str = "port";

/// A unit, and what it runs.
#[derive(Debug, Clone)]
pub struct ImageUnit {
    pub source: UnitSource,
    /// Why it is in the image.
    pub because: Because,
    /// The owner's program, for a unit that is not one of Octet's own.
    pub owner: Option<OwnerProgram>,
}

/// A program that is a file of the owner's.
#[derive(Debug, Clone)]
pub struct OwnerProgram {
    /// The file, as `appliance.toml` names it.
    pub file: String,
    pub bytes: Vec<u8>,
}

/// All units of an image.
#[derive(Debug, Clone)]
pub struct ImageUnits {
    pub all: Vec<ImageUnit>,
}

impl ImageUnits {
    /// Reads the units that `appliance` names and checks that they fit together.
    pub fn load(root: &Path, appliance: &ApplianceFile) -> Result<Self, Box<FileError>> {
        let mut all = Self::init_units(root)?;
        for name in &appliance.appliance.image.services {
            let (span, name) = (name.span(), name.get_ref().as_str());
            let folder = folder(name);
            let file = format!("{folder}/unit.toml");
            let text = fs::read_to_string(root.join(&file)).map_err(|_| {
                let known = known_services(root);
                let near = nearest(name, known.iter().map(String::as_str));
                let hint = nearest_hint(&near, &format!("add {file}, or leave it out"));
                appliance.error(span.clone(), format!("there is no service `{name}`"), hint)
            })?;
            let source = UnitSource::parse(file, text)?;
            if source.unit.name.as_str() != name {
                let message = format!("the unit in {folder} is named `{}`", source.unit.name);
                let hint = "give the folder and the unit one name";
                return Err(FileError::new(&source.file, &source.text, 0..0, message, hint));
            }
            let because = appliance.because(&span, "services", name);
            all.push(ImageUnit { source, because, owner: None });
        }
        for service in &appliance.appliance.service {
            let span = service.span();
            let service = service.get_ref();
            let unreadable = |at: &Spanned<PathBuf>, error: std::io::Error| {
                let message = format!("cannot read {}: {error}", at.get_ref().display());
                let hint = "the path is relative to the folder of this file";
                appliance.error(at.span(), message, hint)
            };
            let text = fs::read_to_string(appliance.folder.join(service.unit.get_ref()))
                .map_err(|error| unreadable(&service.unit, error))?;
            let bytes = fs::read(appliance.folder.join(service.path.get_ref()))
                .map_err(|error| unreadable(&service.path, error))?;
            let file = service.unit.get_ref().display().to_string();
            let mut source = UnitSource::parse(file, text)?;
            source.owner_supplied = true;
            let because = appliance.because(&span, "service", source.unit.name.as_str());
            let file = service.path.get_ref().display().to_string();
            all.push(ImageUnit { source, because, owner: Some(OwnerProgram { file, bytes }) });
        }
        Self::set_slot_needs(&mut all, appliance)?;
        Self::start_after_config(&mut all);
        Self::stop_port_last(&mut all);
        for ImageUnit { source, .. } in &mut all {
            let unit = &mut source.unit;
            // A target has nothing to filter.
            if unit.exec.is_some() {
                unit.filters = filters::names(&unit.sandbox.system_calls);
            }
        }
        let sources: Vec<_> = all.iter().map(|unit| unit.source.clone()).collect();
        let mut slots: Vec<_> = all.into_iter().map(Some).collect();
        let order = start_order(&sources)?;
        let mut all: Vec<_> = order.into_iter().filter_map(|index| slots[index].take()).collect();
        Self::apply_placement(&mut all, appliance)?;
        Ok(Self { all })
    }

    /// Units that boards name run there, and nowhere else.
    fn apply_placement(
        all: &mut [ImageUnit],
        appliance: &ApplianceFile,
    ) -> Result<(), Box<FileError>> {
        let units = all.iter().map(|placed| &placed.source.unit);
        let source = (appliance.file.as_str(), appliance.text.as_str());
        let mut placement = placement(&appliance.appliance.board, units, source)?;
        for ImageUnit { source, .. } in all {
            source.unit.boards = placement.remove(&source.unit.name);
        }
        Ok(())
    }

    /// Units that no file of the workspace names, in start order.
    pub fn from_sources(sources: Vec<UnitSource>) -> Self {
        let because = Because::always("a benchmark runs it");
        let place = |source| ImageUnit { source, because: because.clone(), owner: None };
        Self { all: sources.into_iter().map(place).collect() }
    }

    /// PID 1's own units: they stand beside it and are in every image.
    fn init_units(root: &Path) -> Result<Vec<ImageUnit>, Box<FileError>> {
        let read = |name: &&str| {
            let file = format!("init/{name}.unit.toml");
            let text = fs::read_to_string(root.join(&file)).map_err(|error| {
                let message = format!("cannot be read: {error}");
                FileError::new(&file, "", 0..0, message, "bring it back from git")
            })?;
            let source = UnitSource::parse(file, text)?;
            Ok(ImageUnit { source, because: Because::always("PID 1 runs it"), owner: None })
        };
        INIT_UNITS.iter().map(read).collect()
    }

    /// Who reads settings starts when it is known which are in force, or that nobody says so.
    fn start_after_config(all: &mut [ImageUnit]) {
        let mut units = all.iter().map(|placed| &placed.source.unit.name);
        let Some(config) = units.find(|name| name.as_str() == CONFIG).cloned() else { return };
        for ImageUnit { source, .. } in all {
            let unit = &source.unit;
            if !unit.config.is_empty() && !unit.after.contains(&config) {
                source.add_after(config.clone());
            }
        }
    }

    /// All others are stopped before the control port, where somebody may watch that.
    fn stop_port_last(all: &mut [ImageUnit]) {
        let mut units = all.iter().map(|placed| &placed.source.unit.name);
        let Some(port) = units.find(|name| name.as_str() == PORT).cloned() else { return };
        for ImageUnit { source, .. } in all.iter_mut().filter(|it| it.source.unit.name != port) {
            source.add_after(port.clone());
        }
    }

    /// The slot is good once every base unit is ready, and those that `[health]` names: the unit that
    /// says so needs them all.
    fn set_slot_needs(
        all: &mut [ImageUnit],
        appliance: &ApplianceFile,
    ) -> Result<(), Box<FileError>> {
        let mut needed: Vec<_> = all
            .iter()
            .filter(|unit| unit.source.unit.base)
            .map(|unit| unit.source.unit.name.clone())
            .collect();
        for named in &appliance.appliance.health.units {
            let (span, name) = (named.span(), named.get_ref());
            if all.iter().all(|unit| unit.source.unit.name != *name) || name.as_str() == SLOT {
                let known = all.iter().map(|unit| unit.source.unit.name.as_str());
                let near = nearest(name.as_str(), known);
                let hint = nearest_hint(&near, "name a unit of this image, or leave it out");
                let message = format!("this image has no unit `{name}` that could be healthy");
                return Err(appliance.error(span, message, hint));
            }
            if !needed.contains(name) {
                needed.push(name.clone());
            }
        }
        let slot = all.iter_mut().find(|unit| unit.source.unit.name.as_str() == SLOT);
        if let Some(slot) = slot {
            needed.into_iter().for_each(|name| slot.source.add_need(name));
        }
        Ok(())
    }

    /// Names of Octet's own services among them.
    pub fn octet_units(&self) -> impl Iterator<Item = &ImageUnit> {
        self.all.iter().filter(|unit| {
            let exec = unit.source.unit.exec.as_ref();
            unit.owner.is_none() && exec.is_none_or(|exec| exec.as_str() != INIT_PROGRAM)
        })
    }

    /// Puts the list of units where PID 1 reads it, and beside it the filters that they run with.
    pub fn put(&self, tree: &mut Tree, target: Target) -> Result<(), FilterError> {
        self.put_list(tree)?;
        filters::put(tree, self.all.iter().map(|unit| &unit.source.unit), target)
    }

    /// Puts the list alone, for units that run without filters.
    pub fn put_list(&self, tree: &mut Tree) -> Result<(), Clash> {
        let units: Vec<&Unit> = self.all.iter().map(|unit| &unit.source.unit).collect();
        let json = format!("{:#}\n", serde_json::json!(units));
        let files: Vec<&str> = self.all.iter().map(|unit| unit.source.file.as_str()).collect();
        let because = Because::always(format!("PID 1 runs these units: {}", files.join(", ")));
        tree.put(UNITS, TreeNode::file(json.into_bytes(), 0o644, NodeOrigin::Generated, because))
    }

    /// Checks that every unit's program is in `tree` and can run on `target`.
    pub fn check(&self, tree: &Tree, target: Target) -> Result<(), Box<FileError>> {
        for unit in &self.all {
            let exec = unit.source.unit.exec.as_ref().filter(|exec| exec.as_str() != INIT_PROGRAM);
            let Some(exec) = exec else { continue };
            let error = |message: String, hint: &str| {
                let source = &unit.source;
                FileError::new(&source.file, &source.text, exec_span(&source.text), message, hint)
            };
            let Some(bytes) = tree.resolve(exec.as_str()).and_then(TreeNode::bytes) else {
                let message = format!(
                    "unit `{}` runs {exec}, which is not in the image",
                    unit.source.unit.name
                );
                return Err(error(
                    message,
                    "add the package or the service that has it, or correct the path",
                ));
            };
            let Some(program) = ElfFile::parse(bytes) else {
                let message = format!("{exec} is not a program: it has no ELF header");
                return Err(error(
                    message,
                    "name a program; a script has nothing in the image to run it",
                ));
            };
            if program.machine != target.elf_machine() {
                let message =
                    format!("{exec} is a program for another processor than that of {target}");
                let hint = format!("compile it for {}", target.triple());
                return Err(error(message, &hint));
            }
            if unit.owner.is_some() && !program.is_static() {
                let message = format!("{exec} is not static");
                let hint = format!("link it statically, for instance for {}", target.triple());
                return Err(error(message, &hint));
            }
        }
        Ok(())
    }
}

/// The folder of the service `name`.
fn folder(name: &str) -> String {
    if TOP_LEVEL_SERVICES.contains(&name) { name.to_owned() } else { format!("services/{name}") }
}

/// Services that have a unit.
fn known_services(root: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(root.join("services")) else { return vec![] };
    let mut names: Vec<_> = entries
        .filter_map(Result::ok)
        .filter(|entry| entry.path().join("unit.toml").is_file())
        .filter_map(|entry| entry.file_name().into_string().ok())
        .chain(TOP_LEVEL_SERVICES.map(str::to_owned))
        .collect();
    names.sort();
    names
}

/// Where a unit file says `exec`.
fn exec_span(text: &str) -> std::ops::Range<usize> {
    #[derive(Deserialize)]
    struct Exec {
        exec: Spanned<String>,
    }
    toml::from_str(text).map_or(0..0, |unit: Exec| unit.exec.span())
}
