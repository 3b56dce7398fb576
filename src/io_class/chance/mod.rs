//! Chance levels: where cosines lie that mean nothing, and how many neurons lie beyond (Gerstner and Schütze, arXiv 2505.17936).
//!
//! Two regions, each of which holds 95 % of such cosines, 2.5 % being below and 2.5 % above. *Beta*: the cosine of
//! two random Gaussian vectors of d_model numbers. *Mismatched*: the cosines between vectors of different neurons of
//! the layer ([`mismatched_regions`]), which also holds what all neurons of a layer have in common.

mod mismatched;

pub use mismatched::{mismatched_flop, mismatched_layer, mismatched_regions};

use serde::Serialize;
use statrs::distribution::{Beta, ContinuousCDF};

use super::{Cosines, NeuronRow, NeuronTable};

/// The share of chance cosines that lies below a region, and above it.
pub const TAIL: f64 = 0.025;

/// Where 95 % of the cosines lie that chance gives.
#[derive(Copy, Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Region {
    /// The 2.5 % quantile of the cosines by chance.
    pub low: f32,
    /// The 97.5 % quantile of the cosines by chance.
    pub high: f32,
}

/// One thing for each of the three pairs of weight vectors.
#[derive(Copy, Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct PerPair<T> {
    /// Of w_gate and w_in.
    pub gate_in: T,
    /// Of w_gate and w_out.
    pub gate_out: T,
    /// Of w_in and w_out.
    pub in_out: T,
}

/// A region with the neurons of a layer that lie beyond it, strictly.
#[derive(Copy, Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Beyond {
    /// Where 95 % of the cosines lie that chance gives.
    #[serde(flatten)]
    pub region: Region,
    /// Number of neurons whose own cosine is below the region.
    pub below: usize,
    /// Number of neurons whose own cosine is above the region.
    pub above: usize,
}

/// The cosines of one layer's neurons compared with chance.
#[derive(Copy, Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct LayerChance {
    /// With those of random vectors.
    pub beta: PerPair<Beyond>,
    /// With those between vectors of different neurons of the layer; absent where that was not computed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mismatched: Option<PerPair<Beyond>>,
}

/// A model's cosines compared with chance.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ChanceLevels {
    /// The region of random vectors, the same in every layer.
    pub beta: Region,
    /// Layer by layer, the regions with the neurons beyond them.
    pub per_layer: Vec<LayerChance>,
}

/// The region of the cosine c of two random Gaussian vectors of `d_model` numbers: (c + 1)/2 is
/// Beta((d-1)/2, (d-1)/2). With one number a cosine is ±1.
pub fn beta_region(d_model: usize) -> Region {
    let shape = (d_model.max(1) - 1) as f64 / 2.0;
    let high = Beta::new(shape, shape).map_or(1.0, |beta| 2.0 * beta.inverse_cdf(1.0 - TAIL) - 1.0);
    Region {
        low: -high as f32,
        high: high as f32,
    }
}

impl ChanceLevels {
    /// Counts the table's neurons beyond chance; `mismatched` are the regions by layer, where they were computed.
    pub fn new(
        table: &NeuronTable,
        d_model: usize,
        mismatched: Option<&[PerPair<Region>]>,
    ) -> Self {
        let beta = beta_region(d_model);
        let betas = PerPair {
            gate_in: beta,
            gate_out: beta,
            in_out: beta,
        };
        let layer = |(l, rows): (usize, &Vec<NeuronRow>)| LayerChance {
            beta: beyond(rows, betas),
            mismatched: mismatched.and_then(|layers| Some(beyond(rows, *layers.get(l)?))),
        };
        let per_layer = table.layers.iter().enumerate().map(layer).collect();
        Self { beta, per_layer }
    }

    /// By layer, cos(w_in, w_out) compared with mismatched neurons where that was computed, else with random vectors.
    pub fn in_out(&self) -> Vec<Beyond> {
        let layers = self.per_layer.iter();
        layers
            .map(|layer| layer.mismatched.unwrap_or(layer.beta).in_out)
            .collect()
    }
}

fn beyond(rows: &[NeuronRow], regions: PerPair<Region>) -> PerPair<Beyond> {
    let count = |region: Region, cosine: fn(&Cosines) -> f32| {
        let cosines = || rows.iter().map(|row| cosine(&row.cosines));
        Beyond {
            region,
            below: cosines().filter(|&c| c < region.low).count(),
            above: cosines().filter(|&c| c > region.high).count(),
        }
    };
    PerPair {
        gate_in: count(regions.gate_in, |cosines| cosines.gate_in),
        gate_out: count(regions.gate_out, |cosines| cosines.gate_out),
        in_out: count(regions.in_out, |cosines| cosines.in_out),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Layer, row};
    use super::super::{Class, Fold};
    use super::*;

    /// scipy 1.17.1: `2 * beta.ppf(.975, (d-1)/2, (d-1)/2) - 1`
    #[test]
    fn beta_regions_equal_scipy() {
        for (d, high) in [
            (2, 0.996_917_333_733),
            (3, 0.95),
            (4, 0.878_339_448_160),
            (64, 0.244_148_243_134),
            (576, 0.081_635_170_174),
            (640, 0.077_448_782_704),
            (896, 0.065_462_371_643),
            (2048, 0.043_305_038_745),
            (3072, 0.035_359_630_074),
            (4096, 0.030_622_863_169),
            (8192, 0.021_654_190_954),
            (16384, 0.015_312_021_986),
        ] {
            let region = beta_region(d);
            assert!(
                (f64::from(region.high) - high).abs() < 1e-7,
                "{d}: {region:?}"
            );
            assert_eq!(region.low, -region.high);
        }
        assert_eq!(beta_region(1).high, 1.0);
    }

    #[test]
    fn neurons_beyond_a_region_are_counted_strictly() {
        let high = beta_region(3).high; // 0.95
        let rows = [high, high.next_up(), 1.0, -high, -1.0, 0.0];
        let rows = rows.map(|c| row(Class::OrthogonalOutput, c, 1.0)).to_vec();
        let table = NeuronTable {
            fold: Fold::Pre,
            threshold: 0.5,
            layers: vec![rows],
        };
        let narrow = Region {
            low: -0.5,
            high: 0.99,
        };
        let regions = PerPair {
            gate_in: narrow,
            gate_out: narrow,
            in_out: narrow,
        };
        let random = ChanceLevels::new(&table, 3, None);
        let counts = |beyond: Beyond| (beyond.below, beyond.above);
        assert_eq!(counts(random.per_layer[0].beta.in_out), (1, 2));
        assert_eq!(counts(random.per_layer[0].beta.gate_in), (0, 0));
        assert_eq!(counts(random.in_out()[0]), (1, 2));
        let both = ChanceLevels::new(&table, 3, Some(&[regions]));
        assert_eq!(counts(both.in_out()[0]), (2, 1));
        let json = serde_json::to_value(&both).unwrap();
        let in_out = &json["per_layer"][0]["mismatched"]["in_out"];
        assert_eq!(
            (&in_out["low"], &in_out["below"]),
            (&(-0.5).into(), &2.into())
        );
        let json = serde_json::to_value(&random).unwrap();
        assert!(json["per_layer"][0].get("mismatched").is_none());
    }

    #[test]
    fn random_weights_are_beyond_beta_as_often_as_chance_says() {
        let rows = Layer::random(4000, 64, 3).classify(Fold::Pre).unwrap();
        let table = NeuronTable {
            fold: Fold::Pre,
            threshold: 0.5,
            layers: vec![rows],
        };
        let layer = ChanceLevels::new(&table, 64, None).per_layer[0];
        for pair in [layer.beta.gate_in, layer.beta.gate_out, layer.beta.in_out] {
            // 100 expected on each side, standard deviation 9.9
            assert!((60..140).contains(&pair.below), "{pair:?}");
            assert!((60..140).contains(&pair.above), "{pair:?}");
        }
    }
}
