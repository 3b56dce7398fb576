//! What the attribute rate prints for a person.

use crate::cli::about_subjects::AboutSubjects;
use crate::cli::effects_table::{marked, print_rates};
use crate::cli::table::{ABSENT, Columns, Digits, count, table_of};
use crate::engine::Lens;
use crate::experiment::attributes::{
    AttributeEffect, AttributeEffects, FilterOrder, RateSettings, Spread,
};
use crate::experiment::{Evidence, LayerWindow, Versus};

/// Classes side by side in the table by layer, so that it fits 100 columns.
const CLASSES: usize = 5;

/// The mean over layers of each class, then every layer.
pub fn print_attributes(found: &AttributeEffects, layers: LayerWindow, versus: Versus) {
    outln!(
        "attribute rate in points (hundredths), mean over {layers}; baseline: as many random neurons of the same \
         layers\n"
    );
    let means = found.effects.iter().filter(|effect| effect.layer.is_none());
    print_rates(means.map(|effect| &effect.effect));
    for classes in classes(found).chunks(CLASSES) {
        print_layers(found, classes, versus);
    }
    let mark = Evidence::Interval.mark();
    outln!(
        "{mark:<2} the 95 % interval does not contain 0; not adjusted for the number of layers\n"
    );
    for cell in &found.absent {
        outln!("{ABSENT}  {cell}: no prompt has a rate in every arm");
    }
}

/// In their order.
fn classes(found: &AttributeEffects) -> Vec<&str> {
    let mut classes: Vec<&str> = Vec::new();
    for effect in &found.effects {
        let class = effect.effect.class.as_str();
        if !classes.contains(&class) {
            classes.push(class);
        }
    }
    classes
}

/// A line per layer: the clean rate, and each class's difference.
fn print_layers(found: &AttributeEffects, classes: &[&str], versus: Versus) {
    let compared = match versus {
        Versus::Baseline => "class off minus the mean of its baselines",
        Versus::Clean => "class off minus clean",
    };
    outln!("\nby layer, in points: the clean rate, and {compared}\n");
    let of = |class: &str, layer| {
        let wanted = |e: &&AttributeEffect| e.layer == Some(layer) && e.effect.class == class;
        found.effects.iter().find(wanted)
    };
    let clean = |layer: &usize| {
        let clean = classes.iter().find_map(|class| of(class, *layer));
        Digits::Points.optional(clean.map(|e| e.effect.means.clean))
    };
    let mut columns = Columns::new()
        .words("layer", usize::to_string)
        .number("clean", clean);
    for class in classes {
        let cell = |layer: &usize| {
            let effect = of(class, *layer).map(|effect| &effect.effect);
            marked(effect, versus, Digits::Points)
        };
        columns = columns.number(&class.replace('-', "-\n"), cell);
    }
    let last = found.effects.iter().filter_map(|effect| effect.layer).max();
    let layers: Vec<usize> = (0..last.map_or(0, |last| last + 1)).collect();
    outln!("{}\n", table_of(&columns, &layers));
}

/// Below this clean rate there is next to nothing to lose.
const FLOOR: f64 = 0.01;

/// Says where a difference of nothing means nothing.
pub fn warn_of_floor(found: &AttributeEffects, settings: RateSettings) {
    let clean = found.effects.iter().find(|effect| effect.layer.is_none());
    let Some(clean) = clean.map(|effect| effect.effect.means.clean) else {
        return;
    };
    if clean < FLOOR {
        let advice = match settings.lens {
            Lens::Raw => {
                "a few large dimensions of the residual may decide its tokens: compare with --lens final-norm, or \
                 choose other layers (--rate-layers)"
            }
            Lens::FinalNorm => {
                "choose other layers (--rate-layers), longer texts, or another model"
            }
        };
        notice!(
            "warning: the clean rate is {} points, so that there is next to nothing to lose and a difference near 0 \
             says nothing of the class; {advice}",
            Digits::Points.number(clean)
        );
    }
}

/// What the numbers are.
pub fn print_settings(settings: RateSettings) {
    let RateSettings { top, lens, .. } = settings;
    let filter = "stop words and tokens of at most 2 characters";
    let order = match settings.filter_order {
        FilterOrder::TopFirst => format!("the first {top} tokens are taken, then {filter} dropped"),
        FilterOrder::FilterFirst => {
            format!("{filter} are dropped, then the first {top} tokens taken")
        }
    };
    outln!("{}: {order}.", settings.filter_order);
    let lens = match lens {
        Lens::Raw => "raw: the residual times the unembedding, no final norm, no soft cap",
        Lens::FinalNorm => {
            "final-norm: the residual through the final norm, times the unembedding, no soft cap"
        }
    };
    outln!("{lens}; at the subject's last token, after each layer.");
}

/// How long the texts are that tokens are looked for in.
pub fn print_text_words(about: &AboutSubjects) {
    let Spread {
        least,
        median,
        most,
    } = about.words.text_sizes(about.texts());
    outln!("A text has {least} to {most} distinct words (median {median}).");
}

/// What is not in the numbers.
pub fn print_left_out(
    found: &AttributeEffects,
    (rates, absent): (usize, usize),
    without_text: usize,
) {
    if absent > 0 {
        outln!(
            "{} of {} rates are absent: nothing was left of their tokens.",
            count(absent),
            count(rates)
        );
    }
    let means = found.effects.iter().filter(|effect| effect.layer.is_none());
    for effect in means.filter(|effect| effect.left_out > 0) {
        outln!(
            "{}: {} prompts are left out of the mean, with no rate in some arm.",
            effect.effect.class,
            count(effect.left_out)
        );
    }
    if without_text > 0 {
        outln!(
            "{} more prompts are left out: their subjects have no text.",
            count(without_text)
        );
    }
}
