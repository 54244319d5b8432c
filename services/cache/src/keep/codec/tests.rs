use std::io::Write;

use proptest::prelude::*;

use super::*;

fn file(bytes: &[u8]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    file
}

/// `size` bytes, none of which follows from its neighbours.
fn object(size: usize) -> Vec<u8> {
    let mut reader = blake3::Hasher::new().update(&size.to_be_bytes()).finalize_xof();
    let mut bytes = vec![0; size];
    reader.fill(&mut bytes);
    bytes
}

/// What a reader makes of a source.
fn made(
    layout: ShardLayout,
    size: usize,
    source: StripeSource,
    outputs: &[ShardOutput],
) -> Vec<Vec<u8>> {
    let mut made = vec![vec![]; outputs.len()];
    let mut reader = StripeReader::new(layout, size as u64, source).unwrap();
    let write = |place: usize, part: &[u8]| {
        made[place].extend_from_slice(part);
        Ok(())
    };
    reader.read(outputs, write).unwrap();
    made
}

fn shards(layout: ShardLayout, object: &[u8]) -> Vec<Vec<u8>> {
    let outputs: Vec<_> = (0..layout.shards()).map(ShardOutput::Shard).collect();
    made(layout, object.len(), StripeSource::Whole(file(object)), &outputs)
}

fn sources(shards: &[Vec<u8>], indices: &[u8]) -> StripeSource {
    let one = |index: &u8| (*index, file(&shards[usize::from(*index)]));
    StripeSource::Shards(indices.iter().map(one).collect())
}

/// A layout, a size near a border of a block or a stripe, and an order of the shards.
fn case() -> impl Strategy<Value = (ShardLayout, usize, Vec<u8>)> {
    (2u8..=16, 1u8..=16, prop::sample::select(vec![2u32, 64, 66, 1024])).prop_flat_map(
        |(data, parity, block)| {
            let layout = ShardLayout { data, parity, block };
            let border = prop_oneof![Just(u64::from(block)), Just(layout.stripe())];
            let size = (border, 0u64..4, -1i64..=1)
                .prop_map(|(border, times, by)| (border * times).saturating_add_signed(by));
            let order = Just((0..layout.shards()).collect::<Vec<u8>>()).prop_shuffle();
            (Just(layout), size.prop_map(|size| size as usize), order)
        },
    )
}

proptest! {
    #[test]
    fn any_data_of_the_shards_give_the_object_and_every_other_shard((layout, size, order) in case()) {
        let object = object(size);
        let shards = shards(layout, &object);
        for shard in &shards {
            prop_assert_eq!(shard.len() as u64, layout.shard_size(size as u64));
        }
        let (used, lost) = order.split_at(usize::from(layout.data));
        let lost: Vec<_> = lost.iter().map(|index| ShardOutput::Shard(*index)).collect();
        let outputs = [&[ShardOutput::Whole][..], &lost].concat();
        let made = made(layout, size, sources(&shards, used), &outputs);
        prop_assert!(made[0] == object);
        for (output, made) in outputs.iter().zip(made).skip(1) {
            let ShardOutput::Shard(index) = output else { continue };
            prop_assert!(made == shards[usize::from(*index)], "shard {}", index);
        }
    }

    #[test]
    fn a_flipped_byte_of_a_shard_is_found_by_the_hash(
        (layout, size, order) in case(),
        place in any::<prop::sample::Index>(),
    ) {
        let object = object(size.max(1));
        let mut shards = shards(layout, &object);
        let used = &order[..usize::from(layout.data)];
        let flipped = &mut shards[usize::from(used[0])];
        let place = place.index(flipped.len());
        flipped[place] ^= 0x10;
        let lost = order[usize::from(layout.data)];
        let outputs = [ShardOutput::Whole, ShardOutput::Shard(lost)];
        let made = made(layout, object.len(), sources(&shards, used), &outputs);
        let manifest =
            compute_manifest(Hash::new(&object), object.len() as u64, layout, file(&object)).unwrap();
        // It may be in what fills the last stripe.
        let is_padding = made[0] == object;
        let is_whole = Hash::new(&made[0]) == manifest.object;
        prop_assert_eq!(is_whole, is_padding);
        prop_assert_ne!(Hash::new(&made[1]), manifest.shards[usize::from(lost)]);
    }
}

#[test]
fn the_manifest_has_the_hashes_of_the_shards_and_refuses_another_content() {
    let (layout, object) = (ShardLayout::new(5, 3), object(1_000_000));
    let hash = Hash::new(&object);
    let manifest = compute_manifest(hash, 1_000_000, layout, file(&object)).unwrap();
    let hashes: Vec<Hash> = shards(layout, &object).iter().map(Hash::new).collect();
    assert_eq!(manifest.shards, hashes);
    assert_eq!(manifest.shard_size(), 4 * (64 << 10));
    // The same everywhere.
    assert_eq!(manifest, compute_manifest(hash, 1_000_000, layout, file(&object)).unwrap());
    assert!(compute_manifest(Hash::EMPTY, 1_000_000, layout, file(&object)).is_err());
}

#[test]
fn too_few_shards_give_nothing() {
    let (layout, object) = (ShardLayout { data: 3, parity: 2, block: 64 }, object(500));
    let shards = shards(layout, &object);
    for indices in [&[0, 4][..], &[1, 1, 2]] {
        let source = sources(&shards, indices);
        let mut reader = StripeReader::new(layout, 500, source).unwrap();
        assert!(reader.read(&[ShardOutput::Whole], |_, _| Ok(())).is_err(), "{indices:?}");
    }
}
