//! The neuron sets that the claims are about, each with its matched draws.

use super::super::effects::Arms;
use super::super::plan::Treatment;
use super::input::VerifySettings;
use crate::hooks::NeuronSet;
use crate::io_class::{Class, ClassError, Matching, NeuronTable, matched_draws, matched_subset};

/// The classes that the claims are about.
pub(super) const CLASSES: [Class; 3] = [
    Class::Enrichment,
    Class::ConditionalEnrichment,
    Class::Depletion,
];

/// The classes of the claims about recall.
pub(super) const ENRICHMENT: [Class; 2] = [Class::Enrichment, Class::ConditionalEnrichment];

/// Of these the one that decides: the large class that the paper speaks of. Plain enrichment, some twenty neurons, is described.
pub(super) const DECIDING: Class = Class::ConditionalEnrichment;

/// One class with its draws.
pub(super) struct Set {
    pub class: Class,
    /// With the draws that estimates are over.
    pub treatment: Treatment,
    /// As many as a rank may need, those among them.
    pub all_draws: Vec<NeuronSet>,
    /// Where the class holds more than half of a layer, it is larger than its baseline: as many of its neurons in each
    /// layer as lie outside it. They have the same draws, which are not run twice.
    pub subset: Option<Treatment>,
}

/// A set of neurons that a claim is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Member {
    pub class: Class,
    pub extent: Extent,
}

/// How much of a class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Extent {
    Whole,
    /// As large as the draws.
    MatchedSubset,
}

impl Member {
    /// All of a class.
    pub fn class(class: Class) -> Self {
        Self {
            class,
            extent: Extent::Whole,
        }
    }
}

/// Treatments that run together, and which member each is.
#[derive(Clone, Default)]
pub(super) struct Group {
    pub treatments: Vec<Treatment>,
    members: Vec<Member>,
}

impl Group {
    /// The number of a member's treatment, and that of the treatment whose draws it is compared with.
    pub fn places(&self, member: Member) -> Option<(usize, usize)> {
        let place = |member: Member| self.members.iter().position(|own| *own == member);
        let own = place(member)?;
        Some((own, place(Member::class(member.class)).unwrap_or(own)))
    }

    /// A member's arms, from those of the treatments.
    pub fn arms(&self, member: Member, of: impl Fn(usize) -> Arms) -> Option<Arms> {
        let (own, with_draws) = self.places(member)?;
        let arms = of(own);
        Some(if own == with_draws {
            arms
        } else {
            Arms {
                draws: of(with_draws).draws,
                ..arms
            }
        })
    }
}

/// The sets of a run.
pub(super) struct Sets(Vec<Set>);

impl Sets {
    /// Those of [`CLASSES`] that have neurons, and neurons outside them.
    pub fn new(table: &NeuronTable, settings: &VerifySettings) -> Result<Self, ClassError> {
        let (draws, seed) = (settings.draws, settings.statistics.seed);
        let most = settings.most_draws;
        let mut sets = Vec::new();
        for class in CLASSES {
            let neurons = match table.select(class.into(), None) {
                Err(ClassError::EmptyClass { .. }) => continue,
                neurons => neurons?,
            };
            let mut found = match matched_draws(table, &neurons, most, seed, Matching::Layer) {
                Err(ClassError::NothingOutside { .. }) => continue,
                found => found?,
            };
            let subset = (!found.shortfall.is_empty()).then(|| Treatment {
                class: format!("{class}, matched subset"),
                layers: None,
                neurons: matched_subset(&neurons, &found.shortfall, seed),
                baseline: Vec::new(),
                shortfall: Vec::new(),
                written: None,
                first_order: None,
            });
            let all_draws = found.sets.clone();
            found.sets.truncate(draws);
            sets.push(Set {
                all_draws,
                treatment: Treatment::new(class.to_string(), neurons, found),
                class,
                subset,
            });
        }
        Ok(Self(sets))
    }

    /// Every class, with so many of its draws.
    pub fn treatments(&self, draws: impl Fn(Class) -> usize) -> Vec<Treatment> {
        let sets = self.0.iter().map(|set| Treatment {
            baseline: set
                .all_draws
                .iter()
                .take(draws(set.class))
                .cloned()
                .collect(),
            ..set.treatment.clone()
        });
        sets.collect()
    }

    /// One class.
    pub fn get(&self, class: Class) -> Option<&Set> {
        self.0.iter().find(|set| set.class == class)
    }

    /// The part of a class that decides about it: as large as the draws.
    pub fn primary(&self, class: Class) -> Option<Member> {
        self.members(&[class]).pop()
    }

    /// A member with all the draws that a rank may need.
    pub fn for_rank(&self, member: Member) -> Option<Treatment> {
        let set = self.get(member.class)?;
        Some(Treatment {
            baseline: set.all_draws.clone(),
            ..self.treatment(member)?.clone()
        })
    }

    /// The part of a class that decides about it, with the draws that estimates are over.
    pub fn primary_with_draws(&self, class: Class) -> Option<Treatment> {
        Some(Treatment {
            baseline: self.get(class)?.treatment.baseline.clone(),
            ..self.treatment(self.primary(class)?)?.clone()
        })
    }

    /// The neurons of a member, with its own draws if it has any.
    pub fn treatment(&self, member: Member) -> Option<&Treatment> {
        let set = self.get(member.class)?;
        match member.extent {
            Extent::Whole => Some(&set.treatment),
            Extent::MatchedSubset => set.subset.as_ref(),
        }
    }

    /// The members of some classes, each class before its subset.
    pub fn members(&self, classes: &[Class]) -> Vec<Member> {
        let extents = [Extent::Whole, Extent::MatchedSubset];
        let members = classes
            .iter()
            .flat_map(|&class| extents.map(|extent| Member { class, extent }));
        members
            .filter(|member| self.treatment(*member).is_some())
            .collect()
    }

    /// The treatments of some classes, their subsets behind them.
    pub fn group(&self, classes: &[Class]) -> Group {
        let members = self.members(classes);
        let treatments = members.iter().filter_map(|member| self.treatment(*member));
        Group {
            treatments: treatments.cloned().collect(),
            members,
        }
    }
}
