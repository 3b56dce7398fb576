//! The rotation that a `config.json` asks for, in both dialects.

use serde_json::Value;

use super::ModelError;
use super::family::Family;
use super::hf_config::{HfConfig, need, unsupported};
use super::rope::{RopeScaling, RopeSpec};

pub(super) const GLOBAL: &str = "full_attention";
pub(super) const LOCAL: &str = "sliding_attention";

impl HfConfig {
    /// The rotation of one layer type, from whichever dialect the file speaks.
    pub(super) fn rope(
        &self,
        layer_type: &'static str,
        family: &'static Family,
        width: usize,
        assumed: &mut Vec<String>,
    ) -> Result<RopeSpec, ModelError> {
        let entry = self.rope_entry(layer_type, family)?;
        let local_theta = (layer_type == LOCAL)
            .then_some(family.local_rope_theta)
            .flatten();
        let theta = entry.and_then(|entry| entry.get("rope_theta")?.as_f64());
        let theta = theta.or(match local_theta {
            Some(default) => Some(self.rope_local_base_freq.unwrap_or(default)),
            None => self.rope_theta,
        });
        let theta = match (theta, family.default_rope_theta) {
            (None, Some(default)) => {
                assumed.push(format!(
                    "config.json has no rope_theta: {default}, as in transformers"
                ));
                default
            }
            (theta, _) => need(theta, "rope_theta (or rope_parameters)", family)?,
        };
        Ok(RopeSpec {
            theta,
            width,
            scaling: match entry {
                Some(entry) => self.scaling(entry, family, width)?,
                None => RopeScaling::None,
            },
        })
    }

    /// The object that says how to rotate: `rope_parameters`, by layer type or for all, or `rope_scaling`,
    /// which in Gemma 3 is meant for global layers alone.
    fn rope_entry(
        &self,
        layer_type: &str,
        family: &'static Family,
    ) -> Result<Option<&Value>, ModelError> {
        let old = self.rope_scaling.as_ref();
        let Some(parameters) = &self.rope_parameters else {
            let everywhere = layer_type == GLOBAL || family.local_rope_theta.is_none();
            return Ok(old.filter(|_| everywhere));
        };
        if old.is_some() {
            let accepted = "one of the two dialects";
            return Err(unsupported(
                "rope_scaling",
                "beside rope_parameters",
                accepted,
            ));
        }
        let by_type = [GLOBAL, LOCAL]
            .iter()
            .any(|kind| parameters.get(*kind).is_some());
        if !by_type {
            return Ok(Some(parameters));
        }
        let key = format!("rope_parameters.{layer_type}");
        need(parameters.get(layer_type), &key, family).map(Some)
    }

    fn scaling(
        &self,
        entry: &Value,
        family: &'static Family,
        width: usize,
    ) -> Result<RopeScaling, ModelError> {
        let number = |key: &str| {
            let value = entry.get(key).and_then(Value::as_f64);
            need(value, &format!("the rope's {key}"), family)
        };
        let kind = entry.get("rope_type").or_else(|| entry.get("type"));
        match kind.and_then(Value::as_str) {
            None | Some("default") => Ok(RopeScaling::None),
            Some("linear") => Ok(RopeScaling::Linear {
                factor: number("factor")?,
            }),
            Some("llama3") => Ok(RopeScaling::Llama3 {
                factor: number("factor")?,
                low_freq_factor: number("low_freq_factor")?,
                high_freq_factor: number("high_freq_factor")?,
                original_max_positions: number("original_max_position_embeddings")?,
            }),
            // `su` is what Phi-3's first configs called it.
            Some("longrope" | "su") => self.longrope(entry, family, width),
            Some(other) => Err(unsupported(
                "rope_type",
                other,
                "default, linear, llama3, longrope",
            )),
        }
    }

    /// LongRoPE's short factors, which transformers uses for inputs up to the original length.
    fn longrope(
        &self,
        entry: &Value,
        family: &'static Family,
        width: usize,
    ) -> Result<RopeScaling, ModelError> {
        let factors = entry.get("short_factor").and_then(Value::as_array);
        let factors: Option<Vec<f32>> = need(factors, "the rope's short_factor", family)?
            .iter()
            .map(|factor| factor.as_f64().map(|factor| factor as f32))
            .collect();
        let factors = factors.filter(|factors| factors.len() == width / 2);
        let expected = format!("{} numbers", width / 2);
        let factors =
            factors.ok_or_else(|| unsupported("short_factor", "another list", &expected))?;
        let original = need(
            self.original_positions(),
            "original_max_position_embeddings",
            family,
        )? as f64;
        let longest = need(
            self.max_position_embeddings,
            "max_position_embeddings",
            family,
        )?;
        let stretch = entry.get("factor").and_then(Value::as_f64);
        let stretch = stretch.unwrap_or(longest as f64 / original).max(1.0);
        let given = entry.get("attention_factor").and_then(Value::as_f64);
        Ok(RopeScaling::Factors {
            factors,
            amplitude: given.unwrap_or((1.0 + stretch.ln() / original.ln()).sqrt()),
        })
    }

    /// The length of the first training of a model with LongRoPE; transformers lets the outer key win.
    fn original_positions(&self) -> Option<usize> {
        let in_rope = [&self.rope_parameters, &self.rope_scaling]
            .into_iter()
            .flatten();
        let in_rope = in_rope
            .filter_map(|rope| rope.get("original_max_position_embeddings")?.as_u64())
            .map(|length| length as usize)
            .next();
        self.original_max_position_embeddings.or(in_rope)
    }

    /// The longest input. Beyond the original length LongRoPE would rotate with its long factors, which are not
    /// computed here.
    pub(super) fn max_positions(&self, family: &'static Family) -> Result<usize, ModelError> {
        let max = need(
            self.max_position_embeddings,
            "max_position_embeddings",
            family,
        )?;
        let is_longrope = [&self.rope_parameters, &self.rope_scaling]
            .into_iter()
            .flatten()
            .any(|rope| rope.get("short_factor").is_some());
        Ok(match self.original_positions() {
            Some(original) if is_longrope => original,
            _ => max,
        })
    }
}
