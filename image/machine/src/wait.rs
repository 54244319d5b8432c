//! Waiting for what the kernel reports, for no longer than a deadline.

use std::io;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, poll};
use rustix::io::Errno;
use rustix::time::Timespec;

/// The longest that the kernel is asked to wait at once.
const MAX_WAIT: Duration = Duration::from_secs(60 * 60);

/// Waits until one of `fds` is ready or `deadline` has come; signals that are handled elsewhere do
/// not end the wait.
pub fn wait_until(fds: &mut [PollFd<'_>], deadline: Instant) -> io::Result<()> {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = Timespec::try_from(left.min(MAX_WAIT)).map_err(io::Error::other)?;
        match poll(fds, Some(&timeout)) {
            Ok(0) if left > MAX_WAIT => {}
            Ok(_) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::event::PollFlags;

    #[test]
    fn ends_at_either() {
        let (reader, writer) = io::pipe().unwrap();
        let mut fds = [PollFd::new(&reader, PollFlags::IN)];
        wait_until(&mut fds, Instant::now() + Duration::from_millis(5)).unwrap();
        assert!(fds[0].revents().is_empty());
        drop(writer);
        wait_until(&mut fds, Instant::now() + 100 * MAX_WAIT).unwrap();
        assert!(!fds[0].revents().is_empty());
    }
}
