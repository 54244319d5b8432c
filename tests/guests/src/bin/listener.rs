//! Answers on every port that PID 1 has opened: a datagram is echoed, or answered with the address of
//! its sender if it asks for that; a connection gets a greeting and then an echo.

use std::io::{self, Write};
use std::net::{TcpListener, UdpSocket};
use std::thread;

use octet_node::inherited;
use rustix::net::{SocketType, sockopt};

fn main() -> io::Result<()> {
    let sockets = inherited();
    let threads = sockets.into_iter().map(|(name, socket)| {
        Ok(match sockopt::socket_type(&socket)? {
            SocketType::DGRAM => thread::spawn(move || datagrams(&socket.into())),
            _ => thread::spawn(move || connections(&socket.into(), &name)),
        })
    });
    let threads: Vec<_> = threads.collect::<io::Result<_>>()?;
    for thread in threads {
        thread.join().map_err(|_| io::Error::other("a thread has panicked"))??;
    }
    Ok(())
}

fn datagrams(socket: &UdpSocket) -> io::Result<()> {
    let mut buffer = [0; 2048];
    loop {
        let (count, from) = socket.recv_from(&mut buffer)?;
        let answer = match &buffer[..count] {
            b"who?" => from.ip().to_string().into_bytes(),
            echo => echo.to_vec(),
        };
        // The sender may have disappeared.
        let _ = socket.send_to(&answer, from);
    }
}

fn connections(listener: &TcpListener, name: &str) -> io::Result<()> {
    for stream in listener.incoming() {
        let (mut stream, name) = (stream?, name.to_owned());
        thread::spawn(move || {
            let mut reader = stream.try_clone()?;
            writeln!(stream, "this is {name}")?;
            io::copy(&mut reader, &mut stream)
        });
    }
    Ok(())
}
