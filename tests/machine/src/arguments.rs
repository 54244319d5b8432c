//! QEMU's command line.

use std::ffi::OsString;
use std::path::Path;

use crate::builder::Builder;

/// The sockets of one machine.
pub struct Sockets<'a> {
    /// Where QEMU listens for the control port's client.
    pub control: &'a Path,
    /// Where we listen for QEMU's own connection.
    pub qmp: &'a Path,
}

/// What every kernel is told. `no_timer_check`: TCG on a busy host is now and then too late for
/// the kernel's check of its timer, which then panics. `panic=-1`: a panic reboots at once, and
/// without `-no-reboot` off that ends QEMU, instead of a guest that hangs.
const KERNEL: &str = "console=ttyS0 quiet no_timer_check panic=-1 rdinit=/init";

/// One thread for all processors. With one thread each, QEMU 7.2 now and then runs code that the
/// kernel has just patched on another processor (two of some dozens of boots ended in `Oops: int3`),
/// and a boot is no faster.
const TCG: &str = "tcg,thread=single";

impl Builder {
    /// The whole command line after the program's name.
    pub(crate) fn arguments(&self, sockets: &Sockets<'_>, kvm: bool) -> Vec<OsString> {
        let mut line = Line(Vec::new());
        line.option("-name", "octet");
        line.option("-M", "q35");
        line.option("-accel", if kvm { "kvm" } else { TCG });
        line.option("-cpu", "max");
        line.option("-smp", &self.cpus.to_string());
        line.option("-m", &self.memory.to_string());
        line.flag("-nodefaults");
        line.flag("-no-user-config");
        line.option("-display", "none");
        if !self.reboots {
            line.flag("-no-reboot");
        }
        line.option("-chardev", "stdio,id=console,signal=off");
        line.option("-serial", "chardev:console");
        // Before QMP: once that answers, the port's socket is there too.
        line.path("-chardev", "socket,id=control,server=on,wait=off,path=", sockets.control);
        line.option("-device", "virtio-serial-pci");
        let port = format!("virtserialport,chardev=control,name={}", octet_control::PORT);
        line.option("-device", &port);
        line.path("-chardev", "socket,id=qmp,path=", sockets.qmp);
        line.option("-mon", "chardev=qmp,mode=control");
        line.option("-object", "rng-builtin,id=random");
        line.option("-device", "virtio-rng-pci,rng=random");
        line.path("-kernel", "", &self.kernel);
        line.path("-initrd", "", &self.initrd);
        line.option("-append", &self.whole_command_line());
        line.0.extend(self.extra.iter().cloned());
        line.0
    }

    fn whole_command_line(&self) -> String {
        let base = self.command_line.as_deref().unwrap_or(KERNEL);
        std::iter::once(base)
            .chain(self.kernel_arguments.iter().map(String::as_str))
            .collect::<Vec<_>>()
            .join(" ")
    }
}

struct Line(Vec<OsString>);

impl Line {
    fn flag(&mut self, name: &str) {
        self.0.push(name.into());
    }

    fn option(&mut self, name: &str, value: &str) {
        self.0.extend([name.into(), value.into()]);
    }

    /// In QEMU's lists of properties a comma inside a value is written twice.
    fn path(&mut self, name: &str, properties: &str, path: &Path) {
        let mut value = OsString::from(properties);
        if properties.is_empty() {
            value.push(path);
        } else {
            value.push(path.to_string_lossy().replace(',', ",,"));
        }
        self.0.extend([name.into(), value]);
    }
}

/// Whether this host can run guests on its own processor.
pub fn has_kvm() -> bool {
    let writable = rustix::fs::Access::READ_OK | rustix::fs::Access::WRITE_OK;
    rustix::fs::access("/dev/kvm", writable).is_ok()
        && std::fs::read_to_string("/proc/cpuinfo").is_ok_and(|text| {
            text.lines()
                .filter(|line| line.starts_with("flags"))
                .any(|line| line.split_whitespace().any(|flag| matches!(flag, "vmx" | "svm")))
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Machine;

    fn arguments(builder: &Builder) -> Vec<String> {
        let sockets = Sockets { control: Path::new("/r/a,b"), qmp: Path::new("/r/qmp") };
        let line = builder.arguments(&sockets, false);
        line.into_iter().map(|text| text.into_string().unwrap()).collect()
    }

    fn after<'a>(line: &'a [String], option: &str) -> Option<&'a str> {
        line.iter().skip_while(|text| *text != option).nth(1).map(String::as_str)
    }

    #[test]
    fn says_what_was_asked() {
        let builder = Machine::builder("/b/linux", "/b/initrd").memory(96).kernel_argument("a=b");
        let line = arguments(&builder);
        assert_eq!(after(&line, "-m"), Some("96"));
        assert_eq!(after(&line, "-kernel"), Some("/b/linux"));
        assert!(after(&line, "-append").unwrap().ends_with("rdinit=/init a=b"));
        assert!(line.contains(&"-no-reboot".to_owned()));
        assert!(line.iter().any(|text| text.ends_with("path=/r/a,,b")), "{line:?}");
        let line = arguments(&builder.command_line("root=/dev/vda").argument("-snapshot"));
        assert_eq!(after(&line, "-append"), Some("root=/dev/vda a=b"));
        assert_eq!(line.last().map(String::as_str), Some("-snapshot"));
    }
}
