//! One process of tests: a whole program of them, or one test that boots guests.

use std::env;
use std::fs::File;
use std::io::{Read, Seek};
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use miette::{IntoDiagnostic, WrapErr};

use super::Suite;
use super::compile::TestProgram;
use super::costs::Tier;
use super::cpu;
use super::openwrt::VARIABLE;
use crate::setup::unpacked_folder;

/// The program whose tests have a process each: a guest that one of them boots is no other's matter.
const APPLIANCE: &str = "tests/tests/appliance";

/// The seed of property tests (proptest, `Config::rng_seed`).
const PROPERTIES: &str = "PROPTEST_RNG_SEED";

/// Where packages of Debian are that are unpacked and not installed, for the tests that hold something beside them.
const UNPACKED: &str = "OCTET_UNPACKED";

/// So many lines of why a thread panicked are repeated at the end.
const PANIC_LINES: usize = 4;

#[derive(Debug, Clone)]
pub struct TestJob {
    /// The test, or the program of tests.
    pub name: String,
    /// Whether it is one of the long tier alone.
    pub tier: Tier,
    program: PathBuf,
    package: PathBuf,
    /// The one test that is run; all, if none.
    test: Option<String>,
}

#[derive(Debug)]
pub struct JobOutcome {
    pub job: TestJob,
    pub took: Duration,
    /// The CPU time of it and of its guests.
    pub cpu: Duration,
    pub output: String,
    pub passed: bool,
}

impl TestJob {
    /// The processes of a program, of both tiers.
    pub fn of(program: TestProgram) -> miette::Result<Vec<Self>> {
        let TestProgram { name, path, package } = program;
        if name != APPLIANCE {
            return Ok(vec![Self { name, tier: Tier::Short, program: path, package, test: None }]);
        }
        let list = |more: &[&str]| -> miette::Result<Vec<String>> {
            let mut command = Command::new(&path);
            let output = command.args(["--list", "--format", "terse"]).args(more).output();
            let output = output.into_diagnostic().wrap_err_with(|| path.display().to_string())?;
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            Ok(text
                .lines()
                .filter_map(|line| Some(line.strip_suffix(": test")?.to_owned()))
                .collect())
        };
        let long = list(&["--ignored"])?;
        let tests = list(&[])?;
        let job = |test: String| {
            let tier = if long.contains(&test) { Tier::Long } else { Tier::Short };
            let (program, package) = (path.clone(), package.clone());
            Self { name: test.clone(), tier, program, package, test: Some(test) }
        };
        Ok(tests.into_iter().map(job).collect())
    }

    /// Whether it boots the image, looks at it, or builds others.
    pub fn needs_image(&self) -> bool {
        let images = |folder: &&str| self.name.starts_with(folder);
        self.test.is_some() || ["tests/", "image/tests/"].iter().any(images)
    }

    /// Whether it boots a router and boards.
    pub fn needs_cluster(&self) -> bool {
        let boxes = |group: &&str| self.name.starts_with(group);
        self.test.is_some() && ["cluster::", "segments::openwrt::"].iter().any(boxes)
    }

    /// Runs it to its end.
    pub fn run(self, suite: &Suite) -> miette::Result<JobOutcome> {
        let mut output =
            tempfile::tempfile().into_diagnostic().wrap_err("no place for what tests say")?;
        let mut command = Command::new(&self.program);
        command.current_dir(&self.package);
        if let Some(built) = &suite.built {
            command.env("OCTET_IMAGE_BUILT", &built.folder);
        }
        command.env("OCTET_PROGRAMS", &suite.programs).env("OCTET_SHARED", suite.shared.path());
        if let Some(root) = &suite.openwrt {
            command.env(VARIABLE, root);
        }
        match &self.test {
            Some(test) => command.args(["--exact", test, "--include-ignored"]),
            None if suite.soak => command.arg("--include-ignored"),
            None => &mut command,
        };
        if suite.soak {
            command.env("OCTET_SOAK", "1").envs(unpacked_folder().map(|it| (UNPACKED, it)));
        } else if env::var_os(PROPERTIES).is_none() {
            command.env(PROPERTIES, "1");
        }
        let both = |file: &File| file.try_clone().map(Stdio::from).into_diagnostic();
        command.stdin(Stdio::null()).stdout(both(&output)?).stderr(both(&output)?);
        let began = Instant::now();
        let ended = command.spawn().and_then(|mut child| cpu::wait(&mut child));
        let (status, cpu) = ended.into_diagnostic().wrap_err_with(|| self.name.clone())?;
        let took = began.elapsed();
        let mut bytes = vec![];
        output.rewind().and_then(|()| output.read_to_end(&mut bytes)).into_diagnostic()?;
        let mut text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some(why) = describe_signal(status) {
            text += &why;
        }
        Ok(JobOutcome { job: self, took, cpu, output: text, passed: status.success() })
    }
}

/// What a process that was killed does not say itself.
fn describe_signal(status: ExitStatus) -> Option<String> {
    use std::os::unix::process::ExitStatusExt;
    Some(format!("ended by signal {}\n", status.signal()?))
}

impl JobOutcome {
    /// Whether a test of the whole appliance failed by being late and by nothing else. That it says itself: what
    /// is late begins with `late: `, or is the harness's own error of that name.
    pub fn is_timeout(&self) -> bool {
        if self.passed || self.job.test.is_none() {
            return false;
        }
        let panics = self.panics();
        let is_late = |panic: &Vec<&str>| {
            let message = panic.get(1).copied().unwrap_or_default();
            message.contains("late: ") || message.contains("value: Late {")
        };
        !panics.is_empty() && panics.iter().all(is_late)
    }

    /// Of each of its threads that panicked: where that was, and the first lines of why.
    pub fn panics(&self) -> Vec<Vec<&str>> {
        let mut panics = vec![];
        let mut lines = self.output.lines();
        while let Some(line) = lines.next() {
            if line.starts_with("thread '") && line.contains(" panicked at ") {
                let why =
                    lines.clone().take_while(|it| !it.is_empty() && !it.starts_with("note: "));
                panics.push([line].into_iter().chain(why.take(PANIC_LINES)).collect());
            }
        }
        panics
    }

    /// How many tests passed, failed, and were left to the long tier: the sums of the harness's last lines.
    pub fn counts(&self) -> [usize; 3] {
        let mut counts = [0; 3];
        for line in self.output.lines().filter(|line| line.starts_with("test result: ")) {
            for (count, name) in counts.iter_mut().zip([" passed", " failed", " ignored"]) {
                let before = line.split(name).next().filter(|before| *before != line);
                let number = before.and_then(|it| it.rsplit(' ').next()?.parse::<usize>().ok());
                *count += number.unwrap_or(0);
            }
        }
        counts
    }

    /// One line, and what was said if that is of interest.
    pub fn print(&self) {
        let Self { job, took, cpu, output, passed } = self;
        let (seconds, cpu) = (took.as_secs(), cpu.as_secs());
        if job.test.is_none() {
            println!("     Running {} ({seconds} s, CPU {cpu} s)\n{}", job.name, output.trim());
            return;
        }
        let word = match (passed, self.is_timeout()) {
            (true, _) => "ok",
            (false, true) => "late",
            (false, false) => "FAILED",
        };
        println!("test {} ({seconds} s, CPU {cpu} s) ... {word}", job.name);
        if word == "FAILED" {
            println!("{}", output.trim());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(output: &str, passed: bool, test: Option<&str>) -> JobOutcome {
        let job = TestJob {
            name: "a".into(),
            tier: Tier::Short,
            program: PathBuf::new(),
            package: PathBuf::new(),
            test: test.map(str::to_owned),
        };
        JobOutcome { job, took: Duration::ZERO, cpu: Duration::ZERO, output: output.into(), passed }
    }

    const LATE: &str =
        "thread 'a' (7) panicked at tests/a.rs:1:2:\nlate: the gate is not open\nnote: x\n";
    const LATE_TOO: &str = "thread 'a' (7) panicked at tests/a.rs:1:2:\n\
        called `Result::unwrap()` on an `Err` value: Late { awaited: \"ready\", within: 180s, tail: [] }\n";
    const WRONG: &str = "thread 'b' (8) panicked at tests/a.rs:1:2:\nassertion failed: late\n";

    #[test]
    fn only_what_is_late_and_nothing_else_is_late() {
        for (output, passed, test, late) in [
            (LATE.to_owned(), false, Some("a"), true),
            (LATE_TOO.to_owned(), false, Some("a"), true),
            (format!("{LATE}{LATE_TOO}"), false, Some("a"), true),
            (format!("{LATE}{WRONG}"), false, Some("a"), false),
            (WRONG.to_owned(), false, Some("a"), false),
            (LATE.to_owned(), true, Some("a"), false),
            (LATE.to_owned(), false, None, false),
            ("ended by signal 9\n".to_owned(), false, Some("a"), false),
        ] {
            assert_eq!(outcome(&output, passed, test).is_timeout(), late, "{output}");
        }
    }

    #[test]
    fn each_panic_has_its_place_and_its_reason() {
        let compared = "thread 'c' (9) panicked at tests/a.rs:3:4:\nassertion failed\n  left: 1\n right: 2\n\nz\n";
        let all = outcome(&format!("x\n{LATE}y\n{compared}"), false, Some("a"));
        let expected = [
            &["thread 'a' (7) panicked at tests/a.rs:1:2:", "late: the gate is not open"][..],
            &[
                "thread 'c' (9) panicked at tests/a.rs:3:4:",
                "assertion failed",
                "  left: 1",
                " right: 2",
            ],
        ];
        assert_eq!(all.panics(), expected);
        assert!(outcome("x\n", true, None).panics().is_empty());
    }

    #[test]
    fn counts_what_the_harness_says() {
        let line = "test result: ok. 12 passed; 3 failed; 1 ignored; 0 measured; 4 filtered out; finished in 0.1s\n";
        assert_eq!(outcome(&format!("x\n{line}y\n{line}"), true, None).counts(), [24, 6, 2]);
        assert_eq!(outcome("test result: who knows\n", true, None).counts(), [0, 0, 0]);
    }
}
