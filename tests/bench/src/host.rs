//! The machine that was measured on.

use std::fs;
use std::process::Command;

use octet_machine::Architecture;

pub fn describe() -> Vec<(&'static str, String)> {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    let model = field(&read("/proc/cpuinfo"), "model name");
    let memory = field(&read("/proc/meminfo"), "MemTotal");
    let emulator = Architecture::X86_64.emulator().program;
    let accelerator = if octet_machine::has_kvm() { "KVM" } else { "TCG (no KVM)" };
    vec![
        ("processors", format!("{cpus} × {model}")),
        ("memory", memory),
        ("kernel", read("/proc/sys/kernel/osrelease").trim().to_owned()),
        ("QEMU", format!("{}, {accelerator}", first_line(emulator, "--version"))),
        ("rustc", first_line("rustc", "--version")),
    ]
}

fn field(text: &str, name: &str) -> String {
    text.lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(key, _)| key.trim() == name)
        .map_or_else(|| "unknown".into(), |(_, value)| value.trim().to_owned())
}

fn first_line(program: &str, argument: &str) -> String {
    let output = Command::new(program).arg(argument).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    text.unwrap_or_default().lines().next().unwrap_or("unknown").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_fields() {
        assert_eq!(field("a: 1\nmodel name\t: Some CPU\n", "model name"), "Some CPU");
        assert_eq!(field("", "model name"), "unknown");
    }
}
