//! How the layers of a `config.json` attend: scale, soft caps, windows.

use super::ModelError;
use super::config::AttentionSpec;
use super::family::Family;
use super::hf_config::{HfConfig, need, unsupported};
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
        assumed: &mut Vec<String>,
    ) -> Result<Vec<AttentionSpec>, ModelError> {
        let n_layers = need(self.num_hidden_layers, "num_hidden_layers", family)?;
        let width = self.rotated_width(family, head_dim)?;
        let global = AttentionSpec {
            rope: self.rope(GLOBAL, family, width, assumed)?,
            window: None,
        };
        let window = self.window(family, assumed);
        let windowed = self.windowed_layers(family, window, n_layers)?;
        if !windowed.contains(&true) {
            return Ok(vec![global; n_layers]);
        }
        let window = need(window, "sliding_window", family)?;
        let local = AttentionSpec {
            rope: self.rope(LOCAL, family, width, assumed)?,
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
            let first = match (family.windows, window) {
                (Windows::FromLayer, Some(_)) => {
                    need(self.max_window_layers, "max_window_layers", family)?
                }
                _ => 0,
            };
            let windowed = |l: usize| match family.windows {
                Windows::Never => false,
                Windows::EveryLayer { .. } | Windows::FromLayer => window.is_some() && l >= first,
                Windows::AllButEvery(n) => {
                    !(l + 1).is_multiple_of(self.sliding_window_pattern.unwrap_or(n).max(1))
                }
            };
            return Ok((0..n_layers).map(windowed).collect());
        };
        if types.len() != n_layers {
            let count = format!("{} entries", types.len());
            let expected = format!("{n_layers} entries");
            return Err(unsupported("layer_types", &count, &expected));
        }
        let accepted = match family.windows {
            Windows::Never => GLOBAL.to_string(),
            _ => format!("{GLOBAL}, {LOCAL}"),
        };
        let windowed = types.iter().map(|kind| match kind.as_str() {
            GLOBAL => Ok(false),
            LOCAL if family.windows != Windows::Never => Ok(true),
            other => Err(unsupported("layer_types", other, &accepted)),
        });
        windowed.collect()
    }

    /// How many dimensions of a head are rotated; Phi-4-mini turns three quarters of them.
    fn rotated_width(&self, family: &Family, head_dim: usize) -> Result<usize, ModelError> {
        let in_rope = self.rope_parameters.as_ref();
        let in_rope = in_rope.and_then(|rope| rope.get("partial_rotary_factor")?.as_f64());
        let share = in_rope.or(self.partial_rotary_factor).unwrap_or(1.0);
        if share != 1.0 && family.projections != Projections::Fused {
            return Err(unsupported(
                "partial_rotary_factor",
                &share.to_string(),
                "1",
            ));
        }
        Ok((head_dim as f64 * share) as usize)
    }
}
