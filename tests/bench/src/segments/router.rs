//! Guests that are routers: what ships, and the same with fewer rules.

use std::path::PathBuf;
use std::thread::sleep;
use std::time::Duration;

use miette::{Diagnostic, IntoDiagnostic};
use octet_appliance::{Appliance, SETTINGS, UNITS};
use octet_machine::{Machine, Tail, UnitState, UnitStatus};
use serde_json::json;
use tempfile::TempDir;

use super::PacketCost;
use super::packets::{BenchFlow, CARDS, card};
use super::text::{FEW, LARGE, PolicyCount, text};
use crate::altered::{PROGRAMS, change, put};
use crate::{guest, processor};
use octet_image::build::{self, Options};

/// Memory of each, in MiB.
const MEMORY: u32 = 256;

/// How often in a run each of the guests is measured, in turn: often, because the host is never quite the
/// same.
const ROUNDS: usize = 20;

/// Packets each time: the kernel tells processor time in hundredths of a second, of which these take
/// about a hundred.
const PACKETS: usize = 20_000;

/// How long a guest is left alone to see what it takes anyway.
const IDLE: Duration = Duration::from_secs(5);

/// No guest takes this long to come up, however busy the host.
const READY: Duration = Duration::from_secs(180);

/// The unit that is told of the box, and its program with faults on demand.
const NETD: &str = "netd";
const WITH_FAULTS: &str = "netd-with-faults";

/// A guest is not what it has to be for a measurement.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[error("the router {name} was not measured: {reason}\n{tail}")]
#[diagnostic(help("see tests/bench/src/segments/router.rs for what it is"))]
struct NotMeasured {
    name: &'static str,
    reason: String,
    tail: Tail,
}

struct Kind {
    name: &'static str,
    size: PolicyCount,
    /// What netd is told to leave out (netd/src/fault.rs).
    fault: Option<&'static str>,
    /// Whether that leaves it open to all.
    is_open: bool,
}

const KINDS: [Kind; 4] = [
    Kind { name: "of many policies", size: LARGE, fault: None, is_open: false },
    Kind { name: "of few policies", size: FEW, fault: None, is_open: false },
    Kind { name: "without a guard", size: LARGE, fault: Some("unguarded"), is_open: false },
    Kind { name: "without rules", size: LARGE, fault: Some("bare"), is_open: true },
];

pub struct Routers {
    linux: PathBuf,
    images: [PathBuf; KINDS.len()],
    architecture: octet_machine::Architecture,
    _folder: TempDir,
}

impl Routers {
    pub fn build(options: &Options) -> miette::Result<Self> {
        let built = build::build(options)?;
        let of =
            ["--package", "octet-netd", "--bin", "octet-netd", "--features", "octet-netd/fault"];
        let netd = std::fs::read(guest::compile(options.target, &of)?).into_diagnostic()?;
        let folder = tempfile::tempdir().into_diagnostic()?;
        let mut images = vec![];
        for Kind { name, size, fault, .. } in &KINDS {
            let image = folder.path().join(name);
            let netd = fault.map(|_| netd.as_slice());
            std::fs::write(&image, initrd(options, *size, netd)?).into_diagnostic()?;
            images.push(image);
        }
        let images = std::array::from_fn(|at| images[at].clone());
        let architecture = options.target.architecture();
        Ok(Self { linux: built.linux, images, architecture, _folder: folder })
    }

    /// Starts one of each, and measures them in turn, so that a busy moment of the host meets each.
    pub fn run(&self) -> miette::Result<Vec<PacketCost>> {
        let mut routers = vec![];
        for (kind, image) in KINDS.iter().zip(&self.images) {
            let machine = Machine::builder(&self.linux, image)
                .architecture(self.architecture)
                .memory(MEMORY)
                .kernel_argument("octet.board=router");
            let fault = kind.fault.map(|fault| format!("octet.netd={fault}"));
            let machine = fault.iter().fold(machine, |machine, it| machine.kernel_argument(it));
            let machine = (0..CARDS).fold(machine, |machine, number| machine.nic(card(number)));
            // Beside the others, however few cores there are: only one of them works.
            let machine = machine.unlimited().start().into_diagnostic()?;
            routers.push(Router::ready(kind, machine)?);
        }
        let mut packets = vec![];
        for _ in 0..ROUNDS {
            let mut all = [Duration::ZERO; KINDS.len()];
            for (router, took) in routers.iter().zip(&mut all) {
                *took = router.measure()?;
            }
            let [many, few, unguarded, bare] = all;
            packets.push(PacketCost { many, few, unguarded, bare });
        }
        Ok(packets)
    }
}

/// What ships, with another box in it, and another netd.
fn initrd(options: &Options, size: PolicyCount, netd: Option<&[u8]>) -> miette::Result<Vec<u8>> {
    let appliance =
        Appliance::parse("appliance.toml", &text(size, false)).map_err(|error| *error)?;
    let settings = serde_json::to_vec(&appliance).into_diagnostic()?;
    let other = build::initrd_with(options, |tree| {
        put(tree, SETTINGS, 0o644, settings)?;
        let Some(netd) = netd else { return Ok(()) };
        // In its place there is a link to the program of all services.
        let program = format!("{PROGRAMS}/{WITH_FAULTS}");
        put(tree, &program, 0o755, netd.to_vec())?;
        change(tree, UNITS, |units| {
            for unit in units.as_array_mut().into_iter().flatten() {
                if unit["name"] == NETD {
                    unit["exec"] = json!(program);
                }
            }
        })
    })?;
    Ok(other.initrd)
}

struct Router {
    kind: &'static Kind,
    machine: Machine,
    flow: BenchFlow,
    /// The part of a processor that it takes while nothing comes.
    idle: f64,
}

impl Router {
    /// Waits until it is one, and sees that it lets what it should.
    fn ready(kind: &'static Kind, machine: Machine) -> miette::Result<Self> {
        let fail = |machine: &Machine, reason: String| NotMeasured {
            name: kind.name,
            reason,
            tail: machine.tail(30),
        };
        let is_ready = |netd: &UnitStatus| netd.state == UnitState::Ready;
        if !machine.wait_ready(READY).is_ok_and(|it| it.unit(NETD).is_some_and(is_ready)) {
            let said = machine.logs(NETD).unwrap_or_default();
            let last = said.last().map_or("nothing", String::as_str);
            return Err(fail(&machine, format!("netd is not ready; it says {last}")).into());
        }
        let Some(flow) = BenchFlow::of(&machine) else {
            return Err(fail(&machine, "it has no ports".into()).into());
        };
        let warm = || {
            flow.open()?;
            flow.send(PACKETS)?;
            flow.is_open_to_all()
        };
        match warm() {
            Ok(is_open) if is_open == kind.is_open => {}
            Ok(_) => {
                return Err(
                    fail(&machine, "what no policy allows is not what passes it".into()).into()
                );
            }
            Err(error) => return Err(fail(&machine, error.to_string()).into()),
        }
        let (used, took) = processor::during(machine.pid(), || {
            sleep(IDLE);
            Ok(())
        })
        .into_diagnostic()?;
        let idle = used.as_secs_f64() / took.as_secs_f64();
        Ok(Self { kind, machine, flow, idle })
    }

    /// Processor time of the host for one packet.
    fn measure(&self) -> miette::Result<Duration> {
        // The router forgets a flow in which nothing came for half a minute.
        let open = self.flow.open();
        let send = || processor::during(self.machine.pid(), || self.flow.send(PACKETS));
        let sent = open.and_then(|()| send());
        let (used, took) = sent.map_err(|error| {
            let (name, tail) = (self.kind.name, self.machine.tail(30));
            NotMeasured { name, reason: error.to_string(), tail }
        })?;
        Ok(used.saturating_sub(took.mul_f64(self.idle)) / PACKETS as u32)
    }
}
