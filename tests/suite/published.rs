//! Chance levels against numpy, and `classify` on models that carry the name and shape of a published one.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use assert_cmd::Command;
use candle_core::quantized::gguf_file::{self, Value};
use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{Device, Tensor};
use gatelens::io_class::{
    Beyond, ChanceLevels, Class, Fold, NeuronTable, PublishedTable, PublishedTables, Region,
    classify_layer, mismatched_layer,
};
use gatelens::model::Mlp;

use super::common::checkpoint;

/// Quantiles come from bins 1e-5 wide, of cosines in f32.
const QUANTILE_TOLERANCE: f32 = 1.1e-5;

/// Layer 13 of both models: low, high, and the neurons below and above, for gate and in, gate and out, in and out.
/// torch 2.15.0, numpy 2.4.6, gguf 0.19.0, in f64:
///
/// ```python
/// t = {x.name: torch.tensor(dequantize(x.data, x.tensor_type)).double() for x in gguf.GGUFReader(path).tensors}
/// gain = t["blk.13.ffn_norm.weight"]
/// w = {"gate": t["blk.13.ffn_gate.weight"] * gain, "in": t["blk.13.ffn_up.weight"] * gain, "out": t["blk.13.ffn_down.weight"].T}
/// w = {k: torch.nn.functional.normalize(v, dim=1) for k, v in w.items()}
/// for a, b in [("gate", "in"), ("gate", "out"), ("in", "out")]:
///     c = w[a] @ w[b].T
///     low, high = np.quantile(c[~torch.eye(len(c), dtype=torch.bool)].numpy(), [.025, .975])
///     print(low, high, (c.diagonal() < low).sum(), (c.diagonal() > high).sum())
/// ```
fn by_numpy() -> [(&'static str, [Beyond; 3]); 2] {
    let level = |low, high, below, above| Beyond {
        region: Region { low, high },
        below,
        above,
    };
    [
        (
            "smollm2-135m",
            [
                level(-0.1032536, 0.103281, 442, 433),
                level(-0.0879195, 0.087544, 594, 595),
                level(-0.0855874, 0.0854867, 317, 1039),
            ],
        ),
        (
            "gemma3-270m",
            [
                level(-0.2631336, 0.2632948, 126, 140),
                level(-0.0779042, 0.0779025, 418, 412),
                level(-0.0781996, 0.078141, 276, 549),
            ],
        ),
    ]
}

#[test]
fn mismatched_regions_of_real_layers_equal_numpy() {
    for (name, expected) in by_numpy() {
        let mlp = Mlp::load(&checkpoint(name), 13).unwrap();
        let regions = mismatched_layer(13, &(&mlp).into(), Fold::Pre, &()).unwrap();
        let table = NeuronTable {
            fold: Fold::Pre,
            threshold: 0.5,
            layers: vec![classify_layer(13, &(&mlp).into(), Fold::Pre, 0.5).unwrap()],
        };
        let d_model = mlp.gate_proj.dims()[1];
        let chance = ChanceLevels::new(&table, d_model, Some(&[regions]));
        let found = chance.per_layer[0].mismatched.unwrap();
        for (found, expected) in [found.gate_in, found.gate_out, found.in_out]
            .into_iter()
            .zip(expected)
        {
            let off = (found.region.low - expected.region.low).abs();
            let off = off.max((found.region.high - expected.region.high).abs());
            assert!(off <= QUANTILE_TOLERANCE, "{name}: {found:?}, {expected:?}");
            assert_eq!(found.below, expected.below, "{name}: {found:?}");
            assert_eq!(found.above, expected.above, "{name}: {found:?}");
        }
    }
}

#[test]
fn chance_levels_are_in_the_json_and_in_the_table() {
    let alias = Path::new("smollm2-135m");
    for (chance, is_mismatched) in [("auto", true), ("mismatched", true), ("beta", false)] {
        let json: serde_json::Value =
            serde_json::from_str(&classify(alias, &["--json", "--chance", chance])).unwrap();
        let layers = json["chance"]["per_layer"].as_array().unwrap();
        assert_eq!(layers.len(), 30);
        for layer in layers {
            assert_eq!(layer["mismatched"].is_object(), is_mismatched, "{chance}");
            assert_eq!(
                layer["beta"]["gate_out"]["high"],
                json["chance"]["beta"]["high"]
            );
        }
        assert!(json.get("published").is_none());
    }
    // layer 13: 317 and 1039 of 1536
    let printed = classify(alias, &["--chance", "mismatched"]);
    assert!(
        printed.contains("20.6/67.6") && printed.contains("±0.0816"),
        "{printed}"
    );
}

const PLANTED: &str = "allenai/OLMo-1B-hf";
const D_MODEL: usize = 4;

/// Folded into w_gate and w_in; powers of two, so that taking it out of the weights again is exact.
const GAIN: [f32; D_MODEL] = [2.0, 1.0, 0.5, 4.0];

fn planted_table() -> PublishedTable {
    PublishedTables::bundled().unwrap().models[PLANTED].clone()
}

/// Cosines (gate_in, gate_out, in_out) of a neuron of that class, in a layer with that median of in_out.
fn cosines(class: Class, median: f32) -> [f32; 3] {
    let enriching = if median > 0.5 { median } else { 0.7 };
    let neither = if median > 0.5 { 0.1 } else { median };
    match class {
        Class::Enrichment => [0.7, 0.7, enriching],
        Class::AtypicalEnrichment => [0.3, 0.7, enriching],
        Class::ConditionalEnrichment => [0.0, 0.0, enriching],
        Class::AtypicalConditionalEnrichment => [0.7, 0.3, enriching],
        Class::ProportionalChange => [0.0, 0.7, neither],
        Class::AtypicalProportionalChange => [0.7f32.copysign(neither), 0.7, neither],
        Class::OrthogonalOutput => [0.0, 0.0, neither],
        Class::Depletion => [0.7, -0.7, -0.7],
        Class::AtypicalDepletion => [0.3, -0.7, -0.7],
        Class::ConditionalDepletion => [0.0, 0.0, -0.7],
        Class::AtypicalConditionalDepletion => [0.7, -0.3, -0.7],
    }
}

/// w_gate, w_in and w_out of length 1 with these cosines.
fn vectors([gate_in, gate_out, in_out]: [f32; 3]) -> [[f32; D_MODEL]; 3] {
    let across = (1.0 - in_out * in_out).sqrt();
    let along = (gate_out - gate_in * in_out) / across;
    let rest = (1.0 - gate_in * gate_in - along * along).sqrt();
    assert!(rest > 0.0, "no three vectors have these cosines");
    [
        [gate_in, along, rest, 0.0],
        [1.0, 0.0, 0.0, 0.0],
        [in_out, across, 0.0, 0.0],
    ]
}

fn tensor(values: Vec<f32>, shape: &[usize]) -> Tensor {
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
}

/// gate_proj, up_proj and down_proj of a layer with these counts and this median.
fn mlp(counts: &[usize], median: f32) -> [Tensor; 3] {
    let classes = Class::ALL.into_iter().zip(counts);
    let neurons: Vec<_> = classes
        .flat_map(|(class, &count)| vec![vectors(cosines(class, median)); count])
        .collect();
    let d_mlp = neurons.len();
    let unfold = |v: [f32; D_MODEL]| (0..D_MODEL).map(move |d| v[d] / GAIN[d]);
    let gate = neurons.iter().flat_map(|n| unfold(n[0])).collect();
    let up = neurons.iter().flat_map(|n| unfold(n[1])).collect();
    let down = (0..D_MODEL).flat_map(|d| neurons.iter().map(move |n| n[2][d]));
    [
        tensor(gate, &[d_mlp, D_MODEL]),
        tensor(up, &[d_mlp, D_MODEL]),
        tensor(down.collect(), &[D_MODEL, d_mlp]),
    ]
}

/// Tensors of a llama of that table, by what they are: outside the layers, and by layer.
fn tensors(table: &PublishedTable) -> HashMap<String, Tensor> {
    let square = || tensor(vec![0.1; D_MODEL * D_MODEL], &[D_MODEL, D_MODEL]);
    let gain = || tensor(GAIN.to_vec(), &[D_MODEL]);
    let mut all = HashMap::from([
        (
            "embed_tokens".to_string(),
            tensor(vec![0.5; 8 * D_MODEL], &[8, D_MODEL]),
        ),
        ("norm".to_string(), gain()),
    ]);
    let medians = &table.median_cos_in_out_per_layer;
    for (l, (counts, median)) in table.class_counts_per_layer.iter().zip(medians).enumerate() {
        let mut put = |name: &str, tensor| all.insert(format!("layers.{l}.{name}"), tensor);
        let [gate, up, down] = mlp(counts, *median);
        put("mlp.gate_proj", gate);
        put("mlp.up_proj", up);
        put("mlp.down_proj", down);
        for name in ["q_proj", "k_proj", "v_proj", "o_proj"] {
            put(&format!("self_attn.{name}"), square());
        }
        put("input_layernorm", gain());
        put("post_attention_layernorm", gain());
    }
    all
}

fn write_folder(dir: &Path, table: &PublishedTable) {
    fs::create_dir(dir).unwrap();
    let config = serde_json::json!({
        "model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_act": "silu",
        "hidden_size": D_MODEL, "intermediate_size": table.neurons_per_layer, "num_hidden_layers": table.layers,
        "num_attention_heads": 1, "num_key_value_heads": 1, "head_dim": D_MODEL, "vocab_size": 8,
        "max_position_embeddings": 32, "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "tie_word_embeddings": true,
    });
    fs::write(dir.join("config.json"), config.to_string()).unwrap();
    fs::write(dir.join("tokenizer.json"), "{}").unwrap(); // classes need no text
    let named = tensors(table).into_iter();
    let named = named.map(|(name, tensor)| (format!("model.{name}.weight"), tensor));
    let named: HashMap<String, Tensor> = named.collect();
    candle_core::safetensors::save(&named, dir.join("model.safetensors")).unwrap();
}

fn write_gguf(path: &Path, table: &PublishedTable, name: &str) {
    let number = |n: usize| Value::U32(n as u32);
    let metadata = [
        ("general.architecture", Value::String("llama".to_string())),
        ("general.name", Value::String(name.to_string())),
        ("llama.block_count", number(table.layers)),
        ("llama.embedding_length", number(D_MODEL)),
        ("llama.feed_forward_length", number(table.neurons_per_layer)),
        ("llama.attention.head_count", number(1)),
        ("llama.attention.head_count_kv", number(1)),
        ("llama.attention.layer_norm_rms_epsilon", Value::F32(1e-5)),
        ("llama.context_length", number(32)),
    ];
    let gguf_name = |name: &str| {
        [
            ("layers", "blk"),
            ("embed_tokens", "token_embd"),
            ("self_attn.q_proj", "attn_q"),
            ("self_attn.k_proj", "attn_k"),
            ("self_attn.v_proj", "attn_v"),
            ("self_attn.o_proj", "attn_output"),
            ("input_layernorm", "attn_norm"),
            ("post_attention_layernorm", "ffn_norm"),
            ("mlp.gate_proj", "ffn_gate"),
            ("mlp.up_proj", "ffn_up"),
            ("mlp.down_proj", "ffn_down"),
        ]
        .iter()
        .fold(name.to_string(), |name, (from, to)| name.replace(from, to))
            + ".weight"
    };
    let quantized: Vec<(String, QTensor)> = tensors(table)
        .into_iter()
        .map(|(name, tensor)| {
            let name = if name == "norm" {
                "output_norm.weight".to_string()
            } else {
                gguf_name(&name)
            };
            (name, QTensor::quantize(&tensor, GgmlDType::F32).unwrap())
        })
        .collect();
    let metadata: Vec<(&str, &Value)> = metadata.iter().map(|(key, value)| (*key, value)).collect();
    let quantized: Vec<(&str, &QTensor)> = quantized.iter().map(|(n, t)| (n.as_str(), t)).collect();
    let mut file = fs::File::create(path).unwrap();
    gguf_file::write(&mut file, &metadata, &quantized).unwrap();
}

fn command(model: &Path, more: &[&str]) -> Command {
    let mut command = Command::new(assert_cmd::cargo::cargo_bin!("gatelens"));
    command.args(["classify", "--model"]).arg(model).args(more);
    command
}

fn classify(model: &Path, more: &[&str]) -> String {
    let output = command(model, more).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    String::from_utf8(output.stdout).unwrap()
}

/// Planted layers are compared with nothing mismatched: they hold few different neurons, and many pairs.
fn planted(model: &Path, more: &[&str]) -> String {
    classify(model, &[&["--chance", "beta"], more].concat())
}

fn json(model: &Path, more: &[&str]) -> serde_json::Value {
    serde_json::from_str(&planted(model, &[&["--json"], more].concat())).unwrap()
}

fn published_json(model: &Path, more: &[&str]) -> serde_json::Value {
    json(model, more)["published"].clone()
}

#[test]
fn a_model_with_the_published_classes_agrees() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("OLMo-1B-hf");
    write_folder(&folder, &planted_table());
    let printed = planted(&folder, &[]);
    assert!(
        printed.contains("Agrees with the published table of allenai/OLMo-1B-hf"),
        "{printed}"
    );
    assert!(printed.contains("folder name OLMo-1B-hf") && printed.contains("more than 0"));
    let json = published_json(&folder, &[]);
    assert_eq!(
        (&json["verdict"], &json["counts"]),
        (&"agrees".into(), &(16 * 11).into())
    );
    assert_eq!(json["counts_beyond_tolerance"], 0);

    for other in [["--fold", "none"], ["--threshold", "0.4"]] {
        let printed = planted(&folder, &other);
        assert!(
            printed.contains("fold pre and threshold 0.5: not compared"),
            "{printed}"
        );
        assert!(published_json(&folder, &other).is_null());
    }
    let renamed = dir.path().join("my-fine-tune");
    fs::rename(&folder, &renamed).unwrap();
    assert!(
        !planted(&renamed, &[]).contains("published table"),
        "the shape alone says nothing"
    );
}

#[test]
fn a_model_whose_name_or_option_says_so_descends() {
    let dir = tempfile::tempdir().unwrap();
    let [named, unnamed] = ["OLMo-1B-Instruct", "mine"].map(|name| dir.path().join(name));
    let mut table = planted_table();
    table.class_counts_per_layer[7][2] -= 40; // conditional enrichment, 138 published
    table.class_counts_per_layer[7][6] += 40;
    write_folder(&named, &table);
    let printed = planted(&named, &[]);
    let words = printed.split_whitespace().collect::<Vec<_>>().join(" ");
    for part in [
        "Descends from allenai/OLMo-1B-hf (by the folder name OLMo-1B-Instruct)",
        "conditional-enrichment +1.000 7 138 98 -40",
        "atypical-conditional-enrichment +1.000 0 1 1 0",
        "median cos(in,out) +1.000",
    ] {
        assert!(words.contains(part), "{part}: {printed}");
    }
    assert!(!printed.contains("Agrees") && !printed.contains("Differs"));
    let json = json(&named, &[]);
    assert!(json.get("published").is_none());
    let descent = &json["descends_from"];
    assert_eq!(descent["told_by"], "the folder name OLMo-1B-Instruct");
    let course = &descent["classes"]["conditional-enrichment"];
    assert_eq!(course["largest"]["layer"], 7);
    assert!(course["correlation"].as_f64().unwrap() < 1.0);
    let other_settings = planted(&named, &["--threshold", "0.4"]);
    assert!(other_settings.contains("fold pre and threshold 0.5: not compared"));

    fs::rename(&named, &unnamed).unwrap();
    let asked = self::json(&unnamed, &["--compare", "olmo-1b-HF"]);
    let asked = &asked["descends_from"];
    assert_eq!(asked["told_by"], "--compare");
    assert_eq!(asked["classes"], descent["classes"]);
    for (options, part) in [
        (&["--compare", "olmo"][..], "mistralai/Mistral-7B-v0.1"),
        (
            &["--compare", "yi-6b"],
            "32 layers of 11008 neurons, and this model has 16 layers of 8192",
        ),
        (
            &["--compare", "olmo-1b-hf", "--fold", "none"],
            "are for fold pre and threshold 0.5",
        ),
    ] {
        let output = command(&unnamed, options).output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(
            !output.status.success() && stderr.contains(part),
            "{stderr}"
        );
    }
}

/// numpy 2.4.6, of the counts under fold `pre` in `qwen2.5-coder-0.5b.json`, which are torch's:
///
/// ```python
/// a = np.array(published["models"]["Qwen/Qwen2.5-0.5B"]["class_counts_per_layer"])
/// b = np.array(golden["classes"]["pre"]["by_layer"])
/// print(np.corrcoef(a[:, 2], b[:, 2])[0, 1], np.corrcoef(a[:, 7], b[:, 7])[0, 1])
/// ```
#[test]
fn a_real_descendant_goes_over_the_layers_as_the_papers_model_does() {
    let alias = Path::new("qwen2.5-coder-0.5b");
    let descent = &json(alias, &[])["descends_from"];
    assert_eq!(
        (&descent["model"], &descent["told_by"]),
        (&"Qwen/Qwen2.5-0.5B".into(), &"the alias".into())
    );
    for (class, correlation, largest) in [
        (
            "conditional-enrichment",
            0.9974352558268237,
            [7, 1098, 1175],
        ),
        ("depletion", 0.9767962790233872, [23, 56, 85]),
    ] {
        let course = &descent["classes"][class];
        let found = course["correlation"].as_f64().unwrap();
        assert!((found - correlation).abs() < 1e-9, "{class}: {found}");
        let place =
            ["layer", "published", "found"].map(|key| course["largest"][key].as_u64().unwrap());
        assert_eq!(place, largest, "{class}");
    }
    let median = descent["median_cos_in_out"]["correlation"]
        .as_f64()
        .unwrap();
    assert!(median > 0.99, "{median}");
}

#[test]
fn a_model_with_other_classes_differs_and_says_where() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("olmo-1b");
    let mut table = planted_table();
    table.class_counts_per_layer[7][2] -= 40; // conditional enrichment, 138 published
    table.class_counts_per_layer[7][6] += 40;
    write_folder(&folder, &table);
    let printed = planted(&folder, &[]);
    let words = printed.split_whitespace().collect::<Vec<_>>().join(" ");
    for part in [
        "Differs from the published table of allenai/OLMo-1B-hf",
        "2 of 176 counts by more than 2, 0 of 16 medians by more than 0.002",
        "conditional-enrichment 7 138 98 -40",
        "orthogonal-output 7 6,044 6,084 +40",
    ] {
        assert!(words.contains(part), "{part}: {printed}");
    }
    let json = published_json(&folder, &[]);
    assert_eq!(json["verdict"], "differs");
    assert_eq!(
        json["largest_by_class"]["conditional-enrichment"]["found"],
        98
    );
}

#[test]
fn a_gguf_file_is_found_by_its_file_name_or_its_stored_name() {
    let dir = tempfile::tempdir().unwrap();
    let table = planted_table();
    for (file, stored, matched_by) in [
        (
            "olmo-1b.Q4_K_M.gguf",
            "anything",
            Some("file name olmo-1b.Q4_K_M"),
        ),
        (
            "model.gguf",
            "OLMo 1B Hf",
            Some("general.name OLMo 1B Hf in the GGUF file"),
        ),
        ("other.gguf", "OLMo 1B Instruct", None),
    ] {
        let path = dir.path().join(file);
        write_gguf(&path, &table, stored);
        let json = published_json(&path, &[]);
        assert_eq!(json["matched_by"].as_str(), matched_by);
        assert_eq!(json["verdict"].as_str(), matched_by.map(|_| "agrees"));
        fs::remove_file(&path).unwrap();
    }
}
