//! Converts a unit's limits to the files of its control group.

use octet_appliance::{Bytes, IoMax, Limits};

use super::Controllers;

/// The period of `cpu.max` in microseconds; the kernel's default.
const CPU_PERIOD: u64 = 100_000;

/// A file of a group, and its content.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Setting {
    pub file: &'static str,
    pub value: String,
    /// Whether it differs from the default of a new group.
    pub differs: bool,
}

/// The settings for `limits` that the available controllers support.
pub(super) fn settings(limits: &Limits, controllers: Controllers) -> Vec<Setting> {
    let mut settings = Vec::with_capacity(6);
    let mut set = |file, value: String, default: &str| {
        let differs = value != default;
        settings.push(Setting { file, value, differs });
    };
    if controllers.memory {
        set("memory.max", bytes(limits.memory_max), "max");
        set("memory.high", bytes(limits.memory_high), "max");
        // A unit that has lost one of its processes would be in an undefined state, so all are
        // killed.
        set("memory.oom.group", "1".into(), "0");
    }
    if controllers.cpu {
        set("cpu.weight", limits.cpu_weight.to_string(), "100");
        set("cpu.max", cpu_limit(limits.cpu_max), &cpu_limit(None));
    }
    if controllers.pids {
        set("pids.max", limits.pids_max.to_string(), "max");
    }
    settings
}

fn bytes(limit: Option<Bytes>) -> String {
    limit.map_or_else(|| "max".into(), |bytes| bytes.get().to_string())
}

/// The CPU quota per period, from percent of one CPU.
fn cpu_limit(percent: Option<u16>) -> String {
    match percent {
        Some(percent) => format!("{} {CPU_PERIOD}", u64::from(percent) * CPU_PERIOD / 100),
        None => format!("max {CPU_PERIOD}"),
    }
}

/// The line of `io.max` for one disk.
pub(super) fn io_limit(major: u32, minor: u32, limit: &IoMax) -> String {
    format!("{major}:{minor} rbps={} wbps={}", bytes(limit.read), bytes(limit.write))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Controllers = Controllers { cpu: true, memory: true, pids: true, io: true };

    fn written(limits: &Limits) -> Vec<String> {
        let differing = settings(limits, ALL).into_iter().filter(|setting| setting.differs);
        differing.map(|setting| format!("{} = {}", setting.file, setting.value)).collect()
    }

    #[test]
    fn a_new_group_is_written_only_what_differs() {
        assert_eq!(written(&Limits::default()), ["memory.oom.group = 1", "pids.max = 256"]);
        let limits = Limits {
            memory_max: Some(Bytes::from_kib(64)),
            memory_high: Some(Bytes::from_kib(32)),
            cpu_weight: 20,
            cpu_max: Some(150),
            ..Limits::default()
        };
        assert_eq!(
            written(&limits),
            [
                "memory.max = 65536",
                "memory.high = 32768",
                "memory.oom.group = 1",
                "cpu.weight = 20",
                "cpu.max = 150000 100000",
                "pids.max = 256",
            ]
        );
    }

    #[test]
    fn without_a_controller_its_files_are_left_alone() {
        assert_eq!(settings(&Limits::default(), Controllers::default()), []);
        let pids = Controllers { pids: true, ..Controllers::default() };
        let files: Vec<_> =
            settings(&Limits::default(), pids).into_iter().map(|setting| setting.file).collect();
        assert_eq!(files, ["pids.max"]);
    }

    #[test]
    fn an_absent_limit_of_the_disk_is_none() {
        let limit = IoMax { read: None, write: Some(Bytes::from_kib(1024)) };
        assert_eq!(io_limit(254, 16, &limit), "254:16 rbps=max wbps=1048576");
    }
}
