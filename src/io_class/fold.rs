//! Norm folding: which gains are taken into a neuron's weights before its cosines (Gerstner and Schütze, arXiv 2505.17936).
//!
//! A row is folded in a scratch copy; nothing here writes into the model. Folding moves many neurons to
//! another class, which is why a table remembers its fold.

use serde::Serialize;

use super::ClassError;

/// Which norms around the MLP are folded into the weights.
#[derive(
    Copy,
    Clone,
    Debug,
    Default,
    PartialEq,
    Eq,
    Hash,
    Serialize,
    strum::Display,
    strum::EnumString,
    strum::IntoStaticStr,
)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase", parse_err_ty = ClassError, parse_err_fn = unknown_fold)]
pub enum Fold {
    /// w_gate and w_in times the gain of the norm before the MLP: the reference.
    ///
    /// With a LayerNorm without parameters (OLMo) there is no gain; w_in and w_out are centred instead.
    #[default]
    Pre,
    /// The weights as they are stored.
    None,
    /// As `pre`, and w_out times the gain of the norm after the MLP, where the family has one.
    #[serde(rename = "pre+post")]
    #[strum(serialize = "pre+post")]
    PrePlusPost,
}

impl Fold {
    /// The name in files and on the command line.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

fn unknown_fold(name: &str) -> ClassError {
    ClassError::UnknownFold {
        name: name.to_owned(),
    }
}

/// What is done to the three vectors of each neuron of one layer, all of length d_model.
pub(super) struct Folding {
    pre_gain: Option<Vec<f32>>,
    post_gain: Option<Vec<f32>>,
    centring: Centring,
}

/// Whether the means over d_model of w_in and w_out are taken away.
#[derive(Copy, Clone, PartialEq, Eq)]
enum Centring {
    Keep,
    Subtract,
}

impl Folding {
    /// Keeps of the layer's norms what `fold` asks for.
    pub(super) fn new(
        fold: Fold,
        pre_gain: Option<Vec<f32>>,
        post_gain: Option<Vec<f32>>,
        centred: bool,
    ) -> Self {
        let centring = if centred {
            Centring::Subtract
        } else {
            Centring::Keep
        };
        match fold {
            Fold::None => Folding {
                pre_gain: None,
                post_gain: None,
                centring: Centring::Keep,
            },
            Fold::Pre => Folding {
                pre_gain,
                post_gain: None,
                centring,
            },
            Fold::PrePlusPost => Folding {
                pre_gain,
                post_gain,
                centring,
            },
        }
    }

    /// Folds w_gate in place; it is never centred, as in the reference.
    pub(super) fn gate(&self, w_gate: &mut [f32]) {
        scale(w_gate, self.pre_gain.as_deref());
    }

    /// Folds w_in in place.
    pub(super) fn input(&self, w_in: &mut [f32]) {
        scale(w_in, self.pre_gain.as_deref());
        self.centre(w_in);
    }

    /// Folds w_out in place.
    pub(super) fn output(&self, w_out: &mut [f32]) {
        self.centre(w_out);
        scale(w_out, self.post_gain.as_deref());
    }

    fn centre(&self, w: &mut [f32]) {
        if self.centring == Centring::Subtract {
            let sum: f64 = w.iter().map(|&x| f64::from(x)).sum();
            let mean = (sum / w.len() as f64) as f32;
            w.iter_mut().for_each(|x| *x -= mean);
        }
    }
}

fn scale(w: &mut [f32], gain: Option<&[f32]>) {
    if let Some(gain) = gain {
        w.iter_mut().zip(gain).for_each(|(x, g)| *x *= g);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folded(fold: Fold, centred: bool) -> [Vec<f32>; 3] {
        let folding = Folding::new(fold, Some(vec![2.0, 1.0]), Some(vec![1.0, 3.0]), centred);
        let mut rows = [vec![1.0, 1.0], vec![1.0, 4.0], vec![5.0, 7.0]];
        folding.gate(&mut rows[0]);
        folding.input(&mut rows[1]);
        folding.output(&mut rows[2]);
        rows
    }

    #[test]
    fn gains_go_where_the_fold_says() {
        assert_eq!(
            folded(Fold::None, false),
            [[1.0, 1.0], [1.0, 4.0], [5.0, 7.0]]
        );
        assert_eq!(
            folded(Fold::Pre, false),
            [[2.0, 1.0], [2.0, 4.0], [5.0, 7.0]]
        );
        assert_eq!(
            folded(Fold::PrePlusPost, false),
            [[2.0, 1.0], [2.0, 4.0], [5.0, 21.0]]
        );
    }

    #[test]
    fn centring_spares_the_gate_and_the_raw_weights() {
        assert_eq!(
            folded(Fold::None, true),
            [[1.0, 1.0], [1.0, 4.0], [5.0, 7.0]]
        );
        assert_eq!(
            folded(Fold::Pre, true),
            [[2.0, 1.0], [-1.0, 1.0], [-1.0, 1.0]]
        );
        assert_eq!(
            folded(Fold::PrePlusPost, true),
            [[2.0, 1.0], [-1.0, 1.0], [-1.0, 3.0]]
        );
    }

    #[test]
    fn names_read_back() {
        for fold in [Fold::Pre, Fold::None, Fold::PrePlusPost] {
            assert_eq!(fold.to_string().parse::<Fold>().unwrap(), fold);
            assert_eq!(serde_json::to_value(fold).unwrap(), fold.as_str());
        }
        let message = "post".parse::<Fold>().unwrap_err().to_string();
        assert!(message.contains("`post`") && message.contains("pre, none, pre+post"));
    }
}
