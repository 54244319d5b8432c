//! Appends lines to a file in its data folder, and prints each only after it is synced. After a
//! power cut it prints the number of lines that it finds, so that a test can detect lost ones.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::Path;
use std::time::Duration;

/// The file, in the folder that PID 1 provides.
const DIARY: &str = "diary.txt";

/// The number of lines per run.
const LINES: usize = 6;

fn line(number: usize) -> String {
    format!("{number}: nothing of note\n")
}

fn main() -> std::io::Result<()> {
    let folder = std::env::var_os("STATE_DIRECTORY").ok_or(ErrorKind::NotFound)?;
    let diary = Path::new(&folder).join(DIARY);
    let text = match fs::read_to_string(&diary) {
        Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
        other => other?,
    };
    let whole = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
    let found = whole.enumerate().take_while(|(number, it)| *it == line(*number)).count();
    println!("found {found}");
    let mut file = File::options().create(true).append(true).open(&diary)?;
    let good: usize = (0..found).map(|number| line(number).len()).sum();
    file.set_len(good as u64)?;
    for number in found..found + LINES {
        file.write_all(line(number).as_bytes())?;
        file.sync_all()?;
        if number == 0 {
            // The folder is synced for the name of a new file.
            File::open(&folder)?.sync_all()?;
        }
        println!("kept {}", number + 1);
        std::thread::sleep(Duration::from_millis(50));
    }
    loop {
        std::thread::park();
    }
}
