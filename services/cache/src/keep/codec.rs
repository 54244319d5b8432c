//! How an object is cut into shards: stripes of `data` blocks, to each of which `parity` blocks are computed (Reed-Solomon).
//! Shard i has block i of each stripe. A stripe is coded at a time, so memory does not grow with the object, and the
//! same object gives the same shards at every board.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use iroh_blobs::Hash;
use reed_solomon_simd::{ReedSolomonDecoder, ReedSolomonEncoder};

use super::manifest::{ShardLayout, ShardManifest};

/// Codes the blocks of a stripe.
pub struct StripeCodec {
    layout: ShardLayout,
    encoder: ReedSolomonEncoder,
    decoder: ReedSolomonDecoder,
}

impl StripeCodec {
    pub fn new(layout: ShardLayout) -> io::Result<Self> {
        let [data, parity] = [layout.data, layout.parity].map(usize::from);
        let block = layout.block as usize;
        let encoder = ReedSolomonEncoder::new(data, parity, block).map_err(io::Error::other)?;
        let decoder = ReedSolomonDecoder::new(data, parity, block).map_err(io::Error::other)?;
        Ok(Self { layout, encoder, decoder })
    }

    /// The parity blocks of a stripe, one after the other.
    pub fn encode(&mut self, stripe: &[u8]) -> io::Result<Vec<u8>> {
        for block in stripe.chunks(self.layout.block as usize) {
            self.encoder.add_original_shard(block).map_err(io::Error::other)?;
        }
        let encoded = self.encoder.encode().map_err(io::Error::other)?;
        Ok(encoded.recovery_iter().flatten().copied().collect())
    }

    /// The stripe of which `blocks` are there, each with its index: at least `data` different ones.
    pub fn decode(&mut self, blocks: &[(u8, Vec<u8>)]) -> io::Result<Vec<u8>> {
        let (data, size) = (usize::from(self.layout.data), self.layout.block as usize);
        let mut stripe = vec![0; data * size];
        for (index, block) in blocks {
            let index = usize::from(*index);
            if index < data {
                self.decoder.add_original_shard(index, block).map_err(io::Error::other)?;
                stripe[index * size..][..size].copy_from_slice(block);
            } else {
                self.decoder.add_recovery_shard(index - data, block).map_err(io::Error::other)?;
            }
        }
        let decoded = self.decoder.decode().map_err(io::Error::other)?;
        for (index, block) in decoded.restored_original_iter() {
            stripe[index * size..][..size].copy_from_slice(block);
        }
        Ok(stripe)
    }
}

/// Where the stripes of an object are read.
pub enum StripeSource {
    /// All of the object.
    Whole(File),
    /// `data` different shards, with their indices.
    Shards(Vec<(u8, File)>),
}

/// Reads an object of `size` bytes stripe by stripe.
pub struct StripeReader {
    layout: ShardLayout,
    size: u64,
    source: StripeSource,
    codec: StripeCodec,
}

impl StripeReader {
    pub fn new(layout: ShardLayout, size: u64, source: StripeSource) -> io::Result<Self> {
        Ok(Self { layout, size, source, codec: StripeCodec::new(layout)? })
    }

    /// The data blocks of a stripe, one after the other; behind the end of the object they are zero.
    fn stripe(&mut self, number: u64) -> io::Result<Vec<u8>> {
        let block = self.layout.block as usize;
        match &self.source {
            StripeSource::Whole(file) => {
                let mut stripe = vec![0; self.layout.stripe() as usize];
                let length = self.length_in(number) as usize;
                file.read_exact_at(&mut stripe[..length], number * self.layout.stripe())?;
                Ok(stripe)
            }
            StripeSource::Shards(files) => {
                let mut blocks = vec![];
                for (index, file) in files {
                    let mut bytes = vec![0; block];
                    file.read_exact_at(&mut bytes, number * u64::from(self.layout.block))?;
                    blocks.push((*index, bytes));
                }
                self.codec.decode(&blocks)
            }
        }
    }

    /// How many bytes of the object are in this stripe.
    fn length_in(&self, stripe: u64) -> u64 {
        let begin = stripe * self.layout.stripe();
        self.layout.stripe().min(self.size.saturating_sub(begin))
    }

    /// Gives each part of the outputs to `write`, with the number of its output, in the order of the stripes.
    ///
    /// # Errors
    /// Reading or `write` fails.
    pub fn read(
        &mut self,
        outputs: &[ShardOutput],
        mut write: impl FnMut(usize, &[u8]) -> io::Result<()>,
    ) -> io::Result<()> {
        let (data, size) = (usize::from(self.layout.data), self.layout.block as usize);
        let is_parity = |output: &ShardOutput| matches!(output, ShardOutput::Shard(index) if usize::from(*index) >= data);
        let needs_parity = outputs.iter().any(is_parity);
        for number in 0..self.layout.stripes(self.size) {
            let stripe = self.stripe(number)?;
            let parity = if needs_parity { self.codec.encode(&stripe)? } else { vec![] };
            for (place, output) in outputs.iter().enumerate() {
                let part = match output {
                    ShardOutput::Whole => &stripe[..self.length_in(number) as usize],
                    ShardOutput::Shard(index) => match usize::from(*index) {
                        index if index < data => &stripe[index * size..][..size],
                        index => &parity[(index - data) * size..][..size],
                    },
                };
                write(place, part)?;
            }
        }
        Ok(())
    }
}

/// What is made of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShardOutput {
    /// All of it.
    Whole,
    /// The shard with this index.
    Shard(u8),
}

/// Computes the hashes of the shards of the object in `file`.
///
/// # Errors
/// Reading fails, or the file has another content.
pub fn compute_manifest(
    object: Hash,
    size: u64,
    layout: ShardLayout,
    file: File,
) -> io::Result<ShardManifest> {
    let shards = (0..layout.shards()).map(ShardOutput::Shard);
    let outputs: Vec<_> = shards.chain([ShardOutput::Whole]).collect();
    let mut hashers = vec![blake3::Hasher::new(); outputs.len()];
    let mut reader = StripeReader::new(layout, size, StripeSource::Whole(file))?;
    reader.read(&outputs, |place, part| {
        hashers[place].update(part);
        Ok(())
    })?;
    let mut hashes: Vec<Hash> = hashers.iter().map(|it| it.finalize().into()).collect();
    // A file is not verified when it is read.
    if hashes.pop() != Some(object) {
        return Err(io::Error::other(format!("the disk has another content for {object}")));
    }
    Ok(ShardManifest { object, size, layout, shards: hashes })
}

#[cfg(test)]
mod tests;
