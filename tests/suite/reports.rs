//! `report`: a page for every kind of run folder, opened in a browser.

mod browser;
mod figures;

use std::fs;
use std::path::{Path, PathBuf};

use arrow_array::{Array, Float64Array, StringArray, UInt32Array};
use gatelens::report::report_html;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::cli::{FACTS, columns, fail, file, json as read_json, succeed};
use super::common::goldens;
use browser::{Browser, Scheme, View};

/// A phone.
const PHONE: u32 = 400;

/// Makes a folder by a command, and its page.
fn folder(dir: &TempDir, name: &str, args: &[&str]) -> PathBuf {
    let out = dir.path().join(name);
    succeed(&[args, &["--out", out.to_str().unwrap()]].concat());
    out
}

/// A tiny model with neurons of its layers in a file with a name that is HTML.
fn tiny(dir: &TempDir) -> [String; 4] {
    let neurons = file(dir, "<b>mine<b>.txt", "0.3\n1.17\n1.40\n2.8\n3.61\n");
    let model = goldens().join("tiny-llama").to_str().unwrap().to_string();
    [
        "--model".to_string(),
        model,
        "--neurons".to_string(),
        neurons,
    ]
}

/// The page of a folder: the command writes the same bytes as the library, which are the same anywhere, and they show
/// well on a phone in both schemes.
fn check(out: &Path, svgs: usize) -> String {
    let printed = succeed(&["report", out.to_str().unwrap()]);
    let path = out.join("report.html");
    assert_eq!(printed.trim_end(), path.to_str().unwrap());
    let page = fs::read_to_string(&path).unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(out).unwrap() {
        let from = entry.unwrap().path();
        fs::copy(&from, elsewhere.path().join(from.file_name().unwrap())).unwrap();
    }
    let again = report_html(elsewhere.path()).unwrap();
    assert_eq!(
        String::from_utf8(again).unwrap(),
        page,
        "the place does not count"
    );
    let left = fs::read_dir(out)
        .unwrap()
        .map(|entry| entry.unwrap().file_name());
    assert!(
        left.into_iter()
            .all(|name| !name.to_string_lossy().starts_with('.'))
    );
    let Some(browser) = Browser::find() else {
        return page;
    };
    for scheme in [Scheme::Light, Scheme::Dark] {
        for width in [PHONE, 800, 1200] {
            let view = browser.open(&page, width, scheme);
            let expected = View {
                width,
                dark: scheme == Scheme::Dark,
                svgs,
                ..View::default()
            };
            assert_eq!(view, expected, "{}", out.display());
        }
    }
    page
}

#[test]
fn the_browser_finds_what_it_is_asked_to_find() {
    let Some(browser) = Browser::find() else {
        return;
    };
    let page = "<!doctype html><html><head><style>@media (prefers-color-scheme:dark){body{background:#000}}</style></head>\
        <body><div style='width:90px'><p style='white-space:nowrap'>far too wide for so little room</p></div>\
        <svg width='0' height='9'></svg><svg width='20' height='20'><text x='10' y='10'>clipped</text></svg>\
        <script>nothing()</script></body></html>";
    let view = browser.open(page, PHONE, Scheme::Dark);
    assert!(view.dark && view.width == PHONE, "{view:?}");
    assert_eq!((view.svgs, view.empty), (2, 1));
    assert_eq!(view.clipped, ["clipped"]);
    assert!(
        view.wide.iter().any(|wide| wide.starts_with("P ")),
        "{view:?}"
    );
    assert!(
        view.console[0].contains("nothing is not defined"),
        "{view:?}"
    );
    assert_eq!(view.foreign, 1, "the script");
}

#[test]
fn classify() {
    let dir = tempfile::tempdir().unwrap();
    let out = folder(&dir, "run", &["classify", "--chance", "beta"]);
    let page = check(&out, 2 + 6);
    let classes = read_json(&out.join("classes.json"));
    let depletion = classes["totals"]["depletion"].as_u64().unwrap();
    assert!(
        page.contains(&format!("depletion: {depletion} (0.23\u{a0}%)")),
        "in the legend"
    );
    assert!(
        page.contains("no published comparison"),
        "said, not left out"
    );
    fs::remove_file(out.join("neurons.parquet")).unwrap();
    fs::remove_file(out.join("report.html")).unwrap();
    assert!(check(&out, 2).contains("The folder has no neurons.parquet"));
}

/// The mean of `target_logprob` of each draw of a class in `outcomes.parquet`.
fn draw_means(out: &Path, class: &str, draws: u32) -> Vec<f64> {
    let (_, rows) = columns(&out.join("outcomes.parquet"));
    let text = |name: &str| {
        rows.column_by_name(name)
            .unwrap()
            .as_any()
            .downcast_ref::<StringArray>()
            .unwrap()
    };
    let (classes, arms) = (text("class"), text("arm"));
    let draw: &UInt32Array = rows
        .column_by_name("draw")
        .unwrap()
        .as_any()
        .downcast_ref()
        .unwrap();
    let logprob: &Float64Array = rows
        .column_by_name("target_logprob")
        .unwrap()
        .as_any()
        .downcast_ref()
        .unwrap();
    let mean = |wanted: u32| {
        let is_of = |i: &usize| {
            classes.value(*i) == class && arms.value(*i) == "baseline" && draw.value(*i) == wanted
        };
        let values: Vec<f64> = (0..rows.num_rows())
            .filter(is_of)
            .map(|i| logprob.value(i))
            .collect();
        values.iter().sum::<f64>() / values.len() as f64
    };
    (0..draws).map(mean).collect()
}

#[test]
fn ablate() {
    let dir = tempfile::tempdir().unwrap();
    let facts = FACTS.replace("\"fr\"", "\"<script>alert(1)</script>\"");
    let facts = file(&dir, "facts.jsonl", &facts);
    let args = [
        "ablate",
        "--prompts",
        &facts,
        "--classes",
        "conditional-enrichment,depletion",
        "--draws",
        "2",
    ];
    let out = folder(&dir, "run", &args);
    let page = check(&out, 6);
    let effects = read_json(&out.join("effects.json"));
    let effect = &effects[0];
    assert_eq!(
        (&effect["class"], &effect["metric"]),
        (&json!("conditional-enrichment"), &json!("target_logprob"))
    );
    let found: Vec<f64> = serde_json::from_value(effect["draw_means"].clone()).unwrap();
    let expected = draw_means(&out, "conditional-enrichment", 2);
    for (found, expected) in found.iter().zip(&expected) {
        assert!((found - expected).abs() < 1e-12, "{found} {expected}");
    }
    assert_eq!(found.len(), expected.len());
    for number in [&effect["means"]["class"], &effect["means"]["baseline"]] {
        let number = format!("{:.3}", number.as_f64().unwrap()).replace('-', "−");
        assert!(page.contains(&format!("<span>{number}</span>")), "{number}");
    }
    assert!(
        page.contains("&lt;script&gt;alert(1)&lt;/script&gt;"),
        "a prompt's id"
    );
    assert!(
        page.contains(&format!("gatelens ablate --prompts {facts} --classes")),
        "again"
    );
}

#[test]
fn ablate_text() {
    let dir = tempfile::tempdir().unwrap();
    let texts = file(
        &dir,
        "texts.jsonl",
        &"{\"text\": \"A line of a text that says little.\"}\n".repeat(3),
    );
    let tiny = tiny(&dir);
    let tiny: Vec<&str> = tiny.iter().map(String::as_str).collect();
    let out = folder(
        &dir,
        "run",
        &[&["ablate", "--text", &texts, "--draws", "3"], &tiny[..]].concat(),
    );
    let page = check(&out, 4);
    assert!(
        page.contains("Effects on text") && page.contains("3 documents"),
        "{page}"
    );
    assert!(
        page.contains("&lt;b&gt;mine&lt;b&gt;"),
        "the class is the file's name"
    );
}

#[test]
fn sweep_with_and_without_draws() {
    let dir = tempfile::tempdir().unwrap();
    let facts = file(&dir, "facts.jsonl", FACTS);
    let args = [
        "sweep",
        "--prompts",
        &facts,
        "--classes",
        "enrichment,depletion",
        "--layers",
        "4..8",
        "--draws",
    ];
    let out = folder(&dir, "run", &[&args[..], &["2"]].concat());
    let page = check(&out, 1);
    assert!(
        page.contains("random neurons edited") && page.contains("4 more without neurons"),
        "{page}"
    );
    let own = fs::read_to_string(out.join("heat_map.svg")).unwrap();
    let cells = |svg: &str| svg.matches("height=\"16\"").count();
    assert_eq!(
        cells(&page),
        cells(&own),
        "as many cells as in the folder's picture"
    );
    let out = folder(&dir, "clean", &[&args[..], &["0"]].concat());
    assert!(!check(&out, 1).contains("random neurons edited"));
}

#[test]
fn record() {
    let dir = tempfile::tempdir().unwrap();
    let args = [
        "record",
        "--text",
        "neutral",
        "--max-tokens",
        "200",
        "--draws",
        "2",
        "--layers",
        "20..26",
    ];
    let out = folder(&dir, "run", &args);
    let view = read_json(&out.join("class_activity.json"));
    let mut classes: Vec<&str> = view
        .as_array()
        .unwrap()
        .iter()
        .map(|a| a["class"].as_str().unwrap())
        .collect();
    classes.dedup();
    let page = check(&out, classes.len());
    assert!(page.contains("200 tokens of "), "{page}");
}

/// `run.json` of a folder made by hand.
pub fn run_json(command: &str, finished: bool) -> Value {
    json!({
        "command": command, "arguments": [command, "--out", "runs/1", "--force"], "settings": {"threshold": 0.5},
        "version": "0.1.0", "model": {"id": "tiny", "family": "llama", "files": []}, "dtype": "f32", "device": "cpu",
        "fold": "pre", "bos": "auto: none is prepended", "seed": 0, "finished": finished, "counts": {}, "wall_s": 1.5,
    })
}

pub fn write(out: &Path, name: &str, value: &Value) {
    fs::write(out.join(name), serde_json::to_vec(value).unwrap()).unwrap();
}

/// `effects.json` of `attributes`: two classes of three draws in four layers, and the mean over these.
pub fn rate_effects() -> Value {
    let entry = |class: &str, layer: Option<u32>| {
        let clean = 0.125 * f64::from(layer.unwrap_or(1) + 1);
        let draws = [0.0, 0.03125, 0.0625].map(|less| clean - less);
        json!({
            "layer": layer, "layers": layer.map_or([0, 3], |layer| [layer; 2]), "left_out": 1, "class": class,
            "mode": "zero", "metric": "attribute_rate", "subset": "all", "prompts": 2, "neurons": 5,
            "baseline_neurons": 5, "draws": 3, "draw_means": draws, "difference_to_clean": -clean / 2.0,
            "means": {"clean": clean, "class": clean / 2.0, "baseline": draws[1]},
            "clean_ci": {"low": -clean, "high": -clean / 4.0}, "difference_to_baseline": clean / 2.0 - draws[1],
            "baseline_ci": null, "p": null, "p_adjusted": null, "permutation_p": 0.25, "permutation_floor": 0.25,
        })
    };
    let layers = || [None, Some(0), Some(1), Some(2), Some(3)].into_iter();
    let classes = ["enrichment", "conditional-enrichment"].into_iter();
    classes
        .flat_map(|class| layers().map(move |layer| entry(class, layer)))
        .collect()
}

#[test]
fn attributes() {
    let dir = tempfile::tempdir().unwrap();
    let mut run = run_json("attributes", true);
    run["counts"] = json!({"rates": 108, "absent_rates": 8});
    write(dir.path(), "run.json", &run);
    assert!(
        check(dir.path(), 0).contains("no effects.json"),
        "said, not left out"
    );
    write(dir.path(), "effects.json", &rate_effects());
    let page = check(dir.path(), 2 + 1);
    // In layer 3: clean .5, off half of it, draws less by the mean of 0, 1/32 and 2/32.
    for text in [
        "conditional-enrichment edited",
        "<span>0.500</span>",
        "<span>0.469</span>",
        "<span>−0.219</span>",
        "The rate is the mean over layers 0 to 3.",
        "2 prompts; 3 draws",
        "8 of 108 rates are absent",
    ] {
        assert!(page.contains(text), "{text}: {page}");
    }
}

#[test]
fn rank() {
    let dir = tempfile::tempdir().unwrap();
    let prompts = file(&dir, "facts.jsonl", FACTS);
    let class = ["rank", "--class", "depletion", "--same-prompts"];
    let sizes = ["--top", "3", "--draws", "2", "--prompts", &prompts];
    let out = folder(&dir, "rank", &[class.as_slice(), &sizes].concat());
    let page = check(&out, 1);
    assert!(page.contains("104 neurons; 2 random orders."), "{page}");
    assert!(
        page.contains("3 neurons ablated alone, the first 3 shown"),
        "{page}"
    );
    assert!(
        page.contains("measured on the same prompts"),
        "said where it holds"
    );
    fs::remove_file(out.join("curve.json")).unwrap();
    let page = check(&out, 0);
    assert!(page.contains("no curve.json"), "said, not left out");
}

#[test]
fn verify() {
    let dir = tempfile::tempdir().unwrap();
    let claim = |id: &str, verdict: &str| {
        json!({
            "id": id, "claim": "Depletion neurons are rare, and most lie in the second half of the layers",
            "quantity": "P(gate > 0) of depletion", "direction": "higher", "compared_with": "layer-matched draws",
            "estimate": 0.2603, "ci_low": 0.2411, "ci_high": 0.2804, "p": 0.0001, "p_adjusted": 0.0012, "draws": 20,
            "n": 14940, "published": "depletion .72/.38 (OLMo-7B), .58/.28 (Llama-3.1-8B), .54/.28 (Llama-3.2-3B)",
            "verdict": verdict, "why": "The interval lies above 0.",
        })
    };
    let mut untested = claim("specific-recall", "not testable");
    for field in ["estimate", "ci_low", "ci_high", "p", "p_adjusted"] {
        untested[field] = Value::Null;
    }
    untested["draws"] = json!(0);
    untested["n"] = json!(0);
    untested["why"] = json!("The model knows none of the prompts.");
    let claims = json!({"claims": [
        claim("frequency-depletion", "supported"),
        claim("rare-depletion", "contradicted"),
        claim("rare-depletion", "not distinguishable"),
        untested,
    ]});
    write(dir.path(), "run.json", &run_json("verify", true));
    write(dir.path(), "claims.json", &claims);
    let page = check(dir.path(), 0);
    assert!(
        page.contains("4 tests in 3 claims, up to 20 draws: ✓ 1 supported, ✗ 1 contradicted, ○ 1 not distinguishable, – 1 not testable, · 0 described."),
        "{page}"
    );
    assert_eq!(
        page.matches("scope=\"rowgroup\"").count(),
        3,
        "grouped by id"
    );
    assert!(page.contains("0.260 [0.241, 0.280]"), "{page}");
}

#[test]
fn an_unfinished_run_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let [path, page] = ["", "page.html"].map(|name| dir.path().join(name));
    let [path, page] = [&path, &page].map(|path| path.to_str().unwrap());
    write(dir.path(), "plan.json", &run_json("ablate", false));
    // In the folder it would be in the way of --resume.
    let error = fail(&["report", path]);
    assert!(
        error.contains("not finished") && error.contains("--out FILE"),
        "{error}"
    );
    assert!(!dir.path().join("report.html").exists());
    succeed(&["report", path, "--out", page]);
    let page = fs::read_to_string(page).unwrap();
    for text in [
        "This run is not finished.",
        "gatelens ablate --out runs/1 --resume",
        "no effects.json",
    ] {
        assert!(page.contains(text), "{text}: {page}");
    }
}

#[test]
fn what_is_no_run_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_str().unwrap();
    let error = fail(&["report", path]);
    assert!(
        error.contains("no run.json") && error.contains("--out"),
        "{error}"
    );
    assert!(fail(&["report", &format!("{path}/nowhere")]).contains("no run.json"));
    write(dir.path(), "run.json", &run_json("verify", true));
    fs::write(dir.path().join("claims.json"), "{\"claims\": [{}]}").unwrap();
    let error = fail(&["report", path]);
    assert!(
        error.contains("claims.json") && error.contains("missing field"),
        "{error}"
    );
    assert!(!dir.path().join("report.html").exists());
    fs::remove_file(dir.path().join("claims.json")).unwrap();
    let error = fail(&[
        "report",
        path,
        "--out",
        &format!("{path}/run.json/page.html"),
    ]);
    assert!(error.contains("cannot write"), "{error}");
    // Folders that are missing are made, as by other commands.
    let other = format!("{path}/none/at-all/page.html");
    assert_eq!(
        succeed(&["report", path, "--out", &other]).trim_end(),
        other
    );
    assert!(
        fs::read_to_string(other)
            .unwrap()
            .contains("no claims.json")
    );
}
