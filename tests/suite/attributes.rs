//! The attribute rate against transformers and torch, against computations that share nothing with it but the
//! residuals, and as the command shows it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::num::NonZeroUsize;
use std::path::Path;

use arrow_array::{Array, Float64Array, StringArray, UInt16Array, UInt32Array};
use candle_core::{DType, Device};
use gatelens::engine::{Engine, Lens};
use gatelens::experiment::Run;
use gatelens::experiment::attributes::{
    AttributeInput, AttributeWords, Attributes, FilterOrder, RateSettings, Share, attributes,
};
use gatelens::experiment::{AblationPlan, Arm, PromptSubset, Treatment};
use gatelens::hooks::{Condition, Edit, HookPoint, Mode, Neuron, NeuronSet, Recorder, Site};
use gatelens::hub::gguf::GgufFile;
use gatelens::io_class::MatchedDraws;
use gatelens::model::Model;
use gatelens::prompts::{MissingText, Prompt, PromptSet, StopWords, SubjectText, Subjects};
use gatelens::tokens::{BosPolicy, TokenBatch, Tokenizer, tokenize_to_subject};
use serde_json::Value;

use super::cli::{columns, fail, file, json, named, succeed};
use super::common::{LogProbs, goldens, model, model_path};

const ORDERS: [FilterOrder; 2] = [FilterOrder::TopFirst, FilterOrder::FilterFirst];
const LENSES: [Lens; 2] = [Lens::Raw, Lens::FinalNorm];

fn settings(filter_order: FilterOrder, top: usize, lens: Lens) -> RateSettings {
    RateSettings {
        filter_order,
        top: NonZeroUsize::new(top).unwrap(),
        lens,
    }
}

fn real_tokenizer(alias: &str) -> Tokenizer {
    Tokenizer::from_gguf(&GgufFile::open(&model_path(alias)).unwrap()).unwrap()
}

/// The tiny models' own vocabularies have few words. Theirs here: short ones, stop words, and topics, some of them in two
/// cases; one token each, with SentencePiece's mark.
fn tiny_vocabulary(size: usize) -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("prompts/stop_words.txt");
    let list = std::fs::read_to_string(path).unwrap();
    let mut stop = list
        .lines()
        .filter(|l| !l.is_empty() && !l.starts_with('#'));
    let letter = |n: usize| char::from(b'a' + (n % 26) as u8);
    let word = |id: usize| match id % 6 {
        0 => format!("{}{}", letter(id / 26), letter(id)),
        1 => stop.next().unwrap().to_string(),
        2 => format!("topic{id}"),
        3 => format!("TOPIC{}", id - 1),
        _ => format!("Thing{id}"),
    };
    std::iter::once("<unk>".to_string())
        .chain((1..size).map(word).map(|word| format!("\u{2581}{word}")))
        .collect()
}

fn tiny_tokenizer(dir: &Path, size: usize) -> Tokenizer {
    let vocabulary: HashMap<String, usize> = tiny_vocabulary(size).into_iter().zip(0..).collect();
    let metaspace = serde_json::json!({
        "type": "Metaspace", "replacement": "\u{2581}", "prepend_scheme": "always", "split": true
    });
    let json = serde_json::json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": null,
        "pre_tokenizer": metaspace, "post_processor": null, "decoder": metaspace,
        "model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": "<unk>"}
    });
    let path = dir.join("tokenizer.json");
    std::fs::write(&path, json.to_string()).unwrap();
    Tokenizer::from_files(&path, None, None).unwrap()
}

/// Prompts that end with their subjects, each with a text.
struct Asked {
    subjects: Subjects,
    texts: Vec<usize>,
    batch: TokenBatch,
    words: AttributeWords,
}

impl Asked {
    /// Of prompt, subject and text.
    fn new(
        asked: &[(&str, &str, &str)],
        tokenizer: &Tokenizer,
        bos: BosPolicy,
        model: &Model,
    ) -> Self {
        let subject = |(_, subject, text): &(&str, &str, &str)| SubjectText {
            subject: (*subject).to_string(),
            text: (*text).to_string(),
        };
        let prompt = |(i, (prompt, subject, _)): (usize, &(&str, &str, &str))| {
            Prompt::new(&i.to_string(), prompt, subject, "x").unwrap()
        };
        let subjects = Subjects {
            name: "texts".to_string(),
            subjects: asked.iter().map(subject).collect(),
            sha256: String::new(),
        };
        let prompts = PromptSet {
            name: "prompts".to_string(),
            prompts: asked.iter().enumerate().map(prompt).collect(),
            sha256: String::new(),
        };
        let found = subjects.of_prompts(prompts, MissingText::Refuse).unwrap();
        let size = model.config().vocab_size;
        Self {
            texts: found.texts,
            batch: tokenize_to_subject(&found.prompts, tokenizer, bos).unwrap(),
            words: AttributeWords::new(tokenizer, size, &StopWords::bundled(), &subjects).unwrap(),
            subjects,
        }
    }

    fn rates(&self, model: &Model, plan: &AblationPlan, settings: RateSettings) -> Attributes {
        let input = AttributeInput {
            batch: &self.batch,
            facts: &self.batch,
            texts: &self.texts,
            words: &self.words,
        };
        attributes(
            &mut Run::new(&()),
            &Engine::new(model),
            &input,
            plan,
            settings,
        )
        .unwrap()
    }
}

fn set(model: &Model, neurons: impl IntoIterator<Item = (usize, usize)>) -> NeuronSet {
    let config = model.config();
    let neurons = neurons
        .into_iter()
        .map(|(layer, index)| Neuron { layer, index });
    NeuronSet::new(config, neurons).unwrap()
}

fn plan(treatments: Vec<Treatment>) -> AblationPlan {
    AblationPlan {
        subset: PromptSubset::All,
        ..AblationPlan::new(treatments, Mode::Zero)
    }
}

fn treatment(class: &str, neurons: NeuronSet, sets: Vec<NeuronSet>) -> Treatment {
    let shortfall = vec![];
    Treatment::new(class.to_string(), neurons, MatchedDraws { sets, shortfall })
}

/// By class, arm, draw, prompt and layer.
fn by_key(found: &Attributes) -> BTreeMap<(String, String, u32, usize, usize), Share> {
    let rows = found.rows().flatten();
    rows.map(|row| {
        let arm = row.condition.arm.to_string();
        let key = (
            row.condition.class.to_string(),
            arm,
            row.condition.draw,
            row.prompt,
            row.layer,
        );
        (key, row.share)
    })
    .collect()
}

/// Below this share of a row's largest score, the last token taken and the first one left may change places: sums of
/// f32 in another order differ by so much (the golden residuals by up to 1e-5).
const NEAR_TIE: f64 = 3e-5;

#[test]
fn rates_of_the_real_models_equal_those_from_transformers() {
    let golden = json(&goldens().join("attributes.json"));
    let stop_words = StopWords::bundled();
    assert_eq!(
        golden["stop_words_sha256"], stop_words.sha256,
        "other stop words: make the goldens again (tests/goldens/README.md)"
    );
    let text = |prompt: &Value, key: &str| prompt[key].as_str().unwrap().to_string();
    let prompts: Vec<[String; 3]> = golden["prompts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|prompt| ["prompt", "subject", "text"].map(|key| text(prompt, key)))
        .collect();
    let prompts: Vec<(&str, &str, &str)> = prompts
        .iter()
        .map(|[p, s, t]| (p.as_str(), s.as_str(), t.as_str()))
        .collect();
    for (alias, golden) in golden["models"].as_object().unwrap() {
        let model = model(alias);
        let asked = Asked::new(&prompts, &real_tokenizer(alias), BosPolicy::Auto, &model);
        let neurons = golden["neurons"].as_object().unwrap().iter();
        let neurons = neurons.flat_map(|(layer, neurons)| {
            let neurons = neurons.as_array().unwrap().iter();
            neurons.map(|n| (layer.parse().unwrap(), n.as_u64().unwrap() as usize))
        });
        let plan = plan(vec![treatment("golden", set(&model, neurons), vec![])]);
        let (mut exact, mut hits, mut all) = (0, 0, 0);
        for (lens, order) in LENSES.into_iter().flat_map(|l| ORDERS.map(|o| (l, o))) {
            let found = asked.rates(&model, &plan, settings(order, 50, lens));
            for row in found.rows().flatten() {
                let subject = &asked.subjects.subjects[row.prompt].subject;
                let key = format!("{subject}, {}, {lens}, {order}", row.condition.arm);
                let of = |column: usize| golden["rates"][&key][column][row.layer].as_f64().unwrap();
                let expected = Share {
                    kept: of(0) as u32,
                    hits: of(1) as u32,
                    ..row.share
                };
                all += 1;
                hits += expected.hits;
                if of(2) >= NEAR_TIE {
                    exact += 1;
                    assert_eq!(row.share, expected, "{alias}: {key}, layer {}", row.layer);
                } else {
                    let (kept, hits) = (row.share.kept, row.share.hits);
                    assert!(kept.abs_diff(expected.kept) <= 1 && hits.abs_diff(expected.hits) <= 1);
                }
            }
        }
        println!("{alias}: {exact} of {all} rates compared to the last token, {hits} hits");
        assert!(exact * 20 >= all * 19 && hits >= 50);
    }
}

/// What counts of each token: by hand, as the documentation says.
fn words_by_hand(tokenizer: &Tokenizer, vocab_size: usize) -> Vec<Option<String>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("prompts/stop_words.txt");
    let list = std::fs::read_to_string(path).unwrap();
    let stop: HashSet<&str> = list.lines().filter(|line| !line.starts_with('#')).collect();
    (0..vocab_size as u32)
        .map(|id| {
            let word = tokenizer.token_text(id).trim().to_string();
            let dropped = word.chars().count() <= 2
                || word.contains('\u{fffd}')
                || stop.contains(word.to_lowercase().as_str());
            (!dropped).then(|| word.to_lowercase())
        })
        .collect()
}

/// A share from a residual and the head's rows, in f64 and with a whole sort.
fn share_by_hand(
    residual: &[f32],
    head: &[Vec<f32>],
    words: &[Option<String>],
    (texts, own): (&[HashSet<String>], usize),
    settings: RateSettings,
) -> Share {
    let score = |row: &Vec<f32>| -> f64 {
        let products = row.iter().zip(residual);
        products.map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
    };
    let mut order: Vec<(f64, usize)> = head.iter().map(score).zip(0..).collect();
    order.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    if settings.filter_order == FilterOrder::FilterFirst {
        order.retain(|(_, token)| words[*token].is_some());
    }
    order.truncate(settings.top.get());
    let kept: Vec<&String> = order
        .iter()
        .filter_map(|(_, token)| words[*token].as_ref())
        .collect();
    let hits = |text: &HashSet<String>| kept.iter().filter(|w| text.contains(**w)).count() as u32;
    let all: u32 = texts.iter().map(hits).sum();
    Share {
        kept: kept.len() as u32,
        hits: hits(&texts[own]),
        other_hits: all - hits(&texts[own]),
        other_texts: texts.len() as u32 - 1,
    }
}

/// In the words of [`tiny_vocabulary`]; the last has stop words and short ones in its text.
fn tiny_prompts() -> [(&'static str, &'static str, String); 3] {
    let words = |ids: std::ops::Range<usize>, of: [usize; 2]| {
        let words = tiny_vocabulary(280);
        let ids = ids.filter(|id| of.contains(&(id % 6)));
        let words: Vec<String> = ids.map(|id| words[id].replace('\u{2581}', "")).collect();
        words.join(" ")
    };
    [
        ("Thing4 of topic8", "topic8", words(1..200, [2, 4])),
        ("topic14 Thing10", "topic14 Thing10", words(60..280, [3, 5])),
        (
            "TOPIC20 Thing11 topic26",
            "topic26",
            words(100..280, [0, 1]) + " Thing5 topic44",
        ),
    ]
}

/// By prompt and layer.
type Residuals = HashMap<(usize, usize), Vec<f32>>;

/// The residuals at the last tokens in a run of one condition alone, in which every residual is recorded.
fn residuals(model: &Model, batch: &TokenBatch, edited: Option<&NeuronSet>) -> Residuals {
    let layers = 0..model.config().n_layers();
    let points: Vec<_> = layers
        .map(|l| HookPoint::in_layer(l, Site::ResidPost))
        .collect();
    let mut recorder = Recorder::new(points.clone());
    let condition = edited.map_or(Condition::Clean, |neurons| {
        Condition::Edited(Edit::zero(neurons.clone()).called("alone"))
    });
    Engine::new(model)
        .run(batch, &[condition], &mut [&mut recorder], None, &())
        .unwrap();
    let width = model.config().d_model;
    let mut residuals = Residuals::new();
    for (layer, point) in points.into_iter().enumerate() {
        let rows = recorder.rows(point, 0).unwrap();
        for (i, sequence) in batch.sequences().iter().enumerate() {
            let last = (batch.first_row(i) + sequence.ids.len() - 1) * width;
            residuals.insert((sequence.prompt, layer), rows[last..last + width].to_vec());
        }
    }
    residuals
}

/// Tied and untied heads; one with a soft cap, which must not count.
#[test]
fn a_rate_is_what_a_plain_run_and_a_product_by_hand_say() {
    let dir = tempfile::tempdir().unwrap();
    let (mut hits, mut changed) = (0, 0);
    for (name, head) in [
        ("tiny-llama", "lm_head.weight"),
        ("tiny-gemma2", "model.embed_tokens.weight"),
        ("tiny-llama3", "model.embed_tokens.weight"),
    ] {
        let model = model(name);
        let tokenizer = tiny_tokenizer(dir.path(), model.config().vocab_size);
        let prompts = tiny_prompts();
        let prompts = prompts
            .each_ref()
            .map(|(p, s, text)| (*p, *s, text.as_str()));
        let asked = Asked::new(&prompts, &tokenizer, BosPolicy::Never, &model);
        let weights = goldens().join(name).join("model.safetensors");
        let tensors = candle_core::safetensors::load(weights, &Device::Cpu).unwrap();
        let head = tensors[head].to_dtype(DType::F32).unwrap();
        let head: Vec<Vec<f32>> = head.to_vec2().unwrap();
        let words = words_by_hand(&tokenizer, model.config().vocab_size);
        let texts = prompts.map(|(_, _, text)| {
            let forms = [text.to_string(), format!(" {text}")];
            let ids = forms
                .map(|form| tokenizer.encode(&form).unwrap().ids)
                .concat();
            let words = ids.iter().filter_map(|&id| words[id as usize].clone());
            words.collect::<HashSet<String>>()
        });
        let sets = [(1, 0..25), (1, 25..50), (2, 0..30)]
            .map(|(layer, neurons)| set(&model, neurons.map(|n| (layer, n))));
        let plan = plan(vec![
            treatment("class", sets[0].clone(), vec![sets[1].clone()]),
            treatment("late", sets[2].clone(), vec![]),
        ]);
        let residuals: Vec<Residuals> = std::iter::once(None)
            .chain(sets.iter().map(Some))
            .map(|set| residuals(&model, &asked.batch, set))
            .collect();
        for order in ORDERS {
            let settings = settings(order, 50, Lens::Raw);
            let found = asked.rates(&model, &plan, settings);
            assert_eq!(
                found.rows().flatten().count(),
                4 * 3 * model.config().n_layers()
            );
            for row in found.rows().flatten() {
                let condition = match (row.condition.arm, row.condition.class.as_str()) {
                    (Arm::Clean, _) => 0,
                    (Arm::Class, "class") => 1,
                    (Arm::Baseline, _) => 2,
                    (Arm::Class | Arm::Corrupted, _) => 3,
                };
                let residual = &residuals[condition][&(row.prompt, row.layer)];
                let about = (&texts[..], asked.texts[row.prompt]);
                let expected = share_by_hand(residual, &head, &words, about, settings);
                assert_eq!(row.share, expected, "{name}, {order}: {row:?}");
                hits += expected.hits;
                let clean = &residuals[0][&(row.prompt, row.layer)];
                let clean = share_by_hand(clean, &head, &words, about, settings);
                changed += usize::from(clean != expected);
            }
        }
    }
    println!("{hits} hits, {changed} rates are not the clean one");
    assert!(
        hits > 1000 && changed > 50,
        "too few to tell right from wrong"
    );
}

/// The last layer's residual through the final norm ranks the tokens as the model's own logits do.
#[test]
fn a_text_of_the_top_tokens_gives_rate_one_and_a_text_of_others_zero() {
    let (model, tokenizer) = (model("smollm2-135m"), real_tokenizer("smollm2-135m"));
    let subject = "Mount Fuji";
    let prompt = "People say that Mount Fuji";
    let last = model.config().n_layers() - 1;
    let words = words_by_hand(&tokenizer, model.config().vocab_size);
    let batch = Asked::new(
        &[(prompt, subject, "anything")],
        &tokenizer,
        BosPolicy::Auto,
        &model,
    )
    .batch;
    let mut logprobs = LogProbs::new(vec![batch.tokens() - 1]);
    Engine::new(&model)
        .run(
            &batch,
            &[Condition::Clean],
            &mut [],
            Some(&mut logprobs),
            &(),
        )
        .unwrap();
    let logprobs = logprobs.at(0, batch.tokens() - 1);
    let mut order: Vec<usize> = (0..words.len()).filter(|id| words[*id].is_some()).collect();
    order.sort_by(|a, b| logprobs[*b].total_cmp(&logprobs[*a]));
    let text = |ids: &[usize]| {
        let words: Vec<&str> = ids
            .iter()
            .map(|id| words[*id].as_deref().unwrap())
            .collect();
        words.join(" ")
    };
    // A word of the text must be one token again; its space and case may be another's.
    let whole = |id: &&usize| {
        let ids = tokenizer
            .encode(&format!(" {}", text(&[**id])))
            .unwrap()
            .ids;
        ids.len() == 1
    };
    assert!(
        order[..5].iter().all(|id| whole(&id)),
        "{}",
        text(&order[..5])
    );
    let ranks = order.iter().rev().filter(whole).take(50).copied();
    let others: Vec<usize> = ranks.collect();
    let settings = settings(FilterOrder::FilterFirst, 5, Lens::FinalNorm);
    for (text, hits) in [(text(&order[..5]), 5), (text(&others), 0)] {
        let asked = Asked::new(
            &[(prompt, subject, &text)],
            &tokenizer,
            BosPolicy::Auto,
            &model,
        );
        let found = asked.rates(&model, &plan(vec![]), settings);
        let key = (String::new(), "clean".to_string(), 0, 0, last);
        let share = by_key(&found)[&key];
        assert_eq!((share.kept, share.hits), (5, hits), "{text}");
    }
}

/// Prompts about three subjects, one of them twice, and a text for each.
const PROMPTS: &str = r#"{"id": "fr", "prompt": "The capital of France is", "subject": "France", "target": "Paris"}
{"id": "fr2", "prompt": "The main language of France is", "subject": "France", "target": "French"}
{"id": "fr3", "prompt": "The capital of France lies on the", "subject": "France", "target": "Seine"}
{"id": "fuji", "prompt": "On the island Honshu, Mount Fuji is", "subject": "Mount Fuji", "target": "high"}
{"id": "water", "prompt": "It is known that water is made of", "subject": "water", "target": "hydrogen"}
"#;
const SUBJECTS: &str = "subject,paragraphs\n\
    France,\"France is a country; its capital is \"\"Paris\"\".\nThe French speak French.\"\n\
    Mount Fuji,\"A volcano in Japan, near Tokyo.\"\n\
    water,\"Water is made of hydrogen and oxygen.\"\n\
    Peru,A country in South America.\n";

fn command<'a>(extra: &[&'a str]) -> Vec<&'a str> {
    let fixed = ["attributes", "--classes", "depletion", "--draws", "3"];
    fixed.into_iter().chain(extra.iter().copied()).collect()
}

#[test]
fn attributes_writes_rates_effects_and_run() {
    let dir = tempfile::tempdir().unwrap();
    let prompts = file(&dir, "prompts.jsonl", PROMPTS);
    let subjects = file(&dir, "subjects.csv", SUBJECTS);
    let out = dir.path().join("run");
    let out_text = out.to_str().unwrap();
    let args = command(&[
        "--prompts",
        &prompts,
        "--subjects",
        &subjects,
        "--filter-order",
        "filter-first",
        "--subset",
        "all",
        "--rate-layers",
        "20..30",
        "--out",
        out_text,
    ]);
    let printed = succeed(&args);
    for part in [
        "4 prompts of",
        "3 subjects of",
        "mean over layers 20 to 29",
        "filter-first: stop words",
        "final-norm: the residual through",
        "minus that with other subjects' texts",
        "standard error",
        "first 50 tokens",
        "\n 29 ",
        "depletion",
    ] {
        assert!(printed.contains(part), "{part}: {printed}");
    }
    assert!(
        printed
            .lines()
            .all(|line| line.chars().count() <= 100 || !line.starts_with(' '))
    );

    let (columns, rows) = columns(&out.join("rates.parquet"));
    assert_eq!(
        columns,
        named(&[
            ("prompt_id", "Utf8"),
            ("subject", "Utf8"),
            ("layer", "UInt16"),
            ("class", "Utf8"),
            ("arm", "Utf8"),
            ("draw", "UInt32"),
            ("mode", "Utf8"),
            ("neurons", "UInt32"),
            ("kept", "UInt32"),
            ("hits", "UInt32"),
            ("rate", "Float64"),
            ("rate_other", "Float64"),
        ])
    );
    assert_eq!(
        rows.num_rows(),
        5 * 4 * 30,
        "clean, class and 3 draws of 4 prompts"
    );
    let column = |name: &str| rows.column_by_name(name).unwrap().clone();
    let (arms, layers, rates) = (column("arm"), column("layer"), column("rate"));
    let arms = arms.as_any().downcast_ref::<StringArray>().unwrap();
    let layers = layers.as_any().downcast_ref::<UInt16Array>().unwrap();
    let rates = rates.as_any().downcast_ref::<Float64Array>().unwrap();
    let others = column("rate_other");
    let others = others.as_any().downcast_ref::<Float64Array>().unwrap();
    let hits = column("hits");
    let hits = hits.as_any().downcast_ref::<UInt32Array>().unwrap();
    for row in 0..rows.num_rows() {
        assert_eq!(rates.value(row), f64::from(hits.value(row)) / 50.0);
    }

    let effects = json(&out.join("effects.json"));
    let effects = effects.as_array().unwrap();
    assert_eq!(effects.len(), 2 * 31, "the mean and every layer");
    let mean_of = |metric: &str, arm: &str, wanted: std::ops::Range<u16>| {
        let beyond = f64::from(u8::from(metric == "attribute_excess"));
        let chosen = (0..rows.num_rows())
            .filter(|&row| arms.value(row) == arm && wanted.contains(&layers.value(row)));
        let chosen: Vec<f64> = chosen
            .map(|row| rates.value(row) - beyond * others.value(row))
            .collect();
        chosen.iter().sum::<f64>() / chosen.len() as f64
    };
    for effect in effects {
        let layers = effect["layers"].as_array().unwrap();
        let [first, last] = [0, 1].map(|i| layers[i].as_u64().unwrap() as u16);
        let single = effect["layer"].as_u64();
        assert!(single.is_none_or(|layer| (first, last) == (layer as u16, layer as u16)));
        for arm in ["clean", "class", "baseline"] {
            let found = effect["means"][arm].as_f64().unwrap();
            let metric = effect["metric"].as_str().unwrap();
            let expected = mean_of(metric, arm, first..last + 1);
            assert!((found - expected).abs() < 1e-12, "{arm} {found} {expected}");
        }
        let is_primary = single.is_none() && effect["metric"] == "attribute_excess";
        let adjustment = if is_primary { "holm" } else { "none" };
        for (key, expected) in [
            ("adjustment", adjustment),
            ("subset", "all"),
            ("filter_order", "filter-first"),
            ("lens", "final-norm"),
        ] {
            assert_eq!(effect[key], expected, "{effect}");
        }
        assert_eq!(
            (&effect["top"], &effect["prompts"]),
            (&50.into(), &4.into())
        );
    }
    assert_eq!(effects[0]["layers"], serde_json::json!([20, 29]));
    let clean = |entry: usize| effects[entry]["means"]["clean"].as_f64().unwrap();
    assert_eq!(effects[0]["metric"], "attribute_rate");
    assert_eq!(effects[31]["metric"], "attribute_excess");
    assert!(clean(0) > clean(31) && clean(31) > 0.0);

    let run = json(&out.join("run.json"));
    assert_eq!(run["settings"]["filter_order"], "filter-first");
    assert_eq!(
        run["settings"]["stop_words"]["sha256"],
        StopWords::bundled().sha256
    );
    assert_eq!(run["settings"]["rate_layers"], serde_json::json!([20, 29]));
    assert_eq!(
        run["counts"]["repeated_prompts"],
        serde_json::json!(["fr3"])
    );
    assert_eq!(
        run["counts"]["subjects_without_prompt"],
        serde_json::json!(["Peru"])
    );
    assert_eq!(
        (&run["counts"]["rates"], &run["counts"]["absent_rates"]),
        (&600.into(), &0.into())
    );
    assert_eq!(run["texts"][0]["name"], subjects);
    assert!(fail(&args).contains("--force"));
}

#[test]
fn absent_rates_are_null_and_subjects_may_stand_alone() {
    let dir = tempfile::tempdir().unwrap();
    let subjects = file(&dir, "subjects.csv", SUBJECTS);
    let out = dir.path().join("run");
    // One token, which is often a stop word or a short one.
    let args = command(&[
        "--bare",
        "--subjects",
        &subjects,
        "--top",
        "1",
        "--lens",
        "final-norm",
        "--json",
        "--out",
        out.to_str().unwrap(),
    ]);
    let printed: Value = serde_json::from_str(&succeed(&args)).unwrap();
    let counts = &printed["counts"];
    assert_eq!(
        (&counts["prompts"], &counts["subjects"]),
        (&4.into(), &4.into())
    );
    let absent = counts["absent_rates"].as_u64().unwrap() as usize;
    assert!(absent > 0);
    let (_, rows) = columns(&out.join("rates.parquet"));
    let column = |name: &str| rows.column_by_name(name).unwrap().clone();
    let (rates, kept) = (column("rate"), column("kept"));
    let kept = kept.as_any().downcast_ref::<UInt32Array>().unwrap();
    assert_eq!(rates.null_count(), absent);
    assert!((0..rows.num_rows()).all(|row| rates.is_null(row) == (kept.value(row) == 0)));
    let effects = printed["effects"].as_array().unwrap();
    let prompts =
        |effect: &Value| effect["prompts"].as_u64().unwrap() + effect["left_out"].as_u64().unwrap();
    assert!(effects.iter().all(|effect| prompts(effect) == 4));
    assert!(effects.iter().any(|effect| effect["left_out"] != 0));
    let absent = printed["absent"].as_array().unwrap().len();
    assert_eq!(effects.len() + 2 * absent, 2 * 31);
}

#[test]
fn what_cannot_be_asked_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let prompts = file(&dir, "prompts.jsonl", PROMPTS);
    let few = file(
        &dir,
        "few.csv",
        "subject,paragraphs\nwater,Hydrogen and oxygen.\n",
    );
    let error = fail(&command(&["--prompts", &prompts, "--subjects", &few]));
    assert!(
        error.contains("2 subjects of") && error.contains("France; Mount Fuji; give"),
        "{error}"
    );
    let skipped = ["--prompts", &prompts, "--subjects", &few, "--skip-missing"];
    let unknown = fail(&command(&skipped));
    assert!(unknown.contains("knows none of the 1 prompts"), "{unknown}");
    let skipped = [&skipped[..], &["--subset", "all"]].concat();
    let printed = succeed(&command(&skipped));
    assert!(printed.contains("4 more prompts are left out"), "{printed}");
    assert!(
        !printed.contains("other subjects"),
        "one text alone: {printed}"
    );
    let other = file(
        &dir,
        "other.csv",
        "subject,paragraphs\nAtlantis,Sunk long ago.\n",
    );
    let error = fail(&command(&["--subjects", &other]));
    assert!(
        error.contains("no prompt of bundled facts") && error.contains("--bare"),
        "{error}"
    );
    let empty = file(
        &dir,
        "empty.csv",
        "subject,paragraphs\nwater,it is of the\nFrance,\n",
    );
    let error = fail(&command(&["--subjects", &empty]));
    assert!(
        error.contains("line 3: the field `paragraphs` is empty"),
        "{error}"
    );
    let stop = file(
        &dir,
        "stop.csv",
        "subject,paragraphs\nFrance,it is of the\n",
    );
    let error = fail(&command(&["--subjects", &stop]));
    assert!(
        error.contains("France: its text has nothing but stop words"),
        "{error}"
    );
    for (args, accepted) in [
        (&["--filter-order", "both"][..], "top-first"),
        (&["--lens", "norm"], "final-norm"),
        (&["--top", "0"], "--top"),
        (&["--rate-layers", "20..31"], "30 layers"),
        (&["--bare", "--prompts", &prompts], "--prompts"),
        (&["--skip-missing"], "--prompts"),
        (&["--bare", "--subset", "known"], "drop --subset known"),
        (&["--subset", "some"], "known, all"),
        (&["--subjects", "/nowhere.csv"], "/nowhere.csv"),
    ] {
        let error = fail(&command(args));
        assert!(error.contains(accepted), "{args:?}: {error}");
    }
}

/// The bundled facts whose clean first choice is right, by `ablate`, are those that rates are taken of.
#[test]
fn rates_are_those_of_known_facts() {
    let dir = tempfile::tempdir().unwrap();
    let facts = [
        (
            "fr",
            "The capital of France is the city of",
            "France",
            "Paris",
        ),
        ("fr2", "In France, the main language is", "France", "Paris"),
        ("gr", "The capital city of Greece is", "Greece", "Athens"),
        ("jp", "The capital of Japan is called", "Japan", "Osaka"),
    ];
    let line = |(id, prompt, subject, target): (&str, &str, &str, &str)| {
        let fact =
            serde_json::json!({"id": id, "prompt": prompt, "subject": subject, "target": target});
        format!("{fact}\n")
    };
    let facts = file(&dir, "facts.jsonl", &facts.map(line).concat());
    let run = |command: &str, table: &str, extra: &[&str]| {
        let out = dir.path().join(format!("{command}{}", extra.len()));
        let fixed = [
            command,
            "--prompts",
            &facts,
            "--classes",
            "depletion",
            "--draws",
            "2",
        ];
        let args = [&fixed[..], extra, &["--out", out.to_str().unwrap()]].concat();
        let printed = succeed(&args);
        let (_, rows) = columns(&out.join(table));
        let ids = rows.column_by_name("prompt_id").unwrap().clone();
        let ids = ids.as_any().downcast_ref::<StringArray>().unwrap();
        let ids: std::collections::BTreeSet<String> =
            ids.iter().map(|id| id.unwrap().to_string()).collect();
        (printed, ids, json(&out.join("run.json")), rows)
    };
    let (_, _, ablated, outcomes) = run("ablate", "outcomes.parquet", &[]);
    let known = outcomes.column_by_name("known").unwrap().clone();
    let known = known
        .as_any()
        .downcast_ref::<arrow_array::BooleanArray>()
        .unwrap();
    let ids = outcomes.column_by_name("prompt_id").unwrap().clone();
    let ids = ids.as_any().downcast_ref::<StringArray>().unwrap();
    let known = (0..outcomes.num_rows()).filter(|&row| known.value(row));
    let known: std::collections::BTreeSet<String> =
        known.map(|row| ids.value(row).to_string()).collect();
    assert!(!known.is_empty() && known.len() < 4, "{known:?}");

    let (printed, rated, rates, _) = run("attributes", "rates.parquet", &[]);
    assert_eq!(rated, known);
    assert_eq!(rates["counts"]["known"], ablated["counts"]["known"]);
    assert_eq!(rates["settings"]["subset"], "known");
    assert_eq!(rates["settings"]["lens"], "final-norm");
    let heading = format!("knows {} of 4 prompts of", known.len());
    assert!(printed.contains(&heading), "{printed}");
    let (_, rated, rates, _) = run("attributes", "rates.parquet", &["--subset", "all"]);
    assert_eq!(rated.len(), 4);
    assert!(rates["counts"]["known"].is_null());
    assert_eq!(rates["counts"]["edited_prompts"], 4);
}
