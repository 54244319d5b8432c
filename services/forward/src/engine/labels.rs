//! The labels that this node has assigned.

use std::collections::BTreeSet;

use super::Rng;
use crate::label::Label;

#[derive(Debug, Default)]
pub struct Labels(BTreeSet<Label>);

impl Labels {
    /// Allocates a random free label, so that labels cannot be guessed from others. There are far more labels
    /// than paths.
    pub fn allocate(&mut self, rng: Rng<'_>) -> Label {
        loop {
            let bytes = rng();
            let words = bytes.as_chunks::<4>().0.iter();
            for label in words.map(|word| Label::of_chance(u32::from_be_bytes(*word))) {
                if self.0.insert(label) {
                    return label;
                }
            }
        }
    }

    /// Marks labels of a previous daemon as in use.
    pub fn reserve(&mut self, labels: &[Label]) {
        self.0.extend(labels);
    }

    pub fn free(&mut self, label: Label) {
        self.0.remove(&label);
    }
}
