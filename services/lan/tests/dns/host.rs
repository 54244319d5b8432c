//! A resolver on loopback, in a thread of its own.

use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::rc::Rc;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use octet_lan::dns::box_zone::BoxZone;
use octet_lan::dns::inside::BoxNetworks;
use octet_lan::dns::prefix::IpPrefix;
use octet_lan::dns::{Dns, Settings};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::task::{LocalSet, spawn_local};

type Job = Box<dyn FnOnce(&Rc<Dns>) + Send>;

pub struct Host {
    jobs: Option<UnboundedSender<Job>>,
    thread: Option<JoinHandle<()>>,
    pub address: SocketAddr,
}

/// Settings for upstreams that are threads of the test: the timeout is long, so that a slow one is
/// not asked twice.
pub fn settings() -> Settings {
    let patience = Duration::from_secs(60);
    Settings { upstreams_on_loopback: true, upstream_timeout: patience, ..Settings::default() }
}

/// Settings with the default timeout, for tests with a silent upstream.
pub fn impatient() -> Settings {
    Settings { upstream_timeout: Settings::default().upstream_timeout, ..settings() }
}

/// The router's networks, as in the documentation.
pub fn inside() -> BoxNetworks {
    let network = |address: &str, length| IpPrefix::new(address.parse().unwrap(), length).unwrap();
    BoxNetworks {
        networks: vec![network("10.20.0.0", 16), network("fd6f:6374:6574::", 48)],
        own_addresses: vec!["10.20.3.1".parse().unwrap()],
        ..BoxNetworks::default()
    }
}

/// The names of a box with two boards.
pub fn own() -> BoxZone {
    let hosts = [
        ("router", vec!["10.20.1.1", "fd6f:6374:6574:1::1"]),
        ("board-3", vec!["10.20.3.2", "fd6f:6374:6574:3::2"]),
        ("board-4", vec!["10.20.4.2"]),
    ];
    let parsed = hosts.map(|(host, addresses)| {
        (host.to_owned(), addresses.iter().map(|it| it.parse().unwrap()).collect())
    });
    BoxZone::new("octet.internal", &parsed.into()).unwrap()
}

impl Host {
    /// A resolver with these upstreams.
    pub fn new(settings: Settings, upstreams: &[SocketAddr]) -> Self {
        let (udp, tcp) = sockets();
        let address = SocketAddr::new([127, 0, 0, 1].into(), udp.local_addr().unwrap().port());
        let (jobs, mut told) = unbounded_channel::<Job>();
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let main = async move {
                let dns = Dns::new(settings);
                let serving = Rc::clone(&dns);
                spawn_local(async move { serving.serve(udp, tcp).await });
                while let Some(job) = told.recv().await {
                    job(&dns);
                }
            };
            LocalSet::new().block_on(&runtime.unwrap(), main);
        });
        let host = Self { jobs: Some(jobs), thread: Some(thread), address };
        let upstreams = upstreams.to_vec();
        host.with(move |dns| {
            dns.set_box_networks(inside());
            dns.set_box_zone(own());
            assert_eq!(dns.set_upstreams(&upstreams), []);
        });
        host
    }

    /// Runs `job` on the resolver's thread, and returns its result.
    pub fn with<T: Send + 'static>(&self, job: impl FnOnce(&Rc<Dns>) -> T + Send + 'static) -> T {
        let (sender, receiver) = mpsc::channel();
        let job: Job = Box::new(move |dns| sender.send(job(dns)).unwrap());
        self.jobs.as_ref().unwrap().send(job).unwrap();
        receiver.recv().unwrap()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.jobs = None;
        let ended = self.thread.take().unwrap().join();
        assert!(ended.is_ok() || thread::panicking());
    }
}

/// A UDP and a TCP socket at the same port, as PID 1 passes them: each is dual-stack.
fn sockets() -> (UdpSocket, TcpListener) {
    loop {
        let udp = UdpSocket::bind("[::]:0").unwrap();
        if let Ok(tcp) = TcpListener::bind(udp.local_addr().unwrap()) {
            return (udp, tcp);
        }
    }
}
