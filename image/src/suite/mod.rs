//! `cargo image test`: everything that tests need is made first, then they run, those that take longest first.

mod compile;
mod costs;
mod cpu;
mod job;
mod openwrt;

use std::cmp::Reverse;
use std::collections::VecDeque;
use std::fs;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError, mpsc};
use std::thread;

use miette::{Diagnostic, IntoDiagnostic, WrapErr};
use tempfile::TempDir;

use crate::build::{self, Built, Options};
use crate::target::Target;

use self::compile::{CompiledTests, TestProgram};
use self::costs::{Costs, Tier};
use self::job::{JobOutcome, TestJob};

pub use self::openwrt::{TESTS as OPENWRT, root as openwrt_root};

/// Where the table of costs is.
const COSTS: &str = "tests/README.md";

/// Characters of a line of why something failed, at the end: what was compared may be long, and stands above.
const MAX_LINE: usize = 300;

/// So many tests may be late once; with more of them it is no longer chance.
const MAX_TIMEOUT_RETRIES: usize = 2;

/// No test has this in its name.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[error("no test and no program of tests has `{0}` in its name")]
#[diagnostic(help("tests/README.md says which there are; some run with --soak only"))]
struct NoTest(String);

/// The table cannot be written.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[error("{COSTS} has no place for the table of costs")]
#[diagnostic(help("bring its two comments about costs back from git"))]
struct NoTable;

/// What of it is to run.
pub struct Selection {
    /// Only tests of the appliance, and programs of other tests, with this in their name.
    pub filter: Option<String>,
    /// Also those of the long tier.
    pub soak: bool,
    /// Whether the table of costs is written anew.
    pub write_costs: bool,
    /// The root file system of a router that is not ours, for the tests of one.
    pub openwrt: Option<PathBuf>,
}

/// The suite, with all that it needs.
struct Suite {
    /// The image, once there is one.
    built: Option<Built>,
    programs: PathBuf,
    /// What one test makes and others use.
    shared: TempDir,
    soak: bool,
    openwrt: Option<PathBuf>,
}

/// Makes what is needed and runs the tests; whether they passed.
///
/// # Errors
/// Something cannot be made or started, or no test is called like that.
pub fn run(options: &Options, selection: &Selection) -> miette::Result<bool> {
    let root = build::workspace()?.root().to_owned();
    let file = root.join(COSTS);
    let text = fs::read_to_string(&file).into_diagnostic().wrap_err(COSTS)?;
    let mut costs = Costs::read(&text);
    let mut suite = Suite::new(selection)?;
    let mut outcomes = vec![];
    // Two compilations side by side: each has times at which it uses one processor.
    let (jobs, left) = thread::scope(|scope| -> miette::Result<_> {
        let images = scope.spawn(|| images(options, &compile::programs(&root), selection.soak));
        let made = CompiledTests::compile(&root, selection.soak)?;
        suite.programs = made.programs;
        let (mut jobs, left) = select(made.tests, selection, &mut costs)?;
        // The image's end, the link of its programs, is such a time.
        while !images.is_finished()
            && let Some(at) = jobs.iter().rposition(|job| !job.needs_image())
        {
            let outcome = jobs.remove(at).run(&suite)?;
            outcome.print();
            outcomes.push(outcome);
        }
        let built = images.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        suite.built = Some(built?);
        Ok((jobs, left))
    })?;

    outcomes.extend(suite.run_all(jobs)?);
    for JobOutcome { job, took, cpu, .. } in &outcomes {
        costs.record(&job.name, job.tier, [*took, *cpu]);
    }
    let passed = suite.report(outcomes, left)?;
    if selection.write_costs {
        let text = costs.replace_table(&text).ok_or(NoTable)?;
        fs::write(&file, text).into_diagnostic().wrap_err(COSTS)?;
    }
    Ok(passed)
}

/// What of `programs` is run, that which takes longest first, and how much is left to the long tier.
fn select(
    programs: Vec<TestProgram>,
    selection: &Selection,
    costs: &mut Costs,
) -> miette::Result<(Vec<TestJob>, usize)> {
    let jobs: Vec<Vec<TestJob>> =
        programs.into_iter().map(TestJob::of).collect::<Result<_, _>>()?;
    // Whoever names a router's root file system asks for its test, whose tier is the long one.
    let is_all = selection.soak || selection.openwrt.is_some();
    let (mut jobs, left): (Vec<TestJob>, Vec<TestJob>) =
        jobs.into_iter().flatten().partition(|job| is_all || job.tier == Tier::Short);
    costs.retain(|name| jobs.iter().chain(&left).find(|job| job.name == name).map(|job| job.tier));
    if let Some(filter) = &selection.filter {
        jobs.retain(|job| job.name.contains(filter));
        if jobs.is_empty() {
            return Err(NoTest(filter.clone()).into());
        }
    }
    jobs.sort_by_key(|job| Reverse(costs.get(&job.name)));
    Ok((jobs, left.len()))
}

/// The image that is asked for, and if `soak` those of the other targets; and what guests run beside each, into `programs`.
fn images(options: &Options, programs: &Path, soak: bool) -> miette::Result<Built> {
    let built = build::build(options)?;
    compile::guests(options, programs, soak)?;
    if soak {
        let other = Options { target: Target::QemuAarch64, ..options.clone() };
        build::build(&other)?;
        compile::guests(&other, programs, soak)?;
        build::build(&Options { target: Target::BoardArm64, ..options.clone() })?;
    }
    Ok(built)
}

impl Suite {
    /// One for which nothing is made yet.
    fn new(selection: &Selection) -> miette::Result<Self> {
        let shared = tempfile::tempdir().into_diagnostic()?;
        let (soak, openwrt) = (selection.soak, selection.openwrt.clone());
        Ok(Self { built: None, programs: PathBuf::new(), shared, soak, openwrt })
    }

    /// Runs `jobs` in their order, some at a time.
    fn run_all(&self, jobs: Vec<TestJob>) -> miette::Result<Vec<JobOutcome>> {
        // Guests have slots of their own, one more than processors: who waits for one does nothing else.
        let workers = thread::available_parallelism().map_or(1, NonZero::get) + 2;
        // Guests that wait for each other are not idle, so two whole boxes side by side take longer than one after the
        // other: the first worker alone runs them.
        let (boxes, others): (VecDeque<_>, _) = jobs.into_iter().partition(TestJob::needs_cluster);
        let (boxes, others) = (Mutex::new(boxes), Mutex::new(others));
        let take = |jobs: &Mutex<VecDeque<TestJob>>| {
            jobs.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
        };
        thread::scope(|scope| {
            let (sender, outcomes) = mpsc::channel();
            for worker in 0..workers {
                let (sender, boxes, others) = (sender.clone(), &boxes, &others);
                let next = move || {
                    let of_box = if worker == 0 { take(boxes) } else { None };
                    of_box.or_else(|| take(others))
                };
                scope.spawn(move || {
                    // Nobody listens any more once one could not be started.
                    while let Some(job) = next()
                        && sender.send(job.run(self)).is_ok()
                    {}
                });
            }
            drop(sender);
            outcomes.into_iter().map(|it| it.inspect(JobOutcome::print)).collect()
        })
    }

    /// Runs what was late once more, alone, and says how all ended.
    fn report(&self, outcomes: Vec<JobOutcome>, left: usize) -> miette::Result<bool> {
        let (late, mut outcomes): (Vec<_>, Vec<_>) =
            outcomes.into_iter().partition(JobOutcome::is_timeout);
        let mut flaky = vec![];
        for first in late {
            let again = first.job.clone().run(self)?;
            again.print();
            if again.passed {
                flaky.push(first);
            } else if again.is_timeout() {
                println!(
                    "test {} was late twice ... FAILED\n{}",
                    again.job.name,
                    again.output.trim()
                );
            }
            outcomes.push(again);
        }
        for JobOutcome { job, output, .. } in &flaky {
            println!(
                "flaky: {}: late at first, passed alone; at first it said:\n{}",
                job.name,
                output.trim()
            );
        }
        if flaky.len() > MAX_TIMEOUT_RETRIES {
            println!(
                "{} tests were late at first: more than {MAX_TIMEOUT_RETRIES} are no chance",
                flaky.len()
            );
        }
        let mut sum = [0; 3];
        for outcome in &outcomes {
            for (sum, count) in sum.iter_mut().zip(outcome.counts()) {
                *sum += count;
            }
        }
        let [passed, failed, ignored] = sum;
        let (flaky, ignored) = (flaky.len(), ignored + left);
        println!(
            "\n{passed} passed, {failed} failed, {flaky} flaky, {ignored} left to the long tier"
        );
        for outcome in outcomes.iter().filter(|outcome| !outcome.passed) {
            println!("failed: {}", outcome.job.name);
            for line in outcome.panics().into_iter().flatten() {
                println!("  {}", line.chars().take(MAX_LINE).collect::<String>());
            }
        }
        Ok(flaky <= MAX_TIMEOUT_RETRIES && outcomes.iter().all(|outcome| outcome.passed))
    }
}
