//! Which labels this node has given away.

use std::collections::BTreeSet;

use super::Rng;
use crate::label::Label;

#[derive(Debug, Default)]
pub struct Labels(BTreeSet<Label>);

impl Labels {
    /// One that is free, by chance: who knows one guesses no other. There are far more of them than paths.
    pub fn take(&mut self, chance: Rng<'_>) -> Label {
        loop {
            let bytes = chance();
            let words = bytes.as_chunks::<4>().0.iter();
            for label in words.map(|word| Label::of_chance(u32::from_be_bytes(*word))) {
                if self.0.insert(label) {
                    return label;
                }
            }
        }
    }

    /// These are in use, as they were before.
    pub fn keep(&mut self, labels: &[Label]) {
        self.0.extend(labels);
    }

    pub fn give_back(&mut self, label: Label) {
        self.0.remove(&label);
    }
}
