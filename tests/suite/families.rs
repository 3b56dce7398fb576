//! Every family against Hugging Face transformers, on random checkpoints of odd shapes.

use candle_core::{DType, Device, Tensor};
use gatelens::engine::{Engine, Session};
use gatelens::hooks::Condition;
use gatelens::model::{AttentionTables, Config, FAMILIES, Layer, Model, TokenRows, Weights};

use super::common::{batch, checkpoint, goldens, model, relative_difference, run, sequence};
use super::golden::{Golden, TINY, check};

/// A variant of a family with a random checkpoint (`tests/goldens/variants.py`).
pub struct Variant {
    pub name: &'static str,
    family: &'static str,
    gguf: Gguf,
}

/// What a variant's GGUF file can hold.
enum Gguf {
    /// Everything.
    Whole,
    /// Not the sliding window, of the given width: equal up to that length.
    NoWindow(usize),
    /// There is none: it would lack `query_pre_attn_scalar`.
    Absent,
}

pub const VARIANTS: &[Variant] = &[
    variant("tiny-llama", "llama", Gguf::Whole),
    variant("tiny-llama3", "llama", Gguf::Whole),
    variant("tiny-mistral", "mistral", Gguf::NoWindow(8)),
    variant("tiny-qwen2", "qwen2", Gguf::Whole),
    variant("tiny-qwen3", "qwen3", Gguf::Whole),
    variant("tiny-gemma", "gemma", Gguf::Whole),
    variant("tiny-gemma2", "gemma2", Gguf::Whole),
    variant("tiny-gemma2-scalar", "gemma2", Gguf::Absent),
    variant("tiny-gemma3", "gemma3", Gguf::Whole),
    variant("tiny-gemma3-linear", "gemma3", Gguf::Whole),
    variant("tiny-olmo", "olmo", Gguf::Whole),
    variant("tiny-olmo2", "olmo2", Gguf::Whole),
    variant("tiny-phi3", "phi3", Gguf::Whole),
    variant("tiny-phi3-longrope", "phi3", Gguf::Whole),
];

const fn variant(name: &'static str, family: &'static str, gguf: Gguf) -> Variant {
    Variant { name, family, gguf }
}

#[test]
fn every_family_equals_transformers_from_safetensors_and_gguf() {
    for family in FAMILIES {
        let mut worst = 0f64;
        for variant in VARIANTS.iter().filter(|v| v.family == family.name) {
            let found = checkpoint(variant.name).config().family.name;
            assert_eq!(found, variant.family, "{}", variant.name);
            worst = worst.max(check(variant.name, variant.name, usize::MAX, &TINY));
            let longest = match variant.gguf {
                Gguf::Whole => usize::MAX,
                Gguf::NoWindow(window) => window,
                Gguf::Absent => {
                    let file = goldens().join(variant.name).join("model.gguf");
                    assert!(!file.exists(), "{}", file.display());
                    continue;
                }
            };
            let file = format!("{}.gguf", variant.name);
            worst = worst.max(check(&file, variant.name, longest, &TINY));
        }
        assert_stated(family.name, Weights::Random, worst);
    }
}

/// The family table, which `gatelens models` prints, states the error that was found. Other machines
/// sum in another order: twice the stated one is allowed.
pub fn assert_stated(family: &str, weights: Weights, worst: f64) {
    let family = FAMILIES.iter().find(|f| f.name == family).unwrap();
    let check = family.checks.iter().find(|check| check.weights == weights);
    let stated = check.unwrap().logprob_error;
    let name = family.name;
    assert!(
        worst <= 2.0 * stated,
        "{name}: {worst:.1e}, the family table says {stated:.0e}"
    );
}

#[test]
fn every_family_and_every_folder_is_checked() {
    for family in FAMILIES {
        let checked = VARIANTS.iter().any(|variant| variant.family == family.name);
        assert!(checked, "{} has no golden", family.name);
    }
    for entry in std::fs::read_dir(goldens()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let is_folder = name.starts_with("tiny-") && !name.contains('.');
        assert!(
            !is_folder || VARIANTS.iter().any(|variant| variant.name == name),
            "{name}"
        );
    }
}

/// The most probable next token, by plain forward passes.
fn greedy(model: &Model, prompt: &[u32], tokens: usize) -> Vec<u32> {
    let mut ids = prompt.to_vec();
    for _ in 0..tokens {
        let last = ids.len() - 1;
        let (logprobs, _) = run(
            model,
            &batch(std::slice::from_ref(&ids)),
            &[Condition::Clean],
            &mut [],
        );
        ids.push(argmax(logprobs.at(0, last)));
    }
    ids.split_off(prompt.len())
}

/// The same, each token once: keys and values are kept.
fn cached_greedy(model: &Model, prompt: &[u32], tokens: usize) -> Vec<u32> {
    let engine = Engine::new(model);
    let mut session = Session::new(&engine, Condition::Clean);
    let mut next = prompt.to_vec();
    let mut found = Vec::new();
    for _ in 0..tokens {
        let (logits, _) = session.extend(sequence(0, &next)).unwrap();
        next = vec![argmax(&logits)];
        found.extend(&next);
    }
    found
}

fn argmax(values: &[f32]) -> u32 {
    let best = (0..values.len()).max_by(|a, b| values[*a].total_cmp(&values[*b]));
    best.unwrap() as u32
}

#[test]
fn greedy_continuations_equal_transformers_cached_or_not() {
    for variant in VARIANTS {
        let golden = Golden::read(variant.name);
        let model = model(variant.name);
        for (p, prompt) in golden.prompts().iter().enumerate() {
            let expected = golden.ints(&format!("p{p}.greedy"));
            let name = format!("{} prompt {p}", variant.name);
            assert_eq!(greedy(&model, prompt, expected.len()), expected, "{name}");
            let cached = cached_greedy(&model, prompt, expected.len());
            assert_eq!(cached, expected, "{name}, cached");
        }
    }
}

/// What one attention or MLP may differ by from transformers', relative to a row's length, on the
/// same input: f32 sums of some hundred terms in another order.
const ALONE: f64 = 5e-6;

#[test]
fn each_attention_and_mlp_alone_equals_transformers() {
    for variant in VARIANTS {
        let golden = Golden::read(variant.name);
        let checkpoint = checkpoint(variant.name);
        let config = checkpoint.config();
        let mut worst = 0f64;
        for (p, prompt) in golden.prompts().iter().enumerate() {
            let batch = batch(std::slice::from_ref(prompt));
            let tables =
                AttentionTables::new(config, batch.groups(), 0, DType::F32, &Device::Cpu).unwrap();
            for l in 0..config.n_layers() {
                let layer = Layer::load(&checkpoint, l, DType::F32, &Device::Cpu).unwrap();
                let at = |site: &str| Site::of(&golden, &format!("p{p}.blocks.{l}.{site}"));
                let attn_out = layer.attn_out(
                    &at("hook_resid_pre").0,
                    TokenRows::apart(batch.groups()),
                    &tables,
                    None,
                );
                let attn_out = attn_out.map(|(attn_out, _)| attn_out);
                let (gate, up) = layer.gate_and_up(&at("hook_resid_mid").0).unwrap();
                let mlp_out = layer.mlp_out(&at("mlp.hook_post").0);
                for (found, site) in [
                    (attn_out.unwrap(), "hook_attn_out"),
                    (gate, "mlp.hook_pre"),
                    (up, "mlp.hook_pre_linear"),
                    (mlp_out.unwrap(), "hook_mlp_out"),
                ] {
                    let difference = at(site).difference(&found);
                    assert!(
                        difference <= ALONE,
                        "{} {l} {site}: {difference:.1e}",
                        variant.name
                    );
                    worst = worst.max(difference);
                }
            }
        }
        println!("{} each sublayer alone: {worst:.1e}", variant.name);
    }
}

/// A golden tensor, `[tokens, width]`.
struct Site(Tensor);

impl Site {
    fn of(golden: &Golden, name: &str) -> Self {
        Self(Tensor::new(golden.rows(name), &Device::Cpu).unwrap())
    }

    /// The largest relative difference of a row.
    fn difference(&self, found: &Tensor) -> f64 {
        let rows = |tensor: &Tensor| tensor.to_vec2::<f32>().unwrap();
        let pairs = rows(found).into_iter().zip(rows(&self.0));
        pairs
            .map(|(found, expected)| relative_difference(&found, &expected))
            .fold(0.0, f64::max)
    }
}

#[test]
fn both_config_dialects_give_the_same_model() {
    for variant in VARIANTS {
        let folder = goldens().join(variant.name);
        let read = |file: &str| {
            let config = Config::from_hf_file(&folder.join(file)).unwrap();
            let assumed = vec![]; // what a file leaves open depends on its dialect
            Config { assumed, ..config }
        };
        assert_eq!(
            read("config.json"),
            read("config.old.json"),
            "{}",
            variant.name
        );
    }
}
