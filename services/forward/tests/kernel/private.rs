//! A private path at its source: its address and those of the node itself are kept apart, also from an end that tries
//! to find out whose the address is. Instead of WireGuard the devices are pairs, whose other ends are those of the
//! end of both paths, in another network namespace.

use std::io::ErrorKind;
use std::net::{Ipv6Addr, SocketAddr, SocketAddrV6, UdpSocket};
use std::os::fd::AsRawFd;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, unshare};
use nix::sys::socket::sockopt::BindToDevice;
use nix::sys::socket::{self, AddressFamily, SockFlag, SockType, SockaddrIn6, bind, setsockopt};
use nix::unistd::gettid;
use octet_forward::engine::PathNumber;
use octet_forward::kernel::private::{self, PrivateEnd};
use rtnetlink::Handle;

use crate::namespace::{is_inside, run, said};

/// This node, the address of its private path, and that of another one.
const NODE: Ipv6Addr = Ipv6Addr::new(0xfc11, 0, 0, 0, 0, 0, 0, 1);
const THROW_AWAY: Ipv6Addr = Ipv6Addr::new(0xfc22, 0, 0, 0, 0, 0, 0, 2);
const SECOND: Ipv6Addr = Ipv6Addr::new(0xfc33, 0, 0, 0, 0, 0, 0, 3);

/// The node at the end of all paths.
const END: Ipv6Addr = Ipv6Addr::new(0xfc44, 0, 0, 0, 0, 0, 0, 4);

const PORT: u16 = 7000;

/// The limit of a packet that has to come.
const LIMIT: Duration = Duration::from_secs(180);

/// When a packet that may have been lost is sent again.
const AGAIN: Duration = Duration::from_millis(200);

/// The devices: of the private path, of another one, and of the path that carries packets of the node itself.
const DEVICES: [&str; 3] = ["fpp1", "fpp2", "fp3"];

/// A socket that sends and receives by the device `by` only, if one is given.
fn socket((address, port): (Ipv6Addr, u16), by: Option<&str>) -> UdpSocket {
    let socket =
        socket::socket(AddressFamily::Inet6, SockType::Datagram, SockFlag::empty(), None).unwrap();
    if let Some(device) = by {
        setsockopt(&socket, BindToDevice, &device.into()).unwrap();
    }
    let at = SockaddrIn6::from(SocketAddrV6::new(address, port, 0, 0));
    bind(socket.as_raw_fd(), &at).unwrap();
    let socket = UdpSocket::from(socket);
    socket.set_read_timeout(Some(LIMIT)).unwrap();
    socket
}

/// The other ends of the devices, each with a socket that receives by it only, and sends by it.
fn far() -> [UdpSocket; 3] {
    let ((ids, id), (made, is_made)) = (mpsc::channel(), mpsc::channel::<()>());
    let other = thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        ids.send(gettid()).unwrap();
        is_made.recv().unwrap();
        run("ip", "link set lo up");
        run("ip", &format!("addr add {END}/128 dev lo"));
        DEVICES.map(|device| {
            run("ip", &format!("link set x{device} up"));
            // By each device it can try to reach each address.
            for (address, metric) in [(NODE, 1), (THROW_AWAY, 1), (SECOND, 1)] {
                let first = if device == "fp3" { metric } else { metric + 1 };
                run(
                    "ip",
                    &format!(
                        "route add {address}/128 dev x{device} metric {first}{}",
                        &device[device.len() - 1..]
                    ),
                );
            }
            socket((END, PORT), Some(&format!("x{device}")))
        })
    });
    let id = id.recv().unwrap();
    for device in DEVICES {
        run("ip", &format!("link add {device} type veth peer name x{device}"));
        // The devices of paths have no addresses either. Both ends have the same one, so each takes what is sent.
        for end in [device.to_owned(), format!("x{device}")] {
            run("ip", &format!("link set {end} address 02:00:00:00:00:01 arp off"));
        }
        run("ip", &format!("link set x{device} netns {id}"));
    }
    made.send(()).unwrap();
    other.join().unwrap()
}

fn index(device: &str) -> u32 {
    nix::net::if_::if_nametoindex(device).unwrap()
}

/// Sends `text`, which the kernel may refuse.
fn say(from: &UdpSocket, text: &str, to: (Ipv6Addr, u16)) -> Result<usize, ErrorKind> {
    from.send_to(text.as_bytes(), to).map_err(|error| error.kind())
}

/// The next packet: what it says, and who has sent it.
fn hear(at: &UdpSocket) -> (String, SocketAddr) {
    let mut buffer = [0; 100];
    let (length, from) = at.recv_from(&mut buffer).unwrap();
    (String::from_utf8(buffer[..length].to_vec()).unwrap(), from)
}

/// Answers `near` until it hears it: the kernel drops what the end sends before it has noticed that the link is up.
fn answer(far: &UdpSocket, near: &UdpSocket) {
    near.set_read_timeout(Some(AGAIN)).unwrap();
    let (mut buffer, begin) = ([0; 100], Instant::now());
    loop {
        far.send_to(b"back", near.local_addr().unwrap()).unwrap();
        match near.recv(&mut buffer) {
            Ok(length) => return assert_eq!(&buffer[..length], b"back"),
            Err(error) => assert!(begin.elapsed() < LIMIT, "late: an answer: {error}"),
        }
    }
}

async fn open(handle: &Handle, private: &PrivateEnd) {
    let index = index(&private.device());
    private.add_address(handle, index).await.unwrap();
    run("ip", &format!("link set {} up", private.device()));
    private.add_route(handle, index, END).await.unwrap();
}

#[tokio::test]
async fn nothing_shows_whose_the_address_is() {
    if !is_inside("private::nothing_shows_whose_the_address_is") {
        return;
    }
    let (connection, handle, _) = rtnetlink::new_connection().unwrap();
    tokio::spawn(connection);
    run("ip", "link set lo up");
    run("ip", &format!("addr add {NODE}/128 dev lo"));
    let [by_private, by_second, by_own] = far();
    // Twice, as by a daemon that starts again.
    private::prepare(&handle, NODE).await.unwrap();
    private::prepare(&handle, NODE).await.unwrap();
    run("ip", "link set fp3 up");
    run("ip", &format!("route add {END}/128 dev fp3 src {NODE}"));
    let first = PrivateEnd { number: PathNumber(1), own: THROW_AWAY };
    let second = PrivateEnd { number: PathNumber(2), own: SECOND };
    open(&handle, &first).await;
    open(&handle, &second).await;

    // The node's own programs do not choose it, and tell nobody of it.
    let shown = said("ip", "-6 addr show dev fpp1");
    assert!(
        shown.contains(&format!("{THROW_AWAY}/128")) && shown.contains("deprecated"),
        "{shown}"
    );

    // Packets from each address take its own path, and answers come back.
    let end = (END, PORT);
    for (own, far) in [(THROW_AWAY, &by_private), (SECOND, &by_second), (NODE, &by_own)] {
        let near = socket((own, 0), None);
        say(&near, "there", end).unwrap();
        let (text, from) = hear(far);
        assert_eq!((text.as_str(), from), ("there", near.local_addr().unwrap()));
        answer(far, &near);
    }
    // A program that names no address is the node itself.
    let any = socket((Ipv6Addr::UNSPECIFIED, 0), None);
    say(&any, "any", end).unwrap();
    assert_eq!(hear(&by_own).1.ip(), NODE);

    // Neither leaves by the path of the other, also if a program wants that, and there is a route.
    run("ip", &format!("route add {END}/128 dev fpp1 metric 9999"));
    for (own, device) in
        [(NODE, "fpp1"), (THROW_AWAY, "fp3"), (SECOND, "fpp1"), (THROW_AWAY, "fpp2")]
    {
        let wrong = socket((own, 0), Some(device));
        let outcome = say(&wrong, "wrong", end);
        assert!(outcome.is_err(), "{own} by {device}: {outcome:?}");
    }
    // The throw-away address reaches nothing but the end.
    let elsewhere = say(
        &socket((THROW_AWAY, 0), None),
        "wrong",
        (Ipv6Addr::new(0xfc55, 0, 0, 0, 0, 0, 0, 5), PORT),
    );
    assert!(elsewhere.is_err(), "{elsewhere:?}");

    // The end gets no answer that tells who has the address. What comes by the node's own path does arrive.
    let service = socket((Ipv6Addr::UNSPECIFIED, PORT), None);
    for (by, to) in [
        (&by_private, NODE),
        (&by_private, THROW_AWAY),
        (&by_private, SECOND),
        (&by_second, THROW_AWAY),
        (&by_own, THROW_AWAY),
        (&by_own, SECOND),
    ] {
        say(by, "whose?", (to, PORT)).unwrap();
        say(&by_own, "control", (NODE, PORT)).unwrap();
        assert_eq!(hear(&service).0, "control", "{to}");
    }
    // Nor to packets of a flow that another path has.
    let flow = socket((THROW_AWAY, 0), None);
    say(&flow, "there", end).unwrap();
    let (_, from) = hear(&by_private);
    by_second.send_to(b"whose?", from).unwrap();
    by_own.send_to(b"whose?", from).unwrap();
    by_private.send_to(b"back", from).unwrap();
    assert_eq!(hear(&flow).0, "back");

    // When the path ends, nothing of it leaves by another one, at no time.
    run("ip", "link del fpp1");
    let outcome = say(&flow, "wrong", end);
    assert!(outcome.is_err(), "{outcome:?}");
    first.forget(&handle).await.unwrap();
    let outcome = say(&flow, "wrong", end);
    assert!(outcome.is_err(), "{outcome:?}");
    say(&any, "last", end).unwrap();
    assert_eq!(hear(&by_own).0, "last");
    // The other one goes on, until a daemon starts again.
    let rules = || said("ip", "-6 rule");
    assert!(rules().contains(&SECOND.to_string()) && !rules().contains(&THROW_AWAY.to_string()));
    private::prepare(&handle, NODE).await.unwrap();
    assert!(!rules().contains(&SECOND.to_string()), "{}", rules());
    let outcome = say(&socket((SECOND, 0), None), "wrong", end);
    assert!(outcome.is_err(), "{outcome:?}");
}
