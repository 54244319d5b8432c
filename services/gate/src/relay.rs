//! Relays an operator's connection to a board's gate. TLS is end to end between the operator's
//! machine and the board.

use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use octet_node::control::operator::OperatorKey;
use octet_node::control::{Arguments, Failure, FailureCode, PublicKey, UnitName};
use octet_node::hello::GATE;
use octet_node::limits::Permit;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until, timeout};

use crate::gate::{CallerName, Gate};

/// The verb that requests a relay.
pub const RELAY: &str = "relay";

/// The buffer size in bytes.
const PIECE: usize = 16 << 10;

/// A connection to a board's gate, with its permit.
pub struct Relay {
    board: TcpStream,
    /// The board's entry in the map.
    pub entry: Value,
    passed: Passed,
    idle: Duration,
    unread: Duration,
    _place: Permit<PublicKey>,
}

/// Counts the relayed bytes, and logs them when it is dropped, also if the task is aborted.
struct Passed {
    operator: OperatorKey,
    from: String,
    args: String,
    to_board: Cell<u64>,
    back: Cell<u64>,
    why: Cell<&'static str>,
}

impl Gate {
    /// Connects `operator` at address `from` to the board in `args`.
    ///
    /// # Errors
    /// The limit is reached, there is no such board, or it does not answer.
    pub async fn connect(
        &self,
        operator: &OperatorKey,
        from: &str,
        args: &Arguments,
        shown: &str,
    ) -> Result<Relay, Failure> {
        let limits = &self.limits;
        let place = limits.relays.admit(&self.relays, operator);
        let place = place.ok_or_else(|| {
            Failure::new(
                FailureCode::Busy,
                "too many connections are handed on to boards, or too many of this operator",
                "end another one, or try again later",
            )
        })?;
        let number = args.integer("board").unwrap_or_default();
        let found = self.boards.find(self.node.get(), number)?;
        let connected = timeout(limits.handshake_time, TcpStream::connect(found.address)).await;
        let board = match connected {
            Ok(Ok(board)) => board,
            Ok(Err(error)) => return Err(unreachable(number, &error.to_string())),
            Err(_) => return Err(unreachable(number, "it took too long")),
        };
        let _ = rustix::net::sockopt::set_socket_keepalive(&board, true);
        let _ = board.set_nodelay(true);
        let passed = Passed {
            operator: operator.clone(),
            from: from.to_owned(),
            args: shown.to_owned(),
            to_board: Cell::default(),
            back: Cell::default(),
            why: Cell::new("cut off"),
        };
        let (idle, unread) = (limits.relay_idle, limits.unread_time);
        Ok(Relay { board, entry: found.entry, passed, idle, unread, _place: place })
    }
}

fn unreachable(number: u64, why: &str) -> Failure {
    let message = format!("board {number} does not answer: {why}");
    let help = "it may be off, or its cable unplugged: `cluster show` tells whether it is there";
    Failure::new(FailureCode::Failed, message, help)
}

impl Relay {
    /// Relays both directions, until one side ends the connection or the idle timeout expires.
    pub async fn run(
        self,
        from: impl AsyncRead + Unpin,
        mut to: impl AsyncWrite + Unpin,
    ) -> io::Result<()> {
        let Self { mut board, passed, idle, unread, .. } = self;
        let (from_board, to_board) = board.split();
        let last = Rc::new(Cell::new(Instant::now()));
        let there = forward(from, to_board, &passed.to_board, &last, unread);
        let back = forward(from_board, &mut to, &passed.back, &last, unread);
        let (why, result) = tokio::select! {
            result = there => ("by the operator", result),
            result = back => ("by the board", result),
            () = wait_idle(&last, idle) => ("nothing has passed for too long", Ok(())),
        };
        passed.why.set(if result.is_ok() { why } else { "the connection broke" });
        drop(passed);
        let _ = timeout(unread, to.shutdown()).await;
        result
    }
}

/// Relays data from `from` until its end.
async fn forward(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    passed: &Cell<u64>,
    last: &Cell<Instant>,
    unread: Duration,
) -> io::Result<()> {
    let mut buffer = vec![0; PIECE];
    loop {
        let count = match from.read(&mut buffer).await {
            Ok(0) => return Ok(()),
            Ok(count) => count,
            // A connection that ends without a TLS close_notify is reported as an error.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            Err(error) => return Err(error),
        };
        let write = async {
            to.write_all(&buffer[..count]).await?;
            to.flush().await
        };
        let written = timeout(unread, write).await;
        written.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))?;
        passed.set(passed.get() + count as u64);
        last.set(Instant::now());
    }
}

/// Returns when the connection was idle for `limit`.
async fn wait_idle(last: &Cell<Instant>, limit: Duration) {
    while last.get() + limit > Instant::now() {
        sleep_until(last.get() + limit).await;
    }
}

impl Drop for Passed {
    fn drop(&mut self) {
        let Ok(unit) = UnitName::try_from(GATE.to_owned()) else { return };
        let (there, back, why) = (self.to_board.get(), self.back.get(), self.why.get());
        let outcome = format!("ended, {why}: {there} bytes to the board, {back} bytes back");
        let who = CallerName { operator: &self.operator, from: &self.from };
        who.audit(&unit, RELAY, &self.args, &outcome);
    }
}
