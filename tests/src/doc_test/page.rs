//! The commands of a page, and how they are run.

use std::collections::BTreeMap;
use std::fs;
use std::mem;

use crate::workspace;

/// The first words of lines with commands.
const PROGRAMS: [&str; 5] = ["cargo", "octetctl", "octet-msg", "curl", "ssh"];

/// The commands of a page.
#[derive(Debug)]
pub struct Page {
    /// Its path in the workspace.
    pub path: &'static str,
    /// The commands in the order of the page.
    pub commands: Vec<Command>,
}

/// A command as it is on the page.
#[derive(Debug, PartialEq, Eq)]
pub struct Command {
    /// The number of its line in the page, from 1.
    pub line: usize,
    /// The heading above it.
    pub heading: String,
    pub text: String,
    /// The runs of the command.
    pub runs: Vec<Run>,
}

/// One run of a command.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Run {
    pub skip: Option<String>,
    /// The shell commands that are run before.
    pub before: Vec<String>,
    /// The replaced words, each with its replacement.
    pub with: Vec<(String, String)>,
    /// The user's name (possibly empty), if it is run in the lan.
    pub lan: Option<String>,
    /// The expected questions, each with its answer.
    pub answers: Vec<(String, String)>,
    /// The output after which the next command starts, if this one keeps running.
    pub until: Option<String>,
    /// Whether the command that keeps running is stopped afterwards.
    pub stop: bool,
    /// Whether the command that keeps running ends by itself afterwards.
    pub ends: bool,
    /// Whether it fails.
    pub fails: bool,
    /// Whether it is repeated until it prints its lines.
    pub retry: bool,
    /// Whether its output does not matter.
    pub ok: bool,
    pub prints: Vec<String>,
}

impl Page {
    /// Reads the page at this path in the workspace.
    ///
    /// # Errors
    /// A command has no run, or a line about runs is malformed; the error has the line and the
    /// reason.
    pub fn read(path: &'static str) -> Result<Self, String> {
        let text = fs::read_to_string(workspace().join(path)).expect("a page of the workspace");
        let commands = commands(&text).map_err(|(line, why)| format!("{path}:{line}: {why}"))?;
        Ok(Self { path, commands })
    }

    /// The commands below this heading.
    pub fn below(&self, heading: &str) -> &[Command] {
        let below: Vec<_> =
            self.commands.chunk_by(|one, next| one.heading == next.heading).collect();
        let found = below.into_iter().find(|commands| commands[0].heading == heading);
        found.unwrap_or_else(|| panic!("{} has no command below `{heading}`", self.path))
    }
}

fn commands(text: &str) -> Result<Vec<Command>, (usize, String)> {
    let mut all = vec![];
    let (mut heading, mut block, mut fenced, mut comment) = (String::new(), vec![], false, None);
    for (line, text) in (1..).zip(text.lines()) {
        if let Some(runs) = &mut comment {
            if text == "-->" {
                finish(&mut all, &mut block, mem::take(runs))?;
                comment = None;
            } else {
                read_line(runs, text).map_err(|why| (line, why))?;
            }
        } else if text.starts_with("```") {
            fenced = !fenced;
        } else if fenced {
            if text.split_whitespace().next().is_some_and(|word| PROGRAMS.contains(&word)) {
                let typed = text.split(" #").next().unwrap_or_default().trim().to_owned();
                block.push(Command { line, heading: heading.clone(), text: typed, runs: vec![] });
            }
        } else if text == "<!-- test" {
            comment = Some(vec![]);
        } else if !text.trim().is_empty() {
            // A block without a comment has ended.
            finish(&mut all, &mut block, vec![])?;
            if let Some(name) = text.strip_prefix('#') {
                name.trim_start_matches('#').trim().clone_into(&mut heading);
            }
        }
    }
    finish(&mut all, &mut block, vec![])?;
    Ok(all)
}

/// A run with the number of its command, 0 for all, and its letter.
type Numbered = (usize, Option<char>, Run);

/// Adds the commands of `block`, each with its runs.
fn finish(
    all: &mut Vec<Command>,
    block: &mut Vec<Command>,
    runs: Vec<Numbered>,
) -> Result<(), (usize, String)> {
    let mut of: BTreeMap<usize, Vec<Run>> = BTreeMap::new();
    for (number, _, run) in runs {
        of.entry(number).or_default().push(run);
    }
    let for_all = of.remove(&0).unwrap_or_default().pop().unwrap_or_default();
    for (number, mut command) in (1..).zip(mem::take(block)) {
        command.runs = of.remove(&number).unwrap_or_default();
        command.runs.iter_mut().for_each(|run| share(&for_all, &command.text, run));
        let says = |run: &Run| {
            run.ok || run.skip.is_some() || run.until.is_some() || !run.prints.is_empty()
        };
        if command.runs.is_empty() || !command.runs.iter().all(says) {
            let why = format!("nothing says what command {number}, `{}`, prints", command.text);
            return Err((command.line, why));
        }
        all.push(command);
    }
    match of.pop_first() {
        None => Ok(()),
        Some((number, _)) => {
            let line = all.last().map_or(1, |command| command.line);
            Err((line, format!("the block has no command {number}")))
        }
    }
}

/// Adds the settings for all commands of the block to `run` of the command `text`.
fn share(all: &Run, text: &str, run: &mut Run) {
    if run.lan.is_none() && !text.starts_with("cargo ") {
        run.lan.clone_from(&all.lan);
    }
    run.with.extend(all.with.iter().filter(|(word, _)| text.contains(word)).cloned());
    run.answers.extend(all.answers.iter().cloned());
}

fn read_line(runs: &mut Vec<Numbered>, text: &str) -> Result<(), String> {
    let (of, rest) = text.split_once(' ').ok_or("no number of a command and no word after it")?;
    let letter = of.chars().last().filter(char::is_ascii_lowercase);
    let number = of.trim_end_matches(|it: char| it.is_ascii_lowercase());
    let number = match number {
        "*" => Ok(0),
        number => number.parse().map_err(|_| format!("`{of}` is not a number of a command")),
    }?;
    let run = match runs.iter().position(|it| (it.0, it.1) == (number, letter)) {
        Some(at) => &mut runs[at].2,
        None => {
            runs.push((number, letter, Run::default()));
            &mut runs.last_mut().expect("one was added").2
        }
    };
    let (word, rest) = rest.split_once(' ').unwrap_or((rest, ""));
    let pair = || {
        let (from, to) =
            rest.split_once(" = ").ok_or_else(|| format!("no ` = ` after `{word}`"))?;
        Ok::<_, String>((from.to_owned(), to.to_owned()))
    };
    match word {
        ">" => run.prints.push(rest.to_owned()),
        "until" => run.until = Some(rest.to_owned()),
        "stop" => run.stop = true,
        "ask" => run.answers.push(pair()?),
        "with" => run.with.push(pair()?),
        "sh" => run.before.push(rest.to_owned()),
        "lan" => run.lan = Some(rest.to_owned()),
        "ends" => run.ends = true,
        "fails" => run.fails = true,
        "retry" => run.retry = true,
        "ok" => run.ok = true,
        "skip" if !rest.is_empty() => run.skip = Some(rest.to_owned()),
        _ => return Err(format!("`{word}` is not a word of such a line")),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doc_test::GUIDES;

    #[test]
    fn every_command_of_readme_and_of_the_guides_has_its_lines() {
        for path in ["README.md"].iter().chain(&GUIDES) {
            let page = Page::read(path).unwrap_or_else(|why| panic!("{why}"));
            assert!(!page.commands.is_empty(), "{path} has no command");
        }
    }

    /// `cargo image bench` writes this page: each section names the command that has measured it.
    const NOT_WALKED: &str = "docs/BENCHMARKS.md";

    #[test]
    fn every_page_with_commands_is_walked() {
        let folder = fs::read_dir(workspace().join("docs")).unwrap();
        let names = folder.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        for name in names.filter(|name| name.ends_with(".md")) {
            let path = format!("docs/{name}");
            let text = fs::read_to_string(workspace().join(&path)).unwrap();
            // A command without a run is another test's error.
            let has_commands = commands(&text).map_or(true, |commands| !commands.is_empty());
            let is_walked = GUIDES.contains(&path.as_str());
            assert_eq!(has_commands, is_walked || path == NOT_WALKED, "{path}");
        }
    }

    const TEXT: &str = "\
# One

```
cargo image run      # boots it
octetctl status
```

<!-- test
* lan
* with status = boxes
1 until READY
2a with BOX = {BOX}
2a > box {BOX}
2b skip nobody is there
-->
";

    #[test]
    fn commands_and_their_runs() {
        let all = commands(TEXT).unwrap();
        let run = Run { until: Some("READY".to_owned()), ..Run::default() };
        let command = |line, text: &str, runs| Command {
            line,
            heading: "One".to_owned(),
            text: text.to_owned(),
            runs,
        };
        assert_eq!(all[0], command(4, "cargo image run", vec![run]));
        let own = |(word, instead): (&str, &str)| (word.to_owned(), instead.to_owned());
        let first = Run {
            lan: Some(String::new()),
            with: [("BOX", "{BOX}"), ("status", "boxes")].map(own).to_vec(),
            prints: vec!["box {BOX}".to_owned()],
            ..Run::default()
        };
        let second = Run {
            lan: Some(String::new()),
            with: vec![own(("status", "boxes"))],
            skip: Some("nobody is there".to_owned()),
            ..Run::default()
        };
        assert_eq!(all[1], command(5, "octetctl status", vec![first, second]));
        assert_eq!(all.len(), 2);
    }

    #[test]
    fn a_command_that_nobody_has_run_is_an_error() {
        let without = TEXT.split("<!--").next().unwrap();
        assert_eq!(commands(without).unwrap_err().0, 4);
        assert_eq!(commands(&format!("{without}words\n{TEXT}")).unwrap_err().0, 4);
        assert_eq!(commands(&TEXT.replace("1 until READY\n", "")).unwrap_err().0, 4);
        assert_eq!(commands(&TEXT.replace("2a > box {BOX}\n", "")).unwrap_err().0, 5);
        let wrong = ["2c prints x", "3 > x", "x > x", "2a with BOX", "2b skip"];
        for line in wrong {
            let text = TEXT.replace("1 until", &format!("{line}\n1 until"));
            assert!(commands(&text).is_err(), "{line}");
        }
    }
}
