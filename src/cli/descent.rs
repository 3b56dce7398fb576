//! The published model that the one at hand descends from: what says so, and how the two compare.

use anyhow::ensure;

use super::args::ClassArgs;
use super::published::{PAPER, cells_table, count_cells, median_cells, names};
use super::table::ABSENT;
use crate::hub::{ALIASES, LocatedModel};
use crate::io_class::{Course, Descent, Fold, NeuronTable, PUBLISHED_THRESHOLD, PublishedTables};
use crate::model::Config;

/// A model's parent.
pub struct Parent {
    tables: PublishedTables,
    /// Its Hugging Face id; it need not be one of the published.
    id: String,
    /// What says so.
    told_by: String,
}

impl Parent {
    /// The parent by `--compare`, else by the alias, else by the model's own names; reads no weights.
    pub fn find(
        asked: Option<&str>,
        class: &ClassArgs,
        located: &LocatedModel,
        config: &Config,
    ) -> anyhow::Result<Option<Self>> {
        let tables = PublishedTables::bundled()?;
        let (layers, d_mlp) = (config.n_layers(), config.d_mlp);
        let alias = ALIASES.iter().find(|alias| alias.name == located.name);
        let found = if let Some(name) = asked {
            ensure!(
                (class.fold, class.threshold) == (Fold::Pre, PUBLISHED_THRESHOLD),
                "the published tables are for fold pre and threshold {PUBLISHED_THRESHOLD}: leave --fold and --threshold, \
                 or --compare, away"
            );
            let id = tables.called(name, layers, d_mlp)?;
            Some((id.to_string(), "--compare".to_string()))
        } else if let Some(id) = alias.and_then(|alias| alias.descends_from) {
            Some((id.to_string(), "the alias".to_string()))
        } else if tables.has_shape(layers, d_mlp) {
            let names = names(located)?;
            let parent = tables.parent(&names, layers, d_mlp);
            parent.map(|(id, name)| (id.to_string(), format!("the {name}")))
        } else {
            None // the names need not be read
        };
        Ok(found.map(|(id, told_by)| Self {
            tables,
            id,
            told_by,
        }))
    }

    /// For `classes.json`; `None` where there is nothing to compare with.
    pub fn descent(&self, table: &NeuronTable) -> Option<Descent> {
        self.tables.descent(&self.id, &self.told_by, table)
    }

    /// For a person.
    pub fn text(&self, descent: Option<&Descent>) -> String {
        let Self {
            id,
            told_by,
            tables,
        } = self;
        let says = format!("Descends from {id} (by {told_by})");
        match descent {
            Some(descent) => format!(
                "{says}. Training moves weights, so nothing has to agree.\nBeside its published table ({PAPER}): Pearson's \
                 correlation over the layers, and the largest difference.\n\n{}",
                table(descent)
            ),
            None if tables.models.contains_key(id) => format!(
                "{says}, whose published table is for fold pre and threshold {PUBLISHED_THRESHOLD}: not compared."
            ),
            None => format!("{says}, which has no published table: not compared."),
        }
    }
}

/// A row for each class that one of the two models has, and one of the medians.
fn table(descent: &Descent) -> String {
    let classes = descent.classes.iter();
    let classes = classes.filter(|(_, course)| course.largest.published + course.largest.found > 0);
    let classes = classes.map(|(class, course)| row(course, count_cells(*class, &course.largest)));
    let median = &descent.median_cos_in_out;
    let median = row(median, median_cells(&median.largest));
    let rows: Vec<_> = classes.chain([median]).collect();
    let headers = [
        "",
        "correlation",
        "layer",
        "published",
        "here",
        "difference",
    ];
    cells_table(headers, &rows)
}

fn row<T>(course: &Course<T>, cells: [String; 5]) -> [String; 6] {
    let correlation = course.correlation.map(|r| format!("{r:+.3}"));
    let [name, layer, published, here, difference] = cells;
    let correlation = correlation.unwrap_or(ABSENT.to_string());
    [name, correlation, layer, published, here, difference]
}
