//! `report --figures` and `report --latex`: the page's plots as files with their numbers, and its tables for a paper.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::super::cli::{fail, file, json as read_json, succeed, warnings};
use super::super::common::goldens;
use super::{rate_effects, run_json, write};

/// The class of the runs here: a neuron file's name, which is markup everywhere.
const CLASS: &str = "a_b & 50% {x} −$";

/// A run of a tiny model: arguments before `--out`.
fn arguments(dir: &TempDir, command: &[&str]) -> Vec<String> {
    let fact = |i: usize| {
        format!(
            "{{\"id\": \"{i}\", \"prompt\": \"Number {i} of all that Rome\", \"subject\": \"Rome\", \"target\": \"is\"}}\n"
        )
    };
    let facts = file(dir, "facts.jsonl", &(0..6).map(fact).collect::<String>());
    let neurons = file(dir, &format!("{CLASS}.txt"), "0.3\n1.17\n1.40\n");
    let model = goldens().join("tiny-llama").to_str().unwrap().to_string();
    let own = [
        "--model",
        &model,
        "--neurons",
        &neurons,
        "--prompts",
        &facts,
        "--subset",
        "all",
    ];
    let words = command.iter().chain(&own).map(|word| word.to_string());
    words.collect()
}

fn run(dir: &TempDir, command: &[&str]) -> String {
    let out = dir.path().join("run").to_str().unwrap().to_string();
    let arguments = arguments(dir, command);
    let mut words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    words.extend(["--out", &out]);
    succeed(&words);
    out
}

/// The names of the figures in a folder: each has all of its files, and nothing else is there.
fn names(folder: &Path) -> BTreeSet<String> {
    let files = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let files: BTreeSet<PathBuf> = files.collect();
    let names: BTreeSet<String> = files
        .iter()
        .map(|path| path.file_stem().unwrap().to_str().unwrap().to_string())
        .collect();
    let expected = names.iter().flat_map(|name| {
        ["svg", "pdf", "csv"].map(|ending| folder.join(format!("{name}.{ending}")))
    });
    assert_eq!(files, expected.collect());
    names
}

/// The rows of a figure's numbers, by their columns.
fn rows(folder: &Path, name: &str) -> Vec<csv::StringRecord> {
    let mut reader = csv::Reader::from_path(folder.join(format!("{name}.csv"))).unwrap();
    let header = reader.headers().unwrap().clone();
    let rows = reader.records().map(|row| row.unwrap());
    [header].into_iter().chain(rows).collect()
}

/// A number of a row, and nothing where there is none.
fn value(rows: &[csv::StringRecord], row: usize, column: &str) -> Option<f64> {
    let text = text(rows, row, column);
    (!text.is_empty()).then(|| text.parse().unwrap())
}

fn text<'r>(rows: &'r [csv::StringRecord], row: usize, column: &str) -> &'r str {
    let place = rows[0].iter().position(|name| name == column);
    &rows[row + 1][place.unwrap_or_else(|| panic!("{column}: {:?}", rows[0]))]
}

/// That it is XML: elements are closed in order, and every `&` and `<` begins something.
fn check_svg(path: &Path) -> String {
    let svg = fs::read_to_string(path).unwrap();
    let (mut open, mut rest) = (Vec::new(), svg.as_str());
    while let Some((text, after)) = rest.split_once('<') {
        for entity in text.split('&').skip(1) {
            let name = entity.split(';').next().unwrap();
            assert!(
                ["amp", "lt", "gt", "quot", "apos"].contains(&name),
                "{entity}"
            );
        }
        let (tag, after) = after.split_once('>').unwrap();
        let name = tag.split([' ', '/']).find(|part| !part.is_empty()).unwrap();
        match (tag.starts_with('/'), tag.ends_with('/')) {
            (true, _) => assert_eq!(open.pop(), Some(name)),
            (false, false) => open.push(name),
            (false, true) => {}
        }
        assert_eq!(tag.matches('"').count() % 2, 0, "{tag}");
        rest = after;
    }
    assert!(open.is_empty() && rest.trim().is_empty());
    assert!(
        svg.starts_with("<svg width=\"240.00pt\"")
            && svg.contains("xmlns=\"http://www.w3.org/2000/svg\""),
        "{svg}"
    );
    for foreign in ["var(", "<style", "<script", "href", "#FEFEFE"] {
        assert!(!svg.contains(foreign), "{foreign}");
    }
    assert_eq!(
        svg.matches("<text").count(),
        svg.matches("font-family=\"sans-serif\"").count()
    );
    svg
}

fn check_pdf(path: &Path) -> String {
    let bytes = fs::read(path).unwrap();
    assert!(bytes.starts_with(b"%PDF-") && bytes.trim_ascii_end().ends_with(b"%%EOF"));
    bytes.iter().map(|byte| char::from(*byte)).collect()
}

#[test]
fn every_plot_of_an_ablation_has_its_files() {
    let dir = TempDir::new().unwrap();
    let out = run(&dir, &["ablate", "--draws", "3"]);
    let folder = Path::new(&out).join("figures");
    let printed = succeed(&["report", &out, "--figures"]);
    succeed(&["report", &out]);
    let page = fs::read_to_string(Path::new(&out).join("report.html")).unwrap();
    let names = names(&folder);
    assert_eq!(names.len(), page.matches("<svg").count());
    assert_eq!(printed.lines().count(), 3 * names.len());
    assert!(
        printed.lines().all(|path| Path::new(path).is_file()),
        "{printed}"
    );
    for name in &names {
        let svg = check_svg(&folder.join(format!("{name}.svg")));
        assert!(!svg.contains(dir.path().to_str().unwrap()), "{svg}");
        for text in [
            "a_b &amp; 50% {x} −$",
            "one draw of as many random neurons",
            "<desc>6 prompts",
        ] {
            assert!(svg.contains(text), "{text}: {svg}");
        }
        let pdf = check_pdf(&folder.join(format!("{name}.pdf")));
        // What is beyond ASCII is written in hex; the minus is 81 there.
        let own: String = "a_b & 50% {x} \u{81}$"
            .chars()
            .map(|c| format!("{:02X}", u32::from(c)))
            .collect();
        let own = format!("<{own}> Tj");
        for text in [&own, "(mean of the draws) Tj", "/MediaBox [0 0 240 "] {
            assert!(pdf.contains(text), "{text}: {pdf}");
        }
    }
    for effect in read_json(&Path::new(&out).join("effects.json"))
        .as_array()
        .unwrap()
    {
        check_effect(&folder, effect);
    }
}

/// The numbers of an effect are those of `effects.json`, to the last bit.
fn check_effect(folder: &Path, effect: &Value) {
    let [metric, subset] = ["metric", "subset"].map(|key| effect[key].as_str().unwrap());
    let rows = rows(folder, &format!("effects-{metric}-{subset}"));
    let arms: Vec<[&str; 3]> = (0..rows.len() - 1)
        .map(|row| ["class", "arm", "draw"].map(|column| text(&rows, row, column)))
        .collect();
    let expected = [
        ["clean", ""],
        ["class", ""],
        ["baseline", ""],
        ["baseline", "0"],
        ["baseline", "1"],
        ["baseline", "2"],
    ];
    assert_eq!(arms, expected.map(|[arm, draw]| [CLASS, arm, draw]));
    let found = |row, column| value(&rows, row, column);
    for (row, arm) in ["clean", "class", "baseline"].into_iter().enumerate() {
        assert_eq!(found(row, "mean"), effect["means"][arm].as_f64(), "{arm}");
    }
    for (draw, mean) in effect["draw_means"].as_array().unwrap().iter().enumerate() {
        assert_eq!(found(3 + draw, "mean"), mean.as_f64());
    }
    assert_eq!(
        found(1, "minus_clean"),
        effect["difference_to_clean"].as_f64()
    );
    for column in ["difference_to_baseline", "p_adjusted"] {
        assert_eq!(found(1, column), effect[column].as_f64(), "{column}");
        assert_eq!(found(2, column), None);
    }
    for interval in ["baseline_ci", "clean_ci"] {
        let ends = ["low", "high"].map(|end| value(&rows, 1, &format!("{interval}_{end}")));
        assert_eq!(
            ends,
            ["low", "high"].map(|end| effect[interval][end].as_f64())
        );
    }
}

#[test]
fn figures_are_files_of_the_run() {
    let dir = TempDir::new().unwrap();
    let out = run(&dir, &["ablate", "--draws", "2"]);
    let [folder, run_json] = ["figures", "run.json"].map(|name| Path::new(&out).join(name));
    let first = succeed(&["report", &out, "--figures"]);
    let listed = fs::read(&run_json).unwrap();
    assert_eq!(succeed(&["report", &out, "--figures"]), first);
    assert_eq!(fs::read(&run_json).unwrap(), listed, "the same again");
    let outputs = read_json(&run_json)["outputs"].clone();
    let figures = outputs.as_array().unwrap().iter();
    let figures = figures.filter(|file| file["name"].as_str().unwrap().starts_with("figures/"));
    assert_eq!(figures.count(), first.lines().count());

    // What somebody drew on stays, and nothing else is written.
    let mine = folder.join("effects-entropy-all.svg");
    let before = fs::read(&mine).unwrap();
    fs::write(&mine, "mine").unwrap();
    let csv = folder.join("effects-entropy-all.csv");
    fs::remove_file(&csv).unwrap();
    let error = fail(&["report", &out, "--figures"]);
    assert!(
        error.contains("effects-entropy-all.svg was changed"),
        "{error}"
    );
    assert_eq!(fs::read_to_string(&mine).unwrap(), "mine");
    assert!(!csv.exists());
    fs::write(&mine, before).unwrap();
    succeed(&["report", &out, "--figures"]);
    assert!(csv.is_file());

    // The figures of a run that is replaced go with it.
    let notes = folder.join("notes.txt");
    fs::write(&notes, "mine").unwrap();
    let arguments = arguments(&dir, &["ablate", "--draws", "3"]);
    let mut words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    words.extend(["--out", &out, "--force"]);
    succeed(&words);
    let left: Vec<_> = fs::read_dir(&folder)
        .unwrap()
        .map(|file| file.unwrap().path())
        .collect();
    assert_eq!(left, std::slice::from_ref(&notes));
    fs::remove_file(notes).unwrap();
    succeed(&["report", &out, "--figures"]);
    succeed(&words);
    assert!(!folder.exists());
}

#[test]
fn elsewhere_nothing_that_is_there_is_written_over() {
    let dir = TempDir::new().unwrap();
    write(dir.path(), "run.json", &run_json("attributes", true));
    write(dir.path(), "effects.json", &rate_effects());
    let [run, paper] =
        ["", "paper/figures"].map(|name| dir.path().join(name).to_str().unwrap().to_string());
    let words = ["report", &run, "--figures", "--out", &paper];
    let printed = succeed(&words);
    let folder = Path::new(&paper);
    let expected = [
        "attribute_rate-by-layer-conditional-enrichment",
        "attribute_rate-by-layer-enrichment",
        "effects-attribute_rate-all",
    ];
    assert_eq!(names(folder), expected.map(str::to_string).into());
    assert!(!dir.path().join("figures").exists());
    assert_eq!(succeed(&words), printed, "the same again");
    let svg = check_svg(&folder.join("attribute_rate-by-layer-enrichment.svg"));
    assert!(
        svg.contains("<title>Attribute rate by layer: enrichment edited</title>"),
        "{svg}"
    );

    let rows = rows(folder, "attribute_rate-by-layer-enrichment");
    for (i, effect) in rate_effects().as_array().unwrap()[1..5].iter().enumerate() {
        for (arm, name) in ["clean", "class", "baseline"].into_iter().enumerate() {
            let row = 3 * i + arm;
            assert_eq!(
                (text(&rows, row, "arm"), text(&rows, row, "layer")),
                (name, i.to_string().as_str())
            );
            assert_eq!(value(&rows, row, "mean"), effect["means"][name].as_f64());
            assert_eq!(value(&rows, row, "low").is_some(), name == "baseline");
        }
    }

    let svg = folder.join("effects-attribute_rate-all.svg");
    fs::write(&svg, "mine").unwrap();
    let error = fail(&words);
    assert!(
        error.contains("effects-attribute_rate-all.svg is there already"),
        "{error}"
    );
    assert_eq!(fs::read_to_string(svg).unwrap(), "mine");
}

#[test]
fn a_control_says_so_in_its_figures() {
    let dir = TempDir::new().unwrap();
    let mut run = run_json("attributes", true);
    run["control"] = json!("a model with shuffled weights");
    write(dir.path(), "run.json", &run);
    write(dir.path(), "effects.json", &rate_effects());
    let path = dir.path().to_str().unwrap();
    succeed(&["report", path, "--figures"]);
    let folder = dir.path().join("figures");
    let svg = check_svg(&folder.join("effects-attribute_rate-all.svg"));
    for text in [
        "\ncontrol: Attribute rate\n",
        "no result about the model: a model with shuffled",
    ] {
        assert!(svg.contains(text), "{text}: {svg}");
    }
    let latex = succeed(&["report", path, "--latex"]);
    assert!(
        latex.contains("% a control, no result about the model: a model with"),
        "{latex}"
    );
}

#[test]
fn a_heat_map_has_a_row_for_every_cell() {
    let dir = TempDir::new().unwrap();
    let out = run(&dir, &["sweep", "--draws", "2"]);
    succeed(&["report", &out, "--figures"]);
    let folder = Path::new(&out).join("figures");
    assert_eq!(names(&folder), ["heat_map".to_string()].into());
    let pdf = check_pdf(&folder.join("heat_map.pdf"));
    assert!(
        pdf.contains("(class minus random neurons) Tj") && pdf.contains("Helvetica-Bold"),
        "{pdf}"
    );
    let rows = rows(&folder, "heat_map");
    let effects = read_json(&Path::new(&out).join("effects.json"));
    let effects = effects
        .as_array()
        .unwrap()
        .iter()
        .filter(|effect| effect["metric"] == "target_logprob");
    let effects: Vec<&Value> = effects.collect();
    let cells = (0..rows.len() - 1).filter(|row| text(&rows, *row, "neurons") != "0");
    let cells: Vec<usize> = cells.collect();
    assert_eq!((cells.len(), effects.len()), (2, 2));
    for (row, effect) in cells.into_iter().zip(effects) {
        assert_eq!(text(&rows, row, "class"), CLASS);
        assert_eq!(
            value(&rows, row, "first_layer"),
            effect["layers"][0].as_f64()
        );
        for column in [
            "difference_to_clean",
            "difference_to_baseline",
            "permutation_p",
            "p_adjusted",
        ] {
            assert_eq!(
                value(&rows, row, column),
                effect[column].as_f64(),
                "{column}"
            );
        }
        let ends = ["clean_ci_low", "clean_ci_high"].map(|column| value(&rows, row, column));
        assert_eq!(
            ends,
            ["low", "high"].map(|end| effect["clean_ci"][end].as_f64())
        );
    }
}

#[test]
fn a_table_for_latex_has_the_numbers_of_the_run() {
    let dir = TempDir::new().unwrap();
    let out = run(&dir, &["ablate", "--draws", "3"]);
    let latex = succeed(&["report", &out, "--latex"]);
    let head = format!("% gatelens {} on ", env!("CARGO_PKG_VERSION"));
    assert!(
        latex.starts_with(&head) && latex.contains("tiny-llama: gatelens ablate --draws 3"),
        "{latex}"
    );
    for line in [
        "% needs \\usepackage{booktabs}",
        "\\begin{table*}",
        "\\centering\\footnotesize\\setlength{\\tabcolsep}{4pt}",
    ] {
        assert!(latex.lines().any(|found| found == line), "{line}: {latex}");
    }
    let caption = latex
        .lines()
        .find(|line| line.starts_with("\\caption{All effects. "));
    assert!(
        caption.is_some_and(|line| line.ends_with("6 prompts; 3 draws of each class.}")),
        "{latex}"
    );
    assert!(latex.contains("facts.jsonl\n% needs"), "{latex}");
    assert_eq!(
        latex.matches("\\begin{tabular}").count(),
        latex.matches("\\end{tabular}").count()
    );
    let rows: Vec<Vec<&str>> = latex
        .lines()
        .filter(|line| line.starts_with("a\\_b \\& 50\\% \\{x\\} $-$\\$ & "))
        .map(|line| line.trim_end_matches(" \\\\").split(" & ").collect())
        .collect();
    let effects = read_json(&Path::new(&out).join("effects.json"));
    let effects = effects.as_array().unwrap();
    assert_eq!(rows.len(), effects.len(), "{latex}");
    for (row, effect) in rows.iter().zip(effects) {
        let shown = |cell: &str, exact: &Value| {
            let number: String = cell.chars().filter(|c| !"$+".contains(*c)).collect();
            let (number, exact): (f64, f64) = (number.parse().unwrap(), exact.as_f64().unwrap());
            assert!(
                (number - exact).abs() <= 0.0005 + 0.01 * exact.abs(),
                "{cell}: {exact}"
            );
            assert_eq!(cell.starts_with("$-"), number < 0.0, "{cell}");
        };
        assert_eq!(row[1], "3");
        for (cell, arm) in row[2..5].iter().zip(["clean", "class", "baseline"]) {
            shown(cell, &effect["means"][arm]);
        }
        let (difference, interval) = row[5].split_once(" [").unwrap_or((row[5], ""));
        shown(difference, &effect["difference_to_baseline"]);
        match interval.trim_end_matches(']').split_once(", ") {
            None => assert!(effect["baseline_ci"].is_null(), "{row:?}"),
            Some((low, high)) => {
                shown(low, &effect["baseline_ci"]["low"]);
                shown(high, &effect["baseline_ci"]["high"]);
            }
        }
        assert_eq!(row.len(), 8, "without what paper has no room for: {row:?}");
    }
}

#[test]
fn what_cannot_be_made_is_an_error_that_says_why() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().to_str().unwrap();
    assert!(fail(&["report", path, "--figures"]).contains("no run.json"));
    write(dir.path(), "plan.json", &run_json("ablate", false));
    for flag in ["--figures", "--latex"] {
        let error = fail(&["report", path, flag]);
        assert!(
            error.contains("is not finished")
                && error.contains("gatelens ablate --out runs/1 --resume"),
            "{error}"
        );
    }
    fs::remove_file(dir.path().join("plan.json")).unwrap();
    write(dir.path(), "run.json", &run_json("attributes", true));
    for (flag, what) in [("--figures", "no figure"), ("--latex", "no table")] {
        let error = fail(&["report", path, flag]);
        assert!(
            error.contains(what) && error.contains("no effects.json"),
            "{error}"
        );
    }
    write(dir.path(), "run.json", &run_json("verify", true));
    write(
        dir.path(),
        "claims.json",
        &json!({"claims": [{
            "id": "rare-depletion", "claim": "depletion is rare", "quantity": "share_of_all", "direction": "lower",
            "compared_with": "1 %", "estimate": -0.25, "ci_low": null, "ci_high": null, "p": null, "p_adjusted": null,
            "draws": 0, "n": 46080, "published": "0.13 to 0.36 %", "verdict": "supported", "why": "it is", "room": "",
        }]}),
    );
    let error = fail(&["report", path, "--figures"]);
    assert!(
        error.contains("what `verify` finds is shown in tables alone"),
        "{error}"
    );
    assert!(!dir.path().join("figures").exists());
    let latex = succeed(&["report", path, "--latex"]);
    assert!(
        latex.contains(
            "$\\surd$ supported & share\\_of\\_all & lower; compared with 1 \\% & $-0.250$ &"
        ),
        "{latex}"
    );
    let error = fail(&["report", path, "--figures", "--latex"]);
    assert!(error.contains("cannot be used with"), "{error}");
    assert!(fail(&["report", path, "--latex", "--out", "x"]).contains("cannot be used with"));
}

#[test]
fn what_of_a_run_has_no_plot_is_said() {
    let dir = TempDir::new().unwrap();
    let model = goldens().join("tiny-llama").to_str().unwrap().to_string();
    let out = dir.path().join("run").to_str().unwrap().to_string();
    succeed(&["classify", "--model", &model, "--out", &out]);
    let folder = Path::new(&out).join("figures");
    succeed(&["report", &out, "--figures"]);
    let all = names(&folder);
    assert!(
        all.contains("classes-by-layer") && all.contains("cosines-layer-0"),
        "{all:?}"
    );
    fs::remove_file(Path::new(&out).join("neurons.parquet")).unwrap();
    let said = warnings(&["report", &out, "--figures"]);
    assert!(
        said.contains("warning: ") && said.contains("no neurons.parquet"),
        "{said}"
    );
    let classes = read_json(&Path::new(&out).join("classes.json"));
    let rows = rows(&folder, "median-cosine-by-layer");
    for (row, median) in classes["median_cos_in_out"]
        .as_array()
        .unwrap()
        .iter()
        .enumerate()
    {
        assert_eq!(value(&rows, row, "median_cos_in_out"), median.as_f64());
    }
}
