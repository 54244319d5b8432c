//! Simulates counterfeit flash, which reports a larger size than it has and wraps around at its
//! real end: a server of NBD, the network block device (github.com/NetworkBlockDevice/nbd,
//! doc/proto.md; the fixed newstyle), for a disk of QEMU.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use octet_machine::Disk;
use tempfile::TempDir;

const SERVER_BEGINS: u64 = 0x4e42_444d_4147_4943;
const OPTION: u64 = 0x4948_4156_454f_5054;
const OPTION_REPLY: u64 = 0x0003_e889_0455_65a9;
const REQUEST: u32 = 0x2560_9513;
const REPLY: u32 = 0x6744_6698;

/// Fixed newstyle, without zeroes after the answer to the old option.
const HANDSHAKE_FLAGS: u16 = 0b11;
const DISK_FLAGS: u16 = 0b1;

const OPTION_ABORT: u32 = 2;
const OPTION_GO: u32 = 7;
const ACK: u32 = 1;
const INFO: u32 = 3;
const UNSUPPORTED: u32 = (1 << 31) + 1;
const INFO_EXPORT: u16 = 0;

const READ: u16 = 0;
const WRITE: u16 = 1;
const DISCONNECT: u16 = 2;
const INVALID: u32 = 22;

/// A limit of requests that exceeds QEMU's, in bytes.
const LONGEST: u32 = 64 << 20;

/// The medium; it exists as long as this value.
#[derive(Debug)]
pub struct WrappingDisk {
    socket: PathBuf,
    ends: Arc<AtomicBool>,
    _folder: TempDir,
}

/// The data of the medium.
struct Medium {
    file: File,
    says: u64,
    has: u64,
}

impl WrappingDisk {
    /// Creates a medium whose content is the first `has` bytes of `file`, and which reports the
    /// size `says`.
    ///
    /// # Errors
    /// The file cannot be written, or no socket can be created.
    pub fn new(file: &Path, has: u64, says: u64) -> io::Result<Self> {
        let file = File::options().read(true).write(true).open(file)?;
        let medium = Arc::new(Medium { file, says, has });
        let folder = tempfile::tempdir()?;
        let socket = folder.path().join("nbd");
        let listener = UnixListener::bind(&socket)?;
        let ends = Arc::new(AtomicBool::new(false));
        let ended = Arc::clone(&ends);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if ended.load(Ordering::Relaxed) {
                    break;
                }
                let medium = Arc::clone(&medium);
                // QEMU may disconnect at any moment.
                thread::spawn(move || medium.serve(stream));
            }
        });
        Ok(Self { socket, ends, _folder: folder })
    }

    /// The medium as a disk of a machine.
    pub fn disk(&self) -> Disk {
        Disk::nbd(&self.socket)
    }
}

impl Drop for WrappingDisk {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        // The connection wakes the server, which then sees the flag.
        let _ = UnixStream::connect(&self.socket);
    }
}

impl Medium {
    fn serve(&self, mut stream: UnixStream) -> io::Result<()> {
        if !self.shake_hands(&mut stream)? {
            return Ok(());
        }
        loop {
            let magic = u32::from_be_bytes(bytes(&mut stream)?);
            let _flags: [u8; 2] = bytes(&mut stream)?;
            let kind = u16::from_be_bytes(bytes(&mut stream)?);
            let cookie: [u8; 8] = bytes(&mut stream)?;
            let at = u64::from_be_bytes(bytes(&mut stream)?);
            let length = u32::from_be_bytes(bytes(&mut stream)?);
            if magic != REQUEST || length > LONGEST {
                return Err(io::ErrorKind::InvalidData.into());
            }
            let mut content = vec![0; length as usize];
            let error = match kind {
                READ => self.transfer(at, &mut content, FileExt::read_exact_at),
                WRITE => {
                    stream.read_exact(&mut content)?;
                    self.transfer(at, &mut content, |file, part, at| file.write_all_at(part, at))
                }
                DISCONNECT => return Ok(()),
                _ => Err(io::ErrorKind::Unsupported.into()),
            };
            let error = error.err().map_or(0, |_| INVALID);
            let mut reply = [&REPLY.to_be_bytes()[..], &error.to_be_bytes(), &cookie].concat();
            if kind == READ && error == 0 {
                reply.extend(content);
            }
            stream.write_all(&reply)?;
        }
    }

    /// Returns whether the client continues with requests.
    fn shake_hands(&self, stream: &mut UnixStream) -> io::Result<bool> {
        let flags = HANDSHAKE_FLAGS.to_be_bytes();
        stream.write_all(
            &[&SERVER_BEGINS.to_be_bytes()[..], &OPTION.to_be_bytes(), &flags].concat(),
        )?;
        let _flags: [u8; 4] = bytes(stream)?;
        loop {
            let magic = u64::from_be_bytes(bytes(stream)?);
            let option = u32::from_be_bytes(bytes(stream)?);
            let length = u32::from_be_bytes(bytes(stream)?);
            if magic != OPTION || length > LONGEST {
                return Err(io::ErrorKind::InvalidData.into());
            }
            // Any export name selects this medium.
            stream.read_exact(&mut vec![0; length as usize])?;
            let mut reply = |kind: u32, content: &[u8]| {
                let length = u32::try_from(content.len()).unwrap_or(u32::MAX).to_be_bytes();
                let (option, kind) = (option.to_be_bytes(), kind.to_be_bytes());
                let head = [&OPTION_REPLY.to_be_bytes()[..], &option, &kind, &length].concat();
                stream.write_all(&[&head, content].concat())
            };
            match option {
                OPTION_GO => {
                    let (says, flags) = (self.says.to_be_bytes(), DISK_FLAGS.to_be_bytes());
                    reply(INFO, &[&INFO_EXPORT.to_be_bytes()[..], &says, &flags].concat())?;
                    reply(ACK, &[])?;
                    return Ok(true);
                }
                OPTION_ABORT => return reply(ACK, &[]).map(|()| false),
                _ => reply(UNSUPPORTED, &[])?,
            }
        }
    }

    /// Reads or writes `content` with `act`, each part at its real position.
    fn transfer(
        &self,
        mut at: u64,
        mut content: &mut [u8],
        act: impl Fn(&File, &mut [u8], u64) -> io::Result<()>,
    ) -> io::Result<()> {
        if at.saturating_add(content.len() as u64) > self.says {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        while !content.is_empty() {
            let real = at % self.has;
            let length = usize::try_from(self.has - real).unwrap_or(usize::MAX).min(content.len());
            let (part, rest) = content.split_at_mut(length);
            act(&self.file, part, real)?;
            (at, content) = (at + length as u64, rest);
        }
        Ok(())
    }
}

fn bytes<const N: usize>(stream: &mut UnixStream) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    stream.read_exact(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Data beyond the real end overwrites the beginning; a write across the end is split.
    #[test]
    fn it_begins_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, [b'.'; 8]).unwrap();
        let disk = WrappingDisk::new(&path, 8, 32).unwrap();
        let mut stream = UnixStream::connect(&disk.socket).unwrap();
        assert_eq!(bytes(&mut stream).unwrap(), *b"NBDMAGICIHAVEOPT\x00\x03");
        let option =
            |option: u32| [&OPTION.to_be_bytes()[..], &option.to_be_bytes(), &[0; 4]].concat();
        stream.write_all(&[&[0; 4], &option(8)[..]].concat()).unwrap();
        let unsupported: [u8; 20] = bytes(&mut stream).unwrap();
        assert_eq!(unsupported[12..], [0x80, 0, 0, 1, 0, 0, 0, 0]);
        stream.write_all(&option(OPTION_GO)).unwrap();
        let info: [u8; 32] = bytes(&mut stream).unwrap();
        assert_eq!(info[22..], [0, 0, 0, 0, 0, 0, 0, 32, 0, 1]);
        let _ack: [u8; 20] = bytes(&mut stream).unwrap();

        let request = |kind: u16, at: u64, length: u32| {
            let (kind, at, length) = (kind.to_be_bytes(), at.to_be_bytes(), length.to_be_bytes());
            [&REQUEST.to_be_bytes()[..], &[0; 2], &kind, b"a cookie", &at, &length].concat()
        };
        stream.write_all(&[&request(WRITE, 13, 6), &b"abcdef"[..]].concat()).unwrap();
        let done = [&REPLY.to_be_bytes()[..], &[0; 4], b"a cookie"].concat();
        assert_eq!(bytes::<16>(&mut stream).unwrap()[..], done);
        stream.write_all(&request(READ, 24, 8)).unwrap();
        assert_eq!(bytes::<16>(&mut stream).unwrap()[..], done);
        assert_eq!(&bytes(&mut stream).unwrap(), b"def..abc");
        assert_eq!(std::fs::read(&path).unwrap(), b"def..abc");
        stream.write_all(&request(READ, 30, 8)).unwrap();
        assert_eq!(bytes::<16>(&mut stream).unwrap()[7], 22);
    }
}
