//! Attacks PID 1's socket from inside: on SIGHUP it sends 500 random frames, on SIGQUIT 10 000,
//! each on a connection of its own, and reads the answer to its end.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;

use octet_guests::frames::Frames;
use signal_hook::consts::{SIGHUP, SIGQUIT};
use signal_hook::iterator::Signals;

const SOCKET: &str = "/run/octet/init.sock";
const COUNT: usize = 500;
const LONG: usize = 10_000;

fn main() -> std::io::Result<()> {
    let mut go = Signals::new([SIGHUP, SIGQUIT])?;
    println!("waits for SIGHUP or SIGQUIT");
    let count = if go.forever().next() == Some(SIGQUIT) { LONG } else { COUNT };
    let (mut answered, mut answers) = (0, Vec::new());
    for frame in Frames::new(1).take(count) {
        let mut stream = UnixStream::connect(SOCKET)?;
        // PID 1 may close the connection at the first invalid byte.
        let _ = stream.write_all(&frame).and_then(|()| stream.shutdown(Shutdown::Write));
        answers.clear();
        let _ = stream.read_to_end(&mut answers);
        answered += usize::from(!answers.is_empty());
    }
    println!("{count} frames sent, {answered} answered");
    Ok(())
}
