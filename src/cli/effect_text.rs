//! Random sets whose damage is like their class's: the text that first-order effects are measured on, and what is said of them.

use serde_json::{Value, json};

use super::inputs::Texts;
use super::long_command::LongCommand;
use super::table::count;
use crate::experiment::{AblationPlan, FirstOrder, NEAR, Treatment, predicted};
use crate::prompts::Documents;
use crate::report::PromptSetInfo;
use crate::tokens::{TokenBatch, Windowing};

/// Tokens of the bundled text that first-order effects are measured on, BOS included, where the run has no text of its own:
/// gradients cost several forward passes.
pub const EFFECT_TOKENS: usize = 4096;

/// Tokens of a stretch of it: the gradient keeps two residuals a layer and a number for every logit.
pub const EFFECT_CONTEXT: usize = 256;

/// So many classes, or cells of a sweep, are named in a warning.
const NAMED: usize = 4;

/// The text that first-order effects are measured on.
pub struct EffectText {
    names: String,
    files: Vec<PromptSetInfo>,
    pub batch: TokenBatch,
}

impl EffectText {
    /// The text of the run itself, or else the beginning of the bundled one.
    pub fn read(command: &LongCommand<'_>, own: Option<&Texts>) -> anyhow::Result<Self> {
        if let Some(own) = own {
            return Self::of(own);
        }
        let cut = Windowing {
            bos: command.args.bos,
            context: EFFECT_CONTEXT.min(command.opened.config().max_positions),
            max_tokens: Some(EFFECT_TOKENS),
        };
        Self::of(&Texts::read(
            &[Documents::NEUTRAL.into()],
            &command.opened,
            cut,
        )?)
    }

    fn of(texts: &Texts) -> anyhow::Result<Self> {
        Ok(Self {
            names: texts.names(),
            files: texts.info(),
            batch: predicted(&texts.windows)?,
        })
    }

    /// Over what the effects were measured, and those of every class and its draws, for `run.json`.
    pub fn json(&self, plan: &AblationPlan) -> Value {
        let of = |(treatment, found): (&Treatment, FirstOrder)| {
            json!({
                "class": treatment.class,
                "layers": treatment.layers,
                "nats": found.sums.class,
                "baseline_nats": found.sums.baseline,
                "near": found.sums.is_near(),
            })
        };
        let found: Vec<_> = found(plan).collect();
        let over = found.first().map(|(_, found)| found.over);
        let sums = found.into_iter().map(of).collect::<Vec<_>>();
        json!({"texts": self.files, "over": over, "sums": sums})
    }

    /// Says over what the effects were measured, and those of every class and its draws; by window of layers they stand in
    /// the files alone.
    pub fn print(&self, plan: &AblationPlan) {
        let Some((_, FirstOrder { over, .. })) = found(plan).next() else {
            return;
        };
        outln!(
            "\nfirst-order effect on text (-gradient · post, nats per token, over {} tokens in {} stretches of {}), summed over \
             the class's neurons, and the mean of its draws:",
            count(over.tokens),
            over.sequences,
            self.names
        );
        let whole = found(plan).filter(|(treatment, _)| treatment.layers.is_none());
        let lines: Vec<String> = whole.map(|of| format!("  {}", sums(of))).collect();
        match lines.is_empty() {
            true => outln!("  of each cell: `first_order` in effects.json"),
            false => outln!("{}", lines.join("\n")),
        }
    }
}

/// The treatments whose effects were measured.
fn found(plan: &AblationPlan) -> impl Iterator<Item = (&Treatment, FirstOrder)> {
    let treatments = plan.treatments.iter();
    treatments.filter_map(|treatment| Some((treatment, treatment.first_order?)))
}

/// Warns of classes whose draws do another damage than they, to first order.
pub fn warn_of_far_draws(plan: &AblationPlan) {
    let far = found(plan).filter(|(_, found)| !found.sums.is_near());
    let far: Vec<String> = far.map(sums).collect();
    if far.is_empty() {
        return;
    }
    let named = far[..far.len().min(NAMED)].join("; ");
    let more = match far.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!("; and {more} more"),
    };
    notice!(
        "warning: the draws do not come near the damage of {} (the mean of their first-order effects differs from the class's \
         by more than {:.0} % of it): {named}{more}. A class at the end of its layers' ranking has no equals outside it, and what it \
         costs beyond such draws may be a matter of size alone",
        if far.len() == 1 {
            "their class"
        } else {
            "these classes"
        },
        100.0 * NEAR
    );
}

/// A class with its sum and the mean of its draws.
fn sums((treatment, found): (&Treatment, FirstOrder)) -> String {
    let name = match treatment.layers {
        Some(layers) => format!("{}, {layers}", treatment.class),
        None => treatment.class.clone(),
    };
    let draws = found.sums.baseline;
    let draws = draws.map_or(String::new(), |draws| format!(", draws {draws:+.4}"));
    format!("{name} {:+.4}{draws}", found.sums.class)
}
