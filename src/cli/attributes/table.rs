//! What the attribute rate prints for a person.

use crate::cli::about_subjects::AboutSubjects;
use crate::cli::effects_table::{compared_in_words, marked, print_rates, print_tests};
use crate::cli::table::{ABSENT, Columns, Digits, count, table_of};
use crate::engine::Lens;
use crate::experiment::attributes::{
    AttributeEffect, AttributeEffects, Attributes, FilterOrder, RateSettings, Spread, is_there,
};
use crate::experiment::{Evidence, LayerWindow, Metric, Versus};

/// Classes side by side in the table by layer, so that it fits 100 columns.
const CLASSES: usize = 5;

/// The means over layers of each class: what is about the subject, where other subjects have texts too, and the rate
/// itself; then the former, or else the latter, by layer.
pub fn print_attributes(found: &AttributeEffects, layers: LayerWindow, versus: Versus) {
    let about = format!(
        "in points (hundredths), mean over {layers}; {}",
        compared_in_words(versus)
    );
    let excess = means(found, Metric::ATTRIBUTE_EXCESS);
    if let Some(first) = excess.clone().next() {
        let clean = first.effect.means.clean;
        let error = Digits::Points.optional(first.clean_error);
        outln!("attribute rate minus that with other subjects' texts, {about}");
        outln!(
            "clean: {} (standard error {error})\n",
            Digits::Points.number(clean)
        );
        print_rates(excess.clone().map(|effect| &effect.effect));
    }
    outln!("\nattribute rate, {about}\n");
    let rates = means(found, Metric::ATTRIBUTE_RATE);
    print_rates(rates.clone().map(|effect| &effect.effect));
    print_tests(rates.chain(excess.clone()).map(|effect| &effect.effect));
    let shown = match excess.count() {
        0 => Metric::ATTRIBUTE_RATE,
        _ => Metric::ATTRIBUTE_EXCESS,
    };
    for classes in classes(found).chunks(CLASSES) {
        print_layers(found, classes, shown, versus);
    }
    let mark = Evidence::Interval.mark();
    outln!(
        "{mark:<2} the 95 % interval does not contain 0; not adjusted for the number of layers\n"
    );
    for cell in &found.absent {
        outln!("{ABSENT}  {cell}: no prompt has a rate in every arm");
    }
}

/// The means over layers.
fn means(
    found: &AttributeEffects,
    metric: Metric,
) -> impl Iterator<Item = &AttributeEffect> + Clone {
    let effects = found.effects.iter();
    effects.filter(move |effect| effect.layer.is_none() && effect.effect.metric == metric)
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
fn print_layers(found: &AttributeEffects, classes: &[&str], metric: Metric, versus: Versus) {
    let compared = match versus {
        Versus::Baseline => "class edited minus the mean of its baselines",
        Versus::Clean => "class edited minus clean",
    };
    let beyond = if metric == Metric::ATTRIBUTE_EXCESS {
        " minus that with other subjects' texts"
    } else {
        ""
    };
    outln!("\nby layer, in points: the clean rate{beyond}, and {compared}\n");
    let of = |class: &str, layer| {
        let wanted = |e: &&AttributeEffect| {
            e.layer == Some(layer) && e.effect.class == class && e.effect.metric == metric
        };
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

/// Says where a difference of nothing means nothing.
pub fn warn_of_floor(found: &AttributeEffects, settings: RateSettings) {
    let Some(clean) = means(found, Metric::ATTRIBUTE_EXCESS).next() else {
        notice!(
            "warning: no other subject has a text to compare with, so that a rate may be that of any text; give \
             --subjects with several"
        );
        return;
    };
    let excess = clean.effect.means.clean;
    if is_there(excess, clean.clean_error) {
        return;
    }
    let advice = match settings.lens {
        Lens::Raw => {
            "a few large dimensions of the residual may decide its tokens: drop --lens raw, or choose other layers \
             (--rate-layers)"
        }
        Lens::FinalNorm => "choose other layers (--rate-layers), more prompts, or another model",
    };
    notice!(
        "warning: the clean rate is {} points above that with other subjects' texts (standard error {}): not three \
         standard errors, so that there is nothing to lose and a difference near 0 says nothing of the class; {advice}",
        Digits::Points.number(excess),
        Digits::Points.optional(clean.clean_error)
    );
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
pub fn print_text_words(about: &AboutSubjects, found: &Attributes) {
    let Spread {
        least,
        median,
        most,
    } = about.words.text_sizes(found.texts());
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
    let means = means(found, Metric::ATTRIBUTE_RATE);
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
