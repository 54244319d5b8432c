//! The kernel's modules, with a `modules.dep` of exactly those that an image has; whoever has the
//! kernel's package gives their content.

mod named;
mod selection;

use octet_appliance::FileError;

pub use self::named::{LoadTime, NamedModule};
use self::selection::ModuleSelection;
use super::Provided;
use crate::seed::{Modules, file_name};
use crate::target::Target;
use crate::tree::{Because, NodeOrigin, TreeNode};

/// The kernel's modules as its package has them.
pub struct KernelModules {
    /// Their folder, `/lib/modules/RELEASE`.
    pub folder: String,
    /// The package.
    pub origin: NodeOrigin,
    pub modules: Modules,
    /// The text of `modules.builtin`.
    pub builtin: String,
}

/// A module that is wanted is not there.
#[derive(Debug, thiserror::Error)]
pub enum MissingModule {
    /// Somebody names it.
    #[error(transparent)]
    Named(#[from] Box<FileError>),
    /// Every image needs it.
    #[error("{0}")]
    Required(String),
}

impl KernelModules {
    /// Takes the modules that are `requested`, those before the root, those of the flash, and what all of
    /// them need. `read` gives the content of a file of the package, unpacked. Returns files of the image,
    /// and writes into `provided` who loads which.
    pub fn gather<E: From<MissingModule>>(
        &self,
        target: Target,
        requested: &[NamedModule],
        read: impl Fn(&str) -> Result<Vec<u8>, E>,
        provided: &mut Provided,
    ) -> Result<Vec<(String, TreeNode)>, E> {
        let choice =
            ModuleSelection::select(&self.modules, target, requested, &mut provided.notes)?;
        let Self { folder, modules, .. } = self;
        let unpacked = |name: &str| format!("{folder}/{}", file_name(modules.path(name)));
        let mut nodes = vec![];
        for name in &choice.all {
            let bytes = read(&format!("{folder}/{}", modules.path(name)))?;
            let node = TreeNode::file(bytes, 0o644, self.origin.clone(), choice.because(name));
            nodes.push((unpacked(name), node));
        }
        let paths = |names: &[String]| names.iter().map(|name| unpacked(name)).collect();
        provided.early = paths(&choice.early);
        provided.first = paths(&choice.first);
        provided.router = paths(&choice.router);
        provided.modules = paths(&choice.loaded);
        provided.disk = paths(&choice.disk);

        let always = || Because::always("loading modules needs it");
        let dep = modules.dep_file(&choice.all).into_bytes();
        let dep = TreeNode::file(dep, 0o644, NodeOrigin::Generated, always());
        nodes.push((format!("{folder}/modules.dep"), dep));
        let builtin = self.builtin.clone().into_bytes();
        let builtin = TreeNode::file(builtin, 0o644, self.origin.clone(), always());
        nodes.push((format!("{folder}/modules.builtin"), builtin));
        Ok(nodes)
    }
}
