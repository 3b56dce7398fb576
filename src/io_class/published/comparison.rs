//! What a model's class table and the published one differ by.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::super::{Class, ClassCounts, Fold, NeuronTable};
use super::{Published, PublishedTable};

/// The threshold of the published tables; their fold is [`Fold::Pre`].
pub const PUBLISHED_THRESHOLD: f32 = 0.5;

/// By how many neurons a count may be off. Two computations of a cosine in f32 differ by some 1e-6, and of a million
/// neurons no more than 8 have one that near to a border (SmolLM2-135M, Gemma 3 270M; in the layer that has most of
/// them): 0.15 neurons of the widest published layer. Weights that are rounded are another matter.
pub const COUNT_TOLERANCE: usize = 2;

/// By how much a median may be off: twice the precision to which the plots could be read.
pub const MEDIAN_TOLERANCE: f32 = 2e-3;

/// A published figure and its counterpart.
#[derive(Copy, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[cfg_attr(test, schemars(rename = "Difference_of_{T}"))]
pub struct Difference<T> {
    /// The layer, from 0.
    pub layer: usize,
    /// What was published.
    pub published: T,
    /// What was found in the model at hand.
    pub found: T,
}

/// What a comparison says.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Every figure is within its tolerance.
    Agrees,
    /// Some figure is not.
    Differs,
}

/// A model's table compared with the published one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Comparison {
    /// The published model's Hugging Face id.
    pub model: String,
    /// The name that it was found by.
    pub matched_by: String,
    /// Where the figures come from.
    pub source: String,
    /// By how many neurons a count may be off.
    pub count_tolerance: usize,
    /// By how much a median may be off.
    pub median_tolerance: f32,
    /// Whether all figures are within their tolerances.
    pub verdict: Verdict,
    /// How many counts there are: layers times classes.
    pub counts: usize,
    /// How many counts are off by more than their tolerance.
    pub counts_beyond_tolerance: usize,
    /// The largest difference of a count of each class, in the first layer that has it.
    pub largest_by_class: BTreeMap<Class, Difference<usize>>,
    /// How many medians there are: one per layer.
    pub medians: usize,
    /// How many medians are off by more than their tolerance.
    pub medians_beyond_tolerance: usize,
    /// The largest difference of a median of cos(w_in, w_out).
    pub largest_median: Difference<f32>,
}

impl Published<'_> {
    /// Compares a model's table with this one; `None` where the two cannot be compared, because of another fold,
    /// threshold or number of layers.
    pub fn compare(&self, table: &NeuronTable) -> Option<Comparison> {
        if !self.table.is_comparable(table) {
            return None;
        }
        let counts = self.table.count_differences(&table.counts_per_layer());
        let medians = self.table.median_differences(&table.median_in_out());
        let off = counts.iter().filter(|(_, d)| d.size() > COUNT_TOLERANCE);
        let counts_beyond_tolerance = off.count();
        let medians_beyond_tolerance = medians.iter().filter(|d| !d.is_small()).count();
        let verdict = match counts_beyond_tolerance + medians_beyond_tolerance {
            0 => Verdict::Agrees,
            _ => Verdict::Differs,
        };
        Some(Comparison {
            model: self.model.to_string(),
            matched_by: self.name.to_string(),
            source: self.source.to_string(),
            count_tolerance: COUNT_TOLERANCE,
            median_tolerance: MEDIAN_TOLERANCE,
            verdict,
            counts: counts.len(),
            counts_beyond_tolerance,
            largest_by_class: largest_by_class(counts),
            medians: medians.len(),
            medians_beyond_tolerance,
            largest_median: largest_median(medians)?,
        })
    }
}

impl PublishedTable {
    /// Whether both were made with the same fold and threshold, of as many layers.
    pub(super) fn is_comparable(&self, table: &NeuronTable) -> bool {
        let settings = (table.fold, table.threshold, table.layers.len());
        settings == (Fold::Pre, PUBLISHED_THRESHOLD, self.layers)
    }

    pub(super) fn count_differences(
        &self,
        layers: &[ClassCounts],
    ) -> Vec<(Class, Difference<usize>)> {
        let layers = layers.iter().zip(&self.class_counts_per_layer).enumerate();
        let of_layer = |(layer, (found, published)): (usize, (&ClassCounts, &[usize; 11]))| {
            let cells = Class::ALL.into_iter().zip(*published);
            let cell = |(class, published)| {
                let found = found[&class];
                let difference = Difference {
                    layer,
                    published,
                    found,
                };
                (class, difference)
            };
            cells.map(cell).collect::<Vec<_>>()
        };
        layers.flat_map(of_layer).collect()
    }

    pub(super) fn median_differences(&self, medians: &[f32]) -> Vec<Difference<f32>> {
        let layers = self.median_cos_in_out_per_layer.iter().zip(medians);
        let difference = |(layer, (&published, &found))| Difference {
            layer,
            published,
            found,
        };
        layers.enumerate().map(difference).collect()
    }
}

impl Difference<usize> {
    /// How many neurons it is, without its sign.
    pub fn size(&self) -> usize {
        self.published.abs_diff(self.found)
    }
}

impl Difference<f32> {
    /// How large it is, without its sign.
    pub fn size(&self) -> f32 {
        (self.published - self.found).abs()
    }

    fn is_small(&self) -> bool {
        self.size() <= MEDIAN_TOLERANCE // false for what is not a number
    }
}

impl Comparison {
    /// The largest difference of a count, in neurons.
    pub fn largest_count(&self) -> usize {
        let sizes = self
            .largest_by_class
            .values()
            .map(Difference::<usize>::size);
        sizes.max().unwrap_or(0)
    }
}

pub(super) fn largest_by_class(
    counts: Vec<(Class, Difference<usize>)>,
) -> BTreeMap<Class, Difference<usize>> {
    let mut largest = BTreeMap::new();
    for (class, difference) in counts {
        let known = largest.entry(class).or_insert(difference);
        if difference.size() > known.size() {
            *known = difference;
        }
    }
    largest
}

pub(super) fn largest_median(medians: Vec<Difference<f32>>) -> Option<Difference<f32>> {
    let larger = |a: Difference<f32>, b: Difference<f32>| if b.size() > a.size() { b } else { a };
    medians.into_iter().reduce(larger)
}

#[cfg(test)]
mod tests {
    use super::super::super::testing::row;
    use super::super::ModelName;
    use super::*;

    /// Two layers of five neurons.
    fn published() -> PublishedTable {
        PublishedTable {
            layers: 2,
            neurons_per_layer: 5,
            class_counts_per_layer: vec![
                [0, 0, 3, 0, 0, 0, 2, 0, 0, 0, 0],
                [0, 0, 0, 0, 0, 0, 4, 1, 0, 0, 0],
            ],
            median_cos_in_out_per_layer: vec![0.6, -0.1],
        }
    }

    fn neurons(fold: Fold, threshold: f32, layers: [[(Class, f32); 5]; 2]) -> NeuronTable {
        let rows = |layer: [(Class, f32); 5]| {
            layer
                .map(|(class, in_out)| row(class, in_out, 1.0))
                .to_vec()
        };
        NeuronTable {
            fold,
            threshold,
            layers: layers.map(rows).to_vec(),
        }
    }

    fn compare(table: &NeuronTable) -> Option<Comparison> {
        let (name, table_of) = (ModelName::Folder("m".to_string()), published());
        let published = Published {
            model: "org/m",
            name: &name,
            source: "a paper",
            table: &table_of,
        };
        published.compare(table)
    }

    use Class::{
        ConditionalEnrichment as Ce, Depletion as D, Enrichment as E, OrthogonalOutput as Oo,
    };

    #[test]
    fn small_differences_agree() {
        let same = [
            [(Ce, 0.6), (Ce, 0.7), (Ce, 0.6015), (Oo, 0.0), (Oo, 0.0)],
            [(D, -0.6), (Oo, -0.1), (Oo, -0.1), (Oo, 0.0), (Oo, 0.0)],
        ];
        let comparison = compare(&neurons(Fold::Pre, 0.5, same)).unwrap();
        assert_eq!(comparison.verdict, Verdict::Agrees);
        assert_eq!((comparison.counts, comparison.medians), (22, 2));
        assert_eq!(comparison.largest_count(), 0);

        let mut near = same;
        near[0][0] = (E, 0.6);
        near[0][1] = (E, 0.7); // two neurons less of one class, two more of another
        let comparison = compare(&neurons(Fold::Pre, 0.5, near)).unwrap();
        assert_eq!(comparison.verdict, Verdict::Agrees);
        let expected = Difference {
            layer: 0,
            published: 3,
            found: 1,
        };
        assert_eq!(comparison.largest_by_class[&Ce], expected);
        assert_eq!(comparison.largest_count(), 2);
    }

    #[test]
    fn larger_differences_are_found_where_they_are() {
        let other = [
            [(Ce, 0.6), (Ce, 0.7), (Ce, 0.6), (Oo, 0.0), (Oo, 0.0)],
            [(D, -0.6), (D, -0.7), (D, -0.8), (D, -0.9), (Oo, 0.0)],
        ];
        let comparison = compare(&neurons(Fold::Pre, 0.5, other)).unwrap();
        assert_eq!(comparison.verdict, Verdict::Differs);
        assert_eq!(comparison.counts_beyond_tolerance, 2);
        assert_eq!(comparison.medians_beyond_tolerance, 1);
        let depletion = comparison.largest_by_class[&D];
        assert_eq!(
            (depletion.layer, depletion.published, depletion.found),
            (1, 1, 4)
        );
        assert_eq!(comparison.largest_median.layer, 1);
        let json = serde_json::to_value(&comparison).unwrap();
        assert_eq!(json["verdict"], "differs");
        assert_eq!(json["largest_by_class"]["depletion"]["found"], 4);

        let mut median_alone = other;
        median_alone[1] = [(D, -0.6), (Oo, -0.4), (Oo, -0.3), (Oo, -0.2), (Oo, 0.0)];
        let comparison = compare(&neurons(Fold::Pre, 0.5, median_alone)).unwrap();
        assert_eq!(comparison.counts_beyond_tolerance, 0);
        assert_eq!(comparison.verdict, Verdict::Differs);
    }

    #[test]
    fn another_fold_threshold_or_depth_is_not_compared() {
        let layers = [[(Oo, 0.0); 5]; 2];
        assert!(compare(&neurons(Fold::Pre, 0.5, layers)).is_some());
        assert!(compare(&neurons(Fold::None, 0.5, layers)).is_none());
        assert!(compare(&neurons(Fold::Pre, 0.4, layers)).is_none());
        let mut short = neurons(Fold::Pre, 0.5, layers);
        short.layers.pop();
        assert!(compare(&short).is_none());
    }
}
