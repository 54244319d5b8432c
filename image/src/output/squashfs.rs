//! The root file system: squashfs with zstd.
//!
//! Compressing at level 19 is by far the longest part of a build without compiling, so it is done on all
//! processors, and only for blocks that the build before did not have. The result depends on
//! neither: a first pass over the tree collects the blocks, which are then compressed each for
//! itself, and a second pass writes the file.
//!
//! Programs that the boot waits for are not compressed: to unpack the three of Octet took longer
//! than all that they do until they are ready.

mod blocks;

use std::io::{self, Cursor};
use std::path::Path;

use backhand::compression::Compressor;
use backhand::kind::Kind;
use backhand::{BackhandError, FilesystemCompressor, FilesystemWriter, NodeHeader};
use miette::Diagnostic;

use self::blocks::Blocks;
use crate::output::file::WriteError;
use crate::steps::Step;
use crate::tree::{NodeContent, Tree};

/// Smaller blocks compress worse, larger ones cost memory at each read.
const BLOCK_SIZE: u32 = 128 * 1024;

/// The slowest level that needs no more memory to read: for what is given to others.
pub const BEST_LEVEL: i32 = 19;

/// The level of what is only tried here.
pub const FAST_LEVEL: i32 = 1;

/// The root file system cannot be made.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub enum SquashfsError {
    #[error("the root file system cannot be made: {0}")]
    #[diagnostic(help("this is a mistake of the builder's: please report it"))]
    Library(#[from] BackhandError),
    /// The blocks cannot be kept.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Write(#[from] WriteError),
}

/// The root file system of `tree`, every time in it being `epoch`, compressed at zstd's `level`. `cache_file` is the file in
/// which compressed blocks are kept from one build of that level to the next.
pub fn build(
    tree: &Tree,
    epoch: u32,
    level: i32,
    cache_file: &Path,
    step: &Step,
) -> Result<Vec<u8>, SquashfsError> {
    // The library wants its compressor to live for ever; there is one per build.
    let blocks: &'static Blocks = Box::leak(Box::new(Blocks::new(level)));
    write(tree, epoch, blocks)?;
    blocks.compress(cache_file, step)?;
    write(tree, epoch, blocks)
}

fn write(tree: &Tree, epoch: u32, blocks: &'static Blocks) -> Result<Vec<u8>, SquashfsError> {
    let mut writer = FilesystemWriter::default();
    writer.set_kind(Kind::new_v4(blocks));
    writer.set_block_size(BLOCK_SIZE);
    // Its level is nobody's matter who reads it, so the file does not say it.
    writer.set_compressor(FilesystemCompressor::new(Compressor::Zstd, None)?);
    writer.set_time(epoch);
    writer.set_root_mode(0o755);
    writer.set_only_root_id();
    writer.set_kib_padding(4);
    for (path, node) in tree.iter() {
        let header = NodeHeader::new(node.mode, node.uid, node.gid, epoch);
        match &node.content {
            NodeContent::Folder => writer.push_dir(path, header)?,
            NodeContent::Link(target) => writer.push_symlink(target.as_str(), path, header)?,
            NodeContent::File { bytes, .. } => writer.push_file(&bytes[..], path, header)?,
        }
    }
    let mut file = Cursor::new(vec![]);
    writer.write(&mut file)?;
    Ok(file.into_inner())
}

/// An error of input or output, in the library's words.
fn io_error(error: io::Error) -> BackhandError {
    BackhandError::StdIo(error)
}
