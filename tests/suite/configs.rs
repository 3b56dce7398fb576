//! What is derived from the `config.json` of real models, as the hub has them and as transformers 5
//! saves them again. `tests/configs/README.md` says where the facts come from.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use gatelens::model::{Activation, AttentionSpec, Config, RopeScaling, RopeSpec};

use Activation::{GeluTanh, Silu};
use Rope::{Linear, Llama3, Long, Plain};
use Windows::{All, AllButEvery, No};

/// A checkpoint with images beside text: refused by name; its text part has a file of its own.
const TEXT_AND_IMAGES: &str = "google--gemma-3-4b-pt";

/// file, family, [layers, d_model, d_mlp, heads, kv heads, head_dim, vocabulary, positions],
/// parameters as transformers counts them (a tied head once), of which norm gains and biases.
/// Positions are those of the first training where LongRoPE has two sets of factors.
#[rustfmt::skip]
const SHAPES: &[(&str, &str, [usize; 8], u64, u64)] = &[
    ("google--gemma-2-2b",                   "gemma2",  [26, 2304,  9216,  8,  4, 256, 256_000,   8192], 2_614_341_888, 241_920),
    ("google--gemma-2-9b",                   "gemma2",  [42, 3584, 14336, 16,  8, 256, 256_000,   8192], 9_241_705_984, 605_696),
    ("meta-llama--Llama-2-7b-hf",            "llama",   [32, 4096, 11008, 32, 32, 128,  32_000,   4096], 6_738_415_616, 266_240),
    ("meta-llama--Llama-3.1-8B",             "llama",   [32, 4096, 14336, 32,  8, 128, 128_256, 131072], 8_030_261_248, 266_240),
    ("meta-llama--Llama-3.2-1B",             "llama",   [16, 2048,  8192, 32,  8,  64, 128_256, 131072], 1_235_814_400,  67_584),
    ("meta-llama--Llama-3.2-3B",             "llama",   [28, 3072,  8192, 24,  8, 128, 128_256, 131072], 3_212_749_824, 175_104),
    ("allenai--OLMo-1B-hf",                  "olmo",    [16, 2048,  8192, 16, 16, 128,  50_304,   2048], 1_176_764_416,       0),
    ("allenai--OLMo-7B-0424-hf",             "olmo",    [32, 4096, 11008, 32, 32, 128,  50_304,   4096], 6_888_095_744,       0),
    ("mistralai--Mistral-7B-v0.1",           "mistral", [32, 4096, 14336, 32,  8, 128,  32_000,  32768], 7_241_732_096, 266_240),
    ("Qwen--Qwen2.5-0.5B",                   "qwen2",   [24,  896,  4864, 14,  2,  64, 151_936,  32768],   494_032_768,  71_552),
    ("Qwen--Qwen2.5-7B",                     "qwen2",   [28, 3584, 18944, 28,  4, 128, 152_064, 131072], 7_615_616_512, 333_312),
    ("01-ai--Yi-6B",                         "llama",   [32, 4096, 11008, 32,  4, 128,  64_000,   4096], 6_061_035_520, 266_240),
    ("Qwen--Qwen3-0.6B",                     "qwen3",   [28, 1024,  3072, 16,  8, 128, 151_936,  40960],   596_049_920,  65_536),
    ("google--gemma-2b",                     "gemma",   [18, 2048, 16384,  8,  1, 256, 256_000,   8192], 2_506_172_416,  75_776),
    ("google--gemma-3-1b-pt",                "gemma3",  [26, 1152,  6912,  4,  1, 256, 262_144,  32768],   999_885_952, 134_272),
    ("google--gemma-3-4b-pt.text",           "gemma3",  [34, 2560, 10240,  8,  4, 256, 262_208, 131072], 3_880_263_168, 368_128),
    ("allenai--OLMo-2-0425-1B",              "olmo2",   [16, 2048,  8192, 16, 16, 128, 100_352,   4096], 1_484_916_736, 133_120),
    ("microsoft--Phi-3-mini-4k-instruct",    "phi3",    [32, 3072,  8192, 32, 32,  96,  32_064,   4096], 3_821_079_552, 199_680),
    ("microsoft--Phi-3-mini-128k-instruct",  "phi3",    [32, 3072,  8192, 32, 32,  96,  32_064,   4096], 3_821_079_552, 199_680),
    ("microsoft--Phi-4-mini-instruct",       "phi3",    [32, 3072,  8192, 24,  8, 128, 200_064,   4096], 3_836_021_760, 199_680),
    ("HuggingFaceTB--SmolLM2-135M-Instruct", "llama",   [30,  576,  1536,  9,  3,  64,  49_152,   8192],   134_515_008,  35_136),
];

/// The rotation of layers that see everything before them, or of all.
enum Rope {
    Plain,
    Linear(f64),
    /// The factor; the other three numbers are the same in all Llamas.
    Llama3(f64),
    /// The short factors.
    Long(fn() -> Vec<f32>),
}

/// Which layers attend through a window.
enum Windows {
    No,
    /// All.
    All(usize),
    /// All but every n-th: n, the window, and the rope base of the windowed ones.
    AllButEvery(usize, usize, f64),
}

/// Where `cos` and `sin` are multiplied by sqrt(1 + ln 32 / ln 4096), as transformers has it.
const LONGROPE_AMPLITUDE: f64 = 1.190_238_071_423_808_3;

/// file, eps, [soft caps of attention, of logits, clip of q, k and v], activation, tied head,
/// rope base, rotated width, scaling, windows.
type Arithmetic = (
    &'static str,
    f64,
    [Option<f64>; 3],
    Activation,
    bool,
    f64,
    usize,
    Rope,
    Windows,
);

#[rustfmt::skip]
const ARITHMETIC: &[Arithmetic] = &[
    ("google--gemma-2-2b",                   1e-6, [Some(50.0), Some(30.0), None], GeluTanh, true,  1e4, 256, Plain, AllButEvery(2, 4096, 1e4)),
    ("google--gemma-2-9b",                   1e-6, [Some(50.0), Some(30.0), None], GeluTanh, true,  1e4, 256, Plain, AllButEvery(2, 4096, 1e4)),
    ("meta-llama--Llama-2-7b-hf",            1e-5, [None; 3], Silu, false, 1e4, 128, Plain, No),
    ("meta-llama--Llama-3.1-8B",             1e-5, [None; 3], Silu, false, 5e5, 128, Llama3(8.0), No),
    ("meta-llama--Llama-3.2-1B",             1e-5, [None; 3], Silu, true,  5e5,  64, Llama3(32.0), No),
    ("meta-llama--Llama-3.2-3B",             1e-5, [None; 3], Silu, true,  5e5, 128, Llama3(32.0), No),
    ("allenai--OLMo-1B-hf",                  1e-5, [None; 3], Silu, true,  1e4, 128, Plain, No),
    ("allenai--OLMo-7B-0424-hf",             1e-5, [None, None, Some(8.0)], Silu, false, 1e4, 128, Plain, No),
    ("mistralai--Mistral-7B-v0.1",           1e-5, [None; 3], Silu, false, 1e4, 128, Plain, All(4096)),
    ("Qwen--Qwen2.5-0.5B",                   1e-6, [None; 3], Silu, true,  1e6,  64, Plain, No),
    ("Qwen--Qwen2.5-7B",                     1e-6, [None; 3], Silu, false, 1e6, 128, Plain, No),
    ("01-ai--Yi-6B",                         1e-5, [None; 3], Silu, false, 5e6, 128, Plain, No),
    ("Qwen--Qwen3-0.6B",                     1e-6, [None; 3], Silu, true,  1e6, 128, Plain, No),
    ("google--gemma-2b",                     1e-6, [None; 3], GeluTanh, true,  1e4, 256, Plain, No),
    ("google--gemma-3-1b-pt",                1e-6, [None; 3], GeluTanh, true,  1e6, 256, Plain, AllButEvery(6, 512, 1e4)),
    ("google--gemma-3-4b-pt.text",           1e-6, [None; 3], GeluTanh, true,  1e6, 256, Linear(8.0), AllButEvery(6, 1024, 1e4)),
    ("allenai--OLMo-2-0425-1B",              1e-6, [None; 3], Silu, false, 5e5, 128, Plain, No),
    ("microsoft--Phi-3-mini-4k-instruct",    1e-5, [None; 3], Silu, false, 1e4,  96, Plain, All(2047)),
    ("microsoft--Phi-3-mini-128k-instruct",  1e-5, [None; 3], Silu, false, 1e4,  96, Long(phi3_short_factors), All(262_144)),
    ("microsoft--Phi-4-mini-instruct",       1e-5, [None; 3], Silu, true,  1e4,  96, Long(|| vec![1.0; 48]), All(262_144)),
    ("HuggingFaceTB--SmolLM2-135M-Instruct", 1e-5, [None; 3], Silu, true,  1e5,  64, Plain, No),
];

fn phi3_short_factors() -> Vec<f32> {
    let runs = [
        (3, 1.1),
        (1, 1.3),
        (2, 1.35),
        (1, 1.4),
        (1, 1.55),
        (17, 2.0),
        (6, 2.05),
        (2, 2.1),
        (1, 2.15),
        (5, 2.25),
        (1, 2.4),
        (1, 2.45),
        (1, 2.5),
        (2, 2.7),
        (1, 2.75),
        (1, 2.8),
        (1, 2.9),
        (1, 3.05),
    ];
    runs.into_iter()
        .flat_map(|(times, factor)| vec![factor; times])
        .collect()
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/configs")
}

fn path(file: &str) -> PathBuf {
    folder().join(format!("{file}.json"))
}

fn read(file: &str) -> Config {
    Config::from_hf_file(&path(file)).unwrap_or_else(|why| panic!("{file}: {why}"))
}

fn scaling(rope: &Rope) -> RopeScaling {
    match rope {
        Plain => RopeScaling::None,
        Linear(factor) => RopeScaling::Linear { factor: *factor },
        Llama3(factor) => RopeScaling::Llama3 {
            factor: *factor,
            low_freq_factor: 1.0,
            high_freq_factor: 4.0,
            original_max_positions: 8192.0,
        },
        Long(short_factors) => RopeScaling::Factors {
            factors: short_factors(),
            amplitude: LONGROPE_AMPLITUDE,
        },
    }
}

/// One entry per layer.
fn attention((.., theta, width, rope, windows): &Arithmetic, layers: usize) -> Vec<AttentionSpec> {
    let spec = |theta: f64, rope: &Rope, window| AttentionSpec {
        rope: RopeSpec {
            theta,
            width: *width,
            scaling: scaling(rope),
        },
        window,
    };
    let of_layer = |l: usize| match windows {
        All(window) => spec(*theta, rope, Some(*window)),
        AllButEvery(n, window, local_theta) if !(l + 1).is_multiple_of(*n) => {
            spec(*local_theta, &Plain, Some(*window))
        }
        No | AllButEvery(..) => spec(*theta, rope, None),
    };
    (0..layers).map(of_layer).collect()
}

#[test]
fn shapes_and_parameter_counts() {
    for (file, family, shape, parameters, gains_and_biases) in SHAPES {
        let config = read(file);
        assert_eq!(config.family.name, *family, "{file}");
        let found = [
            config.n_layers(),
            config.d_model,
            config.d_mlp,
            config.n_heads,
            config.n_kv_heads,
            config.head_dim,
            config.vocab_size,
            config.max_positions,
        ];
        assert_eq!(found, *shape, "{file}");
        // Matrices alone are counted: what a plan of memory is about.
        assert_eq!(config.parameters(), parameters - gains_and_biases, "{file}");
    }
}

#[test]
fn arithmetic() {
    for row in ARITHMETIC {
        let (file, eps, [attention_cap, final_cap, clip], activation, tied, ..) = row;
        let config = read(file);
        assert_eq!(config.norm_eps, *eps, "{file}");
        // query_pre_attn_scalar is head_dim in all of them.
        let scale = 1.0 / (config.head_dim as f64).sqrt();
        assert!((config.attention_scale - scale).abs() < 1e-15, "{file}");
        assert_eq!(config.attention_softcap, *attention_cap, "{file}");
        assert_eq!(config.final_softcap, *final_cap, "{file}");
        assert_eq!(config.clip_qkv, *clip, "{file}");
        assert_eq!(config.activation, *activation, "{file}");
        assert_eq!(config.tied_head, *tied, "{file}");
        assert_eq!(
            config.attention,
            attention(row, config.n_layers()),
            "{file}"
        );
    }
}

#[test]
fn both_dialects_give_the_same() {
    for (file, ..) in SHAPES {
        let [mut old, mut new] = [read(file), read(&format!("{file}.v5"))];
        old.assumed.clear(); // transformers 5 writes out what older files leave open
        new.assumed.clear();
        assert_eq!(old, new, "{file}");
    }
}

#[test]
fn text_and_images_are_refused_by_name() {
    let error = Config::from_hf_file(&path(TEXT_AND_IMAGES)).unwrap_err();
    assert!(error.to_string().contains("gemma3"), "{error}");
}

#[test]
fn no_file_is_left_out() {
    let listed: BTreeSet<String> = SHAPES
        .iter()
        .flat_map(|(file, ..)| [format!("{file}.json"), format!("{file}.v5.json")])
        .chain([format!("{TEXT_AND_IMAGES}.json")])
        .collect();
    let found: BTreeSet<String> = fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".json"))
        .collect();
    assert_eq!(found, listed);
    let with_arithmetic: Vec<&str> = ARITHMETIC.iter().map(|row| row.0).collect();
    let with_shapes: Vec<&str> = SHAPES.iter().map(|row| row.0).collect();
    assert_eq!(with_arithmetic, with_shapes);
}
