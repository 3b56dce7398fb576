//! How the layers of a `config.json` attend: scale, soft caps, windows.

use super::ModelError;
use super::config::AttentionSpec;
use super::family::Family;
use super::hf_config::{HfConfig, Notes, need, unsupported};
use super::hf_rope::{GLOBAL, LOCAL};
use super::kinds::{AttentionScale, Projections, SoftCaps, Windows};

impl HfConfig {
    pub(super) fn attention_scale(
        &self,
        family: &'static Family,
        head_dim: usize,
    ) -> Result<f64, ModelError> {
        let scalar = match family.attention_scale {
            AttentionScale::HeadDim => head_dim as f64,
            AttentionScale::QueryPreAttnScalar { .. } => {
                need(self.query_pre_attn_scalar, "query_pre_attn_scalar", family)?
            }
        };
        Ok(scalar.powf(-0.5))
    }

    pub(super) fn attention_softcap(
        &self,
        family: &'static Family,
    ) -> Result<Option<f64>, ModelError> {
        let key = "attn_logit_softcapping";
        match (family.soft_caps, self.attn_logit_softcapping) {
            (SoftCaps::AttentionAndLogits, cap) => need(cap, key, family),
            (_, Some(Some(cap))) => Err(unsupported(key, &cap.to_string(), "null")),
            _ => Ok(None),
        }
    }

    pub(super) fn final_softcap(&self, family: &'static Family) -> Result<Option<f64>, ModelError> {
        let key = "final_logit_softcapping";
        match (family.soft_caps, self.final_logit_softcapping) {
            (SoftCaps::AttentionAndLogits, cap) => need(cap, key, family),
            (SoftCaps::None, Some(Some(cap))) => Err(unsupported(key, &cap.to_string(), "null")),
            (_, cap) => Ok(cap.flatten()),
        }
    }

    pub(super) fn attention(
        &self,
        family: &'static Family,
        head_dim: usize,
        notes: &mut Notes,
    ) -> Result<Vec<AttentionSpec>, ModelError> {
        let n_layers = self.n_layers(family)?;
        let width = self.rotated_width(family, head_dim)?;
        let global = AttentionSpec {
            rope: self.rope(GLOBAL, family, width, notes)?,
            window: None,
        };
        let window = self.window(family, &mut notes.assumed);
        let windowed = self.windowed_layers(family, window, n_layers)?;
        if !windowed.contains(&true) {
            return Ok(vec![global; n_layers]);
        }
        let window = need(window, "sliding_window", family)?;
        let local = AttentionSpec {
            rope: self.rope(LOCAL, family, width, notes)?,
            window: Some(window),
        };
        let specs = windowed
            .iter()
            .map(|windowed| if *windowed { &local } else { &global });
        Ok(specs.cloned().collect())
    }

    /// The window's width, where there is one.
    fn window(&self, family: &Family, assumed: &mut Vec<String>) -> Option<usize> {
        let given = self.sliding_window.flatten();
        match (family.windows, self.sliding_window) {
            (Windows::Never, _) => None,
            (Windows::FromLayer, _) => given.filter(|_| self.use_sliding_window == Some(true)),
            (
                Windows::EveryLayer {
                    default: Some(default),
                },
                None,
            ) => {
                assumed.push(format!(
                    "config.json has no sliding_window: {default}, as in transformers"
                ));
                Some(default)
            }
            _ => given,
        }
    }

    /// Which layers attend through a window: by `layer_types` where the file has them, else by the family's rule.
    fn windowed_layers(
        &self,
        family: &'static Family,
        window: Option<usize>,
        n_layers: usize,
    ) -> Result<Vec<bool>, ModelError> {
        let Some(types) = &self.layer_types else {
            return self.windowed_by_rule(family, window, n_layers);
        };
        if types.len() != n_layers {
            let count = format!("{} entries", types.len());
            let expected = format!("{n_layers} entries");
            return Err(unsupported("layer_types", &count, &expected));
        }
        let accepted = match (family.windows, window) {
            (Windows::Never, _) | (Windows::EveryLayer { .. }, None) => vec![GLOBAL],
            // transformers does not look at the types of such a family.
            (Windows::EveryLayer { .. }, Some(_)) => vec![LOCAL],
            _ => vec![GLOBAL, LOCAL],
        };
        let windowed = types
            .iter()
            .map(|kind| match accepted.contains(&kind.as_str()) {
                true => Ok(kind == LOCAL),
                false => Err(unsupported("layer_types", kind, &accepted.join(", "))),
            });
        windowed.collect()
    }

    fn windowed_by_rule(
        &self,
        family: &'static Family,
        window: Option<usize>,
        n_layers: usize,
    ) -> Result<Vec<bool>, ModelError> {
        let first = match (family.windows, window) {
            (Windows::FromLayer, Some(_)) => {
                need(self.max_window_layers, "max_window_layers", family)?
            }
            _ => 0,
        };
        let pattern = match (family.windows, self.sliding_window_pattern) {
            (Windows::AllButEvery(_), Some(0)) => {
                return Err(unsupported("sliding_window_pattern", "0", "from 1 on"));
            }
            // Only Gemma 3 reads the key in transformers; the others have their rule.
            (Windows::AllButEvery(n), Some(pattern))
                if pattern != n && family.local_rope_theta.is_none() =>
            {
                let found = pattern.to_string();
                return Err(unsupported(
                    "sliding_window_pattern",
                    &found,
                    &n.to_string(),
                ));
            }
            (Windows::AllButEvery(n), pattern) => pattern.unwrap_or(n),
            _ => 1,
        };
        let windowed = |l: usize| match family.windows {
            Windows::Never => false,
            Windows::EveryLayer { .. } | Windows::FromLayer => window.is_some() && l >= first,
            Windows::AllButEvery(_) => !(l + 1).is_multiple_of(pattern),
        };
        Ok((0..n_layers).map(windowed).collect())
    }

    /// How many dimensions of a head are rotated; Phi-4-mini turns three quarters of them.
    fn rotated_width(&self, family: &Family, head_dim: usize) -> Result<usize, ModelError> {
        let key = "partial_rotary_factor";
        let in_rope = match &self.rope_parameters {
            Some(rope) => rope.number(key)?,
            None => None,
        };
        let share = in_rope.or(self.partial_rotary_factor).unwrap_or(1.0);
        if share != 1.0 && family.projections != Projections::Fused {
            return Err(unsupported(key, &share.to_string(), "1"));
        }
        if !(share > 0.0 && share <= 1.0) {
            return Err(unsupported(key, &share.to_string(), "above 0, at most 1"));
        }
        Ok((head_dim as f64 * share) as usize)
    }
}
