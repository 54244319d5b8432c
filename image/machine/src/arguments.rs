//! QEMU's command line.

use std::ffi::OsString;
use std::path::Path;

use crate::builder::{BootFrom, Builder};
use crate::panel;

/// The sockets of one machine.
pub struct Sockets<'a> {
    /// Where QEMU listens for the control port's client.
    pub control: &'a Path,
    /// Where we listen for QEMU's own connection.
    pub qmp: &'a Path,
    /// The variables of the firmware, which it changes.
    pub variables: &'a Path,
    /// The wires of the network cards.
    pub nics: &'a [panel::Sockets],
}

/// U-Boot for QEMU's board `virt`, of Debian's package `u-boot-qemu`.
const U_BOOT: &str = "/usr/lib/u-boot/qemu_arm64/u-boot.bin";

/// What every kernel is told that we start ourselves. `panic=-1`: a panic reboots at once, and
/// without `-no-reboot` off that ends QEMU, instead of a guest that hangs.
const KERNEL: &str = "quiet panic=-1 rdinit=/init";

/// A machine without a disk keeps its data in memory.
const NO_DISK: &str = "octet.data=memory";

/// One thread for all processors. With one thread each, QEMU 7.2 now and then runs code that the
/// kernel has just patched on another processor (two of some dozens of boots ended in `Oops: int3`),
/// and a boot is no faster.
const TCG: &str = "tcg,thread=single";

/// So many network cards have a slot of the bus each, where QEMU finds one. The bus has 32 slots: of more
/// cards eight share one, as functions of one device.
const MAX_OWN_SLOTS: usize = 16;

/// The first slot that cards share. QEMU gives other devices the lowest that are free, so there are some
/// for them, and the last one (0x1f) belongs to the machine.
const FIRST_SHARED: usize = 0x10;

const FUNCTIONS: usize = 8;

impl Builder {
    /// The whole command line after the program's name.
    pub(crate) fn arguments(&self, sockets: &Sockets<'_>, kvm: bool) -> Vec<OsString> {
        let mut line = Line(Vec::new());
        line.option("-name", "octet");
        line.option("-M", self.architecture.board());
        line.option("-accel", if kvm { "kvm" } else { TCG });
        line.option("-cpu", self.architecture.processor());
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
        for (index, disk) in self.disks.iter().enumerate() {
            let name = format!("disk{index}");
            line.option("-blockdev", &disk.node(&name));
            // What a disk cannot do the guest is told; QEMU's default is to stop the guest. Writes
            // are not merged into one of up to 1024 pieces: blklogwrites puts two in front, and
            // the host takes no more than 1024 (IOV_MAX), so the guest would see an error.
            let device = format!(
                "virtio-blk-pci,drive={name},werror=report,rerror=report,request-merging=off"
            );
            line.option("-device", &device);
        }
        for (index, (nic, wire)) in self.nics.iter().zip(sockets.nics).enumerate() {
            let path = |path: &Path| path.to_string_lossy().replace(',', ",,");
            let (local, remote) = (path(&wire.qemu), path(&wire.port));
            line.option("-netdev", &format!(
                "dgram,id=wire{index},local.type=unix,local.path={local},remote.type=unix,remote.path={remote}"
            ));
            // Without the control queue for filters the card takes every frame; without its ROM the
            // firmware does not look for something to boot there.
            let (mac, place) = (nic.mac, bus_address(index, self.nics.len()));
            line.option("-device", &format!(
                "virtio-net-pci,netdev=wire{index},mac={mac},ctrl_rx=off,ctrl_rx_extra=off,romfile={place}"
            ));
        }
        match &self.boot {
            BootFrom::Kernel { kernel, initrd } => {
                line.path("-kernel", "", kernel);
                line.path("-initrd", "", initrd);
                line.option("-append", &self.whole_command_line());
            }
            BootFrom::UBoot => line.option("-bios", U_BOOT),
            BootFrom::Firmware => {
                let code = Path::new(self.architecture.firmware().code);
                line.path("-drive", "if=pflash,format=raw,readonly=on,file=", code);
                line.path("-drive", "if=pflash,format=raw,file=", sockets.variables);
                // Firmware for Arm gives people some seconds to press a key, unless told otherwise.
                line.option("-boot", "menu=on,splash-time=0");
            }
        }
        line.0.extend(self.extra.iter().cloned());
        line.0
    }

    fn whole_command_line(&self) -> String {
        let mut words = match &self.command_line {
            Some(line) => vec![line.as_str()],
            None => vec![self.architecture.kernel_arguments(), KERNEL],
        };
        if self.command_line.is_none() && self.disks.is_empty() {
            words.push(NO_DISK);
        }
        words.extend(self.kernel_arguments.iter().map(String::as_str));
        words.join(" ")
    }
}

/// Where card `index` of so many is, if it is said: in an order in which the kernel finds them.
fn bus_address(index: usize, count: usize) -> String {
    if count <= MAX_OWN_SLOTS {
        return String::new();
    }
    let (slot, function) = (FIRST_SHARED + index / FUNCTIONS, index % FUNCTIONS);
    format!(",multifunction=on,addr={slot:#x}.{function}")
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
    use crate::{Architecture, Disk, Mac, Machine};

    fn arguments(builder: &Builder) -> Vec<String> {
        let (control, qmp) = (Path::new("/r/a,b"), Path::new("/r/qmp"));
        let nics = [panel::Sockets::new(Path::new("/r,1"), 0)];
        let sockets = Sockets { control, qmp, variables: Path::new("/r/variables"), nics: &nics };
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
        assert!(after(&line, "-append").unwrap().ends_with("octet.data=memory a=b"));
        assert!(line.contains(&"-no-reboot".to_owned()));
        assert!(line.iter().any(|text| text.ends_with("path=/r/a,,b")), "{line:?}");
        let line = arguments(&builder.command_line("root=/dev/vda").argument("-snapshot"));
        assert_eq!(after(&line, "-append"), Some("root=/dev/vda a=b"));
        assert_eq!(line.last().map(String::as_str), Some("-snapshot"));
    }

    #[test]
    fn cards_have_wires() {
        let builder = Machine::builder("/b/linux", "/b/initrd").nic(Mac::number(7));
        let line = arguments(&builder);
        let wire = after(&line, "-netdev").unwrap();
        assert!(wire.contains(",local.path=/r,,1/nic0-q,") && wire.ends_with("/nic0-p"), "{wire}");
        let card = line.iter().find(|text| text.starts_with("virtio-net-pci")).unwrap();
        assert!(card.contains("netdev=wire0,mac=02:00:00:00:00:07,"), "{card}");
        let none = arguments(&Machine::builder("/b/linux", "/b/initrd"));
        assert_eq!(after(&none, "-netdev"), None);
    }

    #[test]
    fn many_cards_share_slots() {
        let places = |count| (0..count).map(|index| bus_address(index, count)).collect::<Vec<_>>();
        assert!(places(16).iter().all(String::is_empty));
        let places = places(34);
        assert_eq!(places[0], ",multifunction=on,addr=0x10.0");
        assert_eq!(places[7], ",multifunction=on,addr=0x10.7");
        assert_eq!(places[33], ",multifunction=on,addr=0x14.1");
    }

    #[test]
    fn boots_a_disk_by_firmware() {
        let disk = Disk::new(Path::new("/d/octet.img"));
        let builder = Machine::from_disk(Architecture::Aarch64, disk.clone());
        let line = arguments(&builder);
        assert!(after(&line, "-drive").unwrap().ends_with("file=/usr/share/AAVMF/AAVMF_CODE.fd"));
        assert!(after(&line, "-blockdev").unwrap().contains("/d/octet.img"));
        assert!(!line.contains(&"-kernel".to_owned()));
        // With a disk the data is on it, however the kernel came into memory.
        let line = arguments(&Machine::builder("/b/linux", "/b/initrd").disk(disk));
        assert!(!after(&line, "-append").unwrap().contains(NO_DISK));
    }
}
