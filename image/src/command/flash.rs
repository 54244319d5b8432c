//! `cargo image flash`

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use miette::{Diagnostic, IntoDiagnostic};
use octet_appliance::{BoardFile, BoardId};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

use crate::appliance_file::ApplianceFile;
use crate::build::{self, workspace};
use crate::flash::{
    ALL_LOST, FirmwarePackages, FlashError, FlashPhase, FlashReport, FlashTarget, Hardware, Host,
    ImageFile, KeepDataError, OwnFirmware, PathContent, SlotWork, Watch, board, confirm, flash,
    flash_slot, inspect, plan_keep_data,
};
use crate::lock::Lock;
use crate::report;
use crate::setup;
use crate::steps::{Step, Steps};
use crate::store::InputStore;

/// Writes the image to a disk or a file: only blocks that differ, all of them read back
#[derive(clap::Args)]
pub struct Args {
    /// A whole disk, or a file, which is created if it does not exist
    #[arg(value_name = "FILE|DEVICE")]
    to: PathBuf,
    /// Write this image instead of the built one; .zst is decompressed
    #[arg(long, value_name = "FILE")]
    image: Option<PathBuf>,
    /// The node it is for: the number of a board's port, or `router`
    #[arg(long, value_name = "N|router")]
    board: Option<BoardId>,
    /// Write only the slot and its boot entry to a disk that has Octet already, as an update does; keys, data and
    /// board number are kept
    #[arg(long, conflicts_with = "board")]
    keep_data: bool,
    /// The board that starts from it, with what it needs besides the image; the image is that for board-arm64
    #[arg(long, value_name = "NAME", value_enum, conflicts_with = "keep_data")]
    hardware: Option<Hardware>,
    #[command(flatten)]
    own: OwnFirmware,
    /// With --build-u-boot: install what that needs
    #[arg(long, requires = "build_u_boot")]
    setup: bool,
    /// Overwrite without asking
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    build: build::Options,
}

/// Runs the subcommand.
pub fn run(mut args: Args) -> miette::Result<ExitCode> {
    let host = Host::local();
    // First of all: nobody waits for a build to be told of a slip of the finger.
    let found = inspect(&args.to, &host)?;
    if args.keep_data && matches!(found, PathContent::Nothing) {
        let why = KeepDataError::NoOctet("there is nothing");
        return Err(FlashError::KeepData { path: args.to, why }.into());
    }
    if args.own.build_u_boot {
        setup::require(&[&setup::U_BOOT], args.setup)?;
    }
    // What is missing for the board is said before the build, too.
    let mut firmware = match args.hardware {
        Some(hardware) => Some(hardware.firmware(&args.own, || firmware_packages(&args.build))?),
        None => None,
    };
    if let Some(hardware) = args.hardware {
        args.build.target = hardware.target(args.build.target)?;
    }
    let file = match args.image {
        Some(file) => file,
        None => {
            check_board(
                args.board,
                &ApplianceFile::read(&args.build.appliance_file(&workspace()?))?,
            )?;
            build::build(&args.build)?.disk
        }
    };
    let image = ImageFile::open(&file)?;
    let target = FlashTarget::open(&args.to, &host)?;
    target.check_fits(&image)?;
    if args.keep_data {
        return flash_slot_only(&image, &target, args.yes);
    }
    if let Some(firmware) = &mut firmware {
        firmware.complete(&image)?;
    }
    let image = match (args.board, &firmware) {
        (None, None) => image,
        (board, firmware) => image.copy_with(|disk| {
            board.map_or(Ok(()), |board| board::put(disk, board))?;
            firmware.as_ref().map_or(Ok(()), |firmware| firmware.put(disk))
        })?,
    };
    if !args.yes && !target.is_expendable() {
        confirm(&target, ALL_LOST)?;
    }
    let shown = ProgressBars::new()?;
    let report = flash(&image, &target, &shown)?;
    shown.end();
    report::print(&format!("{}\n", summary(&report, &image, &target)))?;
    if let Some(board) = args.board {
        let path = BoardFile::PATH;
        report::print(&format!(
            "It is for {board}: {path} on its EFI system partition says so.\n"
        ))?;
    }
    if let Some(firmware) = &firmware {
        let (hardware, what) = (firmware.hardware, firmware.describe());
        report::print(&format!("For {hardware} it has besides the image:\n{what}"))?;
    }
    if let Some(disk) = target.disk() {
        let disk = disk.path().display().to_string();
        report::print(&format!("{}\n", next_step(&disk, args.hardware)))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The packages of U-Boot that are locked.
fn firmware_packages(options: &build::Options) -> miette::Result<FirmwarePackages> {
    let lock_file = options.lock_file(&workspace()?);
    let store = InputStore::open(options.offline)?;
    let lock = Lock::read(&lock_file)?;
    Ok(FirmwarePackages { lock, lock_file, store, locked: options.locked })
}

/// A board that the appliance's file does not have.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[error("{board} is none of {file}: its box has boards 1 to {boards}")]
#[diagnostic(help("see `boards` in [cluster]"))]
struct NoBoard {
    board: BoardId,
    file: String,
    boards: u8,
}

/// Sees that the box of this file has such a board. A file about one board does not say what box it is for.
fn check_board(board: Option<BoardId>, appliance: &ApplianceFile) -> Result<(), NoBoard> {
    let Some((board, cluster)) = board.zip(appliance.appliance.cluster.as_ref()) else {
        return Ok(());
    };
    match board.number() <= cluster.boards {
        true => Ok(()),
        false => Err(NoBoard { board, file: appliance.file.clone(), boards: cluster.boards }),
    }
}

/// Writes the slot of `image`, and keeps all else.
fn flash_slot_only(image: &ImageFile, target: &FlashTarget, yes: bool) -> miette::Result<ExitCode> {
    let keep = plan_keep_data(image, target)?;
    let (slot, to) = (&keep.manifest.slot, target.path().display());
    if keep.is_done() {
        let what = format!("{to}: slot {slot} is there, whole, and starts next: nothing to do\n");
        report::print(&what)?;
        return Ok(ExitCode::SUCCESS);
    }
    if !yes && !target.is_expendable() {
        confirm(target, &keep.describe())?;
    }
    let shown = ProgressBars::new()?;
    let written = flash_slot(&keep, image, target, &shown)?;
    shown.end();
    let next = match (&keep.work, &keep.fallback) {
        (SlotWork::Unchanged, _) => format!("slot {slot} was there, and starts next"),
        (_, Some(back)) => {
            format!("slot {slot} is tried next; if it does not become good, {back} starts again")
        }
        (_, None) => format!("slot {slot} starts next"),
    };
    report::print(&format!(
        "{} -> {to}: {written} bytes written and read back\nAll else is as it was; {next}.\n",
        image.path().display()
    ))?;
    Ok(ExitCode::SUCCESS)
}

/// What was done, in bytes.
fn summary(report: &FlashReport, image: &ImageFile, target: &FlashTarget) -> String {
    let what = format!("{} -> {}", image.path().display(), target.path().display());
    if report.written == 0 {
        return format!("{what}: 0 bytes written, all {} are as they have to be", report.size);
    }
    format!(
        "{what}: {} of {} bytes written and {} read back, {} were as they have to be",
        report.written, report.size, report.verified, report.same
    )
}

/// What to do with a disk that is written.
fn next_step(disk: &str, hardware: Option<Hardware>) -> String {
    let starts = match hardware {
        None => "Put it into the machine and switch that\non: UEFI firmware starts it".to_owned(),
        Some(hardware) => {
            format!("Put it into {hardware} and switch that on:\nU-Boot starts it (docs/boards.md)")
        }
    };
    format!(
        "All of it is on the medium: {disk} can be unplugged. {starts}, and its first start makes the\nrest \
         of the medium its data partition."
    )
}

/// A bar for each phase; ctrl-C stops between two pieces, a second one at once.
struct ProgressBars {
    steps: Steps,
    now: Mutex<Option<(FlashPhase, u64, Step)>>,
    stop: Arc<AtomicBool>,
}

impl ProgressBars {
    /// From now on signals are ours.
    fn new() -> miette::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM] {
            // In this order: the first signal finds the flag not set yet.
            flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&stop))
                .into_diagnostic()?;
            flag::register(signal, Arc::clone(&stop)).into_diagnostic()?;
        }
        Ok(Self { steps: Steps::new(), now: Mutex::default(), stop })
    }

    /// The last phase is at its end.
    fn end(&self) {
        let now = self.now.lock().unwrap_or_else(PoisonError::into_inner).take();
        match now {
            Some((FlashPhase::Write, total, step)) => step.done(&format!("{total} bytes compared")),
            Some((FlashPhase::Slot, total, step)) => {
                step.done(&format!("{total} bytes of its files"));
            }
            Some((FlashPhase::Verify, total, step)) => {
                step.done(&format!("{total} bytes read back"));
            }
            None => {}
        }
    }
}

impl Watch for ProgressBars {
    fn begin(&self, phase: FlashPhase, total: u64) {
        self.end();
        let (name, doing) = match phase {
            FlashPhase::Write => ("flash", "writing what differs"),
            FlashPhase::Verify => ("verify", "reading back"),
            FlashPhase::Slot => ("flash", "writing the slot, and reading it back"),
        };
        let step = self.steps.start(name, doing);
        step.bytes(total);
        *self.now.lock().unwrap_or_else(PoisonError::into_inner) = Some((phase, total, step));
    }

    fn advance(&self, bytes: u64) {
        if let Some((.., step)) = &*self.now.lock().unwrap_or_else(PoisonError::into_inner) {
            step.advance_by(bytes);
        }
    }

    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_board_that_the_box_does_not_have_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("appliance.toml");
        let read = |cluster: &str| {
            let image = "[image]\npackages = []\ndrivers = []\nmodules = []\nservices = []\n";
            std::fs::write(&path, format!("[appliance]\nname = \"a\"\n{image}{cluster}")).unwrap();
            ApplianceFile::read(&path).unwrap()
        };
        let of_eight = read("[cluster]\nboards = 8\n");
        let refused = check_board(BoardId::board(20), &of_eight).unwrap_err();
        let told = refused.to_string();
        assert!(
            told.starts_with("board 20 is none of") && told.ends_with("boards 1 to 8"),
            "{told}"
        );
        for there in [BoardId::board(8), Some(BoardId::ROUTER), None] {
            assert!(check_board(there, &of_eight).is_ok());
        }
        assert!(check_board(BoardId::board(20), &read("")).is_ok());
    }
}
