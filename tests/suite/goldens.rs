//! Every number of a forward pass against Hugging Face transformers (`tests/goldens/make.py`).

use std::collections::BTreeMap;

use candle_core::{DType, Tensor};
use gatelens::hooks::{
    Condition, Edit, HookPoint, Mode, Neuron, NeuronSet, Recorder, SignCase, Site,
};
use gatelens::io_class::{Fold, NeuronTable};
use gatelens::model::Model;
use gatelens::tokens::Positions;

use super::common::{
    batch, checkpoint, first_row, goldens, max_difference, model, relative_difference, run,
};

/// What a model's numbers may differ by from transformers' in f32, absolutely for log-probabilities
/// and relative to the row's length elsewhere. Both sides sum in f32 in other orders: transformers'
/// own distance to f64 is 1.1e-5 relative on the tiny models and 5e-5 in log-probabilities on the
/// real ones.
struct Tolerance {
    logprob: f32,
    relative: f64,
}

const TINY: Tolerance = Tolerance {
    logprob: 2e-4,
    relative: 1e-4,
};
const REAL: Tolerance = Tolerance {
    logprob: 2e-3,
    relative: 1e-3,
};

struct Golden {
    tensors: std::collections::HashMap<String, Tensor>,
}

impl Golden {
    fn read(name: &str) -> Self {
        let path = goldens().join(format!("{name}.safetensors"));
        Self {
            tensors: candle_core::safetensors::load(path, &candle_core::Device::Cpu).unwrap(),
        }
    }

    fn has(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// Rows of a tensor `[rows, width]`; one of width 1 for a vector.
    fn rows(&self, name: &str) -> Vec<Vec<f32>> {
        let tensor = self.tensors[name].to_dtype(DType::F32).unwrap();
        let tensor = if tensor.rank() == 1 {
            tensor.unsqueeze(1).unwrap()
        } else {
            tensor
        };
        tensor.to_vec2().unwrap()
    }

    fn ints(&self, name: &str) -> Vec<u32> {
        let values: Vec<i64> = self.tensors[name].flatten_all().unwrap().to_vec1().unwrap();
        values.into_iter().map(|v| v as u32).collect()
    }

    fn prompts(&self) -> Vec<Vec<u32>> {
        (0..)
            .map(|p| format!("p{p}.ids"))
            .take_while(|name| self.has(name))
            .map(|name| self.ints(&name))
            .collect()
    }

    fn ablation(&self, model: &Model) -> Condition {
        let neurons = self.ints("ablation.neurons");
        let neurons = neurons.chunks(2).map(|pair| Neuron {
            layer: pair[0] as usize,
            index: pair[1] as usize,
        });
        let config = model.config();
        Condition::Edited(Edit {
            label: "golden".to_string(),
            neurons: NeuronSet::from_neurons(config.n_layers(), config.d_mlp, neurons).unwrap(),
            mode: Mode::Zero,
            positions: Positions::All,
            when: SignCase::default(),
        })
    }

    /// Every hook point that the golden file holds for prompt `p`.
    fn points(&self, p: usize, n_layers: usize) -> Vec<HookPoint> {
        let in_layers = (0..n_layers).flat_map(|l| {
            Site::ALL[..8]
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
fn differences(run_name: &str, golden_name: &str) -> BTreeMap<String, f64> {
    let golden = Golden::read(golden_name);
    let model = model(run_name);
    let config = model.config().clone();
    let prompts = golden.prompts();
    let batch = batch(&prompts);
    let points: Vec<Vec<HookPoint>> = (0..prompts.len())
        .map(|p| golden.points(p, config.n_layers()))
        .collect();
    let mut recorder = Recorder::new(points.concat());
    let conditions = [Condition::Clean, golden.ablation(&model)];
    let (logprobs, counts) = run(&model, &batch, &conditions, &mut [&mut recorder]);
    assert!(counts[1].changed > 0 && counts[1].changed <= counts[1].touched);

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
        for (condition, prefix) in [(0, format!("p{p}")), (1, format!("p{p}.ablated"))] {
            let some = golden.rows(&format!("{prefix}.logprobs"));
            let top_ids = golden.ints(&format!("{prefix}.top_ids"));
            let top = golden.rows(&format!("{prefix}.top_logprobs"));
            for (k, position) in positions.iter().enumerate() {
                let found = logprobs.at(condition, first + *position as usize);
                let at = |ids: &[u32]| ids.iter().map(|id| found[*id as usize]).collect::<Vec<_>>();
                let kind = if condition == 0 {
                    "logprobs"
                } else {
                    "ablated logprobs"
                };
                let width = top[k].len();
                note(kind, f64::from(max_difference(&at(&vocab_ids), &some[k])));
                note(
                    kind,
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

fn check(run_name: &str, golden_name: &str, tolerance: &Tolerance) {
    let differences = differences(run_name, golden_name);
    println!("{run_name} against transformers:");
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
}

#[test]
fn tiny_models_equal_transformers_from_safetensors_and_gguf() {
    for name in ["tiny-llama", "tiny-gemma3"] {
        check(name, name, &TINY);
        check(&format!("{name}.gguf"), name, &TINY);
    }
}

#[test]
fn smollm2_equals_transformers() {
    check("smollm2-135m", "smollm2-135m", &REAL);
}

#[test]
fn gemma3_equals_transformers() {
    check("gemma3-270m", "gemma3-270m", &REAL);
}

/// Cosines in f32 against torch's.
const COSINE_TOLERANCE: f32 = 2e-6;
/// Neurons within rounding of the threshold may fall on its other side.
const COUNT_TOLERANCE: usize = 2;

#[test]
fn cosines_and_class_counts_equal_torch() {
    for name in [
        "smollm2-135m",
        "gemma3-270m",
        "tiny-llama",
        "tiny-gemma3",
        "tiny-gemma3.gguf",
    ] {
        let golden = Golden::read(name.trim_end_matches(".gguf"));
        let table = NeuronTable::classify(&checkpoint(name), Fold::Pre, 0.5).unwrap();
        for (l, rows) in table.layers.iter().enumerate() {
            let key = format!("blocks.{l}.cos");
            if !golden.has(&key) {
                continue;
            }
            for (row, expected) in rows.iter().zip(golden.rows(&key)) {
                let found = [
                    row.cosines.gate_in,
                    row.cosines.gate_out,
                    row.cosines.in_out,
                ];
                let difference = max_difference(&found, &expected);
                assert!(
                    difference <= COSINE_TOLERANCE,
                    "{name} layer {l}: {difference:.1e}"
                );
            }
        }
    }
}

#[test]
fn class_totals_equal_torch_under_every_fold() {
    for name in ["smollm2-135m", "gemma3-270m"] {
        let json = std::fs::read_to_string(goldens().join(format!("{name}.json"))).unwrap();
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        let checkpoint = checkpoint(name);
        for (fold, key) in [
            (Fold::Pre, "pre"),
            (Fold::None, "none"),
            (Fold::PrePlusPost, "pre+post"),
        ] {
            for (class, found) in NeuronTable::classify(&checkpoint, fold, 0.5)
                .unwrap()
                .totals()
            {
                let expected = json["classes"][key]["total"][class.as_str()]
                    .as_u64()
                    .unwrap() as usize;
                assert!(
                    found.abs_diff(expected) <= COUNT_TOLERANCE,
                    "{name} {key} {class}: {found}, torch {expected}"
                );
            }
        }
    }
}

#[test]
fn both_config_dialects_give_the_same_model() {
    for name in ["tiny-llama", "tiny-gemma3"] {
        let read = |file: &str| {
            gatelens::model::Config::from_hf_file(&goldens().join(name).join(file)).unwrap()
        };
        assert_eq!(read("config.json"), read("config.old.json"), "{name}");
    }
}
