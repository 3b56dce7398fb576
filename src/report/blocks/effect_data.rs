//! What is drawn of effects, in numbers.

use crate::experiment::{Arm, Effect};
use crate::report::view::{Columns, Table};
use crate::stats::Interval;

/// Where the interval lies that is drawn around the class: that of the difference to the draws, seen from their mean;
/// else that of the difference to clean.
pub fn whisker(effect: &Effect) -> Option<Interval> {
    let Some(baseline) = effect.means.baseline else {
        return effect.clean_ci;
    };
    let mean = baseline - effect.means.clean;
    let Interval { low, high } = effect.estimate.baseline_ci?;
    let [low, high] = [mean + low, mean + high];
    Some(Interval { low, high })
}

/// What is drawn of an effect: an arm's mean, of the draws also that of each.
struct ArmMean<'e> {
    effect: &'e Effect,
    arm: Arm,
    draw: Option<usize>,
    mean: f64,
}

impl ArmMean<'_> {
    fn minus_clean(&self) -> f64 {
        match self.arm {
            // As the file has it, which takes the difference first and the mean then.
            Arm::Class => self.effect.difference_to_clean,
            _ => self.mean - self.effect.means.clean,
        }
    }

    /// The effect, of its class alone.
    fn of_class(&self) -> Option<&Effect> {
        Some(self.effect).filter(|_| self.arm == Arm::Class)
    }
}

/// A row per class and arm, and one per draw.
pub fn data(effects: &[&Effect]) -> Table {
    let arms = effects.iter().flat_map(|effect| {
        let means = effect.means;
        let arms = [
            (Arm::Clean, Some(means.clean)),
            (Arm::Class, Some(means.class)),
            (Arm::Baseline, means.baseline),
        ];
        let arms = arms
            .into_iter()
            .filter_map(|(arm, mean)| Some((arm, None, mean?)));
        let draws = effect.draw_means.iter().enumerate();
        let draws = draws.map(|(draw, mean)| (Arm::Baseline, Some(draw), *mean));
        arms.chain(draws).map(|(arm, draw, mean)| ArmMean {
            effect,
            arm,
            draw,
            mean,
        })
    });
    let arms: Vec<ArmMean<'_>> = arms.collect();
    let columns = Columns::new()
        .words("class", |row: &ArmMean<'_>| row.effect.class.clone())
        .words("path", |row| row.effect.path.to_string())
        .words("metric", |row| row.effect.metric.name.to_string())
        .words("subset", |row| row.effect.subset.to_string())
        .number("neurons", |row| row.effect.neurons.to_string())
        .words("arm", |row| row.arm.to_string())
        .number("draw", |row| {
            row.draw.map_or(String::new(), |draw| draw.to_string())
        })
        .value("mean", |row| Some(row.mean))
        .value("minus_clean", |row| Some(row.minus_clean()))
        .ends(["clean_ci_low", "clean_ci_high"], |row| {
            row.of_class()?.clean_ci
        })
        .ends(["drawn_low", "drawn_high"], |row| whisker(row.of_class()?))
        .value("difference_to_baseline", |row| {
            row.of_class()?.estimate.difference_to_baseline
        })
        .ends(["baseline_ci_low", "baseline_ci_high"], |row| {
            row.of_class()?.estimate.baseline_ci
        })
        .value("p_adjusted", |row| row.of_class()?.estimate.p_adjusted);
    columns.table(&arms)
}
