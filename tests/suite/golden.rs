//! Golden numbers of Hugging Face transformers (`tests/goldens/make.py`), and a run held against them.

use std::collections::{BTreeMap, HashMap};

use candle_core::{DType, Device, Tensor};
use gatelens::engine::Engine;
use gatelens::hooks::{
    Condition, Edit, HookPoint, MeanSums, Mode, Neuron, NeuronMeans, NeuronSet, Path, Recorder,
    Reference, Site,
};
use gatelens::model::{Model, Operations};
use gatelens::tokens::TokenBatch;

use super::common::{
    LogProbs, OPERATIONS, batch, first_row, goldens, max_difference, model_by, relative_difference,
};

/// What a model's numbers may differ by from transformers' in f32, absolutely for log-probabilities
/// and relative to the row's length elsewhere. Both sides sum in f32 in other orders: transformers'
/// own distance to f64 is 1.1e-5 relative on the tiny models and 5e-5 in log-probabilities on the
/// real ones.
pub struct Tolerance {
    pub logprob: f32,
    pub relative: f64,
    /// Of a neuron's mean over clean runs: both are sums in f64 of f32 activations, of few tokens where a sign case is rare.
    pub mean: f32,
}

pub const TINY: Tolerance = Tolerance {
    logprob: 2e-4,
    relative: 1e-4,
    mean: 1e-5,
};
pub const REAL: Tolerance = Tolerance {
    logprob: 2e-3,
    relative: 1e-3,
    mean: 1e-5,
};
/// Of a model whose activations are larger: up to 24, of which 7.6e-6, by which its sites differ, are 1.8e-4.
pub const LARGE: Tolerance = Tolerance { mean: 2e-5, ..REAL };

/// The limit of the golden runs under a clamp (`capture.py`).
const CLAMP: f32 = 0.05;

pub struct Golden {
    tensors: HashMap<String, Tensor>,
}

impl Golden {
    pub fn read(name: &str) -> Self {
        let path = goldens().join(format!("{name}.safetensors"));
        Self {
            tensors: candle_core::safetensors::load(path, &Device::Cpu).unwrap(),
        }
    }

    pub fn has(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// Rows of a tensor `[rows, width]`; one of width 1 for a vector.
    pub fn rows(&self, name: &str) -> Vec<Vec<f32>> {
        let tensor = self.tensors[name].to_dtype(DType::F32).unwrap();
        let tensor = if tensor.rank() == 1 {
            tensor.unsqueeze(1).unwrap()
        } else {
            tensor
        };
        tensor.to_vec2().unwrap()
    }

    pub fn ints(&self, name: &str) -> Vec<u32> {
        let values: Vec<i64> = self.tensors[name].flatten_all().unwrap().to_vec1().unwrap();
        values.into_iter().map(|v| v as u32).collect()
    }

    pub fn prompts(&self) -> Vec<Vec<u32>> {
        (0..)
            .map(|p| format!("p{p}.ids"))
            .take_while(|name| self.has(name))
            .map(|name| self.ints(&name))
            .collect()
    }

    /// All the golden's neurons set to zero.
    pub fn ablation(&self, model: &Model) -> Condition {
        self.edited(model, Mode::Zero)
    }

    fn edited(&self, model: &Model, mode: Mode) -> Condition {
        Condition::Edited(Edit::new(self.neurons(model), mode))
    }

    fn directly(&self, model: &Model, path: Path) -> Condition {
        Condition::Edited(Edit::zero(self.neurons(model)).by(path))
    }

    pub fn neurons(&self, model: &Model) -> NeuronSet {
        let neurons = self.ints("ablation.neurons");
        let neurons = neurons.chunks(2).map(|pair| Neuron {
            layer: pair[0] as usize,
            index: pair[1] as usize,
        });
        let config = model.config();
        NeuronSet::new(config, neurons).unwrap()
    }

    /// Every condition that the file has runs of, with the prefix of its tensors after the prompt's.
    fn conditions(
        &self,
        model: &Model,
        batch: &TokenBatch,
        tolerance: &Tolerance,
    ) -> Vec<(&'static str, Condition)> {
        let mut conditions = vec![
            ("", Condition::Clean),
            ("ablated.", self.ablation(model)),
            ("direct.", self.directly(model, Path::Direct)),
            (
                "direct-frozen-norm.",
                self.directly(model, Path::DirectFrozenNorm),
            ),
        ];
        if self.has("ablation.means") {
            let means = Reference::from(self.means(model, batch, tolerance));
            let (overall, by_sign) = (Mode::Mean(means.clone()), Mode::MeanBySign(means));
            conditions.push(("clamp.", self.edited(model, Mode::ClampAbove(CLAMP))));
            conditions.push(("mean.", self.edited(model, overall)));
            conditions.push(("mean-sign.", self.edited(model, by_sign)));
        }
        conditions
    }

    /// The neurons' means over the clean runs of all prompts, which must be transformers'.
    fn means(&self, model: &Model, batch: &TokenBatch, tolerance: &Tolerance) -> NeuronMeans {
        let neurons = self.neurons(model);
        let mut sums = MeanSums::new(neurons.clone(), model.config().d_mlp);
        Engine::new(model)
            .run(batch, &[Condition::Clean], &mut [&mut sums], None, &())
            .unwrap();
        let means = sums.means();
        for (neuron, expected) in neurons.iter().zip(self.rows("ablation.means")) {
            let found = means.layer(neuron.layer)[neuron.index];
            let found = std::iter::once(found.overall).chain(found.by_sign);
            for (found, expected) in found.zip(expected) {
                match found {
                    Some(found) => {
                        let difference = (found - expected).abs();
                        let is_near = difference <= tolerance.mean;
                        assert!(is_near, "{neuron}: {found} {expected}");
                    }
                    None => assert!(expected.is_nan(), "{neuron}: {expected}"),
                }
            }
        }
        means
    }

    /// Every hook point that the golden file holds for prompt `p`.
    fn points(&self, p: usize, n_layers: usize) -> Vec<HookPoint> {
        let in_layers = (0..n_layers).flat_map(|l| {
            Site::IN_LAYERS
                .iter()
                .map(move |s| HookPoint::in_layer(l, *s))
        });
        in_layers
            .chain([HookPoint::FINAL_SCALE])
            .filter(|point| self.has(&format!("p{p}.{point}")))
            .collect()
    }
}

/// The largest difference of every kind of number, by its name; `run_name` may be another file of the same weights.
fn differences(
    run_name: &str,
    golden_name: &str,
    longest: usize,
    tolerance: &Tolerance,
    operations: Operations,
) -> BTreeMap<String, f64> {
    let golden = Golden::read(golden_name);
    let model = model_by(run_name, operations);
    let config = model.config().clone();
    let mut prompts = golden.prompts();
    prompts.retain(|prompt| prompt.len() <= longest);
    let batch = batch(&prompts);
    let points: Vec<Vec<HookPoint>> = (0..prompts.len())
        .map(|p| golden.points(p, config.n_layers()))
        .collect();
    let mut recorder = Recorder::new(points.concat());
    let (names, conditions): (Vec<&str>, Vec<Condition>) = golden
        .conditions(&model, &batch, tolerance)
        .into_iter()
        .unzip();
    // at the stored positions alone: of a vocabulary of 262,144, all rows would be gigabytes
    let rows = (0..prompts.len()).flat_map(|p| {
        let positions = golden.ints(&format!("p{p}.positions")).into_iter();
        let first = first_row(&batch, p);
        positions.map(move |position| first + position as usize)
    });
    let mut logprobs = LogProbs::new(rows.collect());
    let counts = Engine::new(&model)
        .run(
            &batch,
            &conditions,
            &mut [&mut recorder],
            Some(&mut logprobs),
            &(),
        )
        .unwrap();
    for count in &counts[1..] {
        assert!(count.changed > 0 && count.changed <= count.touched);
    }

    let mut worst: BTreeMap<String, f64> = BTreeMap::new();
    let mut note = |kind: &str, difference: f64| {
        let entry = worst.entry(kind.to_string()).or_insert(0.0);
        // a NaN must not pass as the smaller one
        *entry = if difference.is_nan() {
            f64::NAN
        } else {
            entry.max(difference)
        };
    };
    let vocab_ids = golden.ints("vocab_ids");
    for (p, points) in points.iter().enumerate() {
        let positions = golden.ints(&format!("p{p}.positions"));
        let first = first_row(&batch, p);
        for (condition, name) in names.iter().enumerate() {
            let of_run = |tensor: &str| format!("p{p}.{name}{tensor}");
            let some = golden.rows(&of_run("logprobs"));
            let top_ids = golden.ints(&of_run("top_ids"));
            let top = golden.rows(&of_run("top_logprobs"));
            let kind = format!("{name}logprobs").replace('.', " ");
            for (k, position) in positions.iter().enumerate() {
                let found = logprobs.at(condition, first + *position as usize);
                let at = |ids: &[u32]| ids.iter().map(|id| found[*id as usize]).collect::<Vec<_>>();
                let width = top[k].len();
                note(&kind, f64::from(max_difference(&at(&vocab_ids), &some[k])));
                note(
                    &kind,
                    f64::from(max_difference(
                        &at(&top_ids[k * width..(k + 1) * width]),
                        &top[k],
                    )),
                );
            }
        }
        for point in points {
            let width = point.site.width(&config);
            let rows = recorder.rows(*point, 0).unwrap();
            let expected = golden.rows(&format!("p{p}.{point}"));
            // the long prompt keeps residuals at its last position alone
            let skipped = positions.len() - expected.len();
            for (position, expected) in positions[skipped..].iter().zip(&expected) {
                let row = first + *position as usize;
                let found = &rows[row * width..(row + 1) * width];
                note(point.site.suffix(), relative_difference(found, expected));
            }
        }
    }
    worst
}

/// Checks one file by both kinds of operations, on prompts of at most `longest` tokens, against the goldens of its weights and returns the largest difference of a log-probability.
pub fn check(run_name: &str, golden_name: &str, longest: usize, tolerance: &Tolerance) -> f64 {
    let names = (run_name, golden_name);
    let worst = OPERATIONS.map(|operations| check_by(names, longest, tolerance, operations));
    worst.into_iter().fold(0.0, f64::max)
}

fn check_by(
    (run_name, golden_name): (&str, &str),
    longest: usize,
    tolerance: &Tolerance,
    operations: Operations,
) -> f64 {
    let differences = differences(run_name, golden_name, longest, tolerance, operations);
    println!("{run_name} by {operations:?} operations against transformers:");
    for (kind, difference) in &differences {
        println!("  {kind:<22} {difference:.1e}");
        let allowed = if kind.contains("logprobs") {
            f64::from(tolerance.logprob)
        } else {
            tolerance.relative
        };
        assert!(
            *difference <= allowed,
            "{run_name}: {kind} differs by {difference:.2e}, allowed {allowed:.0e}"
        );
    }
    for kind in [
        "logprobs",
        "ablated logprobs",
        "mlp.hook_post",
        "mlp.hook_pre",
        "mlp.hook_pre_linear",
        "hook_resid_post",
    ] {
        assert!(
            differences.contains_key(kind),
            "{run_name}: nothing compared for {kind}"
        );
    }
    differences["logprobs"].max(differences["ablated logprobs"])
}
