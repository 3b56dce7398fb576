//! What the variance of a contrast is made of, and Student's t upon it; formulas at [`contrast`](super::contrast()).

use statrs::distribution::{ContinuousCDF, StudentsT};

use super::summary::Interval;

/// The mean squares that the estimate's variance is made of, as variances of a mean.
pub(super) struct Parts {
    /// A, or sd²/K, with K - 1 degrees of freedom.
    pub(super) between_draws: f64,
    /// K.
    pub(super) draws: f64,
    /// What each sample of prompts adds.
    pub(super) samples: Vec<Sample>,
}

/// What a sample of prompts adds to the variance.
pub(super) struct Sample {
    /// S, with G - 1 degrees of freedom.
    pub(super) over_prompts: f64,
    /// C, the share of S that is in the variance between draws already, with (K - 1)(G - 1).
    pub(super) counted_twice: f64,
    /// G.
    pub(super) clusters: f64,
}

impl Parts {
    /// V with its degrees of freedom; `None` where nothing varies.
    pub(super) fn joined(&self) -> Option<Variance> {
        let draw_freedom = self.draws - 1.0;
        let adds = |sample: &&Sample| sample.over_prompts > sample.counted_twice;
        let mut value = self.between_draws;
        let mut noise = self.between_draws.powi(2) / draw_freedom;
        let mut least_freedom = draw_freedom;
        for sample in self.samples.iter().filter(adds) {
            let freedom = sample.clusters - 1.0;
            value += sample.over_prompts - sample.counted_twice;
            noise += sample.over_prompts.powi(2) / freedom
                + sample.counted_twice.powi(2) / (draw_freedom * freedom);
            least_freedom = least_freedom.min(freedom);
        }
        // C enters with a minus, so Satterthwaite's number can fall below the least of its parts, which no
        // variance made of them deserves. (With A alone it is K - 1.)
        let freedom = (value.powi(2) / noise).max(least_freedom);
        Variance::new(value, freedom)
    }
}

/// An estimated variance of an estimate.
#[derive(Clone, Copy)]
pub(super) struct Variance {
    pub(super) value: f64,
    pub(super) degrees_of_freedom: f64,
}

impl Variance {
    /// `None` where the variance is 0: an interval of no width would be a claim, not a measurement.
    fn new(value: f64, degrees_of_freedom: f64) -> Option<Self> {
        (value > 0.0).then_some(Self {
            value,
            degrees_of_freedom,
        })
    }

    fn student(&self) -> Option<StudentsT> {
        StudentsT::new(0.0, 1.0, self.degrees_of_freedom).ok()
    }

    pub(super) fn interval(&self, estimate: f64, level: f64) -> Option<Interval> {
        let reach = self.student()?.inverse_cdf(0.5 + level / 2.0) * self.value.sqrt();
        Some(Interval {
            low: estimate - reach,
            high: estimate + reach,
        })
    }

    /// `None` where the variance is 0: t would be 0/0 where the estimate is 0, too.
    pub(super) fn two_sided_p(&self, estimate: f64) -> Option<f64> {
        if self.value <= 0.0 {
            return None;
        }
        let t = estimate / self.value.sqrt();
        // The lower tail keeps its digits where 1 - cdf of the upper would round to 0.
        Some((2.0 * self.student()?.cdf(-t.abs())).min(1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(found: f64, expected: f64, tolerance: f64) {
        assert!(
            (found - expected).abs() <= tolerance,
            "{found} is not {expected}"
        );
    }

    #[test]
    fn prompts_that_add_nothing_leave_the_draws_alone() {
        let parts = |over_prompts| Parts {
            between_draws: 2.0,
            draws: 5.0,
            samples: vec![Sample {
                over_prompts,
                counted_twice: 1.0,
                clusters: 31.0,
            }],
        };
        let cut_off = parts(0.5).joined().unwrap();
        assert_eq!((cut_off.value, cut_off.degrees_of_freedom), (2.0, 4.0));
        // V = 2 + 3 - 1 = 4; df = 16 / (4/4 + 9/30 + 1/120) = 16 / 1.308333.
        let joined = parts(3.0).joined().unwrap();
        assert_eq!(joined.value, 4.0);
        close(joined.degrees_of_freedom, 12.229_299, 1e-6);
    }

    #[test]
    fn the_quantile_of_student_inverts_its_distribution() {
        // statrs loses digits beyond 10,000 degrees of freedom, which no set of prompts here comes near.
        for freedom in [1.0, 1.5, 4.0, 19.0, 53.7, 400.0, 5_000.0] {
            let student = StudentsT::new(0.0, 1.0, freedom).unwrap();
            for level in [0.8, 0.9, 0.95, 0.99] {
                let share = 0.5 + level / 2.0;
                close(student.cdf(student.inverse_cdf(share)), share, 1e-7);
            }
        }
    }
}
