//! The published table of the model at hand: by which name it is found, and what the comparison says.

use std::cmp::Ordering;
use std::fs;
use std::path::Path;

use anyhow::Context;
use serde_json::Value;

use super::table::{Columns, count, table_of};
use crate::hub::gguf::{GgufFile, name_of_whole};
use crate::hub::{LocatedModel, ModelFiles};
use crate::io_class::{
    COUNT_TOLERANCE, Class, Comparison, Difference, MEDIAN_TOLERANCE, ModelName, NeuronTable,
    PUBLISHED_THRESHOLD, PublishedTables, Verdict,
};
use crate::model::Checkpoint;

/// The paper, as a line of text names it.
pub(super) const PAPER: &str = "arXiv 2505.17936";

/// What is said of the published table, if the model has one.
pub struct PublishedReport {
    /// For `classes.json`; absent where the table is for another fold or threshold.
    pub comparison: Option<Comparison>,
    /// For a person.
    pub text: String,
}

impl PublishedReport {
    /// Finds the model's published table and compares; `None` where there is none.
    pub fn new(
        located: &LocatedModel,
        checkpoint: &Checkpoint,
        table: &NeuronTable,
    ) -> anyhow::Result<Option<Self>> {
        let tables = PublishedTables::bundled()?;
        let config = checkpoint.config();
        if !tables.has_shape(config.n_layers(), config.d_mlp) {
            return Ok(None); // the names need not be read
        }
        let names = names(located)?;
        let Some(published) = tables.find(&names, config.n_layers(), config.d_mlp) else {
            return Ok(None);
        };
        let comparison = published.compare(table);
        let text = match &comparison {
            Some(comparison) => {
                comparison_text(comparison, published.name, &quantized_types(checkpoint))
            }
            None => format!(
                "The published table of {} ({PAPER}) is for fold pre and threshold {PUBLISHED_THRESHOLD}: not compared.",
                published.model
            ),
        };
        Ok(Some(Self { comparison, text }))
    }
}

/// Types of stored weights that lose precision.
fn quantized_types(checkpoint: &Checkpoint) -> String {
    let types = checkpoint.stored_types().into_iter().map(|(name, _)| name);
    let quantized = types.filter(|name| !["F64", "F32", "F16", "BF16"].contains(&name.as_str()));
    quantized.collect::<Vec<String>>().join(", ")
}

/// Every name that the model goes by, the most certain first. What a repository's config.json says of its origin is
/// left out: a fine-tuned model often names the model that it came from.
pub(super) fn names(located: &LocatedModel) -> anyhow::Result<Vec<ModelName>> {
    let names = match (&located.files, &located.revision) {
        (ModelFiles::Folder { .. }, Some(_)) => vec![Some(ModelName::HubId(located.name.clone()))],
        (ModelFiles::Folder { dir, config, .. }, None) => {
            let folder = dir.canonicalize();
            let folder = folder.context(format!("cannot read {}", dir.display()))?;
            vec![
                last_part(&folder).map(ModelName::Folder),
                config_name(config)?.map(ModelName::Config),
            ]
        }
        (ModelFiles::Gguf(parts), _) => {
            let first = parts.first().context("a GGUF model of no files")?;
            let header = GgufFile::open(first)?;
            let file = last_part(&header.path).map(|name| name_of_whole(&name).to_string());
            let stored = header.metadata.get("general.name");
            let stored = stored.and_then(|name| name.text()).map(str::to_string);
            vec![file.map(ModelName::File), stored.map(ModelName::Gguf)]
        }
    };
    Ok(names.into_iter().flatten().collect())
}

fn last_part(path: &Path) -> Option<String> {
    Some(path.file_name()?.to_string_lossy().into_owned())
}

fn config_name(path: &Path) -> anyhow::Result<Option<String>> {
    let cannot = || format!("cannot read {}", path.display());
    let text = fs::read(path).with_context(cannot)?;
    let config: Value = serde_json::from_slice(&text).with_context(cannot)?;
    Ok(config["_name_or_path"].as_str().map(str::to_string))
}

fn comparison_text(comparison: &Comparison, name: &ModelName, quantized: &str) -> String {
    let Comparison {
        model, matched_by, ..
    } = comparison;
    let of = format!("the published table of {model} ({PAPER}; found by the {matched_by})");
    match comparison.verdict {
        Verdict::Agrees => format!(
            "Agrees with {of}:\nno count of a class in a layer differs by more than {} (tolerance {COUNT_TOLERANCE}), \
             no median by more than {:.4} (tolerance {MEDIAN_TOLERANCE}).",
            comparison.largest_count(),
            comparison.largest_median.size(),
        ),
        Verdict::Differs => format!(
            "Differs from {of}:\n{} of {} counts by more than {COUNT_TOLERANCE}, {} of {} medians by more than \
             {MEDIAN_TOLERANCE} (they were read from plots). Largest by class:\n\n{}\n{}",
            comparison.counts_beyond_tolerance,
            comparison.counts,
            comparison.medians_beyond_tolerance,
            comparison.medians,
            worst_cells(comparison),
            reason(name, quantized),
        ),
    }
}

fn worst_cells(comparison: &Comparison) -> String {
    let classes = comparison.largest_by_class.iter();
    let classes = classes
        .filter(|(_, d)| d.size() > 0)
        .map(|(class, d)| count_cells(*class, d));
    let rows: Vec<_> = classes
        .chain([median_cells(&comparison.largest_median)])
        .collect();
    cells_table(["", "layer", "published", "here", "difference"], &rows)
}

/// A class, the layer of its largest difference, both counts, and the difference.
pub(super) fn count_cells(class: Class, d: &Difference<usize>) -> [String; 5] {
    let sign = match d.found.cmp(&d.published) {
        Ordering::Less => "-",
        Ordering::Equal => "",
        Ordering::Greater => "+",
    };
    let difference = format!("{sign}{}", count(d.size()));
    let [published, found] = [d.published, d.found].map(count);
    [
        class.to_string(),
        d.layer.to_string(),
        published,
        found,
        difference,
    ]
}

/// The same of the medians.
pub(super) fn median_cells(d: &Difference<f32>) -> [String; 5] {
    let numbers = [d.published, d.found, d.found - d.published];
    let [published, found, difference] = numbers.map(|number| format!("{number:+.4}"));
    let name = "median cos(in,out)".to_string();
    [name, d.layer.to_string(), published, found, difference]
}

/// A table of a column of words and others of numbers.
pub(super) fn cells_table<const N: usize>(headers: [&str; N], rows: &[[String; N]]) -> String {
    let mut columns = Columns::new().words(headers[0], |cells: &[String; N]| cells[0].clone());
    for (number, header) in headers.into_iter().enumerate().skip(1) {
        columns = columns.number(header, move |cells| cells[number].clone());
    }
    table_of(&columns, rows)
}

/// Why the model may differ; nothing where there is no reason.
fn reason(name: &ModelName, quantized: &str) -> String {
    let weights = format!(
        "These weights are quantized ({quantized}), so differences are expected; compare the original checkpoint."
    );
    let origin = match name {
        ModelName::HubId(id) if id.contains('@') => {
            "The table is of the main revision; another one may differ."
        }
        ModelName::HubId(_) => "",
        _ => "A fine-tuned model that kept the name of its origin would differ as well.",
    };
    let weights = if quantized.is_empty() { "" } else { &weights };
    match format!("{weights} {origin}").trim() {
        "" => String::new(),
        reason => format!("\n{reason}"),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn comparison(verdict: Verdict, found: usize) -> Comparison {
        let cell = |layer, published, found| Difference {
            layer,
            published,
            found,
        };
        Comparison {
            model: "org/base".to_string(),
            matched_by: "folder name base".to_string(),
            source: "a paper".to_string(),
            count_tolerance: COUNT_TOLERANCE,
            median_tolerance: MEDIAN_TOLERANCE,
            verdict,
            counts: 176,
            counts_beyond_tolerance: 1,
            largest_by_class: BTreeMap::from([
                (Class::Enrichment, cell(0, 4, 4)),
                (Class::Depletion, cell(15, 1100, found)),
            ]),
            medians: 16,
            medians_beyond_tolerance: 0,
            largest_median: Difference {
                layer: 3,
                published: 0.25,
                found: 0.2492,
            },
        }
    }

    fn text(comparison: &Comparison, name: fn(String) -> ModelName, quantized: &str) -> String {
        comparison_text(comparison, &name("base".to_string()), quantized)
    }

    #[test]
    fn agreement_is_said_with_its_size() {
        let agrees = comparison(Verdict::Agrees, 1101);
        let text = text(&agrees, ModelName::Folder, "");
        assert!(
            text.starts_with("Agrees with the published table of org/base"),
            "{text}"
        );
        for part in [
            "found by the folder name base",
            "more than 1 (tolerance 2)",
            "0.0008",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }

    #[test]
    fn differences_are_said_with_their_places_and_a_reason() {
        let differs = comparison(Verdict::Differs, 1080);
        let quantized = text(&differs, ModelName::File, "Q4K, Q6K");
        assert!(quantized.starts_with("Differs from the published table of org/base"));
        let words = quantized.split_whitespace().collect::<Vec<_>>().join(" ");
        for part in [
            "1 of 176 counts by more than 2",
            "depletion 15 1,100 1,080 -20",
            "median cos(in,out) 3 +0.2500 +0.2492 -0.0008",
            "quantized (Q4K, Q6K)",
            "fine-tuned",
        ] {
            assert!(words.contains(part), "{part}: {words}");
        }
        assert!(
            !words.contains("enrichment"),
            "classes without a difference are left out"
        );
        let original = text(&differs, ModelName::HubId, "");
        assert!(!original.contains("quantized") && !original.contains("fine-tuned"));
        let revision = |_| ModelName::HubId("org/base@step1000".to_string());
        let revision = text(&differs, revision, "");
        assert!(revision.contains("main revision"), "{revision}");
    }
}
