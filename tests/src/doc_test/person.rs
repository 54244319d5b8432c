//! A simulated user who types the commands of a page.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process;
use std::time::Instant;

use rustix::process::Signal;
use tempfile::TempDir;

use super::page::{Command, Page, Run};
use crate::{InTerminal, READY, RETRY_DELAY, SOON, builder, clone_to, must, workspace};

/// The byte for which the terminal driver sends SIGINT.
const CTRL_C: &str = "\x03";

/// A user with a clone of the workspace, and a home folder.
pub struct Person {
    home: TempDir,
    clone: PathBuf,
    kept: BTreeMap<String, String>,
    going: Vec<InTerminal>,
}

impl Person {
    /// A user whose clone is this workspace.
    #[must_use]
    pub fn here() -> Self {
        Self::at(tempfile::tempdir().expect("a home"), workspace().to_owned())
    }

    /// A user with a new clone of this workspace.
    #[must_use]
    pub fn with_clone() -> Self {
        let home = tempfile::tempdir().expect("a home");
        let clone = home.path().join("octet");
        clone_to(&clone);
        Self::at(home, clone)
    }

    fn at(home: TempDir, clone: PathBuf) -> Self {
        Self { home, clone, kept: BTreeMap::new(), going: vec![] }
    }

    /// Types `commands` of `page`, in order.
    ///
    /// # Panics
    /// A command does not print the expected output.
    pub fn types(&mut self, page: &Page, commands: &[Command]) {
        for command in commands {
            for run in &command.runs {
                let at = format!("{}:{}", page.path, command.line);
                match &run.skip {
                    Some(reason) => println!("{at}: `{}` is not run: {reason}", command.text),
                    None => self.run(&at, &command.text, run),
                }
            }
        }
    }

    /// Runs the shell `command`, with the stored words filled in, for an action that is on no page.
    pub fn does(&self, command: &str) {
        must(&mut self.shell(&self.known(command)));
    }

    /// Stops the last command that keeps running by ctrl-C.
    ///
    /// # Panics
    /// It ends neither with success nor by SIGINT.
    pub fn stops(&mut self, at: &str) {
        self.end(at, true);
    }

    fn run(&mut self, at: &str, text: &str, run: &Run) {
        for before in &run.before {
            self.does(before);
        }
        let mut typed = text.to_owned();
        for (word, instead) in &run.with {
            assert!(typed.contains(word), "{at}: there is no `{word}` in `{typed}`");
            typed = typed.replace(word, &self.known(instead));
        }
        if let Some(name) = &run.lan {
            let own = match name.as_str() {
                "" => String::new(),
                name => format!("env XDG_CONFIG_HOME={}/{name} ", self.home.path().display()),
            };
            typed = format!("cargo image lan -- {own}{typed}");
        }
        let begun = Instant::now();
        while !self.typed(at, &typed, run) {
            assert!(run.retry, "{at}: it does not print its lines");
            assert!(begun.elapsed() < SOON, "late: {at}: it does not print its lines");
            std::thread::sleep(RETRY_DELAY);
        }
        if run.stop || run.ends {
            self.end(at, run.stop);
        }
    }

    /// Waits until the last command that keeps running ends; with `stop`, it gets ctrl-C first.
    fn end(&mut self, at: &str, stop: bool) {
        let mut last = self.going.pop().expect("something goes on");
        if stop {
            last.keys(CTRL_C);
        }
        let status = last.end();
        let interrupted = stop && status.signal() == Some(Signal::INT.as_raw());
        assert!(status.success() || interrupted, "{at}: {status} at the end of:\n{}", last.text);
    }

    /// Runs the command. Returns whether it has printed the expected lines.
    fn typed(&mut self, at: &str, typed: &str, run: &Run) -> bool {
        println!("{at}: {typed}");
        let mut terminal = InTerminal::start(self.shell(typed));
        // The offsets from which the output is searched for questions, and for the awaited text in
        // whole lines.
        let (mut answered, mut seen) = (0, 0);
        let goes_on = loop {
            if !terminal.says_more(3 * READY) {
                break false;
            }
            let text = &terminal.text;
            let new: Vec<String> = text[seen..].lines().map(plain).collect();
            seen = text.rfind('\n').map_or(0, |end| end + 1);
            let until = run.until.as_ref().map(|until| self.known(until));
            if until.is_some_and(|until| new.iter().any(|line| line.contains(&until))) {
                break true;
            }
            let asked = |(question, _): &&(String, String)| text[answered..].contains(question);
            if let Some((_, answer)) = run.answers.iter().find(asked) {
                answered = text.len();
                terminal.keys(&format!("{}\n", self.known(answer)));
            }
        };
        if !goes_on {
            let status = terminal.end();
            println!("{}", terminal.text);
            if run.retry && status.success() == run.fails {
                return false;
            }
            assert_eq!(status.success(), !run.fails, "{at}: `{typed}`: {status}");
            assert!(run.until.is_none(), "{at}: `{typed}` has ended");
        }
        let missing = self.missing(&terminal.text, run);
        if let Some(expected) = &missing {
            println!("{at}: no line `{expected}` in:\n{}", terminal.text);
        }
        if goes_on {
            self.going.push(terminal);
        }
        missing.is_none()
    }

    /// A shell command in the clone. `cargo image` is the program that runs these tests, so that it
    /// is not compiled again.
    fn shell(&self, typed: &str) -> process::Command {
        let (home, bin) = (self.home.path(), self.home.path().join(".local/bin"));
        let cargo = bin.join("cargo");
        if !cargo.exists() {
            fs::create_dir_all(&bin).expect("a folder");
            let real = option_env!("CARGO").unwrap_or("cargo");
            let script = format!(
                "#!/bin/sh\nif [ \"$1\" = image ]; then shift; exec {} \"$@\"; fi\nexec {real} \"$@\"\n",
                builder().display(),
            );
            File::create(&cargo)
                .and_then(|mut file| file.write_all(script.as_bytes()))
                .expect("cargo");
            must(process::Command::new("chmod").arg("0755").arg(&cargo));
        }
        let mut path = bin.into_os_string();
        path.push(":");
        path.push(std::env::var_os("PATH").unwrap_or_default());
        let mut shell = process::Command::new("env");
        shell.arg(format!("--chdir={}", self.clone.display()));
        // A background job of a shell has SIGINT ignored, and so would all that it starts.
        shell.arg("--default-signal=INT,QUIT");
        // Downloads and compiled crates are shared with the real user.
        let real = std::env::var("HOME").unwrap_or_else(|_| "/root".to_owned());
        let kept =
            [("XDG_CACHE_HOME", ".cache"), ("CARGO_HOME", ".cargo"), ("RUSTUP_HOME", ".rustup")];
        for (name, folder) in kept {
            let value = std::env::var(name).unwrap_or_else(|_| format!("{real}/{folder}"));
            shell.arg(format!("{name}={value}"));
        }
        shell.arg("--unset=XDG_CONFIG_HOME").arg(format!("HOME={}", home.display()));
        shell.arg(format!("PATH={}", path.to_string_lossy())).args(["sh", "-c", typed]);
        shell
    }

    /// `text` with the stored words filled in.
    fn known(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (name, word) in &self.kept {
            text = text.replace(&format!("{{{name}}}"), word);
        }
        text
    }

    /// The first of the expected lines that is missing in the output, in this order.
    fn missing(&mut self, said: &str, run: &Run) -> Option<String> {
        let lines: Vec<String> = said.lines().map(plain).collect();
        let mut left = lines.iter();
        for expected in &run.prints {
            let expected = self.known(expected);
            match left.find_map(|line| matches(&expected, line)) {
                Some(kept) => self.kept.extend(kept),
                None => return Some(expected),
            }
        }
        None
    }
}

/// A line without escape sequences for colours and cursor movements (ECMA-48, 5.4).
fn plain(line: &str) -> String {
    let mut parts = line.split("\x1b[");
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part.find(|it| ('\x40'..='\x7e').contains(&it));
        plain += end.map_or("", |end| &part[end + 1..]);
    }
    plain.replace('\r', "")
}

/// Matches `line` with `expected`. Returns the words to store.
fn matches(expected: &str, line: &str) -> Option<Vec<(String, String)>> {
    let words: Vec<&str> = expected.split_whitespace().collect();
    let of: Vec<&str> = line.split_whitespace().collect();
    words_match(&words, &of)
}

fn words_match(expected: &[&str], of: &[&str]) -> Option<Vec<(String, String)>> {
    match (expected, of) {
        ([], []) => Some(vec![]),
        (["…", rest @ ..], _) => (0..=of.len()).find_map(|from| words_match(rest, &of[from..])),
        ([first, rest @ ..], [word, others @ ..]) => {
            let mut kept = word_matches(first, word)?;
            kept.extend(words_match(rest, others)?);
            Some(kept)
        }
        _ => None,
    }
}

/// Matches a word with at most one `{NAME}` or `…` in it.
fn word_matches(expected: &str, word: &str) -> Option<Vec<(String, String)>> {
    let middle = |before: &str, after: &str| word.strip_prefix(before)?.strip_suffix(after);
    if let Some((before, (name, after))) =
        expected.split_once('{').and_then(|(before, rest)| Some((before, rest.split_once('}')?)))
    {
        let kept = middle(before, after).filter(|kept| !kept.is_empty())?;
        return Some(vec![(name.to_owned(), kept.to_owned())]);
    }
    if let Some((before, after)) = expected.split_once('…') {
        return middle(before, after).map(|_| vec![]);
    }
    (expected == word).then(Vec::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_with_gaps_and_names() {
        assert_eq!(matches("a  b", "a b"), Some(vec![]));
        assert_eq!(matches("a", "a b"), None);
        assert_eq!(matches("… b …", "b"), Some(vec![]));
        assert_eq!(matches("… ready …", "gate  not ready yet"), Some(vec![]));
        assert_eq!(matches("… ready …", "gate  failed"), None);
        let kept = Some(vec![("HASH".to_owned(), "5f0c".to_owned())]);
        assert_eq!(matches("hash /b/{HASH}, …", "hash /b/5f0c, 3 bytes"), kept);
        assert_eq!(matches("hash /b/{HASH}, …", "hash /b/, 3 bytes"), None);
        assert_eq!(matches("/b/…/film", "/b/5f0c/film"), Some(vec![]));
    }

    #[test]
    fn a_line_of_a_terminal() {
        assert_eq!(plain("\x1b[1mgate\x1b[0m ready\r"), "gate ready");
    }
}
