//! The neuron sets that the claims are about, each with its matched draws.

use super::super::plan::Treatment;
use super::VerifySettings;
use crate::io_class::{Class, ClassError, Matching, NeuronTable, matched_draws, matched_subset};

/// One class with its draws.
pub(super) struct Set {
    pub class: Class,
    pub treatment: Treatment,
    /// Where the class holds more than half of a layer, it is larger than its baseline: as many of its neurons in each
    /// layer as lie outside it. They have the same draws, which are not run twice.
    pub subset: Option<Treatment>,
}

/// The sets of a run.
pub(super) struct Sets(Vec<Set>);

impl Sets {
    /// The classes that have neurons, and neurons outside them.
    pub fn new(
        table: &NeuronTable,
        classes: &[Class],
        settings: &VerifySettings,
    ) -> Result<Self, ClassError> {
        let (draws, seed) = (settings.draws, settings.bootstrap.seed);
        let mut sets = Vec::new();
        for &class in classes {
            let neurons = match table.select(class.into(), None) {
                Err(ClassError::EmptyClass { .. }) => continue,
                neurons => neurons?,
            };
            let found = match matched_draws(table, &neurons, draws, seed, Matching::Layer) {
                Err(ClassError::NothingOutside { .. }) => continue,
                found => found?,
            };
            let subset = (!found.shortfall.is_empty()).then(|| Treatment {
                class: format!("{class}, matched subset"),
                neurons: matched_subset(&neurons, &found.shortfall, seed),
                baseline: Vec::new(),
                shortfall: Vec::new(),
            });
            sets.push(Set {
                treatment: Treatment::new(class.to_string(), neurons, found),
                class,
                subset,
            });
        }
        Ok(Self(sets))
    }

    /// One class.
    pub fn get(&self, class: Class) -> Option<&Set> {
        self.0.iter().find(|set| set.class == class)
    }

    /// The treatments of some classes, their subsets behind them.
    pub fn treatments(&self, classes: &[Class]) -> Vec<Treatment> {
        let sets = classes.iter().filter_map(|class| self.get(*class));
        sets.flat_map(|set| std::iter::once(&set.treatment).chain(&set.subset))
            .cloned()
            .collect()
    }
}
